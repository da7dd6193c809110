//! The calls of the host's API that benches make.

use anyhow::{Context, Result, bail};
use reqwest::{
    Client,
    multipart::{Form, Part},
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A component and its manifest, read once.
#[derive(Clone)]
pub(crate) struct Guest {
    component: Vec<u8>,
    manifest: String,
}

impl Guest {
    /// From `target/plugins` or `target/fixtures`.
    pub(crate) fn read(root: &Path, folder: &str, name: &str) -> Result<Self> {
        let path = component_path(root, folder, name);
        let hint = || format!("could not read {}: run the bench through `cargo xtask bench`", path.display());
        let component = std::fs::read(&path).with_context(hint)?;
        let manifest = std::fs::read_to_string(path.with_extension("toml")).with_context(hint)?;
        Ok(Self { component, manifest })
    }
}

pub(crate) fn component_path(root: &Path, folder: &str, name: &str) -> PathBuf {
    root.join("target").join(folder).join(format!("{name}.wasm"))
}

/// What the host says of a change; the fields that benches read.
#[derive(Debug, Deserialize)]
pub(crate) struct Change {
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) elapsed_us: u64,
    pub(crate) compile_cached: bool,
}

#[derive(Debug, Deserialize)]
struct Versions {
    versions: Vec<Version>,
}

#[derive(Debug, Deserialize)]
struct Version {
    live_calls: u64,
    active: bool,
}

#[derive(Clone)]
pub(crate) struct Api {
    client: Client,
    url: String,
}

impl Api {
    pub(crate) fn new(url: String) -> Self {
        Self { client: Client::new(), url }
    }

    /// Installs or swaps, and waits until calls are answered by it.
    pub(crate) async fn install(&self, guest: &Guest) -> Result<Change> {
        let component = Part::bytes(guest.component.clone()).file_name("component.wasm").mime_str("application/wasm")?;
        let form = Form::new().part("component", component).text("manifest", guest.manifest.clone());
        let url = format!("{}/v1/plugins?approve_grants=true", self.url);
        let answer = self.client.post(url).multipart(form).send().await.context("the host did not answer")?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("the plugin was not installed: {status} {text}");
        }
        serde_json::from_str(&text).with_context(|| format!("this is no change: {text}"))
    }

    pub(crate) async fn remove(&self, plugin: &str) -> Result<()> {
        let answer = self.client.delete(format!("{}/v1/plugins/{plugin}", self.url)).send().await.context("the host did not answer")?;
        Ok(answer.error_for_status().map(drop)?)
    }

    /// Calls that still run on versions of a plugin that were replaced.
    pub(crate) async fn live_old(&self, plugin: &str) -> Result<u64> {
        let url = format!("{}/v1/plugins/{plugin}/versions", self.url);
        let answer = self.client.get(url).send().await.context("the host did not answer")?.error_for_status()?;
        let versions: Versions = serde_json::from_str(&answer.text().await?)?;
        Ok(versions.versions.iter().filter(|version| !version.active).map(|version| version.live_calls).sum())
    }
}
