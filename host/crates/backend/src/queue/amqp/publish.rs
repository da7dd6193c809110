//! From messages to what is sent: checks, room, routes, delays and expiries.

use super::{
    Core,
    catalog::Entry,
    names::{UNIT, delay_route, lane_of, topic_key, word},
    send::{Outgoing, Sent},
    topology,
    wire::Copy,
};
use crate::queue::{check_message, policy::EXPIRED};
use plinth_capability::{
    Error, ErrorKind, Result,
    name::{QueueName, TopicName},
    now_ms,
    queue::{Destination, Message, PUBLISH_MAX},
};
use std::time::Duration;

const OPERATION: &str = "queue.publish";
/// The broker's longest time to live; what expires later is noticed at its delivery.
const LIVES_MAX: Duration = Duration::from_millis(u32::MAX as u64);

/// A publish, and for which queue it waits until when (Unix milliseconds).
pub(super) struct Routed {
    out: Outgoing,
    waits: Option<(QueueName, u64)>,
}

impl Core {
    pub(super) async fn publish_all(&self, destination: &Destination, messages: Vec<Message>) -> Result<Vec<Result<()>>> {
        if messages.len() > PUBLISH_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, format!("at most {PUBLISH_MAX} messages in one call")));
        }
        let targets = self.targets(destination).await?;
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut accepted = Vec::new();
        for message in messages {
            let checked = match (check_message(OPERATION, &message), &targets) {
                (Ok(()), None) => Err(Error::new(ErrorKind::Unroutable, OPERATION, "no such queue")),
                (checked, _) => checked,
            };
            if checked.is_ok() {
                accepted.push((outcomes.len(), message));
            }
            outcomes.push(checked);
        }
        let targets = targets.unwrap_or_default();
        let room = self.room(&targets, accepted.len()).await?;
        for (place, _) in accepted.split_off(room.min(accepted.len())) {
            if let Some(outcome) = outcomes.get_mut(place) {
                *outcome = Err(Error::new(ErrorKind::LimitExceeded, OPERATION, "the queue is full"));
            }
        }
        self.wait_shortly(&accepted).await;
        let (mut places, mut batch) = (Vec::new(), Vec::new());
        for (place, message) in accepted {
            for routed in self.routes(destination, &targets, message) {
                places.push(place);
                batch.push(routed);
            }
        }
        let sent = self.send_routed(batch, OPERATION).await?;
        for (place, sent) in places.into_iter().zip(sent) {
            if let (Some(outcome @ Ok(())), Err(error)) = (outcomes.get_mut(place), sent.outcome(OPERATION)) {
                *outcome = Err(error);
            }
        }
        Ok(outcomes)
    }

    /// The queues it goes to; `None` for a queue that does not exist.
    async fn targets(&self, destination: &Destination) -> Result<Option<Vec<(QueueName, Entry)>>> {
        match destination {
            Destination::Queue(queue) => Ok(self.entry(queue, OPERATION).await?.map(|entry| vec![(queue.clone(), entry)])),
            Destination::Topic(topic) => {
                if self.catalog.current().is_none() {
                    self.read_catalog(OPERATION).await?;
                }
                Ok(Some(self.bound(topic)))
            }
        }
    }

    fn bound(&self, topic: &TopicName) -> Vec<(QueueName, Entry)> {
        let Some(catalog) = self.catalog.current() else { return Vec::new() };
        let bound = catalog.queues.iter().filter(|(_, entry)| entry.patterns.iter().any(|p| p.matches(topic.as_str())));
        bound.map(|(queue, entry)| (queue.clone(), entry.clone())).collect()
    }

    /// A delay under the broker's unit is waited for here: it is over before a level could end.
    async fn wait_shortly(&self, messages: &[(usize, Message)]) {
        let short = messages.iter().map(|(_, message)| message.delay).filter(|delay| *delay < UNIT).max().unwrap_or_default();
        if !short.is_zero() {
            tokio::time::sleep(short).await;
        }
    }

    fn routes(&self, destination: &Destination, targets: &[(QueueName, Entry)], message: Message) -> Vec<Routed> {
        let delay = message.delay;
        match destination {
            // The broker copies it, by bindings that are right even where this host's catalog is a moment old.
            Destination::Topic(topic) if delay < UNIT => {
                let copy = Copy::new(message, topic.as_str());
                let out = Outgoing {
                    exchange: self.names.topics(),
                    key: topic_key(copy.message.priority, topic),
                    properties: copy.properties(lives(&copy)),
                    body: copy.message.body.clone(),
                    mandatory: false,
                    copy: copy.id,
                };
                vec![Routed { out, waits: None }]
            }
            Destination::Topic(topic) => {
                targets.iter().map(|(queue, entry)| self.route(queue, entry, Copy::new(message.clone(), topic.as_str()), delay)).collect()
            }
            Destination::Queue(name) => {
                targets.iter().map(|(queue, entry)| self.route(queue, entry, Copy::new(message.clone(), name.as_str()), delay)).collect()
            }
        }
    }

    /// The way of one copy to one queue, or to its dead letters if it is dead or will be before its time.
    pub(super) fn route(&self, queue: &QueueName, entry: &Entry, mut copy: Copy, mut wait: Duration) -> Routed {
        let now = now_ms();
        let mark = lane_of(&entry.marks, copy.message.priority);
        let mut part = mark.to_string();
        if copy.death.is_some() {
            (part, wait) = ("dead".to_owned(), Duration::ZERO);
        } else if let Some(expires) = copy.expires_at_ms().filter(|at| *at <= now.saturating_add(millis(wait)) && wait >= UNIT) {
            copy = copy.dead(EXPIRED, String::new());
            if let Some(death) = &mut copy.death {
                death.died_ms = expires;
            }
            (part, wait) = ("dead".to_owned(), Duration::from_millis(expires.saturating_sub(now)).max(UNIT));
        }
        let waits = wait >= UNIT;
        let (exchange, key) = match waits {
            true => delay_route(&self.names, &word(queue, &part), wait),
            false if copy.death.is_some() => (String::new(), self.names.dead(queue)),
            false => (String::new(), self.names.lane(queue, mark)),
        };
        // In a level of delay it would end the wait; after one it is looked at when it is delivered.
        let lives = if waits || copy.death.is_some() { None } else { lives(&copy) };
        let (properties, body) = (copy.properties(lives), copy.message.body);
        let out = Outgoing { exchange, key, properties, body, mandatory: true, copy: copy.id };
        Routed { out, waits: waits.then(|| (queue.clone(), now.saturating_add(millis(wait)))) }
    }

    /// Sends, and counts what waits.
    pub(super) async fn send_routed(&self, routed: Vec<Routed>, operation: &'static str) -> Result<Vec<Sent>> {
        let (waits, batch): (Vec<_>, Vec<_>) = routed.into_iter().map(|routed| (routed.waits, routed.out)).unzip();
        if waits.iter().any(Option::is_some) {
            self.ensure_delays().await?;
        }
        let sent = self.send_all(batch, operation).await?;
        for (sent, waits) in sent.iter().zip(waits) {
            if let (Sent::Stored, Some((queue, until))) = (sent, waits) {
                self.waiting.add(&queue, until);
            }
        }
        Ok(sent)
    }

    /// Declares the levels of delay once per connection.
    async fn ensure_delays(&self) -> Result<()> {
        let live = self.incoming.live(OPERATION, self.patience()).await?;
        let declare = async {
            let mut declared = self.delays.lock().await;
            if *declared != Some(live.number) {
                let channel = live.channel(OPERATION, self.patience()).await?;
                topology::delays(&channel, &self.names).await?;
                *declared = Some(live.number);
            }
            Ok(())
        };
        live.bound(OPERATION, Box::pin(declare)).await
    }
}

/// How long the broker may keep it in its lane.
fn lives(copy: &Copy) -> Option<Duration> {
    let left = Duration::from_millis(copy.expires_at_ms()?.saturating_sub(now_ms()));
    (left <= LIVES_MAX).then_some(left)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
