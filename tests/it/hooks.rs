//! Every hook on its normal path, and when the plugin breaks in it.

use plinth::runtime::{
    hook::{Cause, Trigger},
    outcome::{Failure, GuestError},
};
use plinth_tests::{HostProcess, Load, Neighbour, Package, TestHost, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The fixture with room to reach its CPU limit on a busy machine.
fn misbehave() -> Package {
    Package::fixture("misbehave").with("limits", "wall-ms", 30_000)
}

/// What a delivery that was not done comes to.
const DELIVERIES: &[(&str, &str, u64, &str)] = &[
    ("trap", "attempts-exhausted", 2, "the plugin trapped"),
    ("infinite-loop", "attempts-exhausted", 2, "more CPU time than 200 ms"),
    ("guest-error-retry:20", "attempts-exhausted", 2, "asked to fail for now"),
    ("guest-error-reject", "rejected", 1, "asked-to: asked to fail for good"),
    ("huge-error:8", "attempts-exhausted", 2, "more bytes in one host call than argument-bytes allows"),
    ("huge-code:8", "attempts-exhausted", 2, "more bytes in one host call than argument-bytes allows"),
    ("huge-retry:8", "attempts-exhausted", 2, "more bytes in one host call than argument-bytes allows"),
];

/// Few attempts soon after each other, so that a dead letter comes soon.
fn impatient() -> Value {
    json!({"max-attempts": 2, "backoff-ms": 10})
}

async fn ended_ok(host: &TestHost, hook: &str) {
    eventually(&format!("a {hook} call that ended well"), async || {
        let labels = [("plugin", "misbehave"), ("hook", hook), ("outcome", "ok")];
        (host.metric("plinth_hook_calls_total", &labels).await >= 1.0).then_some(())
    })
    .await;
}

async fn start() -> (TestHost, Load) {
    let host = TestHost::start().await;
    host.installed(&misbehave()).await;
    // Installing declares the queues of a plugin, so these settings come after.
    host.declare("misbehave", impatient()).await;
    host.declare("events/misbehave", impatient()).await;
    let neighbour = Neighbour::start(&host, 50).await;
    (host, neighbour)
}

async fn end((host, neighbour): (TestHost, Load)) {
    host.assert_alive().await;
    neighbour.stop().await.assert_unharmed();
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_redelivered_and_then_dead_letters() {
    let (host, neighbour) = start().await;
    for (number, (behaviour, reason, attempts, error)) in DELIVERIES.iter().enumerate() {
        let id = host.event("misbehave.event", &format!("e{number}"), behaviour, &json!({})).await;
        let dead = host.dead_letter("events/misbehave", &id).await;
        assert_eq!((&dead["reason"], &dead["attempts"]), (&json!(reason), &json!(attempts)), "{behaviour}: {dead}");
        assert!(dead["last_error"].as_str().unwrap().contains(error), "{behaviour}: {dead}");
        assert_eq!(dead["destination"], "misbehave.event", "{behaviour}: {dead}");
    }
    host.event("misbehave.event", "well", "ok", &json!({})).await;
    ended_ok(&host, "event-listener").await;
    end((host, neighbour)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_redelivered_and_then_dead_letters() {
    let (host, neighbour) = start().await;
    for (number, (behaviour, reason, attempts, error)) in DELIVERIES.iter().enumerate() {
        let task = json!({"payload": {}, "routing_key": behaviour, "message_id": format!("t{number}")});
        assert_eq!(host.post("/v1/tasks/misbehave", &task).await.status, 202);
        let dead = host.dead_letter("misbehave", &format!("t{number}")).await;
        assert_eq!((&dead["reason"], &dead["attempts"]), (&json!(reason), &json!(attempts)), "{behaviour}: {dead}");
        assert!(dead["last_error"].as_str().unwrap().contains(error), "{behaviour}: {dead}");
    }
    assert_eq!(host.post("/v1/tasks/misbehave", &json!({"payload": {}, "routing_key": "ok"})).await.status, 202);
    ended_ok(&host, "task-handler").await;
    end((host, neighbour)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_fail_closed_or_open_as_declared() {
    let (host, neighbour) = start().await;
    let open = misbehave().named("lenient").marked("lenient").with("hooks.decision", "on-failure", "open");
    host.installed(&open).await;
    let rows = [
        ("ok", "allow", "", "allow"),
        ("echo", "amend", "", "amend"),
        ("trap", "deny", "decision.trap", "abstain"),
        ("infinite-loop", "deny", "decision.limit", "abstain"),
        ("guest-error-reject", "deny", "decision.guest-error", "abstain"),
    ];
    for (subject, closed, code, open) in rows {
        for (plugin, verdict, code) in [("misbehave", closed, code), ("lenient", open, "")] {
            let answer =
                host.post(&format!("/v1/decisions/{plugin}.decision"), &json!({"subject": subject, "payload": {"a": 1}})).await.ok();
            assert_eq!(answer["verdict"], verdict, "{plugin}, {subject}: {answer}");
            assert_eq!(answer["reason"]["code"].as_str().unwrap_or_default(), code, "{plugin}, {subject}: {answer}");
            assert_eq!(answer["answers"][0]["plugin"], plugin, "{plugin}, {subject}: {answer}");
        }
    }
    end((host, neighbour)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scheduled_jobs_end_typed_and_run_by_the_clock() {
    let (host, neighbour) = start().await;
    let plugin = host.running.runtime.slots().into_iter().find(|slot| slot.plugin.as_str() == "misbehave").unwrap().plugin;
    let run = async |job: &str| {
        let (run_id, job) = (format!("run/{job}"), job.to_owned());
        let trigger = Trigger { job, run_id, scheduled_for_ms: 0, attempt: 1, last_success_ms: None, attributes: Vec::new() };
        host.running.runtime.run_job(&plugin, trigger, Cause::default()).await.outcome
    };
    assert_eq!(run("ok").await, Ok(()));
    assert!(matches!(run("trap").await, Err(Failure::Trap(_))));
    assert!(matches!(run("infinite-loop").await, Err(Failure::Limit(_))));
    assert!(matches!(run("guest-error-retry").await, Err(Failure::Guest(GuestError::Retry { after: Some(_), .. }))));
    let by_clock = misbehave().named("punctual").edit(|manifest| manifest["hooks"]["scheduled-job"][0]["cron"] = "* * * * * *".into());
    host.installed(&by_clock).await;
    eventually("a run by the clock", async || {
        let labels = [("plugin", "punctual"), ("hook", "scheduled-job"), ("outcome", "ok")];
        (host.metric("plinth_hook_calls_total", &labels).await >= 1.0).then_some(())
    })
    .await;
    end((host, neighbour)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_answers_or_a_problem_that_says_nothing_of_the_inside() {
    let (host, neighbour) = start().await;
    let answer = host.act("misbehave", "echo", b"as sent").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "as sent"));
    let slot = host.slot("misbehave").await;
    for (header, value) in
        [("plinth-plugin", "misbehave"), ("plinth-version", "1.0.0"), ("plinth-digest", slot["digest"].as_str().unwrap())]
    {
        assert_eq!(answer.header(header), value);
    }
    let answer = host.act("misbehave", "panic", b"").await;
    answer.assert_problem(502, "trap");
    assert!(!answer.text().contains("asked to panic"), "what a guest said last is for the log: {answer}");
    assert_eq!(answer.header("plinth-plugin"), "misbehave");
    host.get("/x/nobody/echo").await.assert_problem(404, "no-such-plugin");
    end((host, neighbour)).await;
}

/// A client that gives up earlier than the plugin's limit gets its answer then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_patience_is_a_deadline() {
    let (host, neighbour) = start().await;
    // Less time than the CPU it may use, so that only the clock can end it.
    let request = host.request(reqwest::Method::POST, "/x/misbehave/infinite-loop").header("plinth-timeout-ms", "100");
    let began = Instant::now();
    host.send(request).await.assert_problem(504, "deadline");
    assert!(began.elapsed() < Duration::from_secs(10), "after {:?}", began.elapsed());
    end((host, neighbour)).await;
}

/// A candidate that is not well, or breaks when it is activated, changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifecycle_and_health_keep_a_bad_candidate_out() {
    let (host, neighbour) = start().await;
    let before = host.slot("misbehave").await;
    let sick = Package { manifest: "name = 'misbehave'\nversion = '3.0.0'".into(), ..Package::fixture("sick") };
    for (candidate, text) in [(Package::fixture("misbehave-lifecycle-trap"), "lifecycle.activate"), (sick, "health.check")] {
        let answer = host.install(&candidate).await;
        answer.assert_problem(422, "probe-failed");
        assert!(answer.why().contains(text), "{answer}");
        assert_eq!(host.act("misbehave", "echo", b"old").await.header("plinth-version"), "1.0.0");
        assert_eq!(host.slot("misbehave").await, before);
    }
    end((host, neighbour)).await;
}

/// As many MiB of an error as the host lets through, so that it is a guest's
/// error and no limit; and all that may be left of it where people read it.
const HUGE: &str = "8";
const LINE_MAX: usize = 16 << 10;

/// What a plugin says of an error goes to whoever asked, into the log and into a dead letter: nowhere all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_huge_error_is_cut_wherever_it_is_shown() {
    let data = tempfile::tempdir().unwrap();
    let host = HostProcess::start(data.path(), &[]).await;
    host.installed(&misbehave().with("limits", "argument-bytes", 16 << 20).with("limits", "cpu-ms", 5_000)).await;
    let neighbour = Neighbour::start(&host, 50).await;
    for (number, (behaviour, error)) in [("huge-error", "huge: xxx"), ("huge-code", "xxx")].into_iter().enumerate() {
        let id = host.event("misbehave.event", &format!("e{number}"), &format!("{behaviour}:{HUGE}"), &json!({})).await;
        let task = json!({"payload": {}, "routing_key": format!("{behaviour}:{HUGE}"), "message_id": format!("t{number}")});
        assert_eq!(host.post("/v1/tasks/misbehave", &task).await.status, 202);
        for (queue, id) in [("events/misbehave", id), ("misbehave", format!("t{number}"))] {
            let dead = host.dead_letter(queue, &id).await;
            assert_eq!((&dead["reason"], &dead["attempts"]), (&json!("rejected"), &json!(1)), "{behaviour}: {}", dead["reason"]);
            let told = dead["last_error"].as_str().unwrap();
            assert!(told.starts_with(error) && told.len() < LINE_MAX, "{behaviour}: {} bytes, {}", told.len(), &told[..64]);
        }
        let answer = host.post("/v1/decisions/misbehave.decision", &json!({"subject": format!("{behaviour}:{HUGE}"), "payload": {}})).await;
        assert_eq!(answer.ok()["reason"]["code"], "decision.guest-error", "{answer}");
        assert!(answer.body.len() < LINE_MAX, "{behaviour}: an answer of {} bytes", answer.body.len());
    }
    let retried = host.event("misbehave.event", "retried", &format!("huge-retry:{HUGE}"), &json!({})).await;
    let longest = eventually("a line about each delivery", async || {
        let log = std::fs::read_to_string(data.path().join("host.log")).unwrap();
        let told = log.lines().filter(|line| line.contains("delivery not done")).count();
        (told >= 5 && log.contains(&retried)).then(|| log.lines().map(str::len).max().unwrap())
    })
    .await;
    assert!(longest < LINE_MAX, "a line of the log has {longest} bytes");
    host.assert_alive().await;
    neighbour.stop().await.assert_unharmed();
    host.stop().await;
}
