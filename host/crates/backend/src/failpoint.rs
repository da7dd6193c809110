//! Named places where a test may end the process as `kill -9` does; nothing in a build without the feature `failpoints`.

/// Every place, in the order a unit of work passes them.
pub const ALL: &[&str] = &[
    "transaction.begun",
    "transaction.outbox-filled",
    "transaction.before-commit",
    "transaction.committed",
    "relay.read",
    "relay.delivered",
    "relay.settled",
    "publish.begun",
    "publish.sent",
    "publish.confirmed",
    "consume.received",
    "consume.claimed",
    "settle.begun",
    "settle.done",
];

/// The process ends here if `PLINTH_FAILPOINT` is `NAME:COUNT` with this name
/// and this is the COUNT-th time it comes by.
#[cfg(feature = "failpoints")]
pub fn reach(name: &'static str) {
    use rustix::process::{Signal, getpid, kill_process};
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };
    static WANTED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a test of the whole process has no other way in")]
    let wanted = WANTED.get_or_init(|| {
        let value = std::env::var("PLINTH_FAILPOINT").ok()?;
        let (name, count) = value.rsplit_once(':')?;
        Some((name.to_owned(), AtomicU64::new(count.parse().ok()?)))
    });
    if let Some((wanted, left)) = wanted
        && wanted == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        let _ = kill_process(getpid(), Signal::KILL);
        // The signal may reach another thread first: nothing after this place happens.
        loop {
            std::thread::park();
        }
    }
}

#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_: &'static str) {}
