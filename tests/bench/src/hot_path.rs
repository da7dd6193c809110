//! What a request costs on its way through the host, next to a native handler and to bare wasmtime.

use crate::{
    api::{Api, Guest, component_path},
    child::Server,
    dispatch::Dispatch,
    figures::{Aim, Figures},
    load::{Target, closed},
    stats::{median, median_ratio},
};
use anyhow::{Result, ensure};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const CONNECTIONS: usize = 16;
const INSTALLS: usize = 41;

/// How long to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Each server has one turn per round
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Length of a turn
    #[arg(long, default_value_t = 1_500)]
    turn_ms: u64,
}

pub(crate) async fn run(root: &Path, args: &Args, dispatch: Dispatch) -> Result<Figures> {
    let mut figures = Figures::new("hot-path");
    throughput(root, args, &mut figures).await?;
    figures.add("dispatch_fresh_p50_us", dispatch.p50_us, Aim::AtMost(40.0));
    figures.add("dispatch_fresh_p99_us", dispatch.p99_us, Aim::Tell);
    figures.add("dispatch_bare_p50_us", dispatch.bare_p50_us, Aim::Tell);
    figures.add("dispatch_bare_p99_us", dispatch.bare_p99_us, Aim::Tell);
    figures.add("dispatch_fresh_over_bare", dispatch.p50_us / dispatch.bare_p50_us, Aim::Tell);
    install_to_live(root, &mut figures).await?;
    figures.add("idle_rss_mib", idle_rss(root).await?, Aim::AtMost(80.0));
    Ok(figures)
}

/// One server and what its turns gave.
struct Side {
    server: Server,
    path: &'static str,
    rps: Vec<f64>,
    /// CPU time of the server for one request.
    cpu_us: Vec<f64>,
}

impl Side {
    fn new(server: Server, path: &'static str) -> Self {
        Self { server, path, rps: Vec::new(), cpu_us: Vec::new() }
    }

    async fn turn(&mut self, time: Duration) -> Result<()> {
        let target = Target { address: self.server.address, path: self.path.to_owned() };
        let (began, cpu) = (Instant::now(), self.server.cpu()?);
        let rps = closed(&target, CONNECTIONS, time).await?;
        let requests = rps * began.elapsed().as_secs_f64();
        self.cpu_us.push((self.server.cpu()? - cpu).as_secs_f64() * 1e6 / requests);
        self.rps.push(rps);
        Ok(())
    }
}

async fn throughput(root: &Path, args: &Args, figures: &mut Figures) -> Result<()> {
    let component = component_path(root, "fixtures", "bench-v1");
    let mut native = Side::new(Server::baseline("serve-native", None)?, "/x/bench/");
    let mut bare = Side::new(Server::baseline("serve-bare", Some(component))?, "/x/bench/");
    let mut fresh = Side::new(host_with(root, "bench-v1").await?, "/x/bench/");
    let mut cache = Side::new(host_with(root, "bench-cache").await?, "/x/bench-cache/");
    let turn = Duration::from_millis(args.turn_ms);
    // The first round warms up; each later one starts with another server.
    for round in 0..=args.rounds {
        let mut sides = [&mut native, &mut bare, &mut fresh, &mut cache];
        let first = round % sides.len();
        sides.rotate_left(first);
        for side in sides {
            side.turn(turn).await?;
        }
    }
    for side in [&mut native, &mut bare, &mut fresh, &mut cache] {
        side.rps.remove(0);
        side.cpu_us.remove(0);
    }
    figures.add("native_rps", median(&native.rps), Aim::Tell);
    figures.add("bare_rps", median(&bare.rps), Aim::Tell);
    figures.add("plinth_rps", median(&fresh.rps), Aim::Tell);
    figures.add("plinth_cache_get_rps", median(&cache.rps), Aim::Tell);
    figures.add("http_fresh_over_bare", median_ratio(&fresh.rps, &bare.rps), Aim::AtLeast(0.95));
    figures.add("http_fresh_over_native", median_ratio(&fresh.rps, &native.rps), Aim::Tell);
    figures.add("native_cpu_us", median(&native.cpu_us), Aim::Tell);
    figures.add("bare_cpu_us", median(&bare.cpu_us), Aim::Tell);
    figures.add("plinth_cpu_us", median(&fresh.cpu_us), Aim::Tell);
    figures.add("plinth_cache_get_cpu_us", median(&cache.cpu_us), Aim::Tell);
    figures.add("http_fresh_cpu_over_bare", median_ratio(&fresh.cpu_us, &bare.cpu_us), Aim::Tell);
    Ok(())
}

async fn host_with(root: &Path, guest: &str) -> Result<Server> {
    let server = Server::host(root)?;
    Api::new(server.url()).install(&Guest::read(root, "fixtures", guest)?).await?;
    Ok(server)
}

/// From the upload's first byte to the answer that calls see the new version.
async fn install_to_live(root: &Path, figures: &mut Figures) -> Result<()> {
    let server = Server::host(root)?;
    let api = Api::new(server.url());
    let versions = [Guest::read(root, "plugins", "review-rules-v1")?, Guest::read(root, "plugins", "review-rules-v2")?];
    for version in &versions {
        api.install(version).await?;
    }
    let (mut whole, mut inside) = (Vec::new(), Vec::new());
    for version in versions.iter().cycle().take(INSTALLS) {
        let began = Instant::now();
        let change = api.install(version).await?;
        whole.push(began.elapsed().as_secs_f64() * 1e3);
        inside.push(change.elapsed_us as f64 / 1e3);
        ensure!(change.compile_cached, "{} was compiled again", change.version);
    }
    figures.add("install_to_live_ms", median(&whole), Aim::AtMost(20.0));
    figures.add("install_inside_ms", median(&inside), Aim::Tell);
    Ok(())
}

async fn idle_rss(root: &Path) -> Result<f64> {
    let server = Server::host(root)?;
    let api = Api::new(server.url());
    for plugin in ["applications", "review-rules-v2", "status-reactor", "escalation"] {
        api.install(&Guest::read(root, "plugins", plugin)?).await?;
    }
    // Idle is a length of time: nothing happens that could be waited for.
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.rss_mib()
}
