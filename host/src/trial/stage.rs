//! The host of one case: embedded backends in a folder that goes away, and the plugin installed on it.

use super::{TrialError, case::Given, recorder::Recorder, script::Script, servers::Servers};
use crate::{
    config::HostConfig,
    host_key,
    start::{Overrides, StartError},
    wiring::{self, Backends},
};
use plinth_capability::{
    Capabilities, Error,
    audit::{AuditFilter, AuditRecord},
    cache::Write,
    database::{Access, Database, QueryLimits},
    name::{CacheKey, PluginName},
    queue::{Destination, Message},
};
use plinth_runtime::{Grants, LoadError, Package, Parts, Runtime, manifest::Manifest};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// An outbox delivers within moments, or not at all.
const DELIVERED: Duration = Duration::from_secs(5);
const CLOSING: Duration = Duration::from_secs(2);
/// Of audit records looked at, and of series.
const MOST: usize = 10_000;

/// What the hosts of all cases have in common: compiled code.
pub(super) struct Workshop {
    folder: TempDir,
    program: PathBuf,
    key: [u8; 32],
}

/// What the call of a case is compared with.
pub(super) struct Before {
    pub(super) messages: usize,
    pub(super) records: usize,
    pub(super) metrics: BTreeMap<String, f64>,
}

pub(super) struct Stage {
    pub(super) runtime: Runtime,
    pub(super) plugin: PluginName,
    pub(super) grants: Grants,
    backends: Backends,
    recorder: Arc<Recorder>,
    pub(super) servers: Arc<Servers>,
    _data: TempDir,
}

impl Workshop {
    pub(super) fn new() -> Result<Self, StartError> {
        let folder = tempfile::tempdir().map_err(|e| StartError::Data(std::env::temp_dir(), e))?;
        let key = host_key::load_or_make(&folder.path().join("host.key"))?;
        Ok(Self { folder, program: Overrides::default().program()?, key })
    }

    /// Compiles the plugin the first time only.
    pub(super) async fn stage(&self, package: Package, script: Arc<Script>, given: &Given) -> Result<Stage, TrialError> {
        let data = tempfile::tempdir().map_err(|e| StartError::Data(std::env::temp_dir(), e))?;
        let config = HostConfig { data: data.path().to_owned(), ..HostConfig::default() };
        let mut recorder = None;
        let servers = Arc::new(Servers::new(&given.http));
        let backends =
            Backends::open_with(&config, |queue| recorder.insert(Arc::new(Recorder::over(queue))).clone(), servers.clone()).await?;
        let mut settings = wiring::runtime_config(&config, self.program.clone(), Some(script))?;
        settings.code_dir = self.folder.path().join("code");
        settings.host_key = self.key;
        let parts = Parts { capabilities: backends.capabilities.clone(), state: backends.state(), fleet: None };
        let runtime = Runtime::start(settings, parts).await.map_err(StartError::from)?;
        runtime.restore().await;
        let stage = async {
            let manifest = Manifest::parse(&package.manifest).map_err(LoadError::Manifest)?;
            runtime.install(package).await?;
            let grants = Grants::compile(&manifest.name, &manifest.grants).map_err(LoadError::Manifest)?;
            Ok((manifest.name, grants))
        };
        match stage.await {
            Ok((plugin, grants)) => {
                let recorder =
                    recorder.ok_or_else(|| StartError::from(Error::new(plinth_capability::ErrorKind::Internal, "trial", "no queue")))?;
                Ok(Stage { runtime, plugin, grants, backends, recorder, servers, _data: data })
            }
            Err(refused) => {
                runtime.stop(CLOSING).await;
                backends.close(CLOSING).await;
                Err(TrialError::Load(refused))
            }
        }
    }
}

impl Stage {
    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.backends.capabilities
    }

    /// What the component imports.
    pub(super) fn imports(&self) -> Vec<String> {
        self.runtime.slot(&self.plugin).map(|slot| slot.imports).unwrap_or_default()
    }

    /// Makes what the case gives, and remembers how things stand then.
    pub(super) async fn set(&self, given: &Given) -> Result<Before, String> {
        for (bucket, entries) in &given.cache {
            let (full, _) = self.grants.bucket(bucket).map_err(|e| told("given.cache", bucket, &e))?;
            for (key, text) in entries {
                let key = CacheKey::new(key).map_err(|e| told("given.cache", bucket, &e))?;
                let set = self.capabilities().cache.set(full, &key, text.clone().into(), Write::always(None));
                set.await.map_err(|e| told("given.cache", bucket, &e))?;
            }
        }
        for (name, statements) in &given.database {
            let database = self.database(name).await.map_err(|e| told("given.database", name, &e))?;
            for statement in statements {
                let done = database.execute(statement, Vec::new(), QueryLimits::default()).await;
                done.map_err(|e| format!("{}: {statement}", told("given.database", name, &e)))?;
            }
        }
        for (name, bodies) in &given.queue {
            let destination = self.grants.destination(name).map_err(|e| told("given.queue", name, &e))?;
            let messages = bodies.iter().map(|body| message(body.bytes.clone(), &body.content_type)).collect();
            let told_each = self.capabilities().queue.publish(destination, messages).await.map_err(|e| told("given.queue", name, &e))?;
            told_each.into_iter().collect::<Result<Vec<()>, _>>().map_err(|e| told("given.queue", name, &e))?;
        }
        let records = self.records().await.map_err(|e| e.to_string())?.len();
        Ok(Before { messages: self.messages().len(), records, metrics: self.metrics() })
    }

    pub(super) async fn database(&self, name: &str) -> plinth_capability::Result<Arc<dyn Database>> {
        let (full, _) = self.grants.database(name)?;
        self.capabilities().databases.open(full, Access::ReadWrite).await
    }

    /// Waits for what was committed to be delivered.
    pub(super) async fn settled(&self) -> Result<(), String> {
        let until = Instant::now() + DELIVERED;
        loop {
            match self.backends.undelivered().await {
                Ok(0) => return Ok(()),
                Ok(left) if Instant::now() >= until => return Err(format!("{left} messages or records of an outbox cannot be delivered")),
                // Nothing tells when an outbox is empty: it is looked at again.
                Ok(_) => tokio::time::sleep(Duration::from_millis(2)).await,
                Err(error) => return Err(format!("the outbox cannot be looked at: {error}")),
            }
        }
    }

    pub(super) fn messages(&self) -> Vec<(Destination, Message)> {
        self.recorder.published()
    }

    /// Those of the plugin.
    pub(super) async fn records(&self) -> plinth_capability::Result<Vec<AuditRecord>> {
        let filter = AuditFilter { plugin_id: Some(self.plugin.to_string()), ..AuditFilter::default() };
        let (mut records, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.capabilities().audit.find(&filter, cursor.as_deref(), 100).await?;
            records.extend(page.records.into_iter().map(|stored| stored.record));
            match page.next {
                Some(next) if records.len() < MOST => cursor = Some(next),
                _ => return Ok(records),
            }
        }
    }

    /// The plugin's own series, under the names of its manifest, and with their labels.
    pub(super) fn metrics(&self) -> BTreeMap<String, f64> {
        let prefix = format!("{}_", self.plugin.as_str().replace('-', "_"));
        let mut all = BTreeMap::new();
        for series in self.capabilities().metrics.query(&prefix, MOST) {
            let Some(name) = series.name.strip_prefix(&prefix) else { continue };
            let own = series.labels.iter().filter(|(label, _)| label != "plugin" && label != "plugin_version");
            let mut labels: Vec<String> = own.map(|(label, value)| format!("{label}={value:?}")).collect();
            labels.sort();
            *all.entry(name.to_owned()).or_default() += series.value;
            if !labels.is_empty() {
                *all.entry(format!("{name}{{{}}}", labels.join(","))).or_default() += series.value;
            }
        }
        all
    }

    pub(super) async fn close(self) {
        self.runtime.stop(CLOSING).await;
        self.backends.close(CLOSING).await;
    }
}

fn told(what: &str, name: &str, error: &Error) -> String {
    format!("{what}.{name}: {error}")
}

fn message(body: bytes::Bytes, content_type: &str) -> Message {
    Message {
        id: uuid::Uuid::new_v4().to_string(),
        body,
        content_type: content_type.to_owned(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority: 0,
        delay: Duration::ZERO,
        expires: None,
    }
}
