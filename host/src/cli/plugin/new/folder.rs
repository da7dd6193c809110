//! A folder that is filled as a whole or not at all, and in which nothing is overwritten.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("{} exists and is not empty", .0.display())]
    NotEmpty(PathBuf),
    #[error("{} exists and is not a folder", .0.display())]
    NotAFolder(PathBuf),
    #[error("could not write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Takes away what it made when it is dropped before `keep`.
pub(super) struct Folder {
    root: PathBuf,
    /// In the order made.
    made: Vec<Made>,
}

enum Made {
    Folder(PathBuf),
    File(PathBuf),
}

impl Folder {
    /// A new folder, or one that is empty.
    pub(super) fn begin(root: &Path) -> Result<Self, FolderError> {
        match root.read_dir() {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(FolderError::NotEmpty(root.to_owned()));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Err(FolderError::NotAFolder(root.to_owned())),
            Err(source) => return Err(FolderError::Write { path: root.to_owned(), source }),
        }
        let mut folder = Self { root: root.to_owned(), made: Vec::new() };
        folder.make(root)?;
        Ok(folder)
    }

    /// A file that is not there yet, with the folders above it.
    pub(super) fn write(&mut self, path: &str, text: &str) -> Result<(), FolderError> {
        let path = self.root.join(path);
        if let Some(above) = path.parent() {
            self.make(above)?;
        }
        let failed = |source| FolderError::Write { path: path.clone(), source };
        let mut file = File::create_new(&path).map_err(failed)?;
        self.made.push(Made::File(path.clone()));
        file.write_all(text.as_bytes()).map_err(failed)
    }

    pub(super) fn keep(mut self) {
        self.made.clear();
    }

    fn make(&mut self, folder: &Path) -> Result<(), FolderError> {
        if folder.as_os_str().is_empty() || folder.is_dir() {
            return Ok(());
        }
        if let Some(above) = folder.parent() {
            self.make(above)?;
        }
        fs::create_dir(folder).map_err(|source| FolderError::Write { path: folder.to_owned(), source })?;
        self.made.push(Made::Folder(folder.to_owned()));
        Ok(())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for made in self.made.drain(..).rev() {
            // The error that led here is the one to tell; a folder somebody has put something into stays.
            let _tried = match made {
                Made::Folder(path) => fs::remove_dir(path),
                Made::File(path) => fs::remove_file(path),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_half_way_leaves_nothing() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("deep/down/plugin");
        let mut folder = Folder::begin(&root).unwrap();
        folder.write("src/a", "text").unwrap();
        // A file where a folder has to be, and a second time the same file.
        assert!(matches!(folder.write("src/a/b", ""), Err(FolderError::Write { .. })));
        assert!(matches!(folder.write("src/a", ""), Err(FolderError::Write { .. })));
        assert_eq!(fs::read_to_string(root.join("src/a")).unwrap(), "text");
        drop(folder);
        assert_eq!(outer.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("mine"), "1").unwrap();
        assert!(matches!(Folder::begin(outer.path()), Err(FolderError::NotEmpty(_))));
        assert!(matches!(Folder::begin(&outer.path().join("mine")), Err(FolderError::NotAFolder(_))));
        // An empty folder is filled, and is still there if that fails.
        let empty = outer.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let mut folder = Folder::begin(&empty).unwrap();
        folder.write("a", "").unwrap();
        fs::write(empty.join("theirs"), "").unwrap();
        drop(folder);
        assert!(empty.join("theirs").exists() && !empty.join("a").exists());
        let mut folder = Folder::begin(&outer.path().join("new")).unwrap();
        folder.write("a", "kept").unwrap();
        folder.keep();
        assert_eq!(fs::read_to_string(outer.path().join("new/a")).unwrap(), "kept");
    }
}
