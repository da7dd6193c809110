//! The key of a log and the names it signs under.

use plinth_audit::{
    checkpoint::Checkpoint,
    note::{KeyName, Note, SignatureType, Signer, SignerKey},
};
use plinth_capability::{Error, ErrorKind, Result};
use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const SEED_BYTES: usize = 32;

pub(super) struct Keys {
    base: String,
    seed: [u8; SEED_BYTES],
}

impl Keys {
    /// Hosts of one fleet share the file, and any of them may make it.
    pub(super) fn open(base: String, path: &Path) -> Result<Self> {
        KeyName::new(format!("{base}/0")).map_err(|e| failed("the name of the audit log cannot name a key", e))?;
        let seed = match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
            read => read,
        };
        Ok(Self { base, seed: seed.map_err(|e| failed("the key of the audit log is not usable", e))? })
    }

    pub(super) fn origin(&self, epoch: u64) -> String {
        format!("{}/{epoch}", self.base)
    }

    /// Each epoch signs with the same secret under its own name.
    pub(super) fn signer(&self, origin: &str) -> Result<SignerKey> {
        let name = KeyName::new(origin).map_err(|e| failed("the origin cannot name a key", e))?;
        SignerKey::from_seed(name, SignatureType::Ed25519, self.seed).map_err(|e| failed("the key of the audit log is not usable", e))
    }

    /// A tree head that was signed here, and not changed since.
    pub(super) fn read(&self, origin: &str, note: &str) -> Result<Checkpoint> {
        let signer = self.signer(origin)?;
        let note = Note::parse(note.as_bytes()).map_err(|e| failed("a stored checkpoint is damaged", e))?;
        let other = "a stored checkpoint was not signed with this host's `audit-log.key`; hosts over one log share that file";
        note.verify([signer.key()]).map_err(|e| failed(other, e))?;
        let checkpoint: Checkpoint = note.text().parse().map_err(|e| failed("a stored checkpoint is damaged", e))?;
        // One secret signs for every epoch, and a signature does not cover the key's name.
        match checkpoint.origin() == origin {
            true => Ok(checkpoint),
            false => Err(Error::new(ErrorKind::Failed, "audit.checkpoint", "a stored checkpoint is of another epoch")),
        }
    }
}

fn read(path: &Path) -> io::Result<[u8; SEED_BYTES]> {
    fs::read(path)?.try_into().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not 32 bytes"))
}

/// The first to make it wins; it appears whole.
fn make(path: &Path) -> io::Result<[u8; SEED_BYTES]> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.draft", uuid::Uuid::new_v4().simple()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(&rand::random::<[u8; SEED_BYTES]>())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // Nothing is signed with a key that a power cut could take away.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::File::open(folder)?.sync_all()?;
    }
    read(path)
}

pub(super) fn failed(why: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Failed, "audit.checkpoint", why).with_source(error)
}
