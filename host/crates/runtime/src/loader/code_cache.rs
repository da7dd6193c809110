//! Compiled code on disk, believed only if this host wrote it: `deserialize` trusts its input.

use crate::{engine::EngineConfig, loader::hex};
use aws_lc_rs::hmac;
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};
use wasmtime::{Engine, component::Component};

/// Entries kept; the least recently written go first. Losing one costs a compile.
const ENTRIES_MAX: usize = 256;
const TAG_LEN: usize = 32;

pub(crate) struct CodeCache {
    dir: PathBuf,
    key: hmac::Key,
    /// Engine version and settings: code of another engine has another name.
    bound_to: Vec<u8>,
}

impl CodeCache {
    pub(crate) fn open(dir: PathBuf, key: &[u8; 32], engine: &Engine, config: &EngineConfig) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let mut hasher = Fingerprint::default();
        std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
        let mut bound_to = format!("{}\n", serde_json::to_string(config).map_err(io::Error::other)?).into_bytes();
        bound_to.extend(hasher.0);
        Ok(Self { dir, key: hmac::Key::new(hmac::HMAC_SHA256, key), bound_to })
    }

    fn path(&self, digest: &str) -> PathBuf {
        let mut name = hmac::Context::with_key(&self.key);
        name.update(b"name\0");
        name.update(digest.as_bytes());
        name.update(&self.bound_to);
        self.dir.join(format!("{}.cwasm", hex(name.sign().as_ref())))
    }

    /// Over the code and what it is for, so that one valid entry cannot pass as another.
    fn tag(&self, digest: &str, code: &[u8]) -> hmac::Tag {
        let mut tag = hmac::Context::with_key(&self.key);
        tag.update(b"code\0");
        tag.update(digest.as_bytes());
        tag.update(&self.bound_to);
        tag.update(code);
        tag.sign()
    }

    /// None if there is no entry, or none that can be believed.
    pub(crate) fn get(&self, engine: &Engine, digest: &str) -> Option<Component> {
        let path = self.path(digest);
        let bytes = fs::read(&path).ok()?;
        let (tag, code) = bytes.split_at_checked(TAG_LEN)?;
        if aws_lc_rs::constant_time::verify_slices_are_equal(tag, self.tag(digest, code).as_ref()).is_err() {
            tracing::warn!(digest, "compiled code on disk was not written by this host; compiling anew");
            let _ = fs::remove_file(&path);
            return None;
        }
        deserialize(engine, code).inspect_err(|e| tracing::warn!(digest, error = %e, "compiled code does not load; compiling anew")).ok()
    }

    /// Stores code that our own child just made, and loads it.
    pub(crate) fn put(&self, engine: &Engine, digest: &str, code: &[u8]) -> wasmtime::Result<Component> {
        let component = deserialize(engine, code)?;
        if let Err(error) = self.write(digest, code) {
            tracing::warn!(digest, %error, "compiled code could not be cached");
        }
        Ok(component)
    }

    fn write(&self, digest: &str, code: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        let unfinished = path.with_extension(format!("{}.tmp", uuid::Uuid::now_v7().simple()));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        io::Write::write_all(&mut file, self.tag(digest, code).as_ref())?;
        io::Write::write_all(&mut file, code)?;
        fs::rename(&unfinished, &path)?;
        self.prune(&path)
    }

    fn prune(&self, keep: &Path) -> io::Result<()> {
        let mut entries: Vec<(SystemTime, PathBuf)> = fs::read_dir(&self.dir)?
            .flatten()
            .filter(|entry| entry.path() != keep)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        entries.sort();
        let surplus = entries.len().saturating_sub(ENTRIES_MAX - 1);
        for (_, path) in entries.into_iter().take(surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

/// Collects what is hashed: the engine describes itself only to a hasher.
#[derive(Default)]
struct Fingerprint(Vec<u8>);

impl std::hash::Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

#[expect(unsafe_code, reason = "loading compiled code is how every start and swap avoids compiling")]
fn deserialize(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: both callers hold code that `precompile_component` of our own
    // binary made: either this moment in our child, or earlier, proven by an
    // HMAC under the host's key over these very bytes in memory.
    unsafe { Component::deserialize(engine, code) }
}
