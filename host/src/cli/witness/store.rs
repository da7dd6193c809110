//! What a witness remembers: a file per log, with the last checkpoint it cosigned.

use plinth_audit::{
    checkpoint::Checkpoint,
    hash::sha256,
    note::Note,
    witness::{Latest, WitnessStore},
};
use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A folder that one process at a time has to itself.
pub(super) struct Folder {
    path: PathBuf,
    /// Held from reading what is stored until the new is on disk.
    turn: Mutex<()>,
    _alone: File,
}

impl Folder {
    /// Fails if another witness uses the folder: two could cosign two histories.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        fs::create_dir_all(&path)?;
        let alone = File::create(path.join("lock"))?;
        alone.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(io::ErrorKind::ResourceBusy, "another witness uses this folder"),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path, turn: Mutex::new(()), _alone: alone })
    }

    /// Origins may hold any character, so a file is named by the digest of one.
    fn file(&self, origin: &str) -> PathBuf {
        self.path.join(format!("{}.checkpoint", sha256(origin.as_bytes()).to_hex()))
    }

    fn read(&self, origin: &str) -> io::Result<Option<Latest>> {
        let file = self.file(origin);
        let note = match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let damaged = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", file.display()));
        let parsed = Note::parse(note.as_bytes()).map_err(|e| damaged(e.to_string()))?;
        let checkpoint: Checkpoint = parsed.text().parse().map_err(|e| damaged(format!("{e}")))?;
        if checkpoint.origin() != origin {
            return Err(damaged("this is a checkpoint of another log".to_owned()));
        }
        Ok(Some(Latest { size: checkpoint.size(), root: *checkpoint.root(), note }))
    }
}

impl WitnessStore for Folder {
    type Error = io::Error;

    fn latest(&self, origin: &str) -> io::Result<Option<Latest>> {
        self.read(origin)
    }

    /// On disk when this returns: a crash leaves the old one or the new one.
    fn replace(&self, origin: &str, expected: Option<&Latest>, new: &Latest) -> io::Result<bool> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.read(origin)?.as_ref() != expected {
            return Ok(false);
        }
        let file = self.file(origin);
        write_whole(&file, &new.note)?;
        Ok(true)
    }
}

fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latest(origin: &str, size: u64) -> Latest {
        let root = sha256(origin.as_bytes());
        let text = Checkpoint::new(origin, size, root).unwrap().to_string();
        Latest { size, root, note: format!("{text}\n— {origin} AAAAAAAA\n") }
    }

    #[test]
    fn it_keeps_the_contract_of_a_store_and_its_folder_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = Folder::open(folder.path().join("witness")).unwrap();
        let (one, two) = (latest("example.com/log/0", 1), latest("example.com/log/0", 2));
        let origin = "example.com/log/0";
        assert_eq!(store.latest(origin).unwrap(), None);
        assert!(!store.replace(origin, Some(&one), &two).unwrap(), "nothing is stored yet");
        assert!(store.replace(origin, None, &one).unwrap());
        assert!(!store.replace(origin, None, &two).unwrap(), "somebody was quicker");
        assert_eq!(store.latest(origin).unwrap(), Some(one.clone()));
        assert_eq!(store.latest("example.com/log/1").unwrap(), None);
        assert!(store.replace(origin, Some(&one), &two).unwrap());
        assert!(Folder::open(folder.path().join("witness")).is_err(), "two witnesses would cosign two histories");
        drop(store);
        let store = Folder::open(folder.path().join("witness")).unwrap();
        assert_eq!(store.latest(origin).unwrap(), Some(two));
        fs::write(store.file(origin), "damaged").unwrap();
        assert!(store.latest(origin).is_err(), "what cannot be read is not taken for nothing");
    }
}
