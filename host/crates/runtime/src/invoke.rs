//! One hook call: snapshot → admission → fresh instance → guest → outcome.

use crate::{
    admission::Admission,
    engine::Ticker,
    hook::{Cause, Hook},
    interrupt::{Interrupt, classify},
    lane::Lanes,
    meter::{Meter, Turn},
    outcome::{Failure, Outcome, Reply},
    registry::Registry,
    report::{Report, Reports, Trail, stack},
    state::{CallState, GuestMemory, MemoryBudget},
    version::Version,
};
use futures::future::BoxFuture;
use plinth_capability::{Capabilities, name::PluginName};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline, component::Instance};

/// What runs guests, shared by calls of all plugins.
pub(crate) struct Invoker {
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) lanes: Lanes,
    /// Over all plugins: never more calls than the pool has instances.
    pub(crate) overall: Admission,
    /// Why calls failed.
    pub(crate) reports: Reports,
    /// Over all plugins: what their memories and tables take together.
    pub(crate) memory: Arc<GuestMemory>,
}

/// The part of a call that differs by hook: load the export, call it, convert.
pub(crate) type Work<T> =
    Box<dyn for<'a> FnOnce(&'a mut Store<CallState>, &'a Instance, &'a Version) -> BoxFuture<'a, wasmtime::Result<Outcome<T>>> + Send>;

/// How a call is to be made.
pub(crate) struct Call<T> {
    pub(crate) hook: Hook,
    pub(crate) cause: Cause,
    /// Shorter than the plugin's own wall limit, if the caller has less time.
    pub(crate) timeout: Option<Duration>,
    pub(crate) work: Work<T>,
}

impl Invoker {
    /// Calls a hook of the version that is active when the call's turn comes.
    pub(crate) async fn call<T: Send + 'static>(&self, registry: &Registry, plugin: &PluginName, call: Call<T>) -> Reply<T> {
        let began = Instant::now();
        let invocation_id = invocation_id();
        let unanswered = |invocation_id, failure| Reply { invocation_id, answered_by: None, generation: 0, outcome: Err(failure) };
        loop {
            let (version, generation) = match registry.active(plugin, call.hook) {
                Ok(found) => found,
                Err(failure) => return unanswered(invocation_id, failure),
            };
            let turn = match self.turn(&version).await {
                Ok(turn) => turn,
                Err(failure) => {
                    version.meters.called(call.hook, failure.code(), began.elapsed());
                    let answered_by = Some(version.info.clone());
                    return Reply { invocation_id, answered_by, generation, outcome: Err(failure) };
                }
            };
            // Counted as live before this second look: see `Live::enter`. If the
            // slot was swapped while we stood in line, the new version answers.
            let live = version.live.enter();
            if !registry.is_active(plugin, &version) {
                continue;
            }
            version.meters.waited(began.elapsed());
            let (hook, attempt) = (call.hook, call.cause.attempt);
            // The wait in line has used up some of the time the caller has.
            let timeout = call.timeout.map(|timeout| timeout.saturating_sub(began.elapsed()));
            let call = Call { timeout, cause: Cause { generation, ..call.cause }, ..call };
            let outcome = self.run(&version, invocation_id.clone(), call, (live, turn)).await;
            version.meters.called(hook, outcome.as_ref().map_or_else(Failure::code, |_| "ok"), began.elapsed());
            // A message that is tried again is one reason to trap, not several.
            if let (Err(Failure::Trap(why)), 0..=1) = (&outcome, attempt) {
                registry.trapped(&version, why);
            }
            return Reply { invocation_id, answered_by: Some(version.info.clone()), generation, outcome };
        }
    }

    /// The plugin's own line first: a flooded plugin does not stand in the
    /// common line.
    async fn turn(&self, version: &Version) -> Result<impl Send + use<>, Failure> {
        let own = version.admission.enter().await?;
        let common = self.overall.enter().await?;
        Ok((own, common))
    }

    /// Runs one call on a fresh instance, within budget and deadline. The
    /// store is dropped with the call, whatever its end, and `held` after it:
    /// a guest that is being stopped still counts as running.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        version: &Arc<Version>,
        invocation_id: String,
        call: Call<T>,
        held: impl Send + 'static,
    ) -> Outcome<T> {
        let limits = &version.limits;
        let wall = call.timeout.map_or(limits.wall(), |timeout| timeout.min(limits.wall()));
        let deadline = tokio::time::Instant::now() + wall;
        let began = Instant::now();
        let (hook, attempt, generation) = (call.hook, call.cause.attempt, call.cause.generation);
        let trail = Arc::new(Trail::default());
        let meter = Arc::new(Meter::new(Duration::from_millis(limits.cpu_ms), limits.host_calls));
        let memory = MemoryBudget::new(limits, self.memory.clone());
        let state = CallState::new(
            self.capabilities.clone(),
            version.clone(),
            call.hook,
            call.cause,
            invocation_id.clone(),
            deadline,
            meter.clone(),
            memory,
            trail.clone(),
        );
        let ticking = self.ticker.enter();
        let running = version.clone();
        let guest = Box::pin(async move {
            let _held = (ticking, held);
            on_fresh_instance(&running, state, call.work).await
        });
        let ended = tokio::time::timeout_at(deadline, self.lanes.run(meter.clone(), &version.manners, guest)).await;
        version.manners.ended(meter.used());
        version.meters.used_cpu(meter.used());
        let outcome = match ended {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(failure)) => Err(failure),
            Err(_elapsed) => Err(Failure::Deadline(format!("after {} ms", wall.as_millis()))),
        };
        if let Err(failure) = &outcome {
            let report = Report {
                invocation_id,
                version: version.info.clone(),
                generation,
                hook,
                attempt: attempt.max(1),
                ended_at_ms: plinth_capability::now_ms(),
                took: began.elapsed(),
                cpu: meter.used(),
                outcome: failure.code(),
                message: failure.to_string(),
                memory_bytes: 0,
                stack: Vec::new(),
                log: Vec::new(),
                stderr: None,
                calls: Vec::new(),
                calls_made: 0,
            };
            self.reports.keep(report, &trail);
        }
        outcome
    }
}

/// In order of time to the millisecond; the rest is drawn in this process,
/// since asking the system for random bytes costs as much as a short guest.
fn invocation_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid().simple().to_string()
}

async fn on_fresh_instance<T>(version: &Version, state: CallState, work: Work<T>) -> Outcome<T> {
    let mut store = Store::new(version.pre.engine(), state);
    prepare(&mut store);
    let result = match version.pre.instantiate_async(&mut store).await {
        Ok(instance) => work(&mut store, &instance, version).await,
        Err(error) => Err(error),
    };
    let state = store.data();
    version.meters.used_memory(state.memory.peak);
    match result {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(failure)) => {
            state.trail.ended(Vec::new(), state.stderr_tail(), state.memory.peak);
            Err(failure)
        }
        Err(error) => {
            state.trail.ended(stack::of(&error), state.stderr_tail(), state.memory.peak);
            Err(explain(&error, state))
        }
    }
}

/// Every limit of the store, before any guest code runs.
fn prepare(store: &mut Store<CallState>) {
    let limits = store.data().version.limits;
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(usize::try_from(limits.argument_bytes).unwrap_or(usize::MAX));
    // The guest's own handle tables hold both sides of a resource.
    store.set_max_component_handles(limits.handles as usize * 2 + 64);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|context| {
        let state = context.data();
        if tokio::time::Instant::now() >= state.deadline {
            return Err(Interrupt::Deadline("the guest was still computing").into());
        }
        match state.meter.turn() {
            Turn::Continue => Ok(UpdateDeadline::Continue(1)),
            Turn::Yield => Ok(UpdateDeadline::Yield(1)),
            Turn::Exhausted => Err(Interrupt::Limit(format!("more CPU time than {} ms", state.version.limits.cpu_ms)).into()),
        }
    });
}

/// The outcome, and for a trap what the guest said last.
fn explain(error: &wasmtime::Error, state: &CallState) -> Failure {
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return Failure::Unavailable { why: "the instance pool is full".to_owned(), retry_after: Some(Duration::from_secs(1)) };
    }
    let failure = classify(error, state.memory.refused);
    let Failure::Trap(trap) = failure else { return failure };
    let said = state.last_error_line.clone().or_else(|| state.stderr_tail());
    let (plugin, invocation) = (&state.version.info.plugin, &state.invocation_id);
    tracing::warn!(%plugin, version = state.version.info.version, invocation, hook = state.hook.name(), trap, said, "guest trapped");
    tracing::debug!(invocation, "{error:?}");
    Failure::Trap(match said {
        Some(said) => format!("{trap}; it said: {said}"),
        None => trap,
    })
}
