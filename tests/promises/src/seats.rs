//! P13: many buyers for few seats over three hosts, of which one is killed while Redis is flushed and restarted.

use crate::{Scale, hosts::Ground};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, stream};
use plinth_tests::{Client, Package, figures};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

const AT_ONCE: usize = 64;
/// A buyer who gets no answer asks another host, this often.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// What a buyer was told in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Seat(i64),
    SoldOut,
}

/// Whether each seat was sold once, to somebody who was told so.
pub(crate) async fn campaign(scale: Scale) -> Result<bool> {
    let (buyers, seats) = if scale.long { (10_000_usize, 500_i64) } else { (1_000, 100) };
    let ground = Ground::start().await?;
    let mut hosts = Vec::new();
    for name in ["one", "two", "three"] {
        hosts.push(Some(ground.host(name, "").await?));
    }
    let clients: Arc<Vec<Client>> = Arc::new(hosts.iter().flatten().map(|host| (**host).clone()).collect());
    let first = clients.first().context("there are hosts")?;
    first.installed(&Package { config: Some(json!({ "seats": seats })), ..Package::fixture("seats") }).await;
    let (asked, retried) = (Arc::new(watch::Sender::new(0_usize)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let mut buying = JoinSet::new();
    {
        let (clients, asked, retried) = (clients.clone(), asked.clone(), retried.clone());
        buying.spawn(async move {
            stream::iter(0..buyers)
                .map(|buyer| {
                    let (clients, asked, retried) = (clients.clone(), asked.clone(), retried.clone());
                    async move {
                        asked.send_modify(|asked| *asked += 1);
                        (buyer, buy(&clients, buyer, &retried).await)
                    }
                })
                .buffer_unordered(AT_ONCE)
                .collect::<HashMap<usize, Result<Told>>>()
                .await
        });
    }
    // While seats are left: the faults fall between the first sale and the last.
    let mut reached = asked.subscribe();
    reached.wait_for(|asked| *asked >= seats as usize / 4).await?;
    if let Some(host) = hosts.pop().flatten() {
        host.kill().await;
    }
    reached.wait_for(|asked| *asked >= seats as usize / 2).await?;
    let mut redis = redis::Client::open(ground.redis.url())?.get_multiplexed_async_connection().await?;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut redis).await?;
    ground.redis.kill().await?;
    ground.redis.restart().await?;
    let told = buying.join_next().await.context("there are buyers")?.context("the buyers panicked")?;
    let took = began.elapsed();
    let told: HashMap<usize, Told> = told.into_iter().map(|(buyer, told)| Ok((buyer, told?))).collect::<Result<_>>()?;
    let stored = first.get("/x/seats/sold").await.ok();
    let kept = judge(first, &told, &stored, seats).await?;
    let (sold, twice, unfounded, unrecorded) = kept;
    figures::write(
        "promise-p13",
        &[
            ("buyers", buyers as f64),
            ("seats", seats as f64),
            ("sold", sold as f64),
            ("sold_twice", twice as f64),
            ("told_but_not_stored", unfounded as f64),
            ("stored_but_not_recorded", unrecorded as f64),
            ("repeated_requests", retried.load(Ordering::Relaxed) as f64),
            ("seconds", took.as_secs_f64()),
        ],
    );
    Ok(sold == seats && twice == 0 && unfounded == 0 && unrecorded == 0)
}

async fn buy(clients: &[Client], buyer: usize, retried: &AtomicU64) -> Result<Told> {
    for number in 0..TRIES {
        let client = clients.get((buyer + number) % clients.len()).context("there are hosts")?;
        let request = client.request(Method::POST, &format!("/x/seats/buy?buyer=b{buyer}")).timeout(Duration::from_secs(10));
        match client.try_send(request).await {
            Ok(answer) if answer.status == 200 => return Ok(Told::Seat(answer.json()["seat"].as_i64().context("a seat has a number")?)),
            Ok(answer) if answer.status == 409 && answer.code() == "sold-out" => return Ok(Told::SoldOut),
            // No host, a limit, or the last seats are in somebody's hand.
            Ok(_) | Err(_) => {
                retried.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    anyhow::bail!("buyer {buyer} had no answer in {TRIES} tries")
}

/// Sold, sold to two, told and not stored, stored and without a record.
async fn judge(host: &Client, told: &HashMap<usize, Told>, stored: &Value, seats: i64) -> Result<(i64, i64, i64, i64)> {
    let stored: BTreeMap<i64, String> = stored["sold"]
        .as_array()
        .context("a list of seats")?
        .iter()
        .filter_map(|seat| Some((seat["seat"].as_i64()?, seat["buyer"].as_str()?.to_owned())))
        .collect();
    let mut holders: HashMap<i64, HashSet<usize>> = HashMap::new();
    for (buyer, told) in told {
        if let Told::Seat(seat) = told {
            holders.entry(*seat).or_default().insert(*buyer);
        }
    }
    let twice = holders.values().filter(|buyers| buyers.len() > 1).count();
    let unfounded =
        holders.iter().filter(|(seat, buyers)| buyers.iter().any(|buyer| stored.get(seat) != Some(&format!("b{buyer}")))).count();
    ensure!(stored.keys().all(|seat| (0..seats).contains(seat)), "a seat was sold that there is not");
    // The outbox brings the records after the commit, soon.
    let recorded = plinth_tests::eventually_within(Duration::from_secs(60), "every sale has its record", async || {
        let records = host.audit("action=seat.sell").await;
        let of: HashSet<String> = records.iter().filter_map(|record| record["subject"]["id"].as_str().map(str::to_owned)).collect();
        (of.len() >= stored.len()).then_some((of, records.len()))
    })
    .await;
    let (of, records) = recorded;
    ensure!(records == stored.len(), "{records} records of {} sales", stored.len());
    let unrecorded = stored.keys().filter(|seat| !of.contains(&seat.to_string())).count();
    Ok((stored.len() as i64, twice as i64, unfounded as i64, unrecorded as i64))
}
