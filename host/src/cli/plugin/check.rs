//! `plinth plugin check`: everything that an install would refuse, at once, each with its place and what to do.

use super::{Complaint, Done, Project, chain, listed, read, read_text};
use crate::{HostConfig, Overrides, offline};
use bytes::Bytes;
use clap::Args;
use plinth_runtime::{Examined, Package, Place, Problem};
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "It is started and its health is asked; activation is left to the install, since it may write.\n\n\
\x20 plinth plugin check greeter.wasm plugin.toml\n  plinth plugin check greeter/    # what `plinth plugin build` made there\n\n\
Exit codes: 0 it would be installed, 1 it would not, 2 wrong usage or an unreadable file.")]
pub(in crate::cli) struct Check {
    /// The component, e.g. greeter.wasm; or a plugin's folder, once it is built.
    #[arg(default_value = ".")]
    component: PathBuf,
    /// Its manifest, plugin.toml; not with a folder.
    manifest: Option<PathBuf>,
    /// A JSON file whose values go over the manifest's configuration.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Done {
        let config = self.config.as_deref().map(read_text).transpose()?;
        let config = config.as_deref().map(serde_json::from_str).transpose();
        let config = config.map_err(|e| Complaint::usage(format!("the configuration is not JSON: {e}")))?;
        let (component, manifest) = match (&self.manifest, self.component.is_dir()) {
            (Some(manifest), false) => (self.component, read_text(manifest)?),
            (None, true) => {
                // A manifest with problems is to be told with everything else.
                let text = read_text(&self.component.join("plugin.toml"))?;
                let component = Project::open(&self.component).map(|project| project.component());
                (component.or_else(|_| only_built(&self.component))?, text)
            }
            (Some(_), true) => {
                return Err(Complaint::usage("a folder has its own plugin.toml: give the folder alone, or a component and a manifest"));
            }
            (None, false) => return Err(Complaint::usage("a component needs its manifest: plinth plugin check COMPONENT plugin.toml")),
        };
        let package = Package { component: Bytes::from(read(&component)?), manifest, config, approve_grants: true };
        check_package(&package, self.json)
    }
}

/// The one component that was built in a folder whose manifest cannot say where it goes.
fn only_built(folder: &std::path::Path) -> Result<PathBuf, Complaint> {
    let built = folder.join("build").read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut built: Vec<PathBuf> = built.filter(|path| path.extension().is_some_and(|ending| ending == "wasm")).collect();
    match (built.pop(), built.is_empty()) {
        (Some(component), true) => Ok(component),
        _ => Err(Complaint::usage(format!("{}: which component is meant? give it and plugin.toml", folder.display()))),
    }
}

/// Runs the host's own loader on embedded backends in a folder that goes away.
pub(super) fn check_package(package: &Package, json: bool) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| Complaint::failed(e.to_string()))?;
    let examined = runtime
        .block_on(offline::check(HostConfig::default(), Overrides::default(), package.clone()))
        .map_err(|e| Complaint::failed(chain(&e)))?;
    let Examined { problems, notices } = &examined;
    if json {
        println!("{:#}", serde_json::json!({ "ok": problems.is_empty(), "problems": problems, "notices": notices }));
    }
    match problems.is_empty() {
        true if json => Ok(()),
        true => {
            println!("good: it would be installed{}", listed(notices));
            Ok(())
        }
        false => Err(Complaint::failed(told(&examined))),
    }
}

/// As it is read from top to bottom: where, what, and what to do.
fn told(examined: &Examined) -> String {
    let Examined { problems, notices } = examined;
    let mut text = match problems.len() {
        1 => "it would not be installed: 1 problem\n".to_owned(),
        several => format!("it would not be installed: {several} problems\n"),
    };
    let mut last = None;
    for Problem { place, problem, help } in problems {
        if last != Some(*place) {
            text.push_str(&format!("\n{}\n", title(*place)));
            last = Some(*place);
        }
        text.push_str(&format!("  - {}\n", indented(problem, "    ")));
        if let Some(help) = help {
            text.push_str(&format!("    help: {}\n", indented(help, "          ")));
        }
    }
    if !notices.is_empty() {
        text.push_str(&format!("{}\n", listed(notices)));
    }
    text.trim_end().to_owned()
}

fn title(place: Place) -> &'static str {
    match place {
        Place::Manifest => "plugin.toml",
        Place::Configuration => "the configuration",
        Place::Component => "the component",
        Place::Probe => "its first call",
    }
}

/// Lines after the first begin below it.
fn indented(text: &str, by: &str) -> String {
    text.trim_end().replace('\n', &format!("\n{by}"))
}
