//! What is computed of persons: pseudonyms, sealed fields, wrapped keys.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use plinth_capability::{Error, ErrorKind, Result, persons::Sealed};

pub(super) const KEY_BYTES: usize = 32;
/// AES-256-GCM: a nonce of 96 random bits, the ciphertext, a tag of 128 bits.
pub(super) const ALGORITHM: &str = "A256GCM";
/// Hexadecimal digits of a pseudonym, after the sign that tells it from an id.
const PSEUDONYM_DIGITS: usize = 32;
pub(super) const SIGN: char = '~';
const FIELD: &str = "plinth audit field 1";
const WRAPPED: &str = "plinth audit person 1";
/// What a pepper makes of this is kept in the database, so that another pepper is noticed.
const CHECK: &[u8] = b"plinth audit pepper 1";

/// What pseudonyms are made with.
pub(super) struct Pepper(hmac::Key);

impl Pepper {
    pub(super) fn new(secret: &[u8; KEY_BYTES]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    pub(super) fn pseudonym(&self, person: &str) -> String {
        let tag = hmac::sign(&self.0, &joined(&["person", person]));
        let digits = hex(tag.as_ref());
        format!("{SIGN}{}", digits.get(..PSEUDONYM_DIGITS).unwrap_or(&digits))
    }

    pub(super) fn check(&self) -> Vec<u8> {
        hmac::sign(&self.0, CHECK).as_ref().to_vec()
    }
}

/// A key of a person or of a generation.
pub(super) struct Key(LessSafeKey);

impl Key {
    pub(super) fn new(bytes: &[u8; KEY_BYTES]) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, bytes);
        key.map(|key| Self(LessSafeKey::new(key))).map_err(|_| Error::new(ErrorKind::Internal, "audit.persons", "no key"))
    }

    /// A value of this field of this record only.
    pub(super) fn seal_field(&self, kid: &str, record: &str, name: &str, value: &str) -> Result<Sealed> {
        let ct = STANDARD.encode(self.seal(&joined(&[FIELD, record, name]), value.as_bytes())?);
        Ok(Sealed { f: name.to_owned(), alg: ALGORITHM.to_owned(), kid: kid.to_owned(), ct })
    }

    pub(super) fn open_field(&self, record: &str, sealed: &Sealed) -> Result<String> {
        if sealed.alg != ALGORITHM {
            return Err(unverified());
        }
        let bytes = STANDARD.decode(&sealed.ct).map_err(|_| unverified())?;
        String::from_utf8(self.open(&joined(&[FIELD, record, &sealed.f]), bytes)?).map_err(|_| unverified())
    }

    /// `secret` as the database keeps it: for this person, this key of hers and this generation.
    pub(super) fn wrap(&self, place: [&str; 2], generation: u64, secret: &[u8; KEY_BYTES]) -> Result<Vec<u8>> {
        self.seal(&place_of(place, generation), secret)
    }

    pub(super) fn unwrap(&self, place: [&str; 2], generation: u64, wrapped: &[u8]) -> Result<[u8; KEY_BYTES]> {
        let bytes = self.open(&place_of(place, generation), wrapped.to_vec())?;
        bytes.try_into().map_err(|_| unverified())
    }

    fn seal(&self, place: &[u8], secret: &[u8]) -> Result<Vec<u8>> {
        let broken = |_| Error::new(ErrorKind::Internal, "audit.persons", "sealing failed");
        let nonce = rand::random::<[u8; NONCE_LEN]>();
        let mut sealed = secret.to_vec();
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut sealed).map_err(broken)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn open(&self, place: &[u8], sealed: Vec<u8>) -> Result<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(unverified)?;
        let mut opened = rest.to_vec();
        let clear = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(place), &mut opened);
        clear.map(|clear| clear.to_vec()).map_err(|_| unverified())
    }
}

fn place_of([pseudonym, key]: [&str; 2], generation: u64) -> Vec<u8> {
    joined(&[WRAPPED, pseudonym, key, &generation.to_string()])
}

/// Each part with its length before it, so that no two lists are the same bytes.
fn joined(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unverified() -> Error {
    Error::new(ErrorKind::Unverified, "audit.persons", "what is sealed does not belong here, or was changed")
}
