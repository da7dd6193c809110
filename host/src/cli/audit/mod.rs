//! `plinth audit`: reads the audit log of a running host, and verifies any tile log.

mod archive;
mod check_proof;
mod export;
mod personal;
mod query;
mod trust;
mod url;
mod verify;

use super::Done;
use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum AuditCommand {
    /// Records that meet every condition given, oldest first.
    Query(query::Query),
    /// Write every record that meets the conditions to standard output, a line of JSON each.
    Export(export::Export),
    /// Verify a whole log offline: every record, tile and signature. Exit codes: 0 sound, 1 tampered, 2 incomplete, 3 usage.
    Verify(verify::Verify),
    /// Verify one proof offline. Exit codes: 0 holds, 1 does not hold, 2 signatures are missing, 3 usage.
    CheckProof(check_proof::CheckProof),
    /// Show what a record says of a person; that it was shown is recorded.
    Open(personal::Open),
    /// Destroy a person's key, so that what records say of her can never be opened again.
    Erase(personal::Erase),
    /// Print a trust policy for the log of a host, to be kept where the host's operators cannot change it.
    Trust(trust::Trust),
}

impl AuditCommand {
    pub(super) fn run(self) -> Done {
        match self {
            Self::Query(query) => query.run(),
            Self::Export(export) => export.run(),
            Self::Verify(verify) => verify.run(),
            Self::CheckProof(check) => check.run(),
            Self::Open(open) => open.run(),
            Self::Erase(erase) => erase.run(),
            Self::Trust(trust) => trust.run(),
        }
    }
}
