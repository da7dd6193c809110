//! A named key: its versions, and what each can do.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    hkdf, hmac, rand,
};
use plinth_capability::{Error, ErrorKind, Result};

/// Of the random bytes that a version is derived from.
pub(super) const SEED_LEN: usize = 32;
pub(super) type Seed = [u8; SEED_LEN];

/// The first byte of every sealed value, for the day the rest changes.
const FORMAT: u8 = 1;
const HEADER_LEN: usize = 1 + size_of::<u32>();
/// What sealing adds: format, key version, nonce and tag.
pub const OVERHEAD: usize = HEADER_LEN + NONCE_LEN + MAX_TAG_LEN;

/// The version of the key that a sealed value names; it proves nothing yet.
pub fn version_of(sealed: &[u8]) -> Option<u32> {
    let (format, rest) = sealed.split_first()?;
    let version = rest.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))?;
    (*format == FORMAT && sealed.len() >= OVERHEAD).then_some(version)
}

/// All versions of one key, oldest first, numbered from 1; never empty.
pub(super) struct Ring {
    older: Vec<KeyVersion>,
    current: KeyVersion,
}

impl Ring {
    /// `None` without a seed.
    pub(super) fn new(seeds: &[Seed]) -> Option<Self> {
        let mut older: Vec<_> = (1..).zip(seeds).map(|(version, seed)| KeyVersion::derive(version, seed)).collect::<Result<_, _>>().ok()?;
        let current = older.pop()?;
        Some(Self { older, current })
    }

    pub(super) fn current(&self) -> &KeyVersion {
        &self.current
    }

    pub(super) fn version(&self, version: u32) -> Option<&KeyVersion> {
        self.newest_first().find(|key| key.version == version)
    }

    pub(super) fn versions(&self) -> usize {
        self.older.len() + 1
    }

    /// A signature is 32 bytes and names no version, so each is tried.
    pub(super) fn verifies(&self, data: &[u8], signature: &[u8]) -> bool {
        self.newest_first().any(|key| hmac::verify(&key.signing, data, signature).is_ok())
    }

    fn newest_first(&self) -> impl Iterator<Item = &KeyVersion> {
        std::iter::once(&self.current).chain(self.older.iter().rev())
    }
}

/// Signing and sealing use keys of their own, derived from one seed, so that
/// nothing learnt through one use helps against the other.
pub(super) struct KeyVersion {
    pub(super) version: u32,
    signing: hmac::Key,
    sealing: LessSafeKey,
}

impl KeyVersion {
    fn derive(version: u32, seed: &Seed) -> Result<Self, Unspecified> {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, b"plinth.keys.v1").extract(seed);
        let signing = hmac::Key::from(root.expand(&[b"sign"], hmac::HMAC_SHA256)?);
        let sealing = LessSafeKey::new(UnboundKey::from(root.expand(&[b"seal"], &AES_256_GCM)?));
        Ok(Self { version, signing, sealing })
    }

    pub(super) fn sign(&self, data: &[u8]) -> Vec<u8> {
        hmac::sign(&self.signing, data).as_ref().to_vec()
    }

    /// A random nonce is safe for 2^32 seals under one version; rotate before.
    pub(super) fn seal(&self, name: &str, plaintext: &[u8], associated_data: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| Error::new(ErrorKind::Internal, "secrets.seal", "sealing failed");
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(failed)?;
        let mut body = Vec::with_capacity(plaintext.len() + MAX_TAG_LEN);
        body.extend_from_slice(plaintext);
        let context = Aad::from(self.context(name, associated_data));
        self.sealing.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), context, &mut body).map_err(failed)?;
        let mut sealed = Vec::with_capacity(body.len() + HEADER_LEN + NONCE_LEN);
        sealed.push(FORMAT);
        sealed.extend_from_slice(&self.version.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// `None` unless every byte is as it was sealed.
    pub(super) fn unseal(&self, name: &str, sealed: &[u8], associated_data: &[u8]) -> Option<Vec<u8>> {
        if version_of(sealed)? != self.version {
            return None;
        }
        let (nonce, body) = sealed.get(HEADER_LEN..)?.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let context = Aad::from(self.context(name, associated_data));
        let opened = self.sealing.open_in_place(Nonce::assume_unique_for_key(*nonce), context, &mut body).ok()?.len();
        body.truncate(opened);
        Some(body)
    }

    /// What a seal is bound to. Lengths come first, so that no two contexts
    /// make the same bytes.
    fn context(&self, name: &str, associated_data: &[u8]) -> Vec<u8> {
        let mut context = Vec::with_capacity(64 + name.len() + associated_data.len());
        context.extend_from_slice(b"plinth.seal");
        context.push(FORMAT);
        context.extend_from_slice(&self.version.to_be_bytes());
        for part in [name.as_bytes(), associated_data] {
            context.extend_from_slice(&(part.len() as u64).to_be_bytes());
            context.extend_from_slice(part);
        }
        context
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_uses_have_keys_of_their_own() {
        let ring = Ring::new(&[[1; SEED_LEN], [2; SEED_LEN]]).unwrap();
        assert_eq!((ring.current().version, ring.versions()), (2, 2));
        assert_ne!(ring.current().sign(b"data"), ring.version(1).unwrap().sign(b"data"));
        assert!(ring.version(3).is_none() && ring.version(0).is_none() && Ring::new(&[]).is_none());
        let again = Ring::new(&[[1; SEED_LEN]]).unwrap();
        assert_eq!(again.current().sign(b"data"), ring.version(1).unwrap().sign(b"data"), "derived the same each time");
    }

    #[test]
    fn a_seal_keeps_to_its_layout() {
        let ring = Ring::new(&[[1; SEED_LEN], [2; SEED_LEN]]).unwrap();
        let sealed = ring.current().seal("cards", b"four", b"").unwrap();
        assert_eq!((&sealed[..5], sealed.len()), (&[1, 0, 0, 0, 2][..], OVERHEAD + 4));
        assert_eq!(version_of(&sealed), Some(2));
        assert_eq!(ring.version(1).unwrap().unseal("cards", &sealed, b""), None);
        assert_eq!(ring.current().unseal("card", &sealed, b"s"), None, "the name does not run into the data");
        assert_eq!(version_of(&sealed[..OVERHEAD - 1]), None);
        assert_eq!(version_of(&[]), None);
    }
}
