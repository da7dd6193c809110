//! The inbox: which copy of a message is the one to deal with, remembered beside a broker that cannot tell.

use crate::{Result, name::QueueName};
use async_trait::async_trait;

/// One copy of a message, as it came out of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arrival {
    /// The message's id: what makes two copies the same message.
    pub id: String,
    /// Made once per publish and kept by every redelivery and retry of it.
    pub copy: String,
}

impl Arrival {
    pub fn new(id: impl Into<String>, copy: impl Into<String>) -> Self {
        Self { id: id.into(), copy: copy.into() }
    }
}

/// A message id belongs to the first copy that arrives under it. The owner may
/// come again and again, since its broker keeps it until it is settled; every
/// other copy is a repeat, whether the owner is done, in hand or waiting.
///
/// # Contract
///
/// - `the_first_copy_owns_the_id`: the first copy to claim an id gets true, and true again each time it comes back.
/// - `other_copies_are_repeats`: any other copy of that id in that queue gets false.
/// - `one_copy_wins_a_race`: of many copies claiming one id at once exactly one gets true.
/// - `queues_are_apart`: the same id in another queue is another message.
/// - `a_batch_answers_each`: `claim` answers one result per arrival in order; two copies of one id in one batch are judged in that order.
/// - `claims_survive_a_kill`: who owns an id is still so after the process was killed.
/// - `old_claims_are_forgotten`: `forget` removes the claims not renewed since the given time and no others; a forgotten id is free.
///
/// # Cancel safety
///
/// A dropped `claim` may have happened: the same copy claims again and gets the same answer.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Whether each copy is the one to deal with. Durable when answered. A
    /// claim by its owner renews it.
    async fn claim(&self, queue: &QueueName, arrivals: &[Arrival]) -> Result<Vec<bool>>;
    /// Forgets claims last renewed before `before_ms` (Unix time); answers how many.
    async fn forget(&self, before_ms: u64) -> Result<u64>;
    async fn health(&self) -> Result<()>;
}
