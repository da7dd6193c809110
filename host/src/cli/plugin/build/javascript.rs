//! JavaScript and TypeScript: componentize-qjs puts QuickJS and the sources into a component.

use super::{
    contract::Contract,
    error::BuildError,
    project::Project,
    tools::{Tools, Wanted},
    typings,
};
use std::{
    fs,
    path::{Path, PathBuf},
};

const NODE: &str = "apt-get install nodejs npm    # or from https://nodejs.org/";

pub(super) fn make(project: &Project, tools: &Tools) -> Result<Vec<u8>, BuildError> {
    let mut wanted = Wanted::default();
    let qjs = need_engine(&mut wanted, tools);
    // Types are checked where the folder asks for it.
    let checked = project.dir.join("tsconfig.json").is_file();
    let tsc = if checked { need(&mut wanted, tools, "tsc", "typescript") } else { None };
    let Some(qjs) = qjs.filter(|_| checked == tsc.is_some()) else { return Err(wanted.missing(project)) };
    let entry = project.dir.join(project.entry("src/plugin.js")?);
    let contract = described(project)?;
    if let Some(tsc) = tsc {
        tools.run(tools.command(&tsc).args(["-p", ".", "--noEmit"]))?;
    }
    componentize(project, tools, &qjs, &contract, &entry)
}

pub(super) fn make_from_typescript(project: &Project, tools: &Tools) -> Result<Vec<u8>, BuildError> {
    let mut wanted = Wanted::default();
    let qjs = need_engine(&mut wanted, tools);
    let tsc = need(&mut wanted, tools, "tsc", "typescript");
    let (Some(qjs), Some(tsc)) = (qjs, tsc) else { return Err(wanted.missing(project)) };
    let entry = project.entry("src/plugin.ts")?;
    let contract = described(project)?;
    let scripts = project.build_dir().join("js");
    if scripts.exists() {
        fs::remove_dir_all(&scripts).map_err(BuildError::write)?;
    }
    let sources = entry.parent().unwrap_or(Path::new(""));
    let root = project.dir.join(sources);
    tools.run(tools.command(&tsc).args(["-p", ".", "--noEmit", "false"]).arg("--rootDir").arg(root).arg("--outDir").arg(&scripts))?;
    let made = scripts.join(entry.strip_prefix(sources).unwrap_or(&entry)).with_extension("js");
    componentize(project, tools, &qjs, &contract, &made)
}

/// The plugin's WIT, with the types of everything imported beside it.
fn described(project: &Project) -> Result<Contract, BuildError> {
    let contract = Contract::of(project)?;
    let types = project.build_dir().join("types/plugin.d.ts");
    plinth_guest_build::write_if_changed(&types, typings::declarations(&contract).as_bytes()).map_err(BuildError::write)?;
    Ok(contract)
}

fn componentize(project: &Project, tools: &Tools, qjs: &Path, contract: &Contract, entry: &Path) -> Result<Vec<u8>, BuildError> {
    let component = project.build_dir().join("componentized.wasm");
    let mut command = tools.command(qjs);
    command.arg("--wit").arg(&contract.folder).args(["--world", &contract.name]).arg("--js").arg(entry);
    command.arg("--module-root").arg(entry.parent().unwrap_or(&project.dir));
    // Not --stub-wasi: it would stub wasi:config as well, which is how a plugin reads its configuration.
    command.arg("--sync").arg("--output").arg(&component);
    tools.run(&mut command)?;
    fs::read(&component).map_err(BuildError::read(component))
}

fn need(wanted: &mut Wanted, tools: &Tools, program: &str, package: &str) -> Option<PathBuf> {
    let listed = tools.in_package_json(package);
    let install = if listed { "npm install".to_owned() } else { format!("npm install --save-dev {package}") };
    wanted.need(tools.find(program), &format!("{program}, of the npm package {package}"), &[&tools.inside(&install)])
}

fn need_engine(wanted: &mut Wanted, tools: &Tools) -> Option<PathBuf> {
    let node = wanted.need(tools.find("node"), "Node.js 20 or later", &[NODE]);
    need(wanted, tools, "componentize-qjs", "componentize-qjs").filter(|_| node.is_some())
}
