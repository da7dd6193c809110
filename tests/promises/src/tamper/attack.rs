//! What an attacker does to a log, where, and what the verifier has against him.

use super::{
    change,
    log::{Item, Keys, Log, Overlay, View},
};
use anyhow::{Context as _, Result};
use plinth_audit::{checkpoint::Checkpoint, hash::Hash};
use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

/// The ways to tamper with a log; the two of the archive are elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    RecordChanged,
    RecordDeleted,
    RecordInserted,
    RecordsReordered,
    TailTruncated,
    LogsSwapped,
    TileEdited,
    OldCheckpoint,
    SignatureEdited,
    TimeMoved,
    ActorChanged,
    EpochLinkCut,
    ShredListEdited,
    KeyReplaced,
}

pub(super) const KINDS: [(Kind, &str); 14] = [
    (Kind::RecordChanged, "record changed"),
    (Kind::RecordDeleted, "record deleted"),
    (Kind::RecordInserted, "record inserted"),
    (Kind::RecordsReordered, "two records reordered"),
    (Kind::TailTruncated, "tail truncated"),
    (Kind::LogsSwapped, "two logs swapped"),
    (Kind::TileEdited, "tile edited"),
    (Kind::OldCheckpoint, "old checkpoint as new"),
    (Kind::SignatureEdited, "signature edited"),
    (Kind::TimeMoved, "time moved"),
    (Kind::ActorChanged, "actor changed"),
    (Kind::EpochLinkCut, "epoch link cut"),
    (Kind::ShredListEdited, "shred list edited"),
    (Kind::KeyReplaced, "key replaced"),
];

/// Two epochs of one log, and a log of somebody else's.
pub(super) struct Ground {
    pub(super) epochs: [Log; 2],
    pub(super) other: Log,
}

/// How far the attacker goes with the rest of the log.
#[derive(Debug, Clone, Copy)]
pub(super) enum Depth {
    /// Nothing else is touched.
    Alone,
    /// He owns the database: tiles are made anew.
    Tiles,
    /// The checkpoint's text too, with the signatures that were there.
    Text,
    /// He holds the log's key and signs; the verifier asks for the witness.
    KeyAgainstWitness,
    /// The same; the verifier asks for no witness but kept a checkpoint of what is changed.
    KeyAgainstKept,
}

const DEPTHS: [Depth; 5] = [Depth::Alone, Depth::Tiles, Depth::Text, Depth::KeyAgainstWitness, Depth::KeyAgainstKept];

/// A spoilt epoch, and what the verifier of it knows.
pub(super) struct Attack<'a> {
    pub(super) epoch: usize,
    pub(super) view: View<'a>,
    /// Whether the witness is asked for, in both epochs.
    pub(super) witnessed: bool,
    /// The checkpoint of the epoch that the verifier kept, among [`Log::kept`].
    pub(super) kept: Option<usize>,
}

/// A place in one of two epochs. Half of them are where something begins or ends.
pub(super) fn place(rng: &mut StdRng, log: &Log) -> usize {
    let size = log.records.len();
    let partial = size / 256 * 256;
    let special = [0, 1, 255, 256, 257, 511, 512, 2_499, 2_500, size / 2, partial - 1, partial, partial + 1, size - 2, size - 1];
    let any = rng.random_range(0..size);
    if rng.random() { special.choose(rng).copied().filter(|at| *at < size).unwrap_or(any) } else { any }
}

impl<'a> Attack<'a> {
    /// The log is these records from now on; those before `first` are its own.
    pub(super) fn rewritten(rng: &mut StdRng, ground: &'a Ground, epoch: usize, items: &[Item], first: usize) -> Result<Self> {
        let depth = DEPTHS.choose(rng).copied().context("there are depths")?;
        let log = &ground.epochs[epoch];
        let bundles = log.forge_bundles(items)?;
        Self::at_depth(rng, ground, epoch, (bundles, &log.leaves_of(items)), first, depth)
    }

    /// The log's bundles are these, and its leaves, if the attacker goes so far.
    pub(super) fn at_depth(
        rng: &mut StdRng,
        ground: &'a Ground,
        epoch: usize,
        (mut overlay, leaves): (Overlay, &[Hash]),
        first: usize,
        depth: Depth,
    ) -> Result<Self> {
        let log = &ground.epochs[epoch];
        let mut kept = log.some_kept(rng);
        if !matches!(depth, Depth::Alone) {
            let (tiles, head) = log.forge_tiles(leaves)?;
            overlay.extend(tiles);
            let note = match depth {
                Depth::Alone | Depth::Tiles => None,
                Depth::Text => Some(with_signatures(&head, &log.file("checkpoint")?, false)?),
                Depth::KeyAgainstKept => Some(log.keys.sign(&head, false)?),
                // The cosignature is left out, or is that of another checkpoint.
                Depth::KeyAgainstWitness if rng.random() => Some(log.keys.sign(&head, false)?),
                Depth::KeyAgainstWitness => {
                    let stale = with_signatures(&head, &log.file("checkpoint")?, true)?;
                    let signed = String::from_utf8(log.keys.sign(&head, false)?)?;
                    Some((signed + &String::from_utf8(stale)?).into_bytes())
                }
            };
            overlay.extend(note.map(|note| ("checkpoint".to_owned(), Some(note))));
        }
        if matches!(depth, Depth::KeyAgainstKept) {
            let covers = (0..log.kept.len()).filter(|at| log.kept[*at].0 > first as u64).collect::<Vec<_>>();
            kept = Some(*covers.choose(rng).context("the last checkpoint covers every record")?);
        }
        let witnessed = !matches!(depth, Depth::KeyAgainstKept);
        Ok(Self { epoch, view: View { base: log, overlay }, witnessed, kept })
    }

    /// These files of an epoch are others; the verifier asks for the witness and kept what he kept.
    pub(super) fn files(rng: &mut StdRng, ground: &'a Ground, epoch: usize, overlay: Overlay) -> Self {
        let log = &ground.epochs[epoch];
        Self { epoch, view: View { base: log, overlay }, witnessed: true, kept: log.some_kept(rng) }
    }

    pub(super) fn of(kind: Kind, rng: &mut StdRng, ground: &'a Ground) -> Result<Self> {
        let epoch = usize::from(rng.random_bool(0.3));
        let log = &ground.epochs[epoch];
        match kind {
            Kind::OldCheckpoint => change::old_checkpoint(rng, ground, epoch),
            Kind::SignatureEdited => change::signature(rng, ground, epoch),
            Kind::LogsSwapped => change::swapped(rng, ground, epoch),
            Kind::TileEdited => change::tile(rng, ground, epoch),
            Kind::EpochLinkCut => change::link(rng, ground),
            Kind::KeyReplaced => change::key(rng, ground, epoch),
            _ => {
                let mut items = log.items();
                let first = change::records(kind, rng, log, &mut items)?;
                Self::rewritten(rng, ground, epoch, &items, first)
            }
        }
    }
}

impl Log {
    /// Nothing, or any of the checkpoints that were ever served.
    pub(super) fn some_kept(&self, rng: &mut StdRng) -> Option<usize> {
        rng.random::<bool>().then(|| rng.random_range(0..self.kept.len()))
    }
}

/// The text of a checkpoint over the signatures of another; only the witness's line, if so wanted.
fn with_signatures(head: &Checkpoint, signed: &[u8], witness_line: bool) -> Result<Vec<u8>> {
    let signed = str::from_utf8(signed)?;
    let (_, lines) = signed.split_once("\n\n").context("a checkpoint is signed")?;
    if witness_line {
        let line = lines.lines().find(|line| line.contains("witness")).context("a witness cosigned")?;
        return Ok(format!("{line}\n").into_bytes());
    }
    Ok(format!("{head}\n{lines}").into_bytes())
}

/// Keys under the names that the verifier knows, but others.
pub(super) fn false_keys(origin: &str) -> Result<Keys> {
    Keys::new(origin, 66, 67)
}
