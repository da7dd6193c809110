//! How batches of records lie in a spool file, and what is left of them after a crash.
//!
//! A file begins with `plnspl1\n`. Each batch is a frame: four bytes that say so,
//! the length of what follows, the first eight bytes of its SHA-256, and then the
//! records, each behind its length. Lengths are little-endian, of four bytes.

use plinth_audit::hash::sha256;

pub(super) const HEAD: &[u8; 8] = b"plnspl1\n";
const MARK: [u8; 4] = *b"\xf5spl";
const SUM: usize = 8;
const FRAME_HEAD: usize = 8 + SUM;

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) records: Vec<Vec<u8>>,
    /// Something in front of a whole frame, which was safe on the disk once, is not whole: how many bytes.
    pub(super) damaged: usize,
}

pub(super) fn frame(records: &[Vec<u8>]) -> Vec<u8> {
    let mut body = Vec::new();
    for record in records {
        body.extend_from_slice(&number(record.len()));
        body.extend_from_slice(record);
    }
    let mut frame = MARK.to_vec();
    frame.extend_from_slice(&number(body.len()));
    frame.extend_from_slice(sum(&body).as_slice());
    frame.append(&mut body);
    frame
}

fn sum(body: &[u8]) -> [u8; SUM] {
    let hash = sha256(body);
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Records are far below four gigabytes.
fn number(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// What was never confirmed may be torn at the end of the file; it is left out. A frame is written after the one
/// before was confirmed, so what is broken in front of a whole one is damage.
pub(super) fn read(file: &[u8]) -> Read {
    let mut found = Read::default();
    let mut rest = file.strip_prefix(HEAD).unwrap_or(file);
    let mut broken = file.len() - rest.len() != HEAD.len() && !file.is_empty();
    let mut skipped = 0;
    while !rest.is_empty() {
        match whole(rest) {
            Some((body, behind)) => {
                if std::mem::take(&mut broken) {
                    found.damaged += skipped.max(1);
                }
                skipped = 0;
                found.records.extend(records(body));
                rest = behind;
            }
            None => {
                broken = true;
                skipped += 1;
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    found
}

/// The frame at the start of these bytes, and what is behind it.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(FRAME_HEAD)?;
    let (mark, head) = head.split_first_chunk::<4>()?;
    let (length, expected) = head.split_first_chunk::<4>()?;
    if *mark != MARK {
        return None;
    }
    let (body, behind) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    (sum(body).as_slice() == expected).then_some((body, behind))
}

fn records(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let Some((length, rest)) = body.split_first_chunk::<4>()
        && let Some((record, behind)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        records.push(record.to_vec());
        body = behind;
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(batches: &[&[&str]]) -> Vec<u8> {
        let frames = batches.iter().flat_map(|batch| frame(&batch.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>()));
        HEAD.iter().copied().chain(frames).collect()
    }

    fn texts(read: &Read) -> Vec<&str> {
        read.records.iter().map(|record| std::str::from_utf8(record).unwrap()).collect()
    }

    #[test]
    fn what_is_torn_at_the_end_is_left_out_wherever_it_is_torn() {
        let whole = file(&[&["one", ""], &["two"], &["three", "four"]]);
        let second = file(&[&["one", ""], &["two"]]).len();
        for end in second..whole.len() {
            let found = read(&whole[..end]);
            assert_eq!((texts(&found), found.damaged), (vec!["one", "", "two"], 0), "{end}");
        }
        assert_eq!(texts(&read(&whole)), ["one", "", "two", "three", "four"]);
        for end in 0..HEAD.len() {
            assert_eq!(read(&HEAD[..end]), Read::default(), "{end}");
        }
    }

    #[test]
    fn what_is_broken_in_front_of_a_whole_frame_is_damage() {
        let whole = file(&[&["one"], &["two"], &["three"]]);
        let (first, second) = (file(&[&["one"]]).len(), file(&[&["one"], &["two"]]).len());
        for at in first..second {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 0x41;
            let found = read(&spoilt);
            assert_eq!(texts(&found), ["one", "three"], "{at}");
            assert!(found.damaged > 0, "{at}");
        }
    }
}
