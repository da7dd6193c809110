//! What an order desk does, whatever language it is written in: the cases of `examples/order-desk-cases.toml`.

use plinth_capability::{
    database::{Access, QueryLimits, Value as Cell},
    name::{DatabaseName, QueueName},
    now_ms,
    queue::Settlement,
};
use plinth_tests::{Package, TestHost, eventually, root};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use toml::Table;

/// Of the cache.
const KEYS: [&str; 2] = ["count", "last"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_in_rust_does_what_every_desk_does() {
    plays(Package::plugin("order-desk-rust")).await;
}

/// One at a time: the larger ones take all cores for a while when they are compiled.
#[cfg(feature = "languages")]
mod alone {
    use super::{Package, plays};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_desk_in_javascript() {
        plays(Package::example("javascript")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_desk_in_python() {
        plays(Package::example("python")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_desk_in_go() {
        plays(Package::example("go")).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_desk_in_c() {
        plays(Package::example("c")).await;
    }
}

async fn plays(package: Package) {
    let cases: Table = std::fs::read_to_string(root().join("examples/order-desk-cases.toml")).unwrap().parse().unwrap();
    let host = &cases["host"];
    let (attempts, backoff) = (&host["max-attempts"], &host["backoff-ms"]);
    let desk = Desk {
        host: TestHost::with(&format!("[queues.settings]\nmax-attempts = {attempts}\nbackoff-ms = {backoff}")).await,
        plugin: package.name(),
        topic: host["topic"].as_str().unwrap().to_owned(),
        point: host["point"].as_str().unwrap().to_owned(),
    };
    desk.host.installed(&package).await;
    let mut before = desk.look().await;
    let mut failures = Vec::new();
    for case in cases["case"].as_array().unwrap() {
        if let Some(config) = case.get("config") {
            desk.host.installed(&Package { config: Some(serde_json::to_value(config).unwrap()), ..package.clone() }).await;
        }
        let expect = case["expect"].as_table().unwrap();
        let input = case["input"].as_str().unwrap();
        let mut wrong = match case["hook"].as_str().unwrap() {
            "decision" => desk.decides(input, expect).await,
            _ => desk.hears(input, expect).await,
        };
        let after = desk.settled(&before, expect).await;
        wrong.extend(differences(&before, &after, expect));
        failures.extend(wrong.into_iter().map(|why| format!("{}: {why}", case["name"])));
        before = after;
    }
    assert!(failures.is_empty(), "{failures:#?}");
    desk.host.stop().await;
}

struct Desk {
    host: TestHost,
    plugin: String,
    topic: String,
    point: String,
}

/// Everything a case may have changed.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// `[id, amount_cents]`.
    rows: Vec<Value>,
    receipts: Vec<(i64, String)>,
    /// Taken from the queue so far, in order.
    messages: Vec<Value>,
    audit: Vec<Value>,
    placed: f64,
    cache: BTreeMap<String, String>,
    dead: BTreeMap<String, Value>,
}

impl Desk {
    async fn hears(&self, input: &str, expect: &Table) -> Vec<String> {
        let id = uuid::Uuid::new_v4();
        let (topic, began) = (&self.topic, Instant::now());
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/tests","type":"{topic}","subject":"s","data":{input}}}"#);
        let request = self.host.request(reqwest::Method::POST, "/v1/events").header("content-type", "application/cloudevents+json");
        let answer = self.host.send(request.body(event)).await;
        assert_eq!(answer.status, 202, "{answer}");
        let queue = format!("/v1/queues/events%2F{}", self.plugin);
        eventually("the event has ended", async || {
            let depth = self.host.get(&queue).await.ok()["depth"].clone();
            let left: u64 = ["ready", "delayed", "in_flight"].iter().filter_map(|state| depth[*state].as_u64()).sum();
            (left == 0).then_some(())
        })
        .await;
        let least = expect.get("took-ms").and_then(toml::Value::as_integer).unwrap_or(0);
        let took = began.elapsed();
        if took < Duration::from_millis(u64::try_from(least).unwrap()) { vec![format!("ended after {took:?}")] } else { Vec::new() }
    }

    async fn decides(&self, input: &str, expect: &Table) -> Vec<String> {
        let question = json!({"subject": "s", "payload": serde_json::from_str::<Value>(input).unwrap()});
        let answer = self.host.post(&format!("/v1/decisions/{}", self.point), &question).await.ok();
        let said = [&answer["verdict"], &answer["reason"]["code"], &answer["reason"]["details"]["limit-cents"]];
        let wanted = ["verdict", "reason", "limit-cents"].map(|name| expect.get(name).and_then(toml::Value::as_str));
        if said.map(Value::as_str) == wanted { Vec::new() } else { vec![format!("decided {answer}")] }
    }

    async fn look(&self) -> Seen {
        let mut seen = Seen::default();
        let name = DatabaseName::new(&format!("{}/orders", self.plugin)).unwrap();
        let database = self.host.running.capabilities.databases.open(&name, Access::ReadOnly).await.unwrap();
        let query = "SELECT id, amount_cents, placed_at_ms, receipt FROM orders ORDER BY rowid";
        for row in database.query(query, Vec::new(), QueryLimits::default()).await.unwrap().rows {
            let [Cell::Text(id), Cell::Integer(cents), Cell::Integer(at), Cell::Text(receipt)] = row.as_slice() else { panic!("{row:?}") };
            seen.rows.push(json!([id, cents]));
            seen.receipts.push((*at, receipt.clone()));
        }
        seen.audit = self.host.audit(&format!("plugin={}&action=order", self.plugin)).await;
        seen.placed = self.host.metric(&format!("{}_orders_placed_total", self.plugin.replace('-', "_")), &[]).await;
        for key in KEYS {
            let answer = self.host.get(&format!("/v1/cache/{}/desk/entries/{key}", self.plugin)).await;
            if answer.status == 200 {
                seen.cache.insert(key.to_owned(), answer.text());
            }
        }
        let letters = self.host.get(&format!("/v1/queues/events%2F{}/dead-letters?limit=100", self.plugin)).await.ok();
        for letter in letters["dead_letters"].as_array().unwrap() {
            seen.dead.insert(letter["message_id"].as_str().unwrap().to_owned(), letter.clone());
        }
        seen
    }

    /// Messages and records follow a commit within moments.
    async fn settled(&self, before: &Seen, expect: &Table) -> Seen {
        let count = |name: &str| expect.get(name).and_then(toml::Value::as_array).map_or(0, Vec::len);
        let mut messages = before.messages.clone();
        let wanted = before.messages.len() + count("messages");
        let queue = QueueName::new("shipments").unwrap();
        eventually("what the case sends and records", async || {
            if messages.len() < wanted {
                for delivery in self.host.running.capabilities.queue.consume(&queue, 10, Duration::from_millis(50)).await.unwrap() {
                    messages.push(serde_json::from_slice(&delivery.message.body).unwrap());
                    self.host.running.capabilities.queue.settle(&delivery, Settlement::Ack).await.unwrap();
                }
            }
            let records = self.host.audit(&format!("plugin={}&action=order", self.plugin)).await.len();
            (messages.len() >= wanted && records >= before.audit.len() + count("audit")).then_some(())
        })
        .await;
        Seen { messages, ..self.look().await }
    }
}

fn differences(before: &Seen, after: &Seen, expect: &Table) -> Vec<String> {
    let list = |name: &str| expect.get(name).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let as_json = |value: &toml::Value| serde_json::to_value(value).unwrap();
    let mut wrong = Vec::new();
    let mut same = |what: &str, found: Value, wanted: Value| {
        if found != wanted {
            wrong.push(format!("{what}: {found}, wanted {wanted}"));
        }
    };
    same("rows", json!(after.rows[before.rows.len()..]), list("rows").iter().map(as_json).collect());
    let messages: Vec<Value> = list("messages").iter().map(|text| serde_json::from_str(text.as_str().unwrap()).unwrap()).collect();
    same("messages", json!(after.messages[before.messages.len()..]), json!(messages));
    let records: Vec<Value> = after.audit[before.audit.len()..].iter().map(record).collect();
    let wanted: Vec<Value> = list("audit").iter().map(as_json).collect();
    same("audit", json!(records), json!(wanted));
    let placed = expect.get("placed").and_then(toml::Value::as_integer).unwrap_or(0);
    same("placed", json!(after.placed - before.placed), json!(placed as f64));
    let mut cache = before.cache.clone();
    for (key, value) in expect.get("cache").and_then(toml::Value::as_table).into_iter().flatten() {
        cache.insert(key.clone(), value.as_str().unwrap().to_owned());
    }
    same("cache", json!(after.cache), json!(cache));
    let new: Vec<&Value> = after.dead.iter().filter(|(id, _)| !before.dead.contains_key(*id)).map(|(_, letter)| letter).collect();
    match (expect.get("dead"), new.as_slice()) {
        (None, []) => {}
        (Some(wanted), [letter]) if died(letter, wanted) => {}
        (wanted, found) => wrong.push(format!("dead letters {found:?}, wanted {wanted:?}")),
    }
    let receipts: BTreeSet<&str> = after.receipts.iter().map(|(_, receipt)| receipt.as_str()).collect();
    if receipts.len() != after.receipts.len() || receipts.iter().any(|text| text.len() != 16 || u64::from_str_radix(text, 16).is_err()) {
        wrong.push(format!("receipts {receipts:?}"));
    }
    let now = i64::try_from(now_ms()).unwrap();
    if after.receipts.iter().any(|(at, _)| (now - at).abs() > 600_000) {
        wrong.push(format!("times {:?}", after.receipts));
    }
    wrong
}

/// A record in the words of the cases.
fn record(found: &Value) -> Value {
    let mut said = Map::new();
    for (name, value) in [("action", &found["action"]), ("outcome", &found["outcome"]["result"]), ("id", &found["subject"]["id"])] {
        said.insert(name.to_owned(), value.clone());
    }
    if let Some(reason) = found["outcome"]["reason"].as_str() {
        said.insert("reason".to_owned(), json!(reason));
    }
    said.insert("summary".to_owned(), found["summary"].clone());
    let mut attributes = found["attributes"].as_object().unwrap().clone();
    assert!(attributes.remove("event-id").is_some(), "a record names its event: {found}");
    assert_eq!(found["subject"]["kind"], "order", "{found}");
    said.insert("attributes".to_owned(), Value::Object(attributes));
    Value::Object(said)
}

fn died(letter: &Value, wanted: &toml::Value) -> bool {
    let error = letter["last_error"].as_str().unwrap();
    letter["reason"].as_str() == wanted["reason"].as_str()
        && letter["attempts"].as_i64() == wanted["attempts"].as_integer()
        && wanted["error"].as_array().unwrap().iter().any(|begin| error.starts_with(begin.as_str().unwrap()))
}
