//! P5's log: records as the host writes them, tiles, cosigned checkpoints, and views that overlay a few files.

use anyhow::{Context as _, Result};
use plinth_audit::{
    canonical,
    checkpoint::Checkpoint,
    hash::{Hash, leaf_hash},
    note::{KeyName, Note, SignatureType, Signer as _, SignerKey},
    policy::Policy,
    tile::{TileEdge, encode_bundle, new_bundles},
    verify::{EPOCH_OPENED, FetchError, Source},
};
use rand::{Rng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::collections::HashMap;

/// A checkpoint is kept for every so many records.
pub(super) const KEPT_EVERY: u64 = 2_500;
/// 2026-11-01, when the first record is written.
const BEGAN_MS: u64 = 1_793_491_200_000;
/// An erasure is a record, one in so many; the first is the second record.
pub(super) const ERASED_EVERY: usize = 50;

/// The keys of one log; the witness is the same for all.
pub(super) struct Keys {
    pub(super) log: SignerKey,
    pub(super) witness: SignerKey,
}

pub(super) struct Log {
    pub(super) origin: String,
    pub(super) keys: Keys,
    pub(super) records: Vec<Vec<u8>>,
    pub(super) leaves: Vec<Hash>,
    files: HashMap<String, Vec<u8>>,
    /// Signed and cosigned, with their sizes; the last is the one that is served.
    pub(super) kept: Vec<(u64, Vec<u8>)>,
    /// Accepts the log with the witness's cosignature.
    pub(super) witnessed: Policy,
    /// Accepts the log with its own signature only.
    pub(super) unwitnessed: Policy,
}

/// What a record is made into: one of the log's own, or other bytes.
#[derive(Clone)]
pub(super) enum Item {
    Own(usize),
    New(Vec<u8>),
}

/// Files that differ from a log's; `None` is a file that is gone.
pub(super) type Overlay = HashMap<String, Option<Vec<u8>>>;

/// A log as the verifier sees it.
pub(super) struct View<'a> {
    pub(super) base: &'a Log,
    pub(super) overlay: Overlay,
}

impl Source for View<'_> {
    fn fetch(&self, path: &str) -> Result<Option<Vec<u8>>, FetchError> {
        Ok(self.overlay.get(path).map_or_else(|| self.base.files.get(path), Option::as_ref).cloned())
    }
}

impl Keys {
    /// Epochs of a log have one secret, and a name each.
    pub(super) fn new(origin: &str, log: u8, witness: u8) -> Result<Self> {
        Ok(Self {
            log: SignerKey::from_seed(KeyName::new(origin)?, SignatureType::Ed25519, [log; 32])?,
            witness: SignerKey::from_seed(KeyName::new("witness.example.com/w1")?, SignatureType::Cosignature, [witness; 32])?,
        })
    }

    pub(super) fn sign(&self, checkpoint: &Checkpoint, cosigned: bool) -> Result<Vec<u8>> {
        let mut note = checkpoint.to_note().context("a checkpoint is a note")?;
        note.sign(&self.log, 0)?;
        if cosigned {
            note.sign(&self.witness, BEGAN_MS / 1_000)?;
        }
        Ok(note.to_bytes())
    }
}

impl Log {
    pub(super) fn new(origin: &str, key: u8, records: Vec<Vec<u8>>) -> Result<Self> {
        let keys = Keys::new(origin, key, 100)?;
        let leaves: Vec<_> = records.iter().map(|record| leaf_hash(record)).collect();
        let size = leaves.len() as u64;
        let mut files: HashMap<_, _> = TileEdge::new().grow(&leaves).into_iter().map(|tile| (tile.id.path(), tile.bytes)).collect();
        for (bundle, records) in new_bundles(0, size).zip(records.chunks(256)) {
            files.insert(bundle.to_string(), encode_bundle(records)?);
        }
        let (mut edge, mut kept) = (TileEdge::new(), Vec::new());
        for part in leaves.chunks(KEPT_EVERY as usize) {
            let _ = edge.grow(part);
            kept.push((edge.size(), keys.sign(&Checkpoint::new(origin, edge.size(), edge.root())?, true)?));
        }
        files.insert("checkpoint".to_owned(), kept.last().context("a log has records")?.1.clone());
        let log = format!("log {}\n", keys.log.key());
        let witnessed = format!("{log}witness w1 {}\nquorum w1\n", keys.witness.key());
        Ok(Self {
            origin: origin.to_owned(),
            witnessed: Policy::parse(witnessed.as_bytes())?,
            unwitnessed: Policy::parse(format!("{log}quorum none\n").as_bytes())?,
            keys,
            records,
            leaves,
            files,
            kept,
        })
    }

    /// The names of its files, in one order.
    pub(super) fn sorted(&self) -> Vec<&String> {
        let mut paths = self.files.keys().collect::<Vec<_>>();
        paths.sort_unstable();
        paths
    }

    pub(super) fn file(&self, path: &str) -> Result<Vec<u8>> {
        self.files.get(path).cloned().with_context(|| format!("the log has {path}"))
    }

    pub(super) fn checkpoint(&self) -> Result<Checkpoint> {
        Ok(Note::parse(&self.file("checkpoint")?)?.text().parse()?)
    }

    pub(super) fn items(&self) -> Vec<Item> {
        (0..self.records.len()).map(Item::Own).collect()
    }

    /// The bundles that differ when the log is these records: those of its size, and of the size
    /// it has now, as a host cuts them. What the log then has no more is gone.
    pub(super) fn forge_bundles(&self, items: &[Item]) -> Result<Overlay> {
        let mut overlay = Overlay::new();
        for size in [items.len(), self.records.len().min(items.len())] {
            for (at, (bundle, part)) in new_bundles(0, size as u64).zip(items[..size].chunks(256)).enumerate() {
                let own = part.iter().zip(at * 256..).all(|(item, at)| matches!(item, Item::Own(own) if *own == at));
                let path = bundle.to_string();
                let file = if own && self.files.contains_key(&path) {
                    self.files.get(&path).cloned()
                } else {
                    Some(encode_bundle(&part.iter().map(|item| self.record(item)).collect::<Vec<_>>())?)
                };
                overlay.insert(path, file);
            }
        }
        Ok(self.only(overlay, |path| path.starts_with("tile/entries/")))
    }

    /// The tiles over these leaves likewise, and the checkpoint that fits them.
    pub(super) fn forge_tiles(&self, leaves: &[Hash]) -> Result<(Overlay, Checkpoint)> {
        let (mut overlay, mut edge) = (Overlay::new(), TileEdge::new());
        let (now, more) = leaves.split_at(self.leaves.len().min(leaves.len()));
        for part in [now, more].into_iter().filter(|part| !part.is_empty()) {
            overlay.extend(edge.grow(part).into_iter().map(|tile| (tile.id.path(), Some(tile.bytes))));
        }
        let overlay = self.only(overlay, |path| path != "checkpoint" && !path.starts_with("tile/entries/"));
        Ok((overlay, Checkpoint::new(self.origin.as_str(), leaves.len() as u64, edge.root())?))
    }

    pub(super) fn leaves_of(&self, items: &[Item]) -> Vec<Hash> {
        items.iter().map(|item| self.leaf(item)).collect()
    }

    /// Without what is as it was; files of this class that were not made are gone.
    fn only(&self, mut overlay: Overlay, class: impl Fn(&str) -> bool) -> Overlay {
        let gone = self.files.keys().filter(|path| class(path) && !overlay.contains_key(*path)).cloned().collect::<Vec<_>>();
        overlay.retain(|path, file| self.files.get(path) != file.as_ref());
        overlay.extend(gone.into_iter().map(|path| (path, None)));
        overlay
    }

    fn record<'a>(&'a self, item: &'a Item) -> &'a [u8] {
        match item {
            Item::Own(at) => &self.records[*at],
            Item::New(record) => record,
        }
    }

    fn leaf(&self, item: &Item) -> Hash {
        match item {
            Item::Own(at) => self.leaves[*at],
            Item::New(record) => leaf_hash(record),
        }
    }
}

/// Records of an order desk; one in [`ERASED_EVERY`] says that a person's data were erased.
pub(super) fn records(rng: &mut StdRng, count: usize) -> Result<Vec<Vec<u8>>> {
    (0..count).map(|at| Ok(canonical::encode(&record(rng, at))?)).collect()
}

pub(super) fn record(rng: &mut StdRng, at: usize) -> Value {
    let (actor, order) = (rng.random_range(1..500), rng.random_range(1..100_000));
    let entry = if at % ERASED_EVERY == 1 {
        json!({
            "action": "subject.erased", "subject": {"kind": "person", "id": format!("{actor:05}")}, "outcome": {"result": "success"},
            "summary": "The person's data were erased on request.", "changes": [],
            "attributes": [["shredded", format!("key-{actor:05}")], ["kept", "invoices"]],
        })
    } else {
        json!({
            "action": "order.refund", "subject": {"kind": "order", "id": order.to_string()}, "outcome": {"result": "success"},
            "summary": "Refunded: the customer returned the goods.",
            "changes": [{"field": "status", "before": "paid", "after": "refunded"}],
            "attributes": [["amount", rng.random_range(1..90_000).to_string()], ["currency", "EUR"]],
        })
    };
    stamped(rng, at, &format!("user:{actor}"), "orders", entry)
}

fn stamped(rng: &mut StdRng, at: usize, actor: &str, plugin: &str, entry: Value) -> Value {
    let ms = BEGAN_MS + at as u64 * 1_000 + rng.random_range(0..1_000);
    let (high, low) = (rng.random_range(0..4_096_u32), rng.random_range(0..1_u64 << 48));
    json!({
        "id": format!("{:08x}-{:04x}-7{high:03x}-8000-{low:012x}", ms >> 16, ms & 0xffff),
        "recorded_at_ms": ms, "actor": actor, "plugin_id": plugin, "plugin_version": "1.4.2",
        "plugin_digest": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "generation": 17,
        "invocation_id": format!("4bf92f3577b34da6{low:016x}"), "entry": entry,
    })
}

/// The record that opens the epoch after this log: a backup brought back all that was stored, and 40 were lost.
pub(super) fn opening(rng: &mut StdRng, before: &Log, origin: &str) -> Result<Vec<u8>> {
    let head = before.checkpoint()?;
    let signed = Checkpoint::new(before.origin.as_str(), head.size() + 40, leaf_hash(b"what was lost"))?;
    let entry = json!({
        "action": EPOCH_OPENED, "subject": {"kind": "audit-log", "id": origin}, "outcome": {"result": "success"},
        "summary": "The log does not bear out what it has signed; it goes on in a new tree.", "changes": [],
        "attributes": [
            ["reason", "behind"], ["signed-checkpoint", String::from_utf8(before.keys.sign(&signed, false)?)?],
            ["signed-origin", before.origin], ["signed-size", signed.size().to_string()], ["stored-origin", before.origin],
            ["stored-size", head.size().to_string()], ["stored-root", head.root().to_string()], ["missing", "40"],
        ],
    });
    Ok(canonical::encode(&stamped(rng, before.records.len(), "system", "host", entry))?)
}
