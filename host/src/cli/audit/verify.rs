//! `plinth audit verify`: a whole log or its archive against a trust policy, without asking the host for anything but bytes.

use super::{archive, url::Served};
use crate::cli::{Complaint, Done, Exit};
use clap::Args;
use plinth_audit::{
    policy::Policy,
    verify::{CanonicalEntries, Directory, Epoch, NoCheck, Report, Request, Severity, Source, verify_epochs},
};
use serde_json::json;
use std::{num::NonZeroUsize, path::PathBuf};

/// Findings that are printed for people; all are in the JSON.
const SHOWN: usize = 20;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("log").required(true))]
pub(in crate::cli) struct Verify {
    /// A folder with `checkpoint` and `tile/`. Given several times, with a --trust for each: the trees of a log that was
    /// restored, oldest first; that each says truly where the one before ended is verified too.
    #[arg(long, group = "log")]
    dir: Vec<PathBuf>,
    /// The address of `checkpoint` and `tile/`; of a host: http://127.0.0.1:7300/v1/audit/log/0. Several as with --dir.
    #[arg(long, group = "log")]
    url: Vec<String>,
    /// The folder of an epoch's segments, or its address: /srv/archive/0, s3://bucket/prefix/0 (with AWS_… variables).
    #[arg(long, group = "log")]
    archive: Option<String>,
    /// Of an archive: the records of segments below this number were dropped when their time was over.
    #[arg(long, requires = "archive", default_value_t = 0)]
    dropped_below: u64,
    /// Whom to trust: a C2SP tlog-policy, as `plinth audit trust` prints it.
    #[arg(long, required = true)]
    trust: Vec<PathBuf>,
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
        let policies = self.trust.iter().map(policy).collect::<Result<Vec<_>, _>>()?;
        let since = self.since.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let logs = self.dir.len() + self.url.len() + usize::from(self.archive.is_some());
        if policies.len() != logs {
            return Err(usage(format!("{logs} logs need as many --trust, in the same order, not {}", policies.len())));
        }
        if let (Some(address), Some(policy)) = (&self.archive, policies.first()) {
            let request = Request { policy, since: &since, threads: threads() };
            return self.tell(&archive::verify(address, self.dropped_below, self.foreign, &request)?);
        }
        if let Some(dir) = self.dir.iter().find(|dir| !dir.is_dir()) {
            return Err(usage(format!("{} is no folder", dir.display())));
        }
        let since = by_origin(&policies, since)?;
        if self.url.is_empty() {
            let sources: Vec<_> = self.dir.iter().map(Directory::new).collect();
            return self.verify(&sources, &policies, &since);
        }
        let served = |url: &String| Served::new(url, self.token.clone()).map_err(usage);
        self.verify(&self.url.iter().map(served).collect::<Result<Vec<_>, _>>()?, &policies, &since)
    }

    fn verify<S: Source>(&self, sources: &[S], policies: &[Policy], since: &[Vec<Vec<u8>>]) -> Done {
        let request = |(policy, since)| Request { policy, since, threads: threads() };
        let requests = policies.iter().zip(since.iter().map(Vec::as_slice)).map(request);
        let epochs: Vec<_> = sources.iter().zip(requests).map(|(source, request)| Epoch { source, request }).collect();
        let reports = match self.foreign {
            true => verify_epochs(&epochs, &NoCheck),
            false => verify_epochs(&epochs, &CanonicalEntries),
        };
        let mut worst = Ok(());
        for found in &reports {
            let ended = self.tell(&found.report);
            if ended.as_ref().is_err_and(|bad| {
                worst.as_ref().err().is_none_or(|worst: &Complaint| bad.exit == Exit::Tampered && worst.exit != Exit::Tampered)
            }) {
                worst = ended;
            }
        }
        worst
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

/// More threads than cores help where fetching waits for a network.
fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The checkpoints that were kept, to each log its own.
fn by_origin(policies: &[Policy], since: Vec<Vec<u8>>) -> Result<Vec<Vec<Vec<u8>>>, Complaint> {
    let mut sorted = vec![Vec::new(); policies.len()];
    for note in since {
        let origin = note.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let names = |policy: &Policy| policy.logs().iter().any(|log| log.key.name().as_str().as_bytes() == origin);
        // One log judges whatever it is given; of several, one has to be meant.
        let of = if policies.len() == 1 { Some(0) } else { policies.iter().position(names) };
        let unknown =
            || usage(format!("a checkpoint given by --since is of {}, which is none of the logs", String::from_utf8_lossy(origin)));
        sorted.get_mut(of.ok_or_else(unknown)?).ok_or_else(unknown)?.push(note);
    }
    Ok(sorted)
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
