//! The command that gives servers to a test run.

use super::eventually;
use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

const PRINT: &str = "echo $PLINTH_TEST_REDIS $PLINTH_TEST_RABBITMQ $PLINTH_TEST_POSTGRES";

fn up(script: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plinth-services"));
    command.args(["up", "--", "sh", "-c", script]).stdout(Stdio::piped());
    command
}

/// The addresses in the three URLs.
fn addresses(line: &str) -> Vec<String> {
    let found: Vec<String> = line.split_whitespace().filter_map(|url| Some(url.rsplit(['@', '/']).next()?.to_owned())).collect();
    assert_eq!(found.len(), 3, "{line}");
    found
}

#[tokio::test]
async fn the_command_has_servers_its_exit_code_is_passed_on_and_they_end_with_it() {
    let output = up(&format!("{PRINT}; exit 7")).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    for address in addresses(&String::from_utf8(output.stdout).unwrap()) {
        TcpStream::connect(&address).expect_err("the servers ended with the command");
    }
}

#[tokio::test]
async fn servers_die_with_one_who_could_not_clean_up() {
    // The command ends by itself when its standard input does.
    // What is killed leaves its folders behind; these go with ours, which the user of PostgreSQL has to pass.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = up(&format!("{PRINT}; read end")).env("TMPDIR", dir.path()).stdin(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addresses = addresses(&line);
    for address in &addresses {
        TcpStream::connect(address).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for address in &addresses {
        eventually("the end of a server", async || TcpStream::connect(address).map_or(Ok(()), Err)).await;
    }
}

#[test]
fn nothing_is_missing_where_the_tests_run() {
    let output = Command::new(env!("CARGO_BIN_EXE_plinth-services")).arg("missing").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}
