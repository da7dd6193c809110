//! `cargo xtask plugins`: every guest of the workspace as a component, and what came out.

use crate::shell;
use anyhow::{Context, Result};
use plinth_guest_build::{Built, Kind, build_all};
use std::path::Path;

pub(crate) fn run() -> Result<()> {
    let built = build()?;
    let rows = built.iter().map(row).collect::<Result<Vec<_>>>()?;
    println!("{}", shell::table(["component", "kind", "KiB"], rows));
    Ok(())
}

/// Finds or installs a compiler for wasm and builds what has changed.
pub(crate) fn build() -> Result<Vec<Built>> {
    build_all(&shell::root()).context("could not build the plugins")
}

fn row(one: &Built) -> Result<[String; 3]> {
    let kind = match one.kind {
        Kind::Plugin => "plugin",
        Kind::Fixture => "fixture",
    };
    Ok([relative(&one.component), kind.to_owned(), kib(&one.component)?])
}

fn relative(path: &Path) -> String {
    path.strip_prefix(shell::root()).unwrap_or(path).display().to_string()
}

fn kib(path: &Path) -> Result<String> {
    let bytes = std::fs::metadata(path).with_context(|| format!("{} was not built", path.display()))?.len();
    Ok(bytes.div_ceil(1024).to_string())
}
