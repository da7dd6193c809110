//! What the fixtures of file-backed backends share.

use tempfile::TempDir;

/// The files as a killed process leaves them: what it wrote is there, nothing
/// was closed, and its locks are gone.
pub(crate) fn snapshot(of: &TempDir, name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    // The log before the file it is checkpointed into: what moves in between is then in both.
    for suffix in ["-wal", ""] {
        let file = format!("{name}{suffix}");
        if of.path().join(&file).exists() {
            std::fs::copy(of.path().join(&file), copy.path().join(&file)).unwrap();
        }
    }
    copy
}
