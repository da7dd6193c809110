//! From a frame back to records, and where the files come from.

use super::{FRAME_BYTES_MAX, FRAME_RECORDS, SegmentError};
use crate::verify::{Directory, FetchError};
use std::{io::Read as _, ops::Range};

/// Something that has the files of an archive, by their names.
///
/// # Contract
/// - A file that is not there is `Ok(None)`; so is a range beyond its end.
/// - `fetch` gives the whole file, or an error if it has more than `max` bytes.
pub trait Archive {
    /// The bytes of a file.
    ///
    /// # Errors
    /// When it cannot be told whether the file is there, or what is in it.
    fn fetch(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError>;

    /// Some of the bytes of a file: as many as the range is long.
    ///
    /// # Errors
    /// As [`Archive::fetch`].
    fn fetch_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, FetchError>;
}

impl Archive for Directory {
    fn fetch(&self, name: &str, max: usize) -> Result<Option<Vec<u8>>, FetchError> {
        self.read(name, u64::try_from(max).unwrap_or(u64::MAX))
    }

    fn fetch_range(&self, name: &str, range: Range<u64>) -> Result<Option<Vec<u8>>, FetchError> {
        self.read_range(name, range)
    }
}

/// The 256 records of a frame. Unpacks at most [`FRAME_BYTES_MAX`] bytes, in a window of at most 32 MiB.
///
/// # Errors
/// [`SegmentError::Frame`].
pub fn read_frame(packed: &[u8]) -> Result<Vec<Vec<u8>>, SegmentError> {
    let lines = unpack(packed).map_err(|_| SegmentError::Frame)?;
    let lines = lines.strip_suffix(b"\n").ok_or(SegmentError::Frame)?;
    let records: Vec<_> = lines.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let fits = records.len() == FRAME_RECORDS && records.iter().all(|record| !record.is_empty());
    if fits { Ok(records) } else { Err(SegmentError::Frame) }
}

fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?.single_frame();
    decoder.window_log_max(25)?;
    let mut lines = Vec::new();
    let limit = u64::try_from(FRAME_BYTES_MAX).unwrap_or(u64::MAX);
    decoder.by_ref().take(limit + 1).read_to_end(&mut lines)?;
    let whole = lines.len() <= FRAME_BYTES_MAX && decoder.finish().is_empty();
    if whole { Ok(lines) } else { Err(std::io::ErrorKind::InvalidData.into()) }
}
