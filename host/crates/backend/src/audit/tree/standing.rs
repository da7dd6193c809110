//! How the tree and the archive of a log stand on this host, for those who watch it.

use plinth_capability::{Error, ErrorKind, Result};
use std::sync::{Mutex, PoisonError};

/// What a host does with its log once and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chore {
    Signing,
    Archiving,
}

/// The last answer of each chore.
#[derive(Debug, Default)]
pub(crate) struct Standing(Mutex<Faults>);

#[derive(Debug, Default)]
struct Faults {
    signing: Option<String>,
    archiving: Option<String>,
    /// The first record that is missing from the log.
    gap: Option<u64>,
}

impl Standing {
    /// Notes how a chore ended, and writes a line for the first of several failures in a row and for the end of them.
    pub(crate) fn note<T>(&self, chore: Chore, ended: &Result<T>) {
        let told = ended.as_ref().err().map(|error| error.message().to_owned());
        let before = {
            let mut faults = self.faults();
            let slot = match chore {
                Chore::Signing => &mut faults.signing,
                Chore::Archiving => &mut faults.archiving,
            };
            std::mem::replace(slot, told)
        };
        let what = chore.past();
        match (ended, before) {
            (Err(error), None) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                tracing::error!(%error, cause, "the audit log could not be {what}; it is tried again");
            }
            (Err(error), Some(_)) => tracing::debug!(%error, "the audit log is still not {what}"),
            (Ok(_), Some(_)) => tracing::info!("the audit log is {what} again"),
            (Ok(_), None) => {}
        }
    }

    /// Said once: what comes after a missing record must not take its leaf, so
    /// it gets none, and no checkpoint says anything of it.
    pub(crate) fn gap(&self, missing: u64, found: u64) {
        if self.faults().gap.replace(missing) != Some(missing) {
            tracing::error!(missing, found, "a record is missing from the audit log; records after it are not signed");
        }
    }

    /// The worst of it.
    pub(crate) fn health(&self) -> Result<()> {
        let faults = self.faults();
        let told = match (&faults.gap, &faults.signing, &faults.archiving) {
            (Some(missing), _, _) => format!("record {missing} is missing from the audit log, and none after it is signed"),
            (_, Some(why), _) => format!("the audit log is not signed: {why}"),
            (_, _, Some(why)) => format!("the audit log is not archived: {why}"),
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Failed, "audit.tree", told))
    }

    fn faults(&self) -> std::sync::MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Chore {
    fn past(self) -> &'static str {
        match self {
            Self::Signing => "signed",
            Self::Archiving => "archived",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_until_it_is_well_again() {
        let standing = Standing::default();
        let told = |standing: &Standing| standing.health().map_err(|error| error.message().to_owned());
        let failed = || Err::<(), _>(Error::new(ErrorKind::Unavailable, "x", "no disk"));
        standing.note(Chore::Archiving, &failed());
        assert_eq!(told(&standing).unwrap_err(), "the audit log is not archived: no disk");
        standing.note(Chore::Signing, &failed());
        assert_eq!(told(&standing).unwrap_err(), "the audit log is not signed: no disk");
        standing.note(Chore::Signing, &Ok(()));
        standing.note(Chore::Archiving, &Ok(()));
        assert_eq!(told(&standing), Ok(()));
        standing.gap(7, 9);
        assert!(told(&standing).unwrap_err().contains("record 7 is missing"));
    }
}
