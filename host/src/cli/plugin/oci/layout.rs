//! A folder in the layout of OCI images: `oci-layout`, `index.json` and `blobs/sha256`.

use super::{
    OciError,
    artifact::{Artifact, COMPONENT_MAX, MANIFEST_MAX, MANIFEST_TYPE, same},
    place::Which,
};
use bytes::Bytes;
use oci_client::manifest::OciDescriptor;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The tag, in the index.
const NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Debug)]
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) which: Which,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Vec<OciDescriptor>,
}

fn tag(descriptor: &OciDescriptor) -> Option<&str> {
    descriptor.annotations.as_ref()?.get(NAME).map(String::as_str)
}

impl Layout {
    fn place(&self) -> String {
        match &self.which {
            Which::Tag(tag) => format!("oci:{}:{tag}", self.folder.display()),
            Which::Digest(digest) => format!("oci:{}@{digest}", self.folder.display()),
        }
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs").join(digest.replace(':', "/"))
    }

    /// The index; empty, if the folder is not there yet.
    fn index(&self) -> Result<Index, OciError> {
        let path = self.folder.join("index.json");
        match bounded(&path, MANIFEST_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| OciError::File(path, e.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Index { schema_version: 2, media_type: Some(INDEX_TYPE.to_owned()), manifests: Vec::new() })
            }
            Err(error) => Err(OciError::File(path, error)),
        }
    }

    /// The index last, so that nobody finds a name without what it names.
    pub(super) fn push(&self, artifact: &Artifact, overwrite: bool) -> Result<(), OciError> {
        let Which::Tag(name) = &self.which else {
            return Err(OciError::Reference(self.place(), "what is pushed is named by a tag".to_owned()));
        };
        let mut index = self.index()?;
        if let Some(there) = index.manifests.iter().find(|one| tag(one) == Some(name)) {
            if there.digest == artifact.digest {
                return Ok(());
            }
            if !overwrite {
                return Err(OciError::Taken { place: self.place(), digest: there.digest.clone() });
            }
        }
        index.manifests.retain(|one| tag(one) != Some(name));
        index.manifests.push(OciDescriptor {
            media_type: MANIFEST_TYPE.to_owned(),
            digest: artifact.digest.clone(),
            size: i64::try_from(artifact.manifest.len()).unwrap_or(i64::MAX),
            annotations: Some(BTreeMap::from([(NAME.to_owned(), name.clone())])),
            ..OciDescriptor::default()
        });
        let parts = Artifact::parts(&self.place(), &artifact.manifest)?;
        let files = [
            (self.blob(&parts.component.digest), artifact.component.as_ref()),
            (self.blob(&parts.manifest.config.digest), artifact.config.as_ref()),
            (self.blob(&artifact.digest), artifact.manifest.as_ref()),
            (self.folder.join("oci-layout"), LAYOUT.as_bytes()),
        ];
        for (path, bytes) in files {
            write(&path, bytes)?;
        }
        let path = self.folder.join("index.json");
        let text = serde_json::to_vec_pretty(&index).map_err(|e| OciError::File(path.clone(), e.into()))?;
        write(&path, &text)
    }

    pub(super) fn pull(&self) -> Result<Artifact, OciError> {
        let index = self.index()?;
        let digest = match &self.which {
            Which::Digest(digest) => digest.clone(),
            Which::Tag(name) => {
                let found = index.manifests.iter().find(|one| tag(one) == Some(name));
                found.map(|one| one.digest.clone()).ok_or_else(|| OciError::Absent(self.place()))?
            }
        };
        let manifest = self.read(&digest, MANIFEST_MAX)?;
        let component = self.read(&Artifact::parts(&self.place(), &manifest)?.component.digest, COMPONENT_MAX)?;
        Artifact::made(&self.place(), Some(&digest), manifest, component)
    }

    fn read(&self, digest: &str, most: u64) -> Result<Bytes, OciError> {
        if !super::place::is_sha256(digest) {
            return Err(OciError::Foreign(self.place(), format!("`{}` is no digest", digest.escape_debug())));
        }
        let path = self.blob(digest);
        match bounded(&path, most) {
            Ok(bytes) => same(&self.place(), digest, &bytes).map(|()| bytes.into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(OciError::Absent(format!("{} ({})", self.place(), path.display())))
            }
            Err(error) => Err(OciError::File(path, error)),
        }
    }
}

fn bounded(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.len() > most {
        return Err(std::io::Error::other(format!("it has more than {most} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), OciError> {
    let failed = |e| OciError::File(path.to_owned(), e);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    plinth_guest_build::write_if_changed(path, bytes).map_err(|e| failed(std::io::Error::other(format!("{e:#}"))))
}
