//! What one capability's calls may take together.

use plinth_capability::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// More than this would not be a limit.
const CALLS_MAX: u32 = 100_000;

/// Each number is at least 1, except that nobody needs to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Policy {
    timeout_ms: u32,
    max_concurrent: u32,
    max_waiting: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct Fields {
    /// Ends a call, not counting what the call itself asks to wait.
    timeout_ms: u32,
    /// Calls that run at a time.
    max_concurrent: u32,
    /// Calls that wait for one of them to end; the next is refused.
    max_waiting: u32,
}

impl Default for Fields {
    fn default() -> Self {
        Self { timeout_ms: 5_000, max_concurrent: 256, max_waiting: 1_024 }
    }
}

impl Default for Policy {
    fn default() -> Self {
        let Fields { timeout_ms, max_concurrent, max_waiting } = Fields::default();
        Self { timeout_ms, max_concurrent, max_waiting }
    }
}

impl Policy {
    pub fn try_new(timeout_ms: u32, max_concurrent: u32, max_waiting: u32) -> Result<Self> {
        if timeout_ms == 0 || max_concurrent == 0 || max_concurrent > CALLS_MAX || max_waiting > CALLS_MAX {
            let why = format!("timeout-ms and max-concurrent are at least 1, max-concurrent and max-waiting at most {CALLS_MAX}");
            return Err(Error::new(ErrorKind::InvalidInput, "policy.new", why));
        }
        Ok(Self { timeout_ms, max_concurrent, max_waiting })
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.timeout_ms))
    }

    pub fn max_concurrent(&self) -> usize {
        self.max_concurrent as usize
    }

    pub fn max_waiting(&self) -> usize {
        self.max_waiting as usize
    }
}

impl TryFrom<Fields> for Policy {
    type Error = Error;

    fn try_from(fields: Fields) -> Result<Self> {
        Self::try_new(fields.timeout_ms, fields.max_concurrent, fields.max_waiting)
    }
}

impl From<Policy> for Fields {
    fn from(policy: Policy) -> Self {
        let Policy { timeout_ms, max_concurrent, max_waiting } = policy;
        Self { timeout_ms, max_concurrent, max_waiting }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::value::{Error as ValueError, MapDeserializer};

    fn read(fields: &[(&'static str, u32)]) -> Result<Policy, ValueError> {
        Policy::deserialize(MapDeserializer::new(fields.iter().copied()))
    }

    #[test]
    fn a_policy_is_checked_where_it_enters() {
        assert_eq!(read(&[]).unwrap(), Policy::default());
        let policy = read(&[("timeout-ms", 10), ("max-waiting", 0)]).unwrap();
        assert_eq!((policy.timeout(), policy.max_waiting()), (Duration::from_millis(10), 0));
        for bad in [[("timeout-ms", 0)], [("max-concurrent", 0)], [("max-waiting", CALLS_MAX + 1)], [("retries", 3)]] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
    }
}
