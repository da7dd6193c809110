//! `plinth serve`: starts a host, says when it is ready, and stops it on a signal.

use super::{Complaint, Done, chain};
use crate::{HostConfig, Overrides, start, telemetry};
use clap::Args;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use tokio::signal::unix::{SignalKind, signal};

/// For threads that are still busy when all that had to end has ended.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(super) struct Serve {
    /// A TOML file; `plinth config reference` prints every setting.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where everything that must survive is kept. Overrides the configuration.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Address and port; port 0 takes a free one. Overrides the configuration.
    #[arg(long)]
    listen: Option<SocketAddr>,
}

impl Serve {
    pub(super) fn run(self, env: impl Fn(&str) -> Option<String>) -> Done {
        let mut config = HostConfig::load(self.config.as_deref(), env).map_err(|e| Complaint::usage(chain(&e)))?;
        config.data = self.data.unwrap_or(config.data);
        config.api.listen = self.listen.unwrap_or(config.api.listen);
        config.check().map_err(|e| Complaint::usage(chain(&e)))?;
        let log = telemetry::init(&config.log).map_err(Complaint::usage)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("plinth-io")
            .on_thread_start(plinth_runtime::ask_for_short_slices)
            .build()
            .map_err(|e| Complaint::failed(e.to_string()))?;
        let done = runtime.block_on(serve(config, &log));
        runtime.shutdown_timeout(LEAVE_WITHIN);
        done
    }
}

async fn serve(config: HostConfig, log: &telemetry::Log) -> Done {
    let failed = |e: std::io::Error| Complaint::failed(e.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // Opening files may mean recovering them. What start() has done by then is
    // dropped as by a crash, which every file it opened is made for.
    let started = tokio::select! {
        started = start(config, Overrides::default()) => Some(started),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let Some(started) = started else {
        tracing::info!("stopped while starting");
        return Ok(());
    };
    let mut host = started.map_err(|e| Complaint::failed(chain(&e)))?;
    println!("plinth: starting on {}", host.url());
    let (url, metrics) = (host.url(), host.capabilities.metrics.clone());
    let until_told = async {
        host.ready().await.map_err(|e| Complaint::failed(chain(&e)))?;
        println!("plinth: ready on {url}");
        std::future::pending::<Done>().await
    };
    tokio::select! {
        failed = until_told => return failed,
        () = log.watch(metrics.as_ref()) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = host.stop() => Ok(()),
        _ = terminate.recv() => Err(Complaint::failed("stopped at once by a second signal")),
        _ = interrupt.recv() => Err(Complaint::failed("stopped at once by a second signal")),
    }
}
