//! The preflight: everything in a component that this host cannot serve, reported at once and in plain words.

use crate::{
    contract::{CONFIG_DRAFTS, CONTRACT, Offered, WASI, WASI_TRACK},
    grants::Interfaces,
    hook::Hook,
    manifest::Manifest,
};
use wasmtime::{
    Engine,
    component::{
        Component,
        types::{ComponentInstance, ComponentItem},
    },
};

#[derive(Debug, Default)]
pub(super) struct Found {
    /// Any one of these keeps the component from loading.
    pub(super) problems: Vec<String>,
    /// Worth knowing, and no reason to refuse.
    pub(super) notices: Vec<String>,
    pub(super) imports: Vec<String>,
    /// It imports WASI, which is linked and denied.
    pub(super) wasi: bool,
}

/// `plinth:cache/buckets@1.0.0` taken apart.
struct Name<'a> {
    package: &'a str,
    interface: &'a str,
    version: Option<semver::Version>,
}

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (path, version) = text.split_once('@').map_or((text, None), |(path, version)| (path, Some(version)));
        let (package, interface) = path.split_once('/')?;
        let version = match version {
            Some(version) => Some(semver::Version::parse(version).ok()?),
            None => None,
        };
        Some(Self { package, interface, version })
    }
}

pub(super) fn check(engine: &Engine, component: &Component, manifest: &Manifest) -> Found {
    let mut found = Found::default();
    let types = component.component_type();
    for (name, item) in types.imports(engine) {
        match item.ty {
            ComponentItem::ComponentInstance(instance) => import(&mut found, engine, name, &instance, manifest),
            _ => found.problems.push(format!("imports `{name}` by itself; capabilities are interfaces")),
        }
    }
    let exports: Vec<&str> = types.exports(engine).map(|(name, _)| name).collect();
    hooks(&mut found, &exports, manifest);
    found
}

fn import(found: &mut Found, engine: &Engine, text: &str, instance: &ComponentInstance, manifest: &Manifest) {
    let Some(name) = Name::parse(text) else {
        found.problems.push(format!("imports `{text}`, a name this host cannot read; rebuild with the tools this host names"));
        return;
    };
    found.imports.push(text.to_owned());
    if WASI.contains(&name.package) {
        found.wasi = true;
        if name.version.as_ref().is_none_or(|v| (v.major, v.minor) != WASI_TRACK) {
            found.problems.push(format!("needs {text}; this host offers WASI 0.2"));
        }
        return;
    }
    let offered: Vec<&Offered> = CONTRACT.iter().filter(|o| !o.hook && o.package == name.package).collect();
    let Some(first) = offered.first() else {
        found.problems.push(format!("unknown capability {}", name.package));
        return;
    };
    if let Some(problem) = wrong_version(&name, first.version) {
        found.problems.push(problem);
        return;
    }
    let newer = is_newer(&name, first.version);
    let Some(interface) = offered.iter().find(|o| o.interface == name.interface) else {
        found.problems.push(missing(&name, first.version, newer, &[name.interface.to_owned()]));
        return;
    };
    let gone: Vec<String> = instance
        .exports(engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
        .map(|(function, _)| function)
        .filter(|function| !interface.functions.contains(function))
        .map(|function| function.trim_start_matches("[method]").trim_start_matches("[static]").to_owned())
        .collect();
    if !gone.is_empty() {
        found.problems.push(missing(&name, first.version, newer, &gone));
    } else if newer {
        found.notices.push(format!("built against {text}; this host has {}, and nothing it uses is missing", first.version));
    }
    if !granted(&Interfaces::of(&manifest.grants), &name) {
        found.problems.push(format!("asks for {}/{}, not granted: the manifest requests no grant for it", name.package, name.interface));
    }
}

/// A major this host does not have, or a draft it does not know.
fn wrong_version(name: &Name<'_>, ours: &str) -> Option<String> {
    let ours_read = semver::Version::parse(ours).ok()?;
    let Some(wanted) = &name.version else {
        return Some(format!("needs {} without a version; this host offers {ours}", name.package));
    };
    if !wanted.pre.is_empty() || !ours_read.pre.is_empty() {
        let text = wanted.to_string();
        let known = text == ours || (name.package == "wasi:config" && CONFIG_DRAFTS.contains(&text.as_str()));
        return (!known).then(|| format!("built against draft {}@{wanted}; this host knows {ours}", name.package));
    }
    (wanted.major != ours_read.major).then(|| format!("needs {}@{}, this host offers {ours}", name.package, wanted.major))
}

fn is_newer(name: &Name<'_>, ours: &str) -> bool {
    let ours = semver::Version::parse(ours).ok();
    name.version.as_ref().zip(ours).is_some_and(|(wanted, ours)| wanted.pre.is_empty() && wanted.minor > ours.minor)
}

fn missing(name: &Name<'_>, ours: &str, newer: bool, gone: &[String]) -> String {
    let list = gone.join(", ");
    match (&name.version, newer) {
        (Some(wanted), true) => format!(
            "built against {}@{wanted}, this host has {ours}; missing: {list}. Update the host, or rebuild against the WIT of {ours}",
            name.package
        ),
        _ => format!("{}/{}: {list} is not part of any 1.x", name.package, name.interface),
    }
}

fn granted(grants: &Interfaces, name: &Name<'_>) -> bool {
    let types_only = name.interface.ends_with("-types");
    types_only
        || match (name.package, name.interface) {
            ("plinth:cache", _) => grants.cache,
            ("plinth:queue", _) => grants.queue,
            ("plinth:database" | "plinth:outbox", _) => grants.database,
            ("plinth:audit", "writer") => grants.audit_write,
            ("plinth:audit", "reader") => grants.audit_read,
            ("plinth:metrics", _) => grants.metrics,
            ("plinth:log", _) => grants.log,
            ("plinth:secrets", "keys") => grants.secret_keys,
            ("plinth:secrets", "reveal") => grants.secret_reveal,
            ("plinth:context" | "wasi:config", _) => true,
            _ => false,
        }
}

/// Hooks exported and hooks bound must meet.
fn hooks(found: &mut Found, exports: &[&str], manifest: &Manifest) {
    let mut exported = Vec::new();
    for text in exports {
        let Some(name) = Name::parse(text) else { continue };
        if name.package == "wasi:http" && name.interface == "incoming-handler" {
            exported.push(Hook::Http);
            continue;
        }
        if name.package != "plinth:hooks" {
            continue;
        }
        let offered = CONTRACT.iter().find(|o| o.hook && o.interface == name.interface);
        let hook = Hook::ALL.into_iter().find(|h| h.name() == name.interface);
        match (offered, hook) {
            (Some(offered), Some(hook)) => match wrong_version(&name, offered.version) {
                Some(_) => found.problems.push(format!("exports {text}, this host calls {}", offered.version)),
                None => exported.push(hook),
            },
            _ if name.interface == "hook-types" => {}
            _ => found.notices.push(format!("exports {text}, which this host does not call")),
        }
    }
    if exported.is_empty() {
        let known: Vec<_> = Hook::ALL.iter().map(|h| h.name()).collect();
        found.problems.push(format!(
            "exports no hook to call; this host knows {}; the component exports [{}]",
            known.join(", "),
            exports.join(", ")
        ));
    }
    for hook in manifest.bound_hooks() {
        if !exported.contains(&hook) {
            found.problems.push(format!("the manifest binds hooks.{}, the component does not export it", hook.name()));
        }
    }
    for hook in exported {
        let binds = manifest.bound_hooks().contains(&hook) || matches!(hook, Hook::Lifecycle | Hook::Health);
        if !binds {
            found.notices.push(format!("exports {}, and the manifest binds nothing to it", hook.name()));
        }
    }
}
