//! What one call of a plugin may use: asked for in the manifest, capped by the host.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Effective limits of one plugin version. Every field has a hostile fixture
/// that runs into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of all linear memories and tables of one instance together.
    pub memory_bytes: u64,
    /// Guest CPU time of one call; waiting for the host is not charged.
    pub cpu_ms: u64,
    /// The whole call, host calls included.
    pub wall_ms: u64,
    /// Capability calls of one hook call.
    pub host_calls: u64,
    /// Calls running at once.
    pub concurrency: u32,
    /// Calls waiting for their turn; one more is answered `unavailable`.
    pub waiting: u32,
    /// The longest such wait.
    pub wait_ms: u64,
    /// Bytes copied from the guest by one host call.
    pub argument_bytes: u64,
    /// Bytes of an answer: payload of a verdict, body of a response.
    pub result_bytes: u64,
    /// Handles (buckets, databases, transactions, cursors) open at once.
    pub handles: u32,
    /// Bytes of log text of one call; what comes after is dropped and counted.
    pub log_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            cpu_ms: 200,
            wall_ms: 2_000,
            host_calls: 1_000,
            concurrency: 32,
            waiting: 256,
            wait_ms: 1_000,
            argument_bytes: 2 << 20,
            result_bytes: 4 << 20,
            handles: 256,
            log_bytes: 64 << 10,
        }
    }
}

impl Limits {
    /// The host's ceiling: no manifest gets more than this.
    pub fn ceiling() -> Self {
        Self {
            memory_bytes: 512 << 20,
            cpu_ms: 30_000,
            wall_ms: 60_000,
            host_calls: 100_000,
            concurrency: 1_000,
            waiting: 10_000,
            wait_ms: 30_000,
            argument_bytes: 16 << 20,
            result_bytes: 32 << 20,
            handles: 1_000,
            log_bytes: 1 << 20,
        }
    }

    pub fn wall(&self) -> Duration {
        Duration::from_millis(self.wall_ms)
    }

    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms)
    }

    /// Every limit as `(name, asked, allowed)` that is over `ceiling` or zero.
    pub fn violations(&self, ceiling: &Self) -> Vec<(&'static str, u64, u64)> {
        let Self {
            memory_bytes,
            cpu_ms,
            wall_ms,
            host_calls,
            concurrency,
            waiting,
            wait_ms,
            argument_bytes,
            result_bytes,
            handles,
            log_bytes,
        } = *self;
        [
            ("memory-bytes", memory_bytes, ceiling.memory_bytes),
            ("cpu-ms", cpu_ms, ceiling.cpu_ms),
            ("wall-ms", wall_ms, ceiling.wall_ms),
            ("host-calls", host_calls, ceiling.host_calls),
            ("concurrency", concurrency.into(), ceiling.concurrency.into()),
            ("waiting", waiting.into(), ceiling.waiting.into()),
            ("wait-ms", wait_ms, ceiling.wait_ms),
            ("argument-bytes", argument_bytes, ceiling.argument_bytes),
            ("result-bytes", result_bytes, ceiling.result_bytes),
            ("handles", handles.into(), ceiling.handles.into()),
            ("log-bytes", log_bytes, ceiling.log_bytes),
        ]
        .into_iter()
        .filter(|&(name, asked, allowed)| asked > allowed || (asked == 0 && name != "waiting"))
        .collect()
    }
}
