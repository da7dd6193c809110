//! The preflight: everything in a component that this host cannot serve, reported at once and in plain words.

use super::examine::{Place, Problem};
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
    pub(super) problems: Vec<Problem>,
    /// Worth knowing, and no reason to refuse.
    pub(super) notices: Vec<String>,
    pub(super) imports: Vec<String>,
    /// Of the imports those that this host does not have.
    pub(super) absent: Vec<String>,
    /// It imports WASI, which is linked and denied.
    pub(super) wasi: bool,
}

impl Found {
    fn refuse(&mut self, problem: impl Into<String>, help: impl Into<String>) {
        let help = help.into();
        let problem = Problem::new(Place::Component, problem);
        self.problems.push(if help.is_empty() { problem } else { problem.helped(help) });
    }
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

/// Without a manifest, what has to do with it is not judged.
pub(super) fn check(engine: &Engine, component: &Component, manifest: Option<&Manifest>) -> Found {
    let mut found = Found::default();
    let types = component.component_type();
    for (name, item) in types.imports(engine) {
        match item.ty {
            ComponentItem::ComponentInstance(instance) => import(&mut found, engine, name, &instance, manifest),
            _ => {
                found.absent.push(name.to_owned());
                found.refuse(
                    format!("imports `{name}` by itself; capabilities are interfaces"),
                    "import the interface that has it: the world in wit/ names interfaces only",
                );
            }
        }
    }
    let exports: Vec<&str> = types.exports(engine).map(|(name, _)| name).collect();
    hooks(&mut found, &exports, manifest);
    found
}

fn import(found: &mut Found, engine: &Engine, text: &str, instance: &ComponentInstance, manifest: Option<&Manifest>) {
    let Some(name) = Name::parse(text) else {
        found
            .refuse(format!("imports `{text}`, a name this host cannot read"), "rebuild with the tools that the README of this host names");
        return;
    };
    found.imports.push(text.to_owned());
    if WASI.contains(&name.package) {
        found.wasi = true;
        if name.version.as_ref().is_none_or(|v| (v.major, v.minor) != WASI_TRACK) {
            found.absent.push(text.to_owned());
            found.refuse(
                format!("needs {text}; this host offers WASI 0.2"),
                "build for the target wasm32-wasip2, or with tools of that generation",
            );
        }
        return;
    }
    let offered = offered(&name, false);
    let problem = match offered.first() {
        None => Some((format!("unknown capability {}", name.package), format!("this host offers {}, and WASI 0.2", packages().join(", ")))),
        Some(first) => refused(&name, first, &offered, engine, instance),
    };
    if let Some((problem, help)) = problem {
        found.absent.push(text.to_owned());
        found.refuse(problem, help);
        return;
    }
    let ours = offered.first().map_or("", |first| first.version);
    if is_newer(&name, ours) {
        found.notices.push(format!("built against {text}; this host has {ours}, and nothing it uses is missing"));
    }
    if manifest.is_some_and(|manifest| !granted(&Interfaces::of(&manifest.grants), &name)) {
        let problem = format!("asks for {}/{}, not granted: the manifest requests no grant for it", name.package, name.interface);
        found.refuse(problem, format!("if the plugin needs it, ask for it in plugin.toml:\n{}", request(&name)));
    }
}

/// What the host has of a package; of several versions the one that is named, or else the first.
fn offered(name: &Name<'_>, hook: bool) -> Vec<&'static Offered> {
    let all: Vec<&Offered> = CONTRACT.iter().filter(|o| o.hook == hook && o.package == name.package).collect();
    let wanted = name.version.as_ref().map(ToString::to_string);
    let version = all.iter().find(|o| Some(o.version) == wanted.as_deref()).or(all.first()).map(|o| o.version);
    all.into_iter().filter(|o| Some(o.version) == version).collect()
}

/// Every spelling of a package's draft that this host knows.
fn drafts(package: &str) -> Vec<&'static str> {
    let mut known: Vec<&str> = CONTRACT.iter().filter(|o| o.package == package).map(|o| o.version).collect();
    if package == "wasi:config" {
        known.extend(CONFIG_DRAFTS);
    }
    known.dedup();
    known
}

/// Why the host has no such interface, or not all of it; and what to do.
fn refused(
    name: &Name<'_>,
    first: &Offered,
    offered: &[&Offered],
    engine: &Engine,
    instance: &ComponentInstance,
) -> Option<(String, String)> {
    let against = format!("rebuild the plugin against the WIT of {}@{}", name.package, first.version);
    if let Some(problem) = wrong_version(name, first.version) {
        return Some((problem, against));
    }
    let newer = is_newer(name, first.version);
    // Of a newer one the problem says it.
    let rebuild = || if newer { String::new() } else { against.clone() };
    let Some(interface) = offered.iter().find(|o| o.interface == name.interface) else {
        return Some((missing(name, first.version, newer, &[name.interface.to_owned()]), rebuild()));
    };
    let gone: Vec<String> = instance
        .exports(engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
        .map(|(function, _)| function)
        .filter(|function| !interface.functions.contains(function))
        .map(|function| function.trim_start_matches("[method]").trim_start_matches("[static]").to_owned())
        .collect();
    (!gone.is_empty()).then(|| (missing(name, first.version, newer, &gone), rebuild()))
}

/// Packages of interfaces that plugins may import.
fn packages() -> Vec<&'static str> {
    let mut packages: Vec<&str> =
        CONTRACT.iter().filter(|offered| !offered.hook && offered.package != "plinth:hooks").map(|offered| offered.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// How a manifest asks for an interface.
fn request(name: &Name<'_>) -> &'static str {
    match (name.package, name.interface) {
        ("plinth:cache" | "wasi:keyvalue", _) => "[grants.cache.NAME]",
        ("plinth:queue" | "wasmcloud:messaging", _) => "[grants.queue.NAME]\ntopic = \"TOPIC\"",
        ("plinth:outbox", "personal-outbox") => "[grants.database.NAME]\n\n[grants.audit]\nwrite = [\"ACTION.*\"]\npersonal = true",
        ("plinth:database" | "plinth:outbox", _) => "[grants.database.NAME]",
        ("plinth:audit", "reader") => "[grants.audit]\nread = true",
        ("plinth:audit", "personal-writer") => "[grants.audit]\nwrite = [\"ACTION.*\"]\npersonal = true",
        ("plinth:audit", _) => "[grants.audit]\nwrite = [\"ACTION.*\"]",
        ("plinth:metrics", _) => "[grants.metrics]\nenabled = true",
        ("plinth:secrets", "reveal") => "[grants.secrets]\nreveal = [\"NAME\"]",
        ("plinth:secrets", _) => "[grants.secrets]\nkeys = [\"NAME\"]",
        _ => "[grants.log]\nenabled = true",
    }
}

/// A major this host does not have, or a draft it does not know.
fn wrong_version(name: &Name<'_>, ours: &str) -> Option<String> {
    let ours_read = semver::Version::parse(ours).ok()?;
    let Some(wanted) = &name.version else {
        // Which components name it like that.
        if name.package == "wasi:logging" {
            return None;
        }
        return Some(format!("needs {} without a version; this host offers {ours}", name.package));
    };
    if !wanted.pre.is_empty() || !ours_read.pre.is_empty() {
        let text = wanted.to_string();
        let known = drafts(name.package);
        let unknown = !known.contains(&text.as_str());
        return unknown.then(|| format!("built against draft {}@{wanted}; this host knows {}", name.package, known.join(", ")));
    }
    if wanted.major == 0 && wanted.minor != ours_read.minor {
        return Some(format!("needs {}@0.{}, this host offers {ours}", name.package, wanted.minor));
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
    let types_only = name.interface.ends_with("-types") || name.interface == "types";
    types_only
        || match (name.package, name.interface) {
            ("plinth:cache" | "wasi:keyvalue", _) => grants.cache,
            ("plinth:queue" | "wasmcloud:messaging", _) => grants.queue,
            ("plinth:outbox", "personal-outbox") => grants.database && grants.audit_personal,
            ("plinth:database" | "plinth:outbox", _) => grants.database,
            ("plinth:audit", "writer") => grants.audit_write,
            ("plinth:audit", "reader") => grants.audit_read,
            ("plinth:audit", "personal-writer") => grants.audit_personal,
            ("plinth:metrics", _) => grants.metrics,
            ("plinth:log" | "wasi:logging", _) => grants.log,
            ("plinth:secrets", "keys") => grants.secret_keys,
            ("plinth:secrets", "reveal") => grants.secret_reveal,
            ("plinth:context" | "wasi:config", _) => true,
            _ => false,
        }
}

/// Hooks exported and hooks bound must meet.
fn hooks(found: &mut Found, exports: &[&str], manifest: Option<&Manifest>) {
    let mut exported = Vec::new();
    let mut refused = Vec::new();
    for text in exports {
        let Some(name) = Name::parse(text) else { continue };
        if name.package == "wasi:http" && name.interface == "incoming-handler" {
            exported.push(Hook::Http);
            continue;
        }
        let hook = match (name.package, name.interface) {
            ("plinth:hooks", interface) => Hook::ALL.into_iter().find(|h| h.name() == interface),
            ("wasmcloud:messaging", "handler") => Some(Hook::TaskHandler),
            _ => continue,
        };
        let offered = offered(&name, true).into_iter().find(|o| o.interface == name.interface);
        match (offered, hook) {
            (Some(offered), Some(hook)) => match wrong_version(&name, offered.version) {
                Some(_) => {
                    refused.push(hook);
                    let help = format!("rebuild the plugin against the WIT of {}@{}", name.package, offered.version);
                    found.refuse(format!("exports {text}, this host calls {}", offered.version), help);
                }
                None => exported.push(hook),
            },
            _ if name.interface == "hook-types" => {}
            _ => found.notices.push(format!("exports {text}, which this host does not call")),
        }
    }
    if exported.is_empty() && refused.is_empty() {
        let known: Vec<_> = Hook::ALL.iter().map(|h| h.name()).collect();
        found.refuse(
            format!("exports no hook to call; this host knows {}; the component exports [{}]", known.join(", "), exports.join(", ")),
            "export at least one: in Rust `plugin!(Plugin: event_listener)`, elsewhere by the world in wit/",
        );
    }
    let Some(manifest) = manifest else { return };
    for hook in manifest.bound_hooks() {
        if !exported.contains(&hook) && !refused.contains(&hook) {
            let name = hook.name();
            found.refuse(
                format!("the manifest binds hooks.{name}, the component does not export it"),
                format!("export {name} from the component, or take [hooks.{name}] out of plugin.toml"),
            );
        }
    }
    for hook in exported {
        let binds = manifest.bound_hooks().contains(&hook) || matches!(hook, Hook::Lifecycle | Hook::Health);
        if !binds {
            found.notices.push(format!("exports {}, and the manifest binds nothing to it", hook.name()));
        }
    }
}
