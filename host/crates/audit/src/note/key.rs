//! Verifier keys: a name, the type of its signatures, and the public key.

use super::NoteSignature;
use crate::{cosignature, hash::sha256, text};
use aws_lc_rs::signature::{ED25519, ML_DSA_44, UnparsedPublicKey};
use std::{fmt, str::FromStr};

/// Bytes of an Ed25519 public key.
const ED25519_BYTES: usize = 32;

/// Bytes of an ML-DSA-44 public key.
const ML_DSA_44_BYTES: usize = 1_312;

/// The most bytes of an encoded key. An ML-DSA-44 key takes 1,752 and its name.
const KEY_TEXT_MAX: usize = 8_192;

/// A key's name: not empty, without spaces, plus signs and control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// How a key signs. The numbers are the specification's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureType {
    /// `0x01`: Ed25519 over the note's text.
    Ed25519 = 0x01,
    /// `0x04`: a timestamped Ed25519 cosignature of a checkpoint.
    Cosignature = 0x04,
    /// `0x06`: a timestamped ML-DSA-44 cosignature of a checkpoint; a log signs its own with it too.
    MlDsa44 = 0x06,
}

/// Whose signatures are believed. Written as `<name>+<key ID>+<base64 of type and public key>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifierKey {
    name: KeyName,
    id: u32,
    kind: SignatureType,
    public: Vec<u8>,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A name that signed-note does not allow.
    #[error("a key name is not empty and has neither spaces nor plus signs nor control characters")]
    Name,
    /// Not the three (a signer key: five) parts, or not base64.
    #[error("not an encoded key")]
    Malformed,
    /// A type that is not supported.
    #[error("signature type {0:#04x} is not supported")]
    Type(u8),
    /// A key of the wrong length.
    #[error("the key does not have the length its type asks for")]
    Length,
    /// The key ID in the text is another than the key's.
    #[error("the key ID does not belong to the key")]
    Id,
    /// The library refuses the key.
    #[error("the key cannot be used")]
    Unusable,
}

impl KeyName {
    /// # Errors
    /// [`KeyError::Name`].
    pub fn new(name: impl Into<String>) -> Result<Self, KeyError> {
        let name = name.into();
        let forbidden = |c: char| c.is_whitespace() || c == '+' || c < ' ';
        if name.is_empty() || name.contains(forbidden) { Err(KeyError::Name) } else { Ok(Self(name)) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SignatureType {
    /// The type that this byte names.
    ///
    /// # Errors
    /// [`KeyError::Type`].
    pub const fn from_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::Cosignature),
            0x06 => Ok(Self::MlDsa44),
            _ => Err(KeyError::Type(byte)),
        }
    }

    /// The byte that names this type.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Cosignature => 0x04,
            Self::MlDsa44 => 0x06,
        }
    }

    const fn public_key_bytes(self) -> usize {
        match self {
            Self::Ed25519 | Self::Cosignature => ED25519_BYTES,
            Self::MlDsa44 => ML_DSA_44_BYTES,
        }
    }
}

impl VerifierKey {
    /// A key from its parts: 32 bytes for the Ed25519 types, 1,312 for ML-DSA-44.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn new(name: KeyName, kind: SignatureType, public: Vec<u8>) -> Result<Self, KeyError> {
        if public.len() != kind.public_key_bytes() {
            return Err(KeyError::Length);
        }
        let id = key_id(&name, kind, &public);
        Ok(Self { name, id, kind, public })
    }

    /// Whom the signature lines name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The first four bytes of the hash over name, type and public key.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// How the key signs.
    #[must_use]
    pub const fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The public key alone. Two keys with the same one are the same signer's.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public
    }

    /// Whether this line claims to be this key's.
    #[must_use]
    pub fn made(&self, line: &NoteSignature) -> bool {
        line.key_id == self.id && line.name == self.name
    }

    /// Checks a signature of this key under a text, and gives its timestamp if it has one.
    pub(super) fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, KeyError> {
        match self.kind {
            SignatureType::Ed25519 => self.check(text.as_bytes(), signature).map(|()| None),
            SignatureType::Cosignature | SignatureType::MlDsa44 => {
                let (timestamp, signature) = cosignature::split(signature).ok_or(KeyError::Malformed)?;
                let message = cosignature::message(self, text, timestamp).map_err(|_| KeyError::Malformed)?;
                self.check(&message, signature).map(|()| Some(timestamp))
            }
        }
    }

    fn check(&self, message: &[u8], signature: &[u8]) -> Result<(), KeyError> {
        let result = match self.kind {
            SignatureType::Ed25519 | SignatureType::Cosignature => {
                UnparsedPublicKey::new(&ED25519, &self.public).verify(message, signature)
            }
            SignatureType::MlDsa44 => UnparsedPublicKey::new(&ML_DSA_44, &self.public).verify(message, signature),
        };
        result.map_err(|_| KeyError::Unusable)
    }
}

/// At most 8,192 bytes.
impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(encoded: &str) -> Result<Self, KeyError> {
        let (name, id, kind, public) = split(encoded)?;
        let key = Self::new(name, kind, public)?;
        if key.id == id { Ok(key) } else { Err(KeyError::Id) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[self.kind.byte()][..], &self.public].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, text::to_base64(&key))
    }
}

/// `<name>+<key ID>+<base64 of type and key>`, which signer keys end with as well.
pub(super) fn split(encoded: &str) -> Result<(KeyName, u32, SignatureType, Vec<u8>), KeyError> {
    if encoded.len() > KEY_TEXT_MAX {
        return Err(KeyError::Length);
    }
    let (name, rest) = encoded.split_once('+').ok_or(KeyError::Malformed)?;
    let (id, key) = rest.split_once('+').ok_or(KeyError::Malformed)?;
    let id = text::from_hex(id).map(u32::from_be_bytes).ok_or(KeyError::Malformed)?;
    let key = text::base64(key).ok_or(KeyError::Malformed)?;
    let (kind, key) = key.split_first().ok_or(KeyError::Malformed)?;
    Ok((KeyName::new(name)?, id, SignatureType::from_byte(*kind)?, key.to_vec()))
}

fn key_id(name: &KeyName, kind: SignatureType, public: &[u8]) -> u32 {
    let hash = sha256(&[name.0.as_bytes(), &[b'\n', kind.byte()], public].concat());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d])
}
