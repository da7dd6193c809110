//! The archive of the audit log over every backend and every kind of store: what goes there, and that nobody can tell where a record is.

use crate::support::audit_record;
use plinth_audit::{
    note::VerifierKey,
    policy::Policy,
    segment::{Chain, SEGMENT_RECORDS, check_since, verify_segments},
    tlog_proof::TlogProof,
    verify::{CanonicalEntries, Findings},
};
use plinth_backend::audit::{ArchiveFolder, ArchiveLocation, ArchivedAudit, Archiver, AuditTree, AuditTreeConfig, Retention, Round};
use plinth_capability::{
    ErrorKind,
    audit::{AuditEntry, AuditFilter, AuditLog, AuditRecord, StoredRecord, Subject},
    transparency::Transparency,
};
use std::{path::Path, sync::Arc};
use tempfile::TempDir;
use tokio::runtime::Handle;

const KEPT: Retention = Retention { online_days: None, archived_days: None };
const OLD_GOES: Retention = Retention { online_days: Some(180), archived_days: None };
const ALL_GOES: Retention = Retention { online_days: Some(180), archived_days: Some(1_095) };
/// More than a segment, so that some stay in the database.
const RECORDS: u64 = SEGMENT_RECORDS + 700;

/// A log over its database, and the archive beside it.
struct World {
    log: Arc<dyn AuditLog>,
    tree: Arc<AuditTree>,
    folder: ArchiveFolder,
}

fn config(outside: &Path, folder: ArchiveFolder) -> AuditTreeConfig {
    AuditTreeConfig {
        origin: Some("audit.example.org/archived".into()),
        key: outside.join("key"),
        checkpoints: outside.join("checkpoints"),
        archive: Some(folder),
    }
}

fn local(outside: &TempDir) -> ArchiveFolder {
    ArchiveFolder::open(&ArchiveLocation::new(format!("file://{}/archive", outside.path().display()))).unwrap()
}

/// Recorded long ago: subjects and actions that filters tell apart.
fn old_record(number: u64) -> AuditRecord {
    let record = audit_record();
    let action = if number.is_multiple_of(5) { "case.opened" } else { "case.opened.again" }.to_owned();
    let subject = Subject { kind: "case".into(), id: (number % 1_000).to_string() };
    AuditRecord { recorded_at_ms: number, entry: AuditEntry { action, subject, ..record.entry }, ..record }
}

impl World {
    fn new(log: Arc<dyn AuditLog>, tree: AuditTree, folder: ArchiveFolder) -> Self {
        let tree = Arc::new(tree);
        Self { log: Arc::new(ArchivedAudit::new(log, &tree)), tree, folder }
    }

    async fn fill(&self, count: u64) -> Vec<String> {
        let mut ids = Vec::new();
        for start in (0..count).step_by(1_000) {
            let records: Vec<_> = (start..count.min(start + 1_000)).map(old_record).collect();
            ids.extend(records.iter().map(|record| record.id.clone()));
            self.log.append(records).await.unwrap();
        }
        self.tree.step().await.unwrap();
        ids
    }

    async fn round(&self, retention: Retention) -> Round {
        Archiver::new(self.tree.clone(), retention).round().await.unwrap()
    }

    /// Every page of a search.
    async fn all(&self, filter: &AuditFilter, limit: u32) -> Vec<StoredRecord> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.log.find(filter, cursor.as_deref(), limit).await.unwrap();
            assert!(page.records.len() <= limit as usize);
            found.extend(page.records);
            cursor = page.next;
            if cursor.is_none() {
                return found;
            }
        }
    }

    /// What everybody may ask, of records that are old and of one that is not.
    async fn answers(&self, ids: &[String]) -> Answers {
        let subject = |id: &str| AuditFilter { subject_kind: Some("case".into()), subject_id: Some(id.into()), ..AuditFilter::default() };
        let time = |from, until| AuditFilter { from_ms: Some(from), until_ms: Some(until), ..AuditFilter::default() };
        let action = AuditFilter { action_prefix: Some("case.opened.again".into()), until_ms: Some(300), ..AuditFilter::default() };
        let mut records = Vec::new();
        let mut leaves = Vec::new();
        for id in ids {
            let record = self.log.record(id).await.unwrap().unwrap();
            let proof = TlogProof::parse(self.tree.proof(id).await.unwrap().unwrap().as_bytes()).unwrap();
            leaves.push(proof.index);
            assert_eq!(proof.index, record.sequence);
            records.push(record);
        }
        Answers {
            one_subject: self.all(&subject("7"), 10).await,
            some_time: self.all(&time(65_000, 65_600), 1_000).await,
            text: self.all(&AuditFilter { text: Some("Opened.AGAIN".into()), from_ms: Some(64_990), ..AuditFilter::default() }, 300).await,
            action: self.all(&action, 100).await,
            every: self
                .all(&AuditFilter::default(), 1_000)
                .await
                .iter()
                .take(RECORDS as usize)
                .map(|record| record.digest.clone())
                .collect(),
            records,
            leaves,
            entries: [self.entries(0, "000").await, self.entries(0, "255").await, self.entries(0, "256").await],
        }
    }

    async fn entries(&self, epoch: u64, index: &str) -> Vec<u8> {
        self.tree.tile(epoch, &format!("tile/entries/{index}")).await.unwrap().unwrap().to_vec()
    }

    fn policy(&self, key: &VerifierKey) -> Policy {
        Policy::parse(format!("log {key}\nquorum none\n").as_bytes()).unwrap()
    }

    /// What `plinth audit verify --archive` finds.
    async fn verify(&self, dropped: u64) -> (u64, Findings) {
        let trees = self.tree.trees().await.unwrap();
        let policy = self.policy(&trees[0].verifier_key.parse().unwrap());
        let folder = self.folder.epoch(0);
        let count = folder.segments().await.unwrap();
        let since = self.tree.checkpoint(0).await.unwrap().unwrap().into_bytes();
        let handle = Handle::current();
        let verify = move || {
            let archive = folder.blocking(handle);
            let mut chain = Chain { dropped, ..Chain::default() };
            let report = verify_segments(&archive, count, &mut chain, &policy, &CanonicalEntries);
            let mut beyond = Findings::default();
            check_since(&archive, count, &[since], &policy, &mut beyond);
            assert!(beyond.tampered() == 0 && beyond.incomplete() == 1, "the newest checkpoint is beyond the archive: {beyond:?}");
            (report.records, report.findings)
        };
        tokio::task::spawn_blocking(verify).await.unwrap()
    }
}

#[derive(Debug, PartialEq)]
struct Answers {
    one_subject: Vec<StoredRecord>,
    some_time: Vec<StoredRecord>,
    text: Vec<StoredRecord>,
    action: Vec<StoredRecord>,
    every: Vec<String>,
    records: Vec<StoredRecord>,
    leaves: Vec<u64>,
    entries: [Vec<u8>; 3],
}

/// Archived, pruned and expired: the same answers until the last, and the log verifies after each.
async fn a_life(world: &World) {
    let ids = world.fill(RECORDS).await;
    let asked = [&ids[0], &ids[300], &ids[65_535], &ids[65_536], &ids[66_000]].map(Clone::clone);
    let before = world.answers(&asked).await;
    assert_eq!((before.one_subject.len(), before.some_time.len(), before.every.len()), (67, 600, RECORDS as usize));
    assert_eq!(before.text.len(), 996, "four of five from there");

    let archived = Round { archived: 1, ..Round::default() };
    assert_eq!(world.round(KEPT).await, archived);
    assert_eq!(world.round(KEPT).await, Round::default(), "once");
    let pruned = Round { pruned: 1, ..Round::default() };
    assert_eq!(world.round(OLD_GOES).await, pruned);
    assert_eq!(world.round(OLD_GOES).await, Round::default(), "once, and the rest is in no segment");
    assert_eq!(world.answers(&asked).await, before, "nobody can tell where a record is");
    let tree = &world.tree.trees().await.unwrap()[0];
    assert_eq!((tree.archived, tree.pruned, tree.expired), (SEGMENT_RECORDS, SEGMENT_RECORDS, 0));
    let said = AuditFilter { action_prefix: Some("audit.pruned".into()), ..AuditFilter::default() };
    assert_eq!(world.all(&said, 10).await.len(), 1, "retention is on record");
    let (records, findings) = world.verify(0).await;
    assert!(records == SEGMENT_RECORDS && findings.is_empty(), "{findings:?}");

    // New records are numbered and signed as if nothing had gone.
    let receipt = world.log.append(vec![audit_record()]).await.unwrap();
    assert_eq!(receipt[0].sequence, RECORDS + 1, "after the record of pruning");
    world.tree.step().await.unwrap();

    let expired = Round { expired: 1, ..Round::default() };
    assert_eq!(world.round(ALL_GOES).await, expired);
    assert_eq!(world.round(ALL_GOES).await, Round::default(), "once");
    assert_eq!(world.log.record(&ids[300]).await.unwrap(), None);
    assert_eq!(world.tree.proof(&ids[300]).await.unwrap(), None);
    assert_eq!(world.tree.tile(0, "tile/entries/000").await.unwrap(), None);
    let left = world.all(&AuditFilter::default(), 1_000).await;
    assert_eq!(left[0].sequence, SEGMENT_RECORDS);
    assert_eq!(left.last().unwrap().record.entry.action, "audit.expired");
    let (records, findings) = world.verify(1).await;
    assert!(records == 0 && findings.is_empty(), "the hashes stand for them: {findings:?}");
    assert!(world.verify(0).await.1.incomplete() > 0, "who does not know that they were dropped misses them");
}

mod sqlite {
    use super::*;
    use crate::support::snapshot;
    use plinth_backend::{Durability, audit::SqliteAudit};
    use sqlx::{Connection, SqliteConnection};
    use std::fs;

    async fn open(dir: &TempDir, outside: &TempDir, folder: ArchiveFolder) -> World {
        let log = Arc::new(SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap());
        let tree = AuditTree::over_sqlite(log.clone(), config(outside.path(), folder.clone())).await.unwrap();
        World::new(log, tree, folder)
    }

    async fn world() -> (World, TempDir, TempDir) {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = local(&outside);
        (open(&dir, &outside, folder).await, dir, outside)
    }

    fn records(outside: &TempDir) -> std::path::PathBuf {
        outside.path().join("archive/0/seg-0.jsonl.zst")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_life_in_a_folder() {
        let (world, _dir, _outside) = world().await;
        a_life(&world).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_not_sound_in_the_archive_stays_in_the_database() {
        let (world, dir, outside) = world().await;
        let ids = world.fill(SEGMENT_RECORDS).await;
        world.round(KEPT).await;
        let sound = fs::read(records(&outside)).unwrap();
        let mut spoilt = sound.clone();
        let middle = spoilt.len() / 2;
        spoilt[middle] ^= 1;
        fs::write(records(&outside), &spoilt).unwrap();
        let refused = Archiver::new(world.tree.clone(), OLD_GOES).round().await.unwrap_err();
        assert!(refused.message().contains("not sound in the archive"), "{refused}");
        let mut owner = SqliteConnection::connect(dir.path().join("audit.db").to_str().unwrap()).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM records").fetch_one(&mut owner).await.unwrap();
        assert_eq!(count, SEGMENT_RECORDS as i64, "nothing went");
        for sql in ["DELETE FROM records WHERE sequence = 5", "DELETE FROM segments", "UPDATE segments SET least_id = ''"] {
            assert!(sqlx::query(sql).execute(&mut owner).await.is_err(), "{sql}");
        }
        let claim = "INSERT INTO pruned (epoch, first, leaves, expired) VALUES (0, 0, 0, 0); UPDATE pruned SET leaves = 65537";
        assert!(sqlx::raw_sql(claim).execute(&mut owner).await.is_err(), "more than is archived");

        // Sound again, it goes; and what is changed later is noticed by whoever reads it.
        fs::write(records(&outside), &sound).unwrap();
        assert_eq!(world.round(OLD_GOES).await.pruned, 1);
        fs::write(records(&outside), &spoilt).unwrap();
        let failed = world.log.record(&ids[40_000]).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::Failed, "{failed}");
        fs::remove_file(records(&outside)).unwrap();
        let gone = world.log.find(&AuditFilter::default(), None, 10).await.unwrap_err();
        assert!(gone.message().contains("seg-0.jsonl.zst"), "{gone}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_segment_that_was_written_and_not_noted_is_taken_over() {
        let (world, dir, outside) = world().await;
        world.fill(SEGMENT_RECORDS).await;
        let before = snapshot(&dir, "audit.db");
        assert_eq!(world.round(KEPT).await.archived, 1);
        let written = fs::read(outside.path().join("archive/0/seg-0.manifest.json")).unwrap();
        // As a host that was killed before it had noted it, or a database from a backup.
        let again = open(&before, &outside, world.folder.clone()).await;
        again.log.append(vec![audit_record()]).await.unwrap();
        again.tree.step().await.unwrap();
        fs::remove_file(outside.path().join("archive/0/seg-0.tiles")).unwrap();
        assert_eq!(again.round(KEPT).await.archived, 1, "and what was not whole is written anew");
        assert_ne!(fs::read(outside.path().join("archive/0/seg-0.manifest.json")).unwrap(), written);
        assert!(again.verify(0).await.1.is_empty());
        let noted = snapshot(&dir, "audit.db");
        let third = open(&noted, &outside, world.folder.clone()).await;
        assert_eq!(third.round(KEPT).await, Round::default());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_segment_of_another_history_is_not_overwritten() {
        let (world, _dir, outside) = world().await;
        world.fill(SEGMENT_RECORDS).await;
        world.round(KEPT).await;
        let theirs = fs::read(records(&outside)).unwrap();
        let (dir, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let other = open(&dir, &fresh, world.folder.clone()).await;
        other.fill(SEGMENT_RECORDS).await;
        let refused = Archiver::new(other.tree.clone(), KEPT).round().await.unwrap_err();
        assert!(refused.message().contains("not overwritten"), "{refused}");
        assert_eq!(fs::read(records(&outside)).unwrap(), theirs);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_its_archive_a_host_says_so() {
        let (world, dir, outside) = world().await;
        let ids = world.fill(SEGMENT_RECORDS).await;
        world.round(OLD_GOES).await;
        let log = Arc::new(SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap());
        let settings = AuditTreeConfig { archive: None, ..config(outside.path(), world.folder.clone()) };
        let tree = AuditTree::over_sqlite(log.clone(), settings).await.unwrap();
        let homeless = ArchivedAudit::new(log, &Arc::new(tree));
        for failed in [homeless.record(&ids[5]).await.map(drop), homeless.find(&AuditFilter::default(), None, 5).await.map(drop)] {
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
        }
    }
}

mod postgres {
    use super::*;
    use crate::postgres::Fresh;
    use plinth_backend::audit::PostgresAudit;
    use plinth_services::S3;
    use sqlx::Executor;

    async fn open(fresh: &Fresh, outside: &TempDir, folder: ArchiveFolder) -> World {
        let log = Arc::new(PostgresAudit::open(fresh.open().await).await.unwrap());
        let tree = AuditTree::over_postgres(log.clone(), config(outside.path(), folder.clone())).await.unwrap();
        World::new(log, tree, folder)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_life_in_an_s3_compatible_store() {
        let (fresh, outside, store) = (Fresh::new().await, tempfile::tempdir().unwrap(), S3::start().await.unwrap());
        store.bucket("audit").await.unwrap();
        let (key, secret) = store.keys();
        let file = outside.path().join("secret");
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        let location = ArchiveLocation {
            endpoint: Some(store.endpoint()),
            region: Some("eu-central-1".into()),
            access_key_id: Some(key.into()),
            secret_access_key: Some(file),
            allow_http: true,
            ..ArchiveLocation::new("s3://audit/of/plinth")
        };
        let world = open(&fresh, &outside, ArchiveFolder::open(&location).unwrap()).await;
        a_life(&world).await;

        std::fs::write(outside.path().join("wrong"), "wrong").unwrap();
        let stranger = ArchiveLocation { secret_access_key: Some(outside.path().join("wrong")), ..location };
        let refused = ArchiveFolder::open(&stranger).unwrap().epoch(0).segments().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hosts_take_turns_and_the_server_keeps_what_is_not_archived() {
        let (fresh, outside) = (Fresh::new().await, tempfile::tempdir().unwrap());
        let hosts = [open(&fresh, &outside, local(&outside)).await, open(&fresh, &outside, local(&outside)).await];
        hosts[0].fill(2 * SEGMENT_RECORDS + 10).await;
        let (one, other) = tokio::join!(hosts[0].round(OLD_GOES), hosts[1].round(OLD_GOES));
        assert!(one.archived + other.archived >= 2, "{one:?} {other:?}");
        let rest = hosts[1].round(OLD_GOES).await;
        assert_eq!(one.pruned + other.pruned + rest.pruned, 2, "{one:?} {other:?} {rest:?}");
        assert!(hosts[1].verify(0).await.1.is_empty());
        let mut admin = fresh.admin().await;
        let kept: i64 = sqlx::query_scalar("SELECT min(sequence) FROM plinth.audit").fetch_one(&mut admin).await.unwrap();
        assert_eq!(kept, 2 * SEGMENT_RECORDS as i64);
        for sql in [
            "DELETE FROM plinth.audit",
            "TRUNCATE plinth.audit",
            "DELETE FROM plinth.audit_segments",
            "UPDATE plinth.audit_pruned SET leaves = leaves + 1",
            "UPDATE plinth.audit_pruned SET expired = 3",
        ] {
            assert!(admin.execute(sql).await.is_err(), "{sql}");
        }
    }
}
