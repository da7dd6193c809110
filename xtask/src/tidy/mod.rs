//! `cargo xtask tidy`: house rules that neither rustfmt nor clippy knows, all broken ones at once.

mod docs;
mod edges;
mod modules;
mod references;
mod source;
mod tree;

use crate::shell;
use anyhow::{Result, bail};
use std::fmt;
use tree::Tree;

/// Checks the house rules: layers, files, links, generated references
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rewrite generated references instead of comparing them
    #[arg(long)]
    fix: bool,
}

impl Args {
    pub(crate) fn check() -> Self {
        Self { fix: false }
    }
}

/// One broken rule, where to look and what to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    file: String,
    /// From 1; 0 speaks of the whole file.
    line: usize,
    text: String,
}

impl Problem {
    fn new(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.into(), line, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    shell::build_host()?;
    let tree = Tree::read(&shell::root())?;
    let mut problems = edges::check(&tree)?;
    problems.extend(source::check(&tree));
    problems.extend(modules::check(&tree));
    problems.extend(tree::check(&tree));
    problems.extend(docs::check(&tree));
    problems.extend(references::check(&shell::root(), args.fix)?);
    problems.sort();
    for problem in &problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => println!("tidy: {} files keep the house rules", tree.files.len()),
        1 => bail!("tidy: 1 rule is broken"),
        many => bail!("tidy: {many} rules are broken"),
    }
    Ok(())
}
