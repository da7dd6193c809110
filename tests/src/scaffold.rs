//! A folder that `plinth plugin new` has made, and the commands its README names.

use crate::{binary, eventually_within, root};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout},
};

/// Where `cargo xtask test` and `cargo xtask languages` put what plugins are built with.
const TOOLCHAINS: &str = "target/toolchains";
/// A first build compiles the SDK's dependencies, or another test's build goes before it.
const BUILT_WITHIN: Duration = Duration::from_secs(200);

pub struct Scaffold {
    _folder: TempDir,
    dir: PathBuf,
    lang: &'static str,
}

/// How a command has ended.
pub struct Ended {
    line: String,
    output: Output,
}

impl Scaffold {
    /// With the tools of its language, as if its README had been followed.
    pub fn new(lang: &'static str, name: &str) -> Self {
        let scaffold = Self::without_tools(lang, name);
        for environment in ["node_modules", ".venv"] {
            symlink(root().join(TOOLCHAINS).join(environment), scaffold.dir.join(environment)).expect("a new folder");
        }
        scaffold
    }

    pub fn without_tools(lang: &'static str, name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("plugin");
        let output = Command::new(binary()).args(["plugin", "new", "--lang", lang, name, "--dir"]).arg(&dir).output();
        Ended { line: format!("plugin new --lang {lang}"), output: output.expect("plinth runs") }.ends(0, "plinth plugin build");
        Self { _folder: folder, dir, lang }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    pub fn read(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.path(file)).ok()
    }

    /// Every file with its text.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.dir.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in folder.read_dir().expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() { folders.push(path) } else { drop(files.insert(path.clone(), std::fs::read(path).expect("a file"))) }
            }
        }
        files
    }

    /// Changes one place of a file, which has to be there.
    #[track_caller]
    pub fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file).expect("a file of the template");
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {file}");
        std::fs::write(self.path(file), text.replace(from, to)).expect("the file can be written");
    }

    /// A program of the folder's own environment, in the shell's words.
    pub fn program(&self, name: &str, script: &str) {
        let programs = self.path(".venv/bin");
        if programs.is_symlink() || programs.parent().is_some_and(Path::is_symlink) {
            std::fs::remove_file(self.path(".venv")).expect("a link");
        }
        std::fs::create_dir_all(&programs).expect("a folder");
        let path = programs.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// The binary in this folder.
    pub fn plinth(&self, arguments: &[&str]) -> Ended {
        self.run(Command::new(binary()).args(arguments))
    }

    /// As `plinth`, with another search path.
    pub fn plinth_on(&self, path: &str, arguments: &[&str]) -> Ended {
        self.run(Command::new(binary()).args(arguments).env("PATH", path))
    }

    /// The file with the rule, and a place in it where an order of just the limit is held, or with the second text allowed.
    pub fn rule(&self) -> (&'static str, &'static str, &'static str) {
        match self.lang {
            "rust" => ("src/rules.rs", "amount < limit_cents", "amount <= limit_cents"),
            "js" => ("src/rules.js", "amountCents < limitCents", "amountCents <= limitCents"),
            "ts" => ("src/rules.ts", "amountCents < limitCents", "amountCents <= limitCents"),
            "python" => ("src/rules.py", "amount_cents < limit_cents", "amount_cents <= limit_cents"),
            "go" => ("rules/rules.go", "amountCents < limitCents", "amountCents <= limitCents"),
            _ => ("src/rules.c", "amount_cents < limit_cents", "amount_cents <= limit_cents"),
        }
    }

    /// Its own test passes, and does not once the rule is changed.
    pub fn judges_its_rule(&self) {
        let (rule, from, to) = self.rule();
        self.own_test().ends(0, "");
        self.edit(rule, from, to);
        assert_ne!(
            self.own_test().output.status.code(),
            Some(0),
            "the test of a new plugin in {} passes whatever its rule says",
            self.lang
        );
        self.edit(rule, to, from);
    }

    fn own_test(&self) -> Ended {
        let (program, arguments): (PathBuf, &[&str]) = match self.lang {
            "rust" => ("cargo".into(), &["test"]),
            "js" | "ts" => ("npm".into(), &["test"]),
            "python" => ("python3".into(), &["-m", "unittest"]),
            "go" => (self.path(".venv/bin/go"), &["test", "./rules"]),
            _ => ("make".into(), &["test"]),
        };
        self.run(Command::new(program).args(arguments))
    }

    fn run(&self, command: &mut Command) -> Ended {
        let line = format!("{:?} {:?}", command.get_program(), command.get_args().collect::<Vec<&OsStr>>());
        let output = command.current_dir(&self.dir).env("CARGO_TARGET_DIR", target_dir()).stdin(Stdio::null()).output();
        Ended { output: output.unwrap_or_else(|e| panic!("{line}: {e}")), line }
    }

    /// `plinth plugin dev` on this folder.
    pub fn dev(&self, arguments: &[&str]) -> Dev {
        let mut command = tokio::process::Command::new(binary());
        command.args(["plugin", "dev"]).args(arguments).current_dir(&self.dir).env("CARGO_TARGET_DIR", target_dir());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("plinth runs");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Dev { child, lines }
    }
}

/// Shared with the guests of the workspace, so that what all of them depend on is compiled once.
fn target_dir() -> PathBuf {
    root().join("target/guests")
}

impl Ended {
    /// What was said, which has to hold `text`.
    #[track_caller]
    pub fn ends(&self, code: i32, text: &str) -> String {
        let said = format!("{}{}", String::from_utf8_lossy(&self.output.stdout), String::from_utf8_lossy(&self.output.stderr));
        assert_eq!(self.output.status.code(), Some(code), "{}: {said}", self.line);
        assert!(said.contains(text), "{} does not say `{text}`: {said}", self.line);
        said
    }
}

pub struct Dev {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    /// The next event, which has to be this one; what tools print in between is theirs.
    pub async fn told(&mut self, event: &str) -> Value {
        let mut next = async || {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                eprintln!("{line}");
                match serde_json::from_str::<Value>(&line) {
                    Ok(told) if told["event"] != "watching" => return told,
                    _ => {}
                }
            }
            panic!("`plugin dev` has ended before it told `{event}`")
        };
        let told = tokio::time::timeout(BUILT_WITHIN, next()).await.unwrap_or_else(|_| panic!("`plugin dev` did not tell `{event}`"));
        assert_eq!(told["event"], event, "{told}");
        told
    }

    /// As by Ctrl-C; its last word.
    pub async fn stop(mut self) -> Value {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw).expect("it runs");
        kill_process(id, Signal::INT).expect("our own child can be told");
        let told = self.told("stopped").await;
        let status = eventually_within(Duration::from_secs(10), "it ends", async || self.child.try_wait().expect("a child")).await;
        assert!(status.success(), "it did not stop well: {status}");
        told
    }
}
