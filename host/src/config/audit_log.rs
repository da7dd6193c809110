//! What makes the audit log verifiable and lasting, wherever it is kept.

use super::ConfigError;
use plinth_backend::audit::{ArchiveLocation, Retention};
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
}

impl AuditLogConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let Retention { online_days, archived_days } = self.retention;
        for (name, days) in [("audit-log.retention.online-days", online_days), ("audit-log.retention.archived-days", archived_days)] {
            if days == Some(0) {
                return Err(ConfigError::Zero(name));
            }
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
