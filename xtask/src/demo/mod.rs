//! `cargo xtask demo`: a host, the reference plugins, and rules that change while applications are handled.

mod applicant;
mod client;
mod host;
mod load;
mod report;
mod scenario;
mod script;
mod settle;
mod swaps;
mod tally;
mod versions;

use crate::{plugins, shell};
use anyhow::{Context, Result, bail};
use client::Api;
use host::Host;
use load::{Pace, Stage};
use plinth_guest_build::{Built, Kind};
use report::Report;
use scenario::Scenario;
use serde::Deserialize;
use std::{
    fs::File,
    io::{IsTerminal, Write},
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};
use swaps::Package;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use versions::Timeline;

/// The plugin that is swapped.
const RULES: &str = "review-rules";
/// What the scenario needs, in the order of installation; the rules in their first version.
const PLUGINS: [&str; 4] = ["applications", "status-reactor", "escalation", RULES];
const SCENARIO: &str = "examples/ticketing/scenario.toml";
/// Lines of progress, or one line that is written over on a terminal.
const PROGRESS_STEPS: u64 = 10;

/// Builds everything, starts a host and swaps plugins under traffic
///
/// Plays examples/ticketing: applications are created, submitted, reviewed and decided over HTTP at
/// a steady rate, while the rules are swapped for another version and rolled back. Every answer is
/// checked; the table at the end says what happened. Nothing else needs to run: the host uses its
/// embedded backends and a data folder under target/demo.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Stop the host at the end and exit: 0 only if nothing failed
    #[arg(long)]
    once: bool,
    /// Commands (submit, review, approve, reject, withdraw) to send at least
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    commands: u64,
    /// Requests to start per second, however slow the answers are
    #[arg(long, value_name = "R", default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Another seed draws other people and another order
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Times the rules are swapped and rolled back, spread over the commands
    #[arg(long, value_name = "K", default_value_t = 6, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    swaps: u64,
    /// Use an optimised host, built for it
    #[arg(long)]
    release: bool,
}

impl Args {
    /// `demo --once` as CI runs it.
    pub(crate) fn once() -> Result<Self> {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            args: Args,
        }
        Ok(<Alone as clap::Parser>::try_parse_from(["demo", "--once"])?.args)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = shell::root();
    let folder = root.join("target/demo");
    std::fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).context("could not make the demo's lock")?;
    lock.try_lock().context("another demo runs in this checkout")?;

    let scenario = Scenario::load(&root.join(SCENARIO))?;
    println!("demo: building the plugins");
    let packages = Packages::of(&plugins::build()?)?;
    println!("demo: building the host");
    let binary = match args.release {
        true => {
            shell::run(&mut shell::cargo(&["build", "--release", "--package", "plinth", "--bin", "plinth"]))?;
            "target/release/plinth"
        }
        false => {
            shell::build_host()?;
            shell::HOST_BINARY
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start the runtime")?;
    runtime.block_on(show(args, scenario, &packages, &root.join(binary), &folder))
}

/// Host up, play, host down: also when the play fails or somebody interrupts.
async fn show(args: &Args, scenario: Scenario, packages: &Packages, binary: &Path, folder: &Path) -> Result<()> {
    let mut host = Host::start(binary, folder).await?;
    println!("demo: the host is ready on {} (log: target/demo/host.log)", host.url);
    let url = host.url.clone();
    let played = tokio::select! {
        played = play(args, scenario, packages, &url) => played,
        status = host.ended() => bail!("the host ended during the demo ({}), see target/demo/host.log", status?),
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    let report = match played {
        Ok(report) => report,
        Err(error) => {
            host.stop().await?;
            return Err(error);
        }
    };
    report.print();
    report.write_figures(&shell::root().join("target/figures"))?;
    if !args.once {
        println!("{}\n{}", report.line(), invitation(&url));
        tokio::select! {
            status = host.ended() => bail!("the host ended by itself ({})", status?),
            () = interrupted() => println!("demo: stopping the host"),
        }
    }
    let stopped = host.stop().await;
    if args.once {
        println!("{}", report.line());
    }
    stopped?;
    if report.tally.failed > 0 {
        bail!("{} of the demo's requests or checks failed", report.tally.failed);
    }
    Ok(())
}

async fn play(args: &Args, scenario: Scenario, packages: &Packages, url: &str) -> Result<Report> {
    let api = Api::new(url)?;
    let timeline = Arc::new(Mutex::new(Timeline::default()));
    let stage = Arc::new(Stage { api, rules: RULES.to_owned(), timeline, scenario, seed: args.seed });
    for package in &packages.others {
        let change = stage
            .api
            .install(&package.component, &package.manifest)
            .await
            .with_context(|| format!("could not install {}", package.plugin))?;
        println!("demo: installed {} {}", package.plugin, change.version);
    }
    let [v1, v2] = &packages.rules;
    swaps::change(&stage, v1, stage.api.install(&v1.component, &v1.manifest))
        .await
        .with_context(|| format!("could not install {RULES}"))?;
    println!("demo: installed {RULES} {}; {} will be swapped in and rolled back {} times", v1.version, v2.version, args.swaps);
    println!("demo: playing {} commands at {} requests a second, seed {}", args.commands, args.rate, args.seed);

    let (progress, done) = watch::channel(0);
    let pace = Pace { rate: f64::from(args.rate), commands: args.commands };
    let begun = Instant::now();
    let playing = async {
        let tally = load::play(Arc::clone(&stage), &pace, &progress).await?;
        Ok::<_, anyhow::Error>((tally, begun.elapsed()))
    };
    let swapping = swaps::swap(&stage, v1, v2, args.swaps, args.commands, done.clone());
    let ((tally, took), swapped, ()) = tokio::try_join!(playing, swapping, show_progress(args.commands, done))?;
    println!("demo: waiting until every message is delivered");
    let facts = settle::settle(&stage.api, tally.changes()).await?;
    let faults = settle::faults(&tally, &facts);
    Ok(Report::new(tally, swapped, facts, faults, took))
}

/// The components and manifests of the demo, as built.
struct Packages {
    others: Vec<Package>,
    /// First and second version.
    rules: [Package; 2],
}

impl Packages {
    fn of(built: &[Built]) -> Result<Self> {
        let mut packages = Vec::new();
        for one in built.iter().filter(|one| one.kind == Kind::Plugin) {
            if let Some(manifest) = &one.manifest {
                packages.push(package(&one.component, manifest)?);
            }
        }
        let versions = |plugin: &str| packages.iter().filter(|package| package.plugin == plugin).cloned().collect::<Vec<_>>();
        let others = PLUGINS.iter().filter(|plugin| **plugin != RULES).flat_map(|plugin| versions(plugin)).collect::<Vec<_>>();
        let mut rules = versions(RULES);
        rules.sort_by(|a, b| a.version.cmp(&b.version));
        let rules: [Package; 2] =
            rules.try_into().map_err(|found: Vec<Package>| anyhow::anyhow!("{RULES} has {} versions instead of 2", found.len()))?;
        if others.len() + 1 != PLUGINS.len() {
            bail!("the demo needs the plugins {}, one version each", PLUGINS.join(", "));
        }
        Ok(Self { others, rules })
    }
}

fn package(component: &Path, manifest: &Path) -> Result<Package> {
    #[derive(Deserialize)]
    struct Manifest {
        name: String,
        version: String,
    }
    let text = std::fs::read_to_string(manifest).with_context(|| format!("could not read {}", manifest.display()))?;
    let Manifest { name, version } = toml::from_str(&text).with_context(|| format!("could not understand {}", manifest.display()))?;
    Ok(Package { plugin: name, version, component: component.to_path_buf(), manifest: manifest.to_path_buf() })
}

async fn show_progress(commands: u64, mut done: watch::Receiver<u64>) -> Result<()> {
    let terminal = std::io::stdout().is_terminal();
    for step in 1..=PROGRESS_STEPS {
        let count = *done.wait_for(|done| *done >= commands * step / PROGRESS_STEPS).await?;
        match terminal {
            true => print!("\rdemo: {count} of {commands} commands "),
            false => println!("demo: {count} of {commands} commands"),
        }
        std::io::stdout().flush()?;
    }
    if terminal {
        println!();
    }
    Ok(())
}

/// Ctrl-C or a polite kill; a signal that cannot be heard is no reason to stop.
async fn interrupted() {
    let heard = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = heard(SignalKind::interrupt()) => {}
        () = heard(SignalKind::terminate()) => {}
    }
}

fn invitation(url: &str) -> String {
    format!(
        "
The host stays up until Ctrl-C:

  {url}/v1/plugins      what is installed      {url}/v1/queues    queues and their depth
  {url}/v1/audit        who did what           {url}/metrics      for Prometheus

Try:

  NUMBER=A-$(date -u +%Y)-000001
  curl -si {url}/x/applications/$NUMBER
  curl -s \"{url}/v1/audit?subject_id=$NUMBER\"
  curl -s {url}/v1/decisions/{point} -H 'content-type: application/json' \\
    -d '{{\"subject\": \"'$NUMBER'\", \"payload\": {{\"number\": \"'$NUMBER'\", \"from\": \"in-review\", \"to\": \"approved\", \"documents\": 1}}}}'
  curl -s \"{url}/v1/plugins?approve_grants=true\" \\
    -F component=@target/plugins/review-rules-v2.wasm -F manifest=@target/plugins/review-rules-v2.toml
  curl -s -X POST {url}/v1/plugins/{RULES}/rollback
",
        point = client::POINT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_runs_the_demo_as_the_readme_shows_it() {
        let args = Args::once().unwrap();
        assert!(args.once && !args.release);
        assert_eq!((args.commands, args.rate, args.swaps), (2_000, 150, 6));
    }

    fn built(folder: &Path, name: &str, plugin: &str, version: &str) -> Built {
        let manifest = folder.join(format!("{name}.toml"));
        std::fs::write(&manifest, format!("name = \"{plugin}\"\nversion = \"{version}\"\n")).unwrap();
        Built { name: name.into(), kind: Kind::Plugin, component: folder.join(format!("{name}.wasm")), manifest: Some(manifest) }
    }

    #[test]
    fn packages_are_found_by_their_manifests() {
        let folder = tempfile::tempdir().unwrap();
        let mut all: Vec<Built> =
            ["applications", "status-reactor", "escalation", "hello"].map(|name| built(folder.path(), name, name, "1.0.0")).into();
        all.push(built(folder.path(), "rules-b", RULES, "2.0.0"));
        all.push(built(folder.path(), "rules-a", RULES, "1.0.0"));
        let packages = Packages::of(&all).unwrap();
        assert_eq!(
            packages.others.iter().map(|package| package.plugin.as_str()).collect::<Vec<_>>(),
            ["applications", "status-reactor", "escalation"]
        );
        assert_eq!(packages.rules.map(|package| package.version), ["1.0.0", "2.0.0"]);
        all.pop();
        assert_eq!(Packages::of(&all).err().unwrap().to_string(), "review-rules has 1 versions instead of 2");
    }
}
