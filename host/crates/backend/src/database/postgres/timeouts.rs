//! What the server's session is set to, and when it is worth a round trip to change it.

/// What the server's session is set to, in milliseconds.
pub(super) struct Timeouts {
    /// `None`: not known.
    pub(super) statement: Option<u32>,
    /// Set inside the transaction: a rollback takes it back.
    pub(super) changed: bool,
}

impl Timeouts {
    /// What to set for a statement that may take `want`, if anything. What is
    /// set already is kept if it cuts off at most a fifth: the time left is a
    /// little less with each call, and each setting is a round trip.
    pub(super) fn next(&self, want: u32) -> Option<u32> {
        let want = want.max(1);
        match self.statement {
            Some(set) if set <= want && u64::from(set) * 5 >= u64::from(want) * 4 => None,
            Some(set) if set > want => Some((want - want / 10).max(1)),
            _ => Some(want),
        }
    }
}

/// Less than the statement's, so that one that waits for a lock ends as a conflict.
pub(super) fn lock_timeout(statement_ms: u32) -> u32 {
    (statement_ms - statement_ms / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_set_seldom_and_never_too_long() {
        let mut timeouts = Timeouts { statement: Some(2_000), changed: false };
        let mut sets = 0;
        for want in (0..=2_000).rev().chain([2_000, 5, 2_000]) {
            if let Some(next) = timeouts.next(want) {
                timeouts.statement = Some(next);
                sets += 1;
            }
            let set = timeouts.statement.unwrap();
            assert!(set <= want.max(1) && set * 5 >= want * 4, "{set} for {want}");
        }
        assert!(sets < 60, "{sets}");
        assert!((1..100).all(|ms| lock_timeout(ms) <= ms && lock_timeout(ms) > 0));
    }
}
