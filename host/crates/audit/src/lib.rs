//! The transparency log as arithmetic on bytes: nothing here reads a clock, a socket or a database.
//!
//! A log is an RFC 6962 Merkle tree over records, served as the tiles and signed
//! checkpoints that the C2SP specifications describe, so that any verifier of
//! those can check it. The modules follow the specifications' names:
//!
//! | module | what it does |
//! |---|---|
//! | [`canonical`] | the one sequence of bytes of a record (RFC 8785, restricted) |
//! | [`hash`], [`tree`] | leaf and node hashes, the frontier of a growing tree |
//! | [`proof`] | inclusion and consistency proofs, made and verified |
//! | [`tile`] | tlog-tiles: paths, growth, entry bundles, an authenticating reader |
//! | [`note`] | signed-note: keys, signatures, text |
//! | [`checkpoint`], [`cosignature`] | tlog-checkpoint and tlog-cosignature |
//! | [`witness`] | tlog-witness: what to answer and what to store |
//! | [`policy`] | tlog-policy: whom a verifier trusts |
//! | [`tlog_proof`], [`json_proof`] | proofs as files |
//! | [`verify`] | a whole log, or several that follow each other, offline |
//! | [`segment`] | the archive: 65,536 records a segment |
//!
//! Every parser refuses what it would not write itself, has a limit on its input,
//! and says that limit in its documentation.

pub mod canonical;
pub mod checkpoint;
pub mod cosignature;
pub mod hash;
pub mod json_proof;
pub mod note;
pub mod policy;
pub mod proof;
pub mod segment;
pub mod tile;
pub mod tlog_proof;
pub mod tree;
pub mod verify;
pub mod witness;

mod text;
