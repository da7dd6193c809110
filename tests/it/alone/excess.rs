//! What each excess by itself, next door, does to a plugin's latency and answers.

use plinth_tests::{Client, HostProcess, Load, Neighbour, Package, figures, load::Seen};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Below this the test does not fail, whatever the ratio: see `neighbour`.
const FLOOR: Duration = super::neighbour::FLOOR;

/// What is done to excess beside the neighbour, each by itself.
#[derive(Clone, Copy)]
enum Excess {
    /// One caller per core asks for this again and again.
    Call(&'static str),
    /// The same, and the plugin is installed anew whenever its digest is out of service.
    Trap(&'static str),
    /// An operator tries again and again to install what is refused.
    CompileBomb,
    CutShort,
}
use Excess::{Call, CompileBomb, CutShort, Trap};

const EXCESSES: [(&str, Excess); 16] = [
    ("infinite-loop", Call("infinite-loop")),
    ("nested-loop", Call("nested-loop")),
    ("memory-bomb", Call("memory-bomb")),
    ("memory-copy-loop", Call("memory-copy-loop")),
    ("handle-flood", Call("handle-flood")),
    ("host-call-flood", Call("host-call-flood")),
    ("log-flood", Call("log-flood")),
    ("huge-result", Call("huge-result:16")),
    ("huge-argument", Call("big-argument:128")),
    ("long-statement", Call("long-statement")),
    ("sleep-host-call", Call("sleep-host-call")),
    ("cursor-flood", Call("cursor-flood")),
    ("deep-recursion", Trap("deep-recursion")),
    ("trap", Trap("trap")),
    ("compile-bomb", CompileBomb),
    ("cut-short", CutShort),
];

/// Calls of the neighbour per second beside one excess.
const OFTEN: u32 = 400;
/// Loud and quiet take turns, and what counts is the middle one of the turns'
/// p99: a hiccup of the machine falls into one turn, what a plugin does to
/// another into each.
const TURNS: u32 = 5;
const TURN: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_excess_next_door_is_borne() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("plinth.toml");
    std::fs::write(&config, "[plugins]\ncompile-timeout-ms = 500\n").unwrap();
    let host = HostProcess::start(data.path(), &["--config", config.to_str().unwrap()]).await;
    host.installed(&Neighbour::package()).await;
    Load::run_for(OFTEN, Duration::from_secs(1), Neighbour::shot(&host)).await.assert_unharmed();
    let mut figures = Vec::new();
    let mut failures = Vec::new();
    for (name, excess) in EXCESSES {
        let (alone, together, times) = turns(&host, name, excess).await;
        host.assert_alive().await;
        assert!(times > 0, "{name} never happened");
        let name = name.replace('-', "_");
        figures.push((format!("{name}_p99_ratio"), together.as_secs_f64() / alone.as_secs_f64()));
        figures.push((format!("{name}_p99_ms"), together.as_secs_f64() * 1_000.0));
        figures.push((format!("{name}_times"), times as f64));
        if together > FLOOR.max(alone * 2) {
            failures.push(format!("{name}: p99 {together:?} beside it, {alone:?} alone"));
        }
    }
    let figures: Vec<(&str, f64)> = figures.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    figures::write("neighbours", &figures);
    assert!(failures.is_empty(), "{failures:#?}");
    host.stop().await;
}

/// The neighbour's p99 alone and beside an excess, and how often that happened.
async fn turns(host: &Client, name: &'static str, excess: Excess) -> (Duration, Duration, u64) {
    let package = Package::fixture("misbehave").named(name).marked(name);
    let installed = matches!(excess, Call(_) | Trap(_));
    if installed {
        host.installed(&package).await;
    }
    let (mut alone, mut together, mut times) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TURNS {
        let quiet = Load::run_for(OFTEN, TURN, Neighbour::shot(host)).await;
        let (loud, done) = beside(host, &package, excess).await;
        quiet.assert_unharmed();
        loud.assert_unharmed();
        alone.push(quiet.percentile(99.0));
        together.push(loud.percentile(99.0));
        times += done;
    }
    if installed {
        host.delete(&format!("/v1/plugins/{name}")).await.ok();
    }
    (middle(alone), middle(together), times)
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// One turn beside an excess: what the neighbour saw, and how often it happened.
async fn beside(host: &Client, package: &Package, excess: Excess) -> (Seen, u64) {
    let stop = CancellationToken::new();
    let mut noise = JoinSet::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    for number in 0..cores {
        let (host, stop, package, name) = (host.clone(), stop.clone(), package.clone(), package.name());
        match excess {
            Call(behaviour) => noise.spawn(until(stop, async move || {
                host.act(&name, behaviour, b"").await;
            })),
            // One of the callers is also the one who installs.
            Trap(behaviour) => {
                noise.spawn(until(stop.clone(), async move || trapped(&host, &package, behaviour, number == 0, &stop).await))
            }
            CompileBomb if number == 0 => {
                let bomb = Package::of(&name, plinth_guest_build::compile_bomb(60).unwrap());
                noise.spawn(until(stop, async move || host.install(&bomb).await.assert_problem(422, "compile-failed")))
            }
            CutShort if number == 0 => {
                let mut cut = package;
                cut.component.truncate(cut.component.len() / 2);
                noise.spawn(until(stop, async move || host.install(&cut).await.assert_problem(422, "component-invalid")))
            }
            CompileBomb | CutShort => continue,
        };
    }
    let seen = Load::run_for(OFTEN, TURN, Neighbour::shot(host)).await;
    stop.cancel();
    (seen, noise.join_all().await.into_iter().sum())
}

async fn trapped(host: &Client, package: &Package, behaviour: &str, installs: bool, stop: &CancellationToken) {
    static MARK: AtomicU32 = AtomicU32::new(0);
    let name = package.name();
    let answer = host.act(&name, behaviour, b"").await;
    if answer.code() == "trap" {
        return;
    }
    // Out of service after five traps. Other bytes are another digest.
    if installs {
        let mark = MARK.fetch_add(1, Ordering::Relaxed);
        host.installed(&package.clone().marked(&format!("{mark}")).versioned(&format!("1.1.{mark}"))).await;
    } else {
        // The turn may end before the other caller has installed anything: then nobody does.
        while !stop.is_cancelled() && host.slot(&name).await["state"] != "live" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Again and again; how often.
async fn until(stop: CancellationToken, once: impl AsyncFn()) -> u64 {
    let mut times = 0;
    while !stop.is_cancelled() {
        once().await;
        times += 1;
    }
    times
}
