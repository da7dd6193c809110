//! `plinth plugin dev`: builds whenever a source is saved and swaps the result into a running host.

mod builder;
mod report;
mod watch;

use super::{
    super::{
        Complaint, Done, Exit, Remote, block_on,
        client::{Change, Client, ClientError, Slot, Upload},
    },
    build::Project,
};
use builder::Builder;
use clap::Args;
use http::StatusCode;
use plinth_runtime::inspect::Inspected;
use report::Report;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::signal::unix::{SignalKind, signal};
use watch::{Sources, Watch};

/// Between two looks at the sources.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// An editor may write a file in several steps, and several files one after the other.
const QUIET: Duration = Duration::from_millis(200);
/// Between two attempts to reach a host that does not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Of a digest, in a version.
const MARK: usize = 8;

#[derive(Args)]
#[command(
    after_help = "Each build is installed as VERSION+dev.DIGEST, so that the host can tell it from the one before. A build that fails and\n\
a component that the host refuses leave the version that answers where it is. The plugin's log lines are in the host's log.\n\n\
Exit codes: 0 stopped by a signal, 1 failed, 2 wrong usage or manifest, 3 no host at the start."
)]
pub(in crate::cli) struct Dev {
    /// The plugin's folder, with plugin.toml in it.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Approve every grant the manifest asks for, at each install.
    #[arg(long)]
    approve: bool,
    /// Build as for a release, each time.
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Dev {
    pub(super) fn run(self) -> Done {
        let project = Project::open(&self.dir)?;
        block_on(async {
            let client = self.remote.client()?;
            // A host that is not there at all is told at once.
            client.list().await?;
            let builder = Builder::new(&project.dir, self.release)?;
            let report = Report { json: self.remote.json };
            report.watching(&self.dir, &self.remote.url);
            let session = Session { project, client, builder, report, approve: self.approve, live: None, waiting: None };
            session.until_told().await
        })
    }
}

struct Session {
    project: Project,
    client: Client,
    builder: Builder,
    report: Report,
    approve: bool,
    /// What this session has made live.
    live: Option<Live>,
    /// Built for a host that did not answer.
    waiting: Option<(Ready, Instant)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Live {
    version: String,
    /// As in the file, before its version was marked.
    manifest: String,
}

/// Built, and to be installed.
#[derive(Clone)]
struct Ready {
    upload: Upload,
    live: Live,
    took: Duration,
}

impl Session {
    async fn until_told(mut self) -> Done {
        let failed = |e: std::io::Error| Complaint::failed(e.to_string());
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        // A build that is dropped is ended with all it has started.
        tokio::select! {
            failed = self.follow() => return failed,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let live = self.answering().await;
        self.report.stopped(live.as_deref());
        Ok(())
    }

    async fn follow(&mut self) -> Done {
        let watch = Watch::new(&self.project);
        let mut built = Sources::default();
        let (mut seen, mut since) = (built.clone(), Instant::now());
        loop {
            let now = watch.look()?;
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if seen != built && since.elapsed() >= QUIET {
                self.turn().await;
                // What the build itself has left behind is not a change of the author's; what was saved meanwhile is.
                built = watch.after_build(seen.clone())?;
                seen = built.clone();
            } else if self.waiting.as_ref().is_some_and(|(_, tried)| tried.elapsed() >= AGAIN) {
                self.install_waiting().await;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// From the sources as they are to a version that answers, or to the reason why not.
    async fn turn(&mut self) {
        let began = Instant::now();
        self.waiting = None;
        let built = self.builder.build().await.and_then(|()| self.ready(began));
        match built {
            Ok(Some(ready)) => self.install(ready).await,
            Ok(None) => self.report.unchanged(self.live.as_ref().map(|live| live.version.as_str())),
            Err(why) => {
                let live = self.answering().await;
                self.report.not_built(&why.text, live.as_deref());
            }
        }
    }

    /// Nothing if it is what is live already.
    fn ready(&mut self, began: Instant) -> Result<Option<Ready>, Complaint> {
        self.project = Project::open(&self.project.dir)?;
        let path = self.project.component();
        let component = super::read(&path)?;
        let digest = Inspected::read(&component).map_err(|why| Complaint::failed(format!("{}: {why}", path.display())))?.digest;
        let (manifest, version) = marked(&self.project, &digest)?;
        let live = Live { version, manifest: self.project.text.clone() };
        if self.live.as_ref() == Some(&live) {
            return Ok(None);
        }
        let upload = Upload { component, manifest, config: None, approve_grants: self.approve };
        Ok(Some(Ready { upload, live, took: began.elapsed() }))
    }

    async fn install_waiting(&mut self) {
        if let Some((ready, _)) = &self.waiting {
            let ready = ready.clone();
            self.install(ready).await;
        }
    }

    async fn install(&mut self, ready: Ready) {
        match self.client.install(ready.upload.clone()).await {
            Ok(answer) => {
                match serde_json::from_value::<Change>(answer) {
                    Ok(change) => self.report.live(&change, ready.took),
                    Err(error) => self.report.no_answer(&format!("the host's answer has another shape: {error}")),
                }
                self.live = Some(ready.live);
                self.waiting = None;
            }
            Err(error) if is_passing(&error) => {
                if self.waiting.is_none() {
                    self.report.no_answer(&format!("{}; it is tried again until the host takes it", super::chain(&error)));
                }
                self.waiting = Some((ready, Instant::now()));
            }
            Err(error) => {
                self.waiting = None;
                let live = self.answering().await;
                self.report.refused(&error.to_string(), live.as_deref());
            }
        }
    }

    /// The version that answers now, as the host says; what this session knows if it does not say.
    async fn answering(&self) -> Option<String> {
        let known = self.live.as_ref().map(|live| live.version.clone());
        match self.client.show(self.project.manifest.name.as_str()).await {
            Ok(slot) => serde_json::from_value::<Slot>(slot).map(|slot| slot.version).ok().or(known),
            Err(ClientError::Refused(_)) => None,
            Err(_) => known,
        }
    }
}

/// Nobody listens, or whoever does is starting or stopping.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::NoAnswer { .. } => true,
        ClientError::Refused(problem) => problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        ClientError::BadAddress(_) | ClientError::NotAHost { .. } => false,
    }
}

/// The manifest with a version that names its component.
fn marked(project: &Project, digest: &str) -> Result<(String, String), Complaint> {
    let wrong = |why: String| Complaint { exit: Exit::Usage, text: format!("plugin.toml: {why}") };
    let mark: String = digest.trim_start_matches("sha256:").chars().take(MARK).collect();
    let version = &project.manifest.version;
    let joint = if version.build.is_empty() { '+' } else { '.' };
    let version = format!("{version}{joint}dev.{mark}");
    let mut table: toml::Table = project.text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    table.insert("version".to_owned(), toml::Value::String(version.clone()));
    Ok((toml::to_string(&table).map_err(|error| wrong(error.to_string()))?, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_names_its_component_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let write = |version: &str| {
            let text = format!(
                "name = 'p'\nversion = '{version}'\n[build]\nlanguage = 'c'\n[config]\nlimit = 1\n[config-schema]\ntype = 'object'"
            );
            std::fs::write(folder.path().join("plugin.toml"), text).unwrap();
            Project::open(folder.path()).unwrap()
        };
        for (version, marked_version) in [("1.2.0", "1.2.0+dev.01234567"), ("1.2.0-rc.1+a", "1.2.0-rc.1+a.dev.01234567")] {
            let project = write(version);
            let (text, told) = marked(&project, "sha256:0123456789abcdef").unwrap();
            assert_eq!(told, marked_version);
            let manifest = plinth_runtime::manifest::Manifest::parse(&text).unwrap();
            assert_eq!((manifest.version.to_string(), &manifest.config), (told, &project.manifest.config));
        }
    }
}
