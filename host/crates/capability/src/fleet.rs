//! The fleet: hosts over one state, which agree on a change before any of them makes it.

use crate::{Result, name::PluginName, state::StoredSlot};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A host that was not heard of for this long is not waited for.
pub const LIVE_FOR: Duration = Duration::from_secs(5);
/// Bytes of a host's id, name, note or of the reason of a vote; what is longer is cut.
pub const TEXT_MAX: usize = 1_024;

/// What a host says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostBeat {
    /// Made anew at each start.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Serves calls, and is asked about changes.
    pub ready: bool,
    /// Everything up to this generation is what it serves.
    pub generation: u64,
    /// Why it is not further.
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSeen {
    pub beat: HostBeat,
    /// Since it was last heard of, by the clock of the storage.
    pub age: Duration,
}

impl HostSeen {
    pub fn live(&self) -> bool {
        self.age < LIVE_FOR
    }
}

/// A change somebody wants to make, before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub id: String,
    /// The host that asks.
    pub host: String,
    /// The slot as it shall be; its generation is not known yet and means nothing.
    pub slot: StoredSlot,
    /// The generation the slot has now; 0 if there is none.
    pub expects: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vote {
    Yes,
    /// The change is not made; this is why.
    Veto(String),
}

/// A change that nobody has to be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    Save(Box<StoredSlot>),
    Remove(PluginName),
}

/// # Contract
///
/// - `hosts_are_seen`: a host that beat is listed with what it said last and how long ago; one that left is not.
/// - `a_proposal_reaches_everybody`: an open proposal is listed with all its fields, and its component is stored.
/// - `one_proposal_per_plugin`: a second open proposal for a plugin is `Conflict`; another plugin's is not.
/// - `a_stale_change_is_refused`: proposing, committing or deciding over a slot whose generation is not the expected one is `Conflict` and changes nothing.
/// - `votes_are_counted`: the last vote of each host is answered; a vote on a proposal that has ended is `NotFound`.
/// - `commit_saves_under_the_next_generation`: a commit saves the slot under the next generation and answers it; the proposal is gone.
/// - `generations_are_never_shared`: concurrent commits and decisions get different generations.
/// - `withdraw_ends_a_proposal`: a withdrawn proposal is gone, changed nothing and cannot be committed.
/// - `decided_is_done_at_once`: `decide` saves or removes a slot without a proposal, under the next generation.
/// - `the_dead_do_not_stand_in_the_way`: a proposal of a host that is not live does not keep others from proposing.
/// - `changes_wake`: `changed` returns soon after somebody else proposed, voted, changed a slot or beat with news.
///
/// # Cancel safety
///
/// Each method happens whole or not at all; a dropped `commit` or `decide` may
/// have happened, and the state tells.
#[async_trait]
pub trait Fleet: Send + Sync {
    async fn beat(&self, beat: &HostBeat) -> Result<()>;
    /// Says goodbye: nobody waits for this host any more.
    async fn leave(&self, id: &str) -> Result<()>;
    /// All that were heard of in the last hour, by name.
    async fn hosts(&self) -> Result<Vec<HostSeen>>;
    /// `component` is what the slot needs and may not be stored yet.
    async fn propose(&self, proposal: &Proposal, component: Option<&Bytes>) -> Result<()>;
    async fn proposals(&self) -> Result<Vec<Proposal>>;
    async fn vote(&self, proposal: &str, host: &str, vote: &Vote) -> Result<()>;
    /// Host id and vote.
    async fn votes(&self, proposal: &str) -> Result<Vec<(String, Vote)>>;
    /// The new generation.
    async fn commit(&self, proposal: &str) -> Result<u64>;
    async fn withdraw(&self, proposal: &str) -> Result<()>;
    /// `expects` is the generation the slot has now; the new generation.
    async fn decide(&self, decided: &Decided, expects: u64) -> Result<u64>;
    /// Waits until something may have changed since the last return, at most `wait`.
    async fn changed(&self, wait: Duration);
}
