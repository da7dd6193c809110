//! The secrets capability on a directory of key files.

mod file;
mod key;

pub use key::{OVERHEAD, version_of};

use async_trait::async_trait;
use file::KeyDirectory;
use key::Ring;
use plinth_capability::{
    Error, ErrorKind, Result,
    secrets::{DATA_MAX, Secrets},
};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

/// Keys made by this host at their first use and kept in files only it may read;
/// hosts that share the directory share the keys.
///
/// # Cancel safety
///
/// Making and rotating a key runs to its end on a blocking thread, whoever waits.
pub struct KeyringSecrets {
    directory: Arc<KeyDirectory>,
    // A std lock: held for a map lookup, never across an await. Bounded by the
    // limit on key files.
    rings: Arc<RwLock<HashMap<String, Arc<Ring>>>>,
    revealable: BTreeMap<String, Vec<u8>>,
}

/// Never what it keeps.
impl fmt::Debug for KeyringSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyringSecrets").finish_non_exhaustive()
    }
}

impl KeyringSecrets {
    /// Reads every key, so that an unusable one stops the start and not a call.
    /// `revealable` is what `reveal` may show, by name.
    pub async fn open(directory: &Path, revealable: BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let directory = directory.to_owned();
        let (directory, rings) = blocking("secrets.open", move || {
            let directory = KeyDirectory::open(directory)?;
            let rings = directory.load_all()?;
            Ok((directory, rings))
        })
        .await?;
        Ok(Self { directory: Arc::new(directory), rings: Arc::new(RwLock::new(rings)), revealable })
    }

    /// Makes a new version of a key current and answers its number. What older
    /// versions signed and sealed stays good.
    pub async fn rotate(&self, key: &str) -> Result<u32> {
        let ring = self.change("secrets.rotate", key, KeyDirectory::rotate).await?;
        Ok(ring.current().version)
    }

    /// The key to sign or seal with, made now if it was never used.
    async fn ring(&self, operation: &'static str, key: &str) -> Result<Arc<Ring>> {
        match self.known(key) {
            Some(ring) => Ok(ring),
            None => self.change(operation, key, KeyDirectory::load_or_create).await,
        }
    }

    async fn change(&self, operation: &'static str, key: &str, change: fn(&KeyDirectory, &str) -> Result<Ring>) -> Result<Arc<Ring>> {
        let (directory, rings, key) = (Arc::clone(&self.directory), Arc::clone(&self.rings), key.to_owned());
        blocking(operation, move || {
            let ring = Arc::new(change(&directory, &key)?);
            keep(&rings, key, &ring);
            Ok(ring)
        })
        .await
    }

    /// Another host may have rotated or made the key since it was read here.
    async fn read_again(&self, operation: &'static str, key: &str, known: Option<&Ring>) -> Result<Option<Arc<Ring>>> {
        let (directory, rings, key) = (Arc::clone(&self.directory), Arc::clone(&self.rings), key.to_owned());
        let known = known.map(Ring::versions);
        blocking(operation, move || {
            let ring = directory.load_newer(&key, known)?.map(Arc::new);
            if let Some(ring) = &ring {
                keep(&rings, key, ring);
            }
            Ok(ring)
        })
        .await
    }

    fn known(&self, key: &str) -> Option<Arc<Ring>> {
        read(&self.rings).get(key).cloned()
    }
}

#[async_trait]
impl Secrets for KeyringSecrets {
    async fn sign(&self, key: &str, data: &[u8]) -> Result<Vec<u8>> {
        bounded("secrets.sign", data, DATA_MAX)?;
        Ok(self.ring("secrets.sign", key).await?.current().sign(data))
    }

    async fn verify(&self, key: &str, data: &[u8], signature: &[u8]) -> Result<()> {
        const OPERATION: &str = "secrets.verify";
        bounded(OPERATION, data, DATA_MAX)?;
        let ring = self.known(key);
        if ring.as_ref().is_some_and(|ring| ring.verifies(data, signature)) {
            return Ok(());
        }
        match self.read_again(OPERATION, key, ring.as_deref()).await? {
            Some(ring) if ring.verifies(data, signature) => Ok(()),
            _ => Err(unverified(OPERATION)),
        }
    }

    async fn seal(&self, key: &str, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>> {
        const OPERATION: &str = "secrets.seal";
        bounded(OPERATION, plaintext, DATA_MAX)?;
        bounded(OPERATION, associated_data, DATA_MAX)?;
        let ring = self.ring(OPERATION, key).await?;
        ring.current().seal(key, plaintext, associated_data)
    }

    async fn unseal(&self, key: &str, sealed: &[u8], associated_data: &[u8]) -> Result<Vec<u8>> {
        const OPERATION: &str = "secrets.unseal";
        bounded(OPERATION, sealed, DATA_MAX + OVERHEAD)?;
        bounded(OPERATION, associated_data, DATA_MAX)?;
        let Some(version) = version_of(sealed) else { return Err(unverified(OPERATION)) };
        let mut ring = self.known(key);
        if ring.as_ref().is_none_or(|ring| ring.version(version).is_none()) {
            ring = self.read_again(OPERATION, key, ring.as_deref()).await?;
        }
        let opened = ring.as_ref().and_then(|ring| ring.version(version)?.unseal(key, sealed, associated_data));
        opened.ok_or_else(|| unverified(OPERATION))
    }

    async fn reveal(&self, name: &str) -> Result<Vec<u8>> {
        let missing = || Error::new(ErrorKind::NotFound, "secrets.reveal", "no secret of this name is configured");
        self.revealable.get(name).cloned().ok_or_else(missing)
    }
}

/// Keeps the ring with the most versions, whichever reader comes last.
fn keep(rings: &RwLock<HashMap<String, Arc<Ring>>>, key: String, ring: &Arc<Ring>) {
    let mut rings = write(rings);
    if rings.get(&key).is_none_or(|known| known.versions() < ring.versions()) {
        rings.insert(key, Arc::clone(ring));
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

fn bounded(operation: &'static str, data: &[u8], most: usize) -> Result<()> {
    if data.len() > most {
        return Err(Error::new(ErrorKind::LimitExceeded, operation, format!("{} bytes, at most {most}", data.len())));
    }
    Ok(())
}

/// One answer for every reason, so that it helps nobody to guess.
fn unverified(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unverified, operation, "does not verify")
}

async fn blocking<T: Send + 'static>(operation: &'static str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let failed = |error| Error::new(ErrorKind::Internal, operation, "the key store failed").with_source(error);
    tokio::task::spawn_blocking(work).await.map_err(|error: tokio::task::JoinError| failed(error))?
}
