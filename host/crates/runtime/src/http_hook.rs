//! The HTTP hook: `wasi:http/incoming-handler` with a buffered, bounded answer.

use crate::{
    hook::HttpRequest,
    hooks,
    invoke::Work,
    outcome::{Failure, GuestError, Outcome},
};
use bytes::Bytes;
use futures::future::{Either, select};
use http::Response;
use http_body_util::{BodyExt, Full, Limited};
use std::pin::pin;
use tokio::sync::oneshot;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    Error as HttpError, WasiHttpView,
    p2::{
        bindings::http::types::{ErrorCode, Scheme},
        body::HyperOutgoingBody,
    },
};

type Answered = Result<Response<HyperOutgoingBody>, ErrorCode>;

pub(crate) fn handle(request: HttpRequest) -> Work<Response<Bytes>> {
    Box::new(move |store, instance, version| {
        Box::pin(async move {
            let Some(indices) = &version.exports.http else {
                return Ok(Err(Failure::unavailable("this version does not export the hook")));
            };
            let mut methods = version.manifest.hooks.http.iter().flat_map(|binding| &binding.methods);
            if !methods.any(|method| method == request.request.method().as_str()) {
                return Ok(hooks::unbound("method", request.request.method().as_str()));
            }
            let guest = indices.load(&mut *store, instance)?;
            let (sender, receiver) = oneshot::channel();
            let request = request.request.map(|body| Full::new(body).map_err(|never| -> HttpError { match never {} }));
            let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
            let out = store.data_mut().http().new_response_outparam(sender)?;
            // The body is read while the guest writes it: its stream holds back
            // a guest that is ahead of its reader.
            let most = usize::try_from(version.limits.result_bytes).unwrap_or(usize::MAX);
            let mut answer = pin!(collect(receiver, most));
            let answered = {
                let call = pin!(guest.call_handle(&mut *store, request, out));
                match select(call, answer.as_mut()).await {
                    // A guest that broke will not answer any more, so nobody waits for it.
                    Either::Left((called, _)) => called.map(|()| None)?,
                    Either::Right((answered, call)) => {
                        call.await?;
                        Some(answered)
                    }
                }
            };
            if let Some(answered) = answered {
                return Ok(answered);
            }
            // With its handles goes what the guest left unset or unfinished; that ends the wait for it.
            store.data_mut().table = ResourceTable::new();
            Ok(answer.await)
        })
    })
}

async fn collect(receiver: oneshot::Receiver<Answered>, most: usize) -> Outcome<Response<Bytes>> {
    let response = match receiver.await {
        Ok(Ok(response)) => response,
        Ok(Err(code)) => return Err(rejected("http.error", format!("the plugin answered with {code:?}"))),
        Err(_dropped) => return Err(rejected("http.no-answer", "the plugin ended without setting a response".to_owned())),
    };
    let (parts, body) = response.into_parts();
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(Response::from_parts(parts, collected.to_bytes())),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::Limit(format!("a response body over {most} bytes"))),
        Err(error) => Err(rejected("http.body", format!("the response body broke off: {error}"))),
    }
}

fn rejected(code: &str, message: String) -> Failure {
    Failure::Guest(GuestError::reject(code.to_owned(), message))
}
