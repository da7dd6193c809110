//! Who may change which plugin now: one change per plugin at a time, those of different plugins side by side.

use plinth_capability::name::PluginName;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::OwnedMutexGuard;

type Lock = tokio::sync::Mutex<()>;

/// A lock per plugin, for as long as somebody holds it or waits for it.
#[derive(Default)]
pub(crate) struct Turns {
    /// Operator-controlled names, so none is kept for a plugin nobody changes.
    /// A std mutex: held for a look into the map, never across an await.
    locks: Mutex<HashMap<PluginName, Weak<Lock>>>,
}

/// The right to change one plugin, until it is dropped.
#[must_use = "the turn ends when this is dropped"]
pub(crate) struct PluginTurn {
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    /// First come, first served. Cancel safe: dropping the future leaves the line.
    pub(crate) async fn of(&self, plugin: &PluginName) -> PluginTurn {
        let lock = self.lock(plugin);
        PluginTurn { _held: lock.lock_owned().await }
    }

    /// As `of`, for those who would rather come back later than stand in line.
    pub(crate) fn of_now(&self, plugin: &PluginName) -> Option<PluginTurn> {
        self.lock(plugin).try_lock_owned().ok().map(|held| PluginTurn { _held: held })
    }

    fn lock(&self, plugin: &PluginName) -> Arc<Lock> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = locks.get(plugin).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(Lock::default());
        locks.insert(plugin.clone(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, poll};

    #[tokio::test]
    async fn one_plugin_waits_for_itself_and_for_no_other() {
        let turns = Turns::default();
        let [one, two] = ["one", "two"].map(|name| PluginName::new(name).unwrap());
        let first = turns.of(&one).now_or_never().unwrap();
        let (mut second, mut third) = (Box::pin(turns.of(&one)), Box::pin(turns.of(&one)));
        assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
        assert!(turns.of(&two).now_or_never().is_some(), "another plugin has its own turn");
        assert!(turns.of_now(&one).is_none() && turns.of_now(&two).is_some());
        drop(first);
        assert!(poll!(&mut third).is_pending(), "first come, first served");
        let second = second.await;
        assert!(poll!(&mut third).is_pending());
        drop(second);
        drop(third.await);
    }

    #[tokio::test]
    async fn no_lock_outlives_its_use() {
        let turns = Turns::default();
        for number in 0..100 {
            drop(turns.of(&PluginName::new(&format!("plugin-{number}")).unwrap()).await);
        }
        let last = PluginName::new("last").unwrap();
        let _held = turns.of(&last).await;
        let left = Box::pin(turns.of(&last));
        drop(left);
        assert_eq!(turns.locks.lock().unwrap().len(), 1, "only the one that is held");
    }
}
