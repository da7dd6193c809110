//! This host as one of many over one state: what it tells the others, and how changes are agreed on.
//!
//! A change is proposed by the host it was asked of (`propose.rs`). Every other
//! live host fetches, compiles and probes the version and votes (`stage.rs`); a
//! veto ends the change. Once committed, the slot has its generation and each
//! host makes it its own (`follow.rs`), also the ones that were not there.

mod follow;
mod propose;
mod stage;

pub(crate) use propose::Agreed;

use crate::{runtime::Inner, version::Version};
use plinth_capability::{
    fleet::{Fleet, HostBeat, HostSeen, Proposal, TEXT_MAX},
    name::PluginName,
    state::{StoredSlot, StoredVersion},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often a host says that it lives; a quarter of what it counts as live for.
const BEAT: Duration = Duration::from_millis(1_250);

/// A version that was staged and not activated is forgotten after this long.
const KEPT: Duration = Duration::from_secs(60);

/// The longest wait before a slot is tried again.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// How this host takes part.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// What people call this host.
    pub name: String,
    /// How long the others may take to fetch, compile and probe a version.
    pub stage_timeout: Duration,
    /// How long an answer waits for the others to activate what was committed.
    pub activate_timeout: Duration,
}

/// The fleet and this host's part in it.
pub struct Membership {
    pub fleet: Arc<dyn Fleet>,
    pub config: FleetConfig,
}

pub(crate) struct Member {
    fleet: Arc<dyn Fleet>,
    config: FleetConfig,
    id: String,
    // Std mutexes: held for a look or a change, never across an await.
    told: Mutex<Told>,
    staged: Mutex<HashMap<String, Staged>>,
    /// Slots that could not be followed, and when to try again.
    held: Mutex<HashMap<PluginName, Hold>>,
    /// Counts up whenever something may have changed in the fleet.
    news: watch::Sender<u64>,
    /// Held while this host speaks; true once it has said goodbye.
    gone: tokio::sync::Mutex<bool>,
}

/// What this host says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    ready: bool,
    generation: u64,
    note: Option<String>,
}

/// What becomes of a slot whose version cannot be had here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// This host serves already: it keeps what it has, and tries again.
    Waits,
    /// It only starts: the slot is degraded, as after any start.
    Degrades,
}

/// Loading may compile, so a slot that fails is tried less and less often.
struct Hold {
    why: String,
    generation: u64,
    until: Instant,
    wait: Duration,
}

/// A proposal of another host that this one has looked at.
enum Staged {
    Working,
    Ready(Arc<Version>, Instant),
    Vetoed,
}

impl Staged {
    /// Its commit may be seen only after its proposal has ended.
    fn lately(&self) -> bool {
        matches!(self, Self::Ready(_, at) if at.elapsed() < KEPT)
    }
}

impl Member {
    pub(crate) fn new(membership: Membership) -> Self {
        Self {
            fleet: membership.fleet,
            config: membership.config,
            id: uuid::Uuid::now_v7().simple().to_string(),
            told: Mutex::default(),
            staged: Mutex::default(),
            held: Mutex::default(),
            news: watch::Sender::new(0),
            gone: tokio::sync::Mutex::new(false),
        }
    }

    /// Every host that was heard of lately, this one included once it has beat.
    pub(crate) async fn hosts(&self) -> plinth_capability::Result<Vec<HostSeen>> {
        self.fleet.hosts().await
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    fn note(&self, proposal: &Proposal, staged: Staged) {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).insert(proposal.id.clone(), staged);
    }

    /// A version that is ready here because somebody proposed it.
    fn staged(&self, plugin: &PluginName, stored: &StoredVersion) -> Option<Arc<Version>> {
        let staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        staged.values().find_map(|staged| match staged {
            Staged::Ready(version, _) if version.info.plugin == *plugin && version.is(stored) => Some(version.clone()),
            _ => None,
        })
    }

    /// Why a slot is to be left alone for now.
    fn held(&self, slot: &StoredSlot) -> Option<String> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = held.get(&slot.plugin).filter(|hold| hold.generation == slot.generation && hold.until > Instant::now());
        hold.map(|hold| hold.why.clone())
    }

    fn hold(&self, slot: &StoredSlot, why: String) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.get(&slot.plugin).filter(|hold| hold.generation == slot.generation);
        let wait = before.map_or(BEAT, |hold| (hold.wait * 2).min(HOLD_MAX));
        held.insert(slot.plugin.clone(), Hold { why, generation: slot.generation, until: Instant::now() + wait, wait });
    }

    fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what this host says of itself; the others hear it at once.
    async fn tell(&self, change: impl FnOnce(&mut Told)) {
        let (before, now) = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let before = told.clone();
            change(&mut told);
            (before, told.clone())
        };
        if before != now {
            self.beat(now).await;
        }
    }

    async fn beat(&self, told: Told) {
        let gone = self.gone.lock().await;
        if *gone {
            return;
        }
        let Told { ready, generation, note } = told;
        let beat = HostBeat { id: self.id.clone(), name: self.config.name.clone(), ready, generation, note: note.map(cut) };
        if let Err(error) = self.fleet.beat(&beat).await {
            tracing::warn!(%error, "the fleet cannot hear this host");
        }
    }

    /// Ready as far as the fleet is concerned: asked about changes, and waited for.
    pub(crate) async fn join(&self) {
        self.tell(|told| told.ready = true).await;
    }

    /// Returns when something may have changed, or after a beat.
    pub(crate) async fn news(&self) {
        let mut news = self.news.subscribe();
        let _ = tokio::time::timeout(BEAT, news.changed()).await;
    }

    /// The last word of this host: no beat comes after it.
    pub(crate) async fn leave(&self) {
        let mut gone = self.gone.lock().await;
        *gone = true;
        if let Err(error) = self.fleet.leave(&self.id).await {
            tracing::warn!(%error, "the fleet was not told that this host stops");
        }
    }
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_MAX));
    text
}

/// Beats, listens and stages until told to stop. Looks after every beat too:
/// news may be lost, and a version that could not be followed is tried again.
pub(crate) async fn listen(inner: Arc<Inner>, member: Arc<Member>, stop: CancellationToken) {
    let mut beats = tokio::time::interval(BEAT);
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beats.tick() => member.beat(member.told()).await,
            () = member.fleet.changed(BEAT) => {}
        }
        member.news.send_modify(|count| *count += 1);
        inner.stage_new(&member).await;
    }
}

/// Makes this host's own what others committed, until told to stop.
pub(crate) async fn follow(inner: Arc<Inner>, member: Arc<Member>, stop: CancellationToken) {
    let mut news = member.news.subscribe();
    while let Some(Ok(())) = stop.run_until_cancelled(news.changed()).await {
        inner.catch_up(&member, Missing::Waits).await;
    }
}
