//! Which crates of a workspace are guests, and under which names they come out.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What a guest is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Made to be loaded: under `target/plugins`.
    Plugin,
    /// Made to misbehave in tests: under `target/fixtures`.
    Fixture,
}

/// A crate that makes one component or several.
#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) package: String,
    pub(crate) folder: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) variants: Vec<Variant>,
}

/// One component of a crate: `[[package.metadata.plinth.variants]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// Beside the crate's `Cargo.toml`.
    pub(crate) manifest: PathBuf,
    #[serde(default)]
    pub(crate) features: Vec<String>,
}

impl Guest {
    /// The feature sets its variants need, each once, in order.
    pub(crate) fn feature_sets(&self) -> Vec<&[String]> {
        let mut sets: Vec<&[String]> = Vec::new();
        for variant in &self.variants {
            if !sets.contains(&variant.features.as_slice()) {
                sets.push(&variant.features);
            }
        }
        sets
    }
}

#[derive(Deserialize)]
struct Root {
    workspace: Workspace,
}

#[derive(Deserialize)]
struct Workspace {
    members: Vec<String>,
}

#[derive(Deserialize)]
struct Crate {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
struct Metadata {
    plinth: Option<Declared>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    variants: Vec<Variant>,
}

/// The members of the workspace that declare variants or have a `plugin.toml`.
pub(crate) fn discover(root: &Path) -> Result<Vec<Guest>> {
    let workspace: Root = read(&root.join("Cargo.toml"))?;
    let mut guests = Vec::new();
    for member in workspace.workspace.members {
        let folder = root.join(&member);
        let Crate { package } = read(&folder.join("Cargo.toml"))?;
        let variants = match package.metadata.plinth {
            Some(declared) => declared.variants,
            None if folder.join("plugin.toml").exists() => {
                vec![Variant { name: package.name.clone(), manifest: "plugin.toml".into(), features: Vec::new() }]
            }
            None => continue,
        };
        let kind = if member.starts_with("tests/") { Kind::Fixture } else { Kind::Plugin };
        guests.push(Guest { package: package.name, folder, kind, variants });
    }
    Ok(guests)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("could not understand {}", path.display()))
}
