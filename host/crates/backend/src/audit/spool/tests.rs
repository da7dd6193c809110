//! The spool on a disk that crashes: whatever happens, what was confirmed comes to the log, once and in order.

use super::{
    sim::{SimDisk, below},
    store::{Refused, Store},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::BTreeSet;

const RUNS: u64 = 2_000;
const STEPS: usize = 60;

/// What a run did.
#[derive(Default)]
struct Run {
    crashes: usize,
    confirmed: BTreeSet<u64>,
    /// Records that were handed over and not confirmed.
    failed: BTreeSet<u64>,
    /// The log: a record is taken once, by its id.
    log: Vec<u64>,
}

fn bytes(id: u64, random: &mut StdRng) -> Vec<u8> {
    let mut record = id.to_be_bytes().to_vec();
    record.resize(8 + below(random, 200), 7);
    record
}

impl Run {
    fn take(&mut self, records: &[Vec<u8>]) {
        for record in records {
            let id = u64::from_be_bytes(record[..8].try_into().unwrap());
            if !self.log.contains(&id) {
                self.log.push(id);
            }
        }
    }

    /// Everything that is left; the disk has no faults any more.
    fn drain(&mut self, store: &mut Store<SimDisk>) {
        while let Some((number, records)) = store.oldest().unwrap() {
            self.take(&records);
            store.done(number).unwrap();
        }
    }
}

fn run(seed: u64) -> Run {
    let mut random = StdRng::seed_from_u64(seed);
    let disk = SimDisk::new(StdRng::seed_from_u64(!seed), if seed.is_multiple_of(2) { 0 } else { 5 });
    let mut store = Store::open(disk.clone(), 1 << 20).unwrap();
    let (mut run, mut next) = (Run::default(), 0);
    for _ in 0..STEPS {
        match below(&mut random, 10) {
            0..6 => {
                let ids: Vec<u64> = (next..).take(1 + below(&mut random, 4)).collect();
                next += ids.len() as u64;
                let batch: Vec<Vec<u8>> = ids.iter().map(|id| bytes(*id, &mut random)).collect();
                match store.put(&batch) {
                    Ok(()) => run.confirmed.extend(ids),
                    Err(_) => run.failed.extend(ids),
                }
            }
            6..8 => {
                if let Ok(Some((number, records))) = store.oldest() {
                    run.take(&records);
                    // Often it goes down between the log and its own disk.
                    if random.random_bool(0.7) {
                        let _ = store.done(number);
                    }
                }
            }
            _ => {
                drop(store);
                // Sometimes only the process ends, and the disk has all that was written.
                if random.random_bool(0.8) {
                    disk.crash();
                    run.crashes += 1;
                }
                store = Store::open(disk.clone(), 1 << 20).unwrap();
            }
        }
    }
    drop(store);
    disk.without_faults();
    disk.crash();
    run.crashes += 1;
    let mut store = Store::open(disk.clone(), 1 << 20).unwrap();
    run.drain(&mut store);
    assert_eq!((store.standing().records, store.standing().kept), (0, 0), "seed {seed}: a crash is no damage");
    run
}

#[test]
fn what_was_confirmed_is_never_lost_by_a_crash() {
    let (mut crashes, mut confirmed, mut failed) = (0, 0, 0);
    for seed in 0..RUNS {
        let run = run(seed);
        let log: BTreeSet<u64> = run.log.iter().copied().collect();
        let lost: Vec<&u64> = run.confirmed.difference(&log).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?} were confirmed and are nowhere");
        assert!(log.iter().all(|id| run.confirmed.contains(id) || run.failed.contains(id)), "seed {seed}: nobody wrote this");
        let of_confirmed: Vec<u64> = run.log.iter().copied().filter(|id| run.confirmed.contains(id)).collect();
        assert!(of_confirmed.is_sorted(), "seed {seed}: {of_confirmed:?}");
        crashes += run.crashes;
        confirmed += run.confirmed.len();
        failed += run.failed.len();
    }
    assert!(crashes > 10_000 && confirmed > 50_000 && failed > 5_000, "{crashes} {confirmed} {failed}");
    println!("{crashes} crashes, {confirmed} records confirmed, {failed} not, none of the confirmed lost");
}

#[test]
fn a_full_spool_takes_nothing_and_loses_nothing() {
    let disk = SimDisk::new(StdRng::seed_from_u64(1), 0);
    let mut store = Store::open(disk.clone(), 1_000).unwrap();
    let record = vec![0; 200];
    let taken = (0..).take_while(|_| store.put(std::slice::from_ref(&record)).is_ok()).count();
    assert_eq!(taken, 4);
    assert!(matches!(store.put(std::slice::from_ref(&record)), Err(Refused::Full)));
    let mut store = Store::open(disk, 1_000).unwrap();
    let (number, records) = store.oldest().unwrap().unwrap();
    assert_eq!(records, vec![record.clone(); 4]);
    store.done(number).unwrap();
    store.put(&[record]).unwrap();
}
