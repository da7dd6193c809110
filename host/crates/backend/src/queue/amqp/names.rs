//! What things are called at the broker, and how a delay becomes a routing key.
//!
//! Every name carries the version of this topology: a later one with other
//! arguments stands beside it instead of being refused by the broker.

use plinth_capability::name::{QueueName, TopicName, TopicPattern};
use std::time::Duration;

const VERSION: &str = "v1";
/// What a delay is rounded up to.
pub(super) const UNIT: Duration = Duration::from_millis(50);
const UNIT_MS: u64 = 50;
/// Levels that wait 1, 2, 4 … units: a bit of the delay each.
const BITS: u32 = 26;
/// Levels above them that wait 2^26 units (38.8 days) each, since the broker's
/// longest time to live is 49.7 days. With all of them a delay reaches 388 days.
const LONG: u32 = 9;
pub(super) const LEVELS: u32 = BITS + LONG;

/// The lowest priority of a lane, which is the lane's name.
pub(super) type Mark = u8;

#[derive(Debug, Clone)]
pub(super) struct Names {
    base: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { base: format!("{prefix}.{VERSION}") }
    }

    pub(super) fn lane(&self, queue: &QueueName, mark: Mark) -> String {
        format!("{}.q.{queue}.{mark}", self.base)
    }

    pub(super) fn dead(&self, queue: &QueueName) -> String {
        format!("{}.dead.{queue}", self.base)
    }

    /// Copies topic messages to the lanes bound to it.
    pub(super) fn topics(&self) -> String {
        format!("{}.topics", self.base)
    }

    /// Where a message goes whose delay has ended.
    pub(super) fn delivery(&self) -> String {
        format!("{}.delivery", self.base)
    }

    /// Exchange and queue of one level of delay.
    pub(super) fn delay(&self, level: u32) -> String {
        format!("{}.delay.{level:02}", self.base)
    }

    /// Holds the one message that says which queues there are.
    pub(super) fn catalog(&self) -> String {
        format!("{}.catalog", self.base)
    }

    /// Tells every host of a changed catalog; that it exists says that there is one.
    pub(super) fn changes(&self) -> String {
        format!("{}.changes", self.base)
    }

    pub(super) fn lock(&self, what: &str) -> String {
        format!("{}.lock.{what}", self.base)
    }
}

/// The marks of so many lanes over the priorities 0-9.
pub(super) fn marks(lanes: u8) -> Vec<Mark> {
    let lanes = lanes.clamp(1, 10);
    let mut marks: Vec<Mark> = (0..10).filter(|p| *p == 0 || p * lanes / 10 != (p - 1) * lanes / 10).collect();
    marks.dedup();
    marks
}

/// The lane of a priority: the last one that begins at or below it.
pub(super) fn lane_of(marks: &[Mark], priority: u8) -> Mark {
    marks.iter().copied().filter(|mark| *mark <= priority).max().unwrap_or(0)
}

/// Routing key of a topic message. It holds the priority and not the lane,
/// because queues that are bound may have different lanes.
pub(super) fn topic_key(priority: u8, topic: &TopicName) -> String {
    format!("{priority}.{topic}")
}

/// Binding keys that bring a pattern's messages of one priority.
pub(super) fn topic_binding(priority: u8, pattern: &TopicPattern) -> String {
    match pattern.as_str() {
        "*" => format!("{priority}.#"),
        // Ours stands for one word or more, the broker's `*` for one, `#` for any number.
        text => match text.strip_suffix(".*") {
            Some(prefix) => format!("{priority}.{prefix}.*.#"),
            None => format!("{priority}.{text}"),
        },
    }
}

/// A lane or the dead letters as one word of a routing key: `.` would part
/// words, and `:` and `;` are in no queue's name.
pub(super) fn word(queue: &QueueName, part: &str) -> String {
    format!("{};{part}", queue.as_str().replace('.', ":"))
}

/// Binding key by which what has waited comes to a lane or the dead letters.
pub(super) fn delivery_binding(queue: &QueueName, part: &str) -> String {
    format!("{}.#", word(queue, part))
}

/// Where a message that must wait goes first, and under which key: the word,
/// then one word per level from the longest down, 1 for "wait here".
pub(super) fn delay_route(names: &Names, word: &str, delay: Duration) -> (String, String) {
    let units = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).div_ceil(UNIT_MS).max(1);
    let (long, rest) = (units >> BITS, units & ((1 << BITS) - 1));
    let waits = |level: u32| match level.checked_sub(BITS) {
        None => rest >> level & 1 == 1,
        Some(above) => u64::from(above) < long,
    };
    let mut key = word.to_owned();
    for level in (0..LEVELS).rev() {
        key.push_str(if waits(level) { ".1" } else { ".0" });
    }
    let first = (0..LEVELS).rev().find(|level| waits(*level)).unwrap_or(0);
    (names.delay(first), key)
}

/// What one level waits.
pub(super) fn level_ms(level: u32) -> u64 {
    UNIT_MS << level.min(BITS)
}

/// Binding key of a level for those that wait in it, or for those that pass it.
pub(super) fn level_binding(level: u32, waits: bool) -> String {
    let above = usize::try_from(LEVELS - 1 - level).unwrap_or(0);
    format!("*.{}{}.#", "*.".repeat(above), u8::from(waits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_capability::queue::DELAY_MAX;
    use proptest::prelude::*;

    #[test]
    fn lanes_cover_the_priorities() {
        assert_eq!(marks(10), (0..10).collect::<Vec<_>>());
        assert_eq!((marks(1), marks(3), marks(2)), (vec![0], vec![0, 4, 7], vec![0, 5]));
        assert!((1..=10).all(|lanes| marks(lanes).len() == usize::from(lanes)));
        assert_eq!([0, 3, 4, 6, 7, 9].map(|p| lane_of(&marks(3), p)), [0, 0, 4, 4, 7, 7]);
    }

    #[test]
    fn the_longest_names_and_keys_fit() {
        let queue = QueueName::new(&"q".repeat(160)).unwrap();
        let names = Names::new(&"p".repeat(32));
        assert!(names.lock(&names.dead(&queue)).len() <= 255 && names.lane(&queue, 9).len() <= 255);
        let (_, key) = delay_route(&names, &word(&queue, "dead"), DELAY_MAX);
        assert!(key.len() <= 255, "{}", key.len());
        assert!(topic_key(9, &TopicName::new(&"t".repeat(200)).unwrap()).len() <= 255);
    }

    #[test]
    fn patterns_are_translated() {
        let binding = |text: &str| topic_binding(4, &TopicPattern::new(text).unwrap());
        assert_eq!([binding("*"), binding("a.b.*"), binding("a.b")], ["4.#", "4.a.b.*.#", "4.a.b"]);
    }

    proptest! {
        /// The levels a key waits in add up to the delay, rounded up to a unit.
        #[test]
        fn a_key_waits_the_delay(ms in 1u64..=31_622_400_000) {
            let (first, key) = delay_route(&Names::new("p"), "w", Duration::from_millis(ms));
            let bits: Vec<_> = key.split('.').skip(1).collect();
            prop_assert_eq!(bits.len(), usize::try_from(LEVELS).unwrap());
            let waited: Vec<_> = (0..LEVELS).rev().zip(bits).filter(|(_, bit)| *bit == "1").map(|(level, _)| level).collect();
            let total: u64 = waited.iter().map(|level| level_ms(*level)).sum();
            prop_assert_eq!(total, ms.div_ceil(UNIT_MS) * UNIT_MS);
            prop_assert_eq!(first, Names::new("p").delay(waited[0]));
            prop_assert!(level_ms(waited[0]) <= u64::from(u32::MAX), "the broker's longest time to live");
        }
    }
}
