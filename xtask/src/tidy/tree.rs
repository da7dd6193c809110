//! The files of the repository as text, and the rules for all of them: nothing of one machine.

use super::Problem;
use crate::shell;
use anyhow::Result;
use std::{path::Path, process::Command};

pub(super) struct File {
    /// From the root, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

pub(super) struct Tree {
    pub(super) files: Vec<File>,
    /// Every path, files that are not text included.
    pub(super) paths: Vec<String>,
}

impl Tree {
    /// What git has or would add, so that build output is never judged.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
        let paths: Vec<String> = shell::output(&mut git)?.split_terminator('\0').map(str::to_owned).collect();
        let text = |path: &String| Some(File { path: path.clone(), text: std::fs::read_to_string(root.join(path)).ok()? });
        Ok(Self { files: paths.iter().filter_map(text).collect(), paths })
    }

    pub(super) fn with_ending(&self, ending: &str) -> impl Iterator<Item = &File> {
        self.files.iter().filter(move |file| file.path.ends_with(ending))
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Folders that exist on one machine only.
const MACHINE_FOLDERS: [&str; 3] = ["work", "root", "home"];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const NPM: &str = "https://registry.npmjs.org/";
/// Settings that send a package manager to another host than its own.
const MIRROR_KEYS: [&str; 5] =
    [concat!("replace-", "with"), concat!("[source", "."), concat!("[registries", "."), concat!("index", "-url"), concat!("GOPROXY", "=")];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    tree.files.iter().flat_map(|file| of_one_machine(&file.path, &file.text)).collect()
}

fn of_one_machine(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(folder) = MACHINE_FOLDERS.iter().find(|folder| has_absolute(line, folder)) {
            problems.push(Problem::new(path, number, format!("a path below /{folder}/ exists on one machine only")));
        }
        if let Some(key) = MIRROR_KEYS.iter().find(|key| line.contains(**key)) {
            problems.push(Problem::new(path, number, format!("`{key}` names a registry host, which is the machine's business")));
        }
        if other_source(path, line) {
            problems.push(Problem::new(path, number, "this package was locked from another host than the public registry"));
        }
    }
    problems
}

/// `/folder/` at the start of a path, and not inside a longer one.
fn has_absolute(line: &str, folder: &str) -> bool {
    let pattern = format!("/{folder}/");
    let starts_a_path = |at: usize| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        before.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '*' | '}' | ')')))
    };
    line.match_indices(&pattern).any(|(at, _)| starts_a_path(at))
}

fn other_source(path: &str, line: &str) -> bool {
    let value = |key: &str| line.trim().strip_prefix(key)?.split('"').next();
    match path.rsplit('/').next() {
        Some("Cargo.lock") => value("source = \"").is_some_and(|source| source != CRATES_IO),
        Some("package-lock.json") => value("\"resolved\": \"").is_some_and(|source| !source.starts_with(NPM)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        of_one_machine(path, text).into_iter().map(|problem| problem.line).collect()
    }

    #[test]
    fn a_path_of_a_machine_is_found() {
        let text = "fine\ncd /wo__rk/main\n\"/ro__ot/.cargo\"\n".replace("__", "");
        assert_eq!(lines("a.md", &text), [2, 3]);
    }

    #[test]
    fn a_relative_path_is_fine() {
        let text = "target/wo__rk/x ../ro__ot/y https://h/ho__me/z ${dir}/wo__rk/\n".replace("__", "");
        assert_eq!(lines("a.md", &text), Vec::<usize>::new());
    }

    #[test]
    fn mirrors_are_found() {
        assert_eq!(lines(".cargo/config.toml", &format!("[source{}crates-io]\nreplace{}with = \"m\"\n", ".", "-")), [1, 2]);
        let lock = format!("source = \"{CRATES_IO}\"\nsource = \"registry+https://mirror.example/index\"\n");
        assert_eq!(lines("Cargo.lock", &lock), [2]);
        let lock = format!("\"resolved\": \"{NPM}a\",\n\"resolved\": \"https://mirror.example/a\",\n");
        assert_eq!(lines("examples/js/package-lock.json", &lock), [2]);
    }
}
