//! Signing: keys in memory, and the trait for those that are elsewhere.

use super::{KeyError, KeyName, NoteSignature, SignatureType, VerifierKey, key};
use crate::{cosignature, text};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, ML_DSA_44_SIGNING, PqdsaKeyPair};
use std::{fmt, str::FromStr};

/// Bytes of the secret seed, of either algorithm.
const SEED_BYTES: usize = 32;

/// What a signer key begins with.
const PREFIX: &str = "PRIVATE+KEY+";

/// Someone who signs with one key: in memory, or in a device that gives its key to nobody.
///
/// # Contract
/// - `sign_message` gives the bare signature of exactly these bytes: 64 bytes of
///   Ed25519, or 2,420 of ML-DSA-44 with an empty context.
pub trait Signer: Send + Sync {
    /// The public half.
    fn key(&self) -> &VerifierKey;

    /// The bare signature of a message; [`sign`] says what the message is.
    ///
    /// # Errors
    /// [`SignError::Unavailable`] when the key cannot be used now.
    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key's type signs checkpoints only, and this text is none.
    #[error("a key of this type signs checkpoints only")]
    NotACheckpoint,
    /// A name or an origin of more than 255 bytes has no place in an ML-DSA-44 cosignature.
    #[error("the name of the signer or of the log is too long")]
    NameTooLong,
    /// Timestamps end at 2^63 - 1.
    #[error("the timestamp is too large")]
    Timestamp,
    /// There is no room for another signature.
    #[error("the note has as many signatures as it may have")]
    TooMany,
    /// The key cannot be used now.
    #[error("the key could not sign")]
    Unavailable,
}

/// Signs a note's text. `timestamp`, in POSIX seconds, is part of cosignatures and
/// ignored by a plain Ed25519 key. With ML-DSA-44 it may be 0: no statement of time.
///
/// # Errors
/// [`SignError`].
pub fn sign(signer: &dyn Signer, text: &str, timestamp: u64) -> Result<NoteSignature, SignError> {
    let key = signer.key();
    let signature = match key.kind() {
        SignatureType::Ed25519 => signer.sign_message(text.as_bytes())?,
        SignatureType::Cosignature | SignatureType::MlDsa44 => {
            let bare = signer.sign_message(&cosignature::message(key, text, timestamp)?)?;
            cosignature::join(timestamp, &bare)
        }
    };
    Ok(NoteSignature { name: key.name().clone(), key_id: key.id(), signature })
}

/// A signing key in memory. Its text, `PRIVATE+KEY+<name>+<key ID>+<base64 of type and
/// seed>`, is a secret; `Debug` shows the public half only.
pub struct SignerKey {
    key: VerifierKey,
    pair: Pair,
    seed: [u8; SEED_BYTES],
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    MlDsa44(PqdsaKeyPair),
}

impl SignerKey {
    /// The key that this seed stands for. The seed comes from a secure random source.
    ///
    /// # Errors
    /// [`KeyError::Unusable`].
    pub fn from_seed(name: KeyName, kind: SignatureType, seed: [u8; SEED_BYTES]) -> Result<Self, KeyError> {
        let (pair, public) = match kind {
            SignatureType::Ed25519 | SignatureType::Cosignature => {
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::Unusable)?;
                let public = pair.public_key().as_ref().to_vec();
                (Pair::Ed25519(pair), public)
            }
            SignatureType::MlDsa44 => {
                let pair = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, &seed).map_err(|_| KeyError::Unusable)?;
                let public = pair.public_key().as_ref().to_vec();
                (Pair::MlDsa44(pair), public)
            }
        };
        Ok(Self { key: VerifierKey::new(name, kind, public)?, pair, seed })
    }

    /// The secret text, to be stored where nobody else reads it.
    #[must_use]
    pub fn to_secret(&self) -> String {
        let secret = [&[self.key.kind().byte()][..], &self.seed].concat();
        format!("{PREFIX}{}+{:08x}+{}", self.key.name(), self.key.id(), text::to_base64(&secret))
    }
}

impl FromStr for SignerKey {
    type Err = KeyError;

    fn from_str(encoded: &str) -> Result<Self, KeyError> {
        let (name, id, kind, seed) = key::split(encoded.strip_prefix(PREFIX).ok_or(KeyError::Malformed)?)?;
        let signer = Self::from_seed(name, kind, seed.try_into().map_err(|_| KeyError::Length)?)?;
        if signer.key.id() == id { Ok(signer) } else { Err(KeyError::Id) }
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey").field("key", &self.key.to_string()).finish_non_exhaustive()
    }
}

impl Signer for SignerKey {
    fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(|_| SignError::Unavailable),
            Pair::MlDsa44(pair) => {
                let mut signature = vec![0; ML_DSA_44_SIGNING.signature_len()];
                pair.sign(message, &mut signature).map_err(|_| SignError::Unavailable)?;
                Ok(signature)
            }
        }
    }
}
