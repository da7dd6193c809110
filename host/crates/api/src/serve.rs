//! Accepts connections and serves them until told to stop, then lets requests in flight end.

use crate::{
    config::ApiConfig,
    linger::{LINGER_TIMES, Lingering, Unread},
};
use axum::{Router, response::Response};
use http::{HeaderValue, Request, Version, header};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use std::{io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// Client-controlled: bytes of a request's head.
const HEAD_BYTES: usize = 64 << 10;
/// Client-controlled: requests at once on one HTTP/2 connection.
const STREAMS: u32 = 128;
/// Between two tries to accept while the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that had to be cut at the deadline.
    pub cut: usize,
}

/// Serves until `shutdown`; then accepts no more, finishes what is in flight,
/// and cuts what is left after `drain-ms`.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken, config: ApiConfig) -> io::Result<Drained> {
    let server = Arc::new(builder(&config));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    // A connection does not know which route refused, so the larger limit counts.
    let linger = config.body_bytes.max(config.component_bytes).saturating_mul(LINGER_TIMES);
    let room = Arc::new(Semaphore::new(config.max_connections));
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, place)) = accepted else { continue };
        let unread = Unread::default();
        let stream = Lingering::new(stream, unread.clone(), linger);
        let connection = connection(Arc::clone(&server), stream, unread, router.clone(), shutdown.child_token());
        let cut = cut.child_token();
        connections.spawn(async move {
            let _place = place;
            tokio::select! {
                () = connection => {}
                () = cut.cancelled() => {}
            }
        });
    }
    drop(listener);
    connections.close();
    let drained = timeout(Duration::from_millis(config.drain_ms), connections.wait()).await;
    let left = if drained.is_ok() { 0 } else { connections.len() };
    cut.cancel();
    connections.wait().await;
    Ok(Drained { cut: left })
}

fn builder(config: &ApiConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.header_timeout_ms))
        .max_buf_size(HEAD_BYTES)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // First a place, then a connection: who does not fit waits in the system's backlog.
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are written whole; waiting to fill a packet only delays them.
            let _ = stream.set_nodelay(true);
            Some((stream, place))
        }
        Err(error) => {
            tracing::warn!(%error, "connection not accepted");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn connection(
    server: Arc<auto::Builder<TokioExecutor>>,
    stream: Lingering<TcpStream>,
    unread: Unread,
    router: Router,
    shutdown: CancellationToken,
) {
    let opened = Instant::now();
    let left = unread.clone();
    let service = router
        .map_request(move |request: Request<Incoming>| {
            // A stream of HTTP/2 ends by itself, without the connection.
            let unread = if request.version() < Version::HTTP_2 { unread.clone() } else { Unread::default() };
            request.map(|body| unread.watch(body))
        })
        .map_response(move |mut response: Response| {
            if left.is_set() {
                // What comes next on this connection is thrown away, so nobody may send a request there.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        });
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        let open_ms = u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(%error, open_ms, "connection ended with an error");
    }
}
