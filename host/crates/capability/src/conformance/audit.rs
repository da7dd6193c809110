//! The audit log's suite: one case per bullet of the contract of [`AuditLog`].
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a case fails by panicking")]

use crate::{
    ErrorKind,
    audit::{AuditEntry, AuditFilter, AuditLog, AuditOutcome, AuditRecord, Change, Deferred, RECORD_MAX, Subject, TEXT_MAX},
    conformance::find_all,
    persons::{Personal, Sealed},
};
use async_trait::async_trait;
use std::sync::Arc;

/// A log, alone in its storage, that can lose its process.
#[async_trait]
pub trait AuditFixture: Send + Sync {
    fn log(&self) -> Arc<dyn AuditLog>;
    /// As if the process was killed now and started again over what it had
    /// stored; [`AuditFixture::log`] answers the new one afterwards.
    async fn reopen(&mut self);
}

/// Makes the tests of one backend: `$make` is an async expression that yields an [`AuditFixture`].
#[macro_export]
macro_rules! audit_conformance {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::audit, $make;
            appended_is_durable,
            sequence_has_no_gaps,
            append_is_idempotent,
            append_is_all_or_none,
            large_record_is_refused,
            deferred_is_stored_where_the_log_answers,
            long_values_are_found,
            empty_action_is_refused,
            clear_personal_fields_are_refused,
            filters_combine,
            text_is_looked_for,
            action_prefix_is_by_words,
            pages_are_complete,
            bad_cursor_is_refused,
            digest_covers_the_bytes,
        }
    };
}

pub(super) fn record(action: &str) -> AuditRecord {
    AuditRecord {
        id: uuid::Uuid::now_v7().to_string(),
        recorded_at_ms: 1_700_000_000_000,
        actor: "user:4711".to_owned(),
        plugin_id: "applications".to_owned(),
        plugin_version: "1.2.3".to_owned(),
        plugin_digest: "sha256:00".to_owned(),
        spooled_at_ms: None,
        generation: 7,
        invocation_id: "i-1".to_owned(),
        entry: AuditEntry {
            action: action.to_owned(),
            subject: Subject { kind: "application".to_owned(), id: "A-1".to_owned() },
            outcome: AuditOutcome::Success,
            summary: "changed".to_owned(),
            changes: Vec::new(),
            attributes: Vec::new(),
            personal: None,
            sealed: Vec::new(),
        },
    }
}

pub(super) fn records(count: usize) -> Vec<AuditRecord> {
    (0..count).map(|_| record("a.b")).collect()
}

pub async fn appended_is_durable(mut fixture: impl AuditFixture) {
    let log = fixture.log();
    let mut full = record("application.status.change");
    full.entry.outcome = AuditOutcome::Denied { reason: "rule \"four eyes\"\n".to_owned() };
    full.entry.summary = "状态 ä \u{1f600} \u{1} \\".to_owned();
    full.entry.changes = vec![Change { field: "status".to_owned(), before: None, after: Some("open".to_owned()) }];
    full.entry.attributes = vec![("b".to_owned(), "2".to_owned()), ("a".to_owned(), String::new()), ("b".to_owned(), "3".to_owned())];
    let mut failed = record("x");
    failed.entry.outcome = AuditOutcome::Failed { reason: "disk".to_owned() };
    let receipts = log.append(vec![full.clone(), failed.clone()]).await.unwrap();
    assert_eq!((receipts[0].id.as_str(), receipts[0].recorded_at_ms), (full.id.as_str(), full.recorded_at_ms));
    drop(log);
    fixture.reopen().await;
    let log = fixture.log();
    let stored = log.record(&full.id).await.unwrap().unwrap();
    assert_eq!((&stored.record, stored.sequence), (&full, 0));
    let found = find_all(log.as_ref(), &AuditFilter::default(), 10).await;
    assert_eq!(found.iter().map(|stored| &stored.record).collect::<Vec<_>>(), [&full, &failed]);
    assert_eq!(log.record(&record("x").id).await.unwrap(), None);
    assert_eq!(log.count().await.unwrap(), 2);
}

pub async fn sequence_has_no_gaps(mut fixture: impl AuditFixture) {
    let log = fixture.log();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let log = Arc::clone(&log);
        writers.spawn(async move {
            let mut mine = Vec::new();
            for call in 0..10 {
                let mut batch = records(1 + (writer + call) % 3);
                if call == 5 {
                    // A refused call must not use up a number.
                    batch[0].entry.action = String::new();
                    log.append(batch).await.unwrap_err();
                    continue;
                }
                let receipts = log.append(batch).await.unwrap();
                let consecutive: Vec<_> = (receipts[0].sequence..).take(receipts.len()).collect();
                assert_eq!(receipts.iter().map(|receipt| receipt.sequence).collect::<Vec<_>>(), consecutive);
                mine.extend(consecutive);
            }
            mine
        });
    }
    let mut all: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    let count = u64::try_from(all.len()).unwrap();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
    drop(log);
    fixture.reopen().await;
    let log = fixture.log();
    assert_eq!(log.count().await.unwrap(), count);
    assert_eq!(log.append(records(1)).await.unwrap()[0].sequence, count);
}

pub async fn append_is_idempotent(mut fixture: impl AuditFixture) {
    let log = fixture.log();
    let mut first = records(2);
    let receipts = log.append(first.clone()).await.unwrap();
    log.append(records(1)).await.unwrap();
    assert_eq!(log.append(first.clone()).await.unwrap(), receipts);
    // Other contents under a stored id change nothing, also beside a new record.
    first[1].entry.summary = "forged".to_owned();
    first[1].recorded_at_ms += 1;
    let mixed = log.append(vec![first[1].clone(), record("a.b")]).await.unwrap();
    assert_eq!((&mixed[0], mixed[1].sequence), (&receipts[1], 3));
    // The same id twice in one call is stored once.
    let twice = record("a.b");
    let both = log.append(vec![twice.clone(), twice]).await.unwrap();
    assert_eq!((both[0].sequence, &both[0]), (4, &both[1]));
    drop(log);
    fixture.reopen().await;
    let log = fixture.log();
    assert_eq!(log.append(vec![first[1].clone()]).await.unwrap(), [receipts[1].clone()]);
    assert_eq!(log.record(&first[1].id).await.unwrap().unwrap().record.entry.summary, "changed");
    assert_eq!(log.count().await.unwrap(), 5);
}

pub async fn append_is_all_or_none(fixture: impl AuditFixture) {
    let log = fixture.log();
    let (good, bad) = (record("a.b"), record("not an action"));
    assert_eq!(log.append(vec![good.clone(), bad, record("a.b")]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(log.count().await.unwrap(), 0);
    assert_eq!(log.record(&good.id).await.unwrap(), None);
    assert!(log.append(Vec::new()).await.unwrap().is_empty());
    assert_eq!(log.append(vec![good]).await.unwrap()[0].sequence, 0);
}

pub async fn large_record_is_refused(fixture: impl AuditFixture) {
    let log = fixture.log();
    let mut large = record("a.b");
    large.entry.summary = "s".repeat(RECORD_MAX);
    assert_eq!(log.append(vec![large.clone()]).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    // Escaping counts: it is the stored bytes that are limited.
    large.entry.summary = "\u{1}".repeat(RECORD_MAX / 4);
    assert_eq!(log.append(vec![large.clone()]).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(log.count().await.unwrap(), 0);
    large.entry.summary = "s".repeat(RECORD_MAX - 1_000);
    log.append(vec![large.clone()]).await.unwrap();
    assert_eq!(log.record(&large.id).await.unwrap().unwrap().record, large);
}

pub async fn deferred_is_stored_where_the_log_answers(fixture: impl AuditFixture) {
    let log = fixture.log();
    let some = records(2);
    let stored = log.append(some.clone()).await.unwrap().into_iter().map(Deferred::Stored).collect::<Vec<_>>();
    assert_eq!(log.defer(some).await.unwrap(), stored);
    let refused = log.defer(vec![record("a.b"), record("not an action")]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    let another = record("a.b");
    assert!(matches!(&log.defer(vec![another.clone()]).await.unwrap()[..], [Deferred::Stored(receipt)] if receipt.sequence == 2));
    assert_eq!(log.record(&another.id).await.unwrap().unwrap().record, another);
}

pub async fn long_values_are_found(fixture: impl AuditFixture) {
    let log = fixture.log();
    let long = |start: &str| format!("{start}{}", "x".repeat(9_000));
    let mut batch = records(3);
    batch[1].actor = long("user:");
    batch[1].plugin_id = long("p");
    batch[1].entry.subject = Subject { kind: long("k"), id: long("A-") };
    log.append(batch.clone()).await.unwrap();
    let filters: [AuditFilter; 4] = [
        AuditFilter { actor: Some(long("user:")), ..AuditFilter::default() },
        AuditFilter { plugin_id: Some(long("p")), ..AuditFilter::default() },
        AuditFilter { subject_kind: Some(long("k")), ..AuditFilter::default() },
        AuditFilter { subject_id: Some(long("A-")), ..AuditFilter::default() },
    ];
    for filter in filters {
        let found = find_all(log.as_ref(), &filter, 10).await;
        assert_eq!(found.into_iter().map(|stored| stored.record).collect::<Vec<_>>(), batch[1..2]);
    }
}

pub async fn empty_action_is_refused(fixture: impl AuditFixture) {
    let log = fixture.log();
    for action in ["", ".", "a.", ".a", "a..b", "a b", "a.b\n", "a/b"] {
        assert_eq!(log.append(vec![record(action)]).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{action:?}");
    }
    assert_eq!(log.count().await.unwrap(), 0);
    log.append(vec![record("a"), record("a-1.b_2.C")]).await.unwrap();
}

pub async fn clear_personal_fields_are_refused(fixture: impl AuditFixture) {
    let log = fixture.log();
    let mut clear = record("a.b");
    clear.entry.personal = Some(Personal { person: "4711".to_owned(), fields: vec![("phone".to_owned(), "123".to_owned())] });
    let refused = log.append(vec![record("a.b"), clear]).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(log.count().await.unwrap(), 0);
    let mut sealed = record("a.b");
    let field = Sealed { f: "phone".to_owned(), alg: "A256GCM".to_owned(), kid: "p.k".to_owned(), ct: "AAAA".to_owned() };
    sealed.entry.sealed = vec![field];
    log.append(vec![sealed.clone()]).await.unwrap();
    assert_eq!(log.record(&sealed.id).await.unwrap().unwrap().record, sealed);
}

pub async fn filters_combine(fixture: impl AuditFixture) {
    let log = fixture.log();
    let set = |text: &str| Some(text.to_owned());
    let with = |change: &dyn Fn(&mut AuditRecord)| {
        let mut record = record("order.ship");
        change(&mut record);
        record
    };
    // Each record differs from the first in one thing that one filter looks at.
    let batch = vec![
        with(&|_| {}),
        with(&|r| r.entry.subject.kind = "order".to_owned()),
        with(&|r| r.entry.subject.id = "A-2".to_owned()),
        with(&|r| r.entry.action = "order.pay".to_owned()),
        with(&|r| r.recorded_at_ms -= 1),
        with(&|r| r.recorded_at_ms += 1),
        with(&|r| r.actor = "system".to_owned()),
        with(&|r| r.plugin_id = "rules".to_owned()),
        with(&|r| r.entry.outcome = AuditOutcome::Failed { reason: String::new() }),
    ];
    log.append(batch).await.unwrap();
    let at = record("x").recorded_at_ms;
    let all = AuditFilter {
        subject_kind: set("application"),
        subject_id: set("A-1"),
        action_prefix: set("order.ship"),
        from_ms: Some(at),
        until_ms: Some(at + 1),
        actor: set("user:4711"),
        plugin_id: set("applications"),
        outcome: set("success"),
        or_actor: None,
        text: None,
    };
    let sequences = async |filter: &AuditFilter| find_all(log.as_ref(), filter, 4).await.iter().map(|r| r.sequence).collect::<Vec<_>>();
    assert_eq!(sequences(&all).await, [0]);
    type Widen<'a> = &'a dyn Fn(&mut AuditFilter);
    let drop_one: [(Widen<'_>, u64); 8] = [
        (&|f| f.subject_kind = None, 1),
        (&|f| f.subject_id = None, 2),
        (&|f| f.action_prefix = None, 3),
        (&|f| f.from_ms = None, 4),
        (&|f| f.until_ms = None, 5),
        (&|f| f.actor = None, 6),
        (&|f| f.plugin_id = None, 7),
        (&|f| f.outcome = None, 8),
    ];
    for (drop, also) in drop_one {
        let mut filter = all.clone();
        drop(&mut filter);
        assert_eq!(sequences(&filter).await, [0, also], "{filter:?}");
    }
    let other_name = AuditFilter { actor: set("user:other"), or_actor: set("user:4711"), ..all.clone() };
    assert_eq!(sequences(&other_name).await, [0], "either name of the actor");
    assert!(sequences(&AuditFilter { or_actor: set("user:4712"), ..other_name }).await.is_empty());
    assert_eq!(sequences(&AuditFilter::default()).await, (0..9).collect::<Vec<_>>());
    assert_eq!(sequences(&AuditFilter { actor: set("' OR 1=1 --"), ..AuditFilter::default() }).await, [0_u64; 0]);
}

pub async fn text_is_looked_for(fixture: impl AuditFixture) {
    let log = fixture.log();
    type Say<'a> = &'a dyn Fn(&mut AuditEntry);
    let places: [Say<'_>; 8] = [
        (&|e| e.summary = "the Äpfel were counted".to_owned()),
        (&|e| e.outcome = AuditOutcome::Denied { reason: "no ÄPFEL today".to_owned() }),
        (&|e| e.subject.kind = "äpfel".to_owned()),
        (&|e| e.subject.id = "box-of-Äpfel".to_owned()),
        (&|e| e.changes = vec![Change { field: "f".to_owned(), before: Some("äpfel".to_owned()), after: None }]),
        (&|e| e.changes = vec![Change { field: "Äpfel".to_owned(), before: None, after: None }]),
        (&|e| e.attributes = vec![("a".to_owned(), "two äpfel".to_owned())]),
        (&|e| e.attributes = vec![("äpfel".to_owned(), String::new())]),
    ];
    // Far apart, so that more has to be read than is found.
    let mut wanted = Vec::new();
    for say in places {
        let mut batch = records(500);
        say(&mut batch[250].entry);
        wanted.push(batch[250].id.clone());
        log.append(batch).await.unwrap();
    }
    let found = async |filter: &AuditFilter, limit| {
        find_all(log.as_ref(), filter, limit).await.into_iter().map(|r| r.record.id).collect::<Vec<_>>()
    };
    let text = |text: &str| AuditFilter { text: Some(text.to_owned()), ..AuditFilter::default() };
    for limit in [1, 3, 1_000] {
        assert_eq!(found(&text("äPFEL"), limit).await, wanted, "{limit}");
    }
    assert_eq!(found(&text("' OR 1=1"), 10).await, [] as [String; 0]);
    let denied = AuditFilter { outcome: Some("denied".to_owned()), ..text("äpfel") };
    assert_eq!(found(&denied, 10).await, wanted[1..2]);
    for bad in [String::new(), "x".repeat(TEXT_MAX + 1)] {
        let refused = log.find(&text(&bad), None, 10).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

pub async fn action_prefix_is_by_words(fixture: impl AuditFixture) {
    let log = fixture.log();
    let actions = ["app", "app.status", "app.status.change", "app.statusx", "app.status-x", "app.status_x", "App.status", "xapp.status"];
    log.append(actions.iter().map(|action| record(action)).collect()).await.unwrap();
    let matching = async |prefix: &str| {
        let filter = AuditFilter { action_prefix: Some(prefix.to_owned()), ..AuditFilter::default() };
        find_all(log.as_ref(), &filter, 100).await.into_iter().map(|stored| stored.record.entry.action).collect::<Vec<_>>()
    };
    assert_eq!(matching("app.status").await, ["app.status", "app.status.change"]);
    assert_eq!(matching("app").await, actions[..6]);
    assert_eq!(matching("app.stat").await, Vec::<String>::new());
}

pub async fn pages_are_complete(fixture: impl AuditFixture) {
    let log = fixture.log();
    log.append(records(25)).await.unwrap();
    let mut appending = tokio::task::JoinSet::new();
    let writer = Arc::clone(&log);
    appending.spawn(async move {
        for _ in 0..20 {
            let mut other = record("a.b");
            other.actor = "system".to_owned();
            writer.append(vec![record("a.b"), other]).await.unwrap();
        }
    });
    let filter = AuditFilter { actor: Some("user:4711".to_owned()), ..AuditFilter::default() };
    let meanwhile = find_all(log.as_ref(), &filter, 4).await;
    appending.join_all().await;
    let after = find_all(log.as_ref(), &filter, 7).await;
    assert_eq!(after.len(), 45);
    assert!(meanwhile.len() >= 25);
    assert_eq!(meanwhile, after[..meanwhile.len()], "oldest first, each once, none left out");
    assert!(after.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
}

pub async fn bad_cursor_is_refused(fixture: impl AuditFixture) {
    let log = fixture.log();
    log.append(records(3)).await.unwrap();
    let given = log.find(&AuditFilter::default(), None, 1).await.unwrap().next.unwrap();
    assert_eq!(log.find(&AuditFilter::default(), Some(&given), 5).await.unwrap().records.len(), 2);
    let last = if given.ends_with('0') { "1" } else { "0" };
    let changed = format!("{}{last}", &given[..given.len() - 1]);
    let cut = &given[..given.len() - 1];
    let longer = format!("{given}0");
    for cursor in ["", "0", "1", "-1", "null", "申请", changed.as_str(), cut, longer.as_str()] {
        let refused = log.find(&AuditFilter::default(), Some(cursor), 5).await.map(|page| page.records.len());
        assert_eq!(refused.map_err(|e| e.kind()), Err(ErrorKind::InvalidInput), "{cursor:?}");
    }
}

pub async fn digest_covers_the_bytes(mut fixture: impl AuditFixture) {
    let log = fixture.log();
    let first = record("a.b");
    let mut other = first.clone();
    other.id = uuid::Uuid::now_v7().to_string();
    log.append(vec![first.clone(), other]).await.unwrap();
    let found = find_all(log.as_ref(), &AuditFilter::default(), 10).await;
    for stored in &found {
        assert!(stored.digest.len() == 64 && stored.digest.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')), "{}", stored.digest);
    }
    assert_ne!(found[0].digest, found[1].digest, "they differ in their ids");
    assert_eq!(log.record(&first.id).await.unwrap().unwrap(), found[0]);
    drop(log);
    fixture.reopen().await;
    assert_eq!(fixture.log().record(&first.id).await.unwrap().unwrap().digest, found[0].digest);
}
