//! The baselines' engine: wasmtime with the host's settings and nothing of the host.

use anyhow::Result;
use std::time::{Duration, Instant};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline, WasmBacktraceDetails};

/// As the host's.
const TICK: Duration = Duration::from_millis(1);
const WALL: Duration = Duration::from_secs(2);

/// The defaults of the host's `[engine]`, with pool totals for as many calls.
pub(crate) fn build() -> Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(256)
        .total_core_instances(2_048)
        .total_memories(512)
        .total_tables(768)
        .total_stacks(256)
        .max_core_instances_per_component(64)
        .max_memories_per_component(4)
        .max_tables_per_component(4)
        .max_memory_size(128 << 20)
        .max_unused_warm_slots(64)
        .linear_memory_keep_resident(256 << 10)
        .table_keep_resident(32 << 10)
        .async_stack_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        .memory_init_cow(true)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_multi_memory(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_custom_page_sizes(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Ok(Engine::new(&config)?)
}

/// Advances the epoch for as long as the engine lives.
pub(crate) fn start_clock(engine: &Engine) -> Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("epoch".into()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::park_timeout(TICK);
        }
    })?;
    Ok(())
}

/// The least that keeps a loop from running for ever.
pub(crate) fn bound<T: 'static>(store: &mut Store<T>) {
    let deadline = Instant::now() + WALL;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| match Instant::now() >= deadline {
        true => Err(wasmtime::Error::msg("the guest was still computing")),
        false => Ok(UpdateDeadline::Yield(1)),
    });
}
