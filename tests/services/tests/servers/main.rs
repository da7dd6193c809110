//! Every kind of server is started, killed, restarted, paused and talked to; the proxy fails as ordered.

// Marked as tests, so that clippy lets their helpers unwrap.
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod echo;
#[cfg(test)]
mod fault;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod rabbitmq;
#[cfg(test)]
mod redis;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod up;

#[cfg(test)]
use std::time::Duration;

/// Long enough to see that nothing comes.
#[cfg(test)]
const SILENCE: Duration = Duration::from_millis(400);
/// Far longer than anything takes.
#[cfg(test)]
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until the answer is `Ok`: a client learns of a failover by trying.
#[cfg(test)]
async fn eventually<T, E: std::fmt::Debug>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let started = tokio::time::Instant::now();
    loop {
        match tokio::time::timeout(Duration::from_secs(3), attempt()).await {
            Ok(Ok(value)) => return value,
            other => assert!(started.elapsed() < PATIENCE, "{what}: {:?}", other.map(Result::err)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
