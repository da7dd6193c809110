//! The id that ties an answer, a log line and a hook call together.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Client-controlled: bytes of an id that is taken over.
const ID_MAX: usize = 128;

#[derive(Debug, Clone)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        // Both sources of ids are visible ASCII.
        self.0.to_str().unwrap_or_default()
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Gives ids: the client's own if it is sound, else one that no other process has.
#[derive(Debug)]
pub(crate) struct RequestIds {
    /// Random per process; a counter makes each id unique without asking the
    /// system for random bytes per request.
    process: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        Self { process: Uuid::new_v4().as_u64_pair().0, next: AtomicU64::new(1) }
    }

    pub(crate) fn take(&self, headers: &HeaderMap) -> RequestId {
        headers.get(X_REQUEST_ID).filter(|id| is_sound(id)).map_or_else(|| self.generate(), |id| RequestId(id.clone()))
    }

    fn generate(&self) -> RequestId {
        let id = format!("{:016x}-{:x}", self.process, self.next.fetch_add(1, Ordering::Relaxed));
        RequestId(HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("unknown")))
    }
}

fn is_sound(id: &HeaderValue) -> bool {
    (1..=ID_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_id_is_kept_and_any_other_replaced() {
        let ids = RequestIds::new();
        let take = |value: &[u8]| {
            let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_bytes(value).unwrap())]);
            ids.take(&headers).as_str().to_owned()
        };
        assert_eq!(take(b"abc-1"), "abc-1");
        for bad in [&b""[..], b"a b", "\u{e9}".as_bytes(), &[b'a'; 129]] {
            assert_ne!(take(bad).as_bytes(), bad);
        }
        let (first, second) = (ids.generate(), ids.generate());
        assert_ne!(first.as_str(), second.as_str());
        assert!(is_sound(&first.0));
    }
}
