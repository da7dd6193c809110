//! Redis, RabbitMQ and PostgreSQL through Plinth, natively and from a plugin, over their bare crates in one run.

#![expect(clippy::indexing_slicing, reason = "places are modulo the length; an answer of another shape ends the bench")]

mod cache;
mod census;
mod database;
mod plugin;
mod queue;

use crate::{
    figures::{Aim, Figures},
    stats::{median, median_ratio},
};
use anyhow::{Context, Result};
use census::Census;
use futures::future::BoxFuture;
use plinth_services::{Postgres, RabbitMq, Redis, RedisOptions};
use plugin::Plugin;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// Of the bare crate, natively and from a plugin.
const NATIVE: Aim = Aim::AtLeast(0.95);
const FROM_PLUGIN: Aim = Aim::AtLeast(0.85);
/// Operations on their way at once, on every side.
pub(super) const TASKS: usize = 16;
/// Bytes of a value or a message.
pub(super) const VALUE: [u8; 100] = [7; 100];
/// Keys read, and of one batch.
pub(super) const KEYS: usize = 100;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Each side has one turn per round
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a turn
    #[arg(long, default_value_t = 1_000)]
    turn_ms: u64,
    /// Only what begins with this, `redis_get` or `amqp`: for a profile
    #[arg(long, default_value = "")]
    only: String,
}

/// Operations per second of one turn.
pub(super) type Turn = Box<dyn Fn(Duration) -> BoxFuture<'static, Result<f64>> + Send + Sync>;

/// One thing that is measured on three sides.
pub(super) struct Contest {
    /// Key of the figures: rate of bare, ratio of native, ratio of the plugin.
    pub(super) keys: [&'static str; 3],
    pub(super) bare: Turn,
    pub(super) native: Turn,
    pub(super) plugin: Turn,
    /// After each turn, so that what was written does not pile up.
    pub(super) tidy: Option<Tidy>,
}

pub(super) type Tidy = Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

pub(crate) async fn run(root: &Path, args: &Args) -> Result<Figures> {
    let (postgres, redis, rabbitmq) = tokio::try_join!(Postgres::start(), Redis::start(RedisOptions::default()), RabbitMq::start())?;
    let plugin = Plugin::start(root, &postgres, &redis, &rabbitmq).await?;
    let mut figures = Figures::new("backends");
    let census = Census::of(&postgres, &redis, &rabbitmq);
    let mut contests = cache::contests(&redis.url(), &plugin).await?;
    contests.extend(queue::contests(&rabbitmq.url(), rabbitmq.management_port(), &plugin).await?);
    contests.extend(database::contests(&postgres.url(), &plugin).await?);
    contests.retain(|contest| contest.keys.iter().any(|key| key.starts_with(&args.only)));
    // A first round opens what is opened lazily and is not counted.
    for contest in &contests {
        contest.round(Duration::from_millis(300)).await?;
    }
    let before = census.count().await?;
    for contest in &contests {
        contest.measure(args, &mut figures).await?;
    }
    let after = census.count().await?;
    before.tell(&after, &mut figures);
    if "amqp_consume".starts_with(&args.only) {
        queue::consume(&rabbitmq.url(), &plugin, args.rounds, &mut figures).await?;
    }
    if "three_hosts".starts_with(&args.only) {
        plugin::fleet(root, &postgres, &redis, &rabbitmq, &plugin, &mut figures).await?;
    }
    Ok(figures)
}

impl Contest {
    async fn round(&self, time: Duration) -> Result<[f64; 3]> {
        let named = || format!("measuring {}", self.keys[0]);
        let mut rates = [0.0; 3];
        for (rate, side) in rates.iter_mut().zip([&self.bare, &self.native, &self.plugin]) {
            *rate = side(time).await.with_context(named)?;
            if let Some(tidy) = &self.tidy {
                tidy().await.with_context(named)?;
            }
        }
        Ok(rates)
    }

    async fn measure(&self, args: &Args, figures: &mut Figures) -> Result<()> {
        let mut sides: [Vec<f64>; 3] = Default::default();
        for _ in 0..args.rounds {
            let rates = self.round(Duration::from_millis(args.turn_ms)).await?;
            for (side, rate) in sides.iter_mut().zip(rates) {
                side.push(rate);
            }
        }
        let [bare, native, plugin] = &sides;
        let [rate, over, from_plugin] = self.keys;
        figures.add(rate, median(bare), Aim::Tell);
        figures.add(over, median_ratio(native, bare), NATIVE);
        figures.add(from_plugin, median_ratio(plugin, bare), FROM_PLUGIN);
        Ok(())
    }
}

/// A turn in which each of [`TASKS`] tasks does `once` again and again; each is `weight` operations.
pub(super) fn turn<F>(weight: f64, once: impl Fn(usize) -> F + Clone + Send + Sync + 'static) -> Turn
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    Box::new(move |time| {
        let once = once.clone();
        Box::pin(async move {
            let (began, mut tasks) = (Instant::now(), JoinSet::new());
            for task in 0..TASKS {
                let once = once.clone();
                tasks.spawn(async move {
                    let mut done = 0_usize;
                    while began.elapsed() < time {
                        once(task + done * TASKS).await?;
                        done += 1;
                    }
                    anyhow::Ok(done)
                });
            }
            let mut done = 0;
            while let Some(task) = tasks.join_next().await {
                done += task??;
            }
            Ok(done as f64 * weight / began.elapsed().as_secs_f64())
        })
    })
}
