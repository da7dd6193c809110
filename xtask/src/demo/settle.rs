//! After the play: wait until everything that was set off has happened, then compare it with what was acknowledged.

use super::{client::Api, tally::Tally};
use anyhow::Result;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior, interval};

const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(250);
const PAGE: usize = 1_000;
const CHANGED: &str = "application.status.change";
const NOTIFIED: &str = "application.notified";

/// What the host says in the end.
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    /// Events and notifications that a plugin has worked off.
    pub(crate) delivered: u64,
    pub(crate) notifications_sent: u64,
    /// Messages that still wait, and those given up.
    pub(crate) waiting: u64,
    pub(crate) dead: u64,
    pub(crate) audit: Audit,
}

#[derive(Debug, Default, Clone)]
pub(crate) struct Audit {
    pub(crate) records: u64,
    /// By action.
    pub(crate) actions: BTreeMap<String, u64>,
    /// By application: changes of status and notifications.
    pub(crate) applications: HashMap<String, (u64, u64)>,
    /// The first sequence that is not where it should be.
    pub(crate) gap: Option<u64>,
}

#[derive(Deserialize)]
struct Queues {
    queues: Vec<QueueView>,
}

#[derive(Deserialize)]
struct QueueView {
    depth: Depth,
}

#[derive(Deserialize)]
struct Depth {
    ready: u64,
    delayed: u64,
    in_flight: u64,
    dead: u64,
}

#[derive(Deserialize)]
struct SeriesList {
    series: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    labels: HashMap<String, String>,
    value: f64,
}

#[derive(Deserialize)]
struct Page {
    records: Vec<Record>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct Record {
    sequence: u64,
    action: String,
    subject: Subject,
}

#[derive(Deserialize)]
struct Subject {
    id: String,
}

/// Waits until the changes have reached the audit log and their notifications
/// were sent; answers what there is when that is so, or when time is up.
pub(crate) async fn settle(api: &Api, changes: u64) -> Result<Facts> {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let late = Instant::now() >= deadline;
        let mut facts = quick_facts(api).await?;
        if late || (facts.waiting == 0 && facts.notifications_sent >= changes) {
            facts.audit = audit(api).await?;
            if late || facts.audit.actions.get(CHANGED).is_some_and(|recorded| *recorded >= changes) || changes == 0 {
                return Ok(facts);
            }
        }
    }
}

async fn quick_facts(api: &Api) -> Result<Facts> {
    let Queues { queues } = api.read("/v1/queues").await?;
    let calls = sum(api, "plinth_hook_calls_total", |labels| {
        let label = |name: &str| labels.get(name).map(String::as_str);
        label("outcome") == Some("ok") && matches!(label("hook"), Some("event-listener" | "task-handler"))
    });
    Ok(Facts {
        delivered: calls.await?,
        notifications_sent: sum(api, "escalation_notifications_sent_total", |_| true).await?,
        waiting: queues.iter().map(|queue| queue.depth.ready + queue.depth.delayed + queue.depth.in_flight).sum(),
        dead: queues.iter().map(|queue| queue.depth.dead).sum(),
        audit: Audit::default(),
    })
}

async fn sum(api: &Api, name: &str, wanted: impl Fn(&HashMap<String, String>) -> bool) -> Result<u64> {
    let SeriesList { series } = api.read(&format!("/v1/metrics?prefix={name}&limit=10000")).await?;
    Ok(series.iter().filter(|series| wanted(&series.labels)).map(|series| series.value).sum::<f64>() as u64)
}

async fn audit(api: &Api) -> Result<Audit> {
    let mut audit = Audit::default();
    let mut path = format!("/v1/audit?limit={PAGE}");
    loop {
        let page: Page = api.read(&path).await?;
        page.records.into_iter().for_each(|record| audit.add(record));
        match page.next {
            Some(next) => path = format!("/v1/audit?limit={PAGE}&cursor={next}"),
            None => return Ok(audit),
        }
    }
}

impl Audit {
    fn add(&mut self, record: Record) {
        if record.sequence != self.records {
            self.gap = self.gap.or(Some(self.records));
        }
        self.records += 1;
        let of_application = self.applications.entry(record.subject.id).or_default();
        of_application.0 += u64::from(record.action == CHANGED);
        of_application.1 += u64::from(record.action == NOTIFIED);
        *self.actions.entry(record.action).or_default() += 1;
    }
}

/// What does not fit together; each sentence is a failure of the demo.
pub(crate) fn faults(tally: &Tally, facts: &Facts) -> Vec<String> {
    let mut faults = Vec::new();
    let count = |action: &str| facts.audit.actions.get(action).copied().unwrap_or_default();
    let (changes, recorded, notified) = (tally.changes(), count(CHANGED), count(NOTIFIED));
    let mut check = |good: bool, text: String| faults.extend((!good).then_some(text));
    check(facts.waiting == 0, format!("{} messages still wait", facts.waiting));
    check(facts.dead == 0, format!("{} messages are dead letters", facts.dead));
    // A request whose answer was lost may have been carried out; then there are more.
    let exact = tally.failed == 0;
    check(
        recorded == changes || (!exact && recorded > changes),
        format!("{changes} changes of status, {recorded} of them in the audit log"),
    );
    check(facts.notifications_sent == recorded, format!("{recorded} changes of status, {} notifications sent", facts.notifications_sent));
    check(notified == recorded, format!("{recorded} changes of status, {notified} notifications in the audit log"));
    check(
        count("application.create") >= tally.created(),
        format!("{} applications, {} of them in the audit log", tally.created(), count("application.create")),
    );
    check(facts.audit.gap.is_none(), format!("the audit log has a gap at {}", facts.audit.gap.unwrap_or_default()));
    let torn = facts.audit.applications.iter().filter(|(_, (changed, notified))| changed != notified).map(|(number, _)| number).min();
    check(torn.is_none(), format!("application {} has changes without a notification", torn.map_or("", String::as_str)));
    faults
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            scenario::Verb,
            tally::{Ended, Kind, tests::sample},
        },
        *,
    };

    /// One application, created and submitted.
    fn good() -> (Tally, Facts) {
        let mut tally = Tally::new().unwrap();
        tally.add(sample(Kind::Create, 1, Ok(Ended::Done)));
        tally.add(sample(Kind::Command(Verb::Submit), 1, Ok(Ended::Done)));
        let mut audit = Audit::default();
        for (sequence, action) in (0..).zip(["application.create", CHANGED, NOTIFIED]) {
            audit.add(Record { sequence, action: action.into(), subject: Subject { id: "A-2026-000001".into() } });
        }
        (tally, Facts { delivered: 2, notifications_sent: 1, waiting: 0, dead: 0, audit })
    }

    fn check(change: impl FnOnce(&mut Tally, &mut Facts), expected: &[&str]) {
        let (mut tally, mut facts) = good();
        change(&mut tally, &mut facts);
        assert_eq!(faults(&tally, &facts), expected);
    }

    #[test]
    fn a_play_that_fits_has_no_faults() {
        check(|_, _| {}, &[]);
    }

    #[test]
    fn what_is_lost_is_noticed() {
        check(|_, facts| facts.waiting = 3, &["3 messages still wait"]);
        check(|_, facts| facts.dead = 1, &["1 messages are dead letters"]);
        check(|_, facts| facts.notifications_sent = 0, &["1 changes of status, 0 notifications sent"]);
        check(|_, facts| facts.audit.gap = Some(7), &["the audit log has a gap at 7"]);
        let submitted = || sample(Kind::Command(Verb::Submit), 1, Ok(Ended::Done));
        check(|tally, _| tally.add(submitted()), &["2 changes of status, 1 of them in the audit log"]);
    }

    #[test]
    fn notifications_belong_to_their_application() {
        let swap = |_: &mut Tally, facts: &mut Facts| {
            facts.audit.applications = HashMap::from([("A-2026-000001".into(), (1, 0)), ("A-2026-000002".into(), (0, 1))]);
        };
        check(swap, &["application A-2026-000001 has changes without a notification"]);
    }

    #[test]
    fn a_lost_answer_may_have_been_carried_out() {
        let lost = |tally: &mut Tally, facts: &mut Facts| {
            tally.add(sample(Kind::Command(Verb::Review), 1, Err("connection reset".into())));
            for action in [CHANGED, NOTIFIED] {
                let sequence = facts.audit.records;
                facts.audit.add(Record { sequence, action: action.into(), subject: Subject { id: "A-2026-000001".into() } });
            }
            facts.notifications_sent = 2;
        };
        check(lost, &[]);
    }

    #[test]
    fn a_gap_is_where_the_count_breaks() {
        let mut audit = Audit::default();
        for sequence in [0, 1, 3] {
            audit.add(Record { sequence, action: CHANGED.into(), subject: Subject { id: "A".into() } });
        }
        assert_eq!((audit.gap, audit.records), (Some(2), 3));
    }
}
