//! A plugin's folder: its manifest, its language, and where things are in it.

use super::error::BuildError;
use plinth_runtime::{build_plan::Language, manifest::Manifest};
use std::path::{Path, PathBuf};

/// Below the folder `build`: which files outside of it a build has made, one path a line.
pub(crate) const GENERATED: &str = "build/generated.txt";

#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) dir: PathBuf,
    /// plugin.toml
    pub(crate) text: String,
    pub(crate) manifest: Manifest,
}

impl Project {
    pub(crate) fn open(dir: &Path) -> Result<Self, BuildError> {
        let path = dir.join("plugin.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => BuildError::NoManifest(dir.to_owned()),
            _ => BuildError::read(&path)(error),
        })?;
        let manifest = Manifest::parse(&text).map_err(|problems| BuildError::Manifest { path: path.clone(), problems })?;
        let dir = dir.canonicalize().map_err(BuildError::read(dir))?;
        Ok(Self { dir, text, manifest })
    }

    /// As plugin.toml says, or as the files do. Only a build needs it.
    pub(super) fn language(&self) -> Result<Language, BuildError> {
        self.manifest.build.language.map_or_else(|| found(&self.dir), Ok)
    }

    /// Where the component goes.
    pub(crate) fn component(&self) -> PathBuf {
        self.dir.join(self.component_below())
    }

    pub(super) fn component_below(&self) -> PathBuf {
        self.manifest.build.component.clone().unwrap_or_else(|| PathBuf::from(format!("build/{}.wasm", self.manifest.name)))
    }

    /// For everything on the way.
    pub(super) fn build_dir(&self) -> PathBuf {
        self.dir.join("build")
    }

    /// The source file that a build begins with.
    pub(super) fn entry(&self, usual: &str) -> Result<PathBuf, BuildError> {
        let entry = self.manifest.build.entry.clone().unwrap_or_else(|| PathBuf::from(usual));
        if self.dir.join(&entry).is_file() {
            return Ok(entry);
        }
        let hint = "plugin.toml may name another: [build] entry = \"…\"";
        Err(BuildError::Layout(format!("{} has no file {}, where the plugin begins; {hint}", self.dir.display(), entry.display())))
    }
}

/// The one language whose files are there.
fn found(dir: &Path) -> Result<Language, BuildError> {
    let has = |name: &str| dir.join(name).is_file();
    let with_ending = |folder: &str, ending: &str| {
        let entries = dir.join(folder).read_dir().into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|found| found == ending))
    };
    let script = if has("src/plugin.ts") { Language::Typescript } else { Language::Javascript };
    let signs = [
        (has("Cargo.toml"), Language::Rust),
        (has("package.json"), script),
        (has("go.mod"), Language::Go),
        (with_ending(".", "py") || with_ending("src", "py"), Language::Python),
        (with_ending("src", "c"), Language::C),
    ];
    let languages: Vec<Language> = signs.into_iter().filter(|(is, _)| *is).map(|(_, language)| language).collect();
    match languages.as_slice() {
        [language] => Ok(*language),
        several => {
            let names: Vec<&str> = several.iter().map(|language| language.name()).collect();
            let found = if names.is_empty() {
                "no source of a language that is known".to_owned()
            } else {
                format!("files of {}", names.join(", "))
            };
            Err(BuildError::Language { dir: dir.to_owned(), found })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    const MANIFEST: (&str, &str) = ("plugin.toml", "name = 'p'\nversion = '1.0.0'");

    #[test]
    fn the_language_follows_from_the_files() {
        for (file, language) in [
            ("Cargo.toml", Language::Rust),
            ("package.json", Language::Javascript),
            ("go.mod", Language::Go),
            ("p.py", Language::Python),
            ("src/p.py", Language::Python),
            ("src/p.c", Language::C),
        ] {
            let folder = folder(&[MANIFEST, (file, "")]);
            let project = Project::open(folder.path()).unwrap();
            assert_eq!((project.language().unwrap(), project.component_below()), (language, "build/p.wasm".into()), "{file}");
        }
        let typescript = folder(&[MANIFEST, ("package.json", ""), ("src/plugin.ts", "")]);
        assert_eq!(Project::open(typescript.path()).unwrap().language().unwrap(), Language::Typescript);
    }

    #[test]
    fn a_folder_that_does_not_say_it_is_asked() {
        let none = folder(&[MANIFEST]);
        let both = folder(&[MANIFEST, ("Cargo.toml", ""), ("src/p.c", "")]);
        for (folder, text) in [(&none, "no source"), (&both, "files of rust, c")] {
            let error = Project::open(folder.path()).unwrap().language().unwrap_err();
            assert!(matches!(error, BuildError::Language { .. }) && error.to_string().contains(text), "{error}");
        }
        let said =
            folder(&[("plugin.toml", "name = 'p'\nversion = '1.0.0'\n[build]\nlanguage = 'c'\ncomponent = 'p.wasm'"), ("Cargo.toml", "")]);
        let project = Project::open(said.path()).unwrap();
        assert_eq!((project.language().unwrap(), project.component_below()), (Language::C, "p.wasm".into()));
        assert!(project.entry("src/plugin.js").unwrap_err().to_string().contains("src/plugin.js"));
    }

    #[test]
    fn a_folder_without_a_good_manifest_is_none() {
        assert!(matches!(Project::open(folder(&[]).path()), Err(BuildError::NoManifest(_))));
        let bad = folder(&[("plugin.toml", "name = 'P'")]);
        assert!(matches!(Project::open(bad.path()), Err(BuildError::Manifest { .. })));
    }
}
