//! The files of the spool: batches are added to the newest, and the oldest goes once all of it is in the log.

use super::{
    Spooled,
    disk::Disk,
    frame::{HEAD, frame, read},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// A file takes no more batches from here on.
const FILE_BYTES: u64 = 4 << 20;
const SUFFIX: &str = ".spool";
/// Of files that were damaged, and of records that the log refused: kept for whoever is to look at them.
const KEPT: &str = ".kept";

/// One file that has what is not in the log yet.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    records: u64,
    bytes: u64,
}

pub(super) struct Store<D: Disk> {
    disk: D,
    bytes_max: u64,
    files: BTreeMap<u64, Held>,
    /// The newest file, if it can take more.
    open: Option<(u64, D::File)>,
    next: u64,
    kept: u64,
    /// Of the kept files those that this process has written to their end.
    whole: BTreeSet<String>,
}

/// Why a batch was not taken. Nothing of it was confirmed.
#[derive(Debug)]
pub(super) enum Refused {
    Full,
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

impl<D: Disk> Store<D> {
    /// Finds again what was confirmed before. A file that is damaged gives what is whole in it, and is kept.
    pub(super) fn open(disk: D, bytes_max: u64) -> io::Result<Self> {
        let mut store = Self { disk, bytes_max, files: BTreeMap::new(), open: None, next: 0, kept: 0, whole: BTreeSet::new() };
        for found in store.disk.names()? {
            if found.ends_with(KEPT) {
                store.kept += 1;
            }
            let number = found.strip_suffix(SUFFIX).or_else(|| found.split_once('.').map(|(number, _)| number));
            let Some(number) = number.and_then(|number| u64::from_str_radix(number, 16).ok()) else { continue };
            store.next = store.next.max(number + 1);
            if found == name(number) {
                let bytes = store.disk.read(&found)?;
                let records = read(&bytes).records.len() as u64;
                store.files.insert(number, Held { records, bytes: bytes.len() as u64 });
            }
        }
        Ok(store)
    }

    pub(super) fn standing(&self) -> Spooled {
        let sum = |of: fn(&Held) -> u64| self.files.values().map(of).sum();
        Spooled { records: sum(|held| held.records), bytes: sum(|held| held.bytes), kept: self.kept }
    }

    /// On the disk when this returns, in one piece or not at all.
    pub(super) fn put(&mut self, batch: &[Vec<u8>]) -> Result<(), Refused> {
        let frame = frame(batch);
        if self.standing().bytes + (HEAD.len() + frame.len()) as u64 > self.bytes_max {
            return Err(Refused::Full);
        }
        let (number, mut file) = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        // After an error nobody knows what is on the disk, and a second sync would not tell: the file gets no more.
        let held = self.files.entry(number).or_default();
        held.bytes += frame.len() as u64;
        self.disk.append(&mut file, &frame)?;
        self.disk.sync(&mut file)?;
        held.records += batch.len() as u64;
        if held.bytes < FILE_BYTES {
            self.open = Some((number, file));
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<(u64, D::File)> {
        let number = self.next;
        self.next += 1;
        let mut file = self.disk.create(&name(number))?;
        self.files.insert(number, Held { records: 0, bytes: HEAD.len() as u64 });
        self.disk.append(&mut file, HEAD)?;
        self.disk.sync_folder()?;
        Ok((number, file))
    }

    /// What is oldest. Its file gets nothing more, so that it can go once this is in the log.
    pub(super) fn oldest(&mut self) -> io::Result<Option<(u64, Vec<Vec<u8>>)>> {
        let Some(number) = self.files.first_key_value().map(|(number, _)| *number) else { return Ok(None) };
        if self.open.as_ref().is_some_and(|(open, _)| *open == number) {
            self.open = None;
        }
        let bytes = self.disk.read(&name(number))?;
        let found = read(&bytes);
        if found.damaged > 0 {
            self.keep(number, "damaged", &bytes)?;
        }
        Ok(Some((number, found.records)))
    }

    /// Everything of this file is in the log, or is kept.
    pub(super) fn done(&mut self, number: u64) -> io::Result<()> {
        self.disk.remove(&name(number))?;
        self.files.remove(&number);
        // If the file comes back after a crash, its records are in the log already, under their ids.
        self.disk.sync_folder()
    }

    /// Puts records aside that the log will never take.
    pub(super) fn set_aside(&mut self, number: u64, records: &[Vec<u8>]) -> io::Result<()> {
        let mut lines = records.join(&b'\n');
        lines.push(b'\n');
        self.keep(number, "refused", &lines)
    }

    /// Once in the life of this process; what one before has left of it may be a part.
    fn keep(&mut self, number: u64, why: &str, bytes: &[u8]) -> io::Result<()> {
        let name = kept_name(number, why);
        if self.whole.contains(&name) {
            return Ok(());
        }
        if self.disk.names()?.contains(&name) {
            self.disk.remove(&name)?;
        }
        let mut file = self.disk.create(&name)?;
        self.disk.append(&mut file, bytes)?;
        self.disk.sync(&mut file)?;
        self.disk.sync_folder()?;
        self.kept = self.disk.names()?.iter().filter(|name| name.ends_with(KEPT)).count() as u64;
        self.whole.insert(name);
        Ok(())
    }
}

fn kept_name(number: u64, why: &str) -> String {
    format!("{number:016x}.{why}{KEPT}")
}
