//! Persons over every store of the log, and what only a whole log shows: that it verifies before and after an erasure.

use crate::support::audit_record;
use plinth_capability::{
    audit::AuditRecord,
    persons::{Personal, Persons},
};
use std::{path::Path, sync::Arc};

fn about(person: &str) -> AuditRecord {
    let mut record = audit_record();
    record.actor = format!("user:{person}");
    record.entry.personal = Some(Personal { person: person.to_owned(), fields: vec![("phone".to_owned(), "5550117".to_owned())] });
    record
}

/// Whether any file below the folder has the text in it.
fn somewhere(folder: &Path, text: &str) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let found = match path.is_dir() {
            true => somewhere(&path, text),
            false => std::fs::read(&path).unwrap().windows(text.len()).any(|part| part == text.as_bytes()).then_some(path),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

mod sqlite {
    use super::*;
    use crate::support::snapshot;
    use async_trait::async_trait;
    use plinth_audit::{
        policy::Policy,
        verify::{CanonicalEntries, FetchError, Request, Source, verify},
    };
    use plinth_backend::{
        Durability,
        audit::{AuditTree, AuditTreeConfig, PersonKeeper, PersonsConfig, PseudonymousAudit, SqliteAudit},
    };
    use plinth_capability::{audit::AuditLog, conformance::persons::PersonsFixture, transparency::Transparency};
    use std::{collections::HashMap, num::NonZeroUsize};
    use tempfile::TempDir;

    struct Fixture {
        log: Arc<SqliteAudit>,
        keeper: Arc<PersonKeeper>,
        dir: TempDir,
        keys: TempDir,
        /// Processes that were "killed": what they still do goes to their own files.
        dead: Vec<(Arc<SqliteAudit>, TempDir)>,
    }

    async fn open(dir: &TempDir, keys: &TempDir) -> (Arc<SqliteAudit>, Arc<PersonKeeper>) {
        let log = Arc::new(SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap());
        let config = PersonsConfig::new(keys.path().join("persons"));
        let keeper = PersonKeeper::over_sqlite(log.clone(), log.clone(), config).await.unwrap();
        (log, Arc::new(keeper))
    }

    async fn fixture() -> Fixture {
        let (dir, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (log, keeper) = open(&dir, &keys).await;
        Fixture { log, keeper, dir, keys, dead: Vec::new() }
    }

    #[async_trait]
    impl PersonsFixture for Fixture {
        fn persons(&self) -> Arc<dyn Persons> {
            self.keeper.clone()
        }

        fn log(&self) -> Arc<dyn AuditLog> {
            self.log.clone()
        }

        async fn reopen(&mut self) {
            let dir = snapshot(&self.dir, "audit.db");
            let (log, keeper) = open(&dir, &self.keys).await;
            self.keeper = keeper;
            self.dead.push((std::mem::replace(&mut self.log, log), std::mem::replace(&mut self.dir, dir)));
        }
    }

    plinth_capability::persons_conformance!(fixture());

    /// A tree's files as a host serves them.
    struct Files(HashMap<String, Vec<u8>>);

    impl Source for Files {
        fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FetchError> {
            Ok(self.0.get(path).cloned())
        }
    }

    async fn files(tree: &AuditTree) -> (Files, Policy) {
        let view = tree.trees().await.unwrap().remove(0);
        let mut files = HashMap::from([("checkpoint".to_owned(), tree.checkpoint(0).await.unwrap().unwrap().into_bytes())]);
        let hashes = plinth_audit::tile::new_tiles(0, view.signed).map(|tile| tile.path());
        for path in hashes.chain(plinth_audit::tile::new_bundles(0, view.signed).map(|bundle| bundle.to_string())) {
            let bytes = tree.tile(0, &path).await.unwrap().unwrap();
            files.insert(path, bytes.to_vec());
        }
        let policy = Policy::parse(format!("log {}\nquorum none\n", view.verifier_key).as_bytes()).unwrap();
        (Files(files), policy)
    }

    async fn is_sound(tree: &AuditTree) -> u64 {
        tree.step().await.unwrap();
        let (files, policy) = files(tree).await;
        let report = verify(&files, &CanonicalEntries, &Request { policy: &policy, since: &[], threads: NonZeroUsize::MIN });
        assert!(report.is_sound(), "{:?}", report.findings.list());
        report.records
    }

    #[tokio::test]
    async fn a_log_verifies_before_and_after_an_erasure_and_never_says_who() {
        let fixture = fixture().await;
        let outside = tempfile::tempdir().unwrap();
        let (key, checkpoints) = (outside.path().join("key"), outside.path().join("checkpoints"));
        let config = AuditTreeConfig { origin: None, key, checkpoints, archive: None };
        let tree = AuditTree::over_sqlite(fixture.log.clone(), config).await.unwrap();
        let log = PseudonymousAudit::new(fixture.log.clone(), fixture.keeper.clone());
        let receipt = log.append(vec![about("person-4711")]).await.unwrap().remove(0);
        let stored = log.record(&receipt.id).await.unwrap().unwrap().record;
        assert_eq!(is_sound(&tree).await, 1);
        assert_eq!(fixture.keeper.open(&stored).await.unwrap()[0].1, "5550117");
        fixture.keeper.erase("person-4711", audit_record()).await.unwrap().unwrap();
        assert_eq!(is_sound(&tree).await, 2);
        assert!(fixture.keeper.open(&stored).await.is_err());
        for clear in ["person-4711", "5550117"] {
            assert_eq!(somewhere(fixture.dir.path(), clear), None, "{clear}");
        }
        assert!(somewhere(fixture.dir.path(), "subject.erased").is_some(), "what is looked for would be found");
    }

    #[tokio::test]
    async fn an_actor_is_found_under_both_names() {
        let fixture = fixture().await;
        let mut old = audit_record();
        old.actor = "user:4711".to_owned();
        fixture.log.append(vec![old]).await.unwrap();
        let log = PseudonymousAudit::new(fixture.log.clone(), fixture.keeper.clone());
        log.append(vec![about("4711"), about("4712")]).await.unwrap();
        let by = |actor: &str| plinth_capability::audit::AuditFilter { actor: Some(actor.to_owned()), ..Default::default() };
        let found = log.find(&by("user:4711"), None, 10).await.unwrap().records;
        assert_eq!(found.iter().map(|stored| stored.sequence).collect::<Vec<_>>(), [0, 1]);
        let pseudonym = found[1].record.actor.clone();
        assert_eq!(log.find(&by(&pseudonym), None, 10).await.unwrap().records.len(), 1);
        assert!(log.find(&by("user:4713"), None, 10).await.unwrap().records.is_empty());
    }
}

mod postgres {
    use super::*;
    use crate::postgres::Fresh;
    use async_trait::async_trait;
    use plinth_backend::audit::{PersonKeeper, PersonsConfig, PostgresAudit, Renewed};
    use plinth_capability::{ErrorKind, audit::AuditLog, conformance::persons::PersonsFixture, now_ms};
    use std::sync::atomic::{AtomicU64, Ordering};
    use tempfile::TempDir;

    const MONTH_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

    struct Fixture {
        log: Arc<PostgresAudit>,
        keeper: Arc<PersonKeeper>,
        fresh: Fresh,
        keys: TempDir,
        now: Arc<AtomicU64>,
    }

    impl Fixture {
        async fn new() -> Self {
            let (fresh, keys, now) = (Fresh::new().await, tempfile::tempdir().unwrap(), Arc::new(AtomicU64::new(now_ms())));
            let (log, keeper) = open(&fresh, &keys, &now).await;
            Self { log, keeper, fresh, keys, now }
        }

        async fn rows(&self) -> i64 {
            sqlx::query_scalar("SELECT count(*) FROM plinth.audit_persons").fetch_one(&mut self.fresh.admin().await).await.unwrap()
        }
    }

    async fn open(fresh: &Fresh, keys: &TempDir, now: &Arc<AtomicU64>) -> (Arc<PostgresAudit>, Arc<PersonKeeper>) {
        let log = Arc::new(PostgresAudit::open(fresh.open().await).await.unwrap());
        let now = now.clone();
        let clock = Arc::new(move || now.load(Ordering::Relaxed));
        let config = PersonsConfig { clock, ..PersonsConfig::new(keys.path().join("persons")) };
        let keeper = PersonKeeper::over_postgres(log.clone(), log.clone(), config).await.unwrap();
        (log, Arc::new(keeper))
    }

    #[async_trait]
    impl PersonsFixture for Fixture {
        fn persons(&self) -> Arc<dyn Persons> {
            self.keeper.clone()
        }

        fn log(&self) -> Arc<dyn AuditLog> {
            self.log.clone()
        }

        async fn reopen(&mut self) {
            (self.log, self.keeper) = open(&self.fresh, &self.keys, &self.now).await;
        }
    }

    plinth_capability::persons_conformance!(Fixture::new());

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn hosts_renew_at_once_and_an_aged_backup_opens_nothing() {
        let site = Fixture::new().await;
        let mut sealed = Vec::new();
        for number in 0..1_100 {
            sealed.push(site.keeper.seal(about(&number.to_string())).await.unwrap());
        }
        let mut admin = site.fresh.admin().await;
        sqlx::query("CREATE TABLE backup AS SELECT * FROM plinth.audit_persons").execute(&mut admin).await.unwrap();
        let (_, second) = open(&site.fresh, &site.keys, &site.now).await;
        for _ in 0..2 {
            site.now.fetch_add(MONTH_MS, Ordering::Relaxed);
            let (one, other) = tokio::join!(site.keeper.renew(), second.renew());
            let (one, other) = (one.unwrap(), other.unwrap());
            assert_eq!(one.made + other.made, 1);
            assert!(one.moved + other.moved >= 1_100, "{one:?} {other:?}");
        }
        site.keeper.erase("7", audit_record()).await.unwrap().unwrap();
        assert_eq!(site.rows().await, 1_099);
        for (number, record) in sealed.iter().enumerate() {
            let opened = second.open(record).await.map(|fields| fields[0].1.clone()).map_err(|e| e.kind());
            assert_eq!(opened, if number == 7 { Err(ErrorKind::NotFound) } else { Ok("5550117".to_owned()) }, "{number}");
        }
        sqlx::raw_sql("DELETE FROM plinth.audit_persons; INSERT INTO plinth.audit_persons SELECT * FROM backup")
            .execute(&mut admin)
            .await
            .unwrap();
        std::fs::remove_dir_all(site.keys.path().join("persons/erased")).unwrap();
        std::fs::create_dir(site.keys.path().join("persons/erased")).unwrap();
        assert_eq!(site.keeper.open(&sealed[7]).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(site.keeper.renew().await.unwrap(), Renewed::default());
    }
}
