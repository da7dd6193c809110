//! Python and npm, which bring everything else that is not Rust: from Debian if need be.

use crate::shell;
use anyhow::{Result, bail};
use std::{path::Path, process::Command};

/// What a machine has to bring, how one sees that it does, and Debian's packages for it.
const NEEDED: [(&str, &[&str], &[&str]); 2] =
    [("python3", &["-c", "import ensurepip, venv"], &["python3", "python3-venv"]), ("npm", &["--version"], &["npm"])];

/// Installs what is missing, and says so; `what` cannot be done without it.
pub(crate) fn has_python_and_npm(what: &str) -> Result<()> {
    let packages = missing(|program, arguments| shell::output(Command::new(program).args(arguments)).is_ok());
    if packages.is_empty() {
        return Ok(());
    }
    if Path::new("/etc/debian_version").exists() {
        println!("running `apt-get update` and `apt-get install {}`", packages.join(" "));
        // Old lists are often good enough, so a failed update decides nothing.
        let _old_lists = shell::output(Command::new("apt-get").arg("update"));
        let install = ["install", "-y", "--no-install-recommends"];
        if let Err(error) = shell::output(Command::new("apt-get").args(install).args(&packages)) {
            println!("{error:#}");
        }
    }
    match missing(|program, arguments| shell::output(Command::new(program).args(arguments)).is_ok()) {
        none if none.is_empty() => Ok(()),
        packages => bail!("{what} without {}: install them", packages.join(", ")),
    }
}

fn missing(works: impl Fn(&str, &[&str]) -> bool) -> Vec<&'static str> {
    NEEDED.iter().filter(|(program, arguments, _)| !works(program, arguments)).flat_map(|(.., packages)| packages.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_work_is_named_by_its_packages() {
        assert_eq!(missing(|_, _| true), Vec::<&str>::new());
        assert_eq!(missing(|program, _| program == "npm"), ["python3", "python3-venv"]);
        assert_eq!(missing(|program, _| program == "python3"), ["npm"]);
    }
}
