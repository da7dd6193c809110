//! `cargo xtask museum`: keeps components and WIT of the present version of the contract, for later hosts to be tested with.

use crate::{languages, plugins, shell, toolchains};
use anyhow::{Context, Result, ensure};
use std::{fs, path::Path};

/// As small as it gets: it stays in the repository for ever.
const LEVEL: i32 = 19;

/// Keeps the order desk in Rust and JavaScript, and the WIT, of the present version in tests/museum
///
/// Once for each version that is released; what is there already is not changed.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args) -> Result<()> {
    let wit = shell::root().join("wit");
    let platform = fs::read_to_string(wit.join("platform.wit"))?;
    let version =
        platform.split_once("plinth:platform@").and_then(|(_, rest)| rest.split(';').next()).context("wit/platform.wit has no version")?;
    let folder = shell::root().join("tests/museum").join(version);
    ensure!(!folder.exists(), "{} is kept already", folder.display());
    plugins::build()?;
    shell::build_host()?;
    let tools = toolchains::prepare(toolchains::For::Languages)?;
    languages::build("javascript", &tools)?;
    copy(&wit, &folder.join("wit"))?;
    copy(&wit.join("deps"), &folder.join("wit/deps"))?;
    for (language, component) in
        [("rust", "target/plugins/order-desk-rust.wasm"), ("javascript", "examples/javascript/build/order-desk-javascript.wasm")]
    {
        let component = fs::read(shell::root().join(component)).with_context(|| component.to_owned())?;
        fs::write(folder.join(format!("{language}.wasm.zst")), zstd::encode_all(component.as_slice(), LEVEL)?)?;
        fs::copy(shell::root().join("examples").join(language).join("plugin.toml"), folder.join(format!("{language}.toml")))?;
    }
    println!("{} is kept", folder.display());
    Ok(())
}

/// The WIT files of a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|ending| ending == "wit")) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
