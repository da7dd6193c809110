//! Sensitive values in what a plugin said, masked before it is kept: enough is left to recognise a value by, and no more.

use regex::{Captures, Regex};
use std::sync::LazyLock;

/// A name of something secret, and what is said of it, as text, JSON or a header.
static NAMED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let name = r#"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|authorization|cookie|credential)[\w.-]*"#;
    let value = r#"(?:(?:Bearer|Basic)\s+)?(?:"(?:[^"\\]|\\.)*"|\\"[^"]*"|[^\s,;}&]+)"#;
    Regex::new(&format!(r#"(?i)(?P<name>{name})(?P<is>\\?"?\s*[=:]\s*)(?P<value>{value})"#)).ok()
});
static TOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i)\bBearer\s+[\w.~+/=-]{8,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*").ok());
static MAIL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?P<first>[\w+-])[\w.+-]*@(?P<domain>[\w-]+(?:\.[\w-]+)+)").ok());
/// Cards, mobile numbers, resident identity numbers.
static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\b\d(?:[ -]?\d){9,18}[Xx]?\b").ok());

const REDACTED: &str = "[redacted]";

/// The text with what looks sensitive masked.
pub(super) fn masked(text: &str) -> String {
    let text = replaced(text, &NAMED, |found| format!("{}{}{REDACTED}", &found["name"], &found["is"]));
    let text = replaced(&text, &TOKEN, |_| REDACTED.to_owned());
    let text = replaced(&text, &MAIL, |found| format!("{}***@{}", &found["first"], &found["domain"]));
    replaced(&text, &DIGITS, |found| number(&found[0]))
}

fn replaced(text: &str, pattern: &LazyLock<Option<Regex>>, by: impl Fn(&Captures<'_>) -> String) -> String {
    // A pattern that does not compile is caught by the tests; then nothing at all is told.
    LazyLock::force(pattern).as_ref().map_or_else(|| REDACTED.to_owned(), |pattern| pattern.replace_all(text, by).into_owned())
}

/// Digits that are a number of a person or a card, by their check digits and length; others are left.
fn number(text: &str) -> String {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    let (first, last) = match plain.len() {
        18 if is_resident(&plain) => (3, 4),
        13..=19 if is_card(&plain) => (0, 4),
        11 if is_mobile(&plain) => (3, 4),
        _ => return text.to_owned(),
    };
    let hidden = first..plain.len() - last;
    plain.char_indices().map(|(at, c)| if hidden.contains(&at) { '*' } else { c }).collect()
}

fn is_mobile(digits: &str) -> bool {
    let mut found = digits.bytes();
    found.next() == Some(b'1') && found.next().is_some_and(|second| (b'3'..=b'9').contains(&second)) && !digits.ends_with('X')
}

/// ISO 7064, MOD 11-2.
fn is_resident(digits: &str) -> bool {
    let value = |c: char| if c == 'X' { Some(10) } else { c.to_digit(10) };
    let mut chars = digits.chars();
    let check = chars.next_back().and_then(value);
    let sum = chars.try_fold(0, |sum, c| Some(((sum + c.to_digit(10)?) * 2) % 11));
    sum.zip(check).is_some_and(|(sum, check)| (sum + check) % 11 == 1)
}

/// Luhn.
fn is_card(digits: &str) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let values: Option<Vec<u32>> = digits.chars().rev().map(|c| c.to_digit(10)).collect();
    let weighed =
        |values: Vec<u32>| -> u32 { values.into_iter().enumerate().map(|(at, v)| if at % 2 == 1 { doubled(v) } else { v }).sum() };
    values.is_some_and(|values| weighed(values).is_multiple_of(10))
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn what_is_sensitive_is_masked_and_nothing_else() {
        for (text, expected) in [
            ("password=hunter2 next=1", "password=[redacted] next=1"),
            (r#"{"db_password": "a \"b\" c", "rows": 2}"#, r#"{"db_password": [redacted], "rows": 2}"#),
            ("Authorization: Bearer abcdefgh.ijk", "Authorization: [redacted]"),
            ("got Bearer abcdefghijkl back", "got [redacted] back"),
            ("API_KEY = \"x y\"; more", "API_KEY = [redacted]; more"),
            ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl!", "jwt [redacted]!"),
            ("mail zhang.san@example.com failed", "mail z***@example.com failed"),
            ("card 4111 1111 1111 1111.", "card ************1111."),
            ("card 4111111111111112", "card 4111111111111112"),
            ("id 11010519491231002X", "id 110***********002X"),
            ("id 110105194912310021", "id 110105194912310021"),
            ("call 13812348000", "call 138****8000"),
            ("order 20260301120000 took 1772366400000 ms", "order 20260301120000 took 1772366400000 ms"),
            ("index 5 out of bounds: tokens are fine", "index 5 out of bounds: tokens are fine"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }
}
