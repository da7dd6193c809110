//! P5: a log is tampered with in 16 ways at many places; the verifier, who has only its files, sees each of them.

mod archive;
mod attack;
mod change;
mod log;

use crate::Scale;
use anyhow::{Context as _, Result, ensure};
use archive::Segments;
use attack::{Attack, Ground, KINDS, Kind};
use comfy_table::Table;
use log::{Log, Overlay, View, opening, records};
use plinth_audit::verify::{AuditRecords, Epoch, Finding, NoCheck, Request, Severity, verify_epochs};
use plinth_tests::figures;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

/// Everything that is random comes from it.
const SEED: u64 = 5;
/// Records in the first epoch and in the second: 20,000.
const EPOCHS: [usize; 2] = [15_000, 5_000];
const WORKERS: usize = 2;

/// What came of the mutations of one kind.
#[derive(Default)]
struct Row {
    mutations: u64,
    tampered: u64,
    incomplete: u64,
    /// Of which kind and number, so that each can be had again.
    missed: Vec<u64>,
    /// In how many reports a check is named.
    checks: BTreeMap<String, u64>,
}

/// Whether every mutation was found and no sound log was called unsound.
pub(crate) async fn campaign(scale: Scale) -> Result<bool> {
    let (each, clean) = if scale.long { (1_000, 1_000) } else { (20, 20) };
    let began = Instant::now();
    let mut rng = StdRng::seed_from_u64(SEED);
    let ground = ground(&mut rng)?;
    let segments = Segments::new(&mut rng)?;
    let mut rows = Vec::new();
    for (at, (kind, name)) in (0..).zip(KINDS) {
        rows.push((name, row(at, each, |rng| attacked(&ground, rng, kind))?));
    }
    rows.push(("archive frame edited", row(14, each, |rng| Ok(segments.frame_edited(rng)?.findings.list().to_vec()))?));
    rows.push(("manifest edited", row(15, each, |rng| Ok(segments.manifest_edited(rng)?.findings.list().to_vec()))?));
    let sound = row(16, clean, |rng| untouched(&ground, rng))?;
    ensure!(segments.untouched().is_sound(), "the archive as it was written is not sound");
    println!("{}", table(&rows));
    for (name, row) in rows.iter().filter(|(_, row)| !row.missed.is_empty()) {
        println!("{name}: not found: {:?}", row.missed);
    }
    let sum = |of: fn(&Row) -> u64| rows.iter().map(|(_, row)| of(row)).sum::<u64>();
    let (mutations, missed) = (sum(|row| row.mutations), sum(|row| row.missed.len() as u64));
    let false_alarms = sound.tampered + sound.incomplete;
    figures::write(
        "promise-p5",
        &[
            ("kinds", rows.len() as f64),
            ("mutations", mutations as f64),
            ("detected_pct", 100.0 * (mutations - missed) as f64 / mutations as f64),
            ("tampered", sum(|row| row.tampered) as f64),
            ("incomplete", sum(|row| row.incomplete) as f64),
            ("clean_verifications", sound.mutations as f64),
            ("false_alarms", false_alarms as f64),
            ("records", EPOCHS.iter().sum::<usize>() as f64),
            ("seconds", began.elapsed().as_secs_f64()),
        ],
    );
    Ok(missed == 0 && false_alarms == 0)
}

fn ground(rng: &mut StdRng) -> Result<Ground> {
    let first = Log::new("example.com/audit/0", 1, records(rng, EPOCHS[0])?)?;
    let mut second = records(rng, EPOCHS[1])?;
    second[0] = opening(rng, &first, "example.com/audit/1")?;
    let second = Log::new("example.com/audit/1", 1, second)?;
    let other = Log::new("example.com/other/0", 2, records(rng, EPOCHS[0])?)?;
    Ok(Ground { epochs: [first, second], other })
}

/// What an auditor asks for who has the files only.
struct Auditor {
    /// The witness's cosignature.
    witnessed: bool,
    /// The checkpoint of each epoch that he kept, among [`Log::kept`].
    kept: [Option<usize>; 2],
    threads: NonZeroUsize,
    /// Whether he looks into the records. Half of the time the tree alone must tell.
    records: bool,
}

/// Every epoch and the link between them.
fn verified(views: [&View<'_>; 2], logs: &[Log; 2], auditor: &Auditor) -> Vec<Finding> {
    let Auditor { witnessed, kept, threads, records } = *auditor;
    let since = [0, 1].map(|at| kept[at].map(|kept| logs[at].kept[kept].1.clone()).into_iter().collect::<Vec<_>>());
    let epochs = [0, 1].map(|at| {
        let policy = if witnessed { &logs[at].witnessed } else { &logs[at].unwitnessed };
        Epoch { source: views[at], request: Request { policy, since: &since[at], threads } }
    });
    let reports = if records { verify_epochs(&epochs, &AuditRecords::default()) } else { verify_epochs(&epochs, &NoCheck) };
    reports.iter().flat_map(|found| found.report.findings.list().to_vec()).collect()
}

fn attacked(ground: &Ground, rng: &mut StdRng, kind: Kind) -> Result<Vec<Finding>> {
    let attack = Attack::of(kind, rng, ground)?;
    let untouched = View { base: &ground.epochs[1 - attack.epoch], overlay: Overlay::new() };
    let (views, kept) = match attack.epoch {
        0 => ([&attack.view, &untouched], [attack.kept, None]),
        _ => ([&untouched, &attack.view], [None, attack.kept]),
    };
    let auditor = Auditor { witnessed: attack.witnessed, kept, threads: NonZeroUsize::MIN, records: rng.random() };
    Ok(verified(views, &ground.epochs, &auditor))
}

/// A sound log with one thread or two, any checkpoint that was ever served, and either policy.
fn untouched(ground: &Ground, rng: &mut StdRng) -> Result<Vec<Finding>> {
    let views = [0, 1].map(|at| View { base: &ground.epochs[at], overlay: Overlay::new() });
    let kept = [0, 1].map(|at| ground.epochs[at].some_kept(rng));
    let threads = NonZeroUsize::new(rng.random_range(1..=2)).context("one or two")?;
    let auditor = Auditor { witnessed: rng.random(), kept, threads, records: rng.random() };
    Ok(verified([&views[0], &views[1]], &ground.epochs, &auditor))
}

/// Runs one kind as often as it is asked for, on two threads; the numbers are the same on any machine.
fn row(kind: u64, count: u64, run: impl Fn(&mut StdRng) -> Result<Vec<Finding>> + Sync) -> Result<Row> {
    let (next, row) = (AtomicU64::new(0), Mutex::new(Ok(Row::default())));
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let found = run(&mut StdRng::seed_from_u64(SEED << 56 | kind << 32 | number));
                    let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
                    match (&mut *row, found) {
                        (Ok(row), Ok(found)) => row.add(number, &found),
                        (Ok(_), Err(error)) => *row = Err(error),
                        (Err(_), _) => return,
                    }
                }
            });
        }
    });
    row.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Row {
    fn add(&mut self, number: u64, found: &[Finding]) {
        self.mutations += 1;
        match found.iter().map(|finding| finding.severity).max() {
            None => self.missed.push(number),
            Some(Severity::Incomplete) => self.incomplete += 1,
            Some(Severity::Tampered) => self.tampered += 1,
        }
        let mut names = found.iter().map(|finding| format!("{:?}", finding.check).to_lowercase()).collect::<Vec<_>>();
        names.sort_unstable();
        names.dedup();
        names.into_iter().for_each(|name| *self.checks.entry(name).or_default() += 1);
    }
}

fn table(rows: &[(&str, Row)]) -> String {
    let mut table = Table::new();
    table.set_header(["tampering", "mutations", "detected", "tampered", "incomplete", "found as (reports that name the check)"]);
    for (name, row) in rows {
        let checks = row.checks.iter().map(|(check, count)| format!("{check} {count}")).collect::<Vec<_>>().join(", ");
        let detected = row.mutations - row.missed.len() as u64;
        let counts = [row.mutations, detected, row.tampered, row.incomplete].map(|count| count.to_string());
        table.add_row([vec![(*name).to_owned()], counts.to_vec(), vec![checks]].concat());
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_audit::verify::{Check, Place};

    #[test]
    fn a_mutation_without_a_finding_is_missed() {
        let finding = Finding::tampered(Place::Record(1), Check::Leaf, "a", "b");
        let row = row(0, 3, |rng| Ok(vec![finding.clone(); rng.random_range(1..3)])).unwrap();
        assert_eq!((row.mutations, row.tampered, row.missed, row.checks["leaf"]), (3, 3, vec![], 3));
        let row = self::row(0, 3, |_| Ok(Vec::new())).unwrap();
        assert_eq!((row.mutations, row.missed.len()), (3, 3));
        assert!(self::row(0, 3, |_| anyhow::bail!("no")).is_err());
    }
}
