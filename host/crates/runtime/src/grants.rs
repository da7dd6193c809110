//! What a plugin may do: the manifest asks, the operator approves, and the result is a static matcher.

use crate::manifest::{GrantRequests, GrantedAccess, HttpGrant, Scope, StoreGrant};
use plinth_capability::{
    Error, ErrorKind, Result,
    name::{BucketName, DatabaseName, PluginName, TopicPattern},
    queue::Destination,
};
use std::collections::{BTreeMap, HashMap};

/// Names as the plugin uses them, resolved once per version to what the host
/// calls them. Namespacing happens here and nowhere else.
#[derive(Debug, Default)]
pub struct Grants {
    cache: HashMap<String, (BucketName, GrantedAccess)>,
    database: HashMap<String, (DatabaseName, GrantedAccess)>,
    queue: HashMap<String, Destination>,
    http: HttpGrant,
    audit_write: Vec<TopicPattern>,
    keys: Vec<String>,
    reveal: Vec<String>,
}

/// Which interfaces are linked at all.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interfaces {
    pub(crate) cache: bool,
    pub(crate) queue: bool,
    pub(crate) database: bool,
    /// Linked for every guest that imports WASI, and denied to those without it.
    pub(crate) http: bool,
    pub(crate) audit_write: bool,
    pub(crate) audit_read: bool,
    pub(crate) audit_personal: bool,
    pub(crate) metrics: bool,
    pub(crate) log: bool,
    pub(crate) secret_keys: bool,
    pub(crate) secret_reveal: bool,
}

impl Interfaces {
    pub(crate) const ALL: Self = Self {
        cache: true,
        queue: true,
        database: true,
        http: true,
        audit_write: true,
        audit_read: true,
        audit_personal: true,
        metrics: true,
        log: true,
        secret_keys: true,
        secret_reveal: true,
    };

    pub(crate) fn of(requests: &GrantRequests) -> Self {
        let GrantRequests { cache, database, queue, http, audit, metrics, log, secrets } = requests;
        Self {
            cache: !cache.is_empty(),
            queue: !queue.is_empty(),
            database: !database.is_empty(),
            http: !http.origins.is_empty(),
            audit_write: !audit.write.is_empty(),
            audit_read: audit.read,
            audit_personal: audit.personal,
            metrics: metrics.enabled,
            log: log.enabled,
            secret_keys: !secrets.keys.is_empty(),
            secret_reveal: !secrets.reveal.is_empty(),
        }
    }
}

impl Grants {
    /// Of a plugin of this name; the error has every name that is none.
    pub fn compile(plugin: &PluginName, requests: &GrantRequests) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut grants = Self::default();
        for (name, grant) in &requests.cache {
            match BucketName::new(&scoped(plugin, name, grant)) {
                Ok(full) => drop(grants.cache.insert(name.clone(), (full, grant.access))),
                Err(why) => problems.push(format!("grants.cache.{name}: {}", why.message())),
            }
        }
        for (name, grant) in &requests.database {
            match DatabaseName::new(&scoped(plugin, name, grant)) {
                Ok(full) => drop(grants.database.insert(name.clone(), (full, grant.access))),
                Err(why) => problems.push(format!("grants.database.{name}: {}", why.message())),
            }
        }
        for (name, grant) in &requests.queue {
            let destination = match (&grant.topic, &grant.queue) {
                (Some(topic), None) => Destination::Topic(topic.clone()),
                (None, Some(queue)) => Destination::Queue(queue.clone()),
                _ => {
                    problems.push(format!("grants.queue.{name} needs exactly one of `topic` and `queue`"));
                    continue;
                }
            };
            grants.queue.insert(name.clone(), destination);
        }
        grants.http.clone_from(&requests.http);
        grants.audit_write.clone_from(&requests.audit.write);
        grants.keys.clone_from(&requests.secrets.keys);
        grants.reveal.clone_from(&requests.secrets.reveal);
        if problems.is_empty() { Ok(grants) } else { Err(problems) }
    }

    /// The bucket that a plugin opens under this name; `Denied` if it is not granted.
    pub fn bucket(&self, name: &str) -> Result<&(BucketName, GrantedAccess)> {
        self.cache.get(name).ok_or_else(|| not_granted("cache.open", "cache", name))
    }

    /// As `bucket`, a database.
    pub fn database(&self, name: &str) -> Result<&(DatabaseName, GrantedAccess)> {
        self.database.get(name).ok_or_else(|| not_granted("database.open", "database", name))
    }

    /// As `bucket`, where it publishes to.
    pub fn destination(&self, name: &str) -> Result<&Destination> {
        self.queue.get(name).ok_or_else(|| not_granted("queue.publish", "destination", name))
    }

    /// Whether a request may go to this URI; if so, whether also to an address that is not public.
    pub(crate) fn outgoing(&self, uri: &http::Uri) -> Result<bool> {
        if self.http.origins.iter().any(|origin| origin.covers(uri)) {
            return Ok(self.http.private_addresses);
        }
        // Without the path, which may hold a secret.
        let origin = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |authority| authority.as_str()));
        Err(not_granted("http.send", "origin", &origin))
    }

    /// Queues this plugin may publish to.
    pub(crate) fn queues(&self) -> impl Iterator<Item = &plinth_capability::name::QueueName> {
        self.queue.values().filter_map(|d| match d {
            Destination::Queue(queue) => Some(queue),
            Destination::Topic(_) => None,
        })
    }

    pub(crate) fn audit_action(&self, action: &str) -> Result<()> {
        if self.audit_write.iter().any(|pattern| pattern.matches(action)) {
            return Ok(());
        }
        Err(not_granted("audit.write", "audit action", action))
    }

    pub(crate) fn key(&self, name: &str) -> Result<()> {
        if self.keys.iter().any(|k| k == name) { Ok(()) } else { Err(not_granted("secrets.key", "key", name)) }
    }

    pub(crate) fn secret(&self, name: &str) -> Result<()> {
        if self.reveal.iter().any(|k| k == name) { Ok(()) } else { Err(not_granted("secrets.reveal", "secret", name)) }
    }
}

fn scoped(plugin: &PluginName, name: &str, grant: &StoreGrant) -> String {
    match grant.scope {
        Scope::Own => format!("{plugin}/{name}"),
        Scope::Shared => format!("shared/{name}"),
    }
}

fn not_granted(operation: &'static str, what: &str, name: &str) -> Error {
    let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
    Error::new(ErrorKind::Denied, operation, format!("no grant for {what} `{shown}`"))
}

/// What `asked` contains beyond `approved`, one line each; empty means covered.
pub(crate) fn beyond(asked: &GrantRequests, approved: &GrantRequests) -> Vec<String> {
    let GrantRequests { cache, database, queue, http, audit, metrics, log, secrets } = asked;
    let mut lines = Vec::new();
    stores("cache", cache, &approved.cache, &mut lines);
    stores("database", database, &approved.database, &mut lines);
    for (name, grant) in queue {
        if approved.queue.get(name) != Some(grant) {
            let target = grant.topic.as_ref().map(|t| format!("topic {t}")).or(grant.queue.as_ref().map(|q| format!("queue {q}")));
            lines.push(format!("queue.{name}: publish to {}", target.unwrap_or_default()));
        }
    }
    for origin in http.origins.iter().filter(|origin| !approved.http.origins.contains(origin)) {
        lines.push(format!("http.origins: send requests to {origin}"));
    }
    for action in audit.write.iter().filter(|a| !approved.audit.write.contains(a)) {
        lines.push(format!("audit.write: {action}"));
    }
    for (wanted, had, line) in [
        (http.private_addresses, approved.http.private_addresses, "http.private-addresses: also at addresses that are not public"),
        (audit.read, approved.audit.read, "audit.read: query the audit log"),
        (audit.personal, approved.audit.personal, "audit.personal: write of persons"),
        (metrics.enabled, approved.metrics.enabled, "metrics: record samples"),
        (log.enabled, approved.log.enabled, "log: write log lines"),
    ] {
        if wanted && !had {
            lines.push(line.to_owned());
        }
    }
    for key in secrets.keys.iter().filter(|k| !approved.secrets.keys.contains(k)) {
        lines.push(format!("secrets.keys: use key {key}"));
    }
    for secret in secrets.reveal.iter().filter(|s| !approved.secrets.reveal.contains(s)) {
        lines.push(format!("secrets.reveal: read secret {secret}"));
    }
    lines
}

fn stores(kind: &str, asked: &BTreeMap<String, StoreGrant>, approved: &BTreeMap<String, StoreGrant>, lines: &mut Vec<String>) {
    for (name, grant) in asked {
        let covered = approved.get(name).is_some_and(|a| a.scope == grant.scope && a.access >= grant.access);
        if !covered {
            lines.push(format!("{kind}.{name}: {:?} {:?}", grant.scope, grant.access));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(text: &str) -> GrantRequests {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn names_are_logical_and_namespaced_once() {
        let plugin = PluginName::new("rules").unwrap();
        let grants = Grants::compile(&plugin, &requests("[cache.a]\n[cache.b]\nscope = 'shared'\naccess = 'read-only'")).unwrap();
        assert_eq!(grants.bucket("a").unwrap().0.as_str(), "rules/a");
        assert_eq!(grants.bucket("b").unwrap().0.as_str(), "shared/b");
        assert_eq!(grants.bucket("b").unwrap().1, GrantedAccess::ReadOnly);
        for other in ["c", "rules/a", "shared/b", "../b", ""] {
            assert_eq!(grants.bucket(other).unwrap_err().kind(), ErrorKind::Denied, "{other}");
        }
    }

    #[test]
    fn more_than_approved_is_named_line_by_line() {
        let approved = requests("[cache.a]\naccess = 'read-only'\n[audit]\nwrite = ['x.*']");
        assert!(beyond(&approved, &approved).is_empty());
        let asked = requests(
            "http = { origins = ['https://b.example.org'], private-addresses = true }\n[cache.a]\n[database.d]\n[audit]\nwrite = ['x.*', 'y.*']\nread = true\n[secrets]\nreveal = ['s']",
        );
        assert_eq!(
            beyond(&asked, &approved),
            [
                "cache.a: Own ReadWrite",
                "database.d: Own ReadWrite",
                "http.origins: send requests to https://b.example.org",
                "audit.write: y.*",
                "http.private-addresses: also at addresses that are not public",
                "audit.read: query the audit log",
                "secrets.reveal: read secret s"
            ]
        );
        let fewer = requests("[audit]\nwrite = ['x.*']");
        assert!(beyond(&fewer, &approved).is_empty());
    }
}
