//! Where a log's files come from.

use std::{
    fs,
    io::{self, Read as _, Seek as _},
    ops::Range,
    path::PathBuf,
};

/// Something that has a log's files, by their paths below the log's prefix.
///
/// # Contract
/// - A file that is not there is `Ok(None)`.
/// - No more is read than a file of its kind may have (an entry bundle, the largest, has
///   [`crate::tile::BUNDLE_BYTES_MAX`] bytes); a larger one is an error.
/// - Called from several threads at once.
pub trait Source: Sync {
    /// The bytes of a file.
    ///
    /// # Errors
    /// When it cannot be told whether the file is there, or what is in it.
    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FetchError>;
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Larger than any file of a tile log.
    #[error("the file has {0} bytes, more than any of a tile log")]
    TooLarge(u64),
    /// The disk, or the network.
    #[error("could not read: {0}")]
    Io(#[from] io::Error),
}

/// A log in a directory, as a web server would serve it.
#[derive(Clone, Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory in which `checkpoint` and `tile` are.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Directory {
    /// A file of at most `max` bytes.
    pub(crate) fn read(&self, path: &str, max: u64) -> Result<Option<Vec<u8>>, FetchError> {
        let path = self.0.join(path);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() > max => Err(FetchError::TooLarge(metadata.len())),
            Ok(_) => Ok(Some(fs::read(&path)?)),
            Err(error) => absent(error),
        }
    }

    /// These bytes of a file; none when it ends before.
    pub(crate) fn read_range(&self, path: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, FetchError> {
        let length = range.end.saturating_sub(range.start);
        let mut bytes = Vec::new();
        let mut file = match fs::File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) => return absent(error),
        };
        file.seek(io::SeekFrom::Start(range.start))?;
        file.take(length).read_to_end(&mut bytes)?;
        Ok(u64::try_from(bytes.len()).is_ok_and(|found| found == length).then_some(bytes))
    }
}

fn absent(error: io::Error) -> Result<Option<Vec<u8>>, FetchError> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(error.into()),
    }
}

impl Source for Directory {
    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FetchError> {
        self.read(path, u64::try_from(crate::tile::BUNDLE_BYTES_MAX).unwrap_or(u64::MAX))
    }
}
