//! Why a plugin could not be built, and with which exit code that ends.

use super::super::super::Exit;
use plinth_runtime::build_plan::Language;
use std::{io, path::PathBuf, process::ExitStatus};

#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("{} has no plugin.toml; `plinth plugin new` makes a plugin", .0.display())]
    NoManifest(PathBuf),
    #[error("{}: {}", path.display(), problems.join("\n  - "))]
    Manifest { path: PathBuf, problems: Vec<String> },
    #[error("{} has {found}; plugin.toml has to say which language it is: [build] language = \"…\"", dir.display())]
    Language { dir: PathBuf, found: String },
    /// The folder is not as the language wants it.
    #[error("{0}")]
    Layout(String),
    #[error("the WIT of the plugin: {0}")]
    Wit(String),
    #[error("{} to build this plugin in {}:{}", missing_count(.1.len()), .0.name(), .1.iter().map(Missing::told).collect::<String>())]
    Missing(Language, Vec<Missing>),
    #[error("`{line}` failed ({status})")]
    Tool { line: String, status: ExitStatus },
    #[error("`{line}` could not be started")]
    Start { line: String, source: io::Error },
    /// Cargo, or encoding what it made.
    #[error("{0}")]
    Rust(String),
    #[error("no component can be made of {module}: {why}")]
    Encode { module: String, why: String },
    #[error("could not read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Write(String),
}

/// A tool that is not there, and the command that brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(super) what: String,
    /// Any one of them.
    pub(super) install: Vec<String>,
}

impl Missing {
    fn told(&self) -> String {
        let ways = self.install.join("\n      or: ");
        format!("\n  - {}\n          {ways}", self.what)
    }
}

fn missing_count(count: usize) -> String {
    if count == 1 { "a tool is missing".to_owned() } else { format!("{count} tools are missing") }
}

impl BuildError {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::NoManifest(_) | Self::Manifest { .. } | Self::Language { .. } | Self::Layout(_) | Self::Wit(_) => Exit::Usage,
            Self::Missing(..) => Exit::Missing,
            Self::Tool { .. } | Self::Start { .. } | Self::Rust(_) | Self::Encode { .. } | Self::Read { .. } | Self::Write(_) => {
                Exit::Failed
            }
        }
    }

    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    pub(super) fn write(error: impl std::fmt::Display) -> Self {
        Self::Write(format!("could not write: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_its_commands() {
        let missing =
            |what: &str, install: &[&str]| Missing { what: what.to_owned(), install: install.iter().map(|&i| i.to_owned()).collect() };
        let all = vec![missing("zig", &["pip install ziglang", "apt-get install clang"]), missing("node", &["apt-get install nodejs"])];
        let error = BuildError::Missing(Language::C, all);
        let text = "2 tools are missing to build this plugin in c:\n  - zig\n          pip install ziglang\n      or: apt-get install clang\n  \
            - node\n          apt-get install nodejs";
        assert_eq!(error.to_string(), text);
        assert_eq!(error.exit(), Exit::Missing);
    }
}
