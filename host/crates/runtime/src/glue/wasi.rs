//! WASI 0.2 for guests whose language runtime imports it: linked, and everything denied but what was granted.

use crate::choke::Faults;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use wasmtime_wasi::HostWallClock;

/// `wasi:clocks/wall-clock` in tests.
pub(crate) struct ToldTime(pub(crate) Arc<dyn Faults>);

impl HostWallClock for ToldTime {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0.now_ms().map_or_else(|| SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(), Duration::from_millis)
    }
}
