//! Applications in the database. Each change is one unit of work: the row, the
//! message and the audit record become visible together or not at all.

use crate::{
    problem::{Answer, LOST, Problem},
    rules::{self, Applicant, Command, Status},
};
use plinth_sdk::{
    audit,
    database::{Database, Dialect, Result, Row, Transaction},
    outbox,
    queue::{Message, PublishOptions},
    secrets,
};
use serde::{Deserialize, Serialize};

const DATABASE: &str = "ticketing";
/// The key personal data is sealed under, bound to the application's number.
const KEY: &str = "applicants";
/// A unit of work that lost to a concurrent one is run again, whole.
const ATTEMPTS: u32 = 3;
/// Taken numbers one creation passes over before it gives up.
const SKIPPED_MAX: u32 = 100;

/// A row; the applicant only in masked form.
#[derive(Serialize)]
pub(crate) struct Application {
    pub(crate) number: String,
    pub(crate) status: Status,
    pub(crate) version: i64,
    pub(crate) applicant: Applicant,
    pub(crate) amount: Option<i64>,
    pub(crate) documents: Vec<String>,
    pub(crate) created_at_ms: i64,
    pub(crate) updated_at_ms: i64,
}

/// One line of a list: nothing personal, so nothing to unseal.
#[derive(Serialize)]
pub(crate) struct Summary {
    pub(crate) number: String,
    pub(crate) status: Status,
    pub(crate) version: i64,
    pub(crate) updated_at_ms: i64,
}

/// What a client sends to create an application.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    pub(crate) number: Option<String>,
    pub(crate) applicant: Applicant,
    pub(crate) amount: Option<i64>,
    #[serde(default)]
    pub(crate) documents: Vec<String>,
    pub(crate) requested_by: Option<String>,
}

/// What a client sends with a command.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub(crate) requested_by: String,
    pub(crate) comment: Option<String>,
    /// The version the client saw, if it insists on it.
    pub(crate) version: Option<i64>,
}

/// What a command changed.
#[derive(Serialize)]
pub(crate) struct Changed {
    pub(crate) number: String,
    pub(crate) from: Status,
    pub(crate) to: Status,
    pub(crate) version: i64,
}

/// Makes the tables, if they are not there. Two hosts that do so at once can
/// trip over each other, and only then is the second run needed.
pub(crate) fn prepare() -> Result<()> {
    make_tables().or_else(|_| make_tables())
}

fn make_tables() -> Result<()> {
    let database = Database::open(DATABASE)?;
    let bytes = if matches!(database.dialect(), Dialect::Postgres) { "bytea" } else { "blob" };
    let applications = format!(
        "create table if not exists applications (number text primary key, status text not null, version bigint not null, \
         applicant {bytes} not null, amount bigint, documents text not null, created_at_ms bigint not null, updated_at_ms bigint not null)"
    );
    database.execute(&applications, &[])?;
    database.execute("create index if not exists applications_by_status on applications (status, number)", &[])?;
    database.execute("create table if not exists application_numbers (year bigint primary key, last bigint not null)", &[])?;
    Ok(())
}

/// Stores a new application and answers its number.
pub(crate) fn create(draft: &Draft, now_ms: i64) -> Answer<String> {
    let database = Database::open(DATABASE)?;
    again(|| {
        let work = database.begin()?;
        let number = match &draft.number {
            Some(number) => number.clone(),
            None => take_number(&work, rules::year_of(now_ms))?,
        };
        let sealed = secrets::seal(KEY, &serde_json::to_vec(&draft.applicant)?, number.as_bytes())?;
        let documents = serde_json::to_string(&draft.documents)?;
        work.execute(
            "insert into applications (number, status, version, applicant, amount, documents, created_at_ms, updated_at_ms) \
             values ($1, $2, 1, $3, $4, $5, $6, $6)",
            &[number.as_str().into(), Status::Draft.name().into(), sealed.into(), draft.amount.into(), documents.into(), now_ms.into()],
        )?;
        let entry = audit::Entry::new("application.create", "application", &number)
            .summary("an application was created")
            .change("status", None, Some(Status::Draft.name()))
            .attribute("requested-by", draft.requested_by.as_deref().unwrap_or("anonymous"));
        outbox::audit(&work, &entry)?;
        work.commit()?;
        Ok(number)
    })
}

/// The next free number of a year; one row per year serialises its takers.
/// Numbers that clients chose themselves are skipped.
fn take_number(work: &Transaction, year: i64) -> Answer<String> {
    for _ in 0..SKIPPED_MAX {
        let rows = work.query(
            "insert into application_numbers (year, last) values ($1, 1) \
             on conflict (year) do update set last = application_numbers.last + 1 returning last",
            &[year.into()],
        )?;
        let row = rows.first().ok_or_else(|| Problem::Internal("no number was returned".to_owned()))?;
        let number = rules::number(year, row.integer("last")?);
        if work.query("select number from applications where number = $1", &[number.as_str().into()])?.is_empty() {
            return Ok(number);
        }
    }
    Err(Problem::lost())
}

/// Carries out a command: compare-and-set of the row, event, audit, commit.
pub(crate) fn change(number: &str, command: Command, request: &Request, now_ms: i64) -> Answer<Changed> {
    let database = Database::open(DATABASE)?;
    again(|| {
        let work = database.begin()?;
        let rows = work.query("select status, version from applications where number = $1", &[number.into()])?;
        let row = rows.first().ok_or(Problem::NotFound)?;
        let (from, version) = (status(&row)?, row.integer("version")?);
        if request.version.is_some_and(|seen| seen != version) {
            return Err(Problem::Conflict { code: "version-conflict", detail: format!("the application is at version {version}") });
        }
        let to = rules::next(from, command).ok_or_else(|| Problem::Conflict {
            code: "transition-not-allowed",
            detail: format!("{} is not possible from status {}", command.name(), from.name()),
        })?;
        let done = work.execute(
            "update applications set status = $1, version = version + 1, updated_at_ms = $2 where number = $3 and version = $4",
            &[to.name().into(), now_ms.into(), number.into(), version.into()],
        )?;
        if done.rows_affected != 1 {
            return Err(Problem::lost());
        }
        let changed = Changed { number: number.to_owned(), from, to, version: version + 1 };
        tell(&work, &changed, request, now_ms)?;
        work.commit()?;
        Ok(changed)
    })
}

/// The event and the audit record of a change, in the same unit of work.
fn tell(work: &Transaction, changed: &Changed, request: &Request, now_ms: i64) -> Answer<()> {
    let number = &changed.number;
    let message = Message::json(&serde_json::json!({
        "number": number, "from": changed.from, "to": changed.to, "by": request.requested_by, "at": rules::rfc3339(now_ms),
    }))?;
    let options = PublishOptions::id(format!("{number}.v{}", changed.version)).about(number);
    outbox::publish(work, "status-changes", &message, Some(&options))?;
    let mut entry = audit::Entry::new("application.status.change", "application", number)
        .summary(format!("the status went from {} to {}", changed.from.name(), changed.to.name()))
        .change("status", Some(changed.from.name()), Some(changed.to.name()))
        .attribute("requested-by", &request.requested_by);
    if let Some(comment) = &request.comment {
        entry = entry.attribute("comment", comment);
    }
    outbox::audit(work, &entry)?;
    Ok(())
}

/// One application, its applicant masked.
pub(crate) fn find(number: &str) -> Answer<Application> {
    let rows = Database::open(DATABASE)?.query("select * from applications where number = $1", &[number.into()])?;
    let row = rows.first().ok_or(Problem::NotFound)?;
    let opened = secrets::unseal(KEY, row.blob("applicant")?, number.as_bytes())?;
    let applicant: Applicant = serde_json::from_slice(&opened)?;
    Ok(Application {
        number: number.to_owned(),
        status: status(&row)?,
        version: row.integer("version")?,
        applicant: applicant.masked(),
        amount: row.integer("amount").ok(),
        documents: serde_json::from_str(row.text("documents")?)?,
        created_at_ms: row.integer("created_at_ms")?,
        updated_at_ms: row.integer("updated_at_ms")?,
    })
}

/// A page by number; one row more than asked tells whether there is a next.
pub(crate) fn list(only: Option<Status>, after: &str, limit: i64) -> Answer<(Vec<Summary>, bool)> {
    let rows = Database::open(DATABASE)?.query(
        "select number, status, version, updated_at_ms from applications \
         where number > $1 and ($2 = '' or status = $2) order by number limit $3",
        &[after.into(), only.map_or("", Status::name).into(), (limit + 1).into()],
    )?;
    let mut found = rows.iter().map(|row| summary(&row)).collect::<std::result::Result<Vec<_>, _>>()?;
    let wanted = usize::try_from(limit).unwrap_or(0);
    let more = found.len() > wanted;
    found.truncate(wanted);
    Ok((found, more))
}

fn summary(row: &Row<'_>) -> Answer<Summary> {
    Ok(Summary {
        number: row.text("number")?.to_owned(),
        status: status(row)?,
        version: row.integer("version")?,
        updated_at_ms: row.integer("updated_at_ms")?,
    })
}

fn status(row: &Row<'_>) -> Answer<Status> {
    Status::parse(row.text("status")?).ok_or_else(|| Problem::Internal("a row has a status this version does not know".to_owned()))
}

/// A client that named the version it saw is not tried again for: it must hear
/// that its version is gone.
fn again<T>(mut work: impl FnMut() -> Answer<T>) -> Answer<T> {
    let lost = |result: &Answer<T>| matches!(result, Err(problem) if problem.code() == LOST);
    let mut result = work();
    for _ in 1..ATTEMPTS {
        if !lost(&result) {
            break;
        }
        result = work();
    }
    result
}
