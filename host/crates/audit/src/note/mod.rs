//! signed-note: a text and the lines under it that say who signed it.
//!
//! A note is read whether or not its keys are known; unknown signatures are kept, in
//! their order. Its text means nothing before [`Note::verify`] says who vouches for it.

mod key;
mod signer;

pub use key::{KeyError, KeyName, SignatureType, VerifierKey};
pub use signer::{SignError, Signer, SignerKey, sign};

use crate::text;
use std::fmt;

/// The most bytes of a note: room for 64 ML-DSA-44 signatures.
pub const NOTE_MAX: usize = 256 * 1_024;

/// The most signatures of a note. The specification asks for 16 at least.
pub const SIGNATURES_MAX: usize = 64;

/// What a signature line begins with.
const DASH: &str = "\u{2014} ";

/// A signed text. What is written is byte for byte what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line, of a key that may be unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// Whom the line names.
    pub name: KeyName,
    /// Which of that name's keys.
    pub key_id: u32,
    /// What the key's type makes of it; at least one byte.
    pub signature: Vec<u8>,
}

/// A signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that made it.
    pub key: VerifierKey,
    /// POSIX seconds, for the types that are cosignatures.
    pub timestamp: Option<u64>,
}

/// Why bytes are no note, or a note is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than [`NOTE_MAX`] bytes or [`SIGNATURES_MAX`] signatures.
    #[error("a note has at most {NOTE_MAX} bytes and {SIGNATURES_MAX} signatures")]
    TooLarge,
    /// Not UTF-8, or a control character other than newline.
    #[error("a note is UTF-8 without control characters")]
    Characters,
    /// No text ending in a newline, no empty line behind it, or no signature.
    #[error("a note is a text, an empty line and signature lines")]
    Malformed,
    /// A line under the text that is no signature line.
    #[error("line {0} under the text is no signature")]
    SignatureLine(usize),
    /// A known key's signature does not hold.
    #[error("the signature of {0} does not hold")]
    Invalid(KeyName),
    /// No known key has signed.
    #[error("no known key has signed")]
    Unverified,
}

impl Note {
    /// A note without signatures yet. The text is not empty, ends in a newline, and holds
    /// no other control character.
    ///
    /// # Errors
    /// [`NoteError::Malformed`], [`NoteError::Characters`] or [`NoteError::TooLarge`].
    pub fn new(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        check_characters(text.as_bytes())?;
        if !text.ends_with('\n') {
            return Err(NoteError::Malformed);
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note with at least one signature: at most [`NOTE_MAX`] bytes and
    /// [`SIGNATURES_MAX`] signatures.
    ///
    /// # Errors
    /// Any [`NoteError`] but the last two.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let whole = check_characters(bytes)?;
        let (text, lines) = whole.rsplit_once("\n\n").ok_or(NoteError::Malformed)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
        let mut signatures = Vec::new();
        for (line, number) in lines.split('\n').zip(1..) {
            if signatures.len() == SIGNATURES_MAX {
                return Err(NoteError::TooLarge);
            }
            signatures.push(NoteSignature::parse(line).ok_or(NoteError::SignatureLine(number))?);
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// What is signed, with its last newline.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in the order of their lines.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature; one by the same name and key is replaced.
    ///
    /// # Errors
    /// [`NoteError::TooLarge`] when there are [`SIGNATURES_MAX`] already.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        self.signatures.retain(|known| known.name != signature.name || known.key_id != signature.key_id);
        if self.signatures.len() == SIGNATURES_MAX {
            return Err(NoteError::TooLarge);
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Signs with a key and adds the signature. `timestamp`: POSIX seconds, see [`sign`].
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&mut self, signer: &dyn Signer, timestamp: u64) -> Result<(), SignError> {
        let signature = sign(signer, &self.text, timestamp)?;
        self.add(signature).map_err(|_| SignError::TooMany)
    }

    /// The known keys that signed, each once. Signatures of other keys are ignored.
    ///
    /// # Errors
    /// [`NoteError::Invalid`] when a signature of a known key does not hold,
    /// [`NoteError::Unverified`] when no known key has signed.
    pub fn verify<'k>(&self, keys: impl IntoIterator<Item = &'k VerifierKey>) -> Result<Vec<Verified>, NoteError> {
        let mut verified = Vec::new();
        for key in keys {
            for signature in self.signatures.iter().filter(|line| key.made(line)) {
                let timestamp = key.verify(&self.text, &signature.signature).map_err(|_| NoteError::Invalid(key.name().clone()))?;
                if !verified.iter().any(|known: &Verified| known.key == *key) {
                    verified.push(Verified { key: key.clone(), timestamp });
                }
            }
        }
        if verified.is_empty() { Err(NoteError::Unverified) } else { Ok(verified) }
    }

    /// The note's bytes, as [`Note::parse`] reads them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    /// Reads one line, without its newline; `None` when it is no signature line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
        let name = KeyName::new(name).ok()?;
        let bytes = text::base64(signature)?;
        let (key_id, signature) = bytes.split_first_chunk()?;
        if signature.is_empty() {
            return None;
        }
        Some(Self { name, key_id: u32::from_be_bytes(*key_id), signature: signature.to_vec() })
    }
}

/// The line, without its newline.
impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.to_be_bytes()[..], &self.signature].concat();
        write!(f, "{DASH}{} {}", self.name, text::to_base64(&bytes))
    }
}

fn check_characters(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > NOTE_MAX {
        return Err(NoteError::TooLarge);
    }
    let clean = bytes.iter().all(|byte| *byte >= b' ' || *byte == b'\n');
    str::from_utf8(bytes).ok().filter(|_| clean).ok_or(NoteError::Characters)
}

#[cfg(test)]
mod tests;
