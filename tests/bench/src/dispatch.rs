//! One hook call without HTTP: what the host adds to instantiating and calling a trivial guest.

use crate::{
    api::component_path,
    engine,
    stats::{median, percentile},
};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use plinth::{
    HostConfig, Overrides, RunningHost,
    runtime::{
        Package,
        hook::{Cause, Event, Payload},
        view::Change,
    },
};
use std::{path::Path, time::Instant};
use wasmtime::{
    Store,
    component::{Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, Lower},
};

/// Calls of each side in a row, and how often the sides change.
const CALLS: usize = 500;
const ROUNDS: usize = 20;

pub(crate) struct Dispatch {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) bare_p50_us: f64,
    pub(crate) bare_p99_us: f64,
}

pub(crate) async fn run(root: &Path) -> Result<Dispatch> {
    let component = std::fs::read(component_path(root, "fixtures", "bench-listener")).context("the guests are not built")?;
    let manifest = std::fs::read_to_string(component_path(root, "fixtures", "bench-listener").with_extension("toml"))?;
    let bare = Bare::new(&component)?;
    let folder = tempfile::tempdir()?;
    let mut config = HostConfig { data: folder.path().join("data"), ..HostConfig::default() };
    config.api.listen.set_port(0);
    let host = plinth::start(config, Overrides::default()).await?;
    let package = Package { component: component.into(), manifest, config: None, approve_grants: true };
    let installed = host.runtime.install(package).await?;
    let mut sides = Sides::default();
    // The first round warms both up.
    for round in 0..=ROUNDS {
        let bare_ns = bare.calls().await?;
        let host_ns = host_calls(&host, &installed).await?;
        if round > 0 {
            sides.add(bare_ns, host_ns);
        }
    }
    host.stop().await;
    Ok(sides.end())
}

async fn host_calls(host: &RunningHost, installed: &Change) -> Result<Vec<u64>> {
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let (event, cause) = (event(), Cause::default());
        let began = Instant::now();
        let reply = host.runtime.on_event(&installed.plugin, event, cause).await;
        times.push(nanos(began));
        reply.outcome?;
    }
    Ok(times)
}

fn event() -> Event {
    Event {
        id: "0198c0de-0000-7000-8000-000000000000".to_owned(),
        topic: "bench.event".to_owned(),
        subject: "A-4711".to_owned(),
        occurred_at_ms: 1_760_000_000_000,
        payload: Payload { content_type: "application/json".to_owned(), data: Bytes::from_static(br#"{"status":"approved"}"#) },
        attributes: Vec::new(),
    }
}

fn nanos(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Percentiles of each round: their median forgets rounds that the machine disturbed.
#[derive(Default)]
struct Sides {
    host: (Vec<f64>, Vec<f64>),
    bare: (Vec<f64>, Vec<f64>),
}

impl Sides {
    fn add(&mut self, mut bare: Vec<u64>, mut host: Vec<u64>) {
        for (side, times) in [(&mut self.bare, &mut bare), (&mut self.host, &mut host)] {
            side.0.push(percentile(times, 50.0) as f64 / 1e3);
            side.1.push(percentile(times, 99.0) as f64 / 1e3);
        }
    }

    fn end(self) -> Dispatch {
        Dispatch {
            p50_us: median(&self.host.0),
            p99_us: median(&self.host.1),
            bare_p50_us: median(&self.bare.0),
            bare_p99_us: median(&self.bare.1),
        }
    }
}

/// wasmtime and the hook's types, by hand.
struct Bare {
    pre: InstancePre<()>,
    on_event: ComponentExportIndex,
}

impl Bare {
    fn new(component: &[u8]) -> Result<Self> {
        let engine = engine::build()?;
        engine::start_clock(&engine)?;
        let component = Component::new(&engine, component)?;
        let (_, hook) = component.get_export(None, "plinth:hooks/event-listener@1.0.0").context("the guest has no event hook")?;
        let (_, on_event) = component.get_export(Some(&hook), "on-event").context("the hook has no function")?;
        let pre = Linker::new(&engine).instantiate_pre(&component)?;
        Ok(Self { pre, on_event })
    }

    async fn calls(&self) -> Result<Vec<u64>> {
        let mut times = Vec::with_capacity(CALLS);
        let event = wire::Event::from(event());
        for _ in 0..CALLS {
            let began = Instant::now();
            let mut store = Store::new(self.pre.engine(), ());
            engine::bound(&mut store);
            let instance = self.pre.instantiate_async(&mut store).await?;
            let hook = instance.get_typed_func::<(&wire::Event,), (Result<(), wire::HookError>,)>(&mut store, self.on_event)?;
            let (answer,) = hook.call_async(&mut store, (&event,)).await?;
            drop(store);
            times.push(nanos(began));
            if let Err(error) = answer {
                bail!("the guest answered {error:?}");
            }
        }
        Ok(times)
    }
}

/// The hook's types as the component model passes them.
pub(crate) mod wire {
    use super::{ComponentType, Lift, Lower};

    #[derive(ComponentType, Lower)]
    #[component(record)]
    pub(super) struct Event {
        id: String,
        topic: String,
        subject: String,
        #[component(name = "occurred-at-ms")]
        occurred_at_ms: u64,
        payload: Payload,
        attributes: Vec<(String, String)>,
    }

    #[derive(Debug, ComponentType, Lift, Lower)]
    #[component(record)]
    pub(crate) struct Payload {
        #[component(name = "content-type")]
        pub(crate) content_type: String,
        pub(crate) data: Vec<u8>,
    }

    #[derive(Debug, ComponentType, Lift)]
    #[component(variant)]
    #[expect(dead_code, reason = "shown through Debug")]
    pub(crate) enum HookError {
        #[component(name = "retry")]
        Retry(Retry),
        #[component(name = "reject")]
        Reject(Failure),
    }

    #[derive(Debug, ComponentType, Lift)]
    #[component(record)]
    #[expect(dead_code, reason = "shown through Debug")]
    pub(crate) struct Retry {
        message: String,
        #[component(name = "after-ms")]
        after_ms: Option<u32>,
    }

    #[derive(Debug, ComponentType, Lift)]
    #[component(record)]
    #[expect(dead_code, reason = "shown through Debug")]
    pub(crate) struct Failure {
        code: String,
        message: String,
    }

    impl From<super::Event> for Event {
        fn from(event: super::Event) -> Self {
            let super::Event { id, topic, subject, occurred_at_ms, payload, attributes } = event;
            let payload = Payload { content_type: payload.content_type, data: payload.data.into() };
            Self { id, topic, subject, occurred_at_ms, payload, attributes }
        }
    }
}
