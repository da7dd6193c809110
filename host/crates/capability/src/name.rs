//! Names that are checked once, where they enter, and are facts afterwards.

use crate::{Error, ErrorKind};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Declares a newtype over `Arc<str>` whose constructor checks it.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $operation:literal, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: &str) -> Result<Self, Error> {
                match $check(text) {
                    Ok(()) => Ok(Self(text.into())),
                    Err(why) => Err(Error::new(ErrorKind::InvalidInput, $operation, why)),
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A plugin's name: `review-rules`. Lower-case words joined by hyphens, at most 64 bytes.
    PluginName, "name.plugin", kebab
);
name!(
    /// The full name of a bucket, namespace included: `shared/applications`.
    BucketName, "name.bucket", path
);
name!(
    /// The full name of a database, namespace included: `shared/ticketing`.
    DatabaseName, "name.database", path
);
name!(
    /// A queue: `escalations`, or `events/status-reactor` for a listener's own.
    QueueName, "name.queue", path
);
name!(
    /// What an event is about: `ticketing.application.status-changed`.
    TopicName, "name.topic", dotted
);
name!(
    /// A topic, or a prefix of topics ending in `.*`, or `*` for all.
    TopicPattern, "name.topic-pattern", pattern
);
name!(
    /// A key inside a bucket: 1 to 512 bytes, no control characters.
    CacheKey, "name.key", key
);
name!(
    /// A tag on cache entries: 1 to 256 bytes, no control characters.
    Tag, "name.tag", tag
);

impl TopicPattern {
    pub fn matches(&self, topic: &str) -> bool {
        match self.as_str().strip_suffix('*') {
            Some(prefix) => topic.starts_with(prefix),
            None => self.as_str() == topic,
        }
    }
}

fn bounded(text: &str, most: usize) -> Result<(), String> {
    if text.is_empty() || text.len() > most {
        return Err(format!("must have 1 to {most} bytes, has {}", text.len()));
    }
    Ok(())
}

fn kebab(text: &str) -> Result<(), String> {
    bounded(text, 64)?;
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.chars().all(inner) || text.ends_with('-') || text.contains("--") {
        return Err(format!("`{}` is not lower-case words joined by hyphens", text.escape_debug()));
    }
    Ok(())
}

fn path(text: &str) -> Result<(), String> {
    bounded(text, 160)?;
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if !text.chars().all(inner) || text.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Err(format!("`{}` is not made of letters, digits, `-`, `_` and `.`", text.escape_debug()));
    }
    Ok(())
}

fn dotted(text: &str) -> Result<(), String> {
    bounded(text, 200)?;
    let inner = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if text.split('.').any(|part| part.is_empty() || !part.chars().all(inner)) {
        return Err(format!("`{}` is not words of letters, digits, `-` and `_` joined by dots", text.escape_debug()));
    }
    Ok(())
}

fn pattern(text: &str) -> Result<(), String> {
    match text {
        "*" => Ok(()),
        _ => dotted(text.strip_suffix(".*").unwrap_or(text)),
    }
}

fn key(text: &str) -> Result<(), String> {
    bounded(text, 512)?;
    no_control(text)
}

fn tag(text: &str) -> Result<(), String> {
    bounded(text, 256)?;
    no_control(text)
}

fn no_control(text: &str) -> Result<(), String> {
    if text.chars().any(char::is_control) {
        return Err("has control characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        let plugin = |t: &str| PluginName::new(t).is_ok();
        assert!(plugin("review-rules") && plugin("a1"));
        assert!(!plugin("") && !plugin("Review") && !plugin("a--b") && !plugin("a-") && !plugin("1a") && !plugin("a/b"));
        let queue = |t: &str| QueueName::new(t).is_ok();
        assert!(queue("events/status-reactor") && queue("escalations"));
        assert!(!queue("a//b") && !queue("../etc") && !queue("a b") && !queue("/a"));
        let pattern = |t: &str| TopicPattern::new(t).is_ok();
        assert!(pattern("*") && pattern("a.b.*") && pattern("a.b"));
        assert!(!pattern("a.*.b") && !pattern(".a") && !pattern("a*"));
        assert!(CacheKey::new("申请:A-2026-000123").is_ok());
        assert!(CacheKey::new("a\nb").is_err() && CacheKey::new(&"k".repeat(513)).is_err());
    }

    #[test]
    fn a_pattern_matches_whole_words_only() {
        let matches = |p: &str, t: &str| TopicPattern::new(p).is_ok_and(|p| p.matches(t));
        assert!(matches("a.*", "a.b") && matches("*", "a") && matches("a.b", "a.b"));
        assert!(!matches("a.*", "ab.c") && !matches("a.*", "a") && !matches("a.b", "a.b.c"));
    }
}
