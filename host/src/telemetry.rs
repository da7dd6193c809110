//! Log output of the process: to standard error, as text or JSON lines.

use crate::config::LogConfig;
use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// Only the first call in a process has an effect; tests start many hosts.
pub(crate) fn init(config: &LogConfig) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|e| format!("log.filter `{}`: {e}", config.filter))?;
    let registry = tracing_subscriber::registry().with(filter);
    let done = if config.json {
        registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()
    } else {
        let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        registry.with(layer).try_init()
    };
    if done.is_err() {
        tracing::debug!("the log was set up before");
    }
    Ok(())
}
