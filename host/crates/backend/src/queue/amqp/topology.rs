//! Declaring what the names stand for. All arguments are the same for every
//! queue and never depend on its settings, so declaring again never conflicts.

use super::{
    error::broken,
    names::{LEVELS, Mark, Names, delivery_binding, level_binding, level_ms, topic_binding},
};
use futures::future::try_join_all;
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString},
};
use plinth_capability::{
    Result,
    name::{QueueName, TopicPattern},
};

/// Deliveries that ended with their connection before the broker takes a message
/// for the cause: the net below the host's own count, which a host that dies cannot keep.
const DELIVERIES_MAX: i64 = 50;
/// Newer brokers end a message after 20 returns unless told otherwise, and
/// reading dead letters or the catalog returns them.
const WITHOUT_LIMIT: i64 = 2_147_483_647;

struct Arguments(FieldTable);

impl Arguments {
    fn quorum(deliveries: i64) -> Self {
        Self(FieldTable::default()).text("x-queue-type", "quorum").number("x-delivery-limit", deliveries)
    }

    /// At-least-once is silently at-most-once without `reject-publish`.
    fn dead_letters_to(self, exchange: &str) -> Self {
        self.text("x-dead-letter-exchange", exchange).text("x-dead-letter-strategy", "at-least-once").text("x-overflow", "reject-publish")
    }

    fn text(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.into(), AMQPValue::LongString(LongString::from(value)));
        self
    }

    fn number(mut self, key: &str, value: i64) -> Self {
        self.0.insert(key.into(), AMQPValue::LongLongInt(value));
        self
    }
}

async fn queue(channel: &Channel, name: &str, arguments: Arguments) -> lapin::Result<()> {
    channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments.0).await.map(|_| ())
}

async fn exchange(channel: &Channel, name: &str, kind: ExchangeKind) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.into(), kind, options, FieldTable::default()).await
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    channel.queue_bind(queue.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default()).await
}

/// What every queue hangs on.
pub(super) async fn base(channel: &Channel, names: &Names) -> Result<()> {
    let declared = async {
        exchange(channel, &names.topics(), ExchangeKind::Topic).await?;
        exchange(channel, &names.delivery(), ExchangeKind::Topic).await?;
        queue(channel, &names.catalog(), Arguments::quorum(WITHOUT_LIMIT)).await
    };
    declared.await.map_err(broken("queue.declare"))
}

/// Its existence says that a catalog was stored.
pub(super) async fn changes(channel: &Channel, names: &Names) -> Result<()> {
    exchange(channel, &names.changes(), ExchangeKind::Fanout).await.map_err(broken("queue.declare"))
}

/// The lanes and the dead letters of one queue.
pub(super) async fn lanes(channel: &Channel, names: &Names, of: &QueueName, marks: &[Mark]) -> Result<()> {
    let (dead, delivery) = (names.dead(of), names.delivery());
    let (dead, delivery) = (dead.as_str(), delivery.as_str());
    let declared = async {
        queue(channel, dead, Arguments::quorum(WITHOUT_LIMIT)).await?;
        bind(channel, dead, delivery, &delivery_binding(of, "dead")).await?;
        try_join_all(marks.iter().map(|mark| async move {
            let lane = names.lane(of, *mark);
            let arguments = Arguments::quorum(DELIVERIES_MAX).dead_letters_to("").text("x-dead-letter-routing-key", dead);
            queue(channel, &lane, arguments).await?;
            bind(channel, &lane, delivery, &delivery_binding(of, &mark.to_string())).await
        }))
        .await
    };
    declared.await.map(|_| ()).map_err(broken("queue.declare"))
}

/// Binds the lanes to what is new among the patterns, and takes off what is old.
pub(super) async fn patterns(
    channel: &Channel,
    names: &Names,
    of: &QueueName,
    marks: &[Mark],
    old: &[TopicPattern],
    new: &[TopicPattern],
) -> Result<()> {
    let exchange = names.topics();
    let exchange = exchange.as_str();
    let keys = |patterns: Vec<&TopicPattern>| {
        let keys = patterns.into_iter().flat_map(|p| (0..10u8).map(move |priority| (priority, topic_binding(priority, p))));
        keys.map(|(priority, key)| (names.lane(of, super::names::lane_of(marks, priority)), key)).collect::<Vec<_>>()
    };
    // First what is added: a message meanwhile is rather copied than missed.
    let bound = async {
        try_join_all(keys(new.iter().collect()).iter().map(|(lane, key)| bind(channel, lane, exchange, key))).await?;
        let gone = keys(old.iter().filter(|p| !new.contains(p)).collect());
        try_join_all(
            gone.iter()
                .map(|(lane, key)| channel.queue_unbind(lane.as_str().into(), exchange.into(), key.as_str().into(), FieldTable::default())),
        )
        .await
    };
    bound.await.map(|_| ()).map_err(broken("queue.bind"))
}

/// The levels of delay, shared by all queues. A message waits in the levels
/// whose bit is set and passes the others within one publish.
pub(super) async fn delays(channel: &Channel, names: &Names) -> Result<()> {
    let declared = async {
        exchange(channel, &names.delivery(), ExchangeKind::Topic).await?;
        for level in 0..LEVELS {
            exchange(channel, &names.delay(level), ExchangeKind::Topic).await?;
        }
        try_join_all((0..LEVELS).map(|level| async move {
            let (here, next) = (names.delay(level), level.checked_sub(1).map_or_else(|| names.delivery(), |below| names.delay(below)));
            let ttl = i64::try_from(level_ms(level)).unwrap_or(i64::MAX);
            queue(channel, &here, Arguments::quorum(WITHOUT_LIMIT).dead_letters_to(&next).number("x-message-ttl", ttl)).await?;
            bind(channel, &here, &here, &level_binding(level, true)).await?;
            let pass = level_binding(level, false);
            channel
                .exchange_bind(
                    next.as_str().into(),
                    here.as_str().into(),
                    pass.as_str().into(),
                    ExchangeBindOptions::default(),
                    FieldTable::default(),
                )
                .await
        }))
        .await
    };
    declared.await.map(|_| ()).map_err(broken("queue.publish"))
}

/// Messages ready in a queue; each queue must exist.
pub(super) async fn count(channel: &Channel, name: &str) -> lapin::Result<u64> {
    let counted = channel.queue_declare(name.into(), QueueDeclareOptions::durable().passive(), FieldTable::default()).await?;
    Ok(u64::from(counted.message_count()))
}
