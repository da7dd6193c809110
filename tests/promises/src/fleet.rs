//! The fleet: swaps over three hosts under load, with one host that refuses and one that is killed.

use crate::{Scale, hosts::Ground};
use anyhow::{Context, Result, ensure};
use plinth_tests::{Client, Load, Package, figures, load::Shot};
use reqwest::Method;
use std::sync::Arc;

const PER_SECOND: u32 = 150;
/// This host grants the plugin nothing, whoever approves.
const REFUSES: &str = "[plugins.grants.bench]\n";

/// Whether nothing failed, nothing was mixed once the fleet had agreed, and a veto left all as it was.
pub(crate) async fn campaign(scale: Scale) -> Result<bool> {
    let swaps = if scale.long { 50 } else { 10 };
    let ground = Ground::start().await?;
    let (one, two) = (ground.host("one", "").await?, ground.host("two", "").await?);
    let three = ground.host("three", REFUSES).await?;
    let clients = [&one, &two, &three].map(|host| (**host).clone());
    let versions = ["bench-v1", "bench-v2"].map(Package::fixture);
    let [first, second] = &versions;
    one.installed(first).await;
    let load = Load::start(PER_SECOND, shot(&clients));
    let (mut mixed, mut stale, mut generations) = (0_u64, 0_u64, Vec::new());
    let mut three = Some(three);
    for number in 0..swaps {
        let package = if number % 2 == 0 { second } else { first };
        let wanted = if number % 2 == 0 { "2.0.0" } else { "1.0.0" };
        let change = one.installed(package).await;
        generations.push(change["generation"].as_u64().context("a generation")?);
        // The install was answered, so every live host has followed.
        for client in clients.iter().take(if three.is_some() { 3 } else { 2 }) {
            let answers = ask(client, 5).await?;
            mixed += answers.iter().filter(|version| *version != wanted).count() as u64;
        }
        stale += u64::from(change["notices"].as_array().is_some_and(|notices| !notices.is_empty()));
        if number == swaps / 2
            && let Some(host) = three.take()
        {
            host.kill().await;
        }
    }
    // It comes back, catches up before it is ready, and refuses what is not granted to it.
    let back = ground.host("three", REFUSES).await?;
    let caught_up = ask(&back, 5).await?;
    let expected = if swaps % 2 == 0 { "1.0.0" } else { "2.0.0" };
    mixed += caught_up.iter().filter(|version| *version != expected).count() as u64;
    let other = if swaps % 2 == 0 { second } else { first };
    let greedy = other.clone().versioned("3.0.0").marked("greedy").with("grants.log", "enabled", true);
    let refused = one.install(&greedy).await;
    ensure!((refused.status, refused.code().as_str()) == (409, "vetoed"), "the veto was not told: {refused}");
    ensure!(refused.why().contains("three") || refused.text().contains("three"), "the host that refuses is not named: {refused}");
    let mut vetoed_on = 0_u64;
    for host in [&*one, &*two, &*back] {
        vetoed_on += ask(host, 5).await?.iter().filter(|version| *version != expected).count() as u64;
    }
    let fleet = two.get("/v1/fleet").await.ok();
    let ready =
        fleet["hosts"].as_array().map_or(0, |hosts| hosts.iter().filter(|host| host["live"] == true && host["ready"] == true).count());
    let seen = load.stop().await;
    drop((one, two, back, ground));
    let mixed_silently = without_news().await.context("without notifications")?;
    figures::write(
        "promise-fleet",
        &[
            ("swaps", f64::from(swaps)),
            ("requests", seen.sent as f64),
            ("failed", seen.failed as f64),
            ("mixed_after_convergence", mixed as f64),
            ("mixed_without_notifications", mixed_silently as f64),
            ("answered_with_stragglers", stale as f64),
            ("changed_by_a_veto", vetoed_on as f64),
            ("live_hosts_at_the_end", ready as f64),
            ("p99_ms", seen.percentile(99.0).as_secs_f64() * 1_000.0),
        ],
    );
    for wrong in &seen.wrong {
        eprintln!("fleet: {wrong}");
    }
    let rising = generations.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
    ensure!(rising, "generations do not rise: {generations:?}");
    Ok(seen.failed == 0 && mixed == 0 && mixed_silently == 0 && vetoed_on == 0 && ready == 3)
}

/// Takes the notifications away from sessions that begin after it: what is left is asking every now and then.
const SILENCE: &str = "CREATE SCHEMA silent;
    CREATE FUNCTION silent.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT';
    ALTER DATABASE postgres SET search_path = silent, pg_catalog, public;";

/// How many answers were of another version than the fleet's, where no host hears of a change.
async fn without_news() -> Result<u64> {
    let ground = Ground::start().await?;
    ground.postgres.sql(SILENCE).await?;
    let notifies =
        ground.postgres.sql("SELECT pronamespace::regnamespace FROM pg_proc WHERE oid = 'pg_notify(text,text)'::regprocedure").await?;
    ensure!(notifies.trim() == "silent", "notifications still go out by {notifies}");
    let (one, two) = (ground.host("one", "").await?, ground.host("two", "").await?);
    let versions = ["bench-v1", "bench-v2"].map(Package::fixture);
    let mut mixed = 0;
    for (package, wanted) in [(&versions[0], "1.0.0"), (&versions[1], "2.0.0"), (&versions[0], "1.0.0")] {
        let change = one.installed(package).await;
        ensure!(change["notices"].as_array().is_some_and(Vec::is_empty), "a host that polls was late: {change}");
        for host in [&one, &two] {
            mixed += ask(host, 5).await?.iter().filter(|version| *version != wanted).count() as u64;
        }
    }
    Ok(mixed)
}

async fn ask(client: &Client, times: usize) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for _ in 0..times {
        let answer = client.try_send(client.request(Method::GET, "/x/bench/")).await?;
        ensure!(answer.status == 200, "{answer}");
        versions.push(answer.text());
    }
    Ok(versions)
}

/// A request that finds no host goes to the next one, as a balancer sends it;
/// an answer is an answer, whatever it says.
fn shot(clients: &[Client; 3]) -> Shot {
    let clients = clients.clone();
    Arc::new(move |number| {
        let mut turn: Vec<Client> = clients.to_vec();
        turn.rotate_left(usize::try_from(number % 3).unwrap_or(0));
        Box::pin(async move {
            let mut why = "no host".to_owned();
            for client in turn {
                match client.try_send(client.request(Method::GET, "/x/bench/")).await {
                    // Body and header are of one version.
                    Ok(answer) if answer.status == 200 && answer.header("plinth-version") == answer.text() => return Ok(()),
                    Ok(answer) => return Err(format!("{answer}")),
                    Err(error) => why = format!("{error:?}"),
                }
            }
            Err(why)
        })
    })
}
