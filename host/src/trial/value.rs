//! Values as files write them: bodies, and what has to be equal to what.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// Stands for any value: an id, a time.
const ANY: &str = "<any>";

/// Bytes with a media type; nothing, if it says nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) content_type: String,
}

/// One of the three.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct Written {
    json: Option<toml::Value>,
    text: Option<String>,
    base64: Option<String>,
    content_type: Option<String>,
}

impl TryFrom<Written> for Body {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let (bytes, usual) = match written {
            Written { json: Some(json), text: None, base64: None, .. } => (json_of(&json).to_string().into_bytes(), "application/json"),
            Written { json: None, text: Some(text), base64: None, .. } => (text.into_bytes(), "text/plain"),
            Written { json: None, text: None, base64: Some(text), .. } => {
                (BASE64_STANDARD.decode(text).map_err(|e| format!("this is not base64: {e}"))?, "application/octet-stream")
            }
            Written { json: None, text: None, base64: None, .. } => (Vec::new(), "application/octet-stream"),
            _ => return Err("one of `json`, `text` and `base64` says what it is, not several".to_owned()),
        };
        Ok(Self { bytes: bytes.into(), content_type: written.content_type.unwrap_or_else(|| usual.to_owned()) })
    }
}

/// Dates and times become their text.
pub(super) fn json_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => (*number).into(),
        toml::Value::Boolean(is) => (*is).into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(list) => list.iter().map(json_of).collect(),
        toml::Value::Table(table) => table.iter().map(|(key, value)| (key.clone(), json_of(value))).collect(),
    }
}

/// Where the first difference is, and what is there, to be put behind the name of the whole; None if there is none.
pub(super) fn difference(expected: &Value, found: &Value) -> Option<String> {
    differs("", expected, found)
}

fn differs(path: &str, expected: &Value, found: &Value) -> Option<String> {
    let here = |text: String| Some(format!("{path}: {text}"));
    match (expected, found) {
        (Value::String(any), _) if any == ANY => None,
        (Value::Object(expected), Value::Object(found)) => {
            if let Some(key) = found.keys().find(|key| !expected.contains_key(*key)) {
                return here(format!("has `{key}`, which is not expected"));
            }
            expected.iter().find_map(|(key, value)| match found.get(key) {
                Some(found) => differs(&format!("{path}.{key}"), value, found),
                None => here(format!("`{key}` is missing")),
            })
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            expected.iter().zip(found).enumerate().find_map(|(at, (expected, found))| differs(&format!("{path}[{at}]"), expected, found))
        }
        // A whole number is the same with a point and without.
        (Value::Number(one), Value::Number(other)) if (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64() => None,
        _ if expected == found => None,
        _ => here(format!("expected {expected}, found {found}")),
    }
}

/// As JSON where both are objects or lists, as they are otherwise.
pub(super) fn body_difference(expected: &Value, found: &[u8]) -> Option<String> {
    let parsed = serde_json::from_slice::<Value>(found).ok().filter(|value| value.is_object() || value.is_array());
    let expected = match expected {
        Value::String(text) => serde_json::from_str(text).ok().filter(|value: &Value| value.is_object() || value.is_array()),
        _ => None,
    }
    .unwrap_or_else(|| expected.clone());
    let found = parsed.unwrap_or_else(|| String::from_utf8_lossy(found).into());
    difference(&expected, &found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_are_told_with_their_place() {
        let cases = [
            (json!({"a": [1, {"b": "x"}]}), json!({"a": [1, {"b": "y"}]}), Some(".a[1].b: expected \"x\", found \"y\"")),
            (json!({"a": 1}), json!({}), Some(": `a` is missing")),
            (json!({}), json!({"a": 1}), Some(": has `a`, which is not expected")),
            (json!([1]), json!([1, 2]), Some(": expected [1], found [1,2]")),
            (json!(1), json!(1.0), None),
            (json!(1), json!("1"), Some(": expected 1, found \"1\"")),
            (json!({"id": "<any>"}), json!({"id": {"deep": 1}}), None),
            (
                json!(9_007_199_254_740_993_i64),
                json!(9_007_199_254_740_992_i64),
                Some(": expected 9007199254740993, found 9007199254740992"),
            ),
        ];
        for (expected, found, told) in cases {
            assert_eq!(difference(&expected, &found).as_deref(), told, "{expected} and {found}");
        }
    }

    #[test]
    fn bodies_are_compared_as_what_they_are() {
        assert_eq!(body_difference(&json!(r#"{"a":1, "b":[]}"#), br#"{"b":[],"a":1}"#), None);
        assert_eq!(body_difference(&json!({"a": 1}), br#"{"a":1}"#), None);
        assert_eq!(body_difference(&json!("plain"), b"plain"), None);
        assert!(body_difference(&json!({"a": 1}), b"not json").is_some());
        assert!(body_difference(&json!("5"), b"6").is_some());
    }

    #[test]
    fn a_body_is_one_thing() {
        let body = |text: &str| toml::from_str::<Body>(text);
        assert_eq!(body("json = { at = 2026-01-01 }").unwrap().bytes, r#"{"at":"2026-01-01"}"#);
        assert_eq!(body("base64 = 'AAE='").unwrap().bytes, [0, 1].as_slice());
        assert_eq!(body("text = 'x'\ncontent-type = 'text/csv'").unwrap().content_type, "text/csv");
        for bad in ["json = 1\ntext = 'x'", "base64 = '!'", "body = 1"] {
            assert!(body(bad).is_err(), "{bad}");
        }
    }
}
