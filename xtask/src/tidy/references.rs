//! References that the host writes itself: what is in the tree equals what the binary says.

use super::Problem;
use crate::shell;
use anyhow::{Context, Result};
use std::{path::Path, process::Command};

/// A file and the host's arguments that print it.
struct Reference {
    file: &'static str,
    args: &'static [&'static str],
}

const REFERENCES: &[Reference] =
    &[Reference { file: "docs/openapi.json", args: &["openapi"] }, Reference { file: "docs/config.toml", args: &["config", "reference"] }];

pub(super) fn check(root: &Path, fix: bool) -> Result<Vec<Problem>> {
    let mut problems = Vec::new();
    for reference in REFERENCES {
        let path = root.join(reference.file);
        let said = shell::output(Command::new(root.join(shell::HOST_BINARY)).args(reference.args).current_dir(root))?;
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        match first_difference(&written, &said) {
            None => {}
            Some(_) if fix => {
                write(&path, &said)?;
                println!("tidy: wrote {}", reference.file);
            }
            Some(line) => {
                let text = format!("differs from `plinth {}`: run `cargo xtask tidy --fix`", reference.args.join(" "));
                problems.push(Problem::new(reference.file, line, text));
            }
        }
    }
    Ok(problems)
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

/// From 1.
fn first_difference(a: &str, b: &str) -> Option<usize> {
    if a == b {
        return None;
    }
    Some(a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(first_difference("", "a\n"), Some(1));
        assert_eq!(first_difference("a", "a\n"), Some(2));
    }
}
