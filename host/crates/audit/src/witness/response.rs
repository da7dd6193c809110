//! The answer to `add-checkpoint`.

use crate::note::NoteSignature;
use std::fmt::Display;

/// An answer: status, type and body, as HTTP carries them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200, 400, 403, 404, 409 or 422.
    pub status: u16,
    /// `text/x.tlog.size` for 409, plain text otherwise.
    pub content_type: &'static str,
    /// Cosignature lines for 200, the latest size for 409, otherwise a sentence for people.
    pub body: String,
}

impl Response {
    pub(super) fn cosigned(lines: &[NoteSignature]) -> Self {
        let body = lines.iter().map(|line| format!("{line}\n")).collect();
        Self { status: 200, content_type: "text/plain; charset=utf-8", body }
    }

    pub(super) fn conflict(size: u64) -> Self {
        Self { status: 409, content_type: "text/x.tlog.size", body: format!("{size}\n") }
    }

    pub(super) fn refusal(status: u16, why: &dyn Display) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{why}\n") }
    }
}
