//! What the log says in the end, compared with what was acknowledged.

use super::seat::Acked;
use anyhow::{Context, Result, ensure};
use plinth_tests::{Client, binary};
use serde_json::Value;
use std::collections::HashMap;
use tokio::process::Command;

#[derive(Default)]
pub(super) struct Found {
    pub(super) records: u64,
    /// Acknowledged, and not in the log at the place that was told.
    pub(super) lost: usize,
    /// Records that are in the log more than once.
    pub(super) duplicated: usize,
    /// Sequences that nothing has.
    pub(super) gaps: u64,
    pub(super) epochs: usize,
    /// The first of what is wrong.
    pub(super) wrong: Vec<String>,
}

pub(super) async fn judge(host: &Client, acked: &[Acked]) -> Result<Found> {
    let mut found = Found::default();
    let mut places: HashMap<String, Vec<u64>> = HashMap::new();
    for record in host.audit("").await {
        let sequence = record["sequence"].as_u64().context("a sequence")?;
        if sequence != found.records + found.gaps {
            found.wrong.push(format!("{} follows {} records", sequence, found.records));
            found.gaps += sequence.saturating_sub(found.records + found.gaps);
        }
        found.records += 1;
        if record["subject"]["kind"] == "record" {
            let subject = record["subject"]["id"].as_str().context("a subject")?.to_owned();
            places.entry(subject).or_default().push(sequence);
        }
    }
    for one in acked {
        if !places.get(&one.subject).is_some_and(|places| places.contains(&one.sequence)) {
            found.lost += 1;
            found.wrong.push(format!("{} was acknowledged at {} and is at {:?}", one.subject, one.sequence, places.get(&one.subject)));
        }
    }
    for (subject, places) in places.iter().filter(|(_, places)| places.len() > 1) {
        found.duplicated += 1;
        found.wrong.push(format!("{subject} is at {places:?}"));
    }
    found.wrong.truncate(10);
    found.epochs = host.get("/v1/audit/log").await.ok()["trees"].as_array().map_or(0, Vec::len);
    Ok(found)
}

/// Whether an outsider finds the log sound.
pub(super) async fn verified(host: &Client) -> Result<bool> {
    let trust = Command::new(binary()).args(["audit", "trust", "--url", host.base()]).output().await?;
    ensure!(trust.status.success(), "{}", String::from_utf8_lossy(&trust.stderr));
    let policy = tempfile::NamedTempFile::new()?;
    std::fs::write(policy.path(), &trust.stdout)?;
    let log = format!("{}/v1/audit/log/0", host.base());
    let ended = Command::new(binary()).args(["audit", "verify", "--json", "--url", &log, "--trust"]).arg(policy.path()).output().await?;
    if !ended.status.success() {
        let told: Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        eprintln!("promise-p4: {told:#}{}", String::from_utf8_lossy(&ended.stderr));
    }
    Ok(ended.status.success())
}
