//! The second baseline: hyper, wasmtime and a fresh instance per request, as the
//! documentation of wasmtime-wasi-http shows it; no host around it.

use crate::{child::READY, engine, native::accept};
use anyhow::{Context, Result, bail};
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{path::Path, sync::Arc};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_util::task::TaskTracker;
use wasmtime::{
    Store,
    component::{Component, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
    p2::{
        bindings::{ProxyPre, http::types::Scheme},
        body::HyperOutgoingBody,
    },
};

pub(crate) async fn run(component: &Path) -> Result<()> {
    let engine = engine::build()?;
    engine::start_clock(&engine)?;
    let component = std::fs::read(component).with_context(|| format!("could not read {}", component.display()))?;
    let mut linker = Linker::<State>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    let pre = ProxyPre::new(linker.instantiate_pre(&Component::new(&engine, component)?)?)?;
    let server = Arc::new(Bare { pre, tasks: TaskTracker::new() });
    let listener = TcpListener::bind("127.0.0.1:0").await.context("could not listen")?;
    println!("{READY}{}", listener.local_addr()?);
    loop {
        let Some(stream) = accept(&listener).await else { continue };
        let serving = server.clone();
        server.tasks.spawn(async move {
            let service = service_fn(move |request| {
                let serving = serving.clone();
                async move { serving.handle(request).await.inspect_err(|error| eprintln!("bare: {error:#}")) }
            });
            let _ = http1::Builder::new().keep_alive(true).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

struct Bare {
    pre: ProxyPre<State>,
    tasks: TaskTracker,
}

impl Bare {
    async fn handle(&self, request: Request<Incoming>) -> Result<Response<HyperOutgoingBody>> {
        let state =
            State { wasi: WasiCtx::builder().build(), http: WasiHttpCtx::new(), table: ResourceTable::new(), outgoing: NoOutgoingHttp };
        let mut store = Store::new(self.pre.engine(), state);
        engine::bound(&mut store);
        let (sender, receiver) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request)?;
        let answer = store.data_mut().http().new_response_outparam(sender)?;
        let pre = self.pre.clone();
        // In a task of its own, so that the guest can go on after the head.
        let task = self.tasks.spawn(async move {
            let proxy = pre.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, answer).await
        });
        match receiver.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(code)) => bail!("the guest answered with {code:?}"),
            Err(_dropped) => {
                task.await??;
                bail!("the guest set no response")
            }
        }
    }
}

struct State {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    outgoing: NoOutgoingHttp,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outgoing }
    }
}

struct NoOutgoingHttp;

type Sent = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for NoOutgoingHttp {
    fn send_request(
        &mut self,
        _: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Sent,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Sent), Error>> + Send> {
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}
