//! Reads the WIT packages and writes down what this host offers, for the preflight.

use std::{env, error::Error, fmt::Write, fs, path::Path};
use wit_parser::{Resolve, WorldItem};

#[expect(clippy::indexing_slicing, reason = "ids come from the very resolve they index")]
fn main() -> Result<(), Box<dyn Error>> {
    let wit = Path::new("../../../wit");
    println!("cargo::rerun-if-changed={}", wit.display());
    let mut resolve = Resolve::default();
    let (root, _) = resolve.push_dir(wit)?;
    let mut text = String::from("pub(crate) static CONTRACT: &[Offered] = &[\n");
    let everything = resolve.select_world(&[root], Some("every-interface"))?;
    let world = &resolve.worlds[everything];
    for (items, hook) in [(&world.imports, false), (&world.exports, true)] {
        for item in items.values() {
            let WorldItem::Interface { id, .. } = item else { continue };
            let interface = &resolve.interfaces[*id];
            let (Some(name), Some(package)) = (&interface.name, interface.package) else { continue };
            let package = &resolve.packages[package].name;
            let version = package.version.as_ref().map(ToString::to_string).unwrap_or_default();
            let functions: Vec<&str> = interface.functions.keys().map(String::as_str).collect();
            writeln!(
                text,
                "    Offered {{ package: {:?}, interface: {name:?}, version: {version:?}, functions: &{functions:?}, hook: {hook} }},",
                format!("{}:{}", package.namespace, package.name)
            )?;
        }
    }
    text.push_str("];\n");
    // Cargo gives a build script its output folder only through the environment.
    #[expect(clippy::disallowed_methods, reason = "a build script has no other way to learn its output folder")]
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("contract.rs"), text)?;
    Ok(())
}
