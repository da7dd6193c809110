//! One value, one sequence of bytes: JSON after RFC 8785.
//!
//! Members are sorted, nothing is indented, and strings are escaped as
//! serde_json does, which is what RFC 8785 asks for. Our records hold no
//! floating-point numbers and their member names are ASCII, so its rules for
//! those two (ECMAScript numbers, sorting by UTF-16 units) have nothing to do
//! here; a number that is not an integer is refused rather than written wrongly.

use serde::{Serialize, ser::Error as _};
use serde_json::{Error, Value};
use std::io::Write as _;

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    write(&mut bytes, &serde_json::to_value(value)?)?;
    Ok(bytes)
}

fn write(out: &mut Vec<u8>, value: &Value) -> Result<(), Error> {
    match value {
        Value::Object(members) => {
            // Sorted here and not by the map: whether that keeps insertion order
            // depends on a feature that any other crate may turn on.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by(|a, b| a.0.cmp(b.0));
            out.push(b'{');
            for (place, (name, value)) in members.into_iter().enumerate() {
                separate(out, place);
                serde_json::to_writer(&mut *out, name)?;
                out.push(b':');
                write(out, value)?;
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (place, item) in items.iter().enumerate() {
                separate(out, place);
                write(out, item)?;
            }
            out.push(b']');
        }
        Value::Number(number) if number.is_f64() => return Err(Error::custom("a number is not an integer")),
        Value::Number(number) => write!(out, "{number}").map_err(Error::io)?,
        Value::Null | Value::Bool(_) | Value::String(_) => serde_json::to_writer(out, value)?,
    }
    Ok(())
}

fn separate(out: &mut Vec<u8>, place: usize) {
    if place > 0 {
        out.push(b',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::btree_map, prelude::*};
    use serde_json::json;

    #[test]
    fn members_are_sorted_and_strings_minimal() {
        let value = json!({"b": [1, null, {"z": true, "a": -7}], "a": "\u{1}\n\"\\/ä\u{1f600}\u{7f}", "": {}});
        let bytes = encode(&value).unwrap();
        let expected = "{\"\":{},\"a\":\"\\u0001\\n\\\"\\\\/ä\u{1f600}\u{7f}\",\"b\":[1,null,{\"a\":-7,\"z\":true}]}";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }

    #[test]
    fn a_fraction_is_refused() {
        assert!(encode(&json!({"a": [1.5]})).is_err());
    }

    proptest! {
        #[test]
        fn bytes_read_back_and_do_not_depend_on_the_order(map in btree_map(".*", ".*", 0..8)) {
            let forwards: serde_json::Map<_, _> = map.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect();
            let backwards: serde_json::Map<_, _> = map.iter().rev().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect();
            let bytes = encode(&forwards).unwrap();
            prop_assert_eq!(&bytes, &encode(&backwards).unwrap());
            prop_assert_eq!(serde_json::from_slice::<serde_json::Map<_, _>>(&bytes).unwrap(), forwards);
        }
    }
}
