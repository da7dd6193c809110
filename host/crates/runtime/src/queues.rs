//! The queues a version feeds on and writes to: declared before it is seen, let go when its plugin is removed.

use crate::{runtime::Inner, version::Version};
use plinth_capability::{
    name::{PluginName, QueueName},
    queue::QueueSpec,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What a delivery may take beyond the plugin's own times: the host's line and settling.
const LEASE_MARGIN_MS: u64 = 10_000;

/// The operator's word on all queues and on single ones.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct QueuesConfig {
    /// Of every queue, but for what is said of it below.
    pub settings: QueueSettings,
    /// What differs, by the queue's full name.
    pub named: BTreeMap<QueueName, QueueOverride>,
}

/// How a queue treats its messages. The lease is missing: it follows from the
/// limits of the plugin that handles them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct QueueSettings {
    /// Deliveries before a message becomes a dead letter.
    pub max_attempts: u32,
    /// Wait before the second delivery; doubles with each further one.
    pub backoff_ms: u32,
    /// The longest such wait.
    pub backoff_max_ms: u32,
    /// Messages a queue holds at most.
    pub max_depth: u64,
}

/// What is left out is as for every queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct QueueOverride {
    pub max_attempts: Option<u32>,
    pub backoff_ms: Option<u32>,
    pub backoff_max_ms: Option<u32>,
    pub max_depth: Option<u64>,
}

/// A queue under these settings could not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueSettingError {
    #[error("queues.{place}: {setting} must not be zero")]
    Zero { place: String, setting: &'static str },
    #[error("queues.{place}: backoff-ms = {backoff_ms} is over backoff-max-ms = {backoff_max_ms}")]
    Backoff { place: String, backoff_ms: u32, backoff_max_ms: u32 },
}

impl Default for QueueSettings {
    fn default() -> Self {
        let QueueSpec { max_attempts, backoff_ms, backoff_max_ms, lease_ms: _, max_depth } = QueueSpec::default();
        Self { max_attempts, backoff_ms, backoff_max_ms, max_depth }
    }
}

impl QueueSettings {
    fn with(self, other: QueueOverride) -> Self {
        Self {
            max_attempts: other.max_attempts.unwrap_or(self.max_attempts),
            backoff_ms: other.backoff_ms.unwrap_or(self.backoff_ms),
            backoff_max_ms: other.backoff_max_ms.unwrap_or(self.backoff_max_ms),
            max_depth: other.max_depth.unwrap_or(self.max_depth),
        }
    }

    fn check(self, place: &str) -> Result<(), QueueSettingError> {
        let Self { max_attempts, backoff_ms, backoff_max_ms, max_depth } = self;
        let zero = [("max-attempts", u64::from(max_attempts)), ("max-depth", max_depth)].into_iter().find(|(_, value)| *value == 0);
        if let Some((setting, _)) = zero {
            return Err(QueueSettingError::Zero { place: place.to_owned(), setting });
        }
        if backoff_ms > backoff_max_ms {
            return Err(QueueSettingError::Backoff { place: place.to_owned(), backoff_ms, backoff_max_ms });
        }
        Ok(())
    }
}

impl QueuesConfig {
    /// Refuses settings under which no message could be delivered.
    pub fn check(&self) -> Result<(), QueueSettingError> {
        self.settings.check("settings")?;
        self.named.iter().try_for_each(|(name, other)| self.settings.with(*other).check(&format!("named.\"{name}\"")))
    }

    /// With the shortest lease there is.
    fn spec(&self, queue: &QueueName) -> QueueSpec {
        let other = self.named.get(queue).copied().unwrap_or_default();
        let QueueSettings { max_attempts, backoff_ms, backoff_max_ms, max_depth } = self.settings.with(other);
        QueueSpec { max_attempts, backoff_ms, backoff_max_ms, max_depth, ..QueueSpec::default() }
    }

    /// A delivery must not be given to somebody else while its call may still run.
    fn spec_for(&self, queue: &QueueName, version: &Version) -> QueueSpec {
        let spec = self.spec(queue);
        let longest = version.limits.wait_ms + version.limits.wall_ms + LEASE_MARGIN_MS;
        QueueSpec { lease_ms: spec.lease_ms.max(u32::try_from(longest).unwrap_or(u32::MAX)), ..spec }
    }
}

impl Inner {
    /// Before a version can be seen, so that no message slips between. Plugins
    /// may share a queue, so the caller holds the lock of publishing.
    pub(crate) async fn declare_queues(&self, version: &Version) -> plinth_capability::Result<()> {
        let queue = &self.capabilities.queue;
        let bindings = &version.manifest.hooks;
        let known = queue.queues().await?;
        for name in version.grants.queues().filter(|name| !known.contains(name)) {
            queue.declare(name, &self.queues.spec(name)).await?;
        }
        for name in bindings.task_handler.iter().flat_map(|handler| &handler.queues) {
            queue.declare(name, &self.queues.spec_for(name, version)).await?;
        }
        let topics = bindings.event_listener.as_ref().map(|l| l.topics.as_slice()).unwrap_or_default();
        let events = event_queue(&version.info.plugin)?;
        match (topics, known.contains(&events)) {
            ([], false) => Ok(()),
            ([], true) => queue.bind(&events, &[]).await,
            (topics, _) => {
                queue.declare(&events, &self.queues.spec_for(&events, version)).await?;
                queue.bind(&events, topics).await
            }
        }
    }

    pub(crate) async fn unbind_topics(&self, plugin: &PluginName) -> plinth_capability::Result<()> {
        let events = event_queue(plugin)?;
        match self.capabilities.queue.queues().await?.contains(&events) {
            true => self.capabilities.queue.bind(&events, &[]).await,
            false => Ok(()),
        }
    }
}

/// Where the events for one plugin wait.
pub fn event_queue(plugin: &PluginName) -> plinth_capability::Result<QueueName> {
    QueueName::new(&format!("events/{plugin}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: QueueSettings, other: QueueOverride) -> QueuesConfig {
        QueuesConfig { settings, named: BTreeMap::from([(QueueName::new("mail").unwrap(), other)]) }
    }

    #[test]
    fn a_queue_differs_only_in_what_is_said_of_it() {
        let settings = QueueSettings { max_attempts: 3, backoff_ms: 10, ..QueueSettings::default() };
        let config = config(settings, QueueOverride { max_attempts: Some(9), max_depth: Some(7), ..QueueOverride::default() });
        let mail = config.spec(&QueueName::new("mail").unwrap());
        assert_eq!(mail, QueueSpec { max_attempts: 9, backoff_ms: 10, max_depth: 7, ..QueueSpec::default() });
        let other = config.spec(&QueueName::new("other").unwrap());
        assert_eq!(other, QueueSpec { max_attempts: 3, backoff_ms: 10, ..QueueSpec::default() });
        assert_eq!(QueuesConfig::default().spec(&QueueName::new("mail").unwrap()), QueueSpec::default());
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let refused = |settings, other| config(settings, other).check().unwrap_err().to_string();
        let (plain, same) = (QueueSettings::default(), QueueOverride::default());
        assert_eq!(config(plain, same).check(), Ok(()));
        assert_eq!(refused(QueueSettings { max_attempts: 0, ..plain }, same), "queues.settings: max-attempts must not be zero");
        assert_eq!(refused(plain, QueueOverride { max_depth: Some(0), ..same }), "queues.named.\"mail\": max-depth must not be zero");
        let short = QueueOverride { backoff_max_ms: Some(499), ..same };
        assert_eq!(refused(plain, short), "queues.named.\"mail\": backoff-ms = 500 is over backoff-max-ms = 499");
    }
}
