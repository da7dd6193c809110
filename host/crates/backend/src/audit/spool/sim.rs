//! A disk that crashes: what was not synced is lost, kept, torn or garbled, as chance has it.

use super::disk::Disk;
use rand::{Rng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    /// So many of them would be there after a crash for certain.
    synced: usize,
}

struct State {
    random: StdRng,
    /// In a hundred calls.
    faults: u32,
    files: Vec<Content>,
    /// What a name is now, and what it would be after a crash for certain.
    names: BTreeMap<String, usize>,
    synced: BTreeMap<String, usize>,
}

/// Clones are the same disk.
#[derive(Clone)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    pub(super) fn new(random: StdRng, faults: u32) -> Self {
        let state = State { random, faults, files: Vec::new(), names: BTreeMap::new(), synced: BTreeMap::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    pub(super) fn without_faults(&self) {
        self.with(|state| state.faults = 0);
    }

    /// The machine goes down and comes back.
    pub(super) fn crash(&self) {
        self.with(|state| {
            let names: Vec<String> = state.names.keys().chain(state.synced.keys()).cloned().collect();
            for name in names {
                let (now, before) = (state.names.get(&name).copied(), state.synced.get(&name).copied());
                let kept = if now == before || state.random.random_bool(0.5) { now } else { before };
                match kept {
                    Some(file) => state.names.insert(name, file),
                    None => state.names.remove(&name),
                };
            }
            for file in &mut state.files {
                let unsynced = file.bytes.len() - file.synced;
                file.bytes.truncate(file.synced + state.random.random_range(0..=unsynced));
                // What was never synced may have any content, in blocks.
                if state.random.random_bool(0.3) {
                    let from = state.random.random_range(file.synced..=file.bytes.len());
                    file.bytes[from..].fill(0);
                }
                file.synced = file.bytes.len();
            }
            state.synced = state.names.clone();
        });
    }
}

impl State {
    fn may_fail(&mut self) -> io::Result<()> {
        let fails = self.random.random_ratio(self.faults, 100);
        if fails { Err(io::Error::other("a fault of the disk")) } else { Ok(()) }
    }
}

impl Disk for SimDisk {
    type File = usize;

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|state| state.names.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.with(|state| {
            let file = state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
            Ok(state.files[*file].bytes.clone())
        })
    }

    fn create(&self, name: &str) -> io::Result<usize> {
        self.with(|state| {
            state.may_fail()?;
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.files.push(Content::default());
            state.names.insert(name.to_owned(), state.files.len() - 1);
            Ok(state.files.len() - 1)
        })
    }

    fn append(&self, file: &mut usize, bytes: &[u8]) -> io::Result<()> {
        self.with(|state| {
            let failed = state.may_fail();
            // A full disk takes a part.
            let taken = if failed.is_ok() { bytes.len() } else { state.random.random_range(0..=bytes.len()) };
            state.files[*file].bytes.extend_from_slice(&bytes[..taken]);
            failed
        })
    }

    fn sync(&self, file: &mut usize) -> io::Result<()> {
        self.with(|state| {
            state.may_fail()?;
            let content = &mut state.files[*file];
            content.synced = content.bytes.len();
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.with(|state| {
            state.may_fail()?;
            state.names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.with(|state| {
            state.may_fail()?;
            state.synced = state.names.clone();
            Ok(())
        })
    }
}

/// For the model: a number below this.
pub(super) fn below(random: &mut impl Rng, end: usize) -> usize {
    random.random_range(0..end)
}
