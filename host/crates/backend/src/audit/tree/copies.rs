//! The newest checkpoint of each epoch, kept outside the database that it is about.
//!
//! Whoever restores or rewrites the database cannot take these back with it:
//! they are what the tree is compared with before anything new is signed.

use plinth_capability::{Error, ErrorKind, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A folder with a signed note per epoch.
#[derive(Debug, Clone)]
pub(crate) struct Copies(PathBuf);

impl Copies {
    /// Away from the threads that answer: reading waits for a disk, and keeping for it to have written.
    pub(crate) async fn off<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> Result<T> + Send + 'static) -> Result<T> {
        let copies = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&copies)).await;
        done.map_err(|e| Error::new(ErrorKind::Internal, "audit.checkpoint", "cut off").with_source(e))?
    }

    pub(crate) fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| failed("the folder of checkpoints could not be made", e))?;
        Ok(Self(folder.to_path_buf()))
    }

    /// The newest epoch that is known here, and its newest checkpoint.
    pub(crate) fn newest(&self) -> Result<Option<(u64, String)>> {
        let entries = fs::read_dir(&self.0).map_err(|e| failed("the folder of checkpoints could not be read", e))?;
        let mut newest = None;
        for entry in entries {
            let name = entry.map_err(|e| failed("the folder of checkpoints could not be read", e))?.file_name();
            let epoch = name.to_str().and_then(|name| name.strip_suffix(".note")?.parse().ok());
            newest = newest.max(epoch);
        }
        let Some(epoch) = newest else { return Ok(None) };
        let note = fs::read_to_string(self.path(epoch)).map_err(|e| failed("a kept checkpoint could not be read", e))?;
        Ok(Some((epoch, note)))
    }

    /// Keeps it unless what is there is newer, which `is_newer` says of another note of the same epoch. Hosts may
    /// share the folder, and one of them at a time looks and writes.
    ///
    /// On disk when this returns: a crash leaves the old one or the new one.
    pub(crate) fn keep(&self, epoch: u64, note: &str, is_newer: impl Fn(&str) -> Result<bool>) -> Result<()> {
        let _held = self.hold()?;
        if let Some((kept, other)) = self.newest()?
            && (kept > epoch || (kept == epoch && (other == note || is_newer(&other)?)))
        {
            return Ok(());
        }
        let write = || -> io::Result<()> {
            let draft = self.0.join(format!("{epoch}.{}.draft", uuid::Uuid::new_v4().simple()));
            let mut file = File::create(&draft)?;
            file.write_all(note.as_bytes())?;
            file.sync_all()?;
            fs::rename(&draft, self.path(epoch))?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(|e| failed("a checkpoint could not be kept outside the database", e))
    }

    /// Until it is dropped; the system gives it back if the process dies.
    fn hold(&self) -> Result<File> {
        let file = File::create(self.0.join("lock")).and_then(|file| file.lock().map(|()| file));
        file.map_err(|e| failed("the folder of checkpoints could not be locked", e))
    }

    fn path(&self, epoch: u64) -> PathBuf {
        self.0.join(format!("{epoch}.note"))
    }
}

fn failed(why: &'static str, error: io::Error) -> Error {
    Error::new(ErrorKind::Failed, "audit.checkpoint", why).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_epoch_wins_and_drafts_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::open(&folder.path().join("checkpoints")).unwrap();
        assert_eq!(copies.newest().unwrap(), None);
        let keep = |epoch, note| copies.keep(epoch, note, |other| Ok(other == "ten again")).unwrap();
        keep(9, "nine");
        keep(10, "ten");
        keep(10, "ten again");
        keep(10, "ten");
        keep(9, "nine again");
        fs::write(folder.path().join("checkpoints/11.draft"), "half").unwrap();
        assert_eq!(copies.newest().unwrap(), Some((10, "ten again".to_owned())));
    }
}
