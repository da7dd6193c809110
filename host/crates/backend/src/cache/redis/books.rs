//! Keeps the limits of buckets: tells Redis in batches what was written, and has it evict.
//!
//! Off the path of writes, so that a write is one plain command. A write is
//! accounted for within [`DELAY`] and a round trip; what a host had not
//! accounted for when it died is bounded by its lifetime only.

use super::{bucket::Bucket, entry::HEAD, error::Call, link::Link, script::Programs};
use plinth_capability::{Result, name::CacheKey};
use redis::Value;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::sleep,
};

/// How long a first write waits for others to be accounted for with it.
const DELAY: Duration = Duration::from_millis(50);
/// How long to wait after an error.
const AGAIN: Duration = Duration::from_secs(1);
/// Buckets that are accounted for after one delay.
const BUCKETS: usize = 256;
/// Keys in one script, which nothing else runs beside.
const SLICE: usize = 200;
/// Runs of eviction after one batch; what is over then waits for the next.
const ROUNDS: usize = 100;

/// Buckets with something to account for. Each is in here once, or twice for a
/// moment after an error, so this many places are enough.
pub(super) fn queue(max_buckets: usize) -> (Sender<Arc<Bucket>>, Receiver<Arc<Bucket>>) {
    channel(max_buckets.saturating_mul(2).clamp(1, 1 << 20))
}

pub(super) async fn keep(mut soiled: Receiver<Arc<Bucket>>, link: Arc<Link>, programs: Arc<Programs>) {
    let mut buckets = Vec::new();
    while soiled.recv_many(&mut buckets, BUCKETS).await > 0 {
        // To gather writes; there is no event for "nothing more is coming".
        sleep(DELAY).await;
        for bucket in buckets.drain(..) {
            while let Err(error) = account_all(&link, &programs, &bucket).await {
                tracing::warn!(%error, bucket = bucket.entries, "writes to a bucket are not counted yet");
                // What failed here fails for other buckets too, so they wait.
                sleep(AGAIN).await;
            }
        }
    }
}

async fn account_all(link: &Link, programs: &Programs, bucket: &Bucket) -> Result<()> {
    let dirty = bucket.take_dirty();
    for (done, keys) in dirty.chunks(SLICE).enumerate() {
        if let Err(error) = account(link, programs, bucket, keys).await {
            for key in dirty.iter().skip(done * SLICE) {
                bucket.soil(key);
            }
            return Err(error);
        }
    }
    Ok(())
}

async fn account(link: &Link, programs: &Programs, bucket: &Bucket, keys: &[CacheKey]) -> Result<()> {
    let mut keys = keys;
    for _ in 0..ROUNDS {
        let mut cmd = programs.account.call(bucket.books.len());
        cmd.arg(&bucket.books).arg(&bucket.entries).arg(bucket.limits.max_entries).arg(bucket.limits.max_bytes).arg(HEAD);
        for key in keys {
            cmd.arg(key.as_str());
        }
        let answer = link.run(Call::again("cache.account"), &programs.account, &cmd).await?;
        if !matches!(answer, Value::Array(parts) if matches!(parts.get(1), Some(Value::Int(1)))) {
            break;
        }
        keys = &[];
    }
    Ok(())
}
