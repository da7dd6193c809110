//! Everything that keeps a plugin from being installed, at once: one broken part does not hide what is wrong with the others.
//!
//! An install refuses at the first step that fails, because the next must not see what that one refused. Here each part
//! is judged that can be: configuration and limits need a manifest, imports and types a component that compiles.

use super::{Loaded, Loader, compile, config_check, digest_of, preflight, structure};
use crate::{
    LoadError, Package,
    contract::CONTRACT,
    glue,
    grants::{Grants, Interfaces},
    manifest::Manifest,
};
use serde::Serialize;
use wasmtime::{
    Engine,
    component::{Component, types::ComponentItem},
};

/// Author-controlled: differing interfaces that are told one by one.
const DIFFERING_MAX: usize = 16;

/// Where a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    Manifest,
    Configuration,
    Component,
    /// It was started, as an install would.
    Probe,
}

/// One reason to refuse a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub place: Place,
    pub problem: String,
    /// What to do about it, where that does not follow from the problem.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(place: Place, problem: impl Into<String>) -> Self {
        Self { place, problem: problem.into(), help: None }
    }

    pub(super) fn helped(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What was found of a plugin.
#[derive(Debug, Default)]
pub struct Examined {
    /// None: it would be installed.
    pub problems: Vec<Problem>,
    /// Worth knowing, and no reason to refuse it.
    pub notices: Vec<String>,
}

impl Loader {
    /// Everything but the probe, for which there is something loaded only if nothing is wrong.
    pub(crate) async fn examine(&self, package: &Package) -> (Examined, Option<Loaded>) {
        let mut found = Examined::default();
        let (manifest, broken) = Manifest::read(&package.manifest);
        found.problems.extend(broken.into_iter().map(|why| Problem::new(Place::Manifest, why)));
        if let Some(manifest) = &manifest {
            for problem in self.of_manifest(manifest, package) {
                // A limit may break a rule of manifests and one of this host: the first tells enough.
                let about = |problem: &Problem| problem.problem.split(" is ").next().unwrap_or_default().to_owned();
                if !found.problems.iter().any(|known| about(known) == about(&problem)) {
                    found.problems.push(problem);
                }
            }
        }
        match self.compiled(package).await {
            Ok(component) => self.of_component(&component, manifest.as_ref(), &mut found),
            Err(problems) => found.problems.extend(problems),
        }
        found.problems.sort_by_key(|problem| problem.place);
        if !found.problems.is_empty() {
            return (found, None);
        }
        match self.load(package, &Default::default()).await {
            Ok(loaded) => {
                found.notices.extend(loaded.notices.iter().filter(|notice| !found.notices.contains(notice)).cloned().collect::<Vec<_>>());
                (found, Some(loaded))
            }
            // What the steps above did not see is told all the same.
            Err(error) => {
                let problems = std::iter::once(error.to_string()).chain(error.problems());
                found.problems.push(Problem::new(Place::Component, problems.collect::<Vec<_>>().join(": ")));
                (found, None)
            }
        }
    }

    fn of_manifest(&self, manifest: &Manifest, package: &Package) -> Vec<Problem> {
        let in_manifest = |error: LoadError| error.problems().into_iter().map(|why| Problem::new(Place::Manifest, why));
        let mut problems: Vec<Problem> = self.within_limits(manifest).err().into_iter().flat_map(in_manifest).collect();
        problems.extend(Grants::compile(&manifest.name, &manifest.grants).err().map(LoadError::Manifest).into_iter().flat_map(in_manifest));
        if let Err(error) = self.capabilities.metrics.declare(&manifest.name, &manifest.metrics) {
            problems.push(Problem::new(Place::Manifest, error.message()));
        }
        let configuration = config_check::check(manifest, package.config.as_ref()).err().unwrap_or_default();
        problems.extend(configuration.into_iter().map(|why| Problem::new(Place::Configuration, why)));
        problems
    }

    async fn compiled(&self, package: &Package) -> Result<Component, Vec<Problem>> {
        let told = |error: LoadError| {
            let problems = error.problems();
            match problems.is_empty() {
                true => vec![Problem::new(Place::Component, error.to_string())],
                false => problems.into_iter().map(|why| Problem::new(Place::Component, why)).collect(),
            }
        };
        if package.component.len() > self.component_max {
            return Err(told(LoadError::TooLarge { size: package.component.len(), limit: self.component_max }));
        }
        structure::check(&package.component).map_err(|problems| told(LoadError::Structure(problems)))?;
        let digest = digest_of(&package.component);
        if let Some(component) = self.cache.get(&self.engine, &digest) {
            return Ok(component);
        }
        let code = compile::in_child(&self.compiler, &self.engine_config, &package.component).await.map_err(told)?;
        self.cache.put(&self.engine, &digest, &code).map_err(|e| told(LoadError::Compile(format!("{e:#}"))))
    }

    fn of_component(&self, component: &Component, manifest: Option<&Manifest>, found: &mut Examined) {
        let seen = preflight::check(&self.engine, component, manifest);
        found.problems.extend(seen.problems.iter().cloned());
        found.notices.extend(seen.notices.iter().cloned());
        if let Some(manifest) = manifest {
            found.notices.extend(unused(manifest, &seen.imports));
        }
        // An import that the host does not have at all would be told a second time.
        found.problems.extend(differing(&self.engine, component, seen.wasi, &seen.absent));
    }
}

/// Granted, and nothing in the component could use it.
fn unused(manifest: &Manifest, imports: &[String]) -> Vec<String> {
    let imports_one = |packages: &[&str]| imports.iter().any(|import| packages.iter().any(|package| import.starts_with(package)));
    let Interfaces { cache, queue, database, http, audit_write, audit_read, audit_personal, metrics, log, secret_keys, secret_reveal } =
        Interfaces::of(&manifest.grants);
    let rows: [(&str, bool, &[&str]); 11] = [
        ("cache", cache, &["plinth:cache/", "wasi:keyvalue/"]),
        ("queue", queue, &["plinth:queue/", "plinth:outbox/", "wasmcloud:messaging/consumer"]),
        ("database", database, &["plinth:database/"]),
        ("http", http, &["wasi:http/outgoing-handler"]),
        ("audit.write", audit_write, &["plinth:audit/writer", "plinth:audit/personal-writer", "plinth:outbox/"]),
        ("audit.read", audit_read, &["plinth:audit/reader"]),
        ("audit.personal", audit_personal, &["plinth:audit/personal-writer", "plinth:outbox/personal-outbox"]),
        ("metrics", metrics, &["plinth:metrics/"]),
        ("log", log, &["plinth:log/", "wasi:logging/"]),
        ("secrets.keys", secret_keys, &["plinth:secrets/keys"]),
        ("secrets.reveal", secret_reveal, &["plinth:secrets/reveal"]),
    ];
    let unused = rows.into_iter().filter(|(_, granted, packages)| *granted && !imports_one(packages));
    unused.map(|(grant, ..)| format!("grants.{grant} is asked for, and the component imports nothing that needs it")).collect()
}

/// Imports whose functions have other types here. Each that is found is then taken out of the comparison, so that the
/// next is found, too.
fn differing(engine: &Engine, component: &Component, wasi: bool, absent: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut linker = match glue::link(engine, Interfaces::ALL, wasi) {
        Ok(linker) => linker,
        Err(error) => return vec![Problem::new(Place::Component, format!("{error:#}"))],
    };
    linker.allow_shadowing(true);
    if !absent.is_empty() && linker.define_unknown_imports_as_traps(component).is_err() {
        return problems;
    }
    let mut told: Vec<String> = Vec::new();
    for _ in 0..DIFFERING_MAX {
        let Err(error) = linker.instantiate_pre(component) else { return problems };
        let text = format!("{error:#}");
        let mut quoted = text.split('`').skip(1).step_by(2);
        let Some(interface) = quoted.next().filter(|name| !told.iter().any(|known| known == name)).map(str::to_owned) else {
            if problems.is_empty() {
                problems.push(Problem::new(Place::Component, text));
            }
            return problems;
        };
        if !absent.contains(&interface) {
            problems.push(difference(&interface, quoted.next(), &text));
        }
        if !stands_in(&mut linker, engine, component, &interface) {
            return problems;
        }
        told.push(interface);
    }
    problems
}

fn difference(interface: &str, function: Option<&str>, chain: &str) -> Problem {
    let package = interface.split(['/', '@']).next().unwrap_or(interface);
    let ours = CONTRACT.iter().find(|offered| offered.package == package).map_or("", |offered| offered.version);
    let place = function.map_or_else(String::new, |function| format!(", function {}", plain(function)));
    // The chain begins with what was just said.
    let detail = chain.rsplit_once("wrong type: ").map_or(chain, |(_, detail)| detail);
    Problem::new(Place::Component, format!("type of {interface}{place} differs from {package}@{ours}: {detail}"))
        .helped("rebuild the plugin against the released WIT; `plinth plugin new` writes it to wit/deps")
}

fn plain(function: &str) -> &str {
    function.trim_start_matches("[method]").trim_start_matches("[static]")
}

/// Puts functions of the wanted types in the place of ours.
fn stands_in(
    linker: &mut wasmtime::component::Linker<crate::state::CallState>,
    engine: &Engine,
    component: &Component,
    interface: &str,
) -> bool {
    let types = component.component_type();
    let Some((_, item)) = types.imports(engine).find(|(name, _)| *name == interface) else { return false };
    let ComponentItem::ComponentInstance(instance) = item.ty else { return false };
    let Ok(mut place) = linker.instance(interface) else { return false };
    for (name, item) in instance.exports(engine) {
        if matches!(item.ty, ComponentItem::ComponentFunc(_)) {
            let never = |_: wasmtime::StoreContextMut<'_, _>, _, _: &[_], _: &mut [_]| Err(wasmtime::format_err!("never called"));
            if place.func_new(name, never).is_err() {
                return false;
            }
        }
    }
    true
}
