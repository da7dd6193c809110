//! Glue for `wasi:http/outgoing-handler`: only to origins that were granted, buffered and bounded.

use crate::choke::{Caller, Operation};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use plinth_capability::{
    Error, ErrorKind, Result,
    http::{BODY_MAX, Http, Outgoing},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use wasmtime_wasi_http::{Error as HttpError, RequestOptions, WasiBody, WasiHttpHooks};

const SEND: Operation = Operation::new("http", "send");

/// The requests of one call. They go on while the guest does something else, and end with the call.
pub(crate) struct Requests {
    pub(crate) caller: Caller,
    pub(crate) http: Arc<dyn Http>,
    pub(crate) deadline: Instant,
}

type Io = Box<dyn Future<Output = Result<(), HttpError>> + Send>;

impl WasiHttpHooks for Requests {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _told: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), HttpError>> + Send> {
        let (caller, http, deadline) = (self.caller.clone(), self.http.clone(), self.deadline);
        Box::new(async move {
            let granted = caller.version.grants.outgoing(request.uri());
            let refused = if granted.is_err() { HttpError::HttpRequestDenied } else { HttpError::DestinationIpProhibited };
            let work = async move {
                let private = granted?;
                let request = buffered(request).await?;
                let within = deadline.saturating_duration_since(Instant::now());
                let head_within = head_within(options.as_ref()).min(within);
                http.send(Outgoing { request, private, head_within, within }).await
            };
            let answer = caller.choke(SEND, work).await.map_err(|error| code(&error, refused))?;
            let body = |bytes: Bytes| Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
            Ok((answer.map(body), Box::new(std::future::ready(Ok(()))) as Io))
        })
    }
}

/// The whole of it, while the guest writes it.
async fn buffered(request: Request<WasiBody>) -> Result<Request<Bytes>> {
    let (parts, body) = request.into_parts();
    let collected = Limited::new(body, BODY_MAX).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return Error::new(ErrorKind::LimitExceeded, "http.send", format!("the contents of the request are over {BODY_MAX} bytes"));
        }
        Error::new(ErrorKind::InvalidInput, "http.send", "the contents of the request broke off")
    })?;
    Ok(Request::from_parts(parts, collected.to_bytes()))
}

/// The guest's own times: connecting, and then the first byte. The rest is bounded by its call, and by the host's policy.
fn head_within(options: Option<&RequestOptions>) -> Duration {
    let Some(RequestOptions { connect_timeout, first_byte_timeout: Some(first), between_bytes_timeout: _ }) = options else {
        return Duration::MAX;
    };
    connect_timeout.unwrap_or_default().saturating_add(*first)
}

/// By the codes of `wasi:http`; `refused` says what was not granted.
fn code(error: &Error, refused: HttpError) -> HttpError {
    match error.kind() {
        ErrorKind::Denied => refused,
        ErrorKind::InvalidInput => HttpError::HttpRequestUriInvalid,
        ErrorKind::Timeout | ErrorKind::OutcomeUnknown => HttpError::HttpResponseTimeout,
        ErrorKind::Unavailable => HttpError::DestinationUnavailable,
        _ => HttpError::InternalError(Some(error.message().to_owned())),
    }
}
