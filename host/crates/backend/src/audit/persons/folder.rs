//! The folder of keys, outside the database: generations, when the last key left one, what was erased, the pepper.
//!
//! `N.key` is the key of a generation, for the owner only. `N.left` says since when no person's key is under it; it stays when
//! the key is destroyed, so that what was destroyed is told from what was lost. `erased/KEY` names a person's key that nobody may
//! use again, also where a backup brings it back. Hosts may share the folder: what is made is made once, by whoever is first.

use super::cipher::KEY_BYTES;
use base64::{Engine, engine::general_purpose::STANDARD};
use plinth_capability::{Error, ErrorKind, Result};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const HEADER: &str = "plinth audit generation 1";
const PEPPER: &str = "pepper";
const ERASED: &str = "erased";
const KEY: &str = ".key";
const LEFT: &str = ".left";
const DRAFT: &str = ".draft";

#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// What is known of a generation without its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Whether its key is there.
    pub(super) key: bool,
    /// Whether no person's key has been under it for some time.
    pub(super) left: bool,
}

/// By number; what was destroyed is still in it.
pub(super) type Generations = BTreeMap<u64, Standing>;

pub(super) struct Generation {
    pub(super) made_ms: u64,
    pub(super) key: [u8; KEY_BYTES],
}

/// An erasure that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condemned {
    /// The newest generation then: backups hold the key under it or an older one.
    pub(super) generation: u64,
    /// The id of the record of it.
    pub(super) record: String,
}

impl Folder {
    /// Away from the threads that answer: it waits for a disk.
    pub(super) async fn off<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T> + Send + 'static) -> Result<T> {
        let folder = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.map_err(|e| Error::new(ErrorKind::Internal, "audit.persons", "cut off").with_source(e))?
    }

    /// Nothing is looked at or made yet.
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// With everything that belongs in it but keys.
    pub(super) fn furnish(&self) -> Result<()> {
        let made = make_folder(&self.0).and_then(|()| make_folder(&self.0.join(ERASED)));
        made.map_err(|e| failed("the folder of persons' keys could not be made", e))
    }

    pub(super) fn generations(&self) -> Result<Generations> {
        let unread = |e| failed("the folder of persons' keys could not be read", e);
        let mut all = Generations::new();
        for entry in fs::read_dir(&self.0).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            let Some(name) = name.to_str() else { continue };
            let numbered = |suffix: &str| name.strip_suffix(suffix)?.parse::<u64>().ok();
            if let Some(number) = numbered(KEY) {
                all.entry(number).or_default().key = true;
            } else if let Some(number) = numbered(LEFT) {
                all.entry(number).or_default().left = true;
            }
        }
        Ok(all)
    }

    /// `None` if its key is not there.
    pub(super) fn generation(&self, number: u64) -> Result<Option<Generation>> {
        let Some(text) = self.read(&format!("{number}{KEY}"))? else { return Ok(None) };
        let damaged = || failed("a key of a generation is damaged", io::ErrorKind::InvalidData.into());
        let mut lines = text.lines();
        let header = lines.next() == Some(HEADER);
        let made_ms = lines.next().and_then(|line| line.parse().ok());
        let key = lines.next().and_then(|line| STANDARD.decode(line).ok()?.try_into().ok());
        match (header, made_ms, key) {
            (true, Some(made_ms), Some(key)) => Ok(Some(Generation { made_ms, key })),
            _ => Err(damaged()),
        }
    }

    /// Whoever is first makes it; what is there stays. Whether it was this host.
    pub(super) fn make(&self, number: u64, now_ms: u64) -> Result<bool> {
        let key = STANDARD.encode(rand::random::<[u8; KEY_BYTES]>());
        self.create(&format!("{number}{KEY}"), &format!("{HEADER}\n{now_ms}\n{key}\n"))
    }

    /// Since when no person's key is under it.
    pub(super) fn left(&self, number: u64) -> Result<Option<u64>> {
        let Some(text) = self.read(&format!("{number}{LEFT}"))? else { return Ok(None) };
        let damaged = || failed("a time in the folder of persons' keys is damaged", io::ErrorKind::InvalidData.into());
        text.trim().parse().map(Some).map_err(|_| damaged())
    }

    /// What is said already stays, unless it is to be corrected.
    pub(super) fn leave(&self, number: u64, now_ms: u64, correct: bool) -> Result<()> {
        let name = format!("{number}{LEFT}");
        if correct {
            self.remove(&name)?;
        }
        self.create(&name, &format!("{now_ms}\n")).map(drop)
    }

    /// With what a host that was stopped while it made it may have left of it.
    pub(super) fn destroy(&self, number: u64) -> Result<()> {
        let unread = |e| failed("the folder of persons' keys could not be read", e);
        for entry in fs::read_dir(&self.0).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            let draft = |name: &&str| name.starts_with(&format!("{number}.")) && name.ends_with(DRAFT);
            if let Some(name) = name.to_str().filter(draft) {
                self.remove(name)?;
            }
        }
        self.remove(&format!("{number}{KEY}"))
    }

    /// Makes a person's key unusable; answers what was said first.
    pub(super) fn condemn(&self, key: &str, condemned: &Condemned) -> Result<Condemned> {
        let Condemned { generation, record } = condemned;
        self.create(&format!("{ERASED}/{key}"), &format!("{generation} {record}\n"))?;
        self.condemned(key)?.ok_or_else(|| failed("an erasure could not be noted", io::ErrorKind::NotFound.into()))
    }

    pub(super) fn condemned(&self, key: &str) -> Result<Option<Condemned>> {
        let Some(text) = self.read(&format!("{ERASED}/{key}"))? else { return Ok(None) };
        let said = text.trim().split_once(' ').and_then(|(generation, record)| Some((generation.parse().ok()?, record.to_owned())));
        let damaged = || failed("a note of an erasure is damaged", io::ErrorKind::InvalidData.into());
        said.map(|(generation, record)| Some(Condemned { generation, record })).ok_or_else(damaged)
    }

    /// Forgets erasures of keys that no backup has under a generation from `oldest` on: nothing can unwrap them any more. One
    /// further generation counts, because a key may have been on its way there when it was condemned.
    pub(super) fn forget_before(&self, oldest: u64) -> Result<()> {
        let unread = |e| failed("the folder of erasures could not be read", e);
        for entry in fs::read_dir(self.0.join(ERASED)).map_err(unread)? {
            let name = entry.map_err(unread)?.file_name();
            let Some(key) = name.to_str().filter(|name| !name.ends_with(DRAFT)) else { continue };
            if self.condemned(key)?.is_some_and(|condemned| condemned.generation + 1 < oldest) {
                self.remove(&format!("{ERASED}/{key}"))?;
            }
        }
        Ok(())
    }

    /// The secret of pseudonyms; made only if it may be.
    pub(super) fn pepper(&self, may_make: bool) -> Result<[u8; KEY_BYTES]> {
        if may_make {
            self.create(PEPPER, &STANDARD.encode(rand::random::<[u8; KEY_BYTES]>()))?;
        }
        let text = self.read(PEPPER)?.ok_or_else(|| failed("the pepper of persons is missing", io::ErrorKind::NotFound.into()))?;
        let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| failed("the pepper of persons is damaged", io::ErrorKind::InvalidData.into()))
    }

    fn read(&self, name: &str) -> Result<Option<String>> {
        let read = || {
            let file = File::open(self.0.join(name))?;
            if file.metadata()?.mode() & 0o077 != 0 {
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may read it; its mode must be 600"));
            }
            io::read_to_string(file)
        };
        match read() {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("a file of persons' keys could not be read", error)),
        }
    }

    /// The first to make it wins; it appears whole, and is on disk when this returns. Whether it was this one.
    fn create(&self, name: &str, text: &str) -> Result<bool> {
        let create = || -> io::Result<bool> {
            let path = self.0.join(name);
            let draft = path.with_extension(format!("{}{DRAFT}", uuid::Uuid::new_v4().simple()));
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            let linked = fs::hard_link(&draft, &path);
            fs::remove_file(&draft)?;
            match linked {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                linked => sync_parent(&path).map(|()| linked.is_ok()),
            }
        };
        create().map_err(|e| failed("a file of persons' keys could not be written", e))
    }

    /// Gone when this returns, whoever removed it.
    fn remove(&self, name: &str) -> Result<()> {
        let path = self.0.join(name);
        let removed = match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_parent(&path),
        };
        removed.map_err(|e| failed("a file of persons' keys could not be removed", e))
    }
}

/// With every folder above it that is missing; each is on disk in the one above when this returns.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_parent(path),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Not there now, as far as anybody can tell: a folder may be mounted again.
fn failed(why: &'static str, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "audit.persons", why).with_source(error)
}
