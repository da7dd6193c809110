//! `plinth audit query`: reads the audit log of a running host.

use crate::cli::{
    Done, Remote, block_on,
    client::{AuditPage, AuditRecord},
};
use clap::Args;
use comfy_table::Table;

/// All that are given must hold.
#[derive(Args)]
pub(in crate::cli) struct Conditions {
    /// What it was done to, e.g. `application`.
    #[arg(long)]
    subject_kind: Option<String>,
    /// e.g. the application number.
    #[arg(long)]
    subject_id: Option<String>,
    /// An action and everything below it: `application.status`.
    #[arg(long)]
    action: Option<String>,
    /// Who did it, e.g. `user:4711`.
    #[arg(long)]
    actor: Option<String>,
    /// Through which plugin.
    #[arg(long)]
    plugin: Option<String>,
    /// `success`, `denied` or `failed`.
    #[arg(long)]
    outcome: Option<String>,
    /// Recorded at or after, in milliseconds since 1970.
    #[arg(long)]
    from_ms: Option<u64>,
    /// Recorded before, in milliseconds since 1970.
    #[arg(long)]
    until_ms: Option<u64>,
    /// In anything that was said, whatever the case.
    #[arg(long)]
    text: Option<String>,
    /// Where the page before ended.
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Args)]
pub(in crate::cli) struct Query {
    #[command(flatten)]
    conditions: Conditions,
    /// Records of one page.
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    remote: Remote,
}

impl Query {
    pub(super) fn run(self) -> Done {
        let mut conditions = self.conditions.given();
        conditions.push(("limit", self.limit.to_string()));
        let page = block_on(async { Ok(self.remote.client()?.audit(&conditions).await?) })?;
        self.remote.print(page, |page: AuditPage| table(&page))
    }
}

impl Conditions {
    /// As query parameters.
    pub(super) fn given(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("subject_kind", self.subject_kind.clone()),
            ("subject_id", self.subject_id.clone()),
            ("action", self.action.clone()),
            ("actor", self.actor.clone()),
            ("plugin", self.plugin.clone()),
            ("outcome", self.outcome.clone()),
            ("from_ms", self.from_ms.map(|ms| ms.to_string())),
            ("until_ms", self.until_ms.map(|ms| ms.to_string())),
            ("text", self.text.clone()),
            ("cursor", self.cursor.clone()),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn table(page: &AuditPage) -> String {
    let mut table = Table::new();
    table.set_header(["sequence", "recorded at (ms)", "actor", "action", "subject", "outcome", "summary"]);
    for record in &page.records {
        table.add_row(row(record));
    }
    match &page.next {
        Some(next) => format!("{table}\nmore: --cursor {next}"),
        None => table.to_string(),
    }
}

fn row(record: &AuditRecord) -> [String; 7] {
    let reason = record.outcome.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    [
        record.sequence.to_string(),
        record.recorded_at_ms.to_string(),
        record.actor.clone(),
        record.action.clone(),
        format!("{} {}", record.subject.kind, record.subject.id),
        format!("{}{reason}", record.outcome.result),
        record.summary.clone(),
    ]
}
