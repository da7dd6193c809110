//! The manifest's `[build]`: how `plinth plugin build` makes the component. A host has no use for it.

use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct BuildPlan {
    /// Found by the files of the folder if absent.
    pub language: Option<Language>,
    /// Where the component goes, from the plugin's folder; `build/NAME.wasm` if absent.
    pub component: Option<PathBuf>,
    /// The source file to begin with, in languages that have one.
    pub entry: Option<PathBuf>,
    /// Which world of the folder `wit`, if there are several.
    pub world: Option<String>,
}

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    Rust,
    Javascript,
    Typescript,
    Python,
    Go,
    C,
}

impl Language {
    pub const ALL: [Self; 6] = [Self::Rust, Self::Javascript, Self::Typescript, Self::Python, Self::Go, Self::C];

    /// As in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Javascript => "javascript",
            Self::Typescript => "typescript",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }
}

impl BuildPlan {
    pub(crate) fn problems(&self) -> Vec<String> {
        let paths = [("component", &self.component), ("entry", &self.entry)];
        let outside = paths.into_iter().filter_map(|(key, path)| Some((key, path.as_deref().filter(|path| !is_below(path))?)));
        outside.map(|(key, path)| format!("build.{key} = {path:?} is not a file below the plugin's folder")).collect()
    }
}

fn is_below(path: &Path) -> bool {
    path.file_name().is_some() && path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn read(build: &str) -> Result<BuildPlan, Vec<String>> {
        Manifest::parse(&format!("name = 'p'\nversion = '1.0.0'\n{build}")).map(|manifest| manifest.build)
    }

    #[test]
    fn a_plan_names_what_is_built_from_what() {
        let plan = read("[build]\nlanguage = 'go'\ncomponent = 'out/p.wasm'").unwrap();
        assert_eq!((plan.language, plan.component), (Some(Language::Go), Some("out/p.wasm".into())));
        assert_eq!(read("").unwrap(), BuildPlan::default());
        for language in Language::ALL {
            assert_eq!(read(&format!("[build]\nlanguage = {:?}", language.name())).unwrap().language, Some(language));
        }
    }

    #[test]
    fn nothing_is_built_outside_of_the_folder() {
        for path in ["/tmp/p.wasm", "../p.wasm", "a/../../p.wasm", "", ".."] {
            let problems = read(&format!("[build]\ncomponent = {path:?}\nentry = {path:?}")).unwrap_err();
            assert_eq!(problems.len(), 2, "{path}: {problems:?}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for build in ["[build]\nlanguage = 'cobol'", "[build]\ntoolchain = 'x'"] {
            assert_eq!(read(build).unwrap_err().len(), 1, "{build}");
        }
    }
}
