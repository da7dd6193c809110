//! From a value to its bytes.

use super::{CanonicalError, DEPTH_MAX, INTEGER_MAX, Problem, RECORD_MAX};
use serde_json::{Map, Number, Value};

/// The canonical bytes of a value, at most [`RECORD_MAX`].
///
/// # Errors
/// [`Problem::Number`], [`Problem::TooDeep`] or [`Problem::TooLong`].
pub fn encode(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Writer::default();
    out.value(value)?;
    Ok(out.bytes)
}

#[derive(Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    depth: usize,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), CanonicalError> {
        match value {
            Value::Null => self.push(b"null"),
            Value::Bool(true) => self.push(b"true"),
            Value::Bool(false) => self.push(b"false"),
            Value::Number(number) => self.number(number),
            Value::String(text) => self.string(text),
            Value::Array(items) => self.nested(b"[", b"]", |out| {
                items.iter().enumerate().try_for_each(|(place, item)| {
                    out.separate(place)?;
                    out.value(item)
                })
            }),
            Value::Object(members) => self.nested(b"{", b"}", |out| out.members(members)),
        }
    }

    fn members(&mut self, members: &Map<String, Value>) -> Result<(), CanonicalError> {
        // Sorted here and not by the map: whether that keeps insertion order depends
        // on a feature that any other crate may turn on.
        let mut members: Vec<_> = members.iter().collect();
        members.sort_unstable_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
        members.into_iter().enumerate().try_for_each(|(place, (name, value))| {
            self.separate(place)?;
            self.string(name)?;
            self.push(b":")?;
            self.value(value)
        })
    }

    fn nested(
        &mut self,
        open: &[u8],
        close: &[u8],
        inside: impl FnOnce(&mut Self) -> Result<(), CanonicalError>,
    ) -> Result<(), CanonicalError> {
        self.enter()?;
        self.push(open)?;
        inside(self)?;
        self.leave();
        self.push(close)
    }

    pub(super) fn enter(&mut self) -> Result<(), CanonicalError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(Problem::TooDeep));
        }
        self.depth += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what was written from here on.
    pub(super) fn take_from(&mut self, start: usize) -> Vec<u8> {
        self.bytes.split_off(start)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn number(&mut self, number: &Number) -> Result<(), CanonicalError> {
        self.integer(number.as_i64())
    }

    /// `None` is a number that is no such integer.
    pub(super) fn integer(&mut self, number: Option<i64>) -> Result<(), CanonicalError> {
        match number.filter(|integer| integer.unsigned_abs() <= INTEGER_MAX) {
            Some(integer) => self.push(integer.to_string().as_bytes()),
            None => Err(self.error(Problem::Number)),
        }
    }

    pub(super) fn string(&mut self, text: &str) -> Result<(), CanonicalError> {
        self.push(b"\"")?;
        let mut plain = 0;
        for (at, byte) in text.bytes().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.push(text.as_bytes().get(plain..at).unwrap_or_default())?;
            self.escape(byte)?;
            plain = at + 1;
        }
        self.push(text.as_bytes().get(plain..).unwrap_or_default())?;
        self.push(b"\"")
    }

    fn escape(&mut self, byte: u8) -> Result<(), CanonicalError> {
        match short_escape(byte) {
            Some(letter) => self.push(&[b'\\', letter]),
            None => self.push(format!("\\u{byte:04x}").as_bytes()),
        }
    }

    pub(super) fn separate(&mut self, place: usize) -> Result<(), CanonicalError> {
        if place > 0 { self.push(b",") } else { Ok(()) }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), CanonicalError> {
        if self.bytes.len() + bytes.len() > RECORD_MAX {
            return Err(self.error(Problem::TooLong));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn error(&self, problem: Problem) -> CanonicalError {
        CanonicalError { at: self.bytes.len(), problem }
    }
}

/// The letter behind the backslash, for the characters that have one.
pub(super) const fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        0x08 => Some(b'b'),
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        0x0c => Some(b'f'),
        b'\r' => Some(b'r'),
        b'"' => Some(b'"'),
        b'\\' => Some(b'\\'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(value: &Value) -> String {
        String::from_utf8(encode(value).unwrap()).unwrap()
    }

    #[test]
    fn members_sort_by_utf_16_units() {
        // The names of RFC 8785, section 3.2.3: the emoji is two surrogates, which sort before U+FB33.
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        assert_eq!(text(&value), "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}");
    }

    #[test]
    fn strings_are_escaped_as_little_as_possible() {
        // The string of RFC 8785, section 3.2.2.
        assert_eq!(text(&json!("\u{20ac}$\u{f}\nA'B\"\\\\\"/")), "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"");
        assert_eq!(text(&json!("\u{8}\t\u{c}\r\u{1f}\u{7f}\u{2028}")), "\"\\b\\t\\f\\r\\u001f\u{7f}\u{2028}\"");
    }

    #[test]
    fn integers_end_at_53_bits() {
        assert_eq!(text(&json!([9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64, 0])), "[9007199254740991,-9007199254740991,0]");
        for bad in [json!(9_007_199_254_740_992_i64), json!(-9_007_199_254_740_992_i64), json!(u64::MAX), json!(1.5), json!(1.0)] {
            assert_eq!(encode(&bad).unwrap_err().problem, Problem::Number, "{bad}");
        }
    }

    #[test]
    fn the_limits_are_kept() {
        assert_eq!(encode(&json!("x".repeat(RECORD_MAX - 2))).unwrap().len(), RECORD_MAX);
        assert_eq!(encode(&json!("x".repeat(RECORD_MAX - 1))).unwrap_err().problem, Problem::TooLong);
        let nested = |depth| (0..depth).fold(json!(0), |inner, _| json!([inner]));
        assert!(encode(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(encode(&nested(DEPTH_MAX + 1)).unwrap_err().problem, Problem::TooDeep);
    }
}
