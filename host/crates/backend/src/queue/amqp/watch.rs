//! Follows the catalog: reads it with each new connection, and hears of each change.

use super::{Core, catalog::Catalog, error::broken, topology};
use futures::StreamExt;
use lapin::{
    Channel, Consumer,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use plinth_capability::Result;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const OPERATION: &str = "queue.watch";
/// Between tries on a connection that is there and does not do.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks for a connection at least so often.
const LOOK: Duration = Duration::from_secs(3_600);

pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let Some(live) = stop.run_until_cancelled(core.incoming.live(OPERATION, LOOK)).await else { return };
        let Ok(live) = live else { continue };
        let follow = live.over.run_until_cancelled(follow(&core));
        match stop.run_until_cancelled(follow).await {
            None => return,
            Some(Some(Err(error))) => {
                tracing::debug!(%error, "the catalog of queues cannot be followed now");
                // Most of all before the first queue was declared; names unknown here are looked up anyway.
                stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
            }
            Some(_) => {}
        }
    }
}

async fn follow(core: &Core) -> Result<()> {
    heal(core).await?;
    let mut changes = listen(core).await?;
    core.read_catalog(OPERATION).await?;
    while let Some(change) = changes.1.next().await {
        let change = change.map_err(broken(OPERATION))?;
        if let Ok(catalog) = serde_json::from_slice::<Catalog>(&change.data) {
            core.catalog.saw(catalog);
        }
    }
    Ok(())
}

/// A broker that was killed may have forgotten what was declared in its last
/// seconds. Declaring again what is known changes nothing where it is there.
async fn heal(core: &Core) -> Result<()> {
    let known = core.catalog.current();
    let live = core.incoming.live(OPERATION, core.patience()).await?;
    if core.catalog_exists(&live, OPERATION).await? {
        core.read_catalog(OPERATION).await?;
        let Some(catalog) = core.catalog.current() else { return Ok(()) };
        let channel = live.channel(OPERATION, core.patience()).await?;
        return declare_all(core, &channel, &catalog).await;
    }
    match known {
        Some(known) if !known.queues.is_empty() => {
            let again = core.change_catalog(OPERATION, async |channel, catalog| {
                *catalog = (*known).clone();
                declare_all(core, channel, catalog).await
            });
            again.await
        }
        _ => Ok(()),
    }
}

async fn declare_all(core: &Core, channel: &Channel, catalog: &Catalog) -> Result<()> {
    topology::base(channel, &core.names).await?;
    for (queue, entry) in &catalog.queues {
        topology::lanes(channel, &core.names, queue, &entry.all_marks).await?;
        topology::patterns(channel, &core.names, queue, &entry.marks, &[], &entry.patterns).await?;
    }
    Ok(())
}

async fn listen(core: &Core) -> Result<(Channel, Consumer)> {
    let live = core.incoming.live(OPERATION, core.patience()).await?;
    let channel = live.channel(OPERATION, core.patience()).await?;
    let listening = async {
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let own = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        channel
            .queue_bind(own.name().clone(), core.names.changes().into(), "".into(), QueueBindOptions::default(), FieldTable::default())
            .await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        channel.basic_consume(own.name().clone(), "".into(), options, FieldTable::default()).await
    };
    let consumer = listening.await.map_err(broken(OPERATION))?;
    Ok((channel, consumer))
}
