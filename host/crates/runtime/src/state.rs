//! What one store carries: the call it serves, its budgets and its resources.

use crate::{
    choke::Caller,
    glue::wasi_http::Requests,
    hook::{Cause, Hook},
    limits::Limits,
    meter::Meter,
    report::Trail,
    version::Version,
};
use plinth_capability::{Capabilities, Error, ErrorKind};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::time::Instant;
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView, p2::pipe::MemoryOutputPipe};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The `T` of `Store<T>`: built for one call and dropped after it.
pub(crate) struct CallState {
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) version: Arc<Version>,
    pub(crate) hook: Hook,
    pub(crate) cause: Cause,
    pub(crate) invocation_id: String,
    pub(crate) deadline: Instant,
    pub(crate) meter: Arc<Meter>,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryBudget,
    log_bytes_left: u64,
    /// What is told of it if it fails.
    pub(crate) trail: Arc<Trail>,
    /// The last line logged as an error: a panic message, if a trap follows.
    pub(crate) last_error_line: Option<String>,
    wasi: Option<Box<Wasi>>,
    http: WasiHttpCtx,
    /// Only for guests that touch `wasi:http`.
    http_hooks: Option<Box<Requests>>,
}

/// Only built for guests that touch WASI; most Rust guests do not.
struct Wasi {
    ctx: WasiCtx,
    stderr: MemoryOutputPipe,
}

/// Bytes of standard error kept to explain a trap.
const STDERR_KEPT: usize = 8 << 10;

impl CallState {
    #[expect(clippy::too_many_arguments, reason = "one call site, and each is a fact of the call")]
    pub(crate) fn new(
        capabilities: Arc<Capabilities>,
        version: Arc<Version>,
        hook: Hook,
        cause: Cause,
        invocation_id: String,
        deadline: Instant,
        meter: Arc<Meter>,
        memory: MemoryBudget,
        trail: Arc<Trail>,
    ) -> Self {
        let limits = version.limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        Self {
            capabilities,
            version,
            hook,
            cause,
            invocation_id,
            deadline,
            meter,
            table,
            memory,
            log_bytes_left: limits.log_bytes,
            trail,
            last_error_line: None,
            wasi: None,
            http: WasiHttpCtx::new(),
            http_hooks: None,
        }
    }

    /// Whether `bytes` of log text still fit; what does not fit is dropped.
    pub(crate) fn take_log_bytes(&mut self, bytes: usize) -> bool {
        match self.log_bytes_left.checked_sub(bytes as u64) {
            Some(left) => {
                self.log_bytes_left = left;
                true
            }
            None => {
                self.log_bytes_left = 0;
                false
            }
        }
    }

    /// Puts a resource of this call into its bounded table.
    pub(crate) fn keep<R: Send + 'static>(
        &mut self,
        operation: &'static str,
        resource: R,
    ) -> Result<wasmtime::component::Resource<R>, Error> {
        let most = self.version.limits.handles;
        self.table.push(resource).map_err(|_| Error::new(ErrorKind::LimitExceeded, operation, format!("more than {most} open handles")))
    }

    /// The end of what a WASI guest wrote to standard error.
    pub(crate) fn stderr_tail(&self) -> Option<String> {
        let bytes = self.wasi.as_ref()?.stderr.contents();
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.get_or_insert_with(|| {
            let stderr = MemoryOutputPipe::new(STDERR_KEPT);
            let mut ctx = WasiCtx::builder();
            ctx.stderr(stderr.clone()).allow_tcp(false).allow_udp(false);
            // A test tells the time to guests that ask WASI for it, too.
            if let Some(faults) = self.version.faults.clone() {
                ctx.wall_clock(crate::glue::wasi::ToldTime(faults));
            }
            let ctx = ctx.build();
            Box::new(Wasi { ctx, stderr })
        });
        WasiCtxView { ctx: &mut wasi.ctx, table: &mut self.table }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let hooks = self.http_hooks.get_or_insert_with(|| {
            let caller = Caller {
                version: self.version.clone(),
                meter: self.meter.clone(),
                trail: self.trail.clone(),
                invocation_id: self.invocation_id.clone(),
            };
            Box::new(Requests { caller, http: self.capabilities.http.clone(), deadline: self.deadline })
        });
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut **hooks }
    }
}

/// Sums all linear memories and tables of one instance, because a limit per
/// memory is no limit for a component with two.
pub(crate) struct MemoryBudget {
    used: u64,
    limit: u64,
    host: Arc<GuestMemory>,
    pub(crate) peak: u64,
    /// A growth that was refused: explains a trap that follows.
    pub(crate) refused: Option<&'static str>,
}

const TABLE_ELEMENT_BYTES: u64 = 8;

/// What the memories and tables of all running guests take together: each
/// within its own limit could still be too much for the machine.
pub(crate) struct GuestMemory {
    used: AtomicU64,
    limit: u64,
}

impl GuestMemory {
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.saturating_add(bytes) <= self.limit;
        if !fits {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for MemoryBudget {
    fn drop(&mut self) {
        self.host.used.fetch_sub(self.used, Ordering::Relaxed);
    }
}

impl MemoryBudget {
    pub(crate) fn new(limits: &Limits, host: Arc<GuestMemory>) -> Self {
        Self { used: 0, limit: limits.memory_bytes, host, peak: 0, refused: None }
    }

    fn grow(&mut self, current: u64, desired: u64) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = Some("more memory than memory-bytes allows");
            return false;
        }
        if !self.host.take(used - self.used) {
            self.refused = Some("more memory than the host has for all plugins");
            return false;
        }
        self.used = used;
        self.peak = self.peak.max(used);
        true
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(current as u64, desired as u64))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = |elements: usize| (elements as u64).saturating_mul(TABLE_ELEMENT_BYTES);
        Ok(self.grow(bytes(current), bytes(desired)))
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = Some("more memory than memory-bytes allows");
        Ok(())
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.refused = Some("more table elements than the host allows");
        Ok(())
    }

    fn instances(&self) -> usize {
        crate::engine::CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        (crate::engine::TABLES_MAX as usize) * 2
    }

    fn memories(&self) -> usize {
        crate::engine::MEMORIES_MAX as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_budget() {
        let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
        let mut budget = MemoryBudget::new(&limits, Arc::new(GuestMemory::new(u64::MAX)));
        assert!(budget.memory_growing(0, 512 << 10, None).unwrap());
        assert!(budget.memory_growing(0, 448 << 10, None).unwrap());
        assert!(budget.refused.is_none());
        assert!(!budget.memory_growing(0, 128 << 10, None).unwrap());
        assert!(budget.refused.is_some());
        assert!(budget.table_growing(0, 8 << 10, None).unwrap());
        assert!(!budget.table_growing(8 << 10, 9 << 10, None).unwrap());
        assert_eq!(budget.peak, 1 << 20);
    }

    #[test]
    fn all_guests_share_what_the_host_has() {
        let host = Arc::new(GuestMemory::new(3 << 20));
        let budget = || MemoryBudget::new(&Limits { memory_bytes: 2 << 20, ..Limits::default() }, host.clone());
        let (mut one, mut two) = (budget(), budget());
        assert!(one.memory_growing(0, 2 << 20, None).unwrap());
        assert!(!two.memory_growing(0, 2 << 20, None).unwrap());
        assert_eq!(two.refused, Some("more memory than the host has for all plugins"));
        assert!(two.memory_growing(0, 1 << 20, None).unwrap());
        drop(one);
        assert!(two.memory_growing(1 << 20, 2 << 20, None).unwrap());
        drop(two);
        assert_eq!(host.used.load(Ordering::Relaxed), 0);
    }
}
