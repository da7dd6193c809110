//! Builds the plugins and fixtures that the tests load, so that `cargo test` needs no step before it.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for input in plinth_guest_build::inputs(&root)? {
        println!("cargo::rerun-if-changed={}", input.display());
    }
    plinth_guest_build::build_all(&root)?;
    Ok(())
}
