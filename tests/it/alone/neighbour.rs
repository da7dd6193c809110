//! What one plugin does to another's latency, in a host of its own process.

use plinth_tests::{
    Client, HostProcess, Load, Neighbour, Package, figures,
    load::{Seen, Shot},
};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const PER_SECOND: u32 = 200;
/// Quiet and loud take turns, so that whatever else the machine does meets both.
const TURNS: u32 = 5;
const TURN: Duration = Duration::from_secs(2);
/// The figure that counts is the ratio, which is written and printed. Below this
/// the test does not fail: on a machine with other work of its own, a few
/// milliseconds double for no reason of ours.
pub(super) const FLOOR: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_and_bombs_next_door_do_not_double_the_latency() {
    let data = tempfile::tempdir().unwrap();
    let host = HostProcess::start(data.path(), &[]).await;
    host.installed(&Neighbour::package()).await;
    host.installed(&Package::fixture("misbehave")).await;
    let health = Load::start(10, healthy(&host));
    // The first calls warm caches and connections and are not counted.
    Load::run_for(PER_SECOND, Duration::from_secs(1), Neighbour::shot(&host)).await.assert_unharmed();
    let mut quiet = Load::run_for(PER_SECOND, TURN, Neighbour::shot(&host)).await;
    let (mut loud, mut broken) = noisy_turn(&host).await;
    for _ in 1..TURNS {
        quiet.merge(Load::run_for(PER_SECOND, TURN, Neighbour::shot(&host)).await);
        let (seen, stopped) = noisy_turn(&host).await;
        loud.merge(seen);
        broken += stopped;
    }
    let health = health.stop().await;
    quiet.assert_unharmed();
    loud.assert_unharmed();
    health.assert_unharmed();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let figures = [
        ("quiet_p50_ms", ms(quiet.percentile(50.0))),
        ("quiet_p99_ms", ms(quiet.percentile(99.0))),
        ("loud_p50_ms", ms(loud.percentile(50.0))),
        ("loud_p99_ms", ms(loud.percentile(99.0))),
        ("p99_ratio", ms(loud.percentile(99.0)) / ms(quiet.percentile(99.0))),
        ("healthz_max_ms", ms(health.percentile(100.0))),
        ("calls_stopped_at_a_limit", broken as f64),
    ];
    figures::write("neighbour", &figures);
    assert!(broken > 0, "nobody made noise");
    assert!(health.percentile(100.0) < Duration::from_secs(1), "/healthz was silent");
    let allowed = FLOOR.max(quiet.percentile(99.0) * 2);
    assert!(loud.percentile(99.0) <= allowed, "p99 {:?} beside loops and bombs, {:?} alone", loud.percentile(99.0), quiet.percentile(99.0));
    host.stop().await;
}

/// One looping plugin per core and two that fill memory; what the neighbour
/// saw meanwhile, and how many of their calls the host stopped.
async fn noisy_turn(host: &Client) -> (Seen, u64) {
    let stop = CancellationToken::new();
    let mut noise = JoinSet::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    for behaviour in std::iter::repeat_n("infinite-loop", cores).chain(["memory-bomb", "memory-copy-loop"]) {
        noise.spawn(again_and_again(host.clone(), behaviour, stop.clone()));
    }
    let seen = Load::run_for(PER_SECOND, TURN, Neighbour::shot(host)).await;
    stop.cancel();
    (seen, noise.join_all().await.into_iter().sum())
}

async fn again_and_again(client: Client, behaviour: &'static str, stop: CancellationToken) -> u64 {
    let mut broken = 0;
    while !stop.is_cancelled() {
        let answer = client.act("misbehave", behaviour, b"").await;
        assert!(matches!(answer.code().as_str(), "limit" | "deadline"), "{behaviour}: {answer}");
        broken += 1;
    }
    broken
}

fn healthy(client: &Client) -> Shot {
    let client = client.clone();
    Arc::new(move |_| {
        let client = client.clone();
        Box::pin(async move {
            let answer = client.try_send(client.request(reqwest::Method::GET, "/healthz")).await.map_err(|e| format!("{e:?}"))?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer}")) }
        })
    })
}
