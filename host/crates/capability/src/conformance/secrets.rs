//! The suite of the secrets capability: one case per bullet of its contract.
#![expect(clippy::expect_used, reason = "a suite fails by panicking")]

use crate::{Error, ErrorKind, Result, secrets::Secrets};
use async_trait::async_trait;
use std::{fmt::Debug, sync::Arc};

/// Rotation is the operator's, not part of the capability, so each backend says how.
#[async_trait]
pub trait Rotate: Send + Sync {
    /// Makes a new version of the key current; answers its number.
    async fn rotate(&self, key: &str) -> Result<u32>;
    /// The version of the key that a sealed value names.
    fn version_of(&self, sealed: &[u8]) -> Option<u32>;
}

/// Secrets under test, where only `configured` can be revealed, as `value`.
pub struct Subject {
    pub secrets: Arc<dyn Secrets>,
    pub rotate: Arc<dyn Rotate>,
    pub configured: String,
    pub value: Vec<u8>,
}

/// Runs every case over `$make`, an async expression that yields a fresh [`Subject`].
#[macro_export]
macro_rules! secrets_suite {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::secrets, $make;
            sign_verifies,
            other_data_is_unverified,
            seal_unseals,
            changed_seal_is_unverified,
            seals_differ,
            rotated_key_still_unseals,
            unknown_secret_is_not_found,
        }
    };
}

fn unverified<T: Debug>(answer: Result<T>) {
    assert_eq!(answer.as_ref().map_err(Error::kind).expect_err("does not verify"), ErrorKind::Unverified);
}

/// Every way to change one byte, and every way to cut the end off.
fn changed(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let flipped = (0..bytes.len()).map(|i| bytes.iter().enumerate().map(|(at, byte)| if at == i { byte ^ 1 } else { *byte }).collect());
    let cut = (0..bytes.len()).map(|keep| bytes.iter().take(keep).copied().collect());
    flipped.chain(cut)
}

pub async fn sign_verifies(s: Subject) {
    for data in [&b""[..], b"payload", &vec![7; 100_000]] {
        let signature = s.secrets.sign("webhook", data).await.expect("signs");
        assert_eq!(signature.len(), 32);
        s.secrets.verify("webhook", data, &signature).await.expect("verifies");
    }
}

pub async fn other_data_is_unverified(s: Subject) {
    let signature = s.secrets.sign("webhook", b"payload").await.expect("signs");
    s.secrets.sign("another", b"payload").await.expect("signs");
    unverified(s.secrets.verify("webhook", b"payloae", &signature).await);
    unverified(s.secrets.verify("another", b"payload", &signature).await);
    unverified(s.secrets.verify("never-used", b"payload", &signature).await);
    for signature in changed(&signature) {
        unverified(s.secrets.verify("webhook", b"payload", &signature).await);
    }
}

pub async fn seal_unseals(s: Subject) {
    for plaintext in [&b""[..], b"id card", &vec![7; 100_000]] {
        let sealed = s.secrets.seal("cards", plaintext, b"A-2026-000123").await.expect("seals");
        assert_eq!(s.secrets.unseal("cards", &sealed, b"A-2026-000123").await.expect("unseals"), plaintext);
    }
    let sealed = s.secrets.seal("cards", b"canary", b"").await.expect("seals");
    assert!(!sealed.windows(6).any(|part| part == b"canary"), "sealed is not readable");
}

pub async fn changed_seal_is_unverified(s: Subject) {
    let sealed = s.secrets.seal("cards", b"id card", b"owner").await.expect("seals");
    s.secrets.seal("another", b"id card", b"owner").await.expect("seals");
    for sealed in changed(&sealed) {
        unverified(s.secrets.unseal("cards", &sealed, b"owner").await);
    }
    unverified(s.secrets.unseal("cards", &sealed, b"ownes").await);
    unverified(s.secrets.unseal("cards", &sealed, b"").await);
    unverified(s.secrets.unseal("another", &sealed, b"owner").await);
    unverified(s.secrets.unseal("never-used", &sealed, b"owner").await);
}

pub async fn seals_differ(s: Subject) {
    let first = s.secrets.seal("cards", b"id card", b"").await.expect("seals");
    assert_ne!(first, s.secrets.seal("cards", b"id card", b"").await.expect("seals"));
}

pub async fn rotated_key_still_unseals(s: Subject) {
    let old = s.secrets.seal("cards", b"old", b"").await.expect("seals");
    let signature = s.secrets.sign("cards", b"data").await.expect("signs");
    let version = s.rotate.rotate("cards").await.expect("rotates");
    let new = s.secrets.seal("cards", b"new", b"").await.expect("seals");
    assert_eq!(s.rotate.version_of(&new), Some(version));
    assert_ne!(s.rotate.version_of(&old), Some(version));
    assert_eq!(s.secrets.unseal("cards", &old, b"").await.expect("unseals"), b"old");
    assert_eq!(s.secrets.unseal("cards", &new, b"").await.expect("unseals"), b"new");
    s.secrets.verify("cards", b"data", &signature).await.expect("an old signature verifies");
    assert_ne!(s.secrets.sign("cards", b"data").await.expect("signs"), signature, "new signatures use the new version");
}

pub async fn unknown_secret_is_not_found(s: Subject) {
    assert_eq!(s.secrets.reveal(&s.configured).await.expect("reveals"), s.value);
    s.secrets.sign("webhook", b"data").await.expect("signs");
    for name in ["missing", "webhook", "../etc/passwd", ""] {
        assert_eq!(s.secrets.reveal(name).await.expect_err("not found").kind(), ErrorKind::NotFound, "{name:?}");
    }
}
