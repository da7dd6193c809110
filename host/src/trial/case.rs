//! A file of cases: what is given, what happens, and what must come of it.

use super::value::{Body, json_of};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use toml::Table;

/// More than this is not written by hand.
const FILE_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CaseError {
    #[error("{0} could not be read")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0} has more than {FILE_MAX} bytes")]
    TooLarge(PathBuf),
    #[error("{path} is no file of cases: {why}")]
    Parse { path: PathBuf, why: String },
    #[error("{path}, case `{case}`: {why}")]
    Case { path: PathBuf, case: String, why: String },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct CaseFile {
    /// Given to every case of the file, unless the case says otherwise.
    #[serde(default)]
    pub(super) given: Given,
    #[serde(rename = "case")]
    pub(crate) cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    #[serde(default)]
    pub(super) given: Given,
    #[serde(default, rename = "fault")]
    pub(super) faults: Vec<FaultSpec>,
    pub(super) when: When,
    #[serde(default)]
    pub(super) then: Then,
}

/// What is there before. Stores are named as the plugin names them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Given {
    /// Over the manifest's defaults.
    pub(super) config: Option<Table>,
    /// The time that the plugin is told. Limits, lifetimes and records go by the machine's.
    pub(super) clock: Option<toml::value::Datetime>,
    /// Bucket, key, text.
    pub(super) cache: BTreeMap<String, BTreeMap<String, String>>,
    /// Statements, run one after the other.
    pub(super) database: BTreeMap<String, Vec<String>>,
    /// What was published to a destination before.
    pub(super) queue: BTreeMap<String, Vec<Body>>,
    /// What servers outside answer, each once.
    pub(super) http: Vec<GivenAnswer>,
    pub(super) caller: Option<Caller>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct GivenAnswer {
    /// Method and URL: `GET https://api.example.org/v1`.
    pub(super) request: String,
    #[serde(default = "ok")]
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: Body,
}

fn ok() -> u16 {
    200
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Caller {
    pub(super) actor: Option<String>,
    pub(super) roles: Vec<String>,
    /// Which delivery this is, from 1.
    pub(super) attempt: Option<u32>,
}

/// One capability call that goes wrong.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct FaultSpec {
    /// `queue.publish`, or `queue` for all of them.
    pub(super) at: String,
    /// Of the calls that `at` names only this one, from 1.
    pub(super) nth: Option<u32>,
    /// So long it takes longer.
    pub(super) delay_ms: Option<u64>,
    /// What the plugin is answered.
    pub(super) error: Option<String>,
    /// It is executed, and the answer is lost: `outcome-unknown`, unless `error` says otherwise.
    #[serde(default)]
    pub(super) lost_ack: bool,
}

/// What happens: one of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum When {
    Event(Happening),
    Task(Job),
    Decision(Asked),
    Job(Run),
    Http(Request),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Happening {
    pub(super) topic: String,
    #[serde(default)]
    pub(super) subject: String,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) payload: Body,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Job {
    pub(super) queue: String,
    #[serde(default)]
    pub(super) routing_key: String,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) payload: Body,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Asked {
    pub(super) point: String,
    #[serde(default)]
    pub(super) subject: String,
    #[serde(default)]
    pub(super) attributes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) payload: Body,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Run {
    pub(super) name: String,
    /// The given clock's time, if it is not said.
    pub(super) scheduled_for: Option<toml::value::Datetime>,
    pub(super) last_success: Option<toml::value::Datetime>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Request {
    pub(super) method: String,
    /// With its query.
    pub(super) path: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) body: Body,
}

/// What must come of it. Messages and audit records are all that came: what a case does not name must not be there.
/// Everything else is only looked at where the case names it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub(super) struct Then {
    /// `ok` unless it is said.
    pub(super) outcome: Option<Wanted>,
    /// Of a `reject`.
    pub(super) code: Option<String>,
    /// Contained in what a failure says.
    pub(super) message: Option<String>,
    /// Of a `retry`.
    pub(super) after_ms: Option<u64>,
    pub(super) verdict: Option<String>,
    pub(super) reason: Option<WantedReason>,
    /// Of the verdict `amend`.
    pub(super) amended: Option<Body>,
    pub(super) http: Option<Answer>,
    /// Every request that was sent to a server outside, in order.
    pub(super) requests: Option<Vec<WantedRequest>>,
    /// Every capability call in order, `queue.publish`, or `queue.publish: unavailable` of one that failed. Opening,
    /// the context and the log are left out.
    pub(super) calls: Option<Vec<String>>,
    pub(super) messages: BTreeMap<String, Vec<toml::Value>>,
    pub(super) audit: Vec<Table>,
    /// By name, or by name and labels: `placed_total{says="hold"}`. By how much it rose.
    pub(super) metrics: BTreeMap<String, f64>,
    /// The text, or `false` for what is not there.
    pub(super) cache: BTreeMap<String, BTreeMap<String, toml::Value>>,
    pub(super) rows: Vec<WantedRows>,
    /// Contained in lines of the log, in this order.
    pub(super) log: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Wanted {
    Ok,
    Retry,
    Reject,
    Trap,
    Deadline,
    Limit,
    Denied,
    Unavailable,
}

/// The text alone, or what else it has to have.
#[derive(Debug, Deserialize)]
#[serde(try_from = "WrittenRequest")]
pub(super) struct WantedRequest {
    pub(super) request: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<Body>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WrittenRequest {
    Text(String),
    Table(Table),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RequestFields {
    request: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<Body>,
}

impl TryFrom<WrittenRequest> for WantedRequest {
    type Error = toml::de::Error;

    fn try_from(written: WrittenRequest) -> Result<Self, Self::Error> {
        let RequestFields { request, headers, body } = match written {
            WrittenRequest::Text(request) => RequestFields { request, headers: BTreeMap::new(), body: None },
            WrittenRequest::Table(table) => table.try_into()?,
        };
        Ok(Self { request, headers, body })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct WantedReason {
    pub(super) code: String,
    pub(super) message: Option<String>,
    pub(super) details: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Answer {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<Body>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct WantedRows {
    pub(super) database: String,
    pub(super) query: String,
    pub(super) rows: Vec<Vec<toml::Value>>,
}

impl CaseFile {
    /// Everything that can be wrong without a plugin is found here.
    pub(crate) fn read(path: &Path) -> Result<Self, CaseError> {
        let failed = |e| CaseError::Read(path.to_owned(), e);
        if std::fs::metadata(path).map_err(failed)?.len() > FILE_MAX {
            return Err(CaseError::TooLarge(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let file: Self = toml::from_str(&text).map_err(|e| CaseError::Parse { path: path.to_owned(), why: e.to_string() })?;
        for case in &file.cases {
            file.given.check().and_then(|()| case.check()).map_err(|why| CaseError::Case {
                path: path.to_owned(),
                case: case.name.clone(),
                why,
            })?;
        }
        Ok(file)
    }
}

impl Case {
    fn check(&self) -> Result<(), String> {
        self.given.check()?;
        self.faults.iter().try_for_each(super::script::check)?;
        let Then { outcome, code, message, after_ms, verdict, reason, amended, http, .. } = &self.then;
        let outcome = outcome.unwrap_or(Wanted::Ok);
        let only = |has: bool, what: &str, of: &str| match has {
            true => Err(format!("then.{what} is of {of}")),
            false => Ok(()),
        };
        only(code.is_some() && outcome != Wanted::Reject, "code", "the outcome reject")?;
        only(after_ms.is_some() && outcome != Wanted::Retry, "after-ms", "the outcome retry")?;
        only(message.is_some() && outcome == Wanted::Ok, "message", "a failure")?;
        let decides = matches!(self.when, When::Decision(_)) && outcome == Wanted::Ok;
        only(verdict.is_some() && !decides, "verdict", "a decision that is made")?;
        only(decides && verdict.is_none(), "verdict is missing: it", "every decision that is made")?;
        only(reason.is_some() && !matches!(verdict.as_deref(), Some("hold" | "deny")), "reason", "hold and deny")?;
        only(amended.is_some() && verdict.as_deref() != Some("amend"), "amended", "the verdict amend")?;
        let answers = matches!(self.when, When::Http(_)) && outcome == Wanted::Ok;
        only(http.is_some() && !answers, "http", "a request that is answered")?;
        match verdict.as_deref() {
            None | Some("abstain" | "allow" | "amend" | "hold" | "deny") => Ok(()),
            Some(other) => Err(format!("then.verdict is abstain, allow, amend, hold or deny, not `{other}`")),
        }
    }
}

impl Given {
    fn check(&self) -> Result<(), String> {
        match &self.clock {
            Some(clock) if millis(clock).is_none() => Err(format!("given.clock = {clock} is no time from 1970 on")),
            _ => Ok(()),
        }
    }

    /// This over what the file gives.
    pub(super) fn over(&self, below: &Self) -> Self {
        let mut all = below.clone();
        if let Some(config) = &self.config {
            all.config.get_or_insert_default().extend(config.clone());
        }
        all.clock = self.clock.or(all.clock);
        all.caller = self.caller.clone().or(all.caller);
        // The case's own first: what the file gives is for what is left.
        all.http.splice(0..0, self.http.iter().cloned());
        for (bucket, entries) in &self.cache {
            all.cache.entry(bucket.clone()).or_default().extend(entries.clone());
        }
        for (database, statements) in &self.database {
            all.database.entry(database.clone()).or_default().extend(statements.iter().cloned());
        }
        for (destination, bodies) in &self.queue {
            all.queue.entry(destination.clone()).or_default().extend(bodies.iter().cloned());
        }
        all
    }

    pub(super) fn config_json(&self) -> Option<serde_json::Value> {
        self.config.as_ref().map(|config| json_of(&toml::Value::Table(config.clone())))
    }

    pub(super) fn now_ms(&self) -> Option<u64> {
        self.clock.as_ref().and_then(millis)
    }
}

/// A time without offset is UTC.
pub(super) fn millis(time: &toml::value::Datetime) -> Option<u64> {
    let mut text = time.to_string();
    if time.time.is_none() {
        text.push_str("T00:00:00");
    }
    if time.offset.is_none() {
        text.push('Z');
    }
    let time = chrono::DateTime::parse_from_rfc3339(&text).ok()?;
    u64::try_from(time.timestamp_millis()).ok()
}
