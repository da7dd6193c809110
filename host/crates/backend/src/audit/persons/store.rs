//! What the database keeps of persons: their keys, wrapped so that it cannot use them.

use async_trait::async_trait;
use plinth_capability::Result;

/// A person's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PersonRow {
    pub(crate) pseudonym: String,
    /// Which of her keys; random, and never given twice.
    pub(crate) key: String,
    /// The key of this generation unwraps it.
    pub(crate) generation: u64,
    pub(crate) wrapped: Vec<u8>,
}

/// What tells a folder of keys that is the right one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The greatest generation that ever was; 0 before the first.
    pub(crate) newest: u64,
    /// What the pepper makes of a fixed word.
    pub(crate) pepper: Option<Vec<u8>>,
}

/// Every call may be repeated; several hosts may make them at once.
#[async_trait]
pub(crate) trait PersonStore: Send + Sync {
    async fn known(&self) -> Result<Known>;
    /// Raises what is known; a pepper that is known stays.
    async fn note(&self, newest: u64, pepper: &[u8]) -> Result<()>;
    async fn person(&self, pseudonym: &str) -> Result<Option<PersonRow>>;
    /// Unless the person has a key: then that one. Answers the one she has.
    async fn add(&self, row: PersonRow) -> Result<PersonRow>;
    /// Exactly this key.
    async fn remove(&self, pseudonym: &str, key: &str) -> Result<()>;
    /// By pseudonym, from the first after `after`.
    async fn under(&self, generation: u64, after: &str, limit: u32) -> Result<Vec<PersonRow>>;
    /// In one step, those that are still there under `from`.
    async fn rewrap(&self, from: u64, rows: Vec<PersonRow>) -> Result<()>;
}
