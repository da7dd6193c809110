//! Every problem the API can answer with: code, status and title, in one table.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// RFC 9457 problem details: the body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:plinth:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every occurrence of the code.
    pub title: String,
    pub status: u16,
    /// What went wrong this time, for people.
    pub detail: String,
    /// Stable, for programs.
    pub code: String,
    /// Also in the `x-request-id` header and in the host's log.
    pub request_id: String,
    /// Every single problem, where there can be several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The plugin's own code, if a plugin refused the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_code: Option<String>,
}

/// The 4xx and 5xx answers that every route of the document refers to.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let answer = |why: &str| {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            RefOr::T(ResponseBuilder::new().description(why).content(PROBLEM_JSON, content).build())
        };
        BTreeMap::from([
            ("4XX".to_owned(), answer("The request cannot be served as it is; `code` says why.")),
            ("5XX".to_owned(), answer("The host or a plugin could not serve the request; with `Retry-After` where trying again can help.")),
        ])
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub status: StatusCode,
    pub code: &'static str,
    pub title: &'static str,
}

/// Declares the constants and the list of them, so that no row can be missing from the tests.
macro_rules! kinds {
    ($($name:ident = $status:ident $code:literal $title:literal;)*) => {
        $(pub(crate) const $name: Kind = Kind { status: StatusCode::$status, code: $code, title: $title };)*
        #[cfg(test)]
        pub(crate) const ALL: &[Kind] = &[$($name),*];
    };
}

kinds! {
    // the request itself
    NO_SUCH_ROUTE = NOT_FOUND "no-such-route" "There is no such route";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "method-not-allowed" "The route has no such method";
    UNAUTHENTICATED = UNAUTHORIZED "unauthenticated" "A valid API key is needed";
    FOREIGN_HOST = MISDIRECTED_REQUEST "foreign-host" "The host does not answer under this name";
    CROSS_SITE = FORBIDDEN "cross-site" "Requests from other web sites are refused";
    BAD_PATH = BAD_REQUEST "bad-path" "The path is not valid";
    BAD_QUERY = BAD_REQUEST "bad-query" "The query string is not valid";
    BAD_BODY = BAD_REQUEST "bad-body" "The body is not valid";
    BAD_HEADER = BAD_REQUEST "bad-header" "A header is not valid";
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE "body-too-large" "The body is too large";
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE "unsupported-media-type" "The content type is not supported";
    BAD_EVENT = BAD_REQUEST "bad-event" "The event is not a valid CloudEvent";
    PRECONDITION_FAILED = PRECONDITION_FAILED "precondition-failed" "The condition does not hold";
    BODY_TIMEOUT = REQUEST_TIMEOUT "body-timeout" "The body took too long to arrive";
    REQUEST_TIMEOUT = GATEWAY_TIMEOUT "request-timeout" "The request took too long";
    STARTING = SERVICE_UNAVAILABLE "starting" "The host is bringing its plugins back";
    OVERLOADED = SERVICE_UNAVAILABLE "overloaded" "The host has too many requests at once";
    // capabilities
    NOT_FOUND = NOT_FOUND "not-found" "There is no such thing";
    DENIED = FORBIDDEN "denied" "This is not permitted";
    INVALID_INPUT = BAD_REQUEST "invalid-input" "A value is not valid";
    LIMIT_EXCEEDED = TOO_MANY_REQUESTS "limit-exceeded" "A size, count or rate limit was hit";
    WRONG_TYPE = CONFLICT "wrong-type" "What is stored cannot be used like this";
    INVALID_STATEMENT = BAD_REQUEST "invalid-statement" "The statement is not valid";
    CONSTRAINT = CONFLICT "constraint-violation" "A constraint refused the change";
    CONFLICT = CONFLICT "conflict" "Somebody else was faster";
    CLOSED = CONFLICT "closed" "The transaction or cursor has ended";
    UNROUTABLE = NOT_FOUND "unroutable" "Nothing takes messages there";
    UNVERIFIED = UNPROCESSABLE_ENTITY "unverified" "The signature or sealed value does not verify";
    TIMEOUT = GATEWAY_TIMEOUT "timeout" "A backend took too long";
    UNAVAILABLE = SERVICE_UNAVAILABLE "unavailable" "This is not available now";
    OUTCOME_UNKNOWN = BAD_GATEWAY "outcome-unknown" "It may or may not have happened";
    FAILED = BAD_GATEWAY "failed" "A backend answered with an error";
    INTERNAL = INTERNAL_SERVER_ERROR "internal" "The host made a mistake";
    ERASED = GONE "erased" "What it says of a person was erased";
    // hook calls
    GUEST_REJECT = UNPROCESSABLE_ENTITY "guest-error" "The plugin refused the request";
    GUEST_RETRY = SERVICE_UNAVAILABLE "guest-retry" "The plugin asks to try again";
    TRAP = BAD_GATEWAY "trap" "The plugin broke";
    BAD_ANSWER = BAD_GATEWAY "bad-answer" "The plugin gave an answer that cannot be sent";
    DEADLINE = GATEWAY_TIMEOUT "deadline" "The plugin took too long";
    LIMIT = SERVICE_UNAVAILABLE "limit" "The plugin hit one of its limits";
    // loading
    MANIFEST_INVALID = UNPROCESSABLE_ENTITY "manifest-invalid" "The manifest is not valid";
    CONFIG_INVALID = UNPROCESSABLE_ENTITY "config-invalid" "The plugin's configuration is not valid";
    COMPONENT_TOO_LARGE = PAYLOAD_TOO_LARGE "component-too-large" "The component is too large";
    COMPONENT_INVALID = UNPROCESSABLE_ENTITY "component-invalid" "The component is not valid";
    COMPILE_FAILED = UNPROCESSABLE_ENTITY "compile-failed" "The component did not compile";
    PREFLIGHT_FAILED = UNPROCESSABLE_ENTITY "preflight-failed" "The component does not fit this host";
    GRANTS_NOT_APPROVED = FORBIDDEN "grants-not-approved" "The plugin asks for more than was approved";
    PROBE_FAILED = UNPROCESSABLE_ENTITY "probe-failed" "The candidate failed its probe";
    VERSION_TAKEN = CONFLICT "version-taken" "The version has other content already";
    QUARANTINED = CONFLICT "quarantined" "The component trapped too often";
    NO_SUCH_PLUGIN = NOT_FOUND "no-such-plugin" "There is no such plugin";
    NO_SUCH_VERSION = NOT_FOUND "no-such-version" "There is no such version";
    NO_PREVIOUS_VERSION = CONFLICT "no-previous-version" "There is no version to go back to";
    VETOED = CONFLICT "vetoed" "A host of the fleet refuses the change";
    NOT_STAGED = SERVICE_UNAVAILABLE "not-staged" "A host of the fleet is not ready for the change";
    SUPERSEDED = CONFLICT "superseded" "Another host is changing the plugin";
    STATE_UNAVAILABLE = SERVICE_UNAVAILABLE "state-unavailable" "The host could not store the change";
    LOADER_UNAVAILABLE = SERVICE_UNAVAILABLE "loader-unavailable" "The host cannot load plugins now";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_names_and_statuses_are_errors() {
        let mut codes: Vec<_> = ALL.iter().map(|kind| kind.code).collect();
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count, "a code is used twice");
        for kind in ALL {
            assert!(kind.status.is_client_error() || kind.status.is_server_error(), "{}", kind.code);
            assert!(kind.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", kind.code);
            assert!(!kind.title.ends_with('.'), "{}", kind.title);
        }
    }
}
