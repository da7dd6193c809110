//! Each kind of tampering, one function for those that are alike.

use super::{
    attack::{Attack, Depth, Ground, Kind, false_keys, place},
    log::{ERASED_EVERY, Item, Log, Overlay, View, record},
};
use anyhow::{Context as _, Result};
use plinth_audit::{canonical, checkpoint::Checkpoint, tile::TILE_BYTES_MAX};
use rand::{
    Rng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, IteratorRandom as _},
};
use serde_json::Value;

/// Changes one record or two, or how many there are; the index from which on the log is another.
pub(super) fn records(kind: Kind, rng: &mut StdRng, log: &Log, items: &mut Vec<Item>) -> Result<usize> {
    let at = place(rng, log);
    let another = |rng: &mut StdRng| Ok::<_, anyhow::Error>(Item::New(canonical::encode(&record(rng, at))?));
    match kind {
        // A record that is there already, or a new one.
        Kind::RecordInserted if rng.random() => items.insert(at, Item::Own((at + 1) % items.len())),
        Kind::RecordInserted => items.insert(at, another(rng)?),
        Kind::RecordDeleted => drop(items.remove(at)),
        Kind::TailTruncated => items.truncate(at),
        Kind::RecordsReordered => {
            let size = items.len();
            let to = if rng.random() { (at + 1) % size } else { (at + rng.random_range(1..size)) % size };
            items.swap(at, to);
            return Ok(at.min(to));
        }
        Kind::TimeMoved => {
            let by = [-1, 1, -1_000, 86_400_000, -1_000_000_000_000].choose(rng).copied().unwrap_or(1);
            items[at] = edited(log, at, |value| {
                let moved = value["recorded_at_ms"].as_i64().unwrap_or(0) + by;
                value["recorded_at_ms"] = moved.into();
            })?;
        }
        Kind::ActorChanged => {
            let actor = format!("user:{}", rng.random_range(500..1_000));
            items[at] = edited(log, at, |value| value["actor"] = actor.into())?;
        }
        Kind::ShredListEdited => {
            let nth = at / ERASED_EVERY * ERASED_EVERY + 1;
            let at = if nth < items.len() { nth } else { 1 };
            match rng.random_range(0..3) {
                0 => drop(items.remove(at)),
                1 => items[at] = Item::New(canonical::encode(&record(rng, 0))?),
                _ => {
                    let id = format!("key-{}", rng.random_range(500..1_000));
                    items[at] = edited(log, at, |value| value["entry"]["attributes"][0][1] = id.into())?;
                }
            }
            return Ok(at);
        }
        // A record of the same length and form, another record, or bytes that are none.
        _ => match rng.random_range(0..3) {
            0 => items[at] = another(rng)?,
            1 => items[at] = edited(log, at, |value| value["plugin_version"] = "1.4.3".into())?,
            _ => {
                let mut bytes = log.records[at].clone();
                let byte = rng.random_range(0..bytes.len());
                bytes[byte] ^= 1 << rng.random_range(0..8);
                items[at] = Item::New(bytes);
            }
        },
    }
    Ok(at)
}

fn edited(log: &Log, at: usize, edit: impl FnOnce(&mut Value)) -> Result<Item> {
    let mut value: Value = serde_json::from_slice(&log.records[at])?;
    edit(&mut value);
    let bytes = canonical::encode(&value)?;
    anyhow::ensure!(bytes != log.records[at], "an edit changes the record");
    Ok(Item::New(bytes))
}

fn one(path: &str, bytes: Vec<u8>) -> Overlay {
    Overlay::from([(path.to_owned(), Some(bytes))])
}

/// An older checkpoint, signed and cosigned, over the tree it had then, with or without what came
/// later. The verifier kept a newer one; without, nothing says that there is a newer one.
pub(super) fn old_checkpoint<'a>(rng: &mut StdRng, ground: &'a Ground, epoch: usize) -> Result<Attack<'a>> {
    let log = &ground.epochs[epoch];
    let old = rng.random_range(0..log.kept.len() - 1);
    let size = log.kept[old].0 as usize;
    let mut overlay = log.forge_bundles(&log.items()[..size])?;
    overlay.extend(log.forge_tiles(&log.leaves[..size])?.0);
    if rng.random() {
        overlay.retain(|_, file| file.is_some());
    }
    overlay.insert("checkpoint".to_owned(), Some(log.kept[old].1.clone()));
    Ok(Attack { kept: Some(rng.random_range(old + 1..log.kept.len())), ..Attack::files(rng, ground, epoch, overlay) })
}

/// A byte of the lines below the text, a line that is gone, or one of another checkpoint.
pub(super) fn signature<'a>(rng: &mut StdRng, ground: &'a Ground, epoch: usize) -> Result<Attack<'a>> {
    let log = &ground.epochs[epoch];
    let mut note = log.file("checkpoint")?;
    let begin = note.windows(2).position(|two| two == b"\n\n").context("a note has a text")? + 2;
    let at = rng.random_range(begin..note.len());
    match rng.random_range(0..4) {
        0 => drop(note.remove(at)),
        1 => {
            let text = String::from_utf8(note)?;
            let line = rng.random_range(0..2);
            let mut lines = text[begin..].lines().collect::<Vec<_>>();
            lines.remove(line);
            note = format!("{}{}\n", &text[..begin], lines.join("\n")).into_bytes();
        }
        2 => {
            let from = &log.kept[rng.random_range(0..log.kept.len() - 1)].1;
            let lines = from.windows(2).position(|two| two == b"\n\n").context("a note has a text")? + 2;
            note.splice(begin.., from[lines..].iter().copied());
        }
        _ => {
            let new = rng.random_range(b' '..=b'~');
            note[at] = if note[at] == new { b'\n' } else { new };
        }
    }
    Ok(Attack::files(rng, ground, epoch, one("checkpoint", note)))
}

/// All of another log or some of it: a stranger's, or the other epoch.
pub(super) fn swapped<'a>(rng: &mut StdRng, ground: &'a Ground, epoch: usize) -> Result<Attack<'a>> {
    let log = &ground.epochs[epoch];
    let other = if rng.random() { &ground.other } else { &ground.epochs[1 - epoch] };
    let overlay = match rng.random_range(0..5) {
        0 => {
            return Ok(Attack { view: View { base: other, overlay: Overlay::new() }, ..Attack::files(rng, ground, epoch, Overlay::new()) });
        }
        1 => {
            let overlay = one("checkpoint", log.file("checkpoint")?);
            return Ok(Attack { view: View { base: other, overlay }, ..Attack::files(rng, ground, epoch, Overlay::new()) });
        }
        2 => {
            // With the log's key: the whole other log under this one's name.
            let items = other.records.iter().cloned().map(Item::New).collect::<Vec<_>>();
            let depth = if rng.random() { Depth::KeyAgainstWitness } else { Depth::KeyAgainstKept };
            let forged = (log.forge_bundles(&items)?, &log.leaves_of(&items)[..]);
            return Attack::at_depth(rng, ground, epoch, forged, 0, depth);
        }
        3 => one("checkpoint", other.file("checkpoint")?),
        _ => {
            let differs = |path: &&String| path.starts_with("tile/") && other.file(path).is_ok();
            let path = log.sorted().into_iter().filter(differs).choose(rng).context("two logs share names")?;
            one(path, other.file(path)?)
        }
    };
    Ok(Attack::files(rng, ground, epoch, overlay))
}

/// A tile's byte, its length, its place, or that it is there; or a leaf with all tiles above it.
pub(super) fn tile<'a>(rng: &mut StdRng, ground: &'a Ground, epoch: usize) -> Result<Attack<'a>> {
    let log = &ground.epochs[epoch];
    let tiles = log.sorted().into_iter().filter(|path| path.starts_with("tile/") && !path.starts_with("tile/entries/")).collect::<Vec<_>>();
    let path = tiles.choose(rng).context("a log has tiles")?.as_str();
    let mut bytes = log.file(path)?;
    let overlay = match rng.random_range(0..5) {
        0 => Overlay::from([(path.to_owned(), None)]),
        1 => {
            bytes.truncate(rng.random_range(0..bytes.len()));
            one(path, bytes)
        }
        2 => {
            let full = |to: &&&String| ***to != path && log.file(to).is_ok_and(|file| file.len() == TILE_BYTES_MAX);
            let to = tiles.iter().filter(full).choose(rng).context("a log has full tiles")?;
            one(to, bytes)
        }
        3 => {
            let (mut leaves, at) = (log.leaves.clone(), place(rng, log));
            leaves[at] = plinth_audit::hash::leaf_hash(&bytes);
            let depth = [Depth::Tiles, Depth::Text, Depth::KeyAgainstWitness, Depth::KeyAgainstKept].choose(rng).copied();
            return Attack::at_depth(rng, ground, epoch, (Overlay::new(), &leaves), at, depth.context("there are depths")?);
        }
        _ => {
            let at = rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << rng.random_range(0..8);
            one(path, bytes)
        }
    };
    Ok(Attack::files(rng, ground, epoch, overlay))
}

/// The first record of the second epoch: gone, another, or with another attribute; or what it names.
/// Of the last two the attacker holds the log's key and the verifier has neither witness nor checkpoint:
/// the link alone tells.
pub(super) fn link<'a>(rng: &mut StdRng, ground: &'a Ground) -> Result<Attack<'a>> {
    let log = &ground.epochs[1];
    let mut items = log.items();
    let alone = |attack: Attack<'a>| Ok(Attack { kept: None, witnessed: false, ..attack });
    let with_key = Depth::KeyAgainstKept;
    match rng.random_range(0..6) {
        0 => drop(items.remove(0)),
        1 => items[0] = Item::New(canonical::encode(&record(rng, 0))?),
        2 => return Ok(Attack::files(rng, ground, 1, log.sorted().into_iter().map(|path| (path.clone(), None)).collect())),
        3 => items[0] = edited(log, 0, |value| value["entry"]["attributes"][rng.random_range(0..8)][1] = "7".into())?,
        4 => {
            // All but the reason and the number that is missing, which nothing else says.
            let at = rng.random_range(1..7);
            items[0] = edited(log, 0, |value| value["entry"]["attributes"][at][1] = "7".into())?;
            let forged = (log.forge_bundles(&items)?, &log.leaves_of(&items)[..]);
            return alone(Attack::at_depth(rng, ground, 1, forged, 0, with_key)?);
        }
        _ => {
            let log = &ground.epochs[0];
            let mut items = log.items();
            let kind = [Kind::RecordChanged, Kind::RecordDeleted, Kind::TailTruncated].choose(rng).copied();
            let first = records(kind.context("there are kinds")?, rng, log, &mut items)?;
            let forged = (log.forge_bundles(&items)?, &log.leaves_of(&items)[..]);
            return alone(Attack::at_depth(rng, ground, 0, forged, first, with_key)?);
        }
    }
    Attack::rewritten(rng, ground, 1, &items, 0)
}

/// Keys of the attacker's under the names of the log, of the witness, or of both.
pub(super) fn key<'a>(rng: &mut StdRng, ground: &'a Ground, epoch: usize) -> Result<Attack<'a>> {
    let log = &ground.epochs[epoch];
    let (own, fake) = (&log.keys, false_keys(&log.origin)?);
    let mut items = log.items();
    records(Kind::RecordChanged, rng, log, &mut items)?;
    let (tiles, head) = log.forge_tiles(&log.leaves_of(&items))?;
    let mut overlay = log.forge_bundles(&items)?;
    overlay.extend(tiles);
    let sign = |head: &Checkpoint, by: &plinth_audit::note::SignerKey, and: &plinth_audit::note::SignerKey| {
        let mut note = head.to_note().context("a checkpoint is a note")?;
        note.sign(by, 0)?;
        note.sign(and, 1_793_491_200)?;
        Ok::<_, anyhow::Error>(note.to_bytes())
    };
    let note = match rng.random_range(0..4) {
        // The records are left as they are: only the signature is another's.
        0 => {
            overlay = Overlay::new();
            sign(&log.checkpoint()?, &fake.log, &own.witness)?
        }
        1 => sign(&head, &fake.log, &fake.witness)?,
        2 => sign(&head, &own.log, &fake.witness)?,
        _ => sign(&head, &fake.log, &own.witness)?,
    };
    overlay.insert("checkpoint".to_owned(), Some(note));
    Ok(Attack::files(rng, ground, epoch, overlay))
}
