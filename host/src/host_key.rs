//! The host's own key: made once, kept in a file only the host may read.

use crate::start::StartError;
use std::{
    fs,
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Reads the key, or makes one. A key that others may read is refused: whoever
/// has it can plant compiled code.
pub(crate) fn load_or_make(path: &Path) -> Result<[u8; 32], StartError> {
    let failed = |e| StartError::HostKey(path.to_owned(), e);
    match fs::File::open(path) {
        Ok(file) => read(file).map_err(failed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => make(path).map_err(failed),
        Err(e) => Err(failed(e)),
    }
}

fn read(mut file: fs::File) -> io::Result<[u8; 32]> {
    let mode = file.metadata()?.permissions().mode() & 0o077;
    if mode != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "others may read it; its mode must be 600"));
    }
    let mut key = [0; 32];
    file.read_exact(&mut key)?;
    Ok(key)
}

fn make(path: &Path) -> io::Result<[u8; 32]> {
    let mut key = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let unfinished = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    Ok(key)
}
