//! Confirmed sending: a pool of channels, one batch at a time on each, one wait for all of its confirmations.
//!
//! A channel is used by one batch alone because the driver hands a returned
//! message to whichever confirmation comes next on its channel.

use super::{
    Core,
    error::{broken, late, unknown},
    link::Live,
};
use crate::failpoint::reach;
use bytes::Bytes;
use lapin::{
    BasicProperties, Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use plinth_capability::{Error, ErrorKind, Result};
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout, timeout_at},
};

/// One publish, ready to go.
pub(super) struct Outgoing {
    pub(super) exchange: String,
    pub(super) key: String,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
    /// Whether reaching no queue is an error.
    pub(super) mandatory: bool,
    /// Known again if the broker returns it; unique in its batch.
    pub(super) copy: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// On a majority of every queue it goes to.
    Stored,
    /// It reached no queue.
    Unroutable,
    /// The broker said no: a queue lost its leader just then, or a policy of the
    /// operator calls it full. Of several queues some may have it.
    Refused,
    /// It may or may not be stored.
    Unknown,
    /// It never left.
    Unsent,
}

impl Sent {
    pub(super) fn outcome(self, operation: &'static str) -> Result<()> {
        match self {
            Self::Stored => Ok(()),
            Self::Unroutable => Err(Error::new(ErrorKind::Unroutable, operation, "no queue is bound where this was sent")),
            Self::Refused | Self::Unknown => Err(unknown(operation)),
            Self::Unsent => Err(Error::new(ErrorKind::Unavailable, operation, "the broker cannot be reached now")),
        }
    }
}

/// Idle channels of the connection of that number.
pub(super) struct Pool {
    idle: Mutex<(u64, Vec<Channel>)>,
    permits: Semaphore,
}

impl Pool {
    pub(super) fn new(channels: u16) -> Self {
        Self { idle: Mutex::default(), permits: Semaphore::new(channels.into()) }
    }

    fn take(&self, number: u64) -> Option<Channel> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.0 != number {
            *idle = (number, Vec::new());
        }
        while let Some(channel) = idle.1.pop() {
            if channel.status().connected() {
                return Some(channel);
            }
        }
        None
    }

    fn give_back(&self, number: u64, channel: Channel) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.0 == number && channel.status().connected() {
            idle.1.push(channel);
        }
    }
}

impl Core {
    /// One answer per publish, in order; an error if none was sent. If this
    /// future is dropped, the channel goes with it and outcomes are unknown.
    pub(super) async fn send_all(&self, batch: Vec<Outgoing>, operation: &'static str) -> Result<Vec<Sent>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + self.config.confirm_timeout();
        let (_permit, live, channel) = self.channel(operation).await?;
        reach("publish.begun");
        let mut confirms = Vec::with_capacity(batch.len());
        let mut copies = Vec::with_capacity(batch.len());
        let mut whole = true;
        for out in batch {
            copies.push(out.copy);
            if !whole {
                confirms.push(Err(Sent::Unsent));
                continue;
            }
            let options = BasicPublishOptions { mandatory: out.mandatory, ..BasicPublishOptions::default() };
            let publish = channel.basic_publish(out.exchange.into(), out.key.into(), options, &out.body, out.properties);
            confirms.push(match timeout_at(deadline, publish).await {
                Ok(Ok(confirm)) => Ok(confirm),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a publish could not be sent");
                    whole = false;
                    Err(Sent::Unknown)
                }
                Err(_) => {
                    whole = false;
                    Err(Sent::Unknown)
                }
            });
        }
        reach("publish.sent");
        let mut returned = HashSet::new();
        let mut sent = Vec::with_capacity(confirms.len());
        for confirm in confirms {
            let confirm = match confirm {
                Ok(confirm) => timeout_at(deadline, confirm).await.unwrap_or(Ok(Confirmation::NotRequested)),
                Err(never) => {
                    sent.push(never);
                    continue;
                }
            };
            sent.push(match confirm {
                Ok(Confirmation::Ack(back)) => {
                    returned.extend(back.and_then(|back| super::wire::copy_id(&back.properties)));
                    Sent::Stored
                }
                Ok(Confirmation::Nack(back)) => {
                    // A channel remembers who led a queue: after a leader died, the broker went on refusing on this one.
                    whole = false;
                    returned.extend(back.and_then(|back| super::wire::copy_id(&back.properties)));
                    Sent::Refused
                }
                Ok(Confirmation::NotRequested) | Err(_) => {
                    whole = false;
                    Sent::Unknown
                }
            });
        }
        reach("publish.confirmed");
        if whole {
            self.pool.give_back(live.number, channel);
        }
        if !returned.is_empty() {
            for (sent, copy) in sent.iter_mut().zip(&copies).filter(|(_, copy)| returned.contains(*copy)) {
                tracing::debug!(copy, "the broker returned a message as unroutable");
                *sent = Sent::Unroutable;
            }
        }
        Ok(sent)
    }

    /// One message that is not a guest's.
    pub(super) async fn send_raw(&self, exchange: &str, key: &str, body: &[u8], operation: &'static str) -> Result<()> {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let body = Bytes::copy_from_slice(body);
        let out = Outgoing { exchange: exchange.to_owned(), key: key.to_owned(), properties, body, mandatory: false, copy: String::new() };
        let sent = self.send_all(vec![out], operation).await?;
        sent.first().copied().unwrap_or(Sent::Unsent).outcome(operation)
    }

    async fn channel(&self, operation: &'static str) -> Result<(SemaphorePermit<'_>, std::sync::Arc<Live>, Channel)> {
        let permit = timeout(self.patience(), self.pool.permits.acquire()).await.map_err(|_| late(operation))?;
        let permit = permit.map_err(|e| Error::new(ErrorKind::Closed, operation, "the queue is closed").with_source(e))?;
        let live = self.outgoing.live(operation, self.patience()).await?;
        if live.blocked() {
            return Err(Error::new(ErrorKind::Unavailable, operation, "the broker takes no messages now: it is short of memory or disk"));
        }
        if let Some(channel) = self.pool.take(live.number) {
            return Ok((permit, live, channel));
        }
        let channel = live.channel(operation, self.patience()).await?;
        match timeout(self.patience(), channel.confirm_select(ConfirmSelectOptions::default())).await {
            Ok(selected) => selected.map_err(broken(operation))?,
            Err(_) => return Err(late(operation)),
        }
        Ok((permit, live, channel))
    }
}
