//! The third side: a host process over the same servers, and a plugin that asks a capability many times per request.

use super::{TASKS, Turn, turn};
use crate::{
    api::{Api, Guest},
    child::Server,
    figures::{Aim, Figures},
};
use anyhow::{Result, ensure};
use plinth_services::{Postgres, RabbitMq, Redis};
use std::{path::Path, time::Duration};

pub(super) struct Plugin {
    server: Server,
    client: reqwest::Client,
    api: Api,
    guest: Guest,
    /// With the key of the audit log, which all hosts sign with.
    keys: tempfile::TempDir,
}

impl Plugin {
    pub(super) async fn start(root: &Path, postgres: &Postgres, redis: &Redis, rabbitmq: &RabbitMq) -> Result<Self> {
        let keys = tempfile::tempdir()?;
        let server = Server::host_with(root, &config(postgres, redis, rabbitmq, keys.path()))?;
        let (api, guest) = (Api::new(server.url()), Guest::read(root, "fixtures", "bench-backends")?);
        api.install(&guest).await?;
        let plugin =
            Self { server, api, guest, client: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(TASKS).build()?, keys };
        ask(&plugin.client, &plugin.server.url(), "prepare", 1).await?;
        Ok(plugin)
    }

    pub(super) async fn remove(&self) -> Result<()> {
        self.api.remove("backends").await
    }

    pub(super) async fn install(&self) -> Result<()> {
        self.api.install(&self.guest).await.map(drop)
    }

    pub(super) fn url(&self) -> String {
        self.server.url()
    }

    /// `times` calls of the capability per request, each worth `weight` operations.
    pub(super) fn turn(&self, what: &'static str, times: usize, weight: f64) -> Turn {
        ask_turn(self.client.clone(), vec![self.server.url()], what, times, weight)
    }
}

fn ask_turn(client: reqwest::Client, urls: Vec<String>, what: &'static str, times: usize, weight: f64) -> Turn {
    turn(weight * times as f64, move |number| {
        let (client, url) = (client.clone(), urls[number % urls.len()].clone());
        async move { ask(&client, &url, what, times).await }
    })
}

async fn ask(client: &reqwest::Client, url: &str, what: &str, times: usize) -> Result<()> {
    let answer = client.post(format!("{url}/x/backends/{what}?n={times}")).send().await?;
    let status = answer.status();
    ensure!(status.is_success(), "{what}: {status} {}", answer.text().await.unwrap_or_default());
    Ok(())
}

fn config(postgres: &Postgres, redis: &Redis, rabbitmq: &RabbitMq, keys: &Path) -> String {
    let key = keys.join("audit-log");
    let (postgres, redis, rabbitmq) = (postgres.url(), redis.url(), rabbitmq.url());
    format!(
        "[postgres]\nurl = \"{postgres}\"\n[state]\nbackend = \"postgres\"\n[database]\nbackend = \"postgres\"\n\
         [audit]\nbackend = \"postgres\"\n[cache]\nbackend = \"redis\"\nurls = [\"{redis}\"]\n\
         [queue]\nbackend = \"amqp\"\nurls = [\"{rabbitmq}\"]\n[audit-log]\nkey = \"{}\"\n",
        key.display()
    )
}

/// Three hosts against one, each request a cache read and a point query's worth of calls.
pub(super) async fn fleet(
    root: &Path,
    postgres: &Postgres,
    redis: &Redis,
    rabbitmq: &RabbitMq,
    one: &Plugin,
    figures: &mut Figures,
) -> Result<()> {
    const TIME: Duration = Duration::from_secs(3);
    let config = config(postgres, redis, rabbitmq, one.keys.path());
    // The plugin is there already: they are one fleet.
    let more = [Server::host_with(root, &config)?, Server::host_with(root, &config)?];
    let all: Vec<String> = std::iter::once(one.url()).chain(more.iter().map(Server::url)).collect();
    let (mut single, mut three) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        single.push(ask_turn(one.client.clone(), vec![one.url()], "point", 10, 0.1)(TIME).await?);
        three.push(ask_turn(one.client.clone(), all.clone(), "point", 10, 0.1)(TIME).await?);
    }
    figures.add("one_host_rps", crate::stats::median(&single), Aim::Tell);
    figures.add("three_hosts_over_one", crate::stats::median_ratio(&three, &single), Aim::Tell);
    Ok(())
}
