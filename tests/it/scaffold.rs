//! A plugin as a stranger makes it: scaffolded, tested natively, built, checked, installed, called; and swapped while it is edited.

use plinth_tests::{HostProcess, Scaffold, eventually, figures};
use serde_json::{Value, json};
use std::time::Instant;

const NAME: &str = "order-limits";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plugin_in_rust_lives() {
    lives("rust").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plugin_in_javascript_lives() {
    lives("js").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plugin_in_typescript_lives() {
    lives("ts").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plugin_in_c_lives() {
    lives("c").await;
}

/// One at a time: these take all cores for a while when they are built and compiled.
#[cfg(feature = "languages")]
mod alone {
    use super::lives;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_new_plugin_in_python_lives() {
        lives("python").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_new_plugin_in_go_lives() {
        lives("go").await;
    }
}

async fn lives(lang: &'static str) {
    let mut steps = Steps::new();
    let scaffold = Scaffold::new(lang, NAME);
    steps.done("new_s");
    scaffold.judges_its_rule();
    steps.done("own_test_twice_s");
    scaffold.plinth(&["plugin", "build", "--release"]).ends(0, "good: it would be installed");
    steps.done("build_s");
    scaffold.plinth(&["plugin", "test"]).ends(0, "6 cases, 0 failed");
    steps.done("cases_s");
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(folder.path(), &[]).await;
    steps.done("host_s");
    let install = ["plugin", "install", &format!("build/{NAME}.wasm"), "plugin.toml", "--approve", "--url", host.base()];
    scaffold.plinth(&install).ends(0, "order-limits 0.1.0 answers now");
    steps.done("install_s");
    for (amount, said, reason) in [
        (json!(4_200), "allow", ""),
        (json!(99_999), "allow", ""),
        (json!(100_000), "hold", "review"),
        (json!(0), "deny", "no-amount"),
        (json!(4.5), "deny", "decision.guest-error"),
    ] {
        let answer = decided(&host, &amount).await;
        assert_eq!(answer["verdict"], said, "{amount}: {answer}");
        assert_eq!(answer["reason"]["code"].as_str().unwrap_or_default(), reason, "{amount}: {answer}");
        if said == "hold" {
            assert_eq!(answer["reason"]["details"], json!({"limit-cents": "100000"}));
        }
    }
    for (id, amount) in [("small", json!(4_200)), ("large", json!(250_000)), ("broken", json!(4.5))] {
        host.event("orders.placed", id, id, &json!({"amount_cents": amount})).await;
    }
    host.drained(&format!("events/{NAME}")).await;
    for says in ["allow", "hold"] {
        assert_eq!(host.metric("order_limits_orders_placed_total", &[("says", says)]).await, 1.0, "{says}");
    }
    eventually("the log tells of the order", async || {
        let log = std::fs::read_to_string(folder.path().join("host.log")).unwrap();
        log.lines().any(|line| line.contains("order placed") && line.contains("small") && line.contains("allow")).then_some(())
    })
    .await;
    let letters = host.get(&format!("/v1/queues/events%2F{NAME}/dead-letters")).await.ok();
    let [letter] = letters["dead_letters"].as_array().unwrap().as_slice() else { panic!("one event is broken: {letters}") };
    assert!(letter["last_error"].as_str().unwrap().starts_with("bad-order: "), "{letter}");
    // A line is changed, and the host answers by it.
    let mut dev = scaffold.dev(&["--approve", "--release", "--json", "--url", host.base()]);
    dev.told("live").await;
    let (rule, from, to) = scaffold.rule();
    scaffold.edit(rule, from, to);
    steps.begin();
    dev.told("live").await;
    steps.done("saved_to_live_s");
    assert_eq!(decided(&host, &json!(100_000)).await["verdict"], "allow", "by the changed rule");
    dev.stop().await;
    steps.write(&format!("loop-{lang}"));
    host.stop().await;
}

/// How long each step of a plugin's making took.
struct Steps {
    began: Instant,
    taken: Vec<(&'static str, f64)>,
}

impl Steps {
    fn new() -> Self {
        Self { began: Instant::now(), taken: Vec::new() }
    }

    fn begin(&mut self) {
        self.began = Instant::now();
    }

    fn done(&mut self, step: &'static str) {
        self.taken.push((step, self.began.elapsed().as_secs_f64()));
        self.begin();
    }

    fn write(&self, name: &str) {
        figures::write(name, &self.taken);
    }
}

async fn decided(host: &HostProcess, amount: &Value) -> Value {
    host.post("/v1/decisions/orders.allow", &json!({"subject": "O-1", "payload": {"amount_cents": amount}})).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_saved_is_live_and_what_is_broken_is_not() {
    let scaffold = Scaffold::new("rust", NAME);
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(folder.path(), &[]).await;
    let mut dev = scaffold.dev(&["--approve", "--release", "--json", "--url", host.base()]);
    let judged = async |live: &Value, says: &str| {
        let answer = decided(&host, &json!(4_200)).await;
        assert_eq!((&answer["verdict"], &answer["answers"][0]["version"]), (&json!(says), live), "{answer}");
    };

    let first = dev.told("live").await;
    assert!(first["version"].as_str().unwrap().starts_with("0.1.0+dev."), "{first}");
    assert_eq!(host.slot(NAME).await["digest"], first["digest"]);
    judged(&first["version"], "allow").await;

    scaffold.edit("src/rules.rs", "..=0 =>", "..=5_000 =>");
    let second = dev.told("live").await;
    assert!(second["generation"].as_u64() > first["generation"].as_u64(), "{second}");
    judged(&second["version"], "deny").await;

    scaffold.edit("src/rules.rs", "..=5_000 =>", "..=5_000 = >");
    let broken = dev.told("not-built").await;
    assert_eq!(broken["live"], second["version"], "{broken}");
    judged(&second["version"], "deny").await;

    scaffold.edit("plugin.toml", "limit-cents = 100000", "limit-cents = 0");
    scaffold.edit("src/rules.rs", "..=5_000 = >", "..=6_000 =>");
    let refused = dev.told("refused").await;
    assert!(refused["why"].as_str().unwrap().contains("config.limit-cents") && refused["live"] == second["version"], "{refused}");
    judged(&second["version"], "deny").await;

    let stopped = dev.stop().await;
    assert_eq!(stopped["live"], second["version"], "{stopped}");
    judged(&second["version"], "deny").await;
    host.stop().await;
}

/// What Ctrl-C ends is the whole of a build, with a compiler that would go on for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_ends_with_whoever_asked_for_it() {
    let scaffold = Scaffold::new("c", NAME);
    scaffold.program("python-zig", "echo $$ > compiler; exec sleep 1000");
    let folder = tempfile::tempdir().unwrap();
    let host = HostProcess::start(folder.path(), &[]).await;
    let dev = scaffold.dev(&["--json", "--url", host.base()]);
    let compiler = eventually("the compiler runs", async || scaffold.read("compiler")?.trim().parse::<u32>().ok()).await;
    let runs = || std::path::Path::new(&format!("/proc/{compiler}/cmdline")).exists();
    assert!(runs());
    dev.stop().await;
    eventually("the compiler is gone", async || (!runs()).then_some(())).await;
    host.stop().await;
}

#[test]
fn a_missing_tool_is_named_with_the_command_that_brings_it() {
    let venv = "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt";
    for (lang, what, install) in [
        ("rust", "a Rust compiler for wasm32-unknown-unknown", "rustup target add wasm32-unknown-unknown"),
        ("rust", "a Rust compiler for wasm32-unknown-unknown", "apt-get install rustc-web cargo-web rust-web-src lld-22"),
        ("js", "Node.js", "apt-get install nodejs npm"),
        ("js", "componentize-qjs", "npm install"),
        ("ts", "tsc", "npm install"),
        ("python", "componentize-py 0.25.1", venv),
        ("go", "Go 1.27.1 or later", venv),
        ("c", "a C compiler for WebAssembly", venv),
        ("c", "a C compiler for WebAssembly", "WASI_SDK_PATH"),
    ] {
        let scaffold = Scaffold::without_tools(lang, NAME);
        let said = scaffold.plinth_on("", &["plugin", "build"]).ends(4, what);
        assert!(said.contains(install), "{lang} does not say `{install}`: {said}");
    }
}

#[test]
fn a_tool_of_another_version_is_not_taken() {
    let python = Scaffold::without_tools("python", NAME);
    python.program("componentize-py", "echo componentize-py 0.1.0");
    python.plinth(&["plugin", "build"]).ends(4, "componentize-py 0.25.1 (found 0.1.0)");
    let go = Scaffold::without_tools("go", NAME);
    go.program("go", "echo go1.26.9");
    go.plinth(&["plugin", "build"]).ends(4, "Go 1.27.1 or later (found go1.26.9)");
}

#[test]
fn a_tool_that_fails_is_quoted() {
    let scaffold = Scaffold::without_tools("c", NAME);
    scaffold.program("python-zig", "echo from the compiler; echo its complaint >&2; exit 7");
    let said = scaffold.plinth(&["plugin", "build"]).ends(1, "failed (exit status: 7)");
    for text in ["from the compiler", "its complaint", "python-zig cc -target wasm32-wasi", "src/plugin.c"] {
        assert!(said.contains(text), "`{text}` is not told: {said}");
    }
    scaffold.edit("wit/plugin.wit", "plinth:log/log@1.0.0", "plinth:log/no-log@1.0.0");
    scaffold.plinth(&["plugin", "build"]).ends(2, "no-log");
    scaffold.edit("plugin.toml", "language = \"c\"", "language = \"cobol\"");
    scaffold.plinth(&["plugin", "build"]).ends(2, "cobol");
}

#[test]
fn nothing_is_overwritten_and_no_name_is_taken_that_a_host_would_refuse() {
    let scaffold = Scaffold::without_tools("c", NAME);
    let before = scaffold.files();
    let dir = scaffold.path("");
    let new =
        |name: &str, dir: &std::path::Path| scaffold.plinth(&["plugin", "new", "--lang", "rust", name, "--dir", dir.to_str().unwrap()]);
    new(NAME, &dir).ends(2, "exists and is not empty");
    new(NAME, &scaffold.path("plugin.toml")).ends(2, "is not a folder");
    for (name, why) in
        [("Order-Limits", "lower-case"), ("order--limits", "lower-case"), ("../out", "lower-case"), ("events", "the host's own")]
    {
        new(name, &scaffold.path("new")).ends(2, why);
    }
    new(NAME, &scaffold.path("plugin.toml/below")).ends(2, "is not a folder");
    assert_eq!(scaffold.files(), before);
    scaffold.plinth_on("", &["plugin", "build", "nowhere"]).ends(2, "has no plugin.toml");
}
