//! The audit log's suite over every backend, and what only its file can show.

mod sqlite {
    use crate::support::{audit_record, snapshot};
    use async_trait::async_trait;
    use aws_lc_rs::digest::{SHA256, digest};
    use plinth_backend::{Durability, audit::SqliteAudit};
    use plinth_capability::{
        audit::{AuditEntry, AuditFilter, AuditLog, AuditOutcome, AuditRecord},
        conformance::audit::AuditFixture,
    };
    use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
    use std::sync::Arc;
    use tempfile::TempDir;

    struct Fixture {
        log: Arc<SqliteAudit>,
        dir: TempDir,
        /// Processes that were "killed": what they still do goes to their own files.
        dead: Vec<(Arc<SqliteAudit>, TempDir)>,
    }

    async fn open(dir: &TempDir) -> Arc<SqliteAudit> {
        Arc::new(SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap())
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

    fn record() -> AuditRecord {
        let record = audit_record();
        let outcome = AuditOutcome::Denied { reason: "no".into() };
        let entry = AuditEntry { outcome, attributes: vec![("z".into(), "1".into())], ..record.entry };
        AuditRecord { entry, ..record }
    }

    async fn raw(fixture: &Fixture) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(fixture.dir.path().join("audit.db"))).await.unwrap()
    }

    #[tokio::test]
    async fn the_digest_is_that_of_the_canonical_bytes_in_the_file() {
        let fixture = fixture().await;
        let record = record();
        fixture.log.append(vec![record.clone()]).await.unwrap();
        let bytes: Vec<u8> = sqlx::query_scalar("SELECT bytes FROM records").fetch_one(&mut raw(&fixture).await).await.unwrap();
        let expected = format!(
            concat!(
                r#"{{"actor":"system","entry":{{"action":"a.b","attributes":[["z","1"]],"changes":[],"#,
                r#""outcome":{{"reason":"no","result":"denied"}},"subject":{{"id":"s","kind":"k"}},"summary":""}},"#,
                r#""generation":7,"id":"{}","invocation_id":"i","plugin_digest":"sha256:00","plugin_id":"p","plugin_version":"1.0.0","#,
                r#""recorded_at_ms":1}}"#
            ),
            record.id
        );
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        let leaf = digest(&SHA256, &[&[0], bytes.as_slice()].concat());
        let hex: String = leaf.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(fixture.log.record(&record.id).await.unwrap().unwrap().digest, hex);
    }

    #[tokio::test]
    async fn the_file_refuses_to_change_what_it_holds() {
        let fixture = fixture().await;
        let records: Vec<_> = (0..3).map(|_| record()).collect();
        fixture.log.append(records).await.unwrap();
        let before = fixture.log.find(&AuditFilter::default(), None, 10).await.unwrap();
        let mut raw = raw(&fixture).await;
        for sql in [
            "UPDATE records SET actor = 'x'",
            "UPDATE records SET bytes = x'00' WHERE sequence = 1",
            "DELETE FROM records WHERE sequence = 2",
            "INSERT OR REPLACE INTO records SELECT 1, 'other', 0, '', '', '', '', '', '', x'00'",
            "INSERT OR REPLACE INTO records SELECT 3, id, 0, '', '', '', '', '', '', x'00' FROM records WHERE sequence = 0",
            "INSERT INTO records SELECT 9, 'gap', 0, '', '', '', '', '', '', x'00'",
        ] {
            assert!(sqlx::query(sql).execute(&mut raw).await.is_err(), "{sql}");
        }
        assert_eq!(fixture.log.find(&AuditFilter::default(), None, 10).await.unwrap(), before);
    }

    #[tokio::test]
    async fn a_cursor_of_another_log_is_refused() {
        let (one, other) = (fixture().await, fixture().await);
        for log in [&one.log, &other.log] {
            log.append(vec![record(), record()]).await.unwrap();
        }
        let cursor = one.log.find(&AuditFilter::default(), None, 1).await.unwrap().next.unwrap();
        assert!(other.log.find(&AuditFilter::default(), Some(&cursor), 1).await.is_err());
    }

    #[tokio::test]
    async fn two_processes_share_one_sequence() {
        let fixture = fixture().await;
        let second = open(&fixture.dir).await;
        for expected in 0..6 {
            let log = if expected % 2 == 0 { &fixture.log } else { &second };
            assert_eq!(log.append(vec![record()]).await.unwrap()[0].sequence, expected);
        }
    }

    #[tokio::test]
    async fn a_closed_log_has_stored_what_it_accepted_and_refuses_more() {
        let fixture = fixture().await;
        let mut appends = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let log = Arc::clone(&fixture.log);
            appends.spawn(async move { log.append(vec![record()]).await.is_ok() });
        }
        tokio::task::yield_now().await;
        fixture.log.close().await;
        let accepted = appends.join_all().await.into_iter().filter(|ok| *ok).count();
        assert!(fixture.log.append(vec![record()]).await.is_err());
        let stored = open(&fixture.dir).await.count().await.unwrap();
        assert_eq!(stored, u64::try_from(accepted).unwrap());
    }
}

mod postgres {
    use crate::{postgres::Fresh, support::audit_record};
    use async_trait::async_trait;
    use plinth_backend::audit::{AuditTree, AuditTreeConfig, PostgresAudit};
    use plinth_capability::{
        audit::{AuditFilter, AuditLog, AuditRecord},
        conformance::{audit::AuditFixture, find_all},
    };
    use std::sync::Arc;
    use tokio::task::JoinSet;

    struct Fixture {
        log: Arc<PostgresAudit>,
        fresh: Fresh,
    }

    async fn fixture() -> Fixture {
        let fresh = Fresh::new().await;
        Fixture { log: Arc::new(PostgresAudit::open(fresh.open().await).await.unwrap()), fresh }
    }

    #[async_trait]
    impl AuditFixture for Fixture {
        fn log(&self) -> Arc<dyn AuditLog> {
            self.log.clone()
        }

        async fn reopen(&mut self) {
            self.log = Arc::new(PostgresAudit::open(self.fresh.open().await).await.unwrap());
        }
    }

    plinth_capability::audit_conformance!(fixture());

    fn record() -> AuditRecord {
        AuditRecord { actor: "with a \0 in it".into(), ..audit_record() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hosts_that_append_at_once_share_one_sequence_without_gaps() {
        let fresh = Fresh::new().await;
        let mut hosts = JoinSet::new();
        for _ in 0..3 {
            let log = PostgresAudit::open(fresh.open().await).await.unwrap();
            hosts.spawn(async move {
                for size in [1, 3, 2, 5, 1] {
                    let records: Vec<_> = (0..size).map(|_| record()).collect();
                    let receipts = log.append(records).await.unwrap();
                    assert!(receipts.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence));
                }
            });
        }
        hosts.join_all().await;
        let log = PostgresAudit::open(fresh.open().await).await.unwrap();
        let all = find_all(&log, &AuditFilter::default(), 7).await;
        assert_eq!(all.iter().map(|stored| stored.sequence).collect::<Vec<_>>(), (0..36).collect::<Vec<_>>());
        assert_eq!(log.count().await.unwrap(), 36);
        let of_actor = AuditFilter { actor: Some("with a \0 in it".into()), ..AuditFilter::default() };
        assert_eq!(find_all(&log, &of_actor, 100).await.len(), 36);
    }

    /// Records that filters tell apart in many ways; two of three hundred have a subject that no other has.
    fn varied(number: u64) -> AuditRecord {
        let mut record = audit_record();
        record.recorded_at_ms = 1_000_000 + number * 10 % 7_000;
        record.actor = format!("user:{}", number % 700);
        record.plugin_id = ["orders", "stock"][(number / 600 % 2) as usize].to_owned();
        record.entry.action = ["a.b.c", "a.b", "z"][(number / 300 % 3) as usize].to_owned();
        record.entry.subject.id = if matches!(number % 300, 7 | 8) { format!("rare-{number}") } else { format!("A-{}", number % 50) };
        record
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_marked_is_found_as_what_is_not() {
        let (fixture, outside) = (fixture().await, tempfile::tempdir().unwrap());
        let log = fixture.log.clone();
        let records: Vec<AuditRecord> = (0..2_000).map(varied).collect();
        for batch in records.chunks(500) {
            log.append(batch.to_vec()).await.unwrap();
        }
        let set = |text: &str| Some(text.to_owned());
        let none = AuditFilter::default;
        let filters = [
            AuditFilter { subject_id: set("rare-1507"), ..none() },
            AuditFilter { subject_id: set("rare-1508"), actor: set("user:108"), ..none() },
            AuditFilter { subject_id: set("A-7"), plugin_id: set("stock"), ..none() },
            AuditFilter { actor: set("user:699"), from_ms: Some(1_005_000), ..none() },
            AuditFilter { action_prefix: set("a.b"), until_ms: Some(1_000_500), ..none() },
            AuditFilter { from_ms: Some(9_000_000), ..none() },
            AuditFilter { outcome: set("success"), action_prefix: set("z"), ..none() },
            AuditFilter { subject_id: set("nobody's"), ..none() },
        ];
        let mut before = Vec::new();
        for filter in &filters {
            before.push(find_all(log.as_ref(), filter, 100).await);
        }
        assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 13, 2, 100, 0, 600, 0]);
        let config = AuditTreeConfig {
            origin: None,
            key: outside.path().join("key"),
            checkpoints: outside.path().join("checkpoints"),
            archive: None,
        };
        AuditTree::over_postgres(log.clone(), config).await.unwrap();
        let mut admin = fixture.fresh.admin().await;
        let marked: i64 =
            sqlx::query_scalar("SELECT count(*) FROM plinth.audit_marks WHERE bits IS NOT NULL").fetch_one(&mut admin).await.unwrap();
        assert_eq!(marked, 2_000 / 256);
        for (filter, before) in filters.iter().zip(&before) {
            for limit in [3, 100, 1_000] {
                assert_eq!(&find_all(log.as_ref(), filter, limit).await, before, "{filter:?} {limit}");
            }
        }
        // What a mark denies is not even read.
        let empty = "SET session_replication_role = replica; UPDATE plinth.audit_marks SET bits = '\\x0000000000000000' WHERE stretch = 5";
        sqlx::raw_sql(empty).execute(&mut admin).await.unwrap();
        assert!(find_all(log.as_ref(), &filters[0], 100).await.is_empty());
        assert_eq!(find_all(log.as_ref(), &AuditFilter::default(), 1_000).await.len(), 2_000);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn calls_that_share_a_statement_have_their_own_answers() {
        let fixture = fixture().await;
        let (log, stored) = (fixture.log.clone(), audit_record());
        let first = log.append(vec![stored.clone()]).await.unwrap();
        let mut calls = JoinSet::new();
        for number in 0..200 {
            // Every tenth repeats what is stored, which must not keep the others from being stored once.
            let mine = if number % 10 == 0 { stored.clone() } else { audit_record() };
            let (log, first) = (log.clone(), first.clone());
            calls.spawn(async move {
                let receipts = log.append(vec![mine.clone()]).await.unwrap();
                assert_eq!(receipts[0].id, mine.id);
                assert_eq!(log.record(&mine.id).await.unwrap().unwrap().sequence, receipts[0].sequence);
                assert!(number % 10 != 0 || receipts == first);
            });
        }
        calls.join_all().await;
        assert_eq!(log.count().await.unwrap(), 181);
        let all = find_all(log.as_ref(), &AuditFilter::default(), 1_000).await;
        assert_eq!(all.iter().map(|stored| stored.sequence).collect::<Vec<_>>(), (0..181).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_table_refuses_to_change_what_it_holds() {
        let fixture = fixture().await;
        fixture.log.append(vec![record(), record()]).await.unwrap();
        let mut admin = fixture.fresh.admin().await;
        for sql in
            ["UPDATE plinth.audit SET bytes = 'x'", "DELETE FROM plinth.audit_marks", "DELETE FROM plinth.audit", "TRUNCATE plinth.audit"]
        {
            assert!(sqlx::query(sql).execute(&mut admin).await.is_err(), "{sql}");
        }
        assert_eq!(fixture.log.count().await.unwrap(), 2);
    }
}
