//! The host that was asked for a change: proposes it, counts the votes, and sees who has followed.

use super::Member;
use crate::LoadError;
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind,
    fleet::{Decided, HostSeen, Proposal, Vote},
    state::StoredSlot,
};
use std::collections::HashMap;
use tokio::time::{Instant, timeout, timeout_at};

/// A change that every live host is ready to make.
#[must_use = "agreed on and not committed, it stands in the way of the next change"]
pub(crate) struct Agreed {
    proposal: String,
}

impl Member {
    /// Asks every live host. Without its answer in time, or with a veto,
    /// nothing has changed.
    pub(crate) async fn agree(&self, slot: StoredSlot, expects: u64, component: Option<&Bytes>) -> Result<Agreed, LoadError> {
        let proposal = Proposal { id: uuid::Uuid::now_v7().simple().to_string(), host: self.id.clone(), slot, expects };
        self.fleet.propose(&proposal, component).await.map_err(refused)?;
        let agreed = Agreed { proposal: proposal.id };
        let asked = timeout(self.config.stage_timeout, self.everybody(&agreed)).await;
        let why = match asked {
            Ok(Ok(())) => return Ok(agreed),
            Ok(Err(why)) => why,
            Err(_) => LoadError::NotStaged(self.silent(&agreed).await),
        };
        self.withdraw(&agreed).await;
        Err(why)
    }

    /// Returns when every live host has voted for it.
    async fn everybody(&self, agreed: &Agreed) -> Result<(), LoadError> {
        let mut news = self.news.subscribe();
        loop {
            let hosts = self.fleet.hosts().await.map_err(LoadError::State)?;
            let votes: HashMap<String, Vote> = self.fleet.votes(&agreed.proposal).await.map_err(LoadError::State)?.into_iter().collect();
            if let Some((host, reason)) = votes.iter().find_map(|(host, vote)| Some((host, veto(vote)?))) {
                return Err(LoadError::Vetoed { host: name(&hosts, host), reason: reason.to_owned() });
            }
            if self.others(&hosts).all(|host| votes.contains_key(&host.beat.id)) {
                return Ok(());
            }
            // A host that falls silent makes no news, so its time is looked at too.
            let _ = timeout(super::BEAT, news.changed()).await;
        }
    }

    /// The names of the live hosts that have not voted.
    async fn silent(&self, agreed: &Agreed) -> Vec<String> {
        let (hosts, votes) = (self.fleet.hosts().await.unwrap_or_default(), self.fleet.votes(&agreed.proposal).await.unwrap_or_default());
        let voted = |host: &&HostSeen| votes.iter().any(|(id, _)| *id == host.beat.id);
        self.others(&hosts).filter(|host| !voted(host)).map(|host| host.beat.name.clone()).collect()
    }

    fn others<'a>(&self, hosts: &'a [HostSeen]) -> impl Iterator<Item = &'a HostSeen> + use<'a, '_> {
        hosts.iter().filter(|host| host.live() && host.beat.ready && host.beat.id != self.id)
    }

    pub(crate) async fn commit(&self, agreed: &Agreed) -> Result<u64, LoadError> {
        self.fleet.commit(&agreed.proposal).await.map_err(refused)
    }

    pub(crate) async fn withdraw(&self, agreed: &Agreed) {
        if let Err(error) = self.fleet.withdraw(&agreed.proposal).await {
            // It ends by itself with this host, or is in the way of the next change until then.
            tracing::warn!(%error, "a proposal could not be withdrawn");
        }
    }

    /// For what needs no agreement: taking out of service.
    pub(crate) async fn decide(&self, decided: &Decided, expects: u64) -> Result<u64, LoadError> {
        self.fleet.decide(decided, expects).await.map_err(refused)
    }

    /// Waits until every live host serves `generation`; the ones that do not
    /// by the end of the time, and why.
    pub(crate) async fn stragglers(&self, generation: u64) -> Vec<String> {
        let until = Instant::now() + self.config.activate_timeout;
        let mut news = self.news.subscribe();
        loop {
            let hosts = match self.fleet.hosts().await {
                Ok(hosts) => hosts,
                Err(error) => return vec![format!("who follows is not known: {error}")],
            };
            let behind: Vec<String> = self.others(&hosts).filter(|host| host.beat.generation < generation).map(behind).collect();
            if behind.is_empty() || Instant::now() >= until {
                return behind;
            }
            let _ = timeout_at(until.min(Instant::now() + super::BEAT), news.changed()).await;
        }
    }
}

fn behind(host: &HostSeen) -> String {
    let why = host.beat.note.as_deref().unwrap_or("no reason told");
    format!("host {} still serves generation {}: {why}", host.beat.name, host.beat.generation)
}

fn veto(vote: &Vote) -> Option<&str> {
    match vote {
        Vote::Veto(reason) => Some(reason),
        Vote::Yes => None,
    }
}

fn name(hosts: &[HostSeen], id: &str) -> String {
    hosts.iter().find(|host| host.beat.id == id).map_or_else(|| id.to_owned(), |host| host.beat.name.clone())
}

/// Somebody else is changing this plugin, or has, and this host does not know yet.
fn refused(error: Error) -> LoadError {
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::NotFound => LoadError::Superseded,
        _ => LoadError::State(error),
    }
}
