//! The suite of the cache capability: one case per bullet of its contract.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a suite fails by panicking")]

use super::eventually;
use crate::{
    ErrorKind,
    cache::{BATCH_MAX, BucketLimits, Cache, Condition, Expiry, Version, Write, WriteOutcome},
    name::{BucketName, CacheKey, Tag},
};
use bytes::Bytes;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// A cache under test and three empty buckets of it.
#[derive(Clone)]
pub struct Subject {
    pub cache: Arc<dyn Cache>,
    /// With the default limits.
    pub roomy: BucketName,
    /// With the default limits too.
    pub other: BucketName,
    /// With [`small_limits`].
    pub small: BucketName,
}

/// What the maker of a [`Subject`] configures for its small bucket.
pub fn small_limits() -> BucketLimits {
    BucketLimits { default_ttl_ms: 1_000, max_entries: 20, max_bytes: 1 << 20, max_value_bytes: 1_024 }
}

/// Runs every case over `$make`, an async expression that yields a fresh [`Subject`].
#[macro_export]
macro_rules! cache_suite {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::cache, $make;
            get_returns_what_was_set,
            expiry_is_checked_on_read,
            ttl_of_zero_is_refused,
            default_ttl_applies,
            batch_keeps_order,
            batch_is_bounded,
            set_many_writes_all,
            delete_counts_what_was_there,
            set_if_absent_has_one_winner,
            swap_has_one_winner,
            touch_restarts_the_lifetime,
            increment_is_atomic,
            increment_refuses_text,
            scan_finds_all_live_keys,
            scan_prefix_is_literal,
            tags_invalidate_their_entries,
            overwriting_drops_old_tags,
            large_value_is_refused,
            entry_count_is_bounded,
            buckets_are_apart,
        }
    };
}

const MINUTE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

fn key(text: &str) -> CacheKey {
    CacheKey::new(text).expect("a good key")
}

fn tag(text: &str) -> Tag {
    Tag::new(text).expect("a good tag")
}

fn lasting() -> Write {
    Write::always(Some(MINUTE))
}

/// The passing of time is what these cases are about; there is nothing else to wait for.
async fn let_pass(ttl: Duration) {
    tokio::time::sleep(ttl + Duration::from_millis(50)).await;
}

impl Subject {
    async fn set(&self, bucket: &BucketName, name: &str, value: &str, write: Write) -> WriteOutcome {
        self.cache.set(bucket, &key(name), Bytes::copy_from_slice(value.as_bytes()), write).await.expect("set answers")
    }

    async fn put(&self, name: &str, value: &str) -> Version {
        match self.set(&self.roomy, name, value, lasting()).await {
            WriteOutcome::Stored(version) => version,
            WriteOutcome::Conflict(_) => unreachable!("an unconditional write has no conflict"),
        }
    }

    async fn text(&self, bucket: &BucketName, name: &str) -> Option<String> {
        let entry = self.cache.get(bucket, &key(name)).await.expect("get answers")?;
        Some(String::from_utf8(entry.value.to_vec()).expect("these values are text"))
    }

    async fn read(&self, name: &str) -> Option<String> {
        self.text(&self.roomy, name).await
    }

    /// Follows `next` to the end.
    async fn all(&self, bucket: &BucketName, prefix: &str, limit: u32) -> Vec<String> {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.cache.scan(bucket, prefix, cursor.as_deref(), limit).await.expect("scan answers");
            assert!(page.keys.len() <= limit as usize, "a page holds at most its limit");
            found.extend(page.keys);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return found,
            }
        }
    }
}

pub async fn get_returns_what_was_set(s: Subject) {
    let bytes = Bytes::from((0..=255).collect::<Vec<u8>>());
    let outcome = s.cache.set(&s.roomy, &key("申请:1"), bytes.clone(), lasting()).await.expect("set answers");
    let entry = s.cache.get(&s.roomy, &key("申请:1")).await.expect("get answers").expect("it is there");
    assert_eq!(entry.value, bytes);
    assert_eq!(outcome, WriteOutcome::Stored(entry.version.clone()), "get names the version that set stored");
    s.put("empty", "").await;
    assert_eq!(s.read("empty").await.as_deref(), Some(""), "an empty value is a value");
    assert_ne!(s.put("申请:1", "again").await, entry.version, "another state has another version");
    assert_eq!(s.read("申请:1").await.as_deref(), Some("again"));
    assert_eq!(s.read("missing").await, None);
}

pub async fn expiry_is_checked_on_read(s: Subject) {
    s.set(&s.roomy, "a", "1", Write::always(Some(SHORT))).await;
    let_pass(SHORT).await;
    assert_eq!(s.read("a").await, None);
    assert_eq!(s.cache.get_many(&s.roomy, &[key("a")]).await.expect("get_many answers"), [None]);
    assert_eq!(s.cache.expiry(&s.roomy, &key("a")).await.expect("expiry answers"), Expiry::NoSuchKey);
}

pub async fn ttl_of_zero_is_refused(s: Subject) {
    s.put("a", "old").await;
    let zero = Some(Duration::ZERO);
    let kinds = [
        s.cache.set(&s.roomy, &key("a"), Bytes::from("new"), Write::always(zero)).await.expect_err("set").kind(),
        s.cache.set_many(&s.roomy, vec![(key("a"), Bytes::from("new"))], zero).await.expect_err("set_many").kind(),
        s.cache.touch(&s.roomy, &key("a"), Duration::ZERO).await.expect_err("touch").kind(),
        s.cache.increment(&s.roomy, &key("b"), 1, zero).await.expect_err("increment").kind(),
    ];
    assert_eq!(kinds, [ErrorKind::InvalidInput; 4]);
    assert_eq!((s.read("a").await.as_deref(), s.read("b").await), (Some("old"), None));
}

pub async fn default_ttl_applies(s: Subject) {
    s.set(&s.small, "a", "1", Write::always(None)).await;
    let default = Duration::from_millis(u64::from(small_limits().default_ttl_ms));
    match s.cache.expiry(&s.small, &key("a")).await.expect("expiry answers") {
        Expiry::In(left) => assert!(left <= default, "{left:?} left"),
        other => unreachable!("expected a lifetime, got {other:?}"),
    }
    let_pass(default).await;
    assert_eq!(s.text(&s.small, "a").await, None);
}

pub async fn batch_keeps_order(s: Subject) {
    s.put("a", "1").await;
    s.put("b", "2").await;
    let asked = ["b", "missing", "a", "b"].map(key);
    let answers = s.cache.get_many(&s.roomy, &asked).await.expect("get_many answers");
    let texts: Vec<_> = answers.iter().map(|slot| slot.as_ref().map(|entry| &entry.value[..])).collect();
    assert_eq!(texts, [Some(&b"2"[..]), None, Some(b"1"), Some(b"2")]);
    assert_eq!(s.cache.get_many(&s.roomy, &[]).await.expect("get_many answers"), []);
}

pub async fn batch_is_bounded(s: Subject) {
    let keys: Vec<_> = (0..=BATCH_MAX).map(|i| key(&format!("k{i}"))).collect();
    s.put("k0", "old").await;
    let entries = keys.iter().map(|k| (k.clone(), Bytes::from("new"))).collect();
    let kinds = [
        s.cache.get_many(&s.roomy, &keys).await.expect_err("get_many").kind(),
        s.cache.set_many(&s.roomy, entries, Some(MINUTE)).await.expect_err("set_many").kind(),
        s.cache.delete_many(&s.roomy, &keys).await.expect_err("delete_many").kind(),
    ];
    assert_eq!(kinds, [ErrorKind::LimitExceeded; 3]);
    assert_eq!((s.read("k0").await.as_deref(), s.read("k1").await), (Some("old"), None));
    assert_eq!(s.cache.get_many(&s.roomy, &keys[1..]).await.expect("a full batch is served").len(), BATCH_MAX);
}

pub async fn set_many_writes_all(s: Subject) {
    let entries = (0..BATCH_MAX).map(|i| (key(&format!("k{i}")), Bytes::from(i.to_string()))).collect();
    s.cache.set_many(&s.roomy, entries, Some(MINUTE)).await.expect("set_many answers");
    for i in [0, 1, BATCH_MAX / 2, BATCH_MAX - 1] {
        let name = format!("k{i}");
        assert_eq!(s.read(&name).await, Some(i.to_string()));
        match s.cache.expiry(&s.roomy, &key(&name)).await.expect("expiry answers") {
            Expiry::In(left) => assert!(left <= MINUTE && left > MINUTE / 2, "{left:?} left"),
            other => unreachable!("expected a lifetime, got {other:?}"),
        }
    }
}

pub async fn delete_counts_what_was_there(s: Subject) {
    s.put("a", "1").await;
    s.put("b", "2").await;
    s.set(&s.roomy, "gone", "3", Write::always(Some(SHORT))).await;
    let_pass(SHORT).await;
    let keys = ["a", "missing", "b", "a", "gone"].map(key);
    assert_eq!(s.cache.delete_many(&s.roomy, &keys).await.expect("delete_many answers"), 2);
    assert_eq!(s.read("a").await, None);
    assert_eq!(s.cache.delete_many(&s.roomy, &keys).await.expect("delete_many answers"), 0);
}

/// Many writers at once, all under `condition`; the values of those that were stored.
async fn race(s: &Subject, condition: Condition) -> Vec<String> {
    let mut writers = JoinSet::new();
    for i in 0..32 {
        let (s, write) = (s.clone(), Write { condition: condition.clone(), ..lasting() });
        writers.spawn(async move {
            let value = format!("writer {i}");
            match s.set(&s.roomy, "contested", &value, write).await {
                WriteOutcome::Stored(_) => Some(value),
                WriteOutcome::Conflict(there) => {
                    let there = there.expect("a conflict shows what is there");
                    assert_ne!(there.value, value.as_bytes(), "a writer does not lose to itself");
                    None
                }
            }
        });
    }
    writers.join_all().await.into_iter().flatten().collect()
}

pub async fn set_if_absent_has_one_winner(s: Subject) {
    s.set(&s.roomy, "contested", "expired", Write::always(Some(SHORT))).await;
    let_pass(SHORT).await;
    let winners = race(&s, Condition::IfAbsent).await;
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(s.read("contested").await.as_ref(), winners.first());
    let late = Write { condition: Condition::IfVersion(None), ..lasting() };
    assert!(matches!(s.set(&s.roomy, "contested", "late", late).await, WriteOutcome::Conflict(Some(_))));
}

pub async fn swap_has_one_winner(s: Subject) {
    let first = s.put("contested", "first").await;
    let winners = race(&s, Condition::IfVersion(Some(first.clone()))).await;
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(s.read("contested").await.as_ref(), winners.first());
    let over_nothing = Write { condition: Condition::IfVersion(Some(first)), ..lasting() };
    assert_eq!(s.set(&s.roomy, "missing", "x", over_nothing).await, WriteOutcome::Conflict(None));
    assert_eq!(s.read("missing").await, None);
}

pub async fn touch_restarts_the_lifetime(s: Subject) {
    s.set(&s.roomy, "a", "1", Write::always(Some(SHORT * 10))).await;
    assert!(s.cache.touch(&s.roomy, &key("a"), MINUTE).await.expect("touch answers"));
    let_pass(SHORT * 10).await;
    assert_eq!(s.read("a").await.as_deref(), Some("1"));
    assert!(s.cache.touch(&s.roomy, &key("a"), SHORT).await.expect("touch answers"));
    let_pass(SHORT).await;
    assert!(!s.cache.touch(&s.roomy, &key("a"), MINUTE).await.expect("touch answers"), "expired is missing");
    assert!(!s.cache.touch(&s.roomy, &key("missing"), MINUTE).await.expect("touch answers"));
}

pub async fn increment_is_atomic(s: Subject) {
    let mut writers = JoinSet::new();
    for _ in 0..16 {
        let s = s.clone();
        writers.spawn(async move {
            for _ in 0..25 {
                s.cache.increment(&s.roomy, &key("n"), 1, Some(MINUTE)).await.expect("increment answers");
            }
        });
    }
    writers.join_all().await;
    assert_eq!(s.read("n").await.as_deref(), Some("400"));
    assert_eq!(s.cache.increment(&s.roomy, &key("n"), -401, Some(MINUTE * 60)).await.expect("increment answers"), -1);
    match s.cache.expiry(&s.roomy, &key("n")).await.expect("expiry answers") {
        Expiry::In(left) => assert!(left <= MINUTE, "only a new counter takes the ttl, {left:?} left"),
        other => unreachable!("expected a lifetime, got {other:?}"),
    }
}

pub async fn increment_refuses_text(s: Subject) {
    for text in ["abc", "", " 1", "1.5", "0x10", "99999999999999999999"] {
        s.put("text", text).await;
        assert_eq!(s.cache.increment(&s.roomy, &key("text"), 1, None).await.expect_err(text).kind(), ErrorKind::WrongType, "{text:?}");
        assert_eq!(s.read("text").await.as_deref(), Some(text));
    }
    let most = i64::MAX.to_string();
    s.put("most", &most).await;
    assert_eq!(s.cache.increment(&s.roomy, &key("most"), 1, None).await.expect_err("overflow").kind(), ErrorKind::LimitExceeded);
    assert_eq!(s.read("most").await, Some(most));
}

pub async fn scan_finds_all_live_keys(s: Subject) {
    let mut expected = BTreeSet::new();
    for i in 0..57 {
        let name = format!("application:{i}");
        s.put(&name, "x").await;
        expected.insert(name);
    }
    s.put("other:1", "x").await;
    s.set(&s.roomy, "application:expired", "x", Write::always(Some(SHORT))).await;
    let_pass(SHORT).await;
    for limit in [1, 10, 57, 1_000] {
        let found = s.all(&s.roomy, "application:", limit).await;
        assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected, "in pages of {limit}");
    }
    assert_eq!(s.all(&s.roomy, "", 1_000).await.len(), 58);
    assert_eq!(s.all(&s.other, "", 10).await, [""; 0]);
}

pub async fn scan_prefix_is_literal(s: Subject) {
    for name in ["a*b", "axb", "a?b", "a[x]b", "a\\b", "a\\*b"] {
        s.put(name, "x").await;
    }
    for (prefix, found) in [("a*", "a*b"), ("a?", "a?b"), ("a[x", "a[x]b"), ("a\\*", "a\\*b")] {
        assert_eq!(s.all(&s.roomy, prefix, 10).await, [found], "prefix {prefix}");
    }
    assert_eq!(s.all(&s.roomy, "*", 10).await, [""; 0]);
}

pub async fn tags_invalidate_their_entries(s: Subject) {
    let tagged = |tags: &[&str]| Write { tags: tags.iter().map(|t| tag(t)).collect(), ..lasting() };
    s.set(&s.roomy, "a", "1", tagged(&["application:1", "list"])).await;
    s.set(&s.roomy, "b", "2", tagged(&["application:2", "list"])).await;
    s.set(&s.roomy, "c", "3", tagged(&["application:3"])).await;
    s.set(&s.roomy, "d", "4", lasting()).await;
    s.set(&s.other, "a", "5", tagged(&["list"])).await;
    let drop = async |tags: &[&str]| {
        let tags: Vec<_> = tags.iter().map(|t| tag(t)).collect();
        s.cache.invalidate(&s.roomy, &tags).await.expect("invalidate answers")
    };
    assert_eq!(drop(&["unknown"]).await, 0);
    assert_eq!(drop(&["list", "application:1"]).await, 2, "an entry with two of the tags counts once");
    let left = [s.read("a").await, s.read("b").await, s.read("c").await, s.read("d").await, s.text(&s.other, "a").await];
    assert_eq!(left.map(|value| value.is_some()), [false, false, true, true, true]);
    assert_eq!(drop(&["list"]).await, 0, "nothing is dropped twice");
    assert!(s.cache.touch(&s.roomy, &key("c"), MINUTE).await.expect("touch answers"));
    assert_eq!(drop(&["application:3"]).await, 1, "a touched entry keeps its tags");
}

pub async fn overwriting_drops_old_tags(s: Subject) {
    s.set(&s.roomy, "a", "1", Write { tags: vec![tag("old")], ..lasting() }).await;
    s.set(&s.roomy, "a", "2", Write { tags: vec![tag("new")], ..lasting() }).await;
    assert_eq!(s.cache.invalidate(&s.roomy, &[tag("old")]).await.expect("invalidate answers"), 0);
    assert_eq!(s.read("a").await.as_deref(), Some("2"));
    assert_eq!(s.cache.invalidate(&s.roomy, &[tag("new")]).await.expect("invalidate answers"), 1);
    assert_eq!(s.read("a").await, None);
}

pub async fn large_value_is_refused(s: Subject) {
    let most = small_limits().max_value_bytes as usize;
    let fits = "x".repeat(most);
    s.set(&s.small, "a", &fits, lasting()).await;
    let large = Bytes::from(vec![b'y'; most + 1]);
    let kinds = [
        s.cache.set(&s.small, &key("a"), large.clone(), lasting()).await.expect_err("set").kind(),
        s.cache.set_many(&s.small, vec![(key("a"), large)], Some(MINUTE)).await.expect_err("set_many").kind(),
    ];
    assert_eq!(kinds, [ErrorKind::LimitExceeded; 2]);
    assert_eq!(s.text(&s.small, "a").await, Some(fits));
}

pub async fn entry_count_is_bounded(s: Subject) {
    for i in 0..200 {
        s.set(&s.small, &format!("k{i}"), "x", lasting()).await;
    }
    eventually("the bucket is within its limit", async || {
        let kept = s.all(&s.small, "", 1_000).await.len();
        assert!(kept > 0, "a bound is not a purge");
        kept as u64 <= small_limits().max_entries
    })
    .await;
}

pub async fn buckets_are_apart(s: Subject) {
    s.set(&s.roomy, "a", "1", lasting()).await;
    s.set(&s.other, "a", "2", lasting()).await;
    assert_eq!(s.cache.delete_many(&s.roomy, &[key("a")]).await.expect("delete_many answers"), 1);
    assert_eq!((s.read("a").await, s.text(&s.other, "a").await.as_deref()), (None, Some("2")));
}
