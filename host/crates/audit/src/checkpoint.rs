//! tlog-checkpoint: the text of a note that says how large a log is and what its root is.

use crate::{hash::Hash, note::Note, text};
use std::{fmt, str::FromStr};

/// The most bytes of a checkpoint's text.
pub const CHECKPOINT_TEXT_MAX: usize = 16_384;

/// The most extension lines.
pub const EXTENSIONS_MAX: usize = 16;

/// A log's state. What is written is byte for byte what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

/// Why a text is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// More than [`CHECKPOINT_TEXT_MAX`] bytes or [`EXTENSIONS_MAX`] extension lines.
    #[error("a checkpoint has at most {CHECKPOINT_TEXT_MAX} bytes and {EXTENSIONS_MAX} extension lines")]
    TooLarge,
    /// A line that is missing or empty, or a text that does not end in a newline.
    #[error("a checkpoint is three lines or more, none of them empty")]
    Lines,
    /// Not a decimal below 2^63 without leading zeroes.
    #[error("the tree size is not a decimal below 2^63")]
    Size,
    /// Not 32 bytes in base64.
    #[error("the root is not a hash in base64")]
    Root,
}

impl Checkpoint {
    /// A checkpoint without extension lines: origin without control characters and not
    /// empty, size below 2^63.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        Self { origin: origin.into(), size, root, extensions: Vec::new() }.check()
    }

    /// The same with extension lines, each without control characters and not empty.
    /// tlog-checkpoint advises against them.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn with_extensions(self, extensions: Vec<String>) -> Result<Self, CheckpointError> {
        Self { extensions, ..self }.check()
    }

    /// Which log it is.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    #[must_use]
    pub const fn root(&self) -> &Hash {
        &self.root
    }

    /// What the log adds; nobody but the log knows what it means.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// The note to be signed.
    #[must_use]
    pub fn to_note(&self) -> Option<Note> {
        Note::new(self.to_string()).ok()
    }

    fn check(self) -> Result<Self, CheckpointError> {
        let line = |line: &String| !line.is_empty() && !line.contains(|c: char| c < ' ');
        if !line(&self.origin) || !self.extensions.iter().all(line) {
            return Err(CheckpointError::Lines);
        }
        if self.size > text::TREE_SIZE_MAX {
            return Err(CheckpointError::Size);
        }
        if self.extensions.len() > EXTENSIONS_MAX || self.to_string().len() > CHECKPOINT_TEXT_MAX {
            return Err(CheckpointError::TooLarge);
        }
        Ok(self)
    }
}

/// Reads a note's text: at most [`CHECKPOINT_TEXT_MAX`] bytes and [`EXTENSIONS_MAX`] extension lines.
impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(whole: &str) -> Result<Self, CheckpointError> {
        if whole.len() > CHECKPOINT_TEXT_MAX {
            return Err(CheckpointError::TooLarge);
        }
        let mut lines = whole.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty()).ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = text::tree_size(size).ok_or(CheckpointError::Size)?;
        let root = text::hash(root).ok_or(CheckpointError::Root)?;
        Self { origin: origin.to_owned(), size, root, extensions: lines.map(str::to_owned).collect() }.check()
    }
}

/// The note's text, with its last newline.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of tlog-checkpoint.
    const EXAMPLE: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_example_of_the_specification_reads_back() {
        let checkpoint: Checkpoint = EXAMPLE.parse().unwrap();
        assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.to_string(), EXAMPLE);
        let extended = format!("{EXAMPLE}one\ntwo\n");
        let checkpoint: Checkpoint = extended.parse().unwrap();
        assert_eq!(checkpoint.extensions(), ["one", "two"]);
        assert_eq!(checkpoint.to_string(), extended);
    }

    #[test]
    fn a_malformed_checkpoint_is_refused() {
        use CheckpointError::*;
        let cases = [
            (String::new(), Lines),
            ("\n".into(), Lines),
            ("a\n1\n".into(), Lines),
            (EXAMPLE.trim_end().into(), Lines),
            (EXAMPLE.replace("example.com/behind-the-sofa", ""), Lines),
            (format!("{EXAMPLE}\n"), Lines),
            (format!("{EXAMPLE}one\n\ntwo\n"), Lines),
            (EXAMPLE.replace("2085", "02085"), Size),
            (EXAMPLE.replace("20852163", "9223372036854775808"), Size),
            (EXAMPLE.replace("20852163", "-1"), Size),
            (EXAMPLE.replace("q2I=", "q2I"), Root),
            (EXAMPLE.replace("q2I=", "q2J="), Root),
            (EXAMPLE.replace("CsUY", ""), Root),
            (format!("{EXAMPLE}{}", "x\n".repeat(EXTENSIONS_MAX + 1)), TooLarge),
            (format!("{EXAMPLE}{}\n", "x".repeat(CHECKPOINT_TEXT_MAX)), TooLarge),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Checkpoint>(), Err(error), "{text:.80?}");
        }
        let root = crate::hash::empty_root();
        assert_eq!(Checkpoint::new("", 0, root), Err(Lines));
        assert_eq!(Checkpoint::new("a\nb", 0, root), Err(Lines));
        assert_eq!(Checkpoint::new("a", 1 << 63, root), Err(Size));
    }
}
