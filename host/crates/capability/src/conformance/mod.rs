//! The suites: each bullet of a contract is a case of the same name.

pub mod audit;
pub mod cache;
pub mod database;
pub mod fleet;
pub mod http;
pub mod inbox;
pub mod metrics;
pub mod persons;
pub mod queue;
pub mod secrets;
pub mod state;
pub mod transparency;

use crate::audit::{AuditFilter, AuditLog, StoredRecord};
use std::time::{Duration, Instant};

/// Long enough for a busy machine; reached only by a failing case.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until the answer is yes, for what a contract promises only "soon".
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "still not so after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Every record that a filter finds, read in pages of `limit`.
#[expect(clippy::expect_used, reason = "a case fails by panicking")]
pub async fn find_all(log: &dyn AuditLog, filter: &AuditFilter, limit: u32) -> Vec<StoredRecord> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = log.find(filter, cursor.as_deref(), limit).await.expect("find answers");
        assert!(page.records.len() <= limit as usize, "a page holds at most its limit");
        all.extend(page.records);
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
}

/// Makes one `#[tokio::test]` per case of a suite, over `$make`, an async
/// expression that yields a fresh subject for each case.
#[macro_export]
macro_rules! conformance_cases {
    ($suite:path, $make:expr; $($case:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                use $suite as suite;
                suite::$case($make.await).await;
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// A contract is its suite: every bullet has a case of its name, every case
    /// a bullet, and the macro of the suite runs them all.
    fn bullets_match_cases(contract: &str, suite: &str) {
        let bullets: BTreeSet<&str> =
            contract.lines().filter_map(|line| line.trim().strip_prefix("/// - `")?.split_once("`:")).map(|(name, _)| name).collect();
        let cases: BTreeSet<&str> =
            suite.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split_once('(')).map(|(name, _)| name).collect();
        let (_, list) = suite.split_once("macro_rules!").expect("a suite has a macro that lists its cases");
        let run: BTreeSet<&str> =
            list.lines().filter_map(|line| line.trim().strip_suffix(',')).filter(|name| cases.contains(name)).collect();
        assert!(!bullets.is_empty(), "no bullets found");
        assert_eq!(bullets, cases, "bullets of the contract (left) and cases of the suite (right)");
        assert_eq!(cases, run, "cases of the suite (left) and those its macro runs (right)");
    }

    #[test]
    fn cache_suite_is_the_contract() {
        bullets_match_cases(include_str!("../cache.rs"), include_str!("cache.rs"));
    }

    #[test]
    fn metrics_suite_is_the_contract() {
        bullets_match_cases(include_str!("../metrics.rs"), include_str!("metrics.rs"));
    }

    #[test]
    fn http_suite_is_the_contract() {
        bullets_match_cases(include_str!("../http.rs"), include_str!("http.rs"));
    }

    #[test]
    fn secrets_suite_is_the_contract() {
        bullets_match_cases(include_str!("../secrets.rs"), include_str!("secrets.rs"));
    }

    #[test]
    fn audit_suite_is_the_contract() {
        bullets_match_cases(include_str!("../audit.rs"), include_str!("audit.rs"));
    }

    #[test]
    fn persons_suite_is_the_contract() {
        bullets_match_cases(include_str!("../persons.rs"), include_str!("persons.rs"));
    }

    #[test]
    fn queue_suite_is_the_contract() {
        bullets_match_cases(include_str!("../queue.rs"), concat!(include_str!("queue.rs"), include_str!("queue/operators.rs")));
    }

    #[test]
    fn database_suite_is_the_contract() {
        bullets_match_cases(include_str!("../database.rs"), concat!(include_str!("database.rs"), include_str!("database/outbox.rs")));
    }

    #[test]
    fn state_suite_is_the_contract() {
        bullets_match_cases(include_str!("../state.rs"), include_str!("state.rs"));
    }

    #[test]
    fn transparency_suite_is_the_contract() {
        bullets_match_cases(include_str!("../transparency.rs"), include_str!("transparency.rs"));
    }

    #[test]
    fn inbox_suite_is_the_contract() {
        bullets_match_cases(include_str!("../inbox.rs"), include_str!("inbox.rs"));
    }

    #[test]
    fn fleet_suite_is_the_contract() {
        bullets_match_cases(include_str!("../fleet.rs"), include_str!("fleet.rs"));
    }
}
