//! How to reach a PostgreSQL server, and as whom.

use plinth_capability::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use std::{path::PathBuf, str::FromStr};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user@host:port/database`, without a password.
    pub url: String,
    /// Holds the user's password and nothing else; a line end is cut off.
    pub password_file: Option<PathBuf>,
    pub tls: PostgresTls,
    /// Certificates of the authorities to believe, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// Of the host itself, besides those of plugins' databases.
    pub host_connections: u32,
    /// How long the host waits for one of its connections.
    pub acquire_timeout_ms: u32,
    /// Ends a statement of the host itself on the server.
    pub statement_timeout_ms: u32,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            url: "postgres://plinth@127.0.0.1:5432/plinth".to_owned(),
            password_file: None,
            tls: PostgresTls::default(),
            ca_file: None,
            host_connections: 8,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 30_000,
        }
    }
}

/// Whether the connection is encrypted, and what is checked of the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostgresTls {
    /// For a server on this machine or in a private network only.
    Disable,
    /// Encrypted if the server can; not safe against somebody in between.
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl PostgresConfig {
    /// Reads the password; the answer connects as the host's own role.
    pub(super) async fn connect_options(&self) -> Result<PgConnectOptions> {
        let refuse = |why: &str| Error::new(ErrorKind::InvalidInput, "postgres.configure", why);
        let authority = self.url.split_once("://").map_or("", |(_, rest)| rest).split('/').next().unwrap_or_default();
        if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || self.url.contains("password=") {
            return Err(refuse("the URL has a password: put it into a file and name that as `password-file`"));
        }
        let options = PgConnectOptions::from_str(&self.url).map_err(|e| refuse("the URL cannot be read").with_source(e))?;
        let mut options = options.ssl_mode(match self.tls {
            PostgresTls::Disable => PgSslMode::Disable,
            PostgresTls::Prefer => PgSslMode::Prefer,
            PostgresTls::Require => PgSslMode::Require,
            PostgresTls::VerifyCa => PgSslMode::VerifyCa,
            PostgresTls::VerifyFull => PgSslMode::VerifyFull,
        });
        if options.get_database().is_none() {
            // As the server takes it for this user; plugins' roles must not land in one of their own names.
            let database = options.get_username().to_owned();
            options = options.database(&database);
        }
        if let Some(file) = &self.ca_file {
            options = options.ssl_root_cert(file);
        }
        if let Some(file) = &self.password_file {
            let unread = |e| refuse("the password file cannot be read").with_source(e);
            let password = tokio::fs::read_to_string(file).await.map_err(unread)?;
            options = options.password(password.trim_end_matches(['\r', '\n']));
        }
        // Statements are measured above; logging each would cost more than running it.
        Ok(options.application_name("plinth").disable_statement_logging())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_a_database_it_is_the_users() {
        let config = PostgresConfig { url: "postgres://plinth@localhost".to_owned(), ..PostgresConfig::default() };
        assert_eq!(config.connect_options().await.unwrap().get_database(), Some("plinth"));
    }

    #[tokio::test]
    async fn a_password_in_the_url_is_refused() {
        for url in ["postgres://a:secret@localhost/db", "postgres://a@localhost/db?password=secret"] {
            let config = PostgresConfig { url: url.to_owned(), ..PostgresConfig::default() };
            let error = config.connect_options().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
            assert!(!format!("{error:?}").contains("secret"), "{url}");
        }
        assert!(PostgresConfig::default().connect_options().await.is_ok());
    }
}
