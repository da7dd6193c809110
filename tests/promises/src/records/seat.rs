//! One host of the campaign, which may be killed and started again, and who writes through it.

use super::Work;
use anyhow::{Context, Result, ensure};
use plinth_tests::{Client, HostProcess};
use reqwest::Method;
use serde_json::json;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Before the next try after one that failed.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);

/// A record that the log has promised to keep.
#[derive(Debug, Clone)]
pub(super) struct Acked {
    pub(super) subject: String,
    pub(super) sequence: u64,
    pub(super) at: Instant,
}

pub(super) struct Seat {
    pub(super) name: &'static str,
    host: Option<HostProcess>,
    client: watch::Sender<Option<Client>>,
}

impl Seat {
    pub(super) fn new(name: &'static str, host: HostProcess) -> Self {
        let client = watch::Sender::new(Some((*host).clone()));
        Self { name, host: Some(host), client }
    }

    pub(super) fn host(&self) -> Option<&HostProcess> {
        self.host.as_ref()
    }

    /// Where it is; none while it is dead.
    pub(super) fn client(&self) -> watch::Receiver<Option<Client>> {
        self.client.subscribe()
    }

    pub(super) async fn kill(&mut self) {
        if let Some(host) = self.host.take() {
            host.kill().await;
        }
        self.client.send_replace(None);
    }

    pub(super) fn sit(&mut self, host: HostProcess) {
        self.client.send_replace(Some((*host).clone()));
        self.host = Some(host);
    }
}

/// Writes until all is written that is wanted. What got no answer is not tried again: it may be there or not, and once at most.
pub(super) async fn write(mut client: watch::Receiver<Option<Client>>, work: Arc<Work>) -> Result<Vec<Acked>> {
    let mut acked = Vec::new();
    while *work.acked.borrow() < work.wanted || !work.struck.load(Ordering::Relaxed) {
        let there = client.wait_for(Option::is_some).await.context("the campaign is over")?.clone();
        let subject = format!("r-{}", work.tried.fetch_add(1, Ordering::Relaxed));
        match append(&there.context("a host")?, "record", &subject).await {
            Ok(sequence) => {
                acked.push(Acked { subject, sequence, at: Instant::now() });
                work.acked.send_modify(|acked| *acked += 1);
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    Ok(acked)
}

/// The sequence of the record.
pub(super) async fn append(client: &Client, kind: &str, id: &str) -> Result<u64> {
    let record = json!({ "action": "case.noted", "subject": { "kind": kind, "id": id }, "summary": "written while things break" });
    let request = client.request(Method::POST, "/v1/audit").json(&record).timeout(PATIENCE);
    let answer = client.try_send(request).await?;
    ensure!(answer.status == 201, "{answer}");
    answer.json()["sequence"].as_u64().context("a sequence")
}
