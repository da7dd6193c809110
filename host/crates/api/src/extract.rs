//! Axum's extractors with our error: a request that cannot be read is a problem too.

use crate::{
    auth::Caller,
    edge::Visit,
    error::{ApiError, Result},
    problem,
};
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::{HeaderMap, request::Parts};
use serde::de::DeserializeOwned;

/// A JSON body, whose content type must say so: a form of a web page cannot.
pub(crate) struct Json<T>(pub T);
pub(crate) struct Query<T>(pub T);
pub(crate) struct Path<T>(pub T);
/// A multipart form; its parts are read one after the other.
pub(crate) struct Multipart(pub axum::extract::Multipart);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let axum::Json(value) = axum::Json::from_request(request, state).await?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync> FromRequest<S> for Multipart {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        Ok(Self(axum::extract::Multipart::from_request(request, state).await?))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let axum::extract::Query(value) = axum::extract::Query::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let axum::extract::Path(value) = axum::extract::Path::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// Who calls, as the edge found out.
impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::new(problem::INTERNAL, "the request did not pass the edge"))
    }
}

/// Who causes a hook call: the caller and the trace it belongs to.
pub(crate) struct Causing(pub plinth_runtime::hook::Cause);

impl<S: Send + Sync> FromRequestParts<S> for Causing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let visit = Visit::from_request_parts(parts, state).await?;
        Ok(Self(visit.caller.cause(traceparent(&parts.headers))))
    }
}

/// W3C trace context; anything but `version-trace-parent-flags` in hex is as good as none.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("traceparent")?.to_str().ok()?;
    let hex = |part: &str, length| part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = value.split('-');
    let lengths = [2, 32, 16, 2];
    let sound = lengths.iter().all(|length| parts.next().is_some_and(|part| hex(part, *length)));
    (sound && parts.next().is_none()).then_some(value)
}

impl Caller {
    /// What audit records name as the actor of an API call.
    pub(crate) fn audit_actor(&self) -> &str {
        self.actor().unwrap_or("anonymous")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_a_well_formed_traceparent_is_passed_on() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static("traceparent"), HeaderValue::from_static(value))]);
            traceparent(&headers).map(str::to_owned)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(read(good).as_deref(), Some(good));
        for bad in ["", "00", "00-4bf9-00f067aa0ba902b7-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"] {
            assert_eq!(read(bad), None);
        }
        assert_eq!(read("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"), None);
    }
}
