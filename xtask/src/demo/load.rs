//! Plays the script against the host as an open loop: acts start when they are due, however slow the answers are.

use super::{
    applicant::Application,
    client::{Api, Decision},
    scenario::{Scenario, Verb},
    script::{Act, Script, Slot},
    tally::{Ended, Kind, Sample, Tally},
    versions::Timeline,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinSet,
    time::{Instant as Tick, sleep_until},
};

/// More failures than this are not worth waiting for.
const FAILURES_MAX: u64 = 500;
/// Acts begun and not answered: beyond it the host has lost the pace for good.
const BEHIND_MAX: usize = 5_000;

/// What every act needs.
pub(crate) struct Stage {
    pub(crate) api: Api,
    /// The plugin whose versions are watched.
    pub(crate) rules: String,
    /// A std mutex: held for a look at a short list, never across an await.
    pub(crate) timeline: Arc<Mutex<Timeline>>,
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
}

/// An application as its last act left it; handed from act to act, so that
/// those of one application happen one after the other.
struct Paper {
    content: Application,
    number: String,
    status: String,
    /// Refused: its remaining commands are not sent.
    over: bool,
}

pub(crate) struct Pace {
    /// Requests a second.
    pub(crate) rate: f64,
    /// Commands to be answered before the play ends.
    pub(crate) commands: u64,
}

pub(crate) async fn play(stage: Arc<Stage>, pace: &Pace, progress: &watch::Sender<u64>) -> Result<Tally> {
    let mut script = Script::new(stage.scenario.clone(), stage.seed);
    let mut tally = Tally::new()?;
    let mut papers: HashMap<u64, oneshot::Receiver<Option<Paper>>> = HashMap::new();
    let mut acts = JoinSet::new();
    let mut due = Tick::now();
    while tally.commands() < pace.commands {
        tokio::select! {
            Some(sample) = acts.join_next() => fold(&mut tally, sample?, progress),
            // The script's own pace.
            () = sleep_until(due) => {
                let slot = script.next().context("the script ended")?;
                let (pass_on, next) = oneshot::channel();
                let before = papers.remove(&slot.application);
                if !slot.last {
                    papers.insert(slot.application, next);
                }
                acts.spawn(act(Arc::clone(&stage), slot, due, before, pass_on));
                due += Duration::from_secs_f64(f64::from(slot.act.requests()) / pace.rate);
            }
        }
        ensure!(acts.len() < BEHIND_MAX, "the host answers more slowly than {} requests a second come", pace.rate);
        if tally.failed > FAILURES_MAX {
            bail!("more than {FAILURES_MAX} requests failed; the first: {}", tally.failures.join("; "));
        }
    }
    while let Some(sample) = acts.join_next().await {
        fold(&mut tally, sample?, progress);
    }
    Ok(tally)
}

fn fold(tally: &mut Tally, sample: Option<Sample>, progress: &watch::Sender<u64>) {
    if let Some(sample) = sample {
        tally.add(sample);
        progress.send_replace(tally.commands());
    }
}

/// One slot of the script; `None` if there was nothing left to do.
async fn act(
    stage: Arc<Stage>,
    slot: Slot,
    due: Tick,
    before: Option<oneshot::Receiver<Option<Paper>>>,
    pass_on: oneshot::Sender<Option<Paper>>,
) -> Option<Sample> {
    let paper = match before {
        None => None,
        Some(before) => Some(before.await.ok().flatten()?),
    };
    let (sample, paper) = match (slot.act, paper) {
        (Act::Create, None) => stage.create(slot.application, due).await,
        (Act::Command(verb), Some(paper)) if !paper.over => stage.command(verb, paper, due).await,
        (_, Some(paper)) => stage.read(paper, due).await,
        (_, None) => return None,
    };
    // The last act of an application has nobody to pass it to.
    let _unread = pass_on.send(paper);
    Some(sample)
}

impl Stage {
    async fn create(&self, index: u64, due: Tick) -> (Sample, Option<Paper>) {
        let content = Application::nth(&self.scenario, self.seed, index);
        let created = self.api.create(&content).await;
        let ended = created.as_ref().map(|_| Ended::Done).map_err(text);
        let paper = created.ok().map(|created| Paper { content, number: created.number, status: created.status, over: false });
        (Sample { kind: Kind::Create, requests: 1, latency: due.elapsed(), answered_by: None, ended }, paper)
    }

    async fn command(&self, verb: Verb, mut paper: Paper, due: Tick) -> (Sample, Option<Paper>) {
        let mut sample =
            Sample { kind: Kind::Command(verb), requests: 1, latency: Duration::ZERO, answered_by: None, ended: Ok(Ended::Done) };
        let begun = Instant::now();
        let decision = self.api.decide(&paper.number, &paper.status, verb, &paper.content).await;
        sample.ended = match decision {
            Err(error) => Err(text(&error)),
            Ok(decision) => match self.judged(&decision, begun, &mut sample) {
                Err(fault) => Err(fault),
                Ok(()) if decision.allows() => {
                    sample.requests += 1;
                    self.carry_out(verb, &mut paper).await
                }
                Ok(()) => Ok(Ended::Refused { verdict: decision.verdict }),
            },
        };
        sample.latency = due.elapsed();
        paper.over = sample.ended != Ok(Ended::Done);
        // After a failure nobody knows what became of it.
        let paper = sample.ended.is_ok().then_some(paper);
        (sample, paper)
    }

    /// Whether the right version answered; notes which.
    fn judged(&self, decision: &Decision, begun: Instant, sample: &mut Sample) -> Result<(), String> {
        let answer = decision.answers.iter().find(|answer| answer.plugin == self.rules);
        let answer = answer.ok_or_else(|| format!("a decision without an answer of {}", self.rules))?;
        let timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        sample.answered_by = Some(timeline.label(&answer.version).unwrap_or(&answer.version).to_owned());
        timeline.fault(&answer.version, &answer.digest, begun, Instant::now()).map_or(Ok(()), Err)
    }

    async fn carry_out(&self, verb: Verb, paper: &mut Paper) -> Result<Ended, String> {
        let status = self.api.change(&paper.number, verb).await.map_err(|error| text(&error))?;
        if status != verb.leads_to() {
            return Err(format!("{} went to {status} instead of {}", paper.number, verb.leads_to()));
        }
        paper.status = status;
        Ok(Ended::Done)
    }

    /// What was acknowledged is what is read, from the cache or not.
    async fn read(&self, paper: Paper, due: Tick) -> (Sample, Option<Paper>) {
        let ended = match self.api.show(&paper.number).await {
            Err(error) => Err(text(&error)),
            Ok(shown) if shown.number != paper.number => Err(format!("{} was answered for {}", shown.number, paper.number)),
            Ok(shown) if shown.status != paper.status => {
                let place = if shown.from_cache { "cache" } else { "database" };
                Err(format!("{} is {} and the {place} says {}", paper.number, paper.status, shown.status))
            }
            Ok(shown) => Ok(Ended::Read { hit: shown.from_cache }),
        };
        (Sample { kind: Kind::Read, requests: 1, latency: due.elapsed(), answered_by: None, ended }, Some(paper))
    }
}

/// The whole chain: `reqwest` keeps the cause below.
fn text(error: &anyhow::Error) -> String {
    format!("{error:#}")
}
