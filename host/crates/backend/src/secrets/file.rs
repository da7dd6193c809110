//! Key files: one per key, for the owner only, replaced whole.

use super::key::{Ring, SEED_LEN, Seed};
use aws_lc_rs::rand;
use plinth_capability::{Error, ErrorKind, Result};
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    sync::Arc,
};

/// Named keys in one directory.
const KEYS_MAX: usize = 1_000;
/// Versions of one key; verifying tries each.
const VERSIONS_MAX: usize = 64;
const NAME_MAX: usize = 128;
/// No key file is larger: a header and `VERSIONS_MAX` lines.
const FILE_MAX: u64 = 16 << 10;
const HEADER: &str = "plinth key file 1";
const EXTENSION: &str = ".key";
const LOCK: &str = ".lock";

/// Changes hold the lock file, so that hosts which share the directory neither
/// lose a version nor make a key twice. Reads need no lock: a file is replaced
/// by rename and only ever gains versions.
pub(super) struct KeyDirectory {
    path: PathBuf,
}

impl KeyDirectory {
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| failed("the key directory cannot be made", error))?;
        let directory = Self { path };
        directory.lock()?;
        Ok(directory)
    }

    pub(super) fn load_all(&self) -> Result<HashMap<String, Arc<Ring>>> {
        let mut rings = HashMap::new();
        for name in self.names()? {
            if let Some(seeds) = self.read(&name)? {
                rings.insert(name, Arc::new(ring(&seeds)?));
            }
        }
        Ok(rings)
    }

    pub(super) fn load_or_create(&self, name: &str) -> Result<Ring> {
        check(name)?;
        let _locked = self.lock()?;
        if let Some(seeds) = self.read(name)? {
            return ring(&seeds);
        }
        if self.names()?.len() >= KEYS_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "secrets.create", format!("there are {KEYS_MAX} keys already")));
        }
        self.write(name, vec![fresh()?])
    }

    pub(super) fn rotate(&self, name: &str) -> Result<Ring> {
        check(name)?;
        let _locked = self.lock()?;
        let missing = || Error::new(ErrorKind::NotFound, "secrets.rotate", "no key of this name was ever used");
        let mut seeds = self.read(name)?.ok_or_else(missing)?;
        if seeds.len() >= VERSIONS_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "secrets.rotate", format!("the key has {VERSIONS_MAX} versions already")));
        }
        seeds.push(fresh()?);
        self.write(name, seeds)
    }

    /// The key if its file holds more versions than are known.
    pub(super) fn load_newer(&self, name: &str, known: Option<usize>) -> Result<Option<Ring>> {
        check(name)?;
        match self.read(name)? {
            Some(seeds) if known.is_none_or(|known| known < seeds.len()) => ring(&seeds).map(Some),
            _ => Ok(None),
        }
    }

    /// Held until the file is dropped.
    fn lock(&self) -> Result<File> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(self.path.join(LOCK));
        let locked = file.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| failed("the key directory cannot be locked", error))
    }

    fn names(&self) -> Result<Vec<String>> {
        let unlisted = |error| failed("the key directory cannot be listed", error);
        let mut names = Vec::new();
        for entry in self.path.read_dir().map_err(unlisted)? {
            let file = entry.map_err(unlisted)?.file_name();
            names.extend(file.to_str().and_then(|file| file.strip_suffix(EXTENSION)).map(|name| name.replace('~', "/")));
        }
        Ok(names.into_iter().filter(|name| check(name).is_ok()).collect())
    }

    /// `/` is the only character of a name that a file name cannot have, and
    /// `~` none that a name can.
    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{}{EXTENSION}", name.replace('/', "~")))
    }

    fn read(&self, name: &str) -> Result<Option<Vec<Seed>>> {
        let file = match File::open(self.file(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("a key file cannot be opened", error)),
        };
        let mode = file.metadata().map_err(|error| failed("a key file cannot be read", error))?.permissions().mode();
        if mode & 0o077 != 0 {
            let source = format!("{} has mode {:o}, expected 600", self.file(name).display(), mode & 0o777);
            return Err(failed("a key file is open to others", source));
        }
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text).map_err(|error| failed("a key file cannot be read", error))?;
        let seeds = decode(name, &text);
        seeds.map(Some).ok_or_else(|| failed("a key file is not one of this format", self.file(name).display().to_string()))
    }

    /// Durable before the key is used: what a lost key sealed is lost too.
    fn write(&self, name: &str, seeds: Vec<Seed>) -> Result<Ring> {
        let unwritten = |error| failed("a key file cannot be written", error);
        let temporary = self.path.join(".new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary).map_err(unwritten)?;
        // The file may be left over from a crash, or the umask be odd.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(unwritten)?;
        file.write_all(encode(name, &seeds).as_bytes()).and_then(|()| file.sync_all()).map_err(unwritten)?;
        std::fs::rename(&temporary, self.file(name)).map_err(unwritten)?;
        File::open(&self.path).and_then(|directory| directory.sync_all()).map_err(unwritten)?;
        ring(&seeds)
    }
}

fn check(name: &str) -> Result<()> {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.');
    let character = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if name.len() > NAME_MAX || !name.chars().all(character) || !name.split('/').all(part) {
        let message = format!("a key name is 1 to {NAME_MAX} letters, digits, `-`, `_`, `.` and `/`");
        return Err(Error::new(ErrorKind::InvalidInput, "secrets.key", message));
    }
    Ok(())
}

fn fresh() -> Result<Seed> {
    let mut seed = [0; SEED_LEN];
    rand::fill(&mut seed).map_err(|_| failed("the system has no random bytes", "random source failed"))?;
    Ok(seed)
}

fn ring(seeds: &[Seed]) -> Result<Ring> {
    Ring::new(seeds).ok_or_else(|| failed("a key cannot be derived", "no seed, or derivation failed"))
}

/// The name is inside too: a file that was renamed or confused by a file system
/// without letter case is refused, and does not become another key.
fn encode(name: &str, seeds: &[Seed]) -> String {
    let mut text = format!("{HEADER}\n{name}\n");
    for seed in seeds {
        for byte in seed {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    text
}

fn decode(name: &str, text: &str) -> Option<Vec<Seed>> {
    // The last line is whole, or the file was cut.
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != HEADER || lines.next()? != name {
        return None;
    }
    let seeds: Vec<Seed> = lines.map(decode_seed).collect::<Option<_>>()?;
    (1..=VERSIONS_MAX).contains(&seeds.len()).then_some(seeds)
}

fn decode_seed(line: &str) -> Option<Seed> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = line.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

fn failed(message: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Failed, "secrets.keys", message).with_source(source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_file_gives_back_its_seeds(seeds in prop::collection::vec(any::<Seed>(), 1..VERSIONS_MAX)) {
            let text = encode("a/b", &seeds);
            prop_assert!(text.len() as u64 <= FILE_MAX);
            prop_assert_eq!(decode("a/c", &text), None);
            prop_assert_eq!(decode("a/b", &text[..text.len() - 1]), None);
            prop_assert_eq!(decode("a/b", &text), Some(seeds));
        }

        #[test]
        fn any_text_is_read_without_harm(text in ".{0,200}") {
            prop_assert_eq!(decode("a", &format!("{HEADER}\na\n{text}")), None);
        }
    }

    #[test]
    fn names_stay_in_the_directory() {
        for name in ["webhook", "plugin/webhook.2026", "A_b-c"] {
            check(name).unwrap();
        }
        for name in ["", "..", "../x", "a/../b", "/a", "a/", ".lock", "a~b", "a b", "ä", &"k".repeat(129)] {
            assert_eq!(check(name).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        }
    }
}
