//! The one engine of the process, sized from configuration, and its clock.

use crate::promptness::ask_for_short_slices;
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, Thread},
    time::Duration,
};
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// The length of one epoch. A guest that runs longer than its slice meets the
/// clock at the next tick, so this bounds how long it can hold a thread.
pub(crate) const TICK: Duration = Duration::from_millis(1);
/// The ticker rests after this long without a call.
const REST_AFTER: Duration = Duration::from_millis(500);

/// What sizes the instance pool. Totals follow from it, for the hungriest
/// guests: QuickJS takes 13 core instances and 3 memories, Python 14 and 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Calls that may run at once over all plugins.
    pub instances: u32,
    /// No linear memory of any plugin grows beyond this.
    pub max_memory_bytes: u64,
    pub max_wasm_stack_bytes: u32,
    /// The memories and tables of all running guests together.
    pub total_memory_bytes: u64,
    /// Bytes of each memory that stay resident for the next instance.
    pub keep_resident_bytes: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            instances: 256,
            max_memory_bytes: 128 << 20,
            max_wasm_stack_bytes: 512 << 10,
            total_memory_bytes: 4 << 30,
            keep_resident_bytes: 256 << 10,
        }
    }
}

/// Core instances, memories and tables one component may consist of.
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;
pub(crate) const MEMORIES_MAX: u32 = 4;
pub(crate) const TABLES_MAX: u32 = 4;
/// Average over the running components that the pool is sized for.
const CORE_INSTANCES_EACH: u32 = 8;
const MEMORIES_EACH: u32 = 2;
const TABLES_EACH: u32 = 3;

/// Instances kept for probes and activations, which stand in no line.
const PROBES: u32 = 16;

impl EngineConfig {
    fn pool(&self) -> PoolingAllocationConfig {
        let mut pool = PoolingAllocationConfig::new();
        let n = self.instances.saturating_add(PROBES);
        pool.total_component_instances(n)
            .total_core_instances(n.saturating_mul(CORE_INSTANCES_EACH).max(CORE_INSTANCES_MAX))
            .total_memories(n.saturating_mul(MEMORIES_EACH).max(MEMORIES_MAX))
            .total_tables(n.saturating_mul(TABLES_EACH).max(TABLES_MAX))
            .total_stacks(n)
            .max_core_instances_per_component(CORE_INSTANCES_MAX)
            .max_memories_per_component(MEMORIES_MAX)
            .max_tables_per_component(TABLES_MAX)
            .max_memory_size(usize::try_from(self.max_memory_bytes).unwrap_or(usize::MAX))
            .max_unused_warm_slots(64)
            .linear_memory_keep_resident(self.keep_resident_bytes as usize)
            .table_keep_resident(32 << 10)
            .async_stack_keep_resident(16 << 10)
            .pagemap_scan(Enabled::Auto);
        pool
    }

    pub(crate) fn build(&self) -> wasmtime::Result<Engine> {
        Engine::new(self.shape().allocation_strategy(InstanceAllocationStrategy::Pooling(self.pool())))
    }

    /// For the child that compiles: the same code, and no pool reserved.
    pub(crate) fn build_for_compiling(&self) -> wasmtime::Result<Engine> {
        Engine::new(&self.shape())
    }

    /// Everything that shapes compiled code: the same in host and child.
    fn shape(&self) -> Config {
        let mut config = Config::new();
        config
            .epoch_interruption(true)
            .concurrency_support(false)
            .max_wasm_stack(self.max_wasm_stack_bytes as usize)
            .async_stack_size(self.max_wasm_stack_bytes as usize + (512 << 10))
            .memory_init_cow(true)
            .wasm_backtrace_details(WasmBacktraceDetails::Disable)
            .wasm_multi_memory(true)
            .wasm_memory64(false)
            .wasm_relaxed_simd(false)
            .wasm_custom_page_sizes(false);
        config
    }
}

/// Advances the engine's epoch from its own OS thread while calls are live, and
/// rests otherwise, so that an idle host uses no CPU.
pub(crate) struct Ticker {
    shared: Arc<TickerShared>,
    thread: Thread,
    join: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct TickerShared {
    live: AtomicU64,
    resting: AtomicBool,
    stop: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(TickerShared::default());
        let weak = engine.weak();
        let join = std::thread::Builder::new().name("plinth-epoch".into()).spawn({
            let shared = shared.clone();
            move || {
                ask_for_short_slices();
                tick(&weak, &shared);
            }
        })?;
        Ok(Self { shared, thread: join.thread().clone(), join: Some(join) })
    }

    /// Keeps the clock going while it lives.
    pub(crate) fn enter(self: &Arc<Self>) -> Ticking {
        self.shared.live.fetch_add(1, Ordering::SeqCst);
        if self.shared.resting.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(self.clone())
    }
}

pub(crate) struct Ticking(Arc<Ticker>);

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.shared.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
        if let Some(join) = self.join.take() {
            let _ = join.join();
        }
    }
}

fn tick(engine: &EngineWeak, shared: &TickerShared) {
    let rest_after = REST_AFTER.as_millis() / TICK.as_millis();
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if shared.live.load(Ordering::SeqCst) > 0 {
            idle = 0;
        } else {
            idle += 1;
        }
        if idle > rest_after {
            shared.resting.store(true, Ordering::SeqCst);
            // A call that came in between sees `resting` and unparks, or is seen here.
            if shared.live.load(Ordering::SeqCst) == 0 && !shared.stop.load(Ordering::SeqCst) {
                std::thread::park();
            }
            shared.resting.store(false, Ordering::SeqCst);
            idle = 0;
        } else {
            std::thread::park_timeout(TICK);
        }
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
