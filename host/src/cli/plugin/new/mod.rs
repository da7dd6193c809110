//! `plinth plugin new`: a plugin that builds and passes its own test at once.

mod folder;
mod templates;

use super::{Complaint, Done, chain};
use clap::{Args, ValueEnum};
use folder::{Folder, FolderError};
use plinth_capability::name::PluginName;
use plinth_runtime::{build_plan::Language, manifest::Manifest};
use std::path::PathBuf;

#[derive(Args)]
pub(in crate::cli) struct New {
    /// The plugin's name: lower-case words joined by hyphens.
    name: String,
    /// What it is written in.
    #[arg(long)]
    lang: Lang,
    /// Its folder, if not ./NAME. One that exists must be empty.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lang {
    Rust,
    Js,
    Ts,
    Python,
    Go,
    C,
}

#[derive(Debug, thiserror::Error)]
enum NewError {
    #[error("`{name}` cannot be the name of a plugin: {why}")]
    Name { name: String, why: String },
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl From<NewError> for Complaint {
    fn from(error: NewError) -> Self {
        let text = chain(&error);
        match error {
            NewError::Name { .. } | NewError::Folder(FolderError::NotEmpty(_) | FolderError::NotAFolder(_)) => Complaint::usage(text),
            NewError::Folder(FolderError::Write { .. }) => Complaint::failed(text),
        }
    }
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::Rust => Self::Rust,
            Lang::Js => Self::Javascript,
            Lang::Ts => Self::Typescript,
            Lang::Python => Self::Python,
            Lang::Go => Self::Go,
            Lang::C => Self::C,
        }
    }
}

impl New {
    pub(super) fn run(self) -> Done {
        let language = Language::from(self.lang);
        let dir = self.dir.unwrap_or_else(|| PathBuf::from(&self.name));
        let files = files(language, &self.name)?;
        let mut folder = Folder::begin(&dir).map_err(NewError::from)?;
        for (path, text) in &files {
            folder.write(path, text).map_err(NewError::from)?;
        }
        folder.keep();
        println!("{} is in {}. Next:\n", self.name, dir.display());
        println!("    cd {}", dir.display());
        for step in templates::setup(language).iter().chain(&[templates::test(language), "plinth plugin build"]) {
            println!("    {step}");
        }
        println!("    plinth plugin install build/{}.wasm plugin.toml --approve    # on a running host", self.name);
        println!("\nor, to have every change live on a host as soon as it is saved: plinth plugin dev --approve");
        Ok(())
    }
}

/// Everything of a new plugin, under a name that a host takes.
fn files(language: Language, name: &str) -> Result<Vec<(String, String)>, NewError> {
    let refused = |why: String| NewError::Name { name: name.to_owned(), why };
    PluginName::new(name).map_err(|error| refused(error.message().to_owned()))?;
    let files = templates::files(language, name);
    let manifest = files.iter().find(|(path, _)| path == "plugin.toml").map_or("", |(_, text)| text);
    // A name of the host's own is refused with its manifest.
    Manifest::parse(manifest).map_err(|problems| refused(problems.join("; ")))?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_what_a_plugin_needs() {
        for language in Language::ALL {
            let files = files(language, "my-plugin").unwrap();
            let text = |path: &str| files.iter().find(|(found, _)| found == path).map(|(_, text)| text.as_str());
            for path in ["plugin.toml", "README.md", ".gitignore", "wit/deps/plinth-hooks.wit"] {
                assert!(text(path).is_some(), "{language:?} lacks {path}");
            }
            let manifest = Manifest::parse(text("plugin.toml").unwrap()).unwrap();
            assert_eq!((manifest.build.language, manifest.name.as_str()), (Some(language), "my-plugin"));
            for (path, text) in &files {
                let holes: Vec<&str> = text.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0)).collect();
                assert!(!holes.iter().any(|hole| hole.chars().all(char::is_alphabetic)), "{language:?}: {path} has a hole left: {holes:?}");
            }
        }
    }

    #[test]
    fn only_names_that_a_host_takes_are_taken() {
        for name in ["", "My-Plugin", "a--b", "1a", "a/b", "../a", "host", "events", "a b", "\"", &"a".repeat(65)] {
            assert!(matches!(files(Language::C, name), Err(NewError::Name { .. })), "{name}");
        }
    }
}
