//! The layers: who depends on whom, as cargo sees it, is exactly what ARCHITECTURE.md lists.

use super::{Problem, tree::Tree};
use crate::shell;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const PREFIX: &str = "plinth-";
/// The package whose name is the prefix itself.
const HOST: &str = "host";

type Edge = (String, String);

pub(super) fn check(tree: &Tree) -> Result<Vec<Problem>> {
    let text = tree.file(ARCHITECTURE).map_or("", |file| &file.text);
    let metadata = shell::output(&mut shell::cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    Ok(compare(&listed(text), &actual(&metadata)?))
}

/// Both ways: an edge nobody agreed to, and a line that has become untrue.
fn compare(listed: &BTreeMap<Edge, usize>, actual: &BTreeMap<Edge, String>) -> Vec<Problem> {
    if listed.is_empty() {
        return vec![Problem::new(ARCHITECTURE, 0, "has no fenced block of edges like `runtime -> capability`")];
    }
    let unlisted = actual.iter().filter(|(edge, _)| !listed.contains_key(*edge));
    let stale = listed.iter().filter(|(edge, _)| !actual.contains_key(*edge));
    let mut problems: Vec<Problem> = unlisted
        .map(|((from, to), manifest)| Problem::new(manifest, 0, format!("`{from} -> {to}` is not in the list of {ARCHITECTURE}")))
        .collect();
    problems.extend(stale.map(|((from, to), line)| Problem::new(ARCHITECTURE, *line, format!("`{from} -> {to}` is not an edge any more"))));
    problems
}

/// The fenced blocks that hold nothing but `a -> b, c` and `#` comments, with the line of each edge.
fn listed(text: &str) -> BTreeMap<Edge, usize> {
    let mut edges = BTreeMap::new();
    for block in fenced(text) {
        let lines: Vec<(usize, &str)> = block
            .into_iter()
            .map(|(number, line)| (number, line.split('#').next().unwrap_or_default().trim()))
            .filter(|(_, line)| !line.is_empty())
            .collect();
        let parsed: Option<Vec<(usize, &str, &str)>> =
            lines.iter().map(|(number, line)| edge(line).map(|(from, to)| (*number, from, to))).collect();
        for (number, from, targets) in parsed.unwrap_or_default() {
            edges.extend(targets.split(',').map(|to| ((from.trim().to_owned(), to.trim().to_owned()), number)));
        }
    }
    edges
}

/// `a -> b, c`, and not the signature of a function.
fn edge(line: &str) -> Option<(&str, &str)> {
    let name = |text: &str| text.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    line.split_once(" -> ").filter(|(from, targets)| name(from) && targets.split(',').all(name))
}

fn fenced(text: &str) -> Vec<Vec<(usize, &str)>> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<(usize, &str)>> = None;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            match open.take() {
                Some(block) => blocks.push(block),
                None => open = Some(Vec::new()),
            }
        } else if let Some(block) = &mut open {
            block.push((number, line));
        }
    }
    blocks
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// Only what lies in this repository has one.
    path: Option<String>,
}

/// Edges of every kind (normal, build, dev) between packages of the workspace, with their manifest.
fn actual(metadata: &str) -> Result<BTreeMap<Edge, String>> {
    let metadata: Metadata = serde_json::from_str(metadata).context("could not understand `cargo metadata`")?;
    let mut edges = BTreeMap::new();
    for package in metadata.packages {
        let manifest = package.manifest_path.strip_prefix(&metadata.workspace_root).unwrap_or(&package.manifest_path);
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let edge = (short(&package.name), short(&dependency.name));
            edges.insert(edge, manifest.trim_start_matches('/').to_owned());
        }
    }
    Ok(edges)
}

fn short(name: &str) -> String {
    if format!("{name}-") == PREFIX { HOST.into() } else { name.strip_prefix(PREFIX).unwrap_or(name).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Layers\n\n```\nruntime -> capability # contracts only\n\napi -> runtime, capability\n```\n\n```rust\nfn a() -> u8\n```\n```\na -> b\nnot an edge\n```\n";
    const METADATA: &str = r#"{"workspace_root": "/w", "packages": [
        {"name": "plinth-runtime", "manifest_path": "/w/host/crates/runtime/Cargo.toml",
         "dependencies": [{"name": "plinth-capability", "path": "/w/host/crates/capability"}, {"name": "serde", "path": null}]},
        {"name": "plinth", "manifest_path": "/w/host/Cargo.toml",
         "dependencies": [{"name": "plinth-runtime", "path": "/w/host/crates/runtime"}]}]}"#;

    #[test]
    fn the_block_is_read() {
        let edges: Vec<String> = listed(TEXT).into_iter().map(|((from, to), line)| format!("{line}: {from} -> {to}")).collect();
        assert_eq!(edges, ["6: api -> capability", "6: api -> runtime", "4: runtime -> capability"]);
    }

    #[test]
    fn cargo_is_read() {
        let edges: Vec<String> = actual(METADATA).unwrap().into_keys().map(|(from, to)| format!("{from} -> {to}")).collect();
        assert_eq!(edges, ["host -> runtime", "runtime -> capability"]);
    }

    #[test]
    fn both_directions_are_judged() {
        let problems: Vec<String> = compare(&listed(TEXT), &actual(METADATA).unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "host/Cargo.toml: `host -> runtime` is not in the list of ARCHITECTURE.md",
                "ARCHITECTURE.md:6: `api -> capability` is not an edge any more",
                "ARCHITECTURE.md:6: `api -> runtime` is not an edge any more",
            ]
        );
    }

    #[test]
    fn a_missing_list_is_said() {
        assert_eq!(compare(&listed("no block"), &BTreeMap::new()).len(), 1);
    }
}
