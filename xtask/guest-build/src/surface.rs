//! What a component imports and exports, by name.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use wit_component::DecodedWasm;
use wit_parser::{Resolve, WorldItem, WorldKey};

/// Interface names with versions. Interfaces of types alone are left out: they
/// give a plugin nothing to call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surface {
    pub imports: BTreeSet<String>,
    pub exports: BTreeSet<String>,
    /// `interface#function` for each function imported.
    pub functions: BTreeSet<String>,
}

/// Reads the surface of a component.
pub fn surface(component: &[u8]) -> Result<Surface> {
    let decoded = wit_component::decode(component).context("this is not a component")?;
    let DecodedWasm::Component(resolve, world) = decoded else { bail!("this is a WIT package, not a component") };
    let world = resolve.worlds.get(world).context("the component has no world")?;
    let mut surface = Surface::default();
    for (key, item) in &world.imports {
        let name = resolve.name_world_key(key);
        let functions = functions(&resolve, key, item);
        if !functions.is_empty() {
            surface.functions.extend(functions.iter().map(|function| format!("{name}#{function}")));
            surface.imports.insert(name);
        }
    }
    surface.exports = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    Ok(surface)
}

fn functions(resolve: &Resolve, key: &WorldKey, item: &WorldItem) -> Vec<String> {
    match item {
        WorldItem::Interface { id, .. } => {
            let interface = resolve.interfaces.get(*id);
            interface.map(|interface| interface.functions.keys().cloned().collect()).unwrap_or_default()
        }
        WorldItem::Function(_) => vec![resolve.name_world_key(key)],
        WorldItem::Type { .. } => Vec::new(),
    }
}
