//! Python: componentize-py puts CPython and the sources into a component.

use super::{
    contract::Contract,
    error::BuildError,
    project::Project,
    tools::{Tools, Wanted},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a folder without requirements.txt is advised to install.
const TOOL: &str = "componentize-py==0.25.1";
/// Folders that hold no source of the plugin.
const SKIPPED: [&str; 3] = ["__pycache__", "build", "node_modules"];

pub(super) fn make(project: &Project, tools: &Tools) -> Result<Vec<u8>, BuildError> {
    let tool = find(project, tools)?;
    let entry = project.entry("src/plugin.py")?;
    let contract = Contract::of(project)?;
    let build = project.build_dir();
    let (app, bindings, component) = (build.join("app"), build.join("bindings"), build.join("componentized.wasm"));
    for folder in [&app, &bindings] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(BuildError::write)?;
        }
    }
    // The sources alone: what an interpreter leaves beside them would make the same plugin differ from build to build.
    let sources = project.dir.join(entry.parent().unwrap_or(Path::new("")));
    copy_sources(&sources, &app)?;
    let wit = |command: &mut std::process::Command| {
        command.arg("--quiet").arg("-d").arg(&contract.folder).args(["-w", &contract.name]);
    };
    // For editors: the types of everything imported.
    let mut types = tools.command(&tool);
    wit(&mut types);
    tools.run(types.arg("bindings").arg(&bindings))?;
    let mut componentize = tools.command(&tool);
    wit(&mut componentize);
    let module = entry.file_stem().unwrap_or_default();
    tools.run(componentize.arg("componentize").arg("-p").arg(&app).arg(module).arg("-o").arg(&component))?;
    fs::read(&component).map_err(BuildError::read(component))
}

/// The tool, of the version that the folder pins if it pins one.
fn find(project: &Project, tools: &Tools) -> Result<PathBuf, BuildError> {
    let found = tools.find("componentize-py");
    let pinned = tools.requirement(TOOL);
    let version = found.as_ref().and_then(|tool| tools.said(tool, &["--version"]));
    let version = version.as_deref().map(|text| text.trim_start_matches("componentize-py").trim());
    let fits = pinned.is_none() || pinned.as_deref() == version;
    let name = pinned.as_deref().map_or("componentize-py".to_owned(), |pinned| format!("componentize-py {pinned}"));
    let what = if let (Some(version), false) = (version, fits) { format!("{name} (found {version})") } else { name };
    let mut wanted = Wanted::default();
    wanted.need(found.filter(|_| fits && version.is_some()), &what, &[&tools.pip(TOOL)]).ok_or_else(|| wanted.missing(project))
}

fn copy_sources(from: &Path, into: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(into).map_err(BuildError::write)?;
    for entry in from.read_dir().map_err(BuildError::read(from))? {
        let path = entry.map_err(BuildError::read(from))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
            copy_sources(&path, &into.join(name))?;
        } else if path.extension().is_some_and(|ending| ending == "py") {
            fs::copy(&path, into.join(name)).map_err(BuildError::read(path))?;
        }
    }
    Ok(())
}
