//! CloudEvents in JSON: one object, or a list of them.

use crate::cloudevents::{CloudEvent, InvalidEvent, invalid};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::fmt;

/// A JSON object with its members in order and none lost: a map would hide a repeated name.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

pub(crate) fn read(body: &[u8]) -> Result<CloudEvent, InvalidEvent> {
    match serde_json::from_slice::<Members>(body) {
        Ok(members) => event(members),
        Err(_) => invalid("body", "must be a JSON object"),
    }
}

/// One result per event; the error is of the list itself.
pub(crate) fn read_batch(body: &[u8]) -> Result<Vec<Result<CloudEvent, InvalidEvent>>, InvalidEvent> {
    match serde_json::from_slice::<Vec<Members>>(body) {
        Ok(list) => Ok(list.into_iter().map(event).collect()),
        Err(_) => invalid("body", "must be a JSON list of objects"),
    }
}

fn event(Members(members): Members) -> Result<CloudEvent, InvalidEvent> {
    let (mut attributes, mut data, mut data_base64) = (Vec::new(), None, None);
    for (name, value) in members {
        let repeated = match name.as_str() {
            "data" => data.replace(value).is_some(),
            "data_base64" => data_base64.replace(value).is_some(),
            // A member that is null is the same as none.
            _ if value.get() == "null" => false,
            _ => {
                let text = attribute(&name, &value)?;
                attributes.push((name.clone(), text));
                false
            }
        };
        if repeated {
            return invalid(&name, "comes twice");
        }
    }
    let content_type = attributes.iter().find(|(n, _)| n == "datacontenttype").map(|(_, value)| value.as_str());
    let data = match (data, data_base64) {
        (None, None) => Bytes::new(),
        (Some(json), None) => bytes_of(json, content_type)?,
        (None, Some(text)) => decoded(&text)?,
        (Some(_), Some(_)) => return invalid("data_base64", "must not come with `data`"),
    };
    CloudEvent::new(attributes, data)
}

/// Attributes are text, booleans and 32-bit integers; the latter two in their one text form.
fn attribute(name: &str, value: &RawValue) -> Result<String, InvalidEvent> {
    let text = value.get();
    if let Ok(text) = serde_json::from_str::<String>(text) {
        return Ok(text);
    }
    let standard = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"].contains(&name);
    if standard {
        return invalid(name, "must be text");
    }
    match (serde_json::from_str::<bool>(text), serde_json::from_str::<i32>(text)) {
        (Ok(flag), _) => Ok(flag.to_string()),
        (_, Ok(number)) => Ok(number.to_string()),
        _ => invalid(name, "must be text, a boolean or a 32-bit integer"),
    }
}

/// JSON data is kept byte for byte; of any other content type the text itself is the data.
fn bytes_of(json: Box<RawValue>, content_type: Option<&str>) -> Result<Bytes, InvalidEvent> {
    if content_type.is_none_or(is_json) {
        return Ok(Bytes::from(String::from(Box::<str>::from(json))));
    }
    match serde_json::from_str::<String>(json.get()) {
        Ok(text) => Ok(Bytes::from(text)),
        Err(_) => invalid("data", "must be text, for `datacontenttype` is not JSON"),
    }
}

fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.ends_with("/json") || kind.ends_with("+json")
}

fn decoded(value: &RawValue) -> Result<Bytes, InvalidEvent> {
    let text = serde_json::from_str::<String>(value.get()).ok();
    match text.and_then(|text| BASE64_STANDARD.decode(text).ok()) {
        Some(data) => Ok(Bytes::from(data)),
        None => invalid("data_base64", "must be base64 text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudevents::message_from_event;

    const BASE: &str = r#""specversion":"1.0","id":"1","source":"/a","type":"a.b""#;

    fn read_with(more: &str) -> Result<CloudEvent, String> {
        read(format!("{{{BASE}{more}}}").as_bytes()).map_err(|e| e.attribute)
    }

    #[track_caller]
    fn check(more: &str, content_type: &str, body: &[u8]) {
        let message = message_from_event(read_with(more).unwrap());
        assert_eq!((message.content_type.as_str(), &message.body[..]), (content_type, body), "{more}");
    }

    #[test]
    fn data_comes_in_its_own_form() {
        check("", "application/octet-stream", b"");
        check(r#","data":{"amount":1.10}"#, "application/json", br#"{"amount":1.10}"#);
        check(r#","data":null"#, "application/json", b"null");
        check(r#","data":"x","datacontenttype":"application/vnd.a+json; v=1""#, "application/vnd.a+json; v=1", br#""x""#);
        check(r#","data":"a\nb","datacontenttype":"text/csv""#, "text/csv", b"a\nb");
        check(r#","data_base64":"AP8=","datacontenttype":"a/b""#, "a/b", &[0, 255]);
    }

    #[test]
    fn extensions_have_one_text_form() {
        let event = read_with(r#","flag":true,"number":-7,"text":"t","none":null"#).unwrap();
        let headers = message_from_event(event).headers;
        let expected = [("ce-flag", "true"), ("ce-number", "-7"), ("ce-text", "t"), ("ce-id", "1"), ("ce-source", "/a")];
        assert_eq!(headers, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    }

    #[test]
    fn what_is_not_an_event_is_refused_by_name() {
        let table = [
            (r#","x":1.5"#, "x"),
            (r#","x":4294967296"#, "x"),
            (r#","x":{}"#, "x"),
            (r#","time":5"#, "time"),
            (r#","data":1,"data":2"#, "data"),
            (r#","id":"2""#, "id"),
            (r#","data":1,"data_base64":"AA==""#, "data_base64"),
            (r#","data_base64":"!""#, "data_base64"),
            (r#","data_base64":1"#, "data_base64"),
            (r#","data":{},"datacontenttype":"text/plain""#, "data"),
            (",", "body"),
        ];
        for (more, attribute) in table {
            assert_eq!(read_with(more).map(|_| ()), Err(attribute.to_owned()), "{more}");
        }
        for body in ["", "[]", "1", "\"a\""] {
            assert_eq!(read(body.as_bytes()).map_err(|e| e.attribute).map(|_| ()), Err("body".to_owned()), "{body}");
        }
        assert!(read(br#"{"specversion":1.0,"id":"1","source":"/a","type":"a.b"}"#).is_err());
    }

    #[test]
    fn a_batch_answers_each_event() {
        let body = format!("[{{{BASE}}},{{}},{{{BASE}}}]");
        let results = read_batch(body.as_bytes()).unwrap();
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert!(read_batch(b"{}").is_err() && read_batch(b"[1]").is_err());
    }
}
