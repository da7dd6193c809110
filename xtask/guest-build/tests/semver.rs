//! Each version of the contract is a compatible successor of the released ones: plugins built against them keep loading.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use std::path::{Path, PathBuf};
use tempfile::TempDir;
use wit_parser::{Resolve, WorldId};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files of a WIT folder and its `deps`, by their path below it.
fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut texts = Vec::new();
    for below in ["", "deps"] {
        for entry in folder.join(below).read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "wit") {
                texts.push((Path::new(below).join(path.file_name().unwrap()), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    texts
}

fn written(texts: &[(PathBuf, String)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deps")).unwrap();
    for (path, text) in texts {
        std::fs::write(folder.path().join(path), text).unwrap();
    }
    folder
}

/// Everything that the host offers and calls, in one world.
fn every_hook(resolve: &mut Resolve, texts: &[(PathBuf, String)]) -> WorldId {
    let folder = written(texts);
    let (package, _) = resolve.push_dir(folder.path()).unwrap();
    resolve.select_world(&[package], Some("every-hook")).unwrap()
}

/// The error says what a plugin built against `before` would stumble over.
fn succeeds(before: &[(PathBuf, String)], after: &[(PathBuf, String)]) -> Result<(), String> {
    // Both are in one table of packages, so the earlier ones get a version that nobody has.
    let renamed: Vec<_> = before.iter().map(|(path, text)| (path.clone(), elsewhere(text))).collect();
    let mut resolve = Resolve::default();
    let (prev, new) = (every_hook(&mut resolve, &renamed), every_hook(&mut resolve, after));
    wit_component::semver_check(resolve, prev, new).map_err(|error| format!("{error:#}"))
}

/// The text with another version after each `@`.
fn elsewhere(text: &str) -> String {
    let mut parts = text.split('@');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let end = part.find(|c: char| !(c.is_ascii_alphanumeric() || ".-".contains(c))).unwrap_or(part.len());
        let version = part.get(..end).unwrap().trim_end_matches('.');
        match version.starts_with(|c: char| c.is_ascii_digit()) {
            true => format!("{text}@0.0.1-kept.{version}{}", part.get(version.len()..).unwrap()),
            false => format!("{text}@{part}"),
        }
    })
}

/// The present contract, changed in one place.
fn changed(file: &str, from: &str, to: &str) -> Vec<(PathBuf, String)> {
    let mut texts = texts(&root().join("wit"));
    let (_, text) = texts.iter_mut().find(|(path, _)| path.ends_with(file)).unwrap();
    assert_eq!(text.matches(from).count(), 1, "`{from}` in {file}");
    *text = text.replace(from, to);
    texts
}

#[test]
fn the_contract_is_a_successor_of_every_released_one() {
    let after = texts(&root().join("wit"));
    let mut compared = 0;
    for entry in root().join("tests/museum").read_dir().unwrap() {
        let folder = entry.unwrap().path().join("wit");
        if folder.is_dir() {
            succeeds(&texts(&folder), &after).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
            compared += 1;
        }
    }
    assert!(compared > 0, "nothing was kept");
}

#[test]
fn only_what_harms_no_plugin_is_let_through() {
    let now = texts(&root().join("wit"));
    let ok = |file, from, to| succeeds(&now, &changed(file, from, to));
    ok("plinth-context.wit", "now-ms: func() -> u64;", "now-ms: func() -> u64;\n  now-ns: func() -> u64;").unwrap();
    for (file, from, to) in [
        ("plinth-context.wit", "now-ms: func() -> u64;", "now-ms: func() -> s64;"),
        ("plinth-context.wit", "now-ms: func() -> u64;", "now: func() -> u64;"),
        ("plinth-hooks.wit", "check: func() -> result<_, failure>;", "check: func() -> result<_, failure>;\n  more: func();"),
        ("plinth-log.wit", "    warn,", "    warn,\n    notice,"),
    ] {
        assert!(ok(file, from, to).is_err(), "`{to}` in {file} stops plugins that were built before");
    }
}
