//! The subject: `PostgresAudit::append`, with the tree growing beside it as in a host.

use super::{WRITERS, material::Calls};
use anyhow::{Result, ensure};
use plinth_backend::{
    audit::{AuditTree, AuditTreeConfig, PostgresAudit},
    postgres::{Postgres, PostgresConfig},
};
use plinth_capability::audit::AuditLog;
use std::{sync::Arc, time::Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) struct Subject {
    log: Arc<PostgresAudit>,
    tree: Arc<AuditTree>,
    _files: tempfile::TempDir,
}

impl Subject {
    pub(super) async fn open(url: &str) -> Result<Self> {
        let postgres = Postgres::open(&PostgresConfig { url: url.to_owned(), ..PostgresConfig::default() }).await?;
        let log = Arc::new(PostgresAudit::open(postgres).await?);
        let files = tempfile::tempdir()?;
        let (key, checkpoints) = (files.path().join("key"), files.path().join("checkpoints"));
        let config = AuditTreeConfig { origin: None, key, checkpoints, archive: None };
        let tree = Arc::new(AuditTree::over_postgres(log.clone(), config).await?);
        Ok(Self { log, tree, _files: files })
    }

    /// Records per second. The tree has taken in everything when this returns, which is not counted.
    pub(super) async fn turn(&self, work: Vec<Calls>) -> Result<f64> {
        ensure!(work.len() == WRITERS, "one part for each writer");
        let (stop, mut beside) = (CancellationToken::new(), JoinSet::new());
        let (tree, stopped) = (self.tree.clone(), stop.clone());
        beside.spawn(async move { tree.run(stopped).await });
        let (began, mut writers) = (Instant::now(), JoinSet::new());
        for calls in work {
            let log = self.log.clone();
            writers.spawn(async move {
                let mut appended = 0;
                for call in calls.0 {
                    let count = call.records.len();
                    let receipts = log.append(call.records).await?;
                    ensure!(receipts.len() == count, "a receipt for each record");
                    appended += count;
                }
                Ok(appended)
            });
        }
        let mut appended = 0;
        while let Some(writer) = writers.join_next().await {
            appended += writer??;
        }
        let rate = appended as f64 / began.elapsed().as_secs_f64();
        stop.cancel();
        while beside.join_next().await.is_some() {}
        Ok(rate)
    }
}
