//! `plinth plugin push` and `pull`: plugins in OCI registries and in folders of the same layout.

mod artifact;
mod layout;
mod login;
mod place;
mod registry;

use super::{Complaint, Done, block_on, read, read_text};
use artifact::Artifact;
use clap::Args;
use place::Place;
use registry::Registry;
use std::path::{Path, PathBuf};

/// Whatever can go wrong between a package and its place.
#[derive(Debug, thiserror::Error)]
pub(super) enum OciError {
    #[error("`{0}` is no reference: {1}")]
    Reference(String, String),
    #[error("{0}: there is nothing of that name")]
    Absent(String),
    #[error("{place} has something else under that name already, {digest}; `--overwrite` puts this one in its place")]
    Taken { place: String, digest: String },
    #[error("{0} is no plugin: {1}")]
    Foreign(String, String),
    #[error("{place}: expected {expected}, found {found}: it was changed on its way or where it was kept")]
    Changed { place: String, expected: String, found: String },
    #[error("{place}: the registry wants a login; `--username NAME --password-file FILE`, or `docker login`")]
    Login { place: String },
    #[error("{place}: {why}")]
    Registry { place: String, why: String },
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
}

impl From<OciError> for Complaint {
    fn from(error: OciError) -> Self {
        match error {
            OciError::Reference(..) => Self::usage(error.to_string()),
            _ => Self::failed(error.to_string()),
        }
    }
}

const REFERENCES: &str = "A reference is REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST, as for containers, or oci:FOLDER:TAG, a folder\n\
of the same layout for machines without a network. Registries on the loopback are spoken to without TLS.\n\
The artifact is a WebAssembly component as other tools have it (`wkg`, `oras`), with plugin.toml in an annotation.";

/// Where to, and as whom.
#[derive(Args)]
struct Access {
    /// REGISTRY/NAME:TAG, REGISTRY/NAME@sha256:DIGEST, or oci:FOLDER:TAG.
    reference: String,
    /// Who logs in to the registry; left out, whoever `docker login` logged in.
    #[arg(long, requires = "password_file")]
    username: Option<String>,
    /// The password or token of --username, in a file.
    #[arg(long, requires = "username")]
    password_file: Option<PathBuf>,
    /// Speak to the registry without TLS.
    #[arg(long)]
    plain_http: bool,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = REFERENCES)]
pub(in crate::cli) struct Push {
    #[command(flatten)]
    access: Access,
    /// The component, e.g. build/greeter.wasm.
    component: PathBuf,
    /// Its manifest, plugin.toml.
    manifest: PathBuf,
    /// Put it in the place of another one that has the same tag.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Args)]
#[command(after_help = REFERENCES)]
pub(in crate::cli) struct Pull {
    #[command(flatten)]
    access: Access,
    /// Where NAME.wasm and plugin.toml go.
    #[arg(long, default_value = ".")]
    to: PathBuf,
    /// Replace files that are there and differ.
    #[arg(long)]
    overwrite: bool,
}

impl Push {
    /// The same package has the same digest wherever and whenever it is pushed.
    pub(super) fn run(self, env: impl Fn(&str) -> Option<String>) -> Done {
        let (component, manifest) = (read(&self.component)?, read_text(&self.manifest)?);
        let artifact = Artifact::of(component.into(), manifest).map_err(Complaint::usage)?;
        let place = Place::parse(&self.access.reference)?;
        match &place {
            Place::Layout(folder) => folder.push(&artifact, self.overwrite)?,
            Place::Registry(reference) => {
                let registry = Registry::open(reference, self.access.plain_http, self.access.login(reference.registry(), env)?)?;
                block_on(async { Ok(registry.push(&artifact, self.overwrite).await?) })?;
            }
        }
        let digest = &artifact.digest;
        match self.access.json {
            true => println!("{:#}", serde_json::json!({ "reference": self.access.reference, "digest": digest })),
            false => println!("pushed {}\n{digest}", self.access.reference),
        }
        Ok(())
    }
}

impl Pull {
    pub(super) fn run(self, env: impl Fn(&str) -> Option<String>) -> Done {
        let artifact = match &Place::parse(&self.access.reference)? {
            Place::Layout(folder) => folder.pull()?,
            Place::Registry(reference) => {
                let registry = Registry::open(reference, self.access.plain_http, self.access.login(reference.registry(), env)?)?;
                block_on(async { Ok(registry.pull().await?) })?
            }
        };
        std::fs::create_dir_all(&self.to).map_err(|e| OciError::File(self.to.clone(), e))?;
        let mut written = vec![self.to.join(format!("{}.wasm", artifact.name()))];
        let manifest = artifact.plugin.as_ref().map(|plugin| (self.to.join("plugin.toml"), plugin.text.as_bytes()));
        let mut files = vec![(written.first().cloned().unwrap_or_default(), artifact.component.as_ref())];
        if let Some((path, text)) = manifest {
            written.push(path.clone());
            files.push((path, text));
        }
        // Both or none: what is in the way is told before anything is written.
        if !self.overwrite {
            files.iter().try_for_each(|(path, bytes)| free(path, bytes))?;
        }
        for (path, bytes) in files {
            plinth_guest_build::write_if_changed(&path, bytes).map_err(|e| Complaint::failed(format!("{e:#}")))?;
        }
        match self.access.json {
            true => println!("{:#}", serde_json::json!({ "digest": artifact.digest, "files": written })),
            false => {
                written.iter().for_each(|path| println!("{}", path.display()));
                if artifact.plugin.is_none() {
                    println!("it has no plugin.toml: another tool has pushed it; a manifest has to be written before it can be installed");
                }
                println!("{}", artifact.digest);
            }
        }
        Ok(())
    }
}

fn free(path: &Path, bytes: &[u8]) -> Result<(), Complaint> {
    match std::fs::read(path) {
        Ok(there) if there != bytes => {
            Err(Complaint::usage(format!("{} is there and differs; `--overwrite` replaces it, `--to DIR` leaves it", path.display())))
        }
        _ => Ok(()),
    }
}

impl Access {
    fn login(&self, registry: &str, env: impl Fn(&str) -> Option<String>) -> Result<login::Login, Complaint> {
        match (&self.username, &self.password_file) {
            (Some(name), Some(file)) => {
                let password = read_text(file)?;
                Ok(Some((name.clone(), password.trim_end_matches(['\n', '\r']).to_owned())))
            }
            _ => login::of_docker(registry, env).map_err(Complaint::usage),
        }
    }
}
