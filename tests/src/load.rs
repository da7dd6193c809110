//! Load that does not wait for its answers: each request has its own time, and is late if the host is.

use crate::{Client, Package};
use futures::future::BoxFuture;
use hdrhistogram::Histogram;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// One request; the error says what was wrong with the answer.
pub type Shot = Arc<dyn Fn(u64) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What a load saw.
#[derive(Debug)]
pub struct Seen {
    pub sent: u64,
    /// The first few, and how many in all.
    pub wrong: Vec<String>,
    pub failed: u64,
    latency: Histogram<u64>,
}

impl Seen {
    /// From when a request was due until its answer was whole.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_percentile(percent))
    }

    /// Takes in what another part of the same measurement saw.
    pub fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.failed += other.failed;
        self.wrong.extend(other.wrong);
        self.latency.add(&other.latency).expect("the same bounds");
    }

    #[track_caller]
    pub fn assert_unharmed(&self) {
        assert_eq!(self.failed, 0, "of {} calls, wrong answers: {:#?}", self.sent, self.wrong);
        assert!(self.sent > 0, "the load never ran");
    }
}

/// A load that runs until it is told to stop.
pub struct Load {
    stop: CancellationToken,
    task: JoinSet<Seen>,
}

impl Load {
    pub fn start(per_second: u32, shot: Shot) -> Self {
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(run(per_second, shot, stop.clone()));
        Self { stop, task }
    }

    pub async fn stop(mut self) -> Seen {
        self.stop.cancel();
        self.task.join_next().await.expect("a load has a task").expect("a load does not panic")
    }

    /// Runs for a time and stops.
    pub async fn run_for(per_second: u32, time: Duration, shot: Shot) -> Seen {
        let load = Self::start(per_second, shot);
        tokio::time::sleep(time).await;
        load.stop().await
    }
}

async fn run(per_second: u32, shot: Shot, stop: CancellationToken) -> Seen {
    let latency = Histogram::new_with_bounds(1, 120_000_000, 3).expect("bounds");
    let seen = Arc::new(Mutex::new(Seen { sent: 0, wrong: Vec::new(), failed: 0, latency }));
    let between = Duration::from_secs(1) / per_second;
    let began = Instant::now();
    let mut shots = JoinSet::new();
    for number in 0.. {
        let due = began + between * number;
        if stop.run_until_cancelled(tokio::time::sleep_until(due.into())).await.is_none() {
            break;
        }
        while shots.try_join_next().is_some() {}
        let (shot, seen) = (shot.clone(), seen.clone());
        shots.spawn(async move {
            let result = shot(u64::from(number)).await;
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.sent += 1;
            let micros = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            seen.latency.saturating_record(micros.max(1));
            if let Err(why) = result {
                seen.failed += 1;
                if seen.wrong.len() < 5 {
                    seen.wrong.push(why);
                }
            }
        });
    }
    while shots.join_next().await.is_some() {}
    Arc::into_inner(seen).expect("all shots have ended").into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A plugin that behaves, called all the while: whatever another plugin does,
/// its answers stay right.
pub struct Neighbour;

impl Neighbour {
    pub const NAME: &str = "neighbour";

    pub fn package() -> Package {
        // Other bytes than the fixture that breaks, since traps are counted by digest.
        Package::fixture("misbehave").named(Self::NAME).marked("neighbour")
    }

    /// Installs it and calls it at an even pace.
    pub async fn start(client: &Client, per_second: u32) -> Load {
        client.installed(&Self::package()).await;
        Load::start(per_second, Self::shot(client))
    }

    /// Its answer must be its own and hold what was sent.
    pub fn shot(client: &Client) -> Shot {
        let client = client.clone();
        Arc::new(move |number| {
            let client = client.clone();
            Box::pin(async move {
                let sent = format!("call {number}").into_bytes();
                let request = client.request(reqwest::Method::POST, "/x/neighbour/echo").body(sent.clone());
                let answer = client.try_send(request).await.map_err(|e| format!("{e:?}"))?;
                match answer.status == 200 && answer.body == sent && answer.header("plinth-plugin") == Self::NAME {
                    true => Ok(()),
                    false => Err(format!("{answer}")),
                }
            })
        })
    }
}
