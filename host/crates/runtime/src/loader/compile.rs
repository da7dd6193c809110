//! Compiling in a child of our own binary: slow or hostile input costs a process, not the host.

use crate::{LoadError, engine::EngineConfig};
use serde::{Deserialize, Serialize};
use std::{
    io::{Read, Write},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
};

/// How to start the child that compiles, and what it may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CompilerConfig {
    /// This host's own binary; it is called with `compile-worker` and its settings.
    pub program: PathBuf,
    pub memory_bytes: u64,
    pub cpu_seconds: u64,
    pub timeout_ms: u64,
}

impl CompilerConfig {
    pub fn new(program: PathBuf) -> Self {
        Self { program, memory_bytes: 4 << 30, cpu_seconds: 60, timeout_ms: 100_000 }
    }
}

/// Bytes of compiled code a child may answer with.
const CODE_MAX: u64 = 256 << 20;
/// Bytes of a child's complaint that are kept.
const COMPLAINT_MAX: u64 = 16 << 10;

#[derive(Serialize, Deserialize)]
struct Settings {
    engine: EngineConfig,
    memory_bytes: u64,
    cpu_seconds: u64,
}

/// Cancel safe: the child is killed when the future is dropped.
pub(super) async fn in_child(config: &CompilerConfig, engine: &EngineConfig, component: &[u8]) -> Result<Vec<u8>, LoadError> {
    let settings = Settings { engine: engine.clone(), memory_bytes: config.memory_bytes, cpu_seconds: config.cpu_seconds };
    let settings = serde_json::to_string(&settings).map_err(|e| LoadError::Unavailable(e.to_string()))?;
    let limit = Duration::from_millis(config.timeout_ms);
    match tokio::time::timeout(limit, run(config, &settings, component)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(LoadError::Compile(format!("not done after {} ms", config.timeout_ms))),
    }
}

async fn run(config: &CompilerConfig, settings: &str, component: &[u8]) -> Result<Vec<u8>, LoadError> {
    let unavailable = |what: &str, e: std::io::Error| LoadError::Unavailable(format!("{what}: {e}"));
    let mut child = Command::new(&config.program)
        .arg("compile-worker")
        .arg(settings)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| unavailable("could not start the compiling child", e))?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
        return Err(LoadError::Unavailable("the compiling child has no pipes".to_owned()));
    };
    let (mut code, mut complaint) = (Vec::new(), Vec::new());
    let (mut stdout, mut stderr) = (stdout.take(CODE_MAX + 1), stderr.take(COMPLAINT_MAX));
    let feed = async {
        // A child that stops reading has said why, or died; that is reported below.
        let _ = stdin.write_all(component).await;
        drop(stdin);
    };
    let (_, read, _) = futures::join!(feed, stdout.read_to_end(&mut code), stderr.read_to_end(&mut complaint));
    read.map_err(|e| unavailable("could not read the compiled code", e))?;
    let status = child.wait().await.map_err(|e| unavailable("could not wait for the compiling child", e))?;
    if status.success() && code.len() as u64 <= CODE_MAX {
        return Ok(code);
    }
    let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
    Err(LoadError::Compile(match complaint.is_empty() {
        true => format!("the compiling child ended at its limits ({status})"),
        false => complaint,
    }))
}

/// The child's whole life: settings from the argument, component from standard
/// input, code to standard output. An error is for standard error.
pub fn compile_worker(settings: &str) -> Result<(), String> {
    let settings: Settings = serde_json::from_str(settings).map_err(|e| format!("bad settings: {e}"))?;
    limit(&settings)?;
    let engine = settings.engine.build_for_compiling().map_err(|e| format!("{e:#}"))?;
    let mut component = Vec::new();
    std::io::stdin().lock().read_to_end(&mut component).map_err(|e| e.to_string())?;
    let code = engine.precompile_component(&component).map_err(|e| format!("{e:#}"))?;
    std::io::stdout().lock().write_all(&code).map_err(|e| e.to_string())
}

/// Added to the niceness of the child: compiling gives way to the traffic.
const NICENESS: i32 = 10;

fn limit(settings: &Settings) -> Result<(), String> {
    // Without the right to it the child still compiles, only less politely.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    use rustix::process::{Resource, Rlimit, setrlimit};
    let set = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    set(Resource::As, settings.memory_bytes)
        .and_then(|()| set(Resource::Cpu, settings.cpu_seconds))
        .and_then(|()| set(Resource::Core, 0))
        .and_then(|()| set(Resource::Fsize, 0))
        .map_err(|e| format!("could not limit the compiling child: {e}"))
}
