//! The contract itself: it parses, it resolves, and the rules that keep 1.x
//! open hold.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends by panicking")]

use std::{collections::BTreeMap, path::Path};
use wit_parser::{Resolve, TypeDefKind, WorldItem};

fn contract() -> Resolve {
    let mut resolve = Resolve::default();
    resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")).unwrap();
    resolve
}

#[test]
fn every_hook_resolves_with_all_imports() {
    let resolve = contract();
    let (_, world) = resolve.worlds.iter().find(|(_, world)| world.name == "every-hook").expect("the world every-hook");
    let exports: Vec<String> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    for hook in ["event-listener", "task-handler", "decision", "scheduled-job", "lifecycle", "health"] {
        assert!(exports.contains(&format!("plinth:hooks/{hook}@1.0.0")), "{exports:?}");
    }
    let imports: Vec<String> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    for import in ["plinth:cache/buckets@1.0.0", "plinth:outbox/outbox@1.0.0", "wasi:config/store@0.2.0-rc.1"] {
        assert!(imports.contains(&import.to_owned()), "{imports:?}");
    }
}

/// Some toolchains name modules by the bare interface name: a second one of the
/// same name would rename the first in every plugin's code. Interfaces of
/// others are for guests that have them instead of ours.
#[test]
fn interface_names_are_unique_across_packages() {
    let resolve = contract();
    let (_, world) = resolve.worlds.iter().find(|(_, world)| world.name == "every-hook").expect("the world every-hook");
    let mut seen = BTreeMap::new();
    for item in world.imports.values().chain(world.exports.values()) {
        let WorldItem::Interface { id, .. } = item else { panic!("worlds hold interfaces") };
        let name = resolve.interfaces[*id].name.clone().unwrap_or_default();
        let full = resolve.id_of(*id).unwrap_or_default();
        assert_eq!(seen.insert(name, full.clone()), None, "{full}");
    }
}

/// What an exported interface uses must come from an interface of types alone,
/// or every plugin with that hook would import functions it never asked for.
#[test]
fn hooks_drag_no_functions_into_a_plugin() {
    let resolve = contract();
    let hooks = resolve.worlds.iter().filter(|(_, world)| world.name == "every-hook").flat_map(|(_, world)| world.exports.values());
    for item in hooks {
        let WorldItem::Interface { id, .. } = item else { panic!("hooks are interfaces") };
        for dependency in resolve.interface_direct_deps(*id) {
            assert!(resolve.interfaces[dependency].functions.is_empty(), "{:?}", resolve.id_of(dependency));
        }
    }
}

/// Error variants are closed for 1.x: new conditions need the case `other`.
#[test]
fn every_error_has_a_last_case_for_what_is_not_known_yet() {
    let resolve = contract();
    let ours = |id: wit_parser::InterfaceId| resolve.id_of(id).is_some_and(|name| name.starts_with("plinth:"));
    let mut checked = 0;
    for (_, definition) in &resolve.types {
        let wit_parser::TypeOwner::Interface(owner) = definition.owner else { continue };
        if let (Some("error"), TypeDefKind::Variant(variant), true) = (definition.name.as_deref(), &definition.kind, ours(owner)) {
            assert_eq!(variant.cases.last().unwrap().name, "other", "{:?}", resolve.id_of(owner));
            checked += 1;
        }
    }
    assert_eq!(checked, 5, "cache, queue, database, audit and secrets");
}

/// Guests in JavaScript and C++ cannot call async functions yet.
#[test]
fn no_function_is_async() {
    let resolve = contract();
    for (id, interface) in &resolve.interfaces {
        for function in interface.functions.values() {
            assert!(!function.kind.is_async(), "{:?} {}", resolve.id_of(id), function.name);
        }
    }
}
