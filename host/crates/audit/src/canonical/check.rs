//! Whether bytes are canonical, without building the value: an auditor does this for every record.

use super::{CanonicalError, DEPTH_MAX, INTEGER_MAX, Problem, RECORD_MAX, encode::short_escape};
use std::{borrow::Cow, cmp::Ordering};

/// Checks that `bytes` are exactly what [`super::encode`] writes for some value.
/// Looks at no more than [`RECORD_MAX`] bytes.
///
/// # Errors
/// The first thing that is not canonical.
pub fn check(bytes: &[u8]) -> Result<(), CanonicalError> {
    if bytes.len() > RECORD_MAX {
        return Err(CanonicalError { at: RECORD_MAX, problem: Problem::TooLong });
    }
    let text = str::from_utf8(bytes).map_err(|error| CanonicalError { at: error.valid_up_to(), problem: Problem::Utf8 })?;
    let mut scanner = Scanner { text, at: 0, depth: 0 };
    scanner.value()?;
    if scanner.at == bytes.len() { Ok(()) } else { Err(scanner.unexpected(Problem::TrailingBytes)) }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    fn value(&mut self) -> Result<(), CanonicalError> {
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.unexpected(Problem::Syntax)),
        }
    }

    fn nested(&mut self, inside: fn(&mut Self) -> Result<(), CanonicalError>) -> Result<(), CanonicalError> {
        if self.depth == DEPTH_MAX {
            return Err(self.error(Problem::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), CanonicalError> {
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value()?;
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self) -> Result<(), CanonicalError> {
        if self.take(b'}') {
            return Ok(());
        }
        let mut previous: Option<Cow<'a, str>> = None;
        loop {
            let at = self.at;
            let name = self.string()?;
            match previous.map_or(Ordering::Less, |previous| compare(&previous, &name)) {
                Ordering::Less => {}
                Ordering::Equal => return Err(CanonicalError { at, problem: Problem::DuplicateMember }),
                Ordering::Greater => return Err(CanonicalError { at, problem: Problem::MemberOrder }),
            }
            previous = Some(name);
            self.expect(b':')?;
            self.value()?;
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// The string at this place, without its escapes.
    fn string(&mut self) -> Result<Cow<'a, str>, CanonicalError> {
        self.expect(b'"')?;
        let mut start = self.at;
        let mut unescaped = String::new();
        loop {
            match self.peek() {
                None => return Err(self.error(Problem::Syntax)),
                Some(b'"') => {
                    let last = self.slice(start);
                    self.at += 1;
                    return Ok(if unescaped.is_empty() { Cow::Borrowed(last) } else { Cow::Owned(unescaped + last) });
                }
                Some(b'\\') => {
                    unescaped.push_str(self.slice(start));
                    unescaped.push(char::from(self.escape()?));
                    start = self.at;
                }
                Some(0..b' ') => return Err(self.error(Problem::Escape)),
                Some(_) => self.at += self.plain(),
            }
        }
    }

    /// The character that an escape stands for: a control character, `"` or `\`, in the one way to write it.
    fn escape(&mut self) -> Result<u8, CanonicalError> {
        let rest = self.text.as_bytes().get(self.at + 1..).unwrap_or_default();
        let found = match rest {
            [b'u', digits @ ..] => hexadecimal(digits).filter(|byte| *byte < b' ' && short_escape(*byte).is_none()).map(|byte| (byte, 6)),
            [letter, ..] => (0..=b'\\').find(|byte| short_escape(*byte) == Some(*letter)).map(|byte| (byte, 2)),
            [] => None,
        };
        let (byte, length) = found.ok_or_else(|| self.error(Problem::Escape))?;
        self.at += length;
        Ok(byte)
    }

    fn number(&mut self) -> Result<(), CanonicalError> {
        let start = self.at;
        let error = |problem| Err(CanonicalError { at: start, problem });
        let negative = self.take(b'-');
        let digits_from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        let digits = self.slice(digits_from);
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return error(Problem::Number);
        }
        if digits.is_empty() {
            return error(Problem::Syntax);
        }
        if digits.starts_with('0') && (negative || digits.len() > 1) {
            return error(Problem::NumberForm);
        }
        if digits.parse().is_ok_and(|magnitude: u64| magnitude <= INTEGER_MAX) { Ok(()) } else { error(Problem::Number) }
    }

    fn word(&mut self, word: &str) -> Result<(), CanonicalError> {
        let there = self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if !there {
            return Err(self.error(Problem::Syntax));
        }
        self.at += word.len();
        Ok(())
    }

    fn expect(&mut self, byte: u8) -> Result<(), CanonicalError> {
        if self.take(byte) { Ok(()) } else { Err(self.unexpected(Problem::Syntax)) }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// How many bytes follow that stand for themselves in a string.
    fn plain(&self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        rest.iter().position(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\').unwrap_or(rest.len())
    }

    /// From `start` to here. Both lie beside ASCII characters, hence between characters.
    fn slice(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn unexpected(&self, otherwise: Problem) -> CanonicalError {
        self.error(if matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) { Problem::WhiteSpace } else { otherwise })
    }

    fn error(&self, problem: Problem) -> CanonicalError {
        CanonicalError { at: self.at, problem }
    }
}

/// Names by their UTF-16 units. Those of ASCII sort by their bytes, which is quicker.
fn compare(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

/// The byte that four lower-case hexadecimal digits spell, if it is one.
fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let text = str::from_utf8(digits.get(..4)?).ok()?;
    let [0, byte] = crate::text::from_hex::<2>(text)? else { return None };
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::encode;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn the_first_problem_is_named_with_its_place() {
        use Problem::*;
        let cases: &[(&str, usize, Problem)] = &[
            ("", 0, Syntax),
            (" 1", 0, WhiteSpace),
            ("1\n", 1, WhiteSpace),
            ("1 2", 1, WhiteSpace),
            ("1x", 1, TrailingBytes),
            ("{\"a\":1,\"a\":2}", 7, DuplicateMember),
            ("{\"b\":1,\"a\":2}", 7, MemberOrder),
            ("{\"\u{fb33}\":1,\"\u{1f600}\":2}", 9, MemberOrder),
            ("{\"\\n\":1,\"\\n\":1}", 8, DuplicateMember),
            ("{\"a\":1,}", 7, Syntax),
            ("{\"a\" :1}", 4, WhiteSpace),
            ("{\"a\"}", 4, Syntax),
            ("[1,]", 3, Syntax),
            ("[1", 2, Syntax),
            ("[1,  2]", 3, WhiteSpace),
            ("\"a", 2, Syntax),
            ("\"\\/\"", 1, Escape),
            ("\"\\u0041\"", 1, Escape),
            ("\"\\u000a\"", 1, Escape),
            ("\"\\u000F\"", 1, Escape),
            ("\"\\ud83d\\ude00\"", 1, Escape),
            ("\"\\u00\"", 1, Escape),
            ("\"a\nb\"", 2, Escape),
            ("\"\\", 1, Escape),
            ("-0", 0, NumberForm),
            ("01", 0, NumberForm),
            ("-", 0, Syntax),
            ("1.0", 0, Number),
            ("1e3", 0, Number),
            ("9007199254740992", 0, Number),
            ("[-9007199254740992]", 1, Number),
            ("99999999999999999999999", 0, Number),
            ("tru", 0, Syntax),
            ("NaN", 0, Syntax),
        ];
        for (text, at, problem) in cases {
            assert_eq!(check(text.as_bytes()), Err(CanonicalError { at: *at, problem: *problem }), "{text:?}");
        }
        assert_eq!(check(b"\"\xff\""), Err(CanonicalError { at: 1, problem: Utf8 }));
        assert_eq!(check(&vec![b'1'; RECORD_MAX + 1]), Err(CanonicalError { at: RECORD_MAX, problem: TooLong }));
        assert_eq!(check("[".repeat(DEPTH_MAX + 1).as_bytes()), Err(CanonicalError { at: DEPTH_MAX, problem: TooDeep }));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            let names = prop_oneof![any::<String>(), "[\u{e000}-\u{ffff}\u{1f600}-\u{1f64f}\\\\\n]{0,3}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_canonical_and_reads_back(value in values()) {
            let bytes = encode(&value).unwrap();
            prop_assert_eq!(check(&bytes), Ok(()));
            prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
        }
    }
}
