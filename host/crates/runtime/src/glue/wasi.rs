//! WASI 0.2 for guests whose language runtime imports it: linked, and everything denied.

use crate::choke::Faults;
use http::Response;
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};
use wasmtime_wasi::HostWallClock;
use wasmtime_wasi_http::{Error, WasiHttpHooks};

/// Plugins reach the outside through capabilities, not through HTTP of their own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoOutgoingHttp;

type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for NoOutgoingHttp {
    fn send_request(
        &mut self,
        _request: http::Request<wasmtime_wasi_http::WasiBody>,
        _options: Option<wasmtime_wasi_http::RequestOptions>,
        _sent: Sent,
    ) -> Box<dyn Future<Output = Result<(Response<wasmtime_wasi_http::WasiBody>, Sent), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}

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
