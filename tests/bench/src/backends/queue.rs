//! Confirmed publishes, one by one and 64 in a batch, and consuming: the bare crate, the queue capability, a plugin.

use super::{Contest, FROM_PLUGIN, NATIVE, TASKS, Tidy, VALUE, plugin::Plugin, turn};
use crate::{
    figures::{Aim, Figures},
    stats::{median, median_ratio},
};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::{StreamExt, future::try_join_all};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use plinth_backend::{
    Durability,
    inbox::SqliteInbox,
    queue::{AmqpConfig, AmqpQueue},
};
use plinth_capability::{
    name::QueueName,
    queue::{Destination, Message, Queue, QueueSpec, Settlement},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const BATCH: usize = 64;
/// Messages consumed in one turn.
const BACKLOG: usize = 4_000;
const PREFETCH: u16 = 64;

/// Both sides confirm, and both use a quorum queue.
pub(super) async fn contests(url: &str, management: u16, plugin: &Plugin) -> Result<Vec<Contest>> {
    let connection = Connection::connect(&format!("{url}/%2f"), ConnectionProperties::default()).await?;
    let mut channels = Vec::new();
    for _ in 0..TASKS {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channels.push(channel);
    }
    declare(channels.first().context("there are channels")?, "bare-sink").await?;
    let channels = Arc::new((channels, connection));
    let native = open(url, "native").await?;
    let sink = name("sink")?;
    native.declare(&sink, &QueueSpec { max_depth: 100_000_000, ..QueueSpec::default() }).await?;
    let to = Destination::Queue(sink);
    Ok(vec![single(&channels, &native, &to, management, plugin), batch(&channels, &native, &to, management, plugin)])
}

type Channels = Arc<(Vec<Channel>, Connection)>;
type Native = Arc<dyn Queue>;

fn single(channels: &Channels, native: &Native, to: &Destination, management: u16, plugin: &Plugin) -> Contest {
    let (channels, native, to) = (channels.clone(), native.clone(), to.clone());
    Contest {
        keys: ["amqp_publish_bare_rps", "amqp_publish_native_over_bare", "amqp_publish_plugin_over_bare"],
        bare: turn(1.0, move |number| {
            let channels = channels.clone();
            async move { confirmed(&channels.0[number % TASKS], 1).await }
        }),
        native: turn(1.0, move |_| {
            let (native, to) = (native.clone(), to.clone());
            async move { publish(&native, &to, 1).await }
        }),
        plugin: plugin.turn("publish", 50, 1.0),
        tidy: Some(empty_sinks(management)),
    }
}

fn batch(channels: &Channels, native: &Native, to: &Destination, management: u16, plugin: &Plugin) -> Contest {
    let (channels, native, to) = (channels.clone(), native.clone(), to.clone());
    Contest {
        keys: ["amqp_publish64_bare_rps", "amqp_publish64_native_over_bare", "amqp_publish64_plugin_over_bare"],
        bare: turn(BATCH as f64, move |number| {
            let channels = channels.clone();
            async move { confirmed(&channels.0[number % TASKS], BATCH).await }
        }),
        native: turn(BATCH as f64, move |_| {
            let (native, to) = (native.clone(), to.clone());
            async move { publish(&native, &to, BATCH).await }
        }),
        plugin: plugin.turn("publish64", 4, BATCH as f64),
        tidy: Some(empty_sinks(management)),
    }
}

/// Nobody consumes what is published here; the broker would run out of memory.
fn empty_sinks(management: u16) -> Tidy {
    Box::new(move || {
        Box::pin(async move {
            let (client, base) = (reqwest::Client::builder().no_proxy().build()?, format!("http://127.0.0.1:{management}/api/queues"));
            let get = client.get(format!("{base}?columns=name")).basic_auth("t", Some("t"));
            let queues: Vec<serde_json::Value> = get.send().await?.error_for_status()?.json().await?;
            for name in queues.iter().filter_map(|queue| queue["name"].as_str()).filter(|name| name.contains("sink")) {
                let mut url = reqwest::Url::parse(&base)?;
                url.path_segments_mut().ok().context("a path")?.extend(["/", name, "contents"]);
                client.delete(url).basic_auth("t", Some("t")).send().await?.error_for_status()?;
            }
            let nodes = format!("http://127.0.0.1:{management}/api/nodes?columns=mem_used,mem_limit,mem_alarm");
            let began = Instant::now();
            loop {
                let nodes: serde_json::Value =
                    client.get(&nodes).basic_auth("t", Some("t")).send().await?.error_for_status()?.json().await?;
                let [used, limit] = ["mem_used", "mem_limit"].map(|key| nodes[0][key].as_u64().unwrap_or(u64::MAX));
                if nodes[0]["mem_alarm"] == false && used < limit / 4 * 3 {
                    return Ok(());
                }
                ensure!(began.elapsed() < Duration::from_secs(60), "the broker does not give its memory back: {nodes}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    })
}

async fn confirmed(channel: &Channel, count: usize) -> Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut sent = Vec::with_capacity(count);
    for _ in 0..count {
        let properties = BasicProperties::default().with_delivery_mode(2);
        sent.push(channel.basic_publish("".into(), "bare-sink".into(), options, &VALUE, properties).await?);
    }
    for confirmation in try_join_all(sent).await? {
        ensure!(confirmation.is_ack(), "the broker refused a message");
    }
    Ok(())
}

async fn publish(native: &Native, to: &Destination, count: usize) -> Result<()> {
    let messages = (0..count).map(|_| message()).collect();
    for one in native.publish(to, messages).await? {
        one?;
    }
    Ok(())
}

fn message() -> Message {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    Message {
        id: format!("bench-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)),
        body: Bytes::from_static(&VALUE),
        content_type: "application/octet-stream".to_owned(),
        headers: Vec::new(),
        routing_key: String::new(),
        correlation_id: None,
        priority: 4,
        delay: Duration::ZERO,
        expires: None,
    }
}

fn name(text: &str) -> Result<QueueName> {
    QueueName::new(text).context("a queue's name")
}

async fn open(url: &str, prefix: &str) -> Result<Native> {
    let folder = tempfile::tempdir()?.keep();
    let inbox = SqliteInbox::open(&folder.join("inbox.db"), Durability::Process).await?;
    let config = AmqpConfig { urls: vec![format!("{url}/%2f")], prefix: prefix.to_owned(), ..AmqpConfig::default() };
    Ok(Arc::new(AmqpQueue::open(config, Arc::new(inbox))?))
}

async fn declare(channel: &Channel, queue: &str) -> Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, arguments).await?;
    Ok(())
}

/// Takes and acknowledges a backlog, each side its own.
pub(super) async fn consume(url: &str, plugin: &Plugin, rounds: usize, figures: &mut Figures) -> Result<()> {
    let connection = Connection::connect(&format!("{url}/%2f"), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    declare(&channel, "bare-work").await?;
    let native = open(url, "native").await?;
    let work = name("work")?;
    native.declare(&work, &QueueSpec::default()).await?;
    // As the host does it: its prefix, and the queue that its plugin reads.
    let (hosts, tasks) = (open(url, &AmqpConfig::default().prefix).await?, name("backends-work")?);
    let (mut bare_rates, mut native_rates, mut plugin_rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds.min(3) {
        bare_rates.push(bare(&channel).await?);
        native_rates.push(through(&native, &work).await?);
        plugin_rates.push(by_plugin(plugin, &hosts, &tasks).await?);
    }
    figures.add("amqp_consume_bare_rps", median(&bare_rates), Aim::Tell);
    figures.add("amqp_consume_native_over_bare", median_ratio(&native_rates, &bare_rates), NATIVE);
    figures.add("amqp_consume_plugin_over_bare", median_ratio(&plugin_rates, &bare_rates), FROM_PLUGIN);
    Ok(())
}

async fn bare(channel: &Channel) -> Result<f64> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut sent = Vec::new();
    for _ in 0..BACKLOG {
        let properties = BasicProperties::default().with_delivery_mode(2);
        sent.push(channel.basic_publish("".into(), "bare-work".into(), options, &VALUE, properties).await?);
    }
    try_join_all(sent).await?;
    let began = Instant::now();
    let mut consumer =
        channel.basic_consume("bare-work".into(), "bare".into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    for _ in 0..BACKLOG {
        consumer.next().await.context("the broker closed the consumer")??.ack(BasicAckOptions::default()).await?;
    }
    let rate = BACKLOG as f64 / began.elapsed().as_secs_f64();
    channel.basic_cancel("bare".into(), lapin::options::BasicCancelOptions::default()).await?;
    Ok(rate)
}

async fn through(native: &Native, work: &QueueName) -> Result<f64> {
    fill(native, work).await?;
    let (began, mut done) = (Instant::now(), 0);
    while done < BACKLOG {
        let deliveries = native.consume(work, u32::from(PREFETCH), Duration::from_secs(5)).await?;
        ensure!(!deliveries.is_empty(), "{done} of {BACKLOG} messages came");
        try_join_all(deliveries.iter().map(|delivery| native.settle(delivery, Settlement::Ack))).await?;
        done += deliveries.len();
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

async fn fill(native: &Native, work: &QueueName) -> Result<()> {
    for _ in 0..BACKLOG / 500 {
        publish(native, &Destination::Queue(work.clone()), 500).await?;
    }
    Ok(())
}

/// Through the host: its consumer, a hook call per message, and the
/// acknowledgement. What waits for a plugin that is not there is worked off as
/// soon as it is.
async fn by_plugin(plugin: &Plugin, to: &Native, work: &QueueName) -> Result<f64> {
    plugin.remove().await?;
    fill(to, work).await?;
    let began = Instant::now();
    plugin.install().await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    loop {
        let depth = client.get(format!("{}/v1/queues/{}", plugin.url(), work.as_str())).send().await?;
        let depth: serde_json::Value = depth.error_for_status()?.json().await?;
        let left: u64 = ["ready", "delayed", "in_flight"].iter().filter_map(|state| depth["depth"][*state].as_u64()).sum();
        ensure!(depth["depth"]["dead"] == 0, "tasks died: {depth}");
        if left == 0 {
            return Ok(BACKLOG as f64 / began.elapsed().as_secs_f64());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
