//! What can go wrong in a request, and the answer to it.

use plinth_sdk::{Response, audit, cache, config, database, secrets};

/// What a request comes to.
pub(crate) type Answer<T> = std::result::Result<T, Problem>;

/// The code of a race that was lost: worth running the unit of work again.
pub(crate) const LOST: &str = "concurrent-change";

/// Why a request is not done.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The request itself cannot be understood.
    Malformed(String),
    /// It can be understood and breaks a rule.
    Invalid(String),
    NotFound,
    /// It was right for a state that is no longer, or never was, the current one.
    Conflict {
        code: &'static str,
        detail: String,
    },
    MethodNotAllowed(&'static str),
    /// Something the plugin stands on does not answer now.
    Unavailable(String),
    Internal(String),
}

impl Problem {
    pub(crate) fn lost() -> Self {
        Self::Conflict { code: LOST, detail: "somebody else changed the application at the same time".to_owned() }
    }

    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Invalid(_) => "invalid",
            Self::NotFound => "not-found",
            Self::Conflict { code, .. } => code,
            Self::MethodNotAllowed(_) => "method-not-allowed",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// Causes go to the log; the caller is told no more than it needs.
    pub(crate) fn into_response(self) -> Response {
        let code = self.code();
        match self {
            Self::Malformed(detail) => Response::problem(400, code, &detail),
            Self::Invalid(detail) => Response::problem(422, code, &detail),
            Self::NotFound => Response::problem(404, code, "there is no such application or route"),
            Self::Conflict { detail, .. } => Response::problem(409, code, &detail),
            Self::MethodNotAllowed(allow) => {
                Response::problem(405, code, "this route does not take that method").with_header("allow", allow)
            }
            Self::Unavailable(cause) => {
                plinth_sdk::warn!("a request was refused for now", cause = cause);
                Response::problem(503, code, "try again later").with_header("retry-after", "1")
            }
            Self::Internal(cause) => {
                plinth_sdk::error!("a request failed", cause = cause);
                Response::problem(500, code, "the request could not be carried out")
            }
        }
    }
}

impl From<database::Error> for Problem {
    fn from(error: database::Error) -> Self {
        match error {
            database::Error::ConstraintViolation(broken) if matches!(broken.kind, database::ConstraintKind::Unique) => {
                Self::Conflict { code: "number-taken", detail: "there is an application of that number".to_owned() }
            }
            database::Error::Conflict(_) => Self::lost(),
            database::Error::Timeout | database::Error::Unavailable(_) | database::Error::OutcomeUnknown(_) => {
                Self::Unavailable(error.to_string())
            }
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<secrets::Error> for Problem {
    fn from(error: secrets::Error) -> Self {
        match error {
            secrets::Error::Timeout | secrets::Error::Unavailable(_) => Self::Unavailable(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<cache::Error> for Problem {
    fn from(error: cache::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<audit::Error> for Problem {
    fn from(error: audit::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<config::Error> for Problem {
    fn from(error: config::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<serde_json::Error> for Problem {
    fn from(error: serde_json::Error) -> Self {
        Self::Internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_do_not_reach_the_caller() {
        let failure = database::SqlFailure { sqlstate: None, message: "disk image is malformed".into(), detail: None };
        let conflict = Problem::from(database::Error::Conflict(failure)).into_response();
        assert_eq!(conflict.status, 409);
        assert!(!String::from_utf8(conflict.body).unwrap().contains("disk image"));
    }

    #[test]
    fn each_kind_has_its_status() {
        let status = |problem: Problem| problem.into_response().status;
        assert_eq!(status(Problem::Malformed("x".into())), 400);
        assert_eq!(status(Problem::Invalid("x".into())), 422);
        assert_eq!(status(Problem::NotFound), 404);
        assert_eq!(status(Problem::Conflict { code: "x", detail: "y".into() }), 409);
        assert_eq!(status(Problem::MethodNotAllowed("GET")), 405);
    }
}
