//! Which keys carry a tag, kept right while entries are overwritten, evicted and expire.

use plinth_capability::name::{CacheKey, Tag};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One write of one entry; no two writes share one.
pub(super) type Stamp = u64;

/// A write whose future was dropped before its outcome was known.
pub(super) struct Suspect {
    pub(super) key: CacheKey,
    pub(super) stamp: Stamp,
    pub(super) tags: Box<[Tag]>,
}

/// A pair (tag, key) carries the stamp of the write that made it, so whoever
/// removes the pairs of a replaced entry cannot remove those of its successor,
/// in whatever order the two arrive. Bounded by the entries of the bucket, whose
/// tags are limited and weighed.
#[derive(Default)]
pub(super) struct TagIndex {
    // A std mutex: held for map lookups, never across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: HashMap<Tag, HashMap<CacheKey, Stamp>>,
    suspects: Vec<Suspect>,
}

impl TagIndex {
    pub(super) fn add(&self, tags: &[Tag], key: &CacheKey, stamp: Stamp) {
        if tags.is_empty() {
            return;
        }
        let mut state = self.lock();
        for tag in tags {
            state.keys.entry(tag.clone()).or_default().insert(key.clone(), stamp);
        }
    }

    /// Forgets the pairs that this write made; those of a later write stay.
    pub(super) fn remove(&self, tags: &[Tag], key: &CacheKey, stamp: Stamp) {
        if tags.is_empty() {
            return;
        }
        let mut state = self.lock();
        for tag in tags {
            state.remove(tag, key, stamp);
        }
    }

    /// The keys that carry one of the tags, each once.
    pub(super) fn keys(&self, tags: &[Tag]) -> Vec<CacheKey> {
        let state = self.lock();
        let mut keys: Vec<_> = tags.iter().filter_map(|tag| state.keys.get(tag)).flat_map(HashMap::keys).cloned().collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Remembers a write that may have left pairs without an entry.
    pub(super) fn suspect(&self, suspect: Suspect) {
        self.lock().suspects.push(suspect);
    }

    pub(super) fn next_suspect(&self) -> Option<Suspect> {
        self.lock().suspects.pop()
    }

    /// Makes the pairs of `suspect` those of `current`, the entry that is there.
    pub(super) fn settle(&self, suspect: &Suspect, current: Option<(Stamp, &[Tag])>) {
        let mut state = self.lock();
        for tag in &suspect.tags {
            match current {
                Some((stamp, tags)) if tags.contains(tag) => state.restamp(tag, &suspect.key, suspect.stamp, stamp),
                _ => state.remove(tag, &suspect.key, suspect.stamp),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn pairs(&self) -> usize {
        self.lock().keys.values().map(HashMap::len).sum()
    }

    /// A panic elsewhere cannot leave the maps torn: each change is one call.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, tag: &Tag, key: &CacheKey, stamp: Stamp) {
        let Some(keys) = self.keys.get_mut(tag) else { return };
        if keys.get(key) == Some(&stamp) {
            keys.remove(key);
        }
        if keys.is_empty() {
            self.keys.remove(tag);
        }
    }

    fn restamp(&mut self, tag: &Tag, key: &CacheKey, from: Stamp, to: Stamp) {
        if let Some(stamp) = self.keys.get_mut(tag).and_then(|keys| keys.get_mut(key)).filter(|stamp| **stamp == from) {
            *stamp = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Box<[Tag]> {
        names.iter().map(|name| Tag::new(name).expect("a good tag")).collect()
    }

    #[test]
    fn a_late_removal_spares_the_successor() {
        let (index, key) = (TagIndex::default(), CacheKey::new("k").expect("a good key"));
        index.add(&tags(&["both", "old"]), &key, 1);
        index.add(&tags(&["both", "new"]), &key, 2);
        index.remove(&tags(&["both", "old"]), &key, 1);
        assert_eq!((index.keys(&tags(&["both"])).len(), index.keys(&tags(&["old"])).len(), index.pairs()), (1, 0, 2));
        assert_eq!(index.keys(&tags(&["both", "new"])), [key]);
    }

    #[test]
    fn a_suspect_is_settled_by_what_is_there() {
        let (index, key) = (TagIndex::default(), CacheKey::new("k").expect("a good key"));
        let suspect = |stamp| Suspect { key: key.clone(), stamp, tags: tags(&["a", "b"]) };
        index.add(&tags(&["a"]), &key, 1);
        index.add(&tags(&["a", "b"]), &key, 2);
        index.settle(&suspect(2), Some((1, &tags(&["a"]))));
        index.remove(&tags(&["a"]), &key, 1);
        assert_eq!(index.pairs(), 0, "the old entry took its pair along");
        index.add(&tags(&["a", "b"]), &key, 3);
        index.settle(&suspect(3), Some((3, &tags(&["a", "b"]))));
        assert_eq!(index.pairs(), 2, "the write had happened after all");
        index.settle(&suspect(3), None);
        assert_eq!(index.pairs(), 0);
    }
}
