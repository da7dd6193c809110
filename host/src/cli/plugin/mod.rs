//! `plinth plugin`: scaffold, build, check, push, pull and inspect offline; install, list, show, roll back and remove on a running host.

mod build;
mod check;
mod contract_files;
mod dev;
mod new;
mod oci;
mod test;

use super::{
    Complaint, Done, Remote, block_on, chain,
    client::{Change, Removed, Slot, SlotList, Upload},
};
use build::Project;
use clap::{Args, Subcommand};
use comfy_table::Table;
use plinth_runtime::inspect::Inspected;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(super) enum PluginCommand {
    /// A new plugin in a folder of its own, which builds and passes its own test at once.
    New(new::New),
    /// Build a plugin's folder into a component, and check it.
    Build(build::Build),
    /// Build and swap into a running host whenever a source is saved.
    Dev(dev::Dev),
    /// Play a plugin's cases, without a host: what is given, what happens, and what must come of it.
    Test(test::Test),
    /// Check a component and its manifest without a host: everything `install` would refuse, all at once, and what to do.
    Check(check::Check),
    /// Put a component and its manifest into an OCI registry, or a folder of the same layout.
    Push(oci::Push),
    /// Get them from there; what comes is held against its digest.
    Pull(oci::Pull),
    /// What a component says about itself, offline: imports, exports, sizes, digest, and the tools it was made with.
    Inspect {
        /// The component, e.g. greeter.wasm.
        component: PathBuf,
        #[command(flatten)]
        remote: Remote,
    },
    /// Install a plugin, or swap the installed version for this one. No request is lost.
    Install {
        #[command(flatten)]
        package: Files,
        /// Approve every grant the manifest asks for. Without it, grants beyond those approved before are listed and refused.
        #[arg(long)]
        approve: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Every plugin with its version and state.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// One plugin: versions, hooks, grants, limits, live calls.
    Show {
        plugin: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Back to the previous version, which is still compiled.
    Rollback {
        plugin: String,
        #[command(flatten)]
        remote: Remote,
    },
    /// Remove a plugin. Messages waiting for it are kept.
    Remove {
        plugin: String,
        #[command(flatten)]
        remote: Remote,
    },
}

/// A plugin as its author hands it over.
#[derive(Args)]
pub(super) struct Files {
    /// The component, e.g. greeter.wasm.
    component: PathBuf,
    /// Its manifest, plugin.toml.
    manifest: PathBuf,
    /// A JSON file whose values go over the manifest's configuration.
    #[arg(long)]
    config: Option<PathBuf>,
}

fn read(path: &Path) -> Result<Vec<u8>, Complaint> {
    std::fs::read(path).map_err(|e| Complaint::usage(format!("{}: {e}", path.display())))
}

fn read_text(path: &Path) -> Result<String, Complaint> {
    String::from_utf8(read(path)?).map_err(|_| Complaint::usage(format!("{} is not text", path.display())))
}

impl Files {
    fn upload(&self, approve_grants: bool) -> Result<Upload, Complaint> {
        let config = self.config.as_deref().map(read_text).transpose()?;
        Ok(Upload { component: read(&self.component)?, manifest: read_text(&self.manifest)?, config, approve_grants })
    }
}

impl PluginCommand {
    pub(super) fn run(self, env: impl Fn(&str) -> Option<String>) -> Done {
        match self {
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(env),
            Self::Dev(dev) => dev.run(),
            Self::Test(test) => test.run(),
            Self::Check(check) => check.run(),
            Self::Push(push) => push.run(env),
            Self::Pull(pull) => pull.run(env),
            Self::Inspect { component, remote } => inspect(&component, remote.json),
            Self::Install { package, approve, remote } => {
                let upload = package.upload(approve)?;
                let change = block_on(async { Ok(remote.client()?.install(upload).await?) })?;
                remote.print(change, |change: Change| told(&change))
            }
            Self::List { remote } => {
                let list = block_on(async { Ok(remote.client()?.list().await?) })?;
                remote.print(list, |list: SlotList| table(&list.plugins).to_string())
            }
            Self::Show { plugin, remote } => {
                let slot = block_on(async { Ok(remote.client()?.show(&plugin).await?) })?;
                remote.print(slot, |slot: Slot| shown(&slot))
            }
            Self::Rollback { plugin, remote } => {
                let change = block_on(async { Ok(remote.client()?.roll_back(&plugin).await?) })?;
                remote.print(change, |change: Change| told(&change))
            }
            Self::Remove { plugin, remote } => {
                let removed = block_on(async { Ok(remote.client()?.remove(&plugin).await?) })?;
                remote.print(removed, |removed: Removed| format!("{} removed, generation {}", removed.plugin, removed.generation))
            }
        }
    }
}

fn inspect(component: &Path, json: bool) -> Done {
    let found = Inspected::read(&read(component)?).map_err(|why| Complaint::failed(format!("{}: {why}", component.display())))?;
    if json {
        println!("{:#}", serde_json::json!(found));
        return Ok(());
    }
    let sizes = found.sizes;
    println!("{}", found.digest);
    println!("{} bytes: {} code, {} data, {} custom sections", sizes.whole, sizes.code, sizes.data, sizes.custom);
    println!("{} core modules, {} functions", found.core_modules, found.functions);
    for (field, tools) in &found.made_with {
        println!("{field}: {}", tools.iter().map(String::as_str).collect::<Vec<_>>().join(", "));
    }
    for (title, names) in [("imports", &found.imports), ("exports", &found.exports)] {
        println!("{title}:{}", names.iter().map(|name| format!("\n  {name}")).collect::<String>());
    }
    Ok(())
}

fn listed(notices: &[String]) -> String {
    notices.iter().map(|notice| format!("\n  note: {notice}")).collect()
}

fn told(change: &Change) -> String {
    let from = change.replaced.as_ref().map(|from| format!(", was {from}")).unwrap_or_default();
    let cached = if change.compile_cached { "compiled before" } else { "compiled now" };
    let (plugin, version, generation) = (&change.plugin, &change.version, change.generation);
    let ms = change.elapsed_us / 1_000;
    format!("{plugin} {version} answers now{from} (generation {generation}, {ms} ms, {cached}){}", listed(&change.notices))
}

fn table(slots: &[Slot]) -> Table {
    let mut table = Table::new();
    table.set_header(["plugin", "version", "state", "generation", "hooks", "live calls"]);
    for slot in slots {
        let live: u64 = slot.versions.iter().map(|v| v.live_calls).sum();
        table.add_row([
            slot.plugin.clone(),
            slot.version.clone(),
            slot.state.clone(),
            slot.generation.to_string(),
            slot.hooks.join(", "),
            live.to_string(),
        ]);
    }
    table
}

fn shown(slot: &Slot) -> String {
    let mut text = format!("{}\n{}\n", table(std::slice::from_ref(slot)), slot.description);
    if let Some(reason) = &slot.reason {
        text.push_str(&format!("reason: {reason}\n"));
    }
    for version in &slot.versions {
        let marks = [(version.active, " active"), (version.quarantined, " quarantined")];
        let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| *mark).collect();
        text.push_str(&format!("version {} {} live calls {}{marks}\n", version.version, version.digest, version.live_calls));
    }
    text.push_str(&format!("imports: {}\ngrants: {:#}\nlimits: {:#}", slot.imports.join(", "), slot.grants, slot.limits));
    text
}
