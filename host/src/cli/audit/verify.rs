//! `plinth audit verify`: a whole log or its archive against a trust policy, without asking the host for anything but bytes.

use super::{archive, url::Served};
use crate::cli::{Complaint, Done, Exit};
use clap::Args;
use plinth_audit::{
    policy::Policy,
    verify::{CanonicalEntries, Directory, NoCheck, Report, Request, Severity, Source, verify},
};
use serde_json::json;
use std::{num::NonZeroUsize, path::PathBuf};

/// Findings that are printed for people; all are in the JSON.
const SHOWN: usize = 20;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("log").required(true))]
pub(in crate::cli) struct Verify {
    /// A folder with `checkpoint` and `tile/`.
    #[arg(long, group = "log")]
    dir: Option<PathBuf>,
    /// The address of `checkpoint` and `tile/`; of a host: http://127.0.0.1:7300/v1/audit/log/0
    #[arg(long, group = "log")]
    url: Option<String>,
    /// The folder of an epoch's segments, or its address: /srv/archive/0, s3://bucket/prefix/0 (with AWS_… variables).
    #[arg(long, group = "log")]
    archive: Option<String>,
    /// Of an archive: the records of segments below this number were dropped when their time was over.
    #[arg(long, requires = "archive", default_value_t = 0)]
    dropped_below: u64,
    /// Whom to trust: a C2SP tlog-policy, as `plinth audit trust` prints it.
    #[arg(long)]
    trust: PathBuf,
    /// A checkpoint kept from an earlier time; the log must have grown from it. May be given more than once.
    #[arg(long)]
    since: Vec<PathBuf>,
    /// The log is of another kind than Plinth's: its records are not looked into.
    #[arg(long)]
    foreign: bool,
    /// The token of an API key, where the host has any.
    #[arg(long, env = "PLINTH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

pub(super) fn usage(text: impl Into<String>) -> Complaint {
    Complaint { exit: Exit::VerifyUsage, text: text.into() }
}

pub(super) fn read(path: &PathBuf) -> Result<Vec<u8>, Complaint> {
    std::fs::read(path).map_err(|e| usage(format!("{}: {e}", path.display())))
}

pub(super) fn policy(path: &PathBuf) -> Result<Policy, Complaint> {
    Policy::parse(&read(path)?).map_err(|e| usage(format!("{}: {e}", path.display())))
}

impl Verify {
    pub(super) fn run(self) -> Done {
        let policy = policy(&self.trust)?;
        let since = self.since.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let request = Request { policy: &policy, since: &since, threads };
        if let Some(address) = &self.archive {
            let report = archive::verify(address, self.dropped_below, self.foreign, &request)?;
            return self.tell(&report);
        }
        let report = match (&self.dir, &self.url) {
            (Some(dir), _) if !dir.is_dir() => return Err(usage(format!("{} is no folder", dir.display()))),
            (Some(dir), _) => self.verify(&Directory::new(dir), &request),
            (None, Some(url)) => self.verify(&Served::new(url, self.token.clone()).map_err(usage)?, &request),
            (None, None) => return Err(usage("give the log by --dir, --url or --archive")),
        };
        self.tell(&report)
    }

    fn verify(&self, source: &impl Source, request: &Request<'_>) -> Report {
        if self.foreign { verify(source, &NoCheck, request) } else { verify(source, &CanonicalEntries, request) }
    }

    #[expect(clippy::print_stdout, reason = "a command line speaks to its user")]
    fn tell(&self, report: &Report) -> Done {
        println!("{}", if self.json { machine(report) } else { human(report) });
        let exit = match report.findings.severity() {
            Some(Severity::Tampered) => Exit::Tampered,
            Some(Severity::Incomplete) => Exit::Incomplete,
            None if report.is_sound() => return Ok(()),
            None => Exit::Incomplete,
        };
        let text = if exit == Exit::Tampered { "the log was tampered with" } else { "the log is incomplete" };
        Err(Complaint { exit, text: text.to_owned() })
    }
}

fn machine(report: &Report) -> String {
    let checkpoint = report.checkpoint.as_ref().map(|found| {
        let cosigned: Vec<_> = found.cosigned.iter().map(|(name, at)| json!({"witness": name, "at": at})).collect();
        let head = &found.checkpoint;
        json!({"origin": head.origin(), "size": head.size(), "root": head.root().to_string(), "cosigned": cosigned})
    });
    let findings = &report.findings;
    let value = json!({
        "sound": report.is_sound(),
        "checkpoint": checkpoint,
        "records": report.records,
        "files": report.files,
        "tampered": findings.tampered(),
        "incomplete": findings.incomplete(),
        "findings": findings.list(),
    });
    format!("{value:#}")
}

fn human(report: &Report) -> String {
    let mut text = match &report.checkpoint {
        Some(found) => {
            let head = &found.checkpoint;
            let (origin, size, root) = (head.origin(), head.size(), head.root());
            format!("{origin}: {size} records under root {root}; {} records and {} files read", report.records, report.files)
        }
        None => "no checkpoint that can be believed".to_owned(),
    };
    for finding in report.findings.list().iter().take(SHOWN) {
        text.push_str(&format!("\n{finding}"));
    }
    let more = report.findings.list().len().saturating_sub(SHOWN);
    if more > 0 {
        text.push_str(&format!("\nand {more} more (--json shows them)"));
    }
    if report.is_sound() {
        text.push_str("\nsound");
    }
    text
}
