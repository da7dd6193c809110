//! `cargo xtask test`: plugins, host, then every test of the workspace.

use crate::{plugins, services, shell, toolchains};
use anyhow::{Context, Result};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

const JUNIT: &str = "target/nextest/default/junit.xml";
const SLOWEST: usize = 5;

/// Builds the plugins and the host, then runs all tests
///
/// With cargo-nextest where it is installed (it also names the slowest tests), with `cargo test`
/// otherwise; the tests are the same. Examples: `cargo xtask test swap` runs the tests whose names
/// contain "swap", `cargo xtask test -p plinth-runtime` those of one crate. Tests of backends talk to a
/// Redis, a RabbitMQ and a PostgreSQL of this run, and to private ones; packages that are missing are
/// installed if this is root's shell. What JavaScript and C plugins are built with is installed into target/toolchains.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Filters and options for the test runner, passed on as they are
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    filter: Vec<String>,
}

impl Args {
    pub(crate) fn everything() -> Self {
        Self { filter: Vec::new() }
    }

    /// A selection of the user's own replaces the whole workspace.
    fn selection(&self) -> &'static [&'static str] {
        let own = self.filter.iter().any(|arg| arg == "-p" || arg.starts_with("--package"));
        if own { &[] } else { &["--workspace"] }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    println!("test: building plugins and fixtures");
    plugins::build()?;
    println!("test: building the host");
    shell::build_host()?;
    println!("test: looking for what plugins of other languages are built with");
    toolchains::prepare(toolchains::For::Tests)?;
    println!("test: looking for the servers that tests talk to");
    let tool = services::prepare()?;
    if shell::has_cargo("nextest") {
        nextest(args, &tool)?;
    } else {
        println!("test: cargo-nextest is not installed, so `cargo test` runs the same tests");
        let mut tests = shell::cargo(&["test", "--no-fail-fast", "--tests"]);
        shell::run(&mut services::under(&tool, tests.args(args.selection()).args(&args.filter)))?;
    }
    if args.filter.is_empty() {
        println!("test: running the doc tests of plinth-capability");
        shell::run(&mut shell::cargo(&["test", "--doc", "--package", "plinth-capability"]))?;
    }
    println!("test: all passed");
    Ok(())
}

fn nextest(args: &Args, tool: &Path) -> Result<()> {
    println!("test: running the tests with cargo-nextest");
    let started = SystemTime::now();
    let mut tests = shell::cargo(&["nextest", "run"]);
    let done = shell::run(&mut services::under(tool, tests.args(args.selection()).args(&args.filter)));
    let junit = shell::root().join(JUNIT);
    // A report from an earlier run would name the wrong tests.
    if std::fs::metadata(&junit).and_then(|meta| meta.modified()).is_ok_and(|written| written >= started) {
        let report = std::fs::read_to_string(&junit).with_context(|| format!("could not read {}", junit.display()))?;
        println!("test: the {SLOWEST} slowest");
        for (name, time) in slowest(&report, SLOWEST) {
            println!("  {:>8}  {name}", shell::seconds(time));
        }
    }
    done.context("tests failed; the summary above names them")
}

/// The tests of a JUnit report that took longest, slowest first.
fn slowest(report: &str, count: usize) -> Vec<(String, Duration)> {
    let mut tests: Vec<(String, Duration)> = report.split("<testcase ").skip(1).filter_map(test_case).collect();
    tests.sort_by(|(a, time_a), (b, time_b)| time_b.cmp(time_a).then_with(|| a.cmp(b)));
    tests.truncate(count);
    tests
}

fn test_case(text: &str) -> Option<(String, Duration)> {
    let (attributes, _) = text.split_once('>')?;
    let time = attribute(attributes, "time")?.parse().ok().and_then(|secs| Duration::try_from_secs_f64(secs).ok())?;
    Some((format!("{} {}", attribute(attributes, "classname")?, attribute(attributes, "name")?), time))
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = format!(" {attributes}").find(&format!(" {name}=\"")).and_then(|at| attributes.get(at..))?.split_once("=\"")?;
    rest.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"<testsuites><testsuite name="a" time="9.0">
        <testcase name="swap::quick" classname="plinth-tests" timestamp="x" time="0.120"></testcase>
        <testcase name="swap::slow" classname="plinth-tests" timestamp="x" time="3.500"><system-out>time="99"</system-out></testcase>
        <testcase name="tree" classname="plinth-audit" time="0.300"/>
    </testsuite></testsuites>"#;

    #[test]
    fn the_slowest_come_first() {
        let names: Vec<String> = slowest(REPORT, 2).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["plinth-tests swap::slow", "plinth-audit tree"]);
    }

    #[test]
    fn a_name_is_not_the_end_of_another() {
        assert_eq!(attribute(r#"classname="c" name="n""#, "name"), Some("n"));
        assert_eq!(attribute(r#"classname="c" name="n""#, "time"), None);
    }

    #[test]
    fn a_package_replaces_the_workspace() {
        let args = |words: &[&str]| Args { filter: words.iter().map(|&word| word.to_owned()).collect() };
        assert_eq!(args(&["swap"]).selection(), ["--workspace"]);
        assert!(args(&["-p", "plinth-api"]).selection().is_empty());
    }
}
