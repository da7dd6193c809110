//! `plinth witness serve`: `POST /add-checkpoint` over HTTP.

use super::{key, store::Folder};
use crate::cli::{Complaint, Done};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
    routing::post,
};
use clap::Args;
use http::{StatusCode, header::CONTENT_TYPE};
use plinth_audit::{
    note::Signer,
    policy::Policy,
    witness::{REQUEST_MAX, Witness, WitnessError},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutLayer;

/// From the first byte of a request to its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// For requests that are on their way when the witness is told to stop.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);
/// What is over the limit is read so far, since a client that is still writing would miss its 413.
const READ_MAX: usize = 4 * REQUEST_MAX;

#[derive(Args)]
pub(in crate::cli) struct Serve {
    /// The secret made by `plinth witness key`; more than one adds a line for each.
    #[arg(long = "key", required = true)]
    keys: Vec<PathBuf>,
    /// Policies whose `log` lines name the logs to cosign, such as `plinth audit trust` prints.
    #[arg(long = "trust", required = true)]
    policies: Vec<PathBuf>,
    /// Where the last checkpoint of each log is kept. Losing it means cosigning any history anew.
    #[arg(long)]
    data: PathBuf,
    /// Address and port; port 0 takes a free one. The witness speaks plain HTTP: give it a proxy that speaks TLS.
    #[arg(long, default_value = "127.0.0.1:7380")]
    listen: SocketAddr,
}

struct Shared {
    witness: Witness,
    folder: Folder,
}

impl Serve {
    pub(super) fn run(self) -> Done {
        let mut logs = Vec::new();
        for path in &self.policies {
            let wrong = |why: String| Complaint::usage(format!("{}: {why}", path.display()));
            let policy = Policy::parse(&std::fs::read(path).map_err(|e| wrong(e.to_string()))?).map_err(|e| wrong(e.to_string()))?;
            logs.extend(policy.logs().iter().map(|log| log.key.clone()));
        }
        if logs.is_empty() {
            return Err(Complaint::usage("the policies name no log to cosign"));
        }
        let mut signers: Vec<Arc<dyn Signer>> = Vec::new();
        for path in &self.keys {
            signers.push(Arc::new(key::read(path)?));
        }
        let folder = Folder::open(self.data.clone()).map_err(|e| Complaint::failed(format!("{}: {e}", self.data.display())))?;
        for signer in &signers {
            println!("witness {} {}", signer.key().name(), signer.key());
        }
        let shared = Arc::new(Shared { witness: Witness::new(logs, signers), folder });
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| Complaint::failed(e.to_string()))?;
        runtime.block_on(serve(self.listen, shared)).map_err(|e| Complaint::failed(e.to_string()))
    }
}

async fn serve(listen: SocketAddr, shared: Arc<Shared>) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(listen).await?;
    println!("plinth: witness ready on http://{}", listener.local_addr()?);
    let late = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT);
    let router =
        Router::new().route("/add-checkpoint", post(add_checkpoint)).layer(DefaultBodyLimit::max(READ_MAX)).layer(late).with_state(shared);
    let stop = CancellationToken::new();
    let mut serving = pin!(axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future());
    tokio::select! {
        ended = &mut serving => return ended,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    // What is not answered by then was not promised either.
    tokio::time::timeout(LEAVE_WITHIN, serving).await.unwrap_or(Ok(()))
}

/// Answers only when what was cosigned is on disk.
async fn add_checkpoint(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    if body.len() > REQUEST_MAX {
        return (StatusCode::PAYLOAD_TOO_LARGE, format!("a request has at most {REQUEST_MAX} bytes\n")).into_response();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let done = tokio::task::spawn_blocking(move || shared.witness.add_checkpoint(&shared.folder, &body, now)).await;
    let why = match done {
        Ok(Ok(answer)) => {
            let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            return (status, [(CONTENT_TYPE, answer.content_type)], answer.body).into_response();
        }
        Ok(Err(WitnessError::Store(error))) => error.to_string(),
        Ok(Err(WitnessError::Sign(error))) => error.to_string(),
        Err(error) => error.to_string(),
    };
    eprintln!("plinth: nothing was cosigned: {why}");
    (StatusCode::INTERNAL_SERVER_ERROR, "the witness could not cosign; its log says why\n").into_response()
}
