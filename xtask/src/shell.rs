//! Running other programs: every chore is somebody else's command with a name in front.

use anyhow::{Context, Result, bail};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle, presets};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// The host's binary in the profile that demo and tests share.
pub(crate) const HOST_BINARY: &str = "target/debug/plinth";

/// Where the workspace is; xtask is built inside it and never leaves it.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A cargo call at the root. All chores select the whole workspace, because
/// cargo unites features over what is selected: another selection would build
/// half of the dependencies a second time.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(args).current_dir(root());
    command
}

/// Runs to the end with the user's terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    let status = command.status().with_context(|| format!("could not start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Runs to the end and answers what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` did not print text"))
}

/// Whether a subcommand of cargo is installed.
pub(crate) fn has_cargo(subcommand: &str) -> bool {
    output(&mut cargo(&[subcommand, "--version"])).is_ok()
}

pub(crate) fn build_host() -> Result<()> {
    run(&mut cargo(&["build", "--workspace", "--bin", "plinth"]))
}

/// The commit a figure belongs to.
pub(crate) fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short=12", "HEAD"]).current_dir(root());
    output(&mut git).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

const LINES: TableStyle = presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());

/// A table as all chores print it: a first column of names, numbers to the right.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_style(LINES).set_header(header).add_rows(rows);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

fn line_of(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command() {
        let error = run(&mut cargo(&["no-such-subcommand"])).unwrap_err();
        assert!(error.to_string().contains("cargo no-such-subcommand"), "{error}");
    }

    #[test]
    fn the_root_has_the_contract() {
        assert!(root().join("wit").is_dir());
    }
}
