//! What makes the audit log verifiable and lasting, wherever it is kept.

use super::ConfigError;
use plinth_backend::audit::{ArchiveLocation, PersonsConfig, Retention};
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct AuditLogConfig {
    /// What the log is called in its checkpoints, chosen when it begins: `audit.example.com/plinth`.
    pub origin: Option<String>,
    /// The file of the secret that checkpoints are signed with; hosts over one log share it.
    pub key: Option<PathBuf>,
    /// The folder, outside the database, of the newest checkpoints.
    pub checkpoints: Option<PathBuf>,
    /// Where segments of the log go.
    pub archive: Option<ArchiveLocation>,
    pub retention: Retention,
    /// Where records that may come later wait while the log is away.
    pub spool: Option<SpoolSettings>,
    /// Where the keys of persons are; without it nothing personal can be written.
    pub persons: Option<PersonsSettings>,
}

/// How what records say of persons is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PersonsSettings {
    /// Of keys, outside the database and its backups; hosts over one log share it.
    pub folder: PathBuf,
    #[serde(default = "thirty")]
    pub rotate_days: u32,
    /// How long backups of the database are kept.
    #[serde(default = "thirty")]
    pub backup_days: u32,
    /// Whether `user:ID` is stored under a pseudonym.
    #[serde(default = "yes")]
    pub pseudonymous_actors: bool,
}

fn thirty() -> u32 {
    30
}

fn yes() -> bool {
    true
}

impl PersonsSettings {
    /// As the backend takes it.
    pub(crate) fn config(&self) -> PersonsConfig {
        let Self { folder, rotate_days, backup_days, pseudonymous_actors } = self.clone();
        PersonsConfig { rotate_days, backup_days, pseudonymous_actors, ..PersonsConfig::new(folder) }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SpoolSettings {
    /// Of this host alone; `audit-spool` in the data folder if absent.
    pub folder: Option<PathBuf>,
    pub max_bytes: u64,
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self { folder: None, max_bytes: 256 << 20 }
    }
}

impl AuditLogConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(persons) = &self.persons {
            for (name, days) in
                [("audit-log.persons.rotate-days", persons.rotate_days), ("audit-log.persons.backup-days", persons.backup_days)]
            {
                if days == 0 {
                    return Err(ConfigError::Zero(name));
                }
            }
        }
        let Retention { online_days, archived_days } = self.retention;
        for (name, days) in [("audit-log.retention.online-days", online_days), ("audit-log.retention.archived-days", archived_days)] {
            if days == Some(0) {
                return Err(ConfigError::Zero(name));
            }
        }
        if self.spool.as_ref().is_some_and(|spool| spool.max_bytes == 0) {
            return Err(ConfigError::Zero("audit-log.spool.max-bytes"));
        }
        if self.archive.is_none() && self.retention != Retention::default() {
            return Err(ConfigError::Retention("needs `audit-log.archive`: nothing goes that is not archived"));
        }
        match (online_days, archived_days) {
            (None, Some(_)) => {
                Err(ConfigError::Retention("has `archived-days` without `online-days`: what stays in the database cannot expire"))
            }
            (Some(online), Some(archived)) if archived <= online => Err(ConfigError::Retention(
                "has `archived-days` that are not more than `online-days`; both count from when a record was made",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::HostConfig;

    #[test]
    fn keys_of_persons_have_a_folder_and_live_for_some_days() {
        let config = |more: &str| HostConfig::parse(&format!("[audit-log.persons]\n{more}"));
        assert!(config("").is_err(), "no default: the folder must not be where backups of the data go");
        let good = config("folder = '/srv/keys'").unwrap();
        good.check().unwrap();
        let kept = good.audit_log.persons.unwrap().config();
        assert_eq!((kept.rotate_days, kept.backup_days, kept.pseudonymous_actors), (30, 30, true));
        for zero in ["rotate-days", "backup-days"] {
            let refused = config(&format!("folder = '/srv/keys'\n{zero} = 0")).unwrap().check().unwrap_err().to_string();
            assert!(refused.contains(zero), "{refused}");
        }
    }

    #[test]
    fn retention_that_would_lose_records_unseen_is_refused() {
        let archive = "[audit-log.archive]\nurl = 'file:///srv/archive'\n";
        for (retention, told) in [
            ("online-days = 0", "must not be zero"),
            ("online-days = 30\narchived-days = 30", "not more than"),
            ("archived-days = 30", "without `online-days`"),
        ] {
            let config = HostConfig::parse(&format!("{archive}[audit-log.retention]\n{retention}")).unwrap();
            let refused = config.check().unwrap_err().to_string();
            assert!(refused.contains(told), "{retention}: {refused}");
        }
        let homeless = HostConfig::parse("[audit-log.retention]\nonline-days = 30").unwrap();
        assert!(homeless.check().unwrap_err().to_string().contains("needs `audit-log.archive`"));
        let good = HostConfig::parse(&format!("{archive}[audit-log.retention]\nonline-days = 180\narchived-days = 1095")).unwrap();
        good.check().unwrap();
    }
}
