//! Between `wasi:http` resources and whole requests and responses.

use super::{HttpHandler, Request, Response, split_target};
use wasip2::{
    http::types::{ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam},
    io::streams::StreamError,
};

/// Bytes asked for by one read, and the most one blocking write may carry.
const READ: u64 = 64 << 10;
const WRITE: usize = 4096;

/// Runs one request through a handler.
pub fn serve<P: HttpHandler>(request: IncomingRequest, answer: ResponseOutparam) {
    let response = match read(&request) {
        Some(request) => P::handle(request),
        None => Response::problem(400, "bad-body", "the request's body broke off"),
    };
    send(response, answer);
}

fn read(request: &IncomingRequest) -> Option<Request> {
    let (path, query) = split_target(&request.path_with_query().unwrap_or_default());
    let headers = request.headers().entries().into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Some(Request { method: method(request.method()), path, query, headers, body: body(request)? })
}

fn method(method: Method) -> String {
    let text = match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(text) => return text.to_ascii_uppercase(),
    };
    text.to_owned()
}

fn body(request: &IncomingRequest) -> Option<Vec<u8>> {
    let incoming = request.consume().ok()?;
    let stream = incoming.stream().ok()?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ) {
            Ok(chunk) => bytes.extend(chunk),
            Err(StreamError::Closed) => return Some(bytes),
            Err(StreamError::LastOperationFailed(_)) => return None,
        }
    }
}

/// Sends head and body. Once the head is out a broken stream can only be told
/// by leaving the body unfinished, which the host sees.
fn send(response: Response, answer: ResponseOutparam) {
    let Some((head, body)) = head(&response) else {
        let text = "the plugin answered with a status or header that is not allowed".to_owned();
        return ResponseOutparam::set(answer, Err(ErrorCode::InternalError(Some(text))));
    };
    ResponseOutparam::set(answer, Ok(head));
    let Ok(stream) = body.write() else { return };
    for chunk in response.body.chunks(WRITE) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            return;
        }
    }
    drop(stream);
    // An error says that the client is gone: nobody is left to be told.
    let _ = OutgoingBody::finish(body, None);
}

fn head(response: &Response) -> Option<(OutgoingResponse, OutgoingBody)> {
    let head = OutgoingResponse::new(Fields::from_list(&response.headers).ok()?);
    head.set_status_code(response.status).ok()?;
    let body = head.body().ok()?;
    Some((head, body))
}
