//! Ending a delivery. What goes on is sent as a copy and confirmed before the
//! old one is acked: a crash in between delivers twice and loses nothing.

use super::{Core, catalog::Entry, error::unknown, feed::Held, names::UNIT, send::Sent, wire::Copy};
use crate::failpoint::reach;
use crate::queue::policy::{Step, step};
use lapin::options::{BasicAckOptions, BasicNackOptions};
use plinth_capability::{
    Error, ErrorKind, Result,
    name::QueueName,
    queue::{Delivery, Settlement},
};
use std::{sync::Arc, time::Duration};

const OPERATION: &str = "queue.settle";

impl Core {
    pub(super) async fn settle_one(self: &Arc<Self>, delivery: &Delivery, settlement: Settlement) -> Result<()> {
        let id = self.leases.id(&delivery.token).ok_or_else(lost)?;
        let lease = self.leases.take(id).ok_or_else(lost)?;
        reach("settle.begun");
        if settlement == Settlement::Ack {
            self.forget_innocent(&lease.copy.id);
            return ack(&lease.held).await;
        }
        let core = self.clone();
        // Detached from its caller: a dropped settle would leave a delivery that is neither leased nor back.
        let moving = self.tasks.spawn(async move {
            let entry = match core.known(&lease.queue, OPERATION).await {
                Ok(entry) => entry,
                Err(error) => {
                    core.leases.put_back(id, lease);
                    return Err(error);
                }
            };
            let (copy, wait) = match step(&entry.spec, lease.attempt, settlement, rand::random()) {
                Step::Forget => return ack(&lease.held).await,
                Step::PutBack => (Copy { attempts: lease.attempt.saturating_sub(1), ..lease.copy.clone() }, Duration::ZERO),
                Step::Retry { wait, error } => (Copy { attempts: lease.attempt, last_error: error, ..lease.copy.clone() }, wait),
                Step::Die { reason, error } => (Copy { attempts: lease.attempt, ..lease.copy.clone() }.dead(reason, error), Duration::ZERO),
            };
            let queue = lease.queue.clone();
            let moved = core.move_all(&queue, &entry, vec![(lease.held, copy, wait)], OPERATION).await.pop();
            match moved {
                Some((held, Err(error))) => {
                    if held.usable() {
                        core.leases.put_back(id, super::lease::Lease { held, ..lease });
                    }
                    Err(error)
                }
                _ => Ok(()),
            }
        });
        moving.await.map_err(|e| Error::new(ErrorKind::Internal, OPERATION, "settling was cut off").with_source(e))?
    }

    /// Sends each copy on and acks what it came from; what could not be sent is still held.
    pub(super) async fn move_all(
        &self,
        queue: &QueueName,
        entry: &Entry,
        moves: Vec<(Held, Copy, Duration)>,
        operation: &'static str,
    ) -> Vec<(Held, Result<()>)> {
        let (mut helds, mut routed) = (Vec::with_capacity(moves.len()), Vec::with_capacity(moves.len()));
        for (held, copy, wait) in moves {
            // Its connection is gone, so the broker delivers it again anyway.
            if held.usable() {
                self.forget_innocent(&copy.id);
                // A wait too short for a level of delay; nobody else waits for it.
                if !wait.is_zero() && wait < UNIT {
                    tokio::time::sleep(wait).await;
                }
                helds.push((held, copy.clone()));
                routed.push(self.route(queue, entry, copy, wait));
            }
        }
        let sent = match self.send_routed(routed, operation).await {
            Ok(sent) => sent,
            Err(error) => {
                let again = |held| (held, Err(Error::new(error.kind(), operation, error.message().to_owned())));
                return helds.into_iter().map(|(held, _)| again(held)).collect();
            }
        };
        let mut moved = Vec::with_capacity(helds.len());
        for ((held, copy), mut sent) in helds.into_iter().zip(sent) {
            if sent == Sent::Refused {
                // A full lane takes it once there is room; until then a level of delay holds it.
                let waits = self.route(queue, entry, copy, UNIT);
                sent = self.send_routed(vec![waits], operation).await.ok().and_then(|sent| sent.first().copied()).unwrap_or(Sent::Unsent);
            }
            let outcome = match sent.outcome(operation) {
                Ok(()) => ack(&held).await.map_err(|_| unknown(operation)),
                Err(error) => Err(error),
            };
            moved.push((held, outcome));
        }
        moved
    }
}

/// Tells the broker to forget it.
pub(super) async fn ack(held: &Held) -> Result<()> {
    if !held.usable() {
        return Err(lost());
    }
    match held.told(held.delivery.acker.ack(BasicAckOptions::default())).await {
        Some(Ok(true)) => {
            reach("settle.done");
            Ok(())
        }
        Some(Err(error)) => Err(lost().with_source(error)),
        Some(Ok(false)) | None => Err(lost()),
    }
}

/// The broker delivers it again, and counts it.
pub(super) async fn put_back_at_broker(held: Held) {
    let options = BasicNackOptions { requeue: true, multiple: false };
    if let Some(Err(error)) = held.told(held.delivery.acker.nack(options)).await {
        tracing::debug!(%error, "a delivery goes back with its connection");
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Conflict, OPERATION, "the lease of this delivery has ended")
}
