//! The spool before an audit log: the log's own suite, and what waits while the log is away.

use crate::support::{audit_record, snapshot};
use async_trait::async_trait;
use plinth_backend::{
    Durability,
    audit::{Spooled, SpooledAudit, SqliteAudit},
};
use plinth_capability::{
    ErrorKind,
    audit::{AuditFilter, AuditLog, AuditRecord, Deferred},
    conformance::{audit::AuditFixture, database::Switched, find_all},
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const BYTES_MAX: u64 = 1 << 20;

struct Fixture {
    log: Arc<SpooledAudit>,
    dir: TempDir,
    dead: Vec<(Arc<SpooledAudit>, TempDir)>,
}

async fn open(dir: &TempDir) -> Arc<SpooledAudit> {
    let log = SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap();
    Arc::new(SpooledAudit::open(Arc::new(log), &dir.path().join("spool"), BYTES_MAX).unwrap())
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    Fixture { log: open(&dir).await, dir, dead: Vec::new() }
}

#[async_trait]
impl AuditFixture for Fixture {
    fn log(&self) -> Arc<dyn AuditLog> {
        self.log.clone()
    }

    async fn reopen(&mut self) {
        let dir = snapshot(&self.dir, "audit.db");
        let log = open(&dir).await;
        self.dead.push((std::mem::replace(&mut self.log, log), std::mem::replace(&mut self.dir, dir)));
    }
}

plinth_capability::audit_conformance!(fixture());

/// A log that can be away, with a spool before it.
struct Away {
    there: Arc<AtomicBool>,
    log: Arc<dyn AuditLog>,
    dir: TempDir,
}

impl Away {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inner = SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap();
        let there = Arc::new(AtomicBool::new(false));
        let inner: Arc<dyn AuditLog> = Arc::new(inner);
        Self { log: Arc::new(Switched { on: Arc::clone(&there), inner }), there, dir }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.dir.path().join("spool")
    }

    fn spooled(&self, bytes_max: u64) -> SpooledAudit {
        SpooledAudit::open(self.log.clone(), &self.folder(), bytes_max).unwrap()
    }

    async fn stored(&self) -> Vec<AuditRecord> {
        self.there.store(true, SeqCst);
        find_all(self.log.as_ref(), &AuditFilter::default(), 1_000).await.into_iter().map(|stored| stored.record).collect()
    }
}

async fn drain(spool: &SpooledAudit) {
    while spool.drain().await.unwrap() > 0 {}
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_come_later_waits_for_the_log_and_comes_once() {
    let away = Away::new().await;
    let spool = Arc::new(away.spooled(BYTES_MAX));
    let refused = spool.append(vec![audit_record()]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "what may not come later is refused");
    let bad = AuditRecord { id: "no uuid".into(), ..audit_record() };
    assert_eq!(spool.defer(vec![audit_record(), bad]).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let spool = spool.clone();
        calls.spawn(async move {
            let record = audit_record();
            let told = spool.defer(vec![record.clone()]).await.unwrap();
            assert_eq!(told, [Deferred::Spooled { id: record.id.clone(), recorded_at_ms: record.recorded_at_ms }]);
            record
        });
    }
    let mut given = calls.join_all().await;
    assert_eq!(spool.spooled().records, 50);
    assert!(spool.drain().await.is_err(), "the log is still away");
    // The process ends, and what waits is found by the next one.
    spool.close().await;
    drop(spool);
    let spool = away.spooled(BYTES_MAX);
    assert_eq!(spool.spooled().records, 50);
    let stop = CancellationToken::new();
    away.there.store(true, SeqCst);
    let last = audit_record();
    assert!(matches!(spool.defer(vec![last.clone()]).await.unwrap()[..], [Deferred::Spooled { .. }]), "it does not overtake");
    given.push(last);
    let stored = async {
        while spool.spooled().records > 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(spool.run(stop.clone()), stored);
    let mut stored = away.stored().await;
    assert!(stored.iter().all(|record| record.spooled_at_ms.is_some()));
    stored.iter_mut().for_each(|record| record.spooled_at_ms = None);
    stored.sort_by(|a, b| a.id.cmp(&b.id));
    given.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(stored, given);
    assert_eq!((spool.spooled(), files(&away.folder())), (Spooled::default(), vec!["lock".to_owned()]));
    assert!(matches!(spool.defer(vec![audit_record()]).await.unwrap()[..], [Deferred::Stored(_)]));
}

#[tokio::test]
async fn a_full_spool_refuses_and_keeps_what_it_has() {
    let away = Away::new().await;
    let spool = away.spooled(4_000);
    let mut taken = 0;
    let refused = loop {
        match spool.defer(vec![audit_record()]).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    assert!(taken > 5, "{taken}");
    away.there.store(true, SeqCst);
    drain(&spool).await;
    assert_eq!(away.stored().await.len(), taken);
}

#[tokio::test]
async fn damage_is_told_and_what_is_whole_comes_to_the_log() {
    let away = Away::new().await;
    let spool = away.spooled(BYTES_MAX);
    let records: Vec<AuditRecord> = (0..3).map(|_| audit_record()).collect();
    for record in &records {
        spool.defer(vec![record.clone()]).await.unwrap();
    }
    spool.close().await;
    drop(spool);
    let name = files(&away.folder()).into_iter().find(|name| name.ends_with(".spool")).unwrap();
    let path = away.folder().join(&name);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // What was cut off at the end of the file was never confirmed.
    bytes.extend_from_slice(b"\xf5spl\x10");
    std::fs::write(&path, bytes).unwrap();
    let spool = away.spooled(BYTES_MAX);
    away.there.store(true, SeqCst);
    drain(&spool).await;
    let stored: Vec<String> = away.stored().await.into_iter().map(|record| record.id).collect();
    assert_eq!(stored, [records[0].id.clone(), records[2].id.clone()]);
    assert_eq!(spool.spooled(), Spooled { kept: 1, ..Spooled::default() });
    let told = spool.health().await.unwrap_err();
    assert!(told.message().contains("1 files of the spool"), "{told}");
    spool.close().await;
    drop(spool);
    assert_eq!(away.spooled(BYTES_MAX).spooled().kept, 1, "until somebody has looked");
}

#[tokio::test]
async fn what_the_log_refuses_for_ever_blocks_nothing() {
    let away = Away::new().await;
    let spool = away.spooled(BYTES_MAX);
    let good = audit_record();
    spool.defer(vec![good.clone()]).await.unwrap();
    spool.close().await;
    drop(spool);
    // As another version may have written it.
    let strange = AuditRecord {
        entry: plinth_capability::audit::AuditEntry { action: "not an action".into(), ..good.entry.clone() },
        ..audit_record()
    };
    let frame = |bytes: &[u8]| {
        let body = [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat();
        let sum = &aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body).as_ref()[..8].to_vec();
        [b"\xf5spl".as_slice(), &u32::try_from(body.len()).unwrap().to_le_bytes(), sum, &body].concat()
    };
    let later = audit_record();
    let frames = [serde_json::to_vec(&strange).unwrap(), b"{}".to_vec(), serde_json::to_vec(&later).unwrap()].map(|bytes| frame(&bytes));
    std::fs::write(away.folder().join("00000000000000ff.spool"), [b"plnspl1\n".to_vec(), frames.concat()].concat()).unwrap();
    // A host that was killed while it put them aside.
    std::fs::write(away.folder().join("00000000000000ff.refused.kept"), "a part").unwrap();
    let spool = away.spooled(BYTES_MAX);
    away.there.store(true, SeqCst);
    drain(&spool).await;
    let stored: Vec<String> = away.stored().await.into_iter().map(|record| record.id).collect();
    assert_eq!(stored, [good.id, later.id]);
    let kept = std::fs::read_to_string(away.folder().join("00000000000000ff.refused.kept")).unwrap();
    assert!(kept.contains("not an action") && kept.ends_with("{}\n"), "{kept}");
    assert_eq!(spool.spooled().kept, 1);
}

#[tokio::test]
async fn what_waits_behind_an_empty_file_comes_too() {
    let away = Away::new().await;
    let folder = away.folder();
    std::fs::create_dir(&folder).unwrap();
    // As a host leaves it that is killed, or whose disk fails, before anything in it was confirmed.
    std::fs::write(folder.join("0000000000000000.spool"), b"plnspl1\n").unwrap();
    let spool = away.spooled(BYTES_MAX);
    spool.defer(vec![audit_record()]).await.unwrap();
    away.there.store(true, SeqCst);
    assert_eq!(spool.drain().await.unwrap(), 1);
    assert_eq!(files(&folder), ["lock"]);
}

#[tokio::test]
async fn a_folder_belongs_to_one_process() {
    let away = Away::new().await;
    let first = away.spooled(BYTES_MAX);
    let refused = SpooledAudit::open(away.log.clone(), &away.folder(), BYTES_MAX).map(drop).unwrap_err();
    assert!(refused.message().contains("another process"), "{refused}");
    drop(first);
}
