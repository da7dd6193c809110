//! Several host processes over private PostgreSQL, Redis and RabbitMQ.

use anyhow::{Context, Result};
use plinth_services::{Postgres, RabbitMq, Redis, RedisOptions};
use plinth_tests::HostProcess;
use std::path::PathBuf;
use tempfile::TempDir;

/// What hosts share.
pub(crate) struct Ground {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    pub(crate) rabbitmq: RabbitMq,
    folder: TempDir,
}

impl Ground {
    pub(crate) async fn start() -> Result<Self> {
        let (postgres, redis, rabbitmq) = tokio::try_join!(Postgres::start(), Redis::start(RedisOptions::default()), RabbitMq::start())?;
        Ok(Self { postgres, redis, rabbitmq, folder: tempfile::tempdir()? })
    }

    /// A host with a data folder of its own; `more` goes after its configuration.
    pub(crate) async fn host(&self, name: &str, more: &str) -> Result<HostProcess> {
        self.host_with(name, more, &[]).await?.context("the host ended before it was ready")
    }

    /// `None` if it ended before it was ready.
    pub(crate) async fn host_with(&self, name: &str, more: &str, environment: &[(&str, &str)]) -> Result<Option<HostProcess>> {
        let data = self.folder.path().join(name);
        std::fs::create_dir_all(&data)?;
        self.share_keys(&data)?;
        let config = data.join("plinth.toml");
        std::fs::write(&config, format!("{}\n{more}\n", self.config(name)))?;
        Ok(HostProcess::try_start_with(&data, &["--config", &config.to_string_lossy()], environment).await)
    }

    /// What one host seals another must unseal.
    fn share_keys(&self, data: &std::path::Path) -> Result<()> {
        let keys: PathBuf = self.folder.path().join("keys");
        std::fs::create_dir_all(&keys)?;
        if !data.join("keys").exists() {
            std::os::unix::fs::symlink(keys, data.join("keys"))?;
        }
        Ok(())
    }

    fn config(&self, name: &str) -> String {
        let (postgres, redis, rabbitmq) = (self.postgres.url(), self.redis.url(), self.rabbitmq.url());
        format!(
            "[postgres]\nurl = \"{postgres}\"\n\
             [state]\nbackend = \"postgres\"\n[database]\nbackend = \"postgres\"\n[audit]\nbackend = \"postgres\"\n\
             [cache]\nbackend = \"redis\"\nurls = [\"{redis}\"]\n\
             [queue]\nbackend = \"amqp\"\nurls = [\"{rabbitmq}\"]\n\
             [fleet]\nname = \"{name}\"\n"
        )
    }
}
