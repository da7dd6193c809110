//! Cursors through a log: the last sequence given, and the log's signature on it.

use aws_lc_rs::hmac;
use plinth_capability::{Error, ErrorKind, Result};

/// Bytes of the signature in a cursor: enough that guessing is hopeless.
const TAG_BYTES: usize = 16;

pub(super) fn write(key: &hmac::Key, sequence: i64) -> String {
    format!("{sequence:x}.{}", tag(key, sequence))
}

pub(super) fn read(key: &hmac::Key, text: &str) -> Result<i64> {
    let sequence = text.split_once('.').and_then(|(sequence, _)| i64::from_str_radix(sequence, 16).ok());
    // Written again and compared: there is one form of each cursor.
    sequence
        .filter(|sequence| write(key, *sequence) == text)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "audit.find", "this log did not give that cursor"))
}

/// Where a page begins after this cursor's.
pub(super) fn position(after: Option<i64>) -> u64 {
    after.map_or(0, |after| u64::try_from(after).unwrap_or(0).saturating_add(1))
}

fn tag(key: &hmac::Key, sequence: i64) -> String {
    let signed = hmac::sign(key, &sequence.to_be_bytes());
    let bytes = signed.as_ref().get(..TAG_BYTES).unwrap_or_default();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
