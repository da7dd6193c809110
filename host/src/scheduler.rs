//! Starts scheduled jobs by their cron expressions: one run per run-id, repeated if it asks for it.
//!
//! What is missed is not made up for: triggers that came while no host ran or
//! while the job's run before them had not ended, and a run that was cut off by
//! the host's end. The next trigger runs, and is told the last success, so a job
//! can tell what it has to catch up on.

use croner::Cron;
use plinth_capability::{name::PluginName, now_ms, state::HostState};
use plinth_runtime::{
    Runtime,
    hook::{Cause, Trigger},
    outcome::{Failure, GuestError},
};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A run that is not finished after this long may be claimed by another host.
const LEASE_MS: u64 = 120_000;
/// Runs of one trigger, the first included.
const ATTEMPTS_MAX: u32 = 3;
/// Before a repeat, if the plugin names no time.
const REPEAT_AFTER: Duration = Duration::from_secs(5);
/// Guest-controlled: no repeat waits longer, whatever the plugin asks for.
const REPEAT_AFTER_MAX: Duration = Duration::from_secs(600);
/// Checked again at least this often, because the wall clock may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Job {
    plugin: PluginName,
    name: String,
    cron: String,
}

/// Runs until stopped; a job added by a swap is seen at once.
pub(crate) async fn run(runtime: Runtime, state: Arc<dyn HostState>, tasks: TaskTracker, stop: CancellationToken) {
    let mut changes = runtime.changes();
    // The next due time of each job, in seconds since 1970.
    let mut due: HashMap<(PluginName, String, String), u64> = HashMap::new();
    let mut runs = Runs::default();
    loop {
        let now = now_ms() / 1_000;
        let jobs = jobs(&runtime);
        due.retain(|(plugin, name, cron), _| jobs.iter().any(|j| j.plugin == *plugin && j.name == *name && j.cron == *cron));
        let mut nearest = now + LONGEST_SLEEP.as_secs();
        for job in jobs {
            let key = (job.plugin.clone(), job.name.clone(), job.cron.clone());
            let Some(next) = due.get(&key).copied().or_else(|| next_after(&job.cron, now)) else { continue };
            let next = if next <= now {
                runs.start(&job, next, || tasks.spawn(run_job(runtime.clone(), state.clone(), job.clone(), next, stop.clone())));
                let Some(following) = next_after(&job.cron, now) else { continue };
                following
            } else {
                next
            };
            nearest = nearest.min(next);
            due.insert(key, next);
        }
        let until = UNIX_EPOCH + Duration::from_secs(nearest);
        let wait = until.duration_since(SystemTime::now()).unwrap_or_default().min(LONGEST_SLEEP);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
            // Until the next job is due.
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What runs in this process, so that no job runs beside itself.
#[derive(Default)]
struct Runs(HashMap<(PluginName, String), JoinHandle<()>>);

impl Runs {
    fn start(&mut self, job: &Job, second: u64, spawn: impl FnOnce() -> JoinHandle<()>) {
        self.0.retain(|_, run| !run.is_finished());
        match self.0.entry((job.plugin.clone(), job.name.clone())) {
            Entry::Vacant(free) => {
                free.insert(spawn());
            }
            Entry::Occupied(_) => {
                tracing::warn!(plugin = %job.plugin, job = job.name, second, "trigger skipped: the job's last run has not ended");
            }
        }
    }
}

fn jobs(runtime: &Runtime) -> Vec<Job> {
    let mut jobs = Vec::new();
    for slot in runtime.slots() {
        for job in runtime.manifest(&slot.plugin).into_iter().flat_map(|m| m.hooks.scheduled_job) {
            jobs.push(Job { plugin: slot.plugin.clone(), name: job.name.to_string(), cron: job.cron });
        }
    }
    jobs
}

/// The first time after `second` that the expression names, in UTC.
fn next_after(cron: &str, second: u64) -> Option<u64> {
    plinth_runtime::manifest::next_after(&cron.parse::<Cron>().ok()?, second)
}

/// The same trigger has the same id on every host and after every restart.
fn run_id(job: &Job, second: u64) -> String {
    format!("{}/{}/{second}", job.plugin, job.name)
}

async fn run_job(runtime: Runtime, state: Arc<dyn HostState>, job: Job, second: u64, stop: CancellationToken) {
    let id = run_id(&job, second);
    match state.claim_run(&job.plugin, &job.name, &id, LEASE_MS).await {
        Ok(true) => {}
        Ok(false) => return,
        Err(error) => {
            tracing::error!(plugin = %job.plugin, job = job.name, %error, "run could not be claimed");
            return;
        }
    }
    let success = attempts(&runtime, &state, &job, second, &stop).await;
    if let Err(error) = state.finish_run(&job.plugin, &job.name, &id, success).await {
        tracing::error!(plugin = %job.plugin, job = job.name, %error, "run could not be recorded");
    }
}

async fn attempts(runtime: &Runtime, state: &Arc<dyn HostState>, job: &Job, second: u64, stop: &CancellationToken) -> bool {
    for attempt in 1..=ATTEMPTS_MAX {
        let trigger = Trigger {
            job: job.name.clone(),
            run_id: run_id(job, second),
            scheduled_for_ms: second * 1_000,
            attempt,
            last_success_ms: state.last_success_ms(&job.plugin, &job.name).await.ok().flatten(),
            attributes: Vec::new(),
        };
        let cause = Cause { actor: Some("system".to_owned()), attempt, ..Cause::default() };
        let failure = match runtime.run_job(&job.plugin, trigger, cause).await.outcome {
            Ok(()) => return true,
            Err(failure) => failure,
        };
        tracing::warn!(plugin = %job.plugin, job = job.name, attempt, %failure, "scheduled job failed");
        let after = match failure {
            Failure::Guest(GuestError::Reject { .. }) => return false,
            Failure::Guest(GuestError::Retry { after, .. }) => after.unwrap_or(REPEAT_AFTER).min(REPEAT_AFTER_MAX),
            _ => REPEAT_AFTER,
        };
        // The pause the plugin asked for.
        if attempt < ATTEMPTS_MAX && stop.run_until_cancelled(tokio::time::sleep(after)).await.is_none() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{Job, Runs, next_after};
    use plinth_capability::name::PluginName;
    use tokio_util::{sync::CancellationToken, task::TaskTracker};

    #[tokio::test]
    async fn a_job_does_not_run_beside_itself() {
        let job = |name: &str| Job { plugin: PluginName::new("sweeper").unwrap(), name: name.to_owned(), cron: String::new() };
        let (tasks, end, mut runs) = (TaskTracker::new(), CancellationToken::new(), Runs::default());
        let mut start = |name: &str| {
            let before = tasks.len();
            runs.start(&job(name), 0, || tasks.spawn(end.clone().cancelled_owned()));
            tasks.len() > before
        };
        assert!(start("nightly"));
        assert!(!start("nightly"));
        assert!(start("hourly"));
        end.cancel();
        tasks.close();
        tasks.wait().await;
        // The tracker counts a task out a moment before its handle is finished.
        while !start("nightly") {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn cron_names_the_next_time_in_utc() {
        // 2026-11-22T10:00:30Z
        let now = 1_795_341_630;
        assert_eq!(next_after("* * * * *", now), Some(now + 30));
        assert_eq!(next_after("0 11 * * *", now), Some(now + 3_600 - 30));
        assert_eq!(next_after("not cron", now), None);
    }
}
