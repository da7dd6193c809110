//! The body of `add-checkpoint`.

use super::Checkpoint;
use crate::{
    checkpoint::CheckpointError,
    hash::Hash,
    note::{NOTE_MAX, Note, NoteError},
    proof::PROOF_MAX,
    text,
};

/// The most bytes of a body: the old size, 63 hashes and a note.
pub const REQUEST_MAX: usize = 32 + PROOF_MAX * 45 + 1 + NOTE_MAX;

/// A request to cosign a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size that the submitter takes for the latest cosigned one.
    pub old: u64,
    /// The consistency proof from there, at most 63 hashes.
    pub proof: Vec<Hash>,
    /// The checkpoint with its signatures, none of them verified.
    pub note: Note,
    /// The same, read.
    pub checkpoint: Checkpoint,
}

/// Why a body is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More than [`REQUEST_MAX`] bytes.
    #[error("a request has at most {REQUEST_MAX} bytes")]
    TooLarge,
    /// No line `old <size>`.
    #[error("the first line is not `old` and a size")]
    Old,
    /// More than 63 lines, one that is no hash, or no empty line behind them.
    #[error("the proof is not at most 63 hashes and an empty line")]
    Proof,
    /// No signed note.
    #[error("the checkpoint is not a signed note")]
    Note(#[from] NoteError),
    /// A note, but no checkpoint.
    #[error("the note is not a checkpoint")]
    Checkpoint(#[from] CheckpointError),
}

impl AddCheckpoint {
    /// Reads a body of at most [`REQUEST_MAX`] bytes.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > REQUEST_MAX {
            return Err(RequestError::TooLarge);
        }
        let body = str::from_utf8(body).map_err(|_| RequestError::Note(NoteError::Characters))?;
        let (first, rest) = text::line(body).ok_or(RequestError::Old)?;
        let old = first.strip_prefix("old ").and_then(text::tree_size).ok_or(RequestError::Old)?;
        let (proof, rest) = text::hash_lines(rest, PROOF_MAX).ok_or(RequestError::Proof)?;
        let note = Note::parse(rest.as_bytes())?;
        let checkpoint = note.text().parse()?;
        Ok(Self { old, proof, note, checkpoint })
    }
}
