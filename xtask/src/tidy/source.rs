//! Rules for Rust files: a first line that says why the file exists, a length, calls that never ship.

use super::{Problem, tree::Tree};

const LINES_MAX: usize = 400;
const REASON: &str = "Reason for the length:";

/// What a line must not contain, and what to do instead. In two halves, so that
/// this file does not break its own rule.
const FORBIDDEN: [(&str, &str); 6] = [
    (concat!("todo", "!("), "write it or leave it out"),
    (concat!("unimplemented", "!("), "write it or leave it out"),
    (concat!("dbg", "!("), "use tracing, or take it out"),
    (concat!("#[ig", "nore"), "a test that does not run is no test"),
    (concat!("#[al", "low("), "use #[expect(…, reason = \"…\")]"),
    (concat!("#![al", "low("), "use #![expect(…, reason = \"…\")]"),
];
const SLEEP: &str = concat!("sle", "ep(");

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    tree.with_ending(".rs").flat_map(|file| check_file(&file.path, &file.text)).collect()
}

fn check_file(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = head(path, text);
    for (number, line) in (1..).zip(text.lines()) {
        let code = without_comment(line);
        for (call, instead) in FORBIDDEN.iter().filter(|(call, _)| code.contains(call)) {
            problems.push(Problem::new(path, number, format!("`{call}`: {instead}")));
        }
    }
    problems.extend(sleeps(path, text));
    problems
}

fn head(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !text.starts_with("//!") {
        problems.push(Problem::new(path, 1, "begins without a `//!` line that says what the file is for"));
    }
    let length = text.lines().count();
    let reasoned = text.lines().take_while(|line| line.starts_with("//!")).any(|line| line.contains(REASON));
    if length > LINES_MAX && !reasoned {
        problems.push(Problem::new(
            path,
            0,
            format!("{length} lines, over {LINES_MAX}: split it, or give a `{REASON}` in its head comment"),
        ));
    }
    problems
}

/// Outside tests a sleep of so many milliseconds is a guess, unless the comment
/// above it says what they are for. A constant is documented where it stands.
fn sleeps(path: &str, text: &str) -> Vec<Problem> {
    if of_tests(path) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let mut above = "";
    for (number, line) in (1..).zip(text.lines()).take_while(|(_, line)| line.trim() != "#[cfg(test)]") {
        let literal = without_comment(line)
            .split(SLEEP)
            .skip(1)
            .any(|argument| argument.contains("Duration::") || argument.starts_with(|c: char| c.is_ascii_digit()));
        if literal && !is_reason(above) {
            problems.push(Problem::new(
                path,
                number,
                "a sleep without a comment above it: wait for a condition, or say what the time is for",
            ));
        }
        above = line;
    }
    problems
}

/// By place or by name: `tests/…`, `…/tests/…`, `tests.rs`, `outbox_tests.rs`, the suites.
fn of_tests(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "conformance")) || path.ends_with("tests.rs")
}

fn is_reason(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && !line.starts_with("//!")
}

fn without_comment(line: &str) -> &str {
    let cut = line.match_indices("//").map(|(at, _)| at).find(|&at| !line.get(..at).is_some_and(|head| head.ends_with(':')));
    cut.and_then(|at| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &str, text: &str) -> Vec<String> {
        check_file(path, text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(texts("a.rs", "//! A file.\n"), Vec::<String>::new());
        assert!(texts("a.rs", "use x;\n").concat().starts_with("a.rs:1: begins without"));
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = "//! A file.\n".to_owned() + &"x\n".repeat(LINES_MAX);
        assert!(texts("a.rs", &long).concat().contains("401 lines"));
        let reasoned = format!("//! A file.\n//! {REASON} a table.\n") + &"x\n".repeat(LINES_MAX);
        assert_eq!(texts("a.rs", &reasoned), Vec::<String>::new());
        assert_eq!(texts("a.rs", &("//! A file.\n".to_owned() + &"x\n".repeat(LINES_MAX - 1))), Vec::<String>::new());
    }

    #[test]
    fn unfinished_work_is_found() {
        for (call, _) in FORBIDDEN {
            let found = texts("a.rs", &format!("//! A file.\n{call}x)]\n"));
            assert!(found.concat().starts_with("a.rs:2: "), "{call}: {found:?}");
            assert_eq!(texts("a.rs", &format!("//! A file.\n// never {call}\n")), Vec::<String>::new());
        }
    }

    #[test]
    fn a_sleep_says_what_for() {
        let found =
            |path: &str, above: &str, argument: &str| !texts(path, &format!("//! A.\n{above}\n    {SLEEP}{argument}).await;\n")).is_empty();
        let millis = "Duration::from_millis(5)";
        assert!(found("host/a.rs", "", millis) && found("host/a.rs", "", "tokio::time::Duration::ZERO"));
        assert!(!found("host/a.rs", "    // As long as the disk needs.", millis));
        assert!(!found("host/a.rs", "", "ACCEPT_PAUSE"));
        assert!(!found("host/a.rs", "#[cfg(test)]", millis));
        for path in ["tests/it/a.rs", "host/tests/a.rs", "host/src/a_tests.rs", "host/src/a/tests.rs", "host/src/conformance/a.rs"] {
            assert!(!found(path, "", millis), "{path}");
        }
    }

    #[test]
    fn an_address_is_no_comment() {
        assert_eq!(without_comment("get(\"http://x\") // why"), "get(\"http://x\") ");
    }
}
