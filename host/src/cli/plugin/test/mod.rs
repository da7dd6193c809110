//! `plinth plugin test`: a plugin's cases, played on the engine and the limits of production.

mod junit;

use super::{Complaint, Done, Project, block_on, chain};
use crate::trial::{CaseError, CaseFile, Coverage, Trial, TrialError, Verdict};
use bytes::Bytes;
use clap::Args;
use plinth_runtime::Package;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Below the plugin's folder.
const CASES: &str = "cases";

#[derive(Args)]
#[command(
    after_help = "A file of cases says what is given, what happens and what must come of it; docs/plugin-test.md has every word:\n\n\
  [[case]]\n  name = \"a large order is held\"\n  when.decision = { point = \"orders.allow\", payload.json = { amount_cents = 100000 } }\n\
  then.verdict = \"hold\"\n\n\
Exit codes: 0 every case came as it says, 1 one did not or the plugin does not load, 2 wrong usage, or a file that is no file of cases."
)]
pub(in crate::cli) struct Test {
    /// The plugin's folder, with plugin.toml in it. It has to be built.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Another component than the one that a build makes.
    #[arg(long)]
    component: Option<PathBuf>,
    /// A file of cases, or a folder of them; may be repeated. Without it those in the plugin's folder `cases`.
    #[arg(long)]
    cases: Vec<PathBuf>,
    /// Only cases whose name has this in it.
    #[arg(long)]
    only: Option<String>,
    /// Write the results as JUnit XML as well.
    #[arg(long)]
    junit: Option<PathBuf>,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

/// The cases of one file and how they ended.
struct Played {
    path: PathBuf,
    verdicts: Vec<Verdict>,
}

impl Test {
    pub(super) fn run(self) -> Done {
        let project = Project::open(&self.dir)?;
        let files = self.files(&project.dir)?;
        let component = self.component.clone().unwrap_or_else(|| project.component());
        let component = std::fs::read(&component)
            .map_err(|e| Complaint::usage(format!("{}: {e}; `plinth plugin build` makes it", component.display())))?;
        let package = Package { component: Bytes::from(component), manifest: project.text, config: None, approve_grants: true };
        let (played, coverage) = block_on(async { Ok(self.play(package, files).await?) })?;
        let all = played.iter().map(|file| file.verdicts.len()).sum::<usize>();
        if all == 0 {
            return Err(Complaint::usage("no case was found that is to be played"));
        }
        if let Some(path) = &self.junit {
            let text = junit::report(project.manifest.name.as_str(), &played)?;
            std::fs::write(path, text).map_err(|e| Complaint::failed(format!("{}: {e}", path.display())))?;
        }
        let failed = played.iter().flat_map(|file| &file.verdicts).filter(|verdict| !verdict.problems.is_empty()).count();
        match self.json {
            true => println!("{:#}", as_json(&played, &coverage)),
            false => {
                played.iter().for_each(|file| print!("{}", told(file)));
                println!("{all} cases, {failed} failed\n{coverage}");
            }
        }
        match failed {
            0 => Ok(()),
            _ => Err(Complaint::failed(format!("{failed} of {all} cases failed"))),
        }
    }

    fn files(&self, dir: &Path) -> Result<Vec<(PathBuf, CaseFile)>, Complaint> {
        let named = if self.cases.is_empty() { vec![dir.join(CASES)] } else { self.cases.clone() };
        let mut paths = Vec::new();
        for path in named {
            let failed = |e: std::io::Error| Complaint::usage(format!("{}: {e}", path.display()));
            match path.is_dir() {
                true => {
                    let entries: Vec<_> = path.read_dir().and_then(Iterator::collect).map_err(failed)?;
                    let mut found: Vec<PathBuf> = entries.iter().map(std::fs::DirEntry::path).collect();
                    found.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
                    found.sort();
                    paths.extend(found);
                }
                false => paths.push(path),
            }
        }
        let read = |path: PathBuf| CaseFile::read(&path).map(|file| (path, file));
        Ok(paths.into_iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn play(&self, package: Package, files: Vec<(PathBuf, CaseFile)>) -> Result<(Vec<Played>, Coverage), TrialError> {
        let mut trial = Trial::new(package)?;
        let mut played = Vec::new();
        for (path, file) in files {
            let wanted = |name: &str| self.only.as_deref().is_none_or(|only| name.contains(only));
            let mut verdicts = Vec::new();
            for case in file.cases.iter().filter(|case| wanted(&case.name)) {
                verdicts.push(trial.play(&file, case).await?);
            }
            played.push(Played { path, verdicts });
        }
        Ok((played, trial.coverage))
    }
}

fn told(file: &Played) -> String {
    let mut text = format!("{}\n", file.path.display());
    for Verdict { name, took, problems, lines } in &file.verdicts {
        let mark = if problems.is_empty() { "ok    " } else { "FAILED" };
        text.push_str(&format!("  {mark}  {name} ({} ms)\n", took.as_millis()));
        let log = lines.iter().map(|line| format!("log: {line}"));
        let told = problems.iter().cloned().chain(log);
        if !problems.is_empty() {
            told.for_each(|line| text.push_str(&format!("          {line}\n")));
        }
    }
    text
}

fn as_json(played: &[Played], coverage: &Coverage) -> serde_json::Value {
    let case = |path: &Path, verdict: &Verdict| {
        json!({
            "file": path.display().to_string(),
            "name": verdict.name,
            "ok": verdict.problems.is_empty(),
            "problems": verdict.problems,
            "log": verdict.lines,
            "ms": u64::try_from(verdict.took.as_millis()).unwrap_or(u64::MAX),
        })
    };
    let cases: Vec<_> = played.iter().flat_map(|file| file.verdicts.iter().map(|verdict| case(&file.path, verdict))).collect();
    json!({ "cases": cases, "coverage": coverage.json() })
}

impl From<CaseError> for Complaint {
    fn from(error: CaseError) -> Self {
        Self::usage(chain(&error))
    }
}

impl From<TrialError> for Complaint {
    fn from(error: TrialError) -> Self {
        Self::failed(chain(&error))
    }
}
