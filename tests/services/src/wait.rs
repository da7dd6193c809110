//! Waiting for a condition: asked again and again until it holds or the time is over.

use anyhow::{Context, Result, anyhow};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);
/// An attempt that hangs says no: the next one may meet a server that is further on.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Asks until the answer is `Ok`. After `limit` the last error is the cause of the one returned.
pub(crate) async fn until<T, F>(what: &str, limit: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + limit;
    loop {
        let answer = tokio::time::timeout(ATTEMPT, attempt()).await;
        let error = match answer {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("no answer within {ATTEMPT:?}"),
        };
        if Instant::now() >= end {
            return Err(error).with_context(|| format!("{what}: not within {limit:?}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
