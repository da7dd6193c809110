//! What Redis and the way to it can answer, as the closed kinds of the capabilities.

use plinth_capability::{Error, ErrorKind};
use redis::{ErrorKind as Redis, RedisError, ServerErrorKind};

/// What is asked, for the error should it fail.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) operation: &'static str,
    /// Doing it twice is not the same as once: a lost answer leaves the outcome unknown.
    pub(super) once: bool,
}

impl Call {
    pub(super) const fn again(operation: &'static str) -> Self {
        Self { operation, once: false }
    }

    pub(super) const fn once(operation: &'static str) -> Self {
        Self { operation, once: true }
    }

    pub(super) fn fail(self, kind: ErrorKind, message: &'static str) -> Error {
        Error::new(kind, self.operation, message)
    }

    /// Nothing was sent.
    pub(super) fn unavailable(self) -> Error {
        self.fail(ErrorKind::Unavailable, "the cache cannot be reached")
    }

    /// The texts name no address: they may be shown to a plugin.
    pub(super) fn error(self, error: RedisError) -> Error {
        let (kind, message) = self.kind(&error);
        Error::new(kind, self.operation, message).with_source(error)
    }

    fn kind(self, error: &RedisError) -> (ErrorKind, &'static str) {
        let lost = if self.once { ErrorKind::OutcomeUnknown } else { ErrorKind::Unavailable };
        match error.kind() {
            _ if error.is_timeout() && self.once => (ErrorKind::OutcomeUnknown, "the cache did not answer in time"),
            _ if error.is_timeout() => (ErrorKind::Timeout, "the cache did not answer in time"),
            _ if error.is_connection_refusal() => (ErrorKind::Unavailable, "the cache cannot be reached"),
            Redis::Io => (lost, "the connection to the cache was lost"),
            Redis::AuthenticationFailed | Redis::Server(ServerErrorKind::NoPerm) => {
                (ErrorKind::Denied, "the cache refuses this host's user")
            }
            Redis::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::Moved
                | ServerErrorKind::Ask
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly,
            )
            | Redis::ClusterConnectionNotFound
            | Redis::MasterNameNotFoundBySentinel
            | Redis::NoValidReplicasFoundBySentinel => (ErrorKind::Unavailable, "the cache does not serve this now"),
            _ => match error.code() {
                Some("NOAUTH" | "WRONGPASS") => (ErrorKind::Denied, "the cache refuses this host's user"),
                Some("WRONGTYPE") => (ErrorKind::WrongType, "what is stored was not written by this cache"),
                Some("OOM") => (ErrorKind::LimitExceeded, "the cache has no memory left"),
                Some("BUSY" | "MISCONF" | "NOREPLICAS") => (ErrorKind::Unavailable, "the cache does not serve this now"),
                _ => (ErrorKind::Failed, "the cache answered with an error"),
            },
        }
    }
}

/// The node asked is not the one to ask: it has done nothing.
pub(super) fn is_redirect(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        Redis::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain) | Redis::ClusterConnectionNotFound
    )
}

/// The node asked is a master no more: the connection leads to the wrong place.
pub(super) fn is_demoted(error: &RedisError) -> bool {
    matches!(error.kind(), Redis::Server(ServerErrorKind::ReadOnly))
}
