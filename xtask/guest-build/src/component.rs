//! From a core module to a component on disk.

use crate::{
    cargo::{Build, Profile},
    toolchain::Toolchain,
};
use anyhow::{Context, Result, bail};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};
use wit_component::ComponentEncoder;

/// The component of the plugin crate in `folder`. Its own workspace, if any,
/// decides on dependency versions; cargo builds where it always does, or in
/// `target_dir`.
pub fn build_plugin(toolchain: &Toolchain, folder: &Path, profile: Profile, target_dir: Option<&Path>) -> Result<Vec<u8>> {
    let manifest = folder.join("Cargo.toml");
    let manifest = manifest.canonicalize().with_context(|| format!("there is no crate at {}", folder.display()))?;
    let build = Build { manifest: &manifest, target_dir, profile, packages: Vec::new(), features: Vec::new() };
    let modules = build.run(toolchain)?;
    let module = modules.get(&manifest).with_context(|| missing(&manifest))?;
    component_of(module)
}

/// Encodes one core module, checking that the result is valid.
pub(crate) fn component_of(module: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(module).with_context(|| format!("could not read {}", module.display()))?;
    let mut encoder = ComponentEncoder::default();
    // A guest that calls an operating system fails here, on purpose.
    encoder
        .validate(true)
        .module(&bytes)
        .and_then(|ready| ready.encode())
        .with_context(|| format!("{} does not make a component", module.display()))
}

/// Assembles a component from its text.
pub(crate) fn assemble(text: &Path) -> Result<Vec<u8>> {
    let bytes = wat::parse_file(text).with_context(|| format!("could not assemble {}", text.display()))?;
    if !wit_component::decode(&bytes).is_ok_and(|decoded| matches!(decoded, wit_component::DecodedWasm::Component(..))) {
        bail!("{} is not a valid component", text.display());
    }
    Ok(bytes)
}

/// Writes by rename, so that nobody reads half a file, and not at all if the
/// bytes are there already, so that their time stamp says when they changed.
pub fn write_if_changed(path: &Path, bytes: &[u8]) -> Result<()> {
    static WRITES: AtomicU32 = AtomicU32::new(0);
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    let unique = format!("tmp-{}-{}", std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
    let temporary = path.with_extension(unique);
    std::fs::write(&temporary, bytes).with_context(|| format!("could not write {}", temporary.display()))?;
    std::fs::rename(&temporary, path).with_context(|| format!("could not write {}", path.display()))
}

pub(crate) fn missing(manifest: &Path) -> String {
    format!("{} made no wasm: is `crate-type = [\"cdylib\"]` set?", manifest.display())
}

/// Every file below a folder that can change what is built, sorted.
pub(crate) fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match path.is_dir() {
            true if name != "target" && name != "node_modules" && !name.starts_with('.') => files_below(&path, found),
            false => found.push(path),
            true => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_keep_their_time_stamp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/a.wasm");
        write_if_changed(&path, b"one").unwrap();
        let first = std::fs::metadata(&path).unwrap().modified().unwrap();
        write_if_changed(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), first);
        write_if_changed(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_folder_without_a_crate_is_named() {
        let toolchain = Toolchain::Target { cargo: "cargo".into(), rustc: "rustc".into() };
        let error = build_plugin(&toolchain, Path::new("/nowhere/at/all"), Profile::Quick, None).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/at/all"), "{error:#}");
    }
}
