//! A host in this process, on a free port and a folder of its own.

use crate::{Client, Gate, binary};
use plinth::{HostConfig, Overrides, RunningHost, runtime::Faults};
use std::{ops::Deref, path::Path, sync::Arc};
use tempfile::TempDir;
use toml::{Table, Value};

/// Commits that survive this process are enough where no power fails.
const CONFIG: &str = r#"
[api]
listen = "127.0.0.1:0"
[queue]
backend = "embedded"
durability = "process"
[database]
backend = "sqlite"
durability = "process"
[audit]
backend = "sqlite"
durability = "process"
"#;

/// Derefs to the client that talks to it.
pub struct TestHost {
    pub running: RunningHost,
    data: Arc<TempDir>,
    config: String,
    gate: Option<Arc<Gate>>,
    client: Client,
}

impl TestHost {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// `config` goes over what tests need, table by table.
    pub async fn with(config: &str) -> Self {
        let mut host = Self::starting(Arc::new(tempfile::tempdir().expect("a folder")), config, None).await;
        host.ready().await;
        host
    }

    /// Whose plugins' capability calls pass the gate first.
    pub async fn behind(gate: &Arc<Gate>) -> Self {
        let data = Arc::new(tempfile::tempdir().expect("a folder"));
        let mut host = Self::starting(data, "", Some(gate.clone())).await;
        host.ready().await;
        host
    }

    /// Serves, and may still be bringing back its plugins.
    async fn starting(data: Arc<TempDir>, config: &str, gate: Option<Arc<Gate>>) -> Self {
        let parsed = HostConfig::parse(&merged(data.path(), config)).unwrap_or_else(|e| panic!("{e}"));
        let faults = gate.clone().map(|gate| gate as Arc<dyn Faults>);
        let overrides = Overrides { compiler: Some(binary()), faults };
        let running = plinth::start(parsed, overrides).await.unwrap_or_else(|e| panic!("the host did not start: {e:?}"));
        let client = Client::new(&running.url());
        Self { running, data, config: config.to_owned(), gate, client }
    }

    /// Waits until all that was installed is back.
    pub async fn ready(&mut self) {
        self.running.ready().await.unwrap_or_else(|e| panic!("the host did not become ready: {e:?}"));
    }

    /// Stops and starts on the same data.
    pub async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// As `restart`; `between` finds the data folder at rest.
    pub async fn restart_after(self, between: impl FnOnce(&Path)) -> Self {
        let mut host = self.restarting(between).await;
        host.ready().await;
        host
    }

    /// As `restart_after`, without waiting for the plugins.
    pub async fn restarting(self, between: impl FnOnce(&Path)) -> Self {
        let (data, config, gate) = (self.data.clone(), self.config.clone(), self.gate.clone());
        self.running.stop().await;
        between(data.path());
        Self::starting(data, &config, gate).await
    }

    /// Declares a queue, or changes its settings, which keeps it when a plugin asks for it later.
    pub async fn declare(&self, queue: &str, spec: serde_json::Value) {
        let name = serde_json::from_value(queue.into()).expect("a queue's name");
        let spec = serde_json::from_value(spec).expect("settings of a queue");
        self.running.capabilities.queue.declare(&name, &spec).await.expect("the queue is declared");
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }
}

impl Deref for TestHost {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The configuration for a data folder, as TOML.
pub fn merged(data: &Path, config: &str) -> String {
    let mut base: Table = CONFIG.parse().expect("TOML");
    base.insert("data".to_owned(), Value::String(data.display().to_string()));
    merge(&mut base, config.parse().expect("TOML"));
    toml::to_string(&base).expect("a table is TOML")
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(value)) => merge(below, value),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}
