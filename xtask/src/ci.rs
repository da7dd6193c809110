//! `cargo xtask ci`: all of CI, in the order in which it fails soonest.

use crate::{demo, operations, shell, test, tidy};
use anyhow::{Context, Result};
use std::time::Instant;

/// Runs all of CI: fmt, clippy, tidy, test, operations, docs, demo, deny
///
/// Stops at the first step that fails and closes with a table of the steps. This is the whole of
/// `.ci/run`: what passes here passes there.
#[derive(clap::Args)]
pub(crate) struct Args {}

enum Verdict {
    Passed,
    /// Not run, and why.
    Skipped(&'static str),
}

struct Step {
    name: &'static str,
    run: fn() -> Result<Verdict>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", run: || passed(shell::run(&mut shell::cargo(&["fmt", "--all", "--check"]))) },
    Step { name: "clippy", run: clippy },
    Step { name: "tidy", run: || passed(tidy::run(&tidy::Args::check())) },
    Step { name: "test", run: || passed(test::run(&test::Args::everything())) },
    Step { name: "operations", run: || passed(operations::run(&operations::Args {})) },
    Step { name: "docs", run: docs },
    Step { name: "demo", run: || passed(demo::run(&demo::Args::once()?)) },
    Step { name: "deny", run: deny },
];

pub(crate) fn run(_: &Args) -> Result<()> {
    let started = Instant::now();
    let mut rows = Vec::new();
    let mut failure = None;
    for step in STEPS {
        if failure.is_some() {
            rows.push([step.name.to_owned(), "not reached".to_owned(), String::new()]);
            continue;
        }
        println!("\nci: {}", step.name);
        let begun = Instant::now();
        let verdict = match (step.run)() {
            Ok(Verdict::Passed) => "passed".to_owned(),
            Ok(Verdict::Skipped(why)) => format!("skipped: {why}"),
            Err(error) => {
                failure = Some((step.name, error));
                "FAILED".to_owned()
            }
        };
        let time = shell::seconds(begun.elapsed());
        println!("ci: {} {verdict} ({time})", step.name);
        rows.push([step.name.to_owned(), verdict, time]);
    }
    rows.push(["total".to_owned(), String::new(), shell::seconds(started.elapsed())]);
    println!("\n{}", shell::table(["step", "result", "time"], rows));
    if let Some((name, error)) = failure {
        return Err(error).with_context(|| format!("ci failed at {name}"));
    }
    Ok(())
}

fn passed(done: Result<()>) -> Result<Verdict> {
    done.map(|()| Verdict::Passed)
}

fn clippy() -> Result<Verdict> {
    passed(shell::run(&mut shell::cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])))
}

fn docs() -> Result<Verdict> {
    passed(shell::run(shell::cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings")))
}

fn deny() -> Result<Verdict> {
    if !shell::has_cargo("deny") {
        println!("ci: cargo-deny is not installed, so advisories, licences, bans and sources were NOT checked");
        return Ok(Verdict::Skipped("cargo-deny is not installed"));
    }
    passed(shell::run(&mut shell::cargo(&["deny", "--workspace", "check"])))
}
