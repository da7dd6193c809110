//! plugin.toml: who a plugin is, what it hooks into, what it asks for.

use crate::{build_plan::BuildPlan, hook::Hook, limits::Limits};
use plinth_capability::{
    http::Origin,
    metrics::MetricDeclaration,
    name::{PluginName, QueueName, TopicName, TopicPattern},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Namespaces of the host: a plugin of that name would own what is not its.
const RESERVED_NAMES: [&str; 4] = ["shared", "events", "host", "plinth"];
/// Manifests are small; more than this is not one.
pub const MANIFEST_MAX: usize = 64 << 10;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    pub name: PluginName,
    pub version: semver::Version,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub hooks: HookBindings,
    #[serde(default)]
    pub grants: GrantRequests,
    #[serde(default)]
    pub limits: Limits,
    /// Default configuration; the operator's values are merged over it.
    #[serde(default)]
    pub config: toml::Table,
    /// JSON Schema (2020-12) written in TOML; none accepts only an empty configuration.
    pub config_schema: Option<toml::Table>,
    #[serde(default)]
    pub metrics: Vec<MetricDeclaration>,
    #[serde(default)]
    pub build: BuildPlan,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct HookBindings {
    pub event_listener: Option<EventListenerBinding>,
    pub task_handler: Option<TaskHandlerBinding>,
    pub decision: Option<DecisionBinding>,
    pub scheduled_job: Vec<JobBinding>,
    pub http: Option<HttpBinding>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EventListenerBinding {
    pub topics: Vec<TopicPattern>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TaskHandlerBinding {
    pub queues: Vec<QueueName>,
}

/// What a decision point does when a plugin fails to answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Count it as a denial.
    #[default]
    Closed,
    /// Count it as an abstention.
    Open,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DecisionBinding {
    pub points: Vec<TopicName>,
    /// Lower is asked first; equal ones by plugin name.
    #[serde(default = "default_order")]
    pub order: i32,
    #[serde(default)]
    pub on_failure: OnFailure,
}

fn default_order() -> i32 {
    100
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct JobBinding {
    pub name: PluginName,
    /// Five or six fields, UTC.
    pub cron: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct HttpBinding {
    pub methods: Vec<String>,
}

impl Default for HttpBinding {
    fn default() -> Self {
        Self { methods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"].map(str::to_owned).to_vec() }
    }
}

/// What a plugin asks to be permitted. The operator approves it or less.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct GrantRequests {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cache: BTreeMap<String, StoreGrant>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub database: BTreeMap<String, StoreGrant>,
    /// Logical destination to topic or queue.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub queue: BTreeMap<String, QueueGrant>,
    pub http: HttpGrant,
    pub audit: AuditGrant,
    pub metrics: Switch,
    pub log: Switch,
    pub secrets: SecretsGrant,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Namespaced to the plugin: nobody else can name it.
    #[default]
    Own,
    /// One for all plugins that are granted it.
    Shared,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantedAccess {
    ReadOnly,
    #[default]
    ReadWrite,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct StoreGrant {
    pub scope: Scope,
    pub access: GrantedAccess,
}

/// Exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct QueueGrant {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueName>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct HttpGrant {
    /// Whom it may send requests to: `https://api.example.org`, `https://*.example.org`.
    pub origins: Vec<Origin>,
    /// Also where these lead to addresses that are not public: the machine's own, or the local network's.
    pub private_addresses: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct AuditGrant {
    /// Actions, as patterns: `application.*`.
    pub write: Vec<TopicPattern>,
    pub read: bool,
    /// Records that say something of persons; of the actions of `write`.
    pub personal: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Switch {
    pub enabled: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SecretsGrant {
    /// Keys to sign, verify, seal and unseal with.
    pub keys: Vec<String>,
    /// Secrets the plugin may read into its memory.
    pub reveal: Vec<String>,
}

impl Manifest {
    /// Reads the text and checks what can be checked without the component.
    /// All problems are reported at once.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        match Self::read(text) {
            (Some(manifest), problems) if problems.is_empty() => Ok(manifest),
            (_, problems) => Err(problems),
        }
    }

    /// As `parse`, and what could be read of one that has problems.
    pub(crate) fn read(text: &str) -> (Option<Self>, Vec<String>) {
        if text.len() > MANIFEST_MAX {
            return (None, vec![format!("plugin.toml has {} bytes, at most {MANIFEST_MAX} are read", text.len())]);
        }
        match toml::from_str::<Self>(text) {
            Ok(manifest) => {
                let problems = manifest.problems();
                (Some(manifest), problems)
            }
            Err(error) => (None, vec![error.to_string()]),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if RESERVED_NAMES.contains(&self.name.as_str()) {
            problems.push(format!("name = \"{}\" is the host's own", self.name));
        }
        for (name, asked, allowed) in self.limits.violations(&Limits::ceiling()) {
            problems.push(format!("limits.{name} = {asked} is outside 1 to {allowed}"));
        }
        problems.extend(self.build.problems());
        for job in &self.hooks.scheduled_job {
            if let Err(why) = job.cron.parse::<croner::Cron>() {
                problems.push(format!("hooks.scheduled-job `{}`: cron `{}` does not parse: {why}", job.name, job.cron));
            }
        }
        for (name, grant) in &self.grants.queue {
            if grant.topic.is_some() == grant.queue.is_some() {
                problems.push(format!("grants.queue.{name} needs exactly one of `topic` and `queue`"));
            }
        }
        for method in self.hooks.http.iter().flat_map(|h| &h.methods) {
            if http::Method::from_bytes(method.as_bytes()).is_err() || method.to_uppercase() != *method {
                problems.push(format!("hooks.http.methods has `{method}`, which is not an HTTP method"));
            }
        }
        problems
    }

    /// The hooks this manifest binds something to.
    pub fn bound_hooks(&self) -> Vec<Hook> {
        let HookBindings { event_listener, task_handler, decision, scheduled_job, http } = &self.hooks;
        let mut hooks = Vec::new();
        hooks.extend(event_listener.as_ref().map(|_| Hook::EventListener));
        hooks.extend(task_handler.as_ref().map(|_| Hook::TaskHandler));
        hooks.extend(decision.as_ref().map(|_| Hook::Decision));
        hooks.extend((!scheduled_job.is_empty()).then_some(Hook::ScheduledJob));
        hooks.extend(http.as_ref().map(|_| Hook::Http));
        hooks
    }
}

/// The first second after `second` (since 1970, UTC) that a cron expression names.
pub fn next_after(cron: &croner::Cron, second: u64) -> Option<u64> {
    let from = chrono::DateTime::from_timestamp(i64::try_from(second).ok()?, 0)?;
    let next = cron.find_next_occurrence(&from, false).ok()?;
    u64::try_from(next.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::Interfaces;

    /// What people look things up in: it has everything, and the defaults that it tells are those.
    #[test]
    fn the_reference_is_a_manifest_with_everything_in_it() {
        let manifest = Manifest::parse(include_str!("../../../../docs/plugin.toml")).unwrap();
        assert_eq!(manifest.limits, Limits::default());
        let bound = [Hook::EventListener, Hook::TaskHandler, Hook::Decision, Hook::ScheduledJob, Hook::Http];
        assert_eq!(manifest.bound_hooks(), bound);
        assert_eq!(manifest.hooks.http.unwrap().methods, HttpBinding::default().methods);
        assert_eq!(Interfaces::of(&manifest.grants), Interfaces::ALL);
        let BuildPlan { language, component, entry, world } = manifest.build;
        assert!(language.is_some() && component.is_some() && entry.is_some() && world.is_some());
        let limits = serde_json::to_value(Limits::default()).unwrap();
        for name in limits.as_object().unwrap().keys() {
            assert!(include_str!("../../../../docs/plugin.toml").contains(&format!("\n{name} = ")), "limits.{name}");
        }
    }
}
