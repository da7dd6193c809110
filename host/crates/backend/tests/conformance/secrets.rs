//! The key directory against the suite, and what only files can do wrong.

use plinth_backend::secrets::{KeyringSecrets, OVERHEAD, version_of};
use plinth_capability::{
    ErrorKind, Result,
    conformance::secrets::{Rotate, Subject},
    secrets::{DATA_MAX, Secrets},
};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// The directory lives as long as its keys are used.
struct InTemporary(KeyringSecrets, #[expect(dead_code, reason = "held for its drop")] TempDir);

#[async_trait::async_trait]
impl Rotate for InTemporary {
    async fn rotate(&self, key: &str) -> Result<u32> {
        self.0.rotate(key).await
    }

    fn version_of(&self, sealed: &[u8]) -> Option<u32> {
        version_of(sealed)
    }
}

#[async_trait::async_trait]
impl Secrets for InTemporary {
    async fn sign(&self, key: &str, data: &[u8]) -> Result<Vec<u8>> {
        self.0.sign(key, data).await
    }
    async fn verify(&self, key: &str, data: &[u8], signature: &[u8]) -> Result<()> {
        self.0.verify(key, data, signature).await
    }
    async fn seal(&self, key: &str, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>> {
        self.0.seal(key, plaintext, associated_data).await
    }
    async fn unseal(&self, key: &str, sealed: &[u8], associated_data: &[u8]) -> Result<Vec<u8>> {
        self.0.unseal(key, sealed, associated_data).await
    }
    async fn reveal(&self, name: &str) -> Result<Vec<u8>> {
        self.0.reveal(name).await
    }
}

async fn subject() -> Subject {
    let directory = tempfile::tempdir().unwrap();
    let revealable = BTreeMap::from([("smtp-password".to_owned(), b"canary".to_vec())]);
    let secrets = KeyringSecrets::open(&directory.path().join("keys"), revealable).await.unwrap();
    let both = Arc::new(InTemporary(secrets, directory));
    Subject { secrets: both.clone(), rotate: both, configured: "smtp-password".to_owned(), value: b"canary".to_vec() }
}

plinth_capability::secrets_suite!(subject());

async fn open(directory: &Path) -> Result<KeyringSecrets> {
    KeyringSecrets::open(directory, BTreeMap::new()).await
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn keys_come_back_and_only_the_owner_reads_them() {
    let home = tempfile::tempdir().unwrap();
    let keys = home.path().join("keys");
    let first = open(&keys).await.unwrap();
    let sealed = first.seal("cards/id", b"id card", b"").await.unwrap();
    first.rotate("cards/id").await.unwrap();
    drop(first);
    assert_eq!((mode(&keys), mode(&keys.join("cards~id.key"))), (0o700, 0o600));
    let again = open(&keys).await.unwrap();
    assert_eq!(again.unseal("cards/id", &sealed, b"").await.unwrap(), b"id card");
    assert_eq!(version_of(&again.seal("cards/id", b"", b"").await.unwrap()), Some(2));
    fs::set_permissions(keys.join("cards~id.key"), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(open(&keys).await.unwrap_err().kind(), ErrorKind::Failed, "others may read it");
}

#[tokio::test]
async fn a_damaged_key_file_stops_the_start() {
    let home = tempfile::tempdir().unwrap();
    open(home.path()).await.unwrap().sign("webhook", b"").await.unwrap();
    let file = home.path().join("webhook.key");
    let whole = fs::read_to_string(&file).unwrap();
    for damaged in [&whole[..whole.len() - 1], &whole[..whole.len() - 3], &whole.replace("webhook", "Webhook"), ""] {
        fs::write(&file, damaged).unwrap();
        let error = open(home.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed, "{damaged:?}");
        assert!(!error.to_string().contains("webhook"), "no path for a guest: {error}");
    }
    fs::write(&file, whole).unwrap();
    open(home.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_share_a_directory_share_its_keys() {
    let home = tempfile::tempdir().unwrap();
    let (one, other) = (Arc::new(open(home.path()).await.unwrap()), Arc::new(open(home.path()).await.unwrap()));
    let mut signers = JoinSet::new();
    for host in [&one, &other, &one, &other] {
        let host = Arc::clone(host);
        signers.spawn(async move { host.sign("webhook", b"data").await.unwrap() });
    }
    let signatures = signers.join_all().await;
    assert!(signatures.iter().all(|signature| *signature == signatures[0]), "the key is made once");
    let mut rotations = JoinSet::new();
    for host in [&one, &other, &one, &other] {
        let host = Arc::clone(host);
        rotations.spawn(async move { host.rotate("webhook").await.unwrap() });
    }
    let mut versions = rotations.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, [2, 3, 4, 5], "no version is lost");
    let version = one.rotate("webhook").await.unwrap();
    let sealed = one.seal("webhook", b"new", b"").await.unwrap();
    assert_eq!(version_of(&sealed), Some(version));
    assert_eq!(other.unseal("webhook", &sealed, b"").await.unwrap(), b"new", "the other host reads the key again");
    other.verify("webhook", b"data", &one.sign("webhook", b"data").await.unwrap()).await.unwrap();
    other.verify("webhook", b"data", &signatures[0]).await.unwrap();
}

#[tokio::test]
async fn every_count_is_bounded() {
    let home = tempfile::tempdir().unwrap();
    let secrets = open(home.path()).await.unwrap();
    let most = vec![0; DATA_MAX];
    let more = vec![0; DATA_MAX + 1];
    let sealed = secrets.seal("cards", &most, &most).await.unwrap();
    assert_eq!(sealed.len(), DATA_MAX + OVERHEAD);
    assert_eq!(secrets.unseal("cards", &sealed, &most).await.unwrap(), most);
    let refused = [
        secrets.sign("cards", &more).await.err(),
        secrets.verify("cards", &more, b"").await.err(),
        secrets.seal("cards", &more, b"").await.err(),
        secrets.seal("cards", b"", &more).await.err(),
        secrets.unseal("cards", &[sealed, vec![0]].concat(), b"").await.err(),
    ];
    assert_eq!(refused.map(|error| error.unwrap().kind()), [ErrorKind::LimitExceeded; 5]);
    assert_eq!(secrets.rotate("never-used").await.unwrap_err().kind(), ErrorKind::NotFound);
    for version in 2..=64 {
        assert_eq!(secrets.rotate("cards").await.unwrap(), version);
    }
    assert_eq!(secrets.rotate("cards").await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    for i in 1..1_000 {
        fs::write(home.path().join(format!("key-{i}.key")), "").unwrap();
    }
    assert_eq!(secrets.sign("one-more", b"").await.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn bad_names_are_refused_and_checks_make_no_key() {
    let home = tempfile::tempdir().unwrap();
    let secrets = open(home.path()).await.unwrap();
    for name in ["", "../webhook", "a~b", ".lock"] {
        assert_eq!(secrets.sign(name, b"").await.unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
    }
    assert_eq!(secrets.verify("webhook", b"", &[0; 32]).await.unwrap_err().kind(), ErrorKind::Unverified);
    assert!(!home.path().join("webhook.key").exists());
}

#[tokio::test]
async fn debug_shows_nothing() {
    let home = tempfile::tempdir().unwrap();
    let revealable = BTreeMap::from([("smtp-password".to_owned(), b"canary".to_vec())]);
    let secrets = KeyringSecrets::open(home.path(), revealable).await.unwrap();
    secrets.sign("webhook", b"").await.unwrap();
    assert_eq!(format!("{secrets:?}"), "KeyringSecrets { .. }");
}
