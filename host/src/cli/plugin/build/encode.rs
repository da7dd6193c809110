//! From a core module to a component: its interfaces, and preview 1 of WASI turned into 0.2 where it is called.

use super::{contract::Contract, error::BuildError};
use std::path::Path;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as PREVIEW1, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as ADAPTER,
};
use wasmparser::{Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// A module that carries the description of its world.
pub(super) fn component(module: &Path) -> Result<Vec<u8>, BuildError> {
    let bytes = std::fs::read(module).map_err(BuildError::read(module))?;
    encode(&bytes).map_err(wrong(module))
}

/// A module whose compiler knows nothing of worlds.
pub(super) fn component_of_world(module: &Path, contract: &Contract) -> Result<Vec<u8>, BuildError> {
    let mut bytes = std::fs::read(module).map_err(BuildError::read(module))?;
    embed_component_metadata(&mut bytes, &contract.resolve, contract.world, StringEncoding::UTF8, false).map_err(wrong(module))?;
    encode(&bytes).map_err(wrong(module))
}

fn wrong(module: &Path) -> impl FnOnce(anyhow::Error) -> BuildError {
    move |error| BuildError::Encode { module: module.display().to_string(), why: format!("{error:#}") }
}

fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = ComponentEncoder::default();
    if imports_preview1(module)? {
        encoder.adapter(PREVIEW1, ADAPTER)?;
    }
    encoder.validate(true).module(module)?.encode()
}

fn imports_preview1(module: &[u8]) -> anyhow::Result<bool> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                if import?.module == PREVIEW1 {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
