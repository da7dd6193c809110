//! Where segments are kept: a folder, or a bucket of an S3-compatible store.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem, path::Path,
};
use plinth_audit::{
    segment::{Archive, Names},
    verify::FetchError,
};
use plinth_capability::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::{fs, io, ops::Range, path::PathBuf, sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// One request; a segment is some megabytes.
const REQUEST: Duration = Duration::from_secs(120);
/// All attempts at one thing: what comes later is the next round's.
const PATIENCE: Duration = Duration::from_secs(60);
const ATTEMPTS: usize = 5;

/// Which folder or bucket.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ArchiveLocation {
    /// `file:///srv/archive`, or `s3://bucket/prefix`.
    pub url: String,
    /// Of an S3-compatible store that is not Amazon's: `https://s3.example.com`.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Without it, what `AWS_…` variables and the machine's own role give.
    pub access_key_id: Option<String>,
    /// The file of the secret that belongs to `access-key-id`.
    pub secret_access_key: Option<PathBuf>,
    /// Whether the endpoint may be `http://`: everything is readable on the way then.
    #[serde(default)]
    pub allow_http: bool,
}

impl ArchiveLocation {
    /// What needs no more than an address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), endpoint: None, region: None, access_key_id: None, secret_access_key: None, allow_http: false }
    }
}

/// A place with a log's segments.
///
/// # Contract
/// - What `put` has answered is whole and durable, as far as the store keeps its word.
/// - A file that is not there is `None`, and so is a range beyond its end.
///
/// # Cancel safety
/// A dropped `put` or `remove` may or may not have happened, wholly.
#[derive(Debug, Clone)]
pub struct ArchiveFolder {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl ArchiveFolder {
    /// Makes a local folder that is not there; a bucket must be there, and is not asked before it is used.
    ///
    /// # Errors
    /// `InvalidInput` for an address or a setting that cannot be right, `Failed` for a folder that cannot be made.
    pub fn open(location: &ArchiveLocation) -> Result<Self> {
        if let Some(folder) = location.url.strip_prefix("file://") {
            return Self::local(folder, location);
        }
        let Some((bucket, prefix)) = location.url.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) else {
            return Err(refused("an archive's address begins with `file://` or `s3://`"));
        };
        if bucket.is_empty() {
            return Err(refused("the address of an archive names no bucket"));
        }
        let prefix = Path::parse(prefix.trim_end_matches('/'))
            .map_err(|e| refused("the address of an archive has no usable path").with_source(e))?;
        Ok(Self { store: Arc::new(s3(bucket, location)?), prefix })
    }

    fn local(folder: &str, location: &ArchiveLocation) -> Result<Self> {
        let s3 = location.endpoint.is_some()
            || location.region.is_some()
            || location.access_key_id.is_some()
            || location.secret_access_key.is_some();
        if s3 || !folder.starts_with('/') {
            return Err(refused("an archive in a folder is `file:///` with its whole path, and needs no endpoint, region or keys"));
        }
        let failed = |e: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(ErrorKind::Failed, OPERATION, "the archive's folder is not usable").with_source(e)
        };
        fs::create_dir_all(folder).map_err(|e| failed(e.into()))?;
        let store = LocalFileSystem::new_with_prefix(folder).map_err(|e| failed(e.into()))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)), prefix: Path::default() })
    }

    /// The folder of one epoch.
    #[must_use]
    pub fn epoch(&self, number: u64) -> Self {
        Self { store: self.store.clone(), prefix: self.prefix.clone().join(number.to_string()) }
    }

    pub(super) async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.store.put(&self.path(name), PutPayload::from(bytes)).await.map(drop).map_err(failed)
    }

    /// The whole file; an error if it has more than `max` bytes.
    pub(super) async fn get(&self, name: &str, max: usize) -> Result<Option<Bytes>> {
        let found = match self.store.get(&self.path(name)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            found => found.map_err(failed)?,
        };
        if found.meta.size > max as u64 {
            return Err(Error::new(ErrorKind::Failed, OPERATION, format!("`{name}` has {} bytes, more than it can have", found.meta.size)));
        }
        found.bytes().await.map(Some).map_err(failed)
    }

    pub(super) async fn range(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let (path, length) = (self.path(name), range.end.saturating_sub(range.start));
        match self.store.get_range(&path, range.clone()).await {
            Ok(bytes) => Ok((bytes.len() as u64 == length).then_some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            // Stores differ in what they say of a range beyond the end.
            Err(error) => match self.store.head(&path).await {
                Ok(meta) if meta.size < range.end => Ok(None),
                _ => Err(failed(error)),
            },
        }
    }

    /// What is gone already is no error.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.path(name)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(failed),
        }
    }

    /// One more than the highest number that a segment has here; 0 where there is none.
    ///
    /// # Errors
    /// `Unavailable` when the folder cannot be listed.
    pub async fn segments(&self) -> Result<u64> {
        let mut count = 0;
        let mut files = self.store.list(Some(&self.prefix));
        while let Some(file) = files.try_next().await.map_err(failed)? {
            let number = file.location.prefix_match(&self.prefix).and_then(|mut rest| number_of(rest.next()?.as_ref()));
            count = count.max(number.map_or(0, |number| number + 1));
        }
        Ok(count)
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }

    /// For the verifier, which asks for one thing after the other. Not to be
    /// asked on a thread of the runtime that `handle` is of.
    #[must_use]
    pub fn blocking(self, handle: Handle) -> BlockingArchive {
        BlockingArchive { folder: self, handle }
    }
}

/// Of any of a segment's files.
fn number_of(name: &str) -> Option<u64> {
    let number: u64 = name.strip_prefix("seg-")?.split_once('.')?.0.parse().ok()?;
    let Names { records, tiles, checkpoint, manifest } = Names::of(number);
    [records, tiles, checkpoint, manifest].contains(&name.to_owned()).then_some(number)
}

fn s3(bucket: &str, location: &ArchiveLocation) -> Result<impl ObjectStore + use<>> {
    let client = ClientOptions::new().with_timeout(REQUEST);
    let retry = RetryConfig { max_retries: ATTEMPTS, retry_timeout: PATIENCE, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_client_options(client).with_retry(retry);
    if location.allow_http {
        builder = builder.with_allow_http(true);
    }
    if let Some(endpoint) = &location.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &location.region {
        builder = builder.with_region(region);
    }
    match (&location.access_key_id, &location.secret_access_key) {
        (Some(id), Some(file)) => {
            let secret = fs::read_to_string(file);
            let secret =
                secret.map_err(|e| refused(format!("the archive's secret {} could not be read", file.display())).with_source(e))?;
            builder = builder.with_access_key_id(id).with_secret_access_key(secret.trim_end());
        }
        (None, None) => {}
        _ => return Err(refused("`access-key-id` and `secret-access-key` of an archive belong together")),
    }
    builder.build().map_err(|e| refused("the archive's settings make no S3 client").with_source(e))
}

const OPERATION: &str = "audit.archive";

fn refused(why: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, OPERATION, why)
}

fn failed(error: object_store::Error) -> Error {
    let why = match &error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => "the archive refused this host",
        _ => "the archive did not do what it was asked",
    };
    Error::new(ErrorKind::Unavailable, OPERATION, why).with_source(error)
}

/// A folder as the offline verifier reads it.
#[derive(Debug)]
pub struct BlockingArchive {
    folder: ArchiveFolder,
    handle: Handle,
}

fn told(error: Error) -> FetchError {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    FetchError::Io(io::Error::other(format!("{}{cause}", error.message())))
}

impl Archive for BlockingArchive {
    fn fetch(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        Ok(self.handle.block_on(self.folder.get(name, max)).map_err(told)?.map(Vec::from))
    }

    fn fetch_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, FetchError> {
        Ok(self.handle.block_on(self.folder.range(name, range)).map_err(told)?.map(Vec::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_gives_what_it_was_given_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ArchiveFolder::open(&ArchiveLocation::new(format!("file://{}/not/there/yet", dir.path().display()))).unwrap().epoch(3);
        assert_eq!(folder.get("a", 9).await.unwrap(), None);
        assert_eq!(folder.range("a", 0..1).await.unwrap(), None);
        folder.remove("a").await.unwrap();
        folder.put("a", b"first".to_vec()).await.unwrap();
        folder.put("a", b"second".to_vec()).await.unwrap();
        assert_eq!(folder.get("a", 6).await.unwrap().unwrap(), "second");
        assert!(folder.get("a", 5).await.is_err(), "larger than it can be");
        assert_eq!(folder.range("a", 1..4).await.unwrap().unwrap(), "eco");
        for beyond in [5..7, 6..7, 90..99] {
            assert_eq!(folder.range("a", beyond).await.unwrap(), None);
        }
        assert!(dir.path().join("not/there/yet/3/a").is_file());
        folder.remove("a").await.unwrap();
        assert_eq!(folder.get("a", 9).await.unwrap(), None);
    }

    #[test]
    fn what_cannot_be_an_archive_is_refused() {
        let s3 = |change: fn(&mut ArchiveLocation)| {
            let mut location = ArchiveLocation::new("s3://bucket/prefix");
            change(&mut location);
            location
        };
        for (location, told) in [
            (ArchiveLocation::new("/srv/archive"), "begins with"),
            (ArchiveLocation::new("s3://"), "names no bucket"),
            (ArchiveLocation::new("s3://bucket/a//b"), "no usable path"),
            (ArchiveLocation::new("file://relative"), "whole path"),
            (s3(|l| l.access_key_id = Some("id".into())), "belong together"),
            (s3(|l| (l.access_key_id, l.secret_access_key) = (Some("id".into()), Some("/nowhere".into()))), "could not be read"),
        ] {
            let refused = ArchiveFolder::open(&location).unwrap_err();
            assert!(refused.kind() == ErrorKind::InvalidInput && refused.message().contains(told), "{location:?}: {refused}");
        }
    }
}
