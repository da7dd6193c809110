//! Pages of keys over `SCAN`, whose own pages have any size, and cursors that guests carry.

use super::{bucket::Bucket, entry::Key, error::Call, link::Link};
use plinth_capability::{
    Error, ErrorKind, Result,
    cache::{BATCH_MAX, KeyPage},
    name::CacheKey,
};
use redis::{Cmd, Value};
use std::collections::BTreeSet;

const CALL: Call = Call::again("cache.scan");
/// Keys of the whole server that one `SCAN` looks at.
const LOOK_MAX: usize = 4_096;
/// `SCAN`s for one page; a page may so be empty and yet have a next.
const ROUNDS: usize = 200;

/// Where a scan is: the position of `SCAN`, and keys found before it for which
/// a page had no room. Written as a number and one key a line.
struct Cursor {
    position: u64,
    waiting: Vec<String>,
}

impl Cursor {
    fn parse(text: Option<&str>, prefix: &str) -> Result<Self> {
        let Some(text) = text else { return Ok(Self { position: 0, waiting: Vec::new() }) };
        let mut lines = text.split('\n');
        let position = lines.next().and_then(|line| line.strip_prefix('s')).and_then(|number| number.parse().ok());
        let waiting: Vec<_> = lines.map(str::to_owned).collect();
        let sound = |key: &String| CacheKey::new(key).is_ok() && key.starts_with(prefix);
        match position {
            Some(position) if waiting.len() <= LOOK_MAX && waiting.iter().all(sound) && (position > 0 || !waiting.is_empty()) => {
                Ok(Self { position, waiting })
            }
            _ => Err(Error::new(ErrorKind::InvalidInput, CALL.operation, "the cursor is not one of this scan")),
        }
    }

    /// `None` at the end.
    fn text(self) -> Option<String> {
        if self.position == 0 && self.waiting.is_empty() {
            return None;
        }
        let mut text = format!("s{}", self.position);
        for key in self.waiting {
            text.push('\n');
            text.push_str(&key);
        }
        Some(text)
    }
}

pub(super) async fn page(link: &Link, bucket: &Bucket, prefix: &str, cursor: Option<&str>, limit: u32) -> Result<KeyPage> {
    let first = cursor.is_none();
    let mut cursor = Cursor::parse(cursor, prefix)?;
    let limit = usize::try_from(limit).unwrap_or(BATCH_MAX).clamp(1, BATCH_MAX);
    let waiting = cursor.waiting.split_off(0);
    let (now, later) = waiting.split_at(waiting.len().min(limit));
    cursor.waiting = later.to_vec();
    let mut found: BTreeSet<String> = still_there(link, bucket, now).await?.into_iter().collect();
    // A position of 0 is the beginning and the end, and the end with keys that wait.
    let mut more = first || cursor.position != 0;
    let (mut look, pattern) = (limit, pattern(bucket, prefix));
    for _ in 0..ROUNDS {
        let room = limit.saturating_sub(found.len());
        if !more || !cursor.waiting.is_empty() || room == 0 {
            break;
        }
        let (next, keys) = look_at(link, bucket, &pattern, cursor.position, look).await?;
        let new: Vec<_> = keys.into_iter().filter(|key| !found.contains(key)).collect();
        if new.len() > room {
            // `SCAN` keeps no state: the same position is asked for fewer.
            if look > 1 {
                look /= 2;
                continue;
            }
            if !found.is_empty() {
                break;
            }
        }
        look = if new.is_empty() { (look * 2).min(LOOK_MAX) } else { look };
        let mut new = new.into_iter();
        found.extend(new.by_ref().take(room));
        cursor.waiting.extend(new);
        cursor.position = next;
        more = next != 0;
    }
    Ok(KeyPage { keys: found.into_iter().collect(), next: if more || !cursor.waiting.is_empty() { cursor.text() } else { None } })
}

async fn look_at(link: &Link, bucket: &Bucket, pattern: &str, position: u64, look: usize) -> Result<(u64, Vec<String>)> {
    let mut cmd = redis::cmd("SCAN");
    cmd.arg(position).arg("MATCH").arg(pattern).arg("COUNT").arg(look);
    let answer = link.query_at(CALL, &cmd, &bucket.entries).await?;
    let (next, keys): (u64, Vec<Vec<u8>>) = redis::from_redis_value(answer).map_err(|error| CALL.error(error.into()))?;
    let names = keys.into_iter().filter_map(|key| Some(String::from_utf8(key).ok()?.strip_prefix(&bucket.entries)?.to_owned()));
    Ok((next, names.collect::<BTreeSet<_>>().into_iter().collect()))
}

async fn still_there(link: &Link, bucket: &Bucket, keys: &[String]) -> Result<Vec<String>> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = redis::Pipeline::with_capacity(keys.len());
    for key in keys {
        let mut cmd = Cmd::new();
        cmd.arg("EXISTS").arg(Key(&bucket.entries, key));
        pipeline.add_command(cmd);
    }
    let there = link.pipeline(CALL, &pipeline).await?;
    Ok(keys.iter().zip(there).filter(|(_, there)| *there == Value::Int(1)).map(|(key, _)| key.clone()).collect())
}

/// The prefix means itself: what has a meaning in a glob is escaped.
fn pattern(bucket: &Bucket, prefix: &str) -> String {
    let mut pattern = String::with_capacity(bucket.entries.len() + prefix.len() + 8);
    for letter in bucket.entries.chars().chain(prefix.chars()) {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_a_forged_one_refused() {
        for (position, waiting) in [(7, vec![]), (0, vec!["a:1".to_owned()]), (u64::MAX, vec!["a:1".to_owned(), "a:申".to_owned()])] {
            let text = Cursor { position, waiting: waiting.clone() }.text().unwrap();
            let back = Cursor::parse(Some(&text), "a:").unwrap();
            assert_eq!((back.position, back.waiting), (position, waiting));
        }
        for forged in ["", "7", "s", "s-1", "s0", "s1\nb:1", "s1\n", "s1\na:\t", "s99999999999999999999"] {
            assert_eq!(Cursor::parse(Some(forged), "a:").err().map(|error| error.kind()), Some(ErrorKind::InvalidInput), "{forged:?}");
        }
    }
}
