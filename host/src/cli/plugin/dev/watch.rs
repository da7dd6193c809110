//! The sources of a plugin, by name, time and size: what a look at the folder shows.
//!
//! Looked at again and again, because that works on every file system and in every container.

use super::super::{
    super::Complaint,
    build::{GENERATED, Project},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Folders that tools fill.
const SKIPPED: [&str; 4] = ["build", "target", "node_modules", "__pycache__"];
/// More than this is not the folder of a plugin, and cannot be looked at ten times a second.
const FILES_MAX: usize = 10_000;

/// Every file with its time and size.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sources(BTreeMap<PathBuf, (Option<SystemTime>, u64)>);

pub(super) struct Watch {
    dir: PathBuf,
    component: PathBuf,
}

impl Watch {
    pub(super) fn new(project: &Project) -> Self {
        Self { dir: project.dir.clone(), component: project.component() }
    }

    pub(super) fn look(&self) -> Result<Sources, Complaint> {
        let made = self.made();
        let mut sources = Sources::default();
        self.look_below(&self.dir, &made, &mut sources)?;
        Ok(sources)
    }

    /// What counts as built when `before` was there as the build began: files that the build has made since are
    /// a part of it, and files that were there and differ now have been saved meanwhile.
    pub(super) fn after_build(&self, before: Sources) -> Result<Sources, Complaint> {
        let made = self.made();
        Ok(Sources(before.0.into_iter().filter(|(path, _)| !made.contains(path)).collect()))
    }

    /// Files that the last build has left outside of `build`.
    fn made(&self) -> BTreeSet<PathBuf> {
        let list = fs::read_to_string(self.dir.join(GENERATED)).unwrap_or_default();
        list.lines().map(|line| self.dir.join(line)).collect()
    }

    fn look_below(&self, folder: &Path, made: &BTreeSet<PathBuf>, sources: &mut Sources) -> Result<(), Complaint> {
        // What goes away between two looks is seen by the next.
        let Ok(entries) = folder.read_dir() else { return Ok(()) };
        for entry in entries.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                let name = name.to_string_lossy();
                if !name.starts_with('.') && !SKIPPED.contains(&name.as_ref()) {
                    self.look_below(&path, made, sources)?;
                }
                continue;
            }
            let Ok(about) = path.metadata() else { continue };
            if path == self.component || made.contains(&path) || !about.is_file() {
                continue;
            }
            if sources.0.len() == FILES_MAX {
                return Err(Complaint::failed(format!("{} has more than {FILES_MAX} files", self.dir.display())));
            }
            sources.0.insert(path, (about.modified().ok(), about.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn plugin() -> (tempfile::TempDir, Watch) {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("plugin.toml"), "name = 'p'\nversion = '1.0.0'\n[build]\nlanguage = 'go'\ncomponent = 'p.wasm'");
        write(&folder.path().join("src/a.go"), "1");
        let watch = Watch::new(&Project::open(folder.path()).unwrap());
        (folder, watch)
    }

    #[test]
    fn a_saved_a_new_and_a_removed_file_are_seen() {
        let (folder, watch) = plugin();
        let mut seen = vec![watch.look().unwrap()];
        assert_eq!(seen[0], watch.look().unwrap());
        let file = folder.path().join("src/a.go");
        write(&file, "22");
        seen.push(watch.look().unwrap());
        // The same size at another time.
        fs::File::options().write(true).open(&file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        seen.push(watch.look().unwrap());
        write(&folder.path().join("wit/new.wit"), "");
        seen.push(watch.look().unwrap());
        fs::remove_file(file).unwrap();
        seen.push(watch.look().unwrap());
        for (i, one) in seen.iter().enumerate() {
            assert!(!seen[..i].contains(one), "look {i} shows nothing new");
        }
    }

    #[test]
    fn what_tools_write_is_no_change() {
        let (folder, watch) = plugin();
        let before = watch.look().unwrap();
        for made in
            ["build/x.wasm", "target/debug/x", "node_modules/a/b.js", ".git/index", ".venv/bin/go", "src/__pycache__/a.pyc", "p.wasm"]
        {
            write(&folder.path().join(made), "x");
        }
        write(&folder.path().join("plinth_log/bindings.go"), "x");
        write(&folder.path().join(GENERATED), "plinth_log/bindings.go\n");
        assert_eq!(watch.look().unwrap(), before);
    }

    #[test]
    fn what_was_saved_during_a_build_is_a_change_after_it() {
        let (folder, watch) = plugin();
        // Made by an earlier version of the tool, and listed only from now on.
        write(&folder.path().join("plinth_log/bindings.go"), "x");
        let before = watch.look().unwrap();
        write(&folder.path().join(GENERATED), "plinth_log/bindings.go\n");
        assert_eq!(watch.after_build(before.clone()).unwrap(), watch.look().unwrap());
        write(&folder.path().join("src/a.go"), "333");
        assert_ne!(watch.after_build(before).unwrap(), watch.look().unwrap());
    }
}
