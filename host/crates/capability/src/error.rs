//! The one capability error: a closed kind, an operation, a source.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can decide on. Every consumer (WIT, HTTP, metrics, retry) has
/// one exhaustive `match` over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named bucket, queue, database, key or record does not exist.
    NotFound,
    /// A grant does not cover this.
    Denied,
    /// A value breaks a rule of the contract.
    InvalidInput,
    /// A size, count or rate limit was hit.
    LimitExceeded,
    /// What is stored cannot be used by this operation.
    WrongType,
    /// The statement does not parse or names unknown things.
    InvalidStatement,
    /// A constraint of the database refused the change.
    Constraint(ConstraintKind),
    /// Somebody was faster, or the database is busy: run the whole unit again.
    Conflict,
    /// The transaction or cursor has ended.
    Closed,
    /// Nothing is bound where the message was sent.
    Unroutable,
    /// A signature or sealed value does not verify.
    Unverified,
    /// The operation ran out of time; it had no effect, or is idempotent.
    Timeout,
    /// The backend cannot be reached now.
    Unavailable,
    /// Sent, and the answer lost: it may or may not have happened.
    OutcomeUnknown,
    /// The backend answered with an error that none of the above names.
    Failed,
    /// A fault of the host.
    Internal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConstraintKind {
    Unique,
    ForeignKey,
    NotNull,
    Check,
    Other,
}

impl ErrorKind {
    /// A stable name for logs, metrics and problem details.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::InvalidInput => "invalid-input",
            Self::LimitExceeded => "limit-exceeded",
            Self::WrongType => "wrong-type",
            Self::InvalidStatement => "invalid-statement",
            Self::Constraint(_) => "constraint-violation",
            Self::Conflict => "conflict",
            Self::Closed => "closed",
            Self::Unroutable => "unroutable",
            Self::Unverified => "unverified",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::Failed => "failed",
            Self::Internal => "internal",
        }
    }
}

/// What a database said beyond the kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlDetail {
    pub sqlstate: Option<String>,
    pub constraint: Option<String>,
    pub table: Option<String>,
    pub column: Option<String>,
    pub detail: Option<String>,
}

/// `Display` is what the caller may know; the source chain is for the log.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    message: String,
    sql: Option<SqlDetail>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// `operation` is `capability.verb`, e.g. `cache.get`; `message` may be
    /// shown to a plugin, so it carries no address, path or credential.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, operation, message: message.into(), sql: None, source: None }))
    }

    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub fn with_sql(mut self, sql: SqlDetail) -> Self {
        self.0.sql = Some(sql);
        self
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn sql(&self) -> Option<&SqlDetail> {
        self.0.sql.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}
