//! Rules for texts: links lead somewhere, README shows the two commands, CHANGELOG has room for news.

use super::{Problem, tree::Tree};

const README: &str = "README.md";
const CHANGELOG: &str = "CHANGELOG.md";
/// What a reader tries first.
const COMMANDS: [&str; 2] = ["cargo xtask demo", "cargo xtask test"];

pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let exists =
        |path: &str| tree.paths.iter().any(|known| known == path || known.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
    let mut problems: Vec<Problem> = tree.with_ending(".md").flat_map(|file| dead_links(&file.path, &file.text, exists)).collect();
    problems.extend(readme(tree.file(README).map_or("", |file| &file.text)));
    problems.extend(changelog(tree.file(CHANGELOG).map_or("", |file| &file.text)));
    problems
}

fn readme(text: &str) -> Vec<Problem> {
    let missing = COMMANDS.iter().filter(|command| !text.contains(**command));
    missing.map(|command| Problem::new(README, 0, format!("does not show `{command}`"))).collect()
}

fn changelog(text: &str) -> Vec<Problem> {
    let has =
        text.lines().any(|line| line.trim_start_matches('#').trim().trim_matches(['[', ']']) == "Unreleased" && line.starts_with("## "));
    if has { Vec::new() } else { vec![Problem::new(CHANGELOG, 0, "has no section `## Unreleased`")] }
}

/// Relative links and images whose file is not in the repository. Fenced code is no text.
fn dead_links(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut fenced = false;
    for (number, line) in (1..).zip(text.lines()) {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for target in targets(line) {
            match resolve(path, target) {
                Some(file) if file.is_empty() || exists(&file) => {}
                Some(file) => problems.push(Problem::new(path, number, format!("links to {file}, which is not there"))),
                None => problems.push(Problem::new(path, number, format!("links to {target}, which leaves the repository"))),
            }
        }
    }
    problems
}

/// `](target)` and `]: target`, without what has a scheme and without anchors.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inline = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    let reference = line.trim_start().starts_with('[').then(|| line.split_once("]: ")).flatten();
    let all = inline.chain(reference.map(|(_, target)| target.trim()));
    all.filter(|target| !target.is_empty() && !target.starts_with('#') && !target.contains(':'))
}

/// The path from the root; `None` if it leads out of it.
fn resolve(from: &str, target: &str) -> Option<String> {
    let target = target.split('#').next().unwrap_or_default();
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.split('/').collect::<Vec<_>>().split_last().map(|(_, folders)| folders.to_vec()).unwrap_or_default(),
    };
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(path: &str, text: &str) -> Vec<String> {
        let exists = |path: &str| ["README.md", "wit", "examples/ticketing/README.md"].contains(&path);
        dead_links(path, text, exists).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_that_resolve() {
        let text = "[a](README.md#top) [b](#here) [c](https://x.example/y.md) ![d](./wit/)\n[e]: ../../README.md\n";
        assert_eq!(dead("README.md", text.lines().next().unwrap()), Vec::<String>::new());
        assert_eq!(dead("examples/ticketing/README.md", text.lines().last().unwrap()), Vec::<String>::new());
    }

    #[test]
    fn links_that_do_not() {
        assert_eq!(dead("README.md", "x\n[a](gone.md)\n"), ["README.md:2: links to gone.md, which is not there"]);
        assert_eq!(dead("README.md", "[a](../gone.md)\n"), ["README.md:1: links to ../gone.md, which leaves the repository"]);
        assert_eq!(dead("examples/ticketing/README.md", "[a](rules.md)\n").len(), 1);
    }

    #[test]
    fn code_is_no_link() {
        assert_eq!(dead("README.md", "```\n[a](gone.md)\n```\n"), Vec::<String>::new());
    }

    #[test]
    fn readme_shows_both_commands() {
        assert_eq!(readme("cargo xtask demo\ncargo xtask test\n"), []);
        assert_eq!(readme("cargo xtask demo\n").len(), 1);
    }

    #[test]
    fn changelog_has_room() {
        assert_eq!(changelog("# Changelog\n\n## Unreleased\n"), []);
        assert_eq!(changelog("## [Unreleased]\n"), []);
        assert_eq!(changelog("## 1.0.0\nUnreleased\n").len(), 1);
    }
}
