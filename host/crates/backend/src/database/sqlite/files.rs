//! Which file a database is in, and back.

use plinth_capability::{Error, ErrorKind, Result, name::DatabaseName};
use std::path::Path;

const SUFFIX: &str = ".db";
/// Most file systems end a name at 255 bytes; `-wal` comes behind ours.
const LENGTH_MAX: usize = 240;

/// Lower-case letters, digits, `-`, `_` and `.` stay; the rest becomes `%XX`, so
/// that no two names share a file, not even where case does not count.
pub(super) fn encode(name: &DatabaseName) -> Result<String> {
    let mut file = String::with_capacity(name.as_str().len() + SUFFIX.len());
    for byte in name.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => file.push(char::from(byte)),
            _ => file.push_str(&format!("%{byte:02X}")),
        }
    }
    file.push_str(SUFFIX);
    if file.len() > LENGTH_MAX {
        return Err(Error::new(ErrorKind::InvalidInput, "database.open", "the name is too long for a file"));
    }
    Ok(file)
}

/// `None` for a file that no database of ours is in.
fn decode(file: &str) -> Option<DatabaseName> {
    let mut rest = file.strip_suffix(SUFFIX)?;
    let mut name = String::with_capacity(rest.len());
    while let Some(at) = rest.find('%') {
        let (plain, escaped) = rest.split_at_checked(at)?;
        let byte = u8::from_str_radix(escaped.get(1..3)?, 16).ok()?;
        name.push_str(plain);
        name.push(char::from(byte));
        rest = escaped.get(3..)?;
    }
    name.push_str(rest);
    let name = DatabaseName::new(&name).ok()?;
    // Two files must not be one database.
    encode(&name).is_ok_and(|again| again == file).then_some(name)
}

/// The databases that have a file, in order of their names.
pub(super) async fn list(dir: &Path) -> Result<Vec<DatabaseName>> {
    let unreadable = |e| Error::new(ErrorKind::Unavailable, "database.open", "the data folder cannot be read").with_source(e);
    tokio::fs::create_dir_all(dir).await.map_err(unreadable)?;
    let mut entries = tokio::fs::read_dir(dir).await.map_err(unreadable)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(unreadable)? {
        names.extend(entry.file_name().to_str().and_then(decode));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_are_one_to_one() {
        for name in ["ticketing", "shared/ticketing", "Shared/ticketing", "a.b/c-d_e", "x/y.db"] {
            let name = DatabaseName::new(name).unwrap();
            let file = encode(&name).unwrap();
            assert!(!file.contains('/') && !file.chars().any(|c| c.is_ascii_uppercase() && !file.contains('%')));
            assert_eq!(decode(&file), Some(name));
        }
        assert_eq!(encode(&DatabaseName::new("shared/Tickets").unwrap()).unwrap(), "shared%2F%54ickets.db");
        for file in ["a.db-wal", "a%2fb.db", "a%2.db", "A.db", "..db", "%41%.db", "a%é.db", "notes.txt"] {
            assert_eq!(decode(file), None, "{file}");
        }
        assert_eq!(encode(&DatabaseName::new(&"A".repeat(100)).unwrap()).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
