//! The first baseline: a handler in Rust behind a server and a router with the host's settings.

use crate::child::READY;
use anyhow::{Context, Result};
use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::any,
};
use http::header;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

/// As the guests answer.
pub(crate) const BODY: &str = "1.0.0";

pub(crate) struct Native {
    listener: TcpListener,
    address: SocketAddr,
}

pub(crate) async fn run() -> Result<()> {
    let server = Native::bind().await?;
    println!("{READY}{}", server.address());
    server.serve().await;
    Ok(())
}

impl Native {
    pub(crate) async fn bind() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("could not listen")?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Until the process is killed.
    pub(crate) async fn serve(self) {
        let router =
            Router::new().route("/x/{plugin}", any(answer)).route("/x/{plugin}/", any(answer)).route("/x/{plugin}/{*path}", any(answer));
        let (server, connections) = (Arc::new(builder()), TaskTracker::new());
        loop {
            let Some(stream) = accept(&self.listener).await else { continue };
            let (server, router) = (Arc::clone(&server), router.clone());
            connections.spawn(async move {
                let _ = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
            });
        }
    }
}

pub(crate) async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    let (stream, _) = listener.accept().await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

async fn answer() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], BODY).into_response()
}

/// The same settings as the host's.
fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10)).max_buf_size(64 << 10).keep_alive(true);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(128).max_header_list_size(64 << 10);
    builder
}
