//! A plugin as an OCI artifact: one layer, the component; plugin.toml in an annotation of the manifest.
//!
//! The media types are those of the WebAssembly artifact format that component tools share, which
//! knows exactly one layer. Nothing in it depends on when or by whom it was made.

use super::{OciError, place::is_sha256};
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use plinth_runtime::{inspect::Inspected, manifest::Manifest};
use serde_json::json;
use std::{collections::BTreeMap, fmt::Write};

pub(super) const MANIFEST_TYPE: &str = OCI_IMAGE_MEDIA_TYPE;
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const COMPONENT_TYPE: &str = "application/wasm";
/// The text of plugin.toml.
const PLUGIN: &str = "plinth.plugin.toml";
const TITLE: &str = "org.opencontainers.image.title";
const VERSION: &str = "org.opencontainers.image.version";
const DESCRIPTION: &str = "org.opencontainers.image.description";
/// Registries take no larger manifests.
pub(super) const MANIFEST_MAX: u64 = 4 << 20;
/// No host takes a larger component.
pub(super) const COMPONENT_MAX: u64 = 1 << 30;

/// plugin.toml, read and as it is.
#[derive(Debug)]
pub(super) struct Plugin {
    pub(super) name: String,
    pub(super) text: String,
}

/// Everything that is stored, as bytes.
#[derive(Debug)]
pub(super) struct Artifact {
    /// Of the manifest, and so of all.
    pub(super) digest: String,
    pub(super) manifest: Bytes,
    pub(super) config: Bytes,
    pub(super) component: Bytes,
    /// What pushed it was not this program, if there is none.
    pub(super) plugin: Option<Plugin>,
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What a manifest names, as it has to be.
pub(super) struct Parts {
    pub(super) manifest: OciImageManifest,
    pub(super) component: OciDescriptor,
}

impl Artifact {
    /// The error says what is wrong with component or manifest.
    pub(super) fn of(component: Bytes, plugin: String) -> Result<Self, String> {
        let read = Manifest::parse(&plugin).map_err(|problems| format!("plugin.toml: {}", problems.join("; ")))?;
        let Inspected { imports, exports, .. } = Inspected::read(&component).map_err(|why| format!("the component: {why}"))?;
        let component_digest = sha256(&component);
        let config = json!({
            // Fixed, so that the same package has the same digest.
            "created": "1970-01-01T00:00:00Z",
            "architecture": "wasm",
            "os": "wasip2",
            "layerDigests": [&component_digest],
            "component": { "imports": imports, "exports": exports, "target": null },
        });
        let config = Bytes::from(config.to_string());
        let mut annotations = BTreeMap::from([
            (TITLE.to_owned(), read.name.to_string()),
            (VERSION.to_owned(), read.version.to_string()),
            (PLUGIN.to_owned(), plugin.clone()),
        ]);
        if !read.description.is_empty() {
            annotations.insert(DESCRIPTION.to_owned(), read.description.clone());
        }
        let manifest = OciImageManifest {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.to_owned()),
            config: described(CONFIG_TYPE, &config, sha256(&config)),
            layers: vec![described(COMPONENT_TYPE, &component, component_digest)],
            annotations: Some(annotations),
            ..OciImageManifest::default()
        };
        let manifest = Bytes::from(serde_json::to_vec(&manifest).map_err(|e| e.to_string())?);
        if manifest.len() as u64 > MANIFEST_MAX {
            return Err(format!("plugin.toml is too long for a registry: the manifest of the artifact would be over {MANIFEST_MAX} bytes"));
        }
        let plugin = Some(Plugin { name: read.name.to_string(), text: plugin });
        Ok(Self { digest: sha256(&manifest), manifest, config, component, plugin })
    }

    /// What a manifest from elsewhere names. `place` is where it came from.
    pub(super) fn parts(place: &str, manifest: &[u8]) -> Result<Parts, OciError> {
        let foreign = |why: String| OciError::Foreign(place.to_owned(), why);
        let manifest: OciImageManifest =
            serde_json::from_slice(manifest).map_err(|e| foreign(format!("its manifest cannot be read: {e}")))?;
        if manifest.config.media_type != CONFIG_TYPE {
            return Err(foreign(format!("it is of the type {}", manifest.config.media_type)));
        }
        let [component] = manifest.layers.as_slice() else {
            return Err(foreign(format!("it has {} layers, a component has one", manifest.layers.len())));
        };
        if component.media_type != COMPONENT_TYPE {
            return Err(foreign(format!("its layer is {}, not {COMPONENT_TYPE}", component.media_type)));
        }
        let sized = |blob: &OciDescriptor, most: u64| is_sha256(&blob.digest) && u64::try_from(blob.size).is_ok_and(|size| size <= most);
        if !sized(component, COMPONENT_MAX) || !sized(&manifest.config, MANIFEST_MAX) {
            return Err(foreign("what it names has no SHA-256 digest, or is too large".to_owned()));
        }
        let component = component.clone();
        Ok(Parts { manifest, component })
    }

    /// From what a place gave; everything is held against the digests that name it.
    pub(super) fn made(place: &str, wanted: Option<&str>, manifest: Bytes, component: Bytes) -> Result<Self, OciError> {
        let digest = wanted.map_or_else(|| sha256(&manifest), str::to_owned);
        same(place, &digest, &manifest)?;
        let parts = Self::parts(place, &manifest)?;
        same(place, &parts.component.digest, &component)?;
        let text = parts.manifest.annotations.and_then(|mut all| all.remove(PLUGIN));
        let plugin = text.map(|text| match Manifest::parse(&text) {
            Ok(read) => Ok(Plugin { name: read.name.to_string(), text }),
            Err(problems) => Err(OciError::Foreign(place.to_owned(), format!("its plugin.toml: {}", problems.join("; ")))),
        });
        Ok(Self { digest, manifest, config: Bytes::new(), component, plugin: plugin.transpose()? })
    }

    /// What its file is called.
    pub(super) fn name(&self) -> &str {
        self.plugin.as_ref().map_or("component", |plugin| plugin.name.as_str())
    }
}

/// Whether bytes are those that a digest names.
pub(super) fn same(place: &str, expected: &str, bytes: &[u8]) -> Result<(), OciError> {
    let found = sha256(bytes);
    match expected == found {
        true => Ok(()),
        false => Err(OciError::Changed { place: place.to_owned(), expected: expected.to_owned(), found }),
    }
}

fn described(media_type: &str, bytes: &[u8], digest: String) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.to_owned(),
        digest,
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}
