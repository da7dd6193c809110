//! Connections as the servers count them.

use crate::figures::{Aim, Figures};
use anyhow::{Context, Result};
use plinth_services::{Postgres, RabbitMq, Redis};
use serde_json::Value;

pub(super) struct Census {
    postgres: String,
    redis: String,
    /// Of the broker's management, with user and password.
    rabbitmq: String,
}

/// How many each server has; the census's own is among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    postgres: i64,
    redis: i64,
    rabbitmq: i64,
}

impl Census {
    pub(super) fn of(postgres: &Postgres, redis: &Redis, rabbitmq: &RabbitMq) -> Self {
        let management = format!("http://127.0.0.1:{}/api/connections", rabbitmq.management_port());
        Self { postgres: postgres.url(), redis: redis.url(), rabbitmq: management }
    }

    pub(super) async fn count(&self) -> Result<Counts> {
        let mut connection = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&self.postgres).await?.acquire().await?;
        let postgres = sqlx::query_scalar("select count(*) from pg_stat_activity where backend_type = 'client backend'");
        let postgres = postgres.fetch_one(&mut *connection).await?;
        let mut redis = redis::Client::open(self.redis.as_str())?.get_multiplexed_async_connection().await?;
        let info: String = redis::cmd("INFO").arg("clients").query_async(&mut redis).await?;
        let clients = info.lines().find_map(|line| line.strip_prefix("connected_clients:")).context("Redis counts its clients")?;
        let request = reqwest::Client::new().get(&self.rabbitmq).basic_auth("t", Some("t"));
        let list: Value = request.send().await?.error_for_status()?.json().await?;
        let rabbitmq = list.as_array().context("a list of connections")?.len();
        Ok(Counts { postgres, redis: clients.trim().parse()?, rabbitmq: i64::try_from(rabbitmq)? })
    }
}

impl Counts {
    /// More after the load than before it would be a leak.
    pub(super) fn tell(&self, after: &Self, figures: &mut Figures) {
        figures.add("postgres_connections", after.postgres as f64, Aim::Tell);
        figures.add("redis_connections", after.redis as f64, Aim::Tell);
        figures.add("amqp_connections", after.rabbitmq as f64, Aim::Tell);
        let grown = (after.postgres - self.postgres).max(after.redis - self.redis).max(after.rabbitmq - self.rabbitmq);
        figures.add("connections_grown", grown as f64, Aim::AtMost(0.0));
    }
}
