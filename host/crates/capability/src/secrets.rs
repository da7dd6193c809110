//! The secrets capability: use a key without holding it.

use crate::Result;
use async_trait::async_trait;

/// Guest-controlled: bytes of one plaintext or of the data to sign.
pub const DATA_MAX: usize = 1 << 20;

/// # Contract
///
/// - `sign_verifies`: what `sign` made, `verify` accepts under the same key name; HMAC-SHA-256, 32 bytes.
/// - `other_data_is_unverified`: other data, another key or a changed signature is `Unverified`.
/// - `seal_unseals`: `unseal` gives back what `seal` took under the same key and associated data.
/// - `changed_seal_is_unverified`: any changed byte, other associated data or another key is `Unverified`.
/// - `seals_differ`: sealing the same plaintext twice gives different bytes.
/// - `rotated_key_still_unseals`: after a rotation new seals name the new version and old ones still open.
/// - `unknown_secret_is_not_found`: `reveal` of a name that is not configured is `NotFound`.
#[async_trait]
pub trait Secrets: Send + Sync {
    async fn sign(&self, key: &str, data: &[u8]) -> Result<Vec<u8>>;
    async fn verify(&self, key: &str, data: &[u8], signature: &[u8]) -> Result<()>;
    async fn seal(&self, key: &str, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>>;
    async fn unseal(&self, key: &str, sealed: &[u8], associated_data: &[u8]) -> Result<Vec<u8>>;
    async fn reveal(&self, name: &str) -> Result<Vec<u8>>;
}
