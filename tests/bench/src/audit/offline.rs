//! The offline verifier over a million records in files, beside plain SHA-256 over the same bytes; and one proof.

#![expect(clippy::indexing_slicing, reason = "places are those of this bench; another one ends it")]

use super::material;
use crate::{
    figures::{Aim, Figures},
    stats::{median, median_ratio},
};
use anyhow::{Context, Result, ensure};
use plinth_audit::{
    checkpoint::Checkpoint,
    hash::{HASH_BYTES, Hash, leaf_hash, sha256},
    note::{KeyName, SignatureType, Signer as _, SignerKey},
    policy::Policy,
    proof::{Plan, verify_inclusion},
    tile::{TILE_WIDTH, TileEdge, TileId, TileReader, encode_bundle, new_bundles},
    verify::{CanonicalEntries, Directory, Request, Source as _, verify},
};
use std::{fs, hint::black_box, num::NonZeroUsize, path::Path, thread, time::Instant};

const RECORDS: u64 = 1_000_000;
const THREADS: usize = 2;
const PROOFS: u64 = 20_000;

/// A signed log in a folder, as a mirror of a host has it.
struct Log {
    folder: tempfile::TempDir,
    policy: Policy,
    leaves: Vec<Hash>,
    root: Hash,
    /// The contents of the entry bundles.
    bundles: Vec<Vec<u8>>,
}

pub(super) fn measure(rounds: usize, figures: &mut Figures) -> Result<()> {
    let log = Log::write().context("writing the log")?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        plain.push(log.hash());
        ours.push(log.verify()?);
        println!("verify round {round}: {:.2} s; SHA-256 over the same bytes {:.2} s", ours[round], plain[round]);
    }
    figures.add("verify_1e6_s", median(&ours), Aim::AtMost(10.0));
    figures.add("verify_over_sha256", median_ratio(&plain, &ours), Aim::Tell);
    log.proofs(figures)
}

impl Log {
    fn write() -> Result<Self> {
        let (folder, name) = (tempfile::tempdir()?, "example.com/log/0");
        let (mut edge, mut leaves, mut bundles) = (TileEdge::new(), Vec::new(), Vec::new());
        for bundle in new_bundles(0, RECORDS) {
            let first = bundles.len() as u64 * u64::from(TILE_WIDTH);
            let numbers = first..RECORDS.min(first + u64::from(TILE_WIDTH));
            let records = numbers.map(|number| material::bytes(&material::record(number / 64, number % 64))).collect::<Result<Vec<_>>>()?;
            leaves.extend(records.iter().map(|record| leaf_hash(record)));
            let bytes = encode_bundle(&records)?;
            put(folder.path(), &bundle.to_string(), &bytes)?;
            bundles.push(bytes);
        }
        for tile in edge.grow(&leaves) {
            put(folder.path(), &tile.id.path(), &tile.bytes)?;
        }
        let root = edge.root();
        let key = SignerKey::from_seed(KeyName::new(name)?, SignatureType::Ed25519, [7; 32])?;
        let mut note = Checkpoint::new(name, RECORDS, root)?.to_note().context("a checkpoint is a note")?;
        note.sign(&key, 0)?;
        put(folder.path(), "checkpoint", &note.to_bytes())?;
        Ok(Self { folder, policy: Policy::log_only(key.key().clone()), leaves, root, bundles })
    }

    /// Seconds of the verifier that `plinth audit verify --dir` is.
    fn verify(&self) -> Result<f64> {
        let threads = NonZeroUsize::new(THREADS).context("threads")?;
        let request = Request { policy: &self.policy, since: &[], threads };
        let began = Instant::now();
        let report = verify(&Directory::new(self.folder.path()), &CanonicalEntries, &request);
        let seconds = began.elapsed().as_secs_f64();
        ensure!(report.is_sound() && report.records == RECORDS, "the log is not sound: {:?}", report.findings);
        Ok(seconds)
    }

    /// Seconds that the same cores need to hash the same bytes from memory, in pieces of a bundle.
    fn hash(&self) -> f64 {
        let began = Instant::now();
        thread::scope(|scope| {
            for part in self.bundles.chunks(self.bundles.len().div_ceil(THREADS)) {
                scope.spawn(move || {
                    part.iter().for_each(|bundle| {
                        black_box(sha256(bundle));
                    })
                });
            }
        });
        began.elapsed().as_secs_f64()
    }

    fn proofs(&self, figures: &mut Figures) -> Result<()> {
        let files = Directory::new(self.folder.path());
        let reader = TileReader::new(RECORDS, &self.root, |id: &TileId| files.fetch(&id.path()))?;
        let mut proofs = Vec::new();
        for number in 0..PROOFS {
            // Spread over the whole tree.
            let index = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % RECORDS;
            proofs.push((index, Plan::inclusion(index, RECORDS)?.assemble(&reader)?));
        }
        let began = Instant::now();
        for (index, proof) in &proofs {
            verify_inclusion(&self.leaves[*index as usize], *index, RECORDS, proof, &self.root)?;
        }
        let micros = began.elapsed().as_secs_f64() * 1e6 / PROOFS as f64;
        let longest = proofs.iter().map(|(_, proof)| proof.len() * HASH_BYTES).max().context("there are proofs")?;
        figures.add("proof_bytes_1e6", longest as f64, Aim::Tell);
        figures.add("proof_us_1e6", micros, Aim::Tell);
        Ok(())
    }
}

fn put(folder: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let file = folder.join(path);
    fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
    Ok(fs::write(file, bytes)?)
}
