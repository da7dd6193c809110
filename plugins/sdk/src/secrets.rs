//! Keys a plugin uses without ever seeing them, and, rarely, secrets it reads.

pub use crate::bindings::plinth::secrets::secret_types::{Error, Failure};
use crate::bindings::plinth::secrets::{keys, reveal};

/// The result of a secrets call.
pub type Result<T> = std::result::Result<T, Error>;

/// HMAC-SHA-256 under a granted key.
pub fn sign(key: &str, data: &[u8]) -> Result<Vec<u8>> {
    keys::sign(key, data)
}

/// Constant-time check; `VerificationFailed` if it does not match.
pub fn verify(key: &str, data: &[u8], signature: &[u8]) -> Result<()> {
    keys::verify(key, data, signature)
}

/// Authenticated encryption, bound to `associated_data`.
pub fn seal(key: &str, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>> {
    keys::seal(key, plaintext, associated_data)
}

/// Opens what [`seal`] made under the same key and associated data.
pub fn unseal(key: &str, sealed: &[u8], associated_data: &[u8]) -> Result<Vec<u8>> {
    keys::unseal(key, sealed, associated_data)
}

/// Reads a secret into the plugin's memory; audited by the host.
pub fn read(name: &str) -> Result<Vec<u8>> {
    reveal::reveal(name)
}
