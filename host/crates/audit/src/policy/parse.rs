//! The policy's text.

use super::{ENTRIES_MAX, Group, LogEntry, Member, POLICY_MAX, Policy, WitnessEntry};
use crate::{
    note::{KeyError, SignatureType, VerifierKey},
    text,
};
use std::collections::BTreeSet;

/// The name that stands for no witness at all.
const NONE: &[u8] = b"none";

/// Why a text is no policy, and in which line (counted from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than [`POLICY_MAX`] bytes, or more than [`ENTRIES_MAX`] logs, witnesses or groups.
    #[error("a policy has at most {POLICY_MAX} bytes and {ENTRIES_MAX} logs, witnesses and groups each")]
    TooLarge,
    /// A control character other than tab and newline, or no newline at the end.
    #[error("line {0} has a control character or no newline")]
    Characters(usize),
    /// Not one of the lines that tlog-policy defines.
    #[error("line {0} is not a log, witness, group or quorum line")]
    Line(usize),
    /// A key that cannot be read.
    #[error("line {0} has no usable key: {1}")]
    Key(usize, KeyError),
    /// A key that signs in a way which logs, or witnesses, do not.
    #[error("line {0} has a key of a type that does not fit")]
    KeyType(usize),
    /// A public key, a name or the quorum that was there before.
    #[error("line {0} repeats a key, a name or the quorum")]
    Duplicate(usize),
    /// A name that no line before defines, that is in a group already, or that must not be used.
    #[error("line {0} uses a name that is not defined, or not free")]
    Name(usize),
    /// Not 1 to the number of members.
    #[error("line {0} has a threshold that its members cannot meet")]
    Threshold(usize),
    /// No `quorum` line.
    #[error("there is no quorum line")]
    NoQuorum,
}

#[derive(Default)]
struct Parser {
    logs: Vec<LogEntry>,
    witnesses: Vec<WitnessEntry>,
    groups: Vec<Group>,
    quorum: Option<Option<Member>>,
    /// Members that are in a group.
    taken: BTreeSet<Member>,
    line: usize,
}

impl Policy {
    /// Reads a policy: at most [`POLICY_MAX`] bytes and [`ENTRIES_MAX`] logs, witnesses and groups each.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        if bytes.len() > POLICY_MAX {
            return Err(PolicyError::TooLarge);
        }
        let mut parser = Parser::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            parser.line += 1;
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or(PolicyError::Characters(parser.line))?;
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or_default();
            if line.iter().any(|byte| *byte != b'\t' && (*byte < b' ' || *byte == 0x7f)) {
                return Err(PolicyError::Characters(parser.line));
            }
            parser.read(line)?;
        }
        let quorum = parser.quorum.ok_or(PolicyError::NoQuorum)?;
        Ok(Self { logs: parser.logs, witnesses: parser.witnesses, groups: parser.groups, quorum })
    }
}

impl Parser {
    fn read(&mut self, line: &[u8]) -> Result<(), PolicyError> {
        let items: Vec<&[u8]> = line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|item| !item.is_empty()).collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with(b"#") => Ok(()),
            [b"log", key] => self.log(key, None),
            [b"log", key, url] => self.log(key, Some(url)),
            [b"witness", name, key] => self.witness(name, key, None),
            [b"witness", name, key, url] => self.witness(name, key, Some(url)),
            [b"group", name, threshold, members @ ..] => self.group(name, threshold, members),
            [b"quorum", name] => self.quorum(name),
            _ => Err(PolicyError::Line(self.line)),
        }
    }

    fn log(&mut self, key: &[u8], url: Option<&&[u8]>) -> Result<(), PolicyError> {
        let key = self.key(key)?;
        if !matches!(key.kind(), SignatureType::Ed25519 | SignatureType::MlDsa44) {
            return Err(PolicyError::KeyType(self.line));
        }
        if self.logs.iter().any(|known| known.key.public_key() == key.public_key()) {
            return Err(PolicyError::Duplicate(self.line));
        }
        push(&mut self.logs, LogEntry { key, url: url.map(|url| url.to_vec()) })
    }

    fn witness(&mut self, name: &[u8], key: &[u8], url: Option<&&[u8]>) -> Result<(), PolicyError> {
        let key = self.key(key)?;
        if !matches!(key.kind(), SignatureType::Cosignature | SignatureType::MlDsa44) {
            return Err(PolicyError::KeyType(self.line));
        }
        if self.witnesses.iter().any(|known| known.key.public_key() == key.public_key()) {
            return Err(PolicyError::Duplicate(self.line));
        }
        let name = self.new_name(name)?;
        push(&mut self.witnesses, WitnessEntry { name, key, url: url.map(|url| url.to_vec()) })
    }

    fn group(&mut self, name: &[u8], threshold: &[u8], members: &[&[u8]]) -> Result<(), PolicyError> {
        let name = self.new_name(name)?;
        let mut found = Vec::new();
        for member in members {
            let member = self.member(member).filter(|member| self.taken.insert(*member)).ok_or(PolicyError::Name(self.line))?;
            found.push(member);
        }
        let threshold = match threshold {
            b"any" => Some(1),
            b"all" => Some(found.len()),
            number => str::from_utf8(number).ok().and_then(text::decimal).and_then(|number| usize::try_from(number).ok()),
        };
        let threshold = threshold.filter(|number| (1..=found.len()).contains(number)).ok_or(PolicyError::Threshold(self.line))?;
        push(&mut self.groups, Group { name, threshold, members: found })
    }

    fn quorum(&mut self, name: &[u8]) -> Result<(), PolicyError> {
        let member = if name == NONE { None } else { Some(self.member(name).ok_or(PolicyError::Name(self.line))?) };
        match self.quorum.replace(member) {
            None => Ok(()),
            Some(_) => Err(PolicyError::Duplicate(self.line)),
        }
    }

    fn key(&self, encoded: &[u8]) -> Result<VerifierKey, PolicyError> {
        let text = str::from_utf8(encoded).map_err(|_| PolicyError::Key(self.line, KeyError::Malformed))?;
        text.parse().map_err(|error| PolicyError::Key(self.line, error))
    }

    fn new_name(&self, name: &[u8]) -> Result<Vec<u8>, PolicyError> {
        if name == NONE {
            return Err(PolicyError::Name(self.line));
        }
        if self.member(name).is_some() { Err(PolicyError::Duplicate(self.line)) } else { Ok(name.to_vec()) }
    }

    fn member(&self, name: &[u8]) -> Option<Member> {
        let witness = self.witnesses.iter().position(|witness| witness.name == name).map(Member::Witness);
        witness.or_else(|| self.groups.iter().position(|group| group.name == name).map(Member::Group))
    }
}

fn push<T>(list: &mut Vec<T>, entry: T) -> Result<(), PolicyError> {
    if list.len() == ENTRIES_MAX {
        return Err(PolicyError::TooLarge);
    }
    list.push(entry);
    Ok(())
}
