//! What only shows behind the contract: ageing, restored backups, missing folders, wrong clocks, hosts at once.

use super::{DAY_MS, PersonKeeper, PersonsConfig, store::PersonStore};
use crate::{
    Durability,
    audit::{Renewed, SqliteAudit},
};
use plinth_capability::{
    ErrorKind,
    audit::{AuditEntry, AuditLog, AuditOutcome, AuditRecord, Subject},
    persons::{Personal, Persons},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tempfile::TempDir;

/// A clock that stands still until it is told otherwise.
const BEGIN: u64 = 1_800_000_000_000;

struct Site {
    dir: TempDir,
    log: Arc<SqliteAudit>,
    now: Arc<AtomicU64>,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = Arc::new(SqliteAudit::open(&dir.path().join("audit.db"), Durability::Process).await.unwrap());
        Self { dir, log, now: Arc::new(AtomicU64::new(BEGIN)) }
    }

    fn keys(&self) -> PathBuf {
        self.dir.path().join("mount").join("keys")
    }

    fn days(&self, days: u64) {
        self.now.fetch_add(days * DAY_MS, Ordering::Relaxed);
    }

    async fn host(&self) -> plinth_capability::Result<PersonKeeper> {
        let now = self.now.clone();
        let config = PersonsConfig { clock: Arc::new(move || now.load(Ordering::Relaxed)), ..PersonsConfig::new(self.keys()) };
        PersonKeeper::over_sqlite(self.log.clone(), self.log.clone(), config).await
    }

    /// The files of the folder, by name, but drafts and erasures.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.keys()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "erased" && name != "pepper").collect();
        names.sort();
        names
    }
}

fn record() -> AuditRecord {
    AuditRecord {
        id: uuid::Uuid::now_v7().to_string(),
        recorded_at_ms: 1,
        actor: "key:ops".to_owned(),
        plugin_id: "p".to_owned(),
        plugin_version: String::new(),
        plugin_digest: String::new(),
        spooled_at_ms: None,
        generation: 0,
        invocation_id: String::new(),
        entry: AuditEntry {
            action: "a.b".to_owned(),
            subject: Subject { kind: "k".to_owned(), id: "s".to_owned() },
            outcome: AuditOutcome::Success,
            summary: String::new(),
            changes: Vec::new(),
            attributes: Vec::new(),
            personal: None,
            sealed: Vec::new(),
        },
    }
}

fn about(person: &str) -> AuditRecord {
    let mut record = record();
    record.entry.personal = Some(Personal { person: person.to_owned(), fields: vec![("phone".to_owned(), "5550117".to_owned())] });
    record
}

async fn kind<T>(work: impl Future<Output = plinth_capability::Result<T>>) -> Option<ErrorKind> {
    work.await.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_restored_backup_is_closed_once_its_generation_has_aged_out() {
    let site = Site::new().await;
    let host = site.host().await.unwrap();
    let (erased, kept) = (host.seal(about("erased")).await.unwrap(), host.seal(about("kept")).await.unwrap());
    let backup = site.log.under(1, "", 10).await.unwrap();
    assert_eq!(backup.len(), 2);
    host.erase("erased", record()).await.unwrap().unwrap();
    site.days(29);
    assert_eq!(host.renew().await.unwrap(), Renewed::default());
    site.days(1);
    assert_eq!(host.renew().await.unwrap(), Renewed { made: 1, moved: 1, ..Renewed::default() });
    assert_eq!(site.files(), ["1.key", "1.left", "2.key"]);

    // Restored within the time: the erased stay closed, the others open, and the next round puts things right.
    let restore = async || {
        for row in &backup {
            site.log
                .remove(&row.pseudonym, &site.log.person(&row.pseudonym).await.unwrap().map_or(String::new(), |row| row.key))
                .await
                .unwrap();
            assert_eq!(&site.log.add(row.clone()).await.unwrap(), row);
        }
    };
    restore().await;
    assert_eq!(kind(host.open(&erased)).await, Some(ErrorKind::NotFound));
    assert_eq!(host.open(&kept).await.unwrap()[0].1, "5550117");
    site.days(29);
    assert_eq!(host.renew().await.unwrap(), Renewed { moved: 1, ..Renewed::default() });
    assert!(site.log.under(1, "", 10).await.unwrap().is_empty(), "the row of the erased is gone again");
    site.days(1);
    // A host was stopped while it made this one.
    fs::copy(site.keys().join("1.key"), site.keys().join("1.0a.draft")).unwrap();
    assert_eq!(host.renew().await.unwrap(), Renewed { made: 1, moved: 1, destroyed: 1, ..Renewed::default() });
    assert_eq!(site.files(), ["1.left", "2.key", "2.left", "3.key"], "30 days after the last key left it");
    assert_eq!(host.open(&kept).await.unwrap()[0].1, "5550117", "who was not erased is moved on and on");

    // Restored afterwards: closed, and not by what the folder remembers of erasures.
    fs::remove_dir_all(site.keys().join("erased")).unwrap();
    fs::create_dir(site.keys().join("erased")).unwrap();
    restore().await;
    let restored = site.host().await.unwrap();
    for record in [&erased, &kept] {
        assert_eq!(kind(restored.open(record)).await, Some(ErrorKind::NotFound));
    }
    assert_eq!(restored.renew().await.unwrap(), Renewed::default(), "what is closed is not looked at again");
    assert_eq!(site.log.under(1, "", 10).await.unwrap().len(), 2);
    // Whoever is written about again gets another key.
    let again = restored.seal(about("erased")).await.unwrap();
    assert_eq!(restored.open(&again).await.unwrap()[0].1, "5550117");
    assert_eq!(kind(restored.open(&erased)).await, Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn what_aged_out_while_no_host_ran_is_destroyed_before_anything_is_moved() {
    let site = Site::new().await;
    let host = site.host().await.unwrap();
    let sealed = host.seal(about("p")).await.unwrap();
    let backup = site.log.under(1, "", 10).await.unwrap().remove(0);
    site.days(30);
    host.renew().await.unwrap();
    host.erase("p", record()).await.unwrap().unwrap();
    fs::remove_dir_all(site.keys().join("erased")).unwrap();
    fs::create_dir(site.keys().join("erased")).unwrap();
    site.days(300);
    site.log.add(backup).await.unwrap();
    let host = site.host().await.unwrap();
    let Renewed { destroyed, moved, .. } = host.renew().await.unwrap();
    assert_eq!((destroyed, moved), (1, 0));
    assert_eq!(kind(host.open(&sealed)).await, Some(ErrorKind::NotFound));
}

#[tokio::test]
async fn a_folder_that_is_not_the_one_is_refused() {
    let site = Site::new().await;
    let host = site.host().await.unwrap();
    let sealed = host.seal(about("p")).await.unwrap();
    let (mount, away) = (site.dir.path().join("mount"), site.dir.path().join("away"));
    // While it runs: nothing new is begun in the empty mount, and it is told.
    fs::rename(&mount, &away).unwrap();
    fs::create_dir_all(site.keys().join("erased")).unwrap();
    assert_eq!(kind(host.seal(about("new"))).await, Some(ErrorKind::Unavailable));
    assert_eq!(kind(host.open(&sealed)).await, Some(ErrorKind::Unavailable));
    assert_eq!(kind(host.erase("p", record())).await, Some(ErrorKind::Unavailable));
    assert_eq!(kind(host.renew()).await, Some(ErrorKind::Unavailable));
    assert_eq!(kind(host.health()).await, Some(ErrorKind::Unavailable));
    assert_eq!(site.files(), [""; 0]);
    // At a start: neither an empty folder nor none.
    fs::remove_dir(site.keys().join("erased")).unwrap();
    assert_eq!(kind(site.host()).await, Some(ErrorKind::Unavailable));
    assert_eq!(fs::read_dir(site.keys()).unwrap().count(), 0, "nothing is put into it");
    fs::remove_dir_all(&mount).unwrap();
    assert_eq!(kind(site.host()).await, Some(ErrorKind::Unavailable));
    assert!(!mount.exists());
    // Nor that of another log.
    let other = Site::new().await;
    other.host().await.unwrap();
    fs::create_dir(&mount).unwrap();
    fs::rename(other.keys(), site.keys()).unwrap();
    assert_eq!(kind(site.host()).await, Some(ErrorKind::Unavailable));
    // Back again, all is well; but keys that others may read are not used.
    fs::remove_dir_all(&mount).unwrap();
    fs::rename(&away, &mount).unwrap();
    host.renew().await.unwrap();
    assert_eq!(kind(host.health()).await, None);
    assert_eq!(site.host().await.unwrap().open(&sealed).await.unwrap()[0].1, "5550117");
    fs::set_permissions(site.keys().join("1.key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(kind(host.open(&sealed)).await, Some(ErrorKind::Unavailable));
}

#[tokio::test]
async fn a_key_that_is_lost_is_not_taken_for_destroyed() {
    let site = Site::new().await;
    let host = site.host().await.unwrap();
    let sealed = host.seal(about("p")).await.unwrap();
    site.days(30);
    fs::copy(site.keys().join("1.key"), site.dir.path().join("1.key")).unwrap();
    // Two generations, and the row still under the first.
    let row = site.log.under(1, "", 1).await.unwrap().remove(0);
    host.renew().await.unwrap();
    site.log.remove(&row.pseudonym, &row.key).await.unwrap();
    site.log.add(row).await.unwrap();
    fs::remove_file(site.keys().join("1.key")).unwrap();
    fs::remove_file(site.keys().join("1.left")).unwrap();
    let host = site.host().await.unwrap();
    assert_eq!(kind(host.open(&sealed)).await, Some(ErrorKind::Unavailable));
    assert_eq!(kind(host.seal(about("p"))).await, Some(ErrorKind::Unavailable), "no second key beside the first");
    fs::copy(site.dir.path().join("1.key"), site.keys().join("1.key")).unwrap();
    assert_eq!(host.open(&sealed).await.unwrap()[0].1, "5550117");
}

#[tokio::test]
async fn a_date_in_the_future_stops_nothing() {
    let site = Site::new().await;
    site.days(3_650);
    let host = site.host().await.unwrap();
    let sealed = host.seal(about("p")).await.unwrap();
    site.now.store(BEGIN, Ordering::Relaxed);
    assert_eq!(host.renew().await.unwrap(), Renewed { made: 1, moved: 1, ..Renewed::default() });
    assert_eq!(host.renew().await.unwrap(), Renewed::default(), "once");
    site.days(29);
    assert_eq!(host.renew().await.unwrap(), Renewed::default());
    // As if it had been left when the clock was wrong: it counts from now.
    fs::write(site.keys().join("1.left"), format!("{}\n", BEGIN + 3_650 * DAY_MS)).unwrap();
    host.renew().await.unwrap();
    site.days(29);
    assert_eq!(host.renew().await.unwrap().destroyed, 0);
    site.days(1);
    assert_eq!(host.renew().await.unwrap().destroyed, 1);
    assert_eq!(host.open(&sealed).await.unwrap()[0].1, "5550117");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hosts_that_renew_at_once_make_one_generation() {
    let site = Site::new().await;
    let first = site.host().await.unwrap();
    let mut sealed = Vec::new();
    for number in 0..20 {
        sealed.push(first.seal(about(&number.to_string())).await.unwrap());
    }
    for round in 2..5 {
        site.days(30);
        let mut hosts = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let host = site.host().await.unwrap();
            hosts.spawn(async move {
                let renewed = host.renew().await.unwrap();
                (renewed, host.seal(about("meanwhile")).await.unwrap())
            });
        }
        let all = hosts.join_all().await;
        assert_eq!(all.iter().map(|(renewed, _)| renewed.made).sum::<u64>(), 1, "{all:?}");
        sealed.extend(all.into_iter().map(|(_, sealed)| sealed));
        assert_eq!(site.log.known().await.unwrap().newest, round);
    }
    for record in &sealed {
        assert_eq!(first.open(record).await.unwrap()[0].1, "5550117");
    }
}

#[tokio::test]
async fn many_are_moved_in_steps_and_one_that_is_damaged_holds_nobody_up() {
    let site = Site::new().await;
    let host = site.host().await.unwrap();
    let mut rows = Vec::new();
    for number in 0..1_203 {
        rows.push(host.fresh(&format!("~{number:04}")).await.unwrap());
    }
    rows[700].wrapped[20] ^= 1;
    for row in rows.clone() {
        site.log.add(row).await.unwrap();
    }
    site.days(30);
    assert_eq!(host.renew().await.unwrap(), Renewed { made: 1, moved: 1_202, damaged: 1, ..Renewed::default() });
    assert_eq!(kind(host.health()).await, Some(ErrorKind::Failed));
    assert_eq!(site.log.under(1, "", 10).await.unwrap(), [rows[700].clone()]);
    assert_eq!(site.files(), ["1.key", "2.key"], "not left");
    site.log.remove(&rows[700].pseudonym, &rows[700].key).await.unwrap();
    assert_eq!(host.renew().await.unwrap(), Renewed::default());
    assert_eq!(kind(host.health()).await, None);
    assert_eq!(site.files(), ["1.key", "1.left", "2.key"]);
}

#[tokio::test]
async fn an_erasure_that_was_cut_off_is_repeated_under_one_record() {
    let site = Site::new().await;
    let host = site.host().await.unwrap();
    let sealed = host.seal(about("p")).await.unwrap();
    let row = site.log.under(1, "", 1).await.unwrap().remove(0);
    let receipt = host.erase("p", record()).await.unwrap().unwrap();
    // As if the host had been stopped before the row was removed.
    site.log.add(row).await.unwrap();
    let host = site.host().await.unwrap();
    assert_eq!(kind(host.open(&sealed)).await, Some(ErrorKind::NotFound), "closed from the first step on");
    assert_eq!(host.erase("p", record()).await.unwrap().unwrap(), receipt);
    assert_eq!(site.log.count().await.unwrap(), 1);
    assert!(host.erase("p", record()).await.unwrap().is_none());
}
