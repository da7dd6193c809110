//! HTTP routes as one function from a whole request to a whole response, over
//! the standard `wasi:http/incoming-handler`.

mod wire;

use serde::{Serialize, de::DeserializeOwned};
#[doc(hidden)]
pub use wire::serve;

/// Answers the routes under `/x/{plugin}/`.
pub trait HttpHandler {
    /// One request, one response; nothing is sent before it returns.
    fn handle(request: Request) -> Response;
}

/// A request with its whole body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// In upper case: `GET`.
    pub method: String,
    /// Still percent-encoded, without the query.
    pub path: String,
    /// Decoded pairs in the order sent.
    pub query: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Bounded by the host.
    pub body: Vec<u8>,
}

impl Request {
    /// The path's segments, decoded, below `/x/{plugin}` if it begins so.
    pub fn segments(&self, plugin: &str) -> Vec<String> {
        let mut parts: Vec<String> = self.path.split('/').filter(|p| !p.is_empty()).map(decode).collect();
        if let [x, name, ..] = parts.as_slice()
            && x == "x"
            && name == plugin
        {
            parts.drain(..2);
        }
        parts
    }

    /// The first query parameter of that name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

/// A response with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 100 to 599.
    pub status: u16,
    /// Without `content-length`: the host sets it.
    pub headers: Vec<(String, Vec<u8>)>,
    /// May be empty.
    pub body: Vec<u8>,
}

impl Response {
    /// A status without a body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A status with bytes.
    pub fn bytes(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self { body, ..Self::status(status) }.with_header("content-type", content_type)
    }

    /// A status with plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::bytes(status, "text/plain; charset=utf-8", text.into().into_bytes())
    }

    /// A status with JSON; a value that has no JSON form is a 500.
    pub fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::bytes(status, crate::payload::JSON, body),
            Err(error) => Self::problem(500, "internal", &error.to_string()),
        }
    }

    /// RFC 9457 problem details: `code` for programs, `detail` for people.
    pub fn problem(status: u16, code: &str, detail: &str) -> Self {
        let problem = serde_json::json!({
            "type": "about:blank", "title": title(status), "status": status, "code": code, "detail": detail,
        });
        Self::bytes(status, "application/problem+json", problem.to_string().into_bytes())
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }
}

fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

/// Percent-decoding; what is not valid stays as it was sent.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Splits `path?query` and decodes the pairs of the query.
fn split_target(target: &str) -> (String, Vec<(String, String)>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(&name.replace('+', " ")), decode(&value.replace('+', " ")))
    };
    (path.to_owned(), query.split('&').filter(|p| !p.is_empty()).map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_split_and_decoded() {
        let (path, query) = split_target("/x/applications/A%2D1?status=in+review&name=%E5%BC%A0&flag&=&bad=%zz");
        let request = Request { path, query, ..Request::default() };
        assert_eq!(request.segments("applications"), ["A-1"]);
        assert_eq!(request.segments("other"), ["x", "applications", "A-1"]);
        assert_eq!(request.param("status"), Some("in review"));
        assert_eq!(request.param("name"), Some("张"));
        assert_eq!(request.param("flag"), Some(""));
        assert_eq!(request.param("bad"), Some("%zz"));
        assert_eq!(request.param("none"), None);
    }

    #[test]
    fn a_problem_says_status_code_and_detail() {
        let response = Response::problem(409, "version-conflict", "somebody was faster");
        assert_eq!(response.status, 409);
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(body["code"], "version-conflict");
        assert_eq!(body["title"], "Conflict");
        assert_eq!(response.headers, [("content-type".to_owned(), b"application/problem+json".to_vec())]);
    }
}
