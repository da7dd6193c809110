//! Glue for `plinth:context`: facts about the running call, the host's clock and randomness.

use crate::{
    bindings::plinth::context::{
        clock,
        invocation::{self, Actor, Info},
        random,
    },
    choke::Operation,
    state::CallState,
};
use std::{sync::LazyLock, time::Instant};

const CONTEXT: Operation = Operation::new("context", "read");

/// `monotonic-us` counts from the first use in this process.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl invocation::Host for CallState {
    fn current(&mut self) -> wasmtime::Result<Info> {
        self.choke_local(CONTEXT)?;
        let info = &self.version.info;
        Ok(Info {
            invocation_id: self.invocation_id.clone(),
            plugin_id: info.plugin.to_string(),
            plugin_version: info.version.clone(),
            hook: self.hook.name().to_owned(),
            tenant: None,
            actor: self.cause.actor.clone().map(|id| Actor { id, roles: self.cause.roles.clone() }),
            traceparent: self.cause.traceparent.clone(),
            attempt: self.cause.attempt.max(1),
            attributes: vec![("depth".to_owned(), self.cause.depth.to_string())],
        })
    }

    fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        self.choke_local(CONTEXT)?;
        let left = self.deadline.saturating_duration_since(tokio::time::Instant::now());
        Ok(u32::try_from(left.as_millis()).unwrap_or(u32::MAX))
    }
}

impl clock::Host for CallState {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        self.choke_local(CONTEXT)?;
        Ok(CallState::now_ms(self))
    }

    fn monotonic_us(&mut self) -> wasmtime::Result<u64> {
        self.choke_local(CONTEXT)?;
        Ok(u64::try_from(STARTED.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

impl random::Host for CallState {
    fn bytes(&mut self, len: u16) -> wasmtime::Result<Vec<u8>> {
        self.choke_local(CONTEXT)?;
        let mut bytes = vec![0; len.into()];
        fill(&mut bytes)?;
        Ok(bytes)
    }

    fn unit(&mut self) -> wasmtime::Result<f64> {
        self.choke_local(CONTEXT)?;
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        // 53 bits fit a double exactly, so every value below 1 is as likely.
        let bits = u64::from_le_bytes(bytes) >> 11;
        Ok(bits as f64 / (1_u64 << 53) as f64)
    }
}

fn fill(bytes: &mut [u8]) -> wasmtime::Result<()> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| wasmtime::format_err!("the system gave no randomness"))
}
