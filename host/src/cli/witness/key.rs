//! `plinth witness key`: makes the secret of a witness, once.

use crate::cli::{Complaint, Done};
use clap::Args;
use plinth_audit::note::{KeyName, SignatureType, Signer, SignerKey};
use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

#[derive(Args)]
pub(in crate::cli) struct Key {
    /// What the witness is called, such as witness.example.com/plinth: no spaces, no plus signs.
    name: String,
    /// Where the secret is written, readable by this user alone. A file that is there is never replaced.
    file: PathBuf,
    /// A key that quantum computers do not break (ML-DSA-44), with longer signatures.
    #[arg(long)]
    ml_dsa: bool,
}

impl Key {
    pub(super) fn run(self) -> Done {
        let name = KeyName::new(&self.name).map_err(|e| Complaint::usage(format!("`{}`: {e}", self.name)))?;
        let kind = if self.ml_dsa { SignatureType::MlDsa44 } else { SignatureType::Cosignature };
        let signer = SignerKey::from_seed(name, kind, rand::random()).map_err(|e| Complaint::failed(e.to_string()))?;
        write(&self.file, &signer.to_secret()).map_err(|e| Complaint::failed(format!("{}: {e}", self.file.display())))?;
        println!("witness {} {}", self.name, signer.key());
        Ok(())
    }
}

fn write(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()
}

pub(super) fn read(path: &Path) -> Result<SignerKey, Complaint> {
    let wrong = |why: String| Complaint::usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let key: SignerKey = text.trim_end().parse().map_err(|e| wrong(format!("not the secret of a witness: {e}")))?;
    match key.key().kind() {
        SignatureType::Cosignature | SignatureType::MlDsa44 => Ok(key),
        SignatureType::Ed25519 => Err(wrong("this key signs notes, not cosignatures; make one with `plinth witness key`".to_owned())),
    }
}
