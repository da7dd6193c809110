//! The plugin's world with the host's packages beside it, in `build/wit`, as every tool wants to have it.

use super::super::contract_files::PACKAGES;
use super::{error::BuildError, project::Project};
use std::{
    fs,
    path::{Path, PathBuf},
};
use wit_parser::{Resolve, WorldId};

pub(super) struct Contract {
    pub(super) folder: PathBuf,
    pub(super) resolve: Resolve,
    pub(super) world: WorldId,
    /// Of the world.
    pub(super) name: String,
}

impl Contract {
    /// `wit/*.wit` with `wit/deps`, or with this host's packages where there is none.
    pub(super) fn of(project: &Project) -> Result<Self, BuildError> {
        let own = project.dir.join("wit");
        let folder = project.build_dir().join("wit");
        let texts = texts(&own)?;
        if texts.is_empty() {
            return Err(BuildError::Wit(format!("{} has no .wit file with the plugin's world", own.display())));
        }
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(BuildError::write)?;
        }
        fs::create_dir_all(folder.join("deps")).map_err(BuildError::write)?;
        for path in texts {
            copy(&path, &folder)?;
        }
        match own.join("deps").is_dir() {
            true => copy_below(&own.join("deps"), &folder.join("deps"))?,
            false => {
                for (file, text) in PACKAGES {
                    fs::write(folder.join("deps").join(file), text).map_err(BuildError::write)?;
                }
            }
        }
        Self::read(folder, project.manifest.build.world.as_deref())
    }

    fn read(folder: PathBuf, world: Option<&str>) -> Result<Self, BuildError> {
        let wrong = |error: anyhow::Error| BuildError::Wit(format!("{error:#}"));
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(&folder).map_err(wrong)?;
        let world = resolve.select_world(&[package], world).map_err(wrong)?;
        let name = resolve.worlds.get(world).map(|world| world.name.clone()).unwrap_or_default();
        Ok(Self { folder, resolve, world, name })
    }
}

/// The .wit files of a folder itself.
fn texts(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let Ok(entries) = folder.read_dir() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(BuildError::read(folder))?.path();
        if path.extension().is_some_and(|ending| ending == "wit") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn copy(file: &Path, into: &Path) -> Result<(), BuildError> {
    fs::copy(file, into.join(file.file_name().unwrap_or_default())).map_err(BuildError::read(file))?;
    Ok(())
}

fn copy_below(from: &Path, into: &Path) -> Result<(), BuildError> {
    fs::create_dir_all(into).map_err(BuildError::write)?;
    for entry in from.read_dir().map_err(BuildError::read(from))? {
        let path = entry.map_err(BuildError::read(from))?.path();
        match path.is_dir() {
            true => copy_below(&path, &into.join(path.file_name().unwrap_or_default()))?,
            false => copy(&path, into)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: &str = "package local:plugin;\nworld plugin { export plinth:hooks/decision@1.0.0; }\n";

    fn project(files: &[(&str, &str)]) -> (tempfile::TempDir, Project) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("wit/deps")).unwrap();
        fs::write(folder.path().join("plugin.toml"), "name = 'p'\nversion = '1.0.0'\n[build]\nlanguage = 'c'").unwrap();
        fs::remove_dir(folder.path().join("wit/deps")).unwrap();
        for (path, text) in files {
            fs::create_dir_all(folder.path().join(path).parent().unwrap()).unwrap();
            fs::write(folder.path().join(path), text).unwrap();
        }
        let project = Project::open(folder.path()).unwrap();
        (folder, project)
    }

    #[test]
    fn the_hosts_packages_stand_in_where_there_are_none() {
        let (_folder, project) = project(&[("wit/plugin.wit", WORLD)]);
        let contract = Contract::of(&project).unwrap();
        assert_eq!(contract.name, "plugin");
        assert!(contract.folder.join("deps/plinth-hooks.wit").is_file());
    }

    #[test]
    fn the_plugins_own_packages_come_first() {
        let older = "package plinth:hooks@1.0.0;\ninterface other { f: func(); }\n";
        let (_folder, project) = project(&[("wit/plugin.wit", WORLD), ("wit/deps/hooks.wit", older)]);
        let Err(error) = Contract::of(&project) else { panic!("the interface is not in these packages") };
        assert!(matches!(error, BuildError::Wit(_)) && error.to_string().contains("decision"), "{error}");
    }

    #[test]
    fn a_world_has_to_be_there_and_to_be_chosen() {
        let (_folder, none) = project(&[]);
        assert!(matches!(Contract::of(&none), Err(BuildError::Wit(text)) if text.contains("no .wit file")));
        let (_folder, two) = project(&[("wit/plugin.wit", "package local:plugin;\nworld one {}\nworld two {}\n")]);
        assert!(matches!(Contract::of(&two), Err(BuildError::Wit(_))));
        let (_folder, broken) = project(&[("wit/plugin.wit", "not wit")]);
        assert!(matches!(Contract::of(&broken), Err(BuildError::Wit(_))));
    }
}
