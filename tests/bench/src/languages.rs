//! The order desk in each language: its size, and what a decision costs, from compiling it to asking it again.

use crate::{
    dispatch::wire::{HookError, Payload},
    engine,
    figures::{Aim, Figures},
    stats::median,
};
use anyhow::{Context, Result, bail};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use wasmtime::{
    Engine, ResourceLimiter, Store,
    component::{
        Component, ComponentExportIndex, ComponentType, InstancePre, Lift, Linker, Lower, ResourceTable, ResourceType, TypedFunc,
        types::ComponentItem,
    },
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// Each language has a turn per round, so that what disturbs the machine disturbs all.
const ROUNDS: usize = 21;
const FRESH: usize = 10;
const WARM: usize = 100;

/// The keys of one language.
struct Keys {
    name: &'static str,
    size_kib: &'static str,
    compile_ms: &'static str,
    first_us: &'static str,
    fresh_us: &'static str,
    warm_us: &'static str,
    memory_kib: &'static str,
    over_rust: &'static str,
}

macro_rules! keys {
    ($($name:literal),+) => {
        [$(Keys {
            name: $name,
            size_kib: concat!($name, "_size_kib"),
            compile_ms: concat!($name, "_compile_ms"),
            first_us: concat!($name, "_first_us"),
            fresh_us: concat!($name, "_fresh_us"),
            warm_us: concat!($name, "_warm_us"),
            memory_kib: concat!($name, "_memory_kib"),
            over_rust: concat!($name, "_fresh_over_rust"),
        }),+]
    };
}

/// Rust first: the others are told in proportion to it.
const LANGUAGES: [Keys; 5] = keys!["rust", "javascript", "python", "go", "c"];

pub(crate) async fn run(root: &Path) -> Result<Figures> {
    let engine = engine::build()?;
    engine::start_clock(&engine)?;
    let mut desks = Vec::new();
    for keys in LANGUAGES {
        let name = keys.name;
        desks.push(Desk::new(&engine, root, keys).await.with_context(|| format!("the order desk in {name}"))?);
    }
    for _ in 0..ROUNDS {
        for desk in &mut desks {
            desk.turn().await.with_context(|| format!("the order desk in {}", desk.keys.name))?;
        }
    }
    let mut figures = Figures::new("languages");
    let rust = desks.first().map(|desk| median(&desk.fresh)).context("no language")?;
    for desk in &desks {
        let (keys, fresh) = (&desk.keys, median(&desk.fresh));
        for (key, value) in [
            (keys.size_kib, desk.size_kib),
            (keys.compile_ms, desk.compile_ms),
            (keys.first_us, desk.first),
            (keys.fresh_us, fresh),
            (keys.warm_us, median(&desk.warm)),
            (keys.memory_kib, desk.memory_kib),
            (keys.over_rust, fresh / rust),
        ] {
            figures.add(key, value, Aim::Tell);
        }
    }
    Ok(figures)
}

/// One component on bare wasmtime, under the host's settings.
struct Desk {
    keys: Keys,
    pre: InstancePre<State>,
    decide: ComponentExportIndex,
    size_kib: f64,
    compile_ms: f64,
    /// The first instance and its first answer, after compiling.
    first: f64,
    fresh: Vec<f64>,
    warm: Vec<f64>,
    /// All memories of an instance that has answered.
    memory_kib: f64,
}

impl Desk {
    async fn new(engine: &Engine, root: &Path, keys: Keys) -> Result<Self> {
        let path = component(root, keys.name);
        let bytes = std::fs::read(&path).with_context(|| format!("{}; `cargo xtask bench languages` builds it", path.display()))?;
        let began = Instant::now();
        let component = Component::new(engine, &bytes)?;
        let compile_ms = micros(began) / 1e3;
        let (_, hook) = component.get_export(None, "plinth:hooks/decision@1.0.0").context("it has no decision")?;
        let (_, decide) = component.get_export(Some(&hook), "decide").context("the hook has no function")?;
        let pre = linker(engine, &component)?.instantiate_pre(&component)?;
        let (fresh, warm) = (Vec::new(), Vec::new());
        let mut desk =
            Self { keys, pre, decide, size_kib: bytes.len() as f64 / 1024.0, compile_ms, first: 0.0, fresh, warm, memory_kib: 0.0 };
        let began = Instant::now();
        let (mut store, decide) = desk.instance().await?;
        ask(&mut store, &decide).await?;
        desk.first = micros(began);
        desk.memory_kib = store.data().memory as f64 / 1024.0;
        Ok(desk)
    }

    async fn instance(&self) -> Result<(Store<State>, Decide)> {
        let mut store = Store::new(self.pre.engine(), State::default());
        store.limiter(|state| state);
        engine::bound(&mut store);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let decide = instance.get_typed_func(&mut store, self.decide)?;
        Ok((store, decide))
    }

    async fn turn(&mut self) -> Result<()> {
        let began = Instant::now();
        for _ in 0..FRESH {
            let (mut store, decide) = self.instance().await?;
            ask(&mut store, &decide).await?;
        }
        self.fresh.push(micros(began) / FRESH as f64);
        let (mut store, decide) = self.instance().await?;
        ask(&mut store, &decide).await?;
        let began = Instant::now();
        for _ in 0..WARM {
            ask(&mut store, &decide).await?;
        }
        self.warm.push(micros(began) / WARM as f64);
        Ok(())
    }
}

fn component(root: &Path, language: &str) -> PathBuf {
    match language {
        "rust" => root.join("target/plugins/order-desk-rust.wasm"),
        language => root.join(format!("examples/{language}/build/order-desk-{language}.wasm")),
    }
}

fn micros(began: Instant) -> f64 {
    began.elapsed().as_nanos() as f64 / 1e3
}

type Decide = TypedFunc<(&'static Question,), (Result<Verdict, HookError>,)>;

/// One that is allowed by the desk's own limit.
async fn ask(store: &mut Store<State>, decide: &Decide) -> Result<()> {
    static QUESTION: std::sync::LazyLock<Question> = std::sync::LazyLock::new(|| Question {
        point: "order.allow".to_owned(),
        subject: "O-1".to_owned(),
        payload: Payload { content_type: "application/json".to_owned(), data: br#"{"amount_cents":5}"#.to_vec() },
        attributes: Vec::new(),
    });
    match decide.call_async(&mut *store, (&*QUESTION,)).await? {
        (Ok(Verdict::Allow),) => Ok(()),
        (answer,) => bail!("it answered {answer:?}"),
    }
}

/// A decision reads the configuration, which is empty here; every other capability would be a trap.
fn linker(engine: &Engine, component: &Component) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let mut config = linker.instance("wasi:config/store@0.2.0-rc.1")?;
    config.func_wrap("get", |_, (_key,): (String,)| Ok((Ok::<Option<String>, ConfigError>(None),)))?;
    config.func_wrap("get-all", |_, (): ()| Ok((Ok::<Vec<(String, String)>, ConfigError>(Vec::new()),)))?;
    let types = component.component_type();
    for (name, import) in types.imports(engine).filter(|(name, _)| name.starts_with("plinth:")) {
        let ComponentItem::ComponentInstance(instance) = import.ty else { bail!("it imports {name}, which is no interface") };
        let mut ours = linker.instance(name)?;
        for (name, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => ours.func_new(name, |_, _, _, _| unused())?,
                ComponentItem::Resource(_) => ours.resource(name, ResourceType::host::<()>(), |_, _| Ok(()))?,
                _ => {}
            }
        }
    }
    Ok(linker)
}

fn unused() -> wasmtime::Result<()> {
    Err(wasmtime::Error::msg("a decision has no use for this"))
}

struct State {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoRequests,
    memory: usize,
}

impl Default for State {
    fn default() -> Self {
        let (table, wasi) = (ResourceTable::new(), WasiCtx::builder().build());
        Self { table, wasi, http: WasiHttpCtx::new(), hooks: NoRequests, memory: 0 }
    }
}

struct NoRequests;

type Io = Box<dyn Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send>;

impl wasmtime_wasi_http::WasiHttpHooks for NoRequests {
    fn send_request(
        &mut self,
        _: http::Request<wasmtime_wasi_http::WasiBody>,
        _: Option<wasmtime_wasi_http::RequestOptions>,
        _: Io,
    ) -> Box<dyn Future<Output = Result<(http::Response<wasmtime_wasi_http::WasiBody>, Io), wasmtime_wasi_http::Error>> + Send> {
        Box::new(std::future::ready(Err(wasmtime_wasi_http::Error::HttpRequestDenied)))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// Counts, and allows what the host does.
impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.memory += desired.saturating_sub(current);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

#[derive(ComponentType, Lower)]
#[component(record)]
struct Question {
    point: String,
    subject: String,
    payload: Payload,
    attributes: Vec<(String, String)>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
#[expect(dead_code, reason = "shown through Debug")]
struct Reason {
    code: String,
    message: String,
    details: Vec<(String, String)>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
#[expect(dead_code, reason = "shown through Debug")]
enum Verdict {
    #[component(name = "abstain")]
    Abstain,
    #[component(name = "allow")]
    Allow,
    #[component(name = "amend")]
    Amend(Payload),
    #[component(name = "hold")]
    Hold(Reason),
    #[component(name = "deny")]
    Deny(Reason),
}

#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "a configuration that is there never fails")]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}
