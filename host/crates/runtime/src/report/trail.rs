//! What a running call leaves behind, in case it fails: bounded, and read only then.

use super::{Called, Frame};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Guest-controlled: what is kept of one call.
const LINES: usize = 20;
const LINE_BYTES: usize = 500;
const CALLS: usize = 32;

/// Shared by the call and whoever waits for it: a call that is cut off cannot tell any more.
#[derive(Debug, Default)]
pub(crate) struct Trail(Mutex<Left>);

#[derive(Debug, Default, Clone)]
pub(super) struct Left {
    pub(super) lines: VecDeque<String>,
    pub(super) calls: VecDeque<Called>,
    pub(super) calls_made: u64,
    pub(super) stack: Vec<Frame>,
    pub(super) stderr: Option<String>,
    pub(super) memory_bytes: u64,
}

impl Trail {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn logged(&self, level: &'static str, mut line: String) {
        line.truncate(line.floor_char_boundary(LINE_BYTES));
        let mut left = self.left();
        if left.lines.len() == LINES {
            left.lines.pop_front();
        }
        left.lines.push_back(format!("{level}: {line}"));
    }

    pub(crate) fn called(&self, called: Called) {
        let mut left = self.left();
        left.calls_made += 1;
        if left.calls.len() == CALLS {
            left.calls.pop_front();
        }
        left.calls.push_back(called);
    }

    /// The guest has ended.
    pub(crate) fn ended(&self, stack: Vec<Frame>, stderr: Option<String>, memory_bytes: u64) {
        let mut left = self.left();
        (left.stack, left.stderr, left.memory_bytes) = (stack, stderr, memory_bytes);
    }

    pub(super) fn take(&self) -> Left {
        std::mem::take(&mut *self.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;

    #[test]
    fn the_last_of_each_is_kept_and_no_more() {
        let trail = Trail::default();
        for number in 0..100 {
            trail.logged("info", format!("{number} {}", "é".repeat(1_000)));
            trail.called(Called { operation: Operation { capability: "cache", verb: "get" }, answer: "ok" });
        }
        let left = trail.take();
        assert_eq!((left.lines.len(), left.calls.len(), left.calls_made), (LINES, CALLS, 100));
        assert!(left.lines[0].starts_with("info: 80 é") && left.lines.iter().all(|line| line.len() < LINE_BYTES + 10));
    }
}
