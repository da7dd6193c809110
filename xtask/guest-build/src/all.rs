//! Every guest of the workspace in one go: as few cargo calls as there are
//! feature sets, and none at all while nothing has changed.

use crate::{
    Kind,
    cargo::{Build, Profile},
    component::{assemble, component_of, files_below, missing, write_if_changed},
    ensure_toolchain,
    guests::{Guest, discover},
    say,
};
use anyhow::{Context, Result};
use std::{
    fs::File,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

/// One component on disk, with its manifest beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    pub name: String,
    pub kind: Kind,
    pub component: PathBuf,
    /// A fixture made to be refused before its manifest is read has none.
    pub manifest: Option<PathBuf>,
}

/// What a build script has to watch: files and folders.
pub fn inputs(root: &Path) -> Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> = discover(root)?.into_iter().map(|guest| guest.folder).collect();
    let shared = ["Cargo.toml", "Cargo.lock", "wit", "plugins/sdk", "tests/fixtures", "xtask/guest-build"];
    paths.extend(shared.map(|path| root.join(path)));
    Ok(paths)
}

/// Builds every guest crate and assembles every `tests/fixtures/*.wat`, into
/// `target/plugins` and `target/fixtures`. Safe to call from several processes
/// at once: they take turns, and the later ones find the work done.
pub fn build_all(root: &Path) -> Result<Vec<Built>> {
    let root = &root.canonicalize().with_context(|| format!("there is no workspace at {}", root.display()))?;
    let target_dir = root.join("target").join("guests");
    std::fs::create_dir_all(&target_dir).with_context(|| format!("could not make {}", target_dir.display()))?;
    let lock = File::create(target_dir.join("lock")).context("could not open the lock file")?;
    lock.lock().context("could not lock the guests' folder")?;

    let toolchain = ensure_toolchain()?;
    let guests = discover(root)?;
    let texts = wat_files(root);
    let built = expected(root, &guests, &texts);
    let stamp_file = target_dir.join("stamp");
    let stamp = stamp(root, &toolchain.version())?;
    let complete = built.iter().all(|b| b.component.exists() && b.manifest.as_ref().is_none_or(|m| m.exists()));
    if complete && std::fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp) {
        return Ok(built);
    }

    say(&format!("building {} components", built.len()));
    let rounds = guests.iter().map(|guest| guest.feature_sets().len()).max().unwrap_or(0);
    for round in 0..rounds {
        build_round(root, &target_dir, &guests, round, &toolchain)?;
    }
    for text in &texts {
        let out = folder_of(root, Kind::Fixture).join(text.file_stem().unwrap_or_default());
        write_if_changed(&out.with_extension("wasm"), &assemble(text)?)?;
        if let Ok(manifest) = std::fs::read(text.with_extension("toml")) {
            write_if_changed(&out.with_extension("toml"), &manifest)?;
        }
    }
    write_if_changed(&stamp_file, stamp.as_bytes())?;
    Ok(built)
}

/// One cargo call: every crate that still has a feature set to build.
fn build_round(root: &Path, target_dir: &Path, guests: &[Guest], round: usize, toolchain: &crate::Toolchain) -> Result<()> {
    let due: Vec<(&Guest, &[String])> = guests.iter().filter_map(|guest| Some((guest, *guest.feature_sets().get(round)?))).collect();
    let build = Build {
        manifest: &root.join("Cargo.toml"),
        target_dir: Some(target_dir),
        profile: Profile::Plugin,
        packages: due.iter().map(|(guest, _)| guest.package.as_str()).collect(),
        features: due.iter().flat_map(|(g, features)| features.iter().map(|f| format!("{}/{f}", g.package))).collect(),
    };
    let modules = build.run(toolchain)?;
    for (guest, features) in due {
        let crate_manifest = guest.folder.join("Cargo.toml");
        let module = modules.get(&crate_manifest).with_context(|| missing(&crate_manifest))?;
        let component = component_of(module)?;
        for variant in guest.variants.iter().filter(|variant| variant.features == features) {
            let out = folder_of(root, guest.kind).join(&variant.name);
            let manifest = guest.folder.join(&variant.manifest);
            let text = std::fs::read(&manifest).with_context(|| format!("could not read {}", manifest.display()))?;
            write_if_changed(&out.with_extension("wasm"), &component)?;
            write_if_changed(&out.with_extension("toml"), &text)?;
        }
    }
    Ok(())
}

fn expected(root: &Path, guests: &[Guest], texts: &[PathBuf]) -> Vec<Built> {
    let one = |kind, name: &str, manifest: bool| {
        let out = folder_of(root, kind).join(name);
        let manifest = manifest.then(|| out.with_extension("toml"));
        Built { name: name.to_owned(), kind, component: out.with_extension("wasm"), manifest }
    };
    let mut built: Vec<Built> = Vec::new();
    for guest in guests {
        built.extend(guest.variants.iter().map(|variant| one(guest.kind, &variant.name, true)));
    }
    for text in texts {
        let name = text.file_stem().unwrap_or_default().to_string_lossy();
        built.push(one(Kind::Fixture, &name, text.with_extension("toml").exists()));
    }
    built
}

fn folder_of(root: &Path, kind: Kind) -> PathBuf {
    root.join("target").join(match kind {
        Kind::Plugin => "plugins",
        Kind::Fixture => "fixtures",
    })
}

fn wat_files(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.join("tests/fixtures")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "wat")).collect();
    files.sort();
    files
}

/// Names, sizes and times of all inputs and the compiler's version.
fn stamp(root: &Path, compiler: &str) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    compiler.hash(&mut hasher);
    for input in inputs(root)? {
        let mut files = Vec::new();
        match input.is_dir() {
            true => files_below(&input, &mut files),
            false => files.push(input),
        }
        for file in files {
            let about = std::fs::metadata(&file).with_context(|| format!("could not read {}", file.display()))?;
            (file, about.len(), about.modified().ok()).hash(&mut hasher);
        }
    }
    Ok(format!("{:016x}", hasher.finish()))
}
