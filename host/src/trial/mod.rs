//! Trials: cases from files played against a plugin on the engine, the glue and the limits of production.
//!
//! Each case has a host of its own, with embedded backends in a folder that goes away: it sees nothing of the one
//! before. `case.rs` is what a file may say, `script.rs` breaks and records capability calls, `servers.rs` is
//! the world outside, `stage.rs` the host of one case, `call.rs` calls the hook and `judge.rs` compares.

mod call;
mod case;
mod coverage;
mod judge;
mod recorder;
mod script;
mod servers;
mod stage;
mod value;

pub(crate) use case::{CaseError, CaseFile};
pub(crate) use coverage::Coverage;

use crate::start::StartError;
use case::Case;
use plinth_runtime::{LoadError, Package};
use script::Script;
use stage::Workshop;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How one case ended.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    pub(crate) took: Duration,
    /// None: it came as the case says.
    pub(crate) problems: Vec<String>,
    /// What the plugin logged.
    pub(crate) lines: Vec<String>,
}

/// Why no case could be judged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrialError {
    #[error("the cases need a host, and it did not start")]
    Host(#[from] StartError),
    /// The first is the kind, the rest every single problem.
    #[error("{}", std::iter::once(.0.to_string()).chain(.0.problems()).collect::<Vec<_>>().join("\n  - "))]
    Load(LoadError),
}

/// Plays cases against one plugin.
pub(crate) struct Trial {
    package: Package,
    workshop: Workshop,
    pub(crate) coverage: Coverage,
}

impl Trial {
    pub(crate) fn new(package: Package) -> Result<Self, TrialError> {
        Ok(Self { package, workshop: Workshop::new()?, coverage: Coverage::default() })
    }

    /// On a host of its own, from its start to its end. A case that cannot be set up has that as its problem.
    pub(crate) async fn play(&mut self, file: &CaseFile, case: &Case) -> Result<Verdict, TrialError> {
        let began = Instant::now();
        let given = case.given.over(&file.given);
        let script = Arc::new(Script::new(&case.faults, given.now_ms()));
        let package = Package { config: given.config_json(), ..self.package.clone() };
        let stage = self.workshop.stage(package, script.clone(), &given).await?;
        self.coverage.imports(stage.imports());
        let mut problems = Vec::new();
        match stage.set(&given).await {
            Ok(before) => {
                script.begin();
                let ended = call::call(&stage, &case.when, &given).await;
                script.end();
                problems.extend(judge::judge(&stage, before, &ended, &case.then, &script).await);
                problems.extend(script.unreached());
            }
            Err(problem) => problems.push(problem),
        }
        self.coverage.add(&script.calls());
        stage.close().await;
        Ok(Verdict { name: case.name.clone(), took: began.elapsed(), problems, lines: script.lines() })
    }
}
