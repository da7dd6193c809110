//! The servers that tests talk to: installed where they are missing, and up while a command runs.

use crate::{python, shell};
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

const BINARY: &str = "target/debug/plinth-services";
/// Debian asks it whether a package may start its daemon.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Builds the tool that starts servers and makes sure that there are servers to start.
pub(crate) fn prepare() -> Result<PathBuf> {
    shell::run(&mut shell::cargo(&["build", "--workspace", "--bin", "plinth-services"]))?;
    let tool = shell::root().join(BINARY);
    let packages = missing(&tool)?;
    if !packages.is_empty() {
        println!("test: installing what the tests talk to: {}", packages.join(" "));
        install(&packages).with_context(|| advice(&packages))?;
        let still = missing(&tool)?;
        if !still.is_empty() {
            bail!("{} cannot be found after its installation; {}", still.join(" "), advice(&still));
        }
    }
    let requirements = shell::root().join("tests/services/requirements.txt");
    let installed = shell::root().join("target/services/installed.txt");
    if fs::read(&requirements)? != fs::read(&installed).unwrap_or_default() {
        println!("test: installing the S3-compatible store of the tests");
        python::install(&shell::root().join("target/services"), ["--requirement".as_ref(), requirements.as_os_str()])?;
        fs::copy(&requirements, installed)?;
    }
    Ok(tool)
}

/// The command, to be run while the servers are up.
pub(crate) fn under(tool: &Path, command: &Command) -> Command {
    let mut whole = Command::new(tool);
    whole.args(["up", "--"]).arg(command.get_program()).args(command.get_args()).current_dir(shell::root());
    whole
}

fn missing(tool: &Path) -> Result<Vec<String>> {
    let printed = shell::output(Command::new(tool).arg("missing"))?;
    Ok(printed.lines().map(str::to_owned).collect())
}

fn advice(packages: &[String]) -> String {
    format!("the tests need servers; install them by `sudo apt-get install --no-install-recommends {}`", packages.join(" "))
}

fn install(packages: &[String]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root may install packages");
    }
    let _policy = Policy::forbid_daemons(Path::new(POLICY))?;
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-o", "DPkg::Lock::Timeout=600"]).args(args).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    shell::run(&mut apt(&["update"]))?;
    shell::run(apt(&["install", "-y", "--no-install-recommends"]).args(packages))
}

/// Keeps packages from starting daemons on the default ports, where somebody else's may run.
struct Policy<'a> {
    ours: Option<&'a Path>,
}

impl<'a> Policy<'a> {
    /// A policy that the machine has already is left as it is.
    fn forbid_daemons(path: &'a Path) -> Result<Self> {
        let mut file = match File::create_new(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(Self { ours: None }),
            Err(error) => return Err(error).with_context(|| format!("could not write {}", path.display())),
        };
        let policy = Self { ours: Some(path) };
        file.write_all(b"#!/bin/sh\nexit 101\n")?;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        Ok(policy)
    }
}

impl Drop for Policy<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.ours
            && let Err(error) = fs::remove_file(path)
        {
            println!("test: could not remove {}: {error}; without it packages start their daemons again", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_its_words_under_the_tool() {
        let whole = under(Path::new("/tool"), Command::new("cargo").args(["test", "--", "a b"]));
        let words: Vec<_> = whole.get_args().collect();
        assert_eq!(words, ["up", "--", "cargo", "test", "--", "a b"]);
    }

    #[test]
    fn a_policy_of_ours_goes_and_one_of_the_machine_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        drop(Policy::forbid_daemons(&path).unwrap());
        assert!(!path.exists());
        fs::write(&path, "theirs").unwrap();
        drop(Policy::forbid_daemons(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }

    #[test]
    fn a_policy_forbids_while_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy-rc.d");
        let _policy = Policy::forbid_daemons(&path).unwrap();
        assert_eq!(Command::new(&path).arg("redis-server").arg("start").status().unwrap().code(), Some(101));
    }

    #[test]
    fn advice_names_the_packages() {
        assert!(advice(&["redis-server".to_owned()]).contains("apt-get install --no-install-recommends redis-server"));
    }
}
