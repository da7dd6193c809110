//! `plinth plugin build`: from a plugin's folder to a component that a host takes, by the language's own tools.

mod c;
mod contract;
mod encode;
mod error;
mod go;
mod javascript;
mod project;
mod python;
mod rust;
mod tools;
mod typings;

use super::{Complaint, Done, check::check_package};
use bytes::Bytes;
use clap::Args;
use error::BuildError;
use plinth_runtime::{Package, build_plan::Language};
use std::{path::PathBuf, time::Instant};
use tools::Tools;

pub(super) use project::{GENERATED, Project};

#[derive(Args)]
#[command(
    after_help = "The language is that of [build] in plugin.toml, or follows from the files: Cargo.toml, package.json, go.mod, *.py,\n\
src/*.c. The component goes where [build] component says, or to build/NAME.wasm. What the tools print is passed on.\n\n\
Exit codes: 0 built and good, 1 a tool failed or the component would be refused, 2 wrong usage, manifest or WIT,\n\
4 a tool is missing; standard error says which one and how it is installed."
)]
pub(in crate::cli) struct Build {
    /// The plugin's folder, with plugin.toml in it.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Small and fast, where the language tells it from quickly built.
    #[arg(long)]
    release: bool,
    /// Leave it to the host to check the component.
    #[arg(long)]
    no_check: bool,
}

impl Build {
    pub(super) fn run(self, env: impl Fn(&str) -> Option<String>) -> Done {
        let began = Instant::now();
        let project = Project::open(&self.dir)?;
        let tools = Tools::new(&project, env);
        let component = make(&project, &tools, self.release)?;
        let out = project.component();
        plinth_guest_build::write_if_changed(&out, &component).map_err(|e| BuildError::Write(format!("{e:#}")))?;
        let (path, seconds) = (self.dir.join(project.component_below()), began.elapsed().as_secs_f32());
        println!("{}: {} bytes in {seconds:.1} s", path.strip_prefix(".").unwrap_or(&path).display(), component.len());
        if self.no_check {
            return Ok(());
        }
        check_package(&Package { component: Bytes::from(component), manifest: project.text, config: None, approve_grants: true }, false)
    }
}

fn make(project: &Project, tools: &Tools, release: bool) -> Result<Vec<u8>, BuildError> {
    match project.language()? {
        Language::Rust => rust::make(project, release),
        Language::Javascript => javascript::make(project, tools),
        Language::Typescript => javascript::make_from_typescript(project, tools),
        Language::Python => python::make(project, tools),
        Language::Go => go::make(project, tools, release),
        Language::C => c::make(project, tools, release),
    }
}

impl From<BuildError> for Complaint {
    fn from(error: BuildError) -> Self {
        Self { exit: error.exit(), text: super::chain(&error) }
    }
}
