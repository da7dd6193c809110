//! The servers of a whole test run, and a place of one's own on each of them.
//!
//! `plinth-services up -- COMMAND` starts them and tells the command by environment variables.
//! Tests that kill or pause a server start a private one instead.

use crate::{Postgres, RabbitMq, Redis, http, postgres};
use anyhow::{Context, Result};

const REDIS: &str = "PLINTH_TEST_REDIS";
const RABBITMQ: &str = "PLINTH_TEST_RABBITMQ";
const RABBITMQ_MANAGEMENT: &str = "PLINTH_TEST_RABBITMQ_MANAGEMENT";
const POSTGRES: &str = "PLINTH_TEST_POSTGRES";

/// `redis://127.0.0.1:PORT` of the run's Redis.
pub fn redis() -> Result<String> {
    setting(REDIS)
}

/// `amqp://t:t@127.0.0.1:PORT` of the run's RabbitMQ, without a vhost: [`rabbitmq_vhost`] makes one.
pub fn rabbitmq() -> Result<String> {
    setting(RABBITMQ)
}

/// `postgres://postgres@127.0.0.1:PORT` of the run's PostgreSQL, without a database: [`postgres_database`] makes one.
pub fn postgres() -> Result<String> {
    setting(POSTGRES)
}

/// A beginning for keys that nobody else uses, such as `t1f…:`.
pub fn redis_prefix() -> String {
    format!("{}:", unique())
}

/// A vhost of the run's RabbitMQ, deleted with all its queues when dropped.
#[derive(Debug)]
pub struct Vhost {
    name: String,
    url: String,
    management: u16,
}

impl Vhost {
    /// `amqp://t:t@127.0.0.1:PORT/NAME`.
    pub fn url(&self) -> String {
        format!("{}/{}", self.url, self.name)
    }
}

impl Drop for Vhost {
    fn drop(&mut self) {
        // The broker ends with the run, and what is left with it.
        let _ = http::done(self.management, "DELETE", &format!("/api/vhosts/{}", self.name), "");
    }
}

/// Makes an empty vhost in which the user of the URL may do everything.
pub async fn rabbitmq_vhost() -> Result<Vhost> {
    let vhost = Vhost { name: unique(), url: rabbitmq()?, management: setting(RABBITMQ_MANAGEMENT)?.parse()? };
    let path = format!("/api/vhosts/{}", vhost.name);
    http::call(vhost.management, "PUT", path, "{}".into()).await?;
    let path = format!("/api/permissions/{}/t", vhost.name);
    http::call(vhost.management, "PUT", path, r#"{"configure":".*","write":".*","read":".*"}"#.into()).await?;
    Ok(vhost)
}

/// A database of the run's PostgreSQL, dropped with the sessions that still use it.
#[derive(Debug)]
pub struct Database {
    name: String,
    url: String,
    port: u16,
}

impl Database {
    /// `postgres://postgres@127.0.0.1:PORT/NAME`.
    pub fn url(&self) -> String {
        format!("{}/{}", self.url, self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The server ends with the run, and what is left with it.
        let _ = postgres::sql_blocking(self.port, &format!("drop database if exists {} with (force)", self.name));
    }
}

/// Makes an empty database.
pub async fn postgres_database() -> Result<Database> {
    let url = postgres()?;
    let port = url.rsplit(':').next().context(POSTGRES)?.parse()?;
    let database = Database { name: unique(), url, port };
    postgres::sql(port, &format!("create database {}", database.name)).await?;
    Ok(database)
}

/// The running servers of `plinth-services up`.
#[derive(Debug)]
pub struct Servers {
    redis: Redis,
    rabbitmq: RabbitMq,
    postgres: Postgres,
}

impl Servers {
    /// Starts all three side by side.
    pub async fn start() -> Result<Self> {
        let (redis, rabbitmq, postgres) = tokio::try_join!(Redis::start(Default::default()), RabbitMq::start(), Postgres::start())?;
        Ok(Self { redis, rabbitmq, postgres })
    }

    /// The environment variables by which tests find them.
    pub fn env(&self) -> [(&'static str, String); 4] {
        [
            (REDIS, self.redis.url()),
            (RABBITMQ, self.rabbitmq.url()),
            (RABBITMQ_MANAGEMENT, self.rabbitmq.management_port().to_string()),
            (POSTGRES, self.postgres.url()),
        ]
    }
}

fn unique() -> String {
    format!("t{:016x}", rand::random::<u64>())
}

#[expect(clippy::disallowed_methods, reason = "how a test run passes its servers on to the processes of its tests")]
fn setting(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| {
        format!("{name} is not set: run the tests by `cargo xtask test`, or by `plinth-services up -- cargo nextest run …`")
    })
}
