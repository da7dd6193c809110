//! Proposals of other hosts: fetched, compiled and probed here before the vote.

use super::{Member, Staged, cut};
use crate::{runtime::Inner, version::Version};
use plinth_capability::{
    fleet::{Proposal, Vote},
    name::PluginName,
    state::StoredVersion,
};
use std::{
    sync::{Arc, PoisonError},
    time::Instant,
};

impl Inner {
    /// Begins with the proposals that this host has not looked at yet, and
    /// forgets what was staged for those that have ended.
    pub(super) async fn stage_new(self: &Arc<Self>, member: &Arc<Member>) {
        let open = match member.fleet.proposals().await {
            Ok(open) => open,
            Err(error) => return tracing::warn!(%error, "proposals could not be read"),
        };
        if !member.told().ready {
            // Nobody asks a host that has not caught up.
            return;
        }
        let new: Vec<Proposal> = {
            let mut staged = member.staged.lock().unwrap_or_else(PoisonError::into_inner);
            // A version whose proposal has ended was committed, which `follow` sees, or withdrawn.
            staged.retain(|id, staged| open.iter().any(|proposal| proposal.id == *id) || staged.lately());
            open.into_iter().filter(|proposal| proposal.host != member.id && !staged.contains_key(&proposal.id)).collect()
        };
        for proposal in new {
            member.note(&proposal, Staged::Working);
            let (inner, member) = (self.clone(), member.clone());
            self.tasks.spawn(async move { inner.stage(&member, proposal).await });
        }
    }

    async fn stage(self: &Arc<Self>, member: &Member, proposal: Proposal) {
        let slot = &proposal.slot;
        let (vote, staged) = match self.try_version(&slot.plugin, &slot.active, &slot.quarantined).await {
            Ok(version) => (Vote::Yes, Staged::Ready(version, Instant::now())),
            Err(why) => {
                tracing::warn!(plugin = %slot.plugin, version = slot.active.version, why, "this host vetoes a change");
                (Vote::Veto(cut(why)), Staged::Vetoed)
            }
        };
        member.note(&proposal, staged);
        if let Err(error) = member.fleet.vote(&proposal.id, &member.id, &vote).await {
            tracing::warn!(plugin = %slot.plugin, %error, "a vote was not taken");
        }
    }

    /// One that this host has already, or loaded and tried now; not activated.
    async fn try_version(&self, plugin: &PluginName, stored: &StoredVersion, quarantined: &[String]) -> Result<Arc<Version>, String> {
        if let Some(known) = self.known(plugin, stored, quarantined) {
            return Ok(known);
        }
        let version = self.fetch(plugin, stored, quarantined).await?;
        match self.loader.try_out(&self.invoker, &version).await {
            Ok(()) => Ok(version),
            Err(why) => {
                self.forget(&version);
                Err(why.told())
            }
        }
    }
}
