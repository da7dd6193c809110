//! Records as a host makes them: those of one call have their actor, plugin and invocation in common.

use super::WRITERS;
use anyhow::{Context, Result};
use plinth_audit::canonical;
use plinth_capability::audit::{AuditEntry, AuditOutcome, AuditRecord, Change, Subject};
use std::sync::atomic::{AtomicU64, Ordering};

/// What one writer has to do in a turn: the records of each call, and their bytes.
pub(super) struct Calls(pub(super) Vec<Call>);

pub(super) struct Call {
    pub(super) records: Vec<AuditRecord>,
    pub(super) bytes: Vec<Vec<u8>>,
}

const PLUGINS: [&str; 4] = ["orders", "billing", "stock", "shipping"];
const ACTIONS: [&str; 3] = ["order.refund", "order.status.change", "invoice.cancel"];
const ACTORS: u64 = 1_000;

/// So many calls over all writers, of so many records each.
pub(super) fn calls(count: usize, records: usize) -> Result<Vec<Calls>> {
    (0..WRITERS).map(|_| (0..count / WRITERS).map(|_| call(records)).collect::<Result<_>>().map(Calls)).collect()
}

fn call(count: usize) -> Result<Call> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    let records: Vec<_> = (0..count as u64).map(|place| record(number, place)).collect();
    let bytes = records.iter().map(bytes).collect::<Result<_>>()?;
    Ok(Call { records, bytes })
}

/// Of a given call, at a given place in it. About 600 bytes as it is stored.
pub(super) fn record(call: u64, place: u64) -> AuditRecord {
    let pick = |from: &[&str]| from.get(call as usize % from.len()).copied().unwrap_or_default().to_owned();
    // Spread over all actors and yet the same in each run.
    let actor = call.wrapping_mul(0x9e37_79b9_7f4a_7c15) % ACTORS;
    let denied = place % 20 == 19;
    AuditRecord {
        id: uuid::Uuid::now_v7().to_string(),
        recorded_at_ms: 1_764_000_000_000 + call,
        actor: format!("user:{actor}"),
        plugin_id: pick(&PLUGINS),
        plugin_version: "1.4.2".to_owned(),
        plugin_digest: format!("sha256:{:064x}", 0x9f86_d081_u64),
        spooled_at_ms: None,
        generation: 17,
        invocation_id: format!("{call:032x}"),
        entry: AuditEntry {
            action: pick(&ACTIONS),
            subject: Subject { kind: "order".to_owned(), id: format!("O-2026-{:08}", call * 1_000 + place) },
            outcome: if denied { AuditOutcome::Denied { reason: "four eyes".to_owned() } } else { AuditOutcome::Success },
            summary: "goods returned by the customer".to_owned(),
            changes: vec![Change { field: "status".to_owned(), before: Some("paid".to_owned()), after: Some("refunded".to_owned()) }],
            attributes: vec![("amount".to_owned(), place.to_string()), ("currency".to_owned(), "EUR".to_owned())],
            personal: None,
            sealed: Vec::new(),
        },
    }
}

/// As the log stores it.
pub(super) fn bytes(record: &AuditRecord) -> Result<Vec<u8>> {
    canonical::encode(&serde_json::to_value(record)?).context("a record is canonical")
}
