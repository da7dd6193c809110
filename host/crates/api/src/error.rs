//! One error for all routes: everything that can go wrong becomes a problem of the table.

use crate::{
    problem::{self, Kind, PROBLEM_JSON, Problem},
    request_id::RequestId,
};
use axum::{
    body::Body,
    extract::{
        multipart::{MultipartError, MultipartRejection},
        rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection},
    },
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use plinth_capability::{Error, ErrorKind};
use plinth_runtime::{
    LoadError,
    outcome::{Failure, GuestError},
};
use std::{sync::Arc, time::Duration};

pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// When nothing better is known about an outage.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the caller may know, and apart from it what only the log keeps.
#[derive(Debug, Clone)]
pub(crate) struct ApiError(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    problems: Vec<String>,
    guest_code: Option<String>,
    retry_after: Option<Duration>,
    cause: Option<Cause>,
}

impl ApiError {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self::inner(kind, detail).into()
    }

    pub(crate) fn with_problems(kind: Kind, detail: impl Into<String>, problems: Vec<String>) -> Self {
        Inner { problems, ..Self::inner(kind, detail) }.into()
    }

    fn inner(kind: Kind, detail: impl Into<String>) -> Inner {
        let retry_after = (kind.status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER);
        Inner { kind, detail: detail.into(), problems: Vec::new(), guest_code: None, retry_after, cause: None }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The answer to the client; what the client must not see goes to the log.
    pub(crate) fn render(&self, request_id: &RequestId) -> Response {
        let Inner { kind, detail, problems, guest_code, retry_after, cause } = &*self.0;
        if let Some(cause) = cause {
            tracing::warn!(request_id = request_id.as_str(), code = kind.code, cause = %Chain(cause.as_ref()), "request failed");
        }
        let body = Problem {
            kind: format!("urn:plinth:problem:{}", kind.code),
            title: kind.title.to_owned(),
            status: kind.status.as_u16(),
            detail: detail.clone(),
            code: kind.code.to_owned(),
            request_id: request_id.as_str().to_owned(),
            problems: problems.clone(),
            guest_code: guest_code.clone(),
        };
        // A problem is plain strings and numbers, which always serialise.
        let mut response = Response::new(Body::from(serde_json::to_vec(&body).unwrap_or_default()));
        *response.status_mut() = kind.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(wait) = retry_after {
            // Whole seconds, rounded up: a client that obeys does not come too early.
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1_000).max(1) as u64));
        }
        if kind.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Inner> for ApiError {
    fn from(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

/// Carries the error to the edge, which knows the request's id and renders it.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.kind.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => problem::NOT_FOUND,
            ErrorKind::Denied => problem::DENIED,
            ErrorKind::InvalidInput => problem::INVALID_INPUT,
            ErrorKind::LimitExceeded => problem::LIMIT_EXCEEDED,
            ErrorKind::WrongType => problem::WRONG_TYPE,
            ErrorKind::InvalidStatement => problem::INVALID_STATEMENT,
            ErrorKind::Constraint(_) => problem::CONSTRAINT,
            ErrorKind::Conflict => problem::CONFLICT,
            ErrorKind::Closed => problem::CLOSED,
            ErrorKind::Unroutable => problem::UNROUTABLE,
            ErrorKind::Unverified => problem::UNVERIFIED,
            ErrorKind::Timeout => problem::TIMEOUT,
            ErrorKind::Unavailable => problem::UNAVAILABLE,
            ErrorKind::OutcomeUnknown => problem::OUTCOME_UNKNOWN,
            ErrorKind::Failed => problem::FAILED,
            ErrorKind::Internal => problem::INTERNAL,
        };
        let log = kind.status.is_server_error() || std::error::Error::source(&error).is_some();
        let detail = error.message().to_owned();
        Inner { cause: log.then(|| error.into()), ..Self::inner(kind, detail) }.into()
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        let wait = |after: Option<Duration>| Some(after.unwrap_or(RETRY_AFTER));
        match failure {
            Failure::Guest(GuestError::Reject { code, message }) => {
                Inner { guest_code: Some(code), ..Self::inner(problem::GUEST_REJECT, message) }.into()
            }
            Failure::Guest(GuestError::Retry { message, after }) => {
                Inner { retry_after: wait(after), ..Self::inner(problem::GUEST_RETRY, message) }.into()
            }
            // The text of a trap names functions of the guest: for the log only.
            Failure::Trap(why) => {
                Inner { cause: Some(why.into()), ..Self::inner(problem::TRAP, "the plugin ended in the middle of the call") }.into()
            }
            Failure::Deadline(why) => Self::new(problem::DEADLINE, why),
            Failure::Limit(why) => Self::new(problem::LIMIT, why),
            Failure::Denied(why) => Self::new(problem::DENIED, why),
            Failure::Unavailable { why, retry_after } => {
                Inner { retry_after: wait(retry_after), ..Self::inner(problem::UNAVAILABLE, why) }.into()
            }
        }
    }
}

impl From<LoadError> for ApiError {
    fn from(error: LoadError) -> Self {
        let kind = match &error {
            LoadError::Manifest(_) => problem::MANIFEST_INVALID,
            LoadError::Config(_) => problem::CONFIG_INVALID,
            LoadError::TooLarge { .. } => problem::COMPONENT_TOO_LARGE,
            LoadError::Structure(_) => problem::COMPONENT_INVALID,
            LoadError::Compile(_) => problem::COMPILE_FAILED,
            LoadError::Preflight(_) => problem::PREFLIGHT_FAILED,
            LoadError::Grants(_) => problem::GRANTS_NOT_APPROVED,
            LoadError::Probe(_) => problem::PROBE_FAILED,
            LoadError::VersionTaken { .. } => problem::VERSION_TAKEN,
            LoadError::Quarantined(_) => problem::QUARANTINED,
            LoadError::NoSuchPlugin(_) => problem::NO_SUCH_PLUGIN,
            LoadError::NoSuchVersion(_) => problem::NO_SUCH_VERSION,
            LoadError::NoPrevious => problem::NO_PREVIOUS_VERSION,
            LoadError::Vetoed { .. } => problem::VETOED,
            LoadError::NotStaged(_) => problem::NOT_STAGED,
            LoadError::Superseded => problem::SUPERSEDED,
            LoadError::State(_) => problem::STATE_UNAVAILABLE,
            LoadError::Unavailable(_) => problem::LOADER_UNAVAILABLE,
        };
        let (detail, problems) = (error.to_string(), error.problems());
        let cause = kind.status.is_server_error().then(|| error.into());
        Inner { problems, cause, ..Self::inner(kind, detail) }.into()
    }
}

/// A rejection of axum says what is wrong with the request and nothing of the
/// host; its status tells too large and unsupported from malformed.
fn refused(kind: Kind, status: StatusCode, detail: String) -> ApiError {
    let kind = match status {
        StatusCode::PAYLOAD_TOO_LARGE => problem::BODY_TOO_LARGE,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => problem::UNSUPPORTED_MEDIA_TYPE,
        StatusCode::INTERNAL_SERVER_ERROR => problem::INTERNAL,
        _ => kind,
    };
    ApiError::new(kind, detail)
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        refused(problem::BAD_BODY, rejection.status(), rejection.body_text())
    }
}

impl From<BytesRejection> for ApiError {
    fn from(rejection: BytesRejection) -> Self {
        refused(problem::BAD_BODY, rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        refused(problem::BAD_QUERY, rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        refused(problem::BAD_PATH, rejection.status(), rejection.body_text())
    }
}

impl From<MultipartRejection> for ApiError {
    fn from(rejection: MultipartRejection) -> Self {
        refused(problem::BAD_BODY, rejection.status(), rejection.body_text())
    }
}

impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        refused(problem::BAD_BODY, error.status(), error.body_text())
    }
}

/// An error with all its sources, for the log.
struct Chain<'a>(&'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}
