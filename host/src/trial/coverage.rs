//! Which capability calls and which of their errors a plugin's cases have reached.

use super::script::Seen;
use plinth_runtime::Operation;
use std::collections::{BTreeMap, BTreeSet};

/// Over all cases of a run.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// Packages that the component imports: `plinth:cache`.
    imported: BTreeSet<String>,
    reached: BTreeMap<String, Reached>,
}

#[derive(Debug, Default)]
struct Reached {
    calls: u64,
    /// Answers that were errors, by kind.
    errors: BTreeSet<&'static str>,
}

/// Of these nothing is told: they cannot fail, and do nothing outside of the call.
const QUIET: [&str; 2] = ["context", "log"];

impl Seen {
    /// Whether it belongs to what a plugin does, rather than to how it gets there.
    pub(super) fn tells(&self) -> bool {
        !QUIET.contains(&self.operation.capability) && self.operation.verb != "open"
    }
}

/// `queue.publish`, or `queue.publish: unavailable`.
pub(super) fn shown(seen: &Seen) -> String {
    let name = seen.operation.name();
    seen.error.map_or_else(|| name.clone(), |kind| format!("{name}: {}", kind.code()))
}

impl Coverage {
    pub(super) fn imports(&mut self, interfaces: Vec<String>) {
        for (package, interface) in interfaces.iter().filter_map(|interface| interface.split_once('/')) {
            // What has no functions cannot be called.
            let types_only = interface.split('@').next().is_some_and(|name| name.ends_with("-types"));
            if package.starts_with("plinth:") && !types_only {
                self.imported.insert(package.to_owned());
            }
        }
    }

    pub(super) fn add(&mut self, calls: &[Seen]) {
        for seen in calls.iter().filter(|seen| !QUIET.contains(&seen.operation.capability)) {
            let reached = self.reached.entry(seen.operation.name()).or_default();
            reached.calls += 1;
            reached.errors.extend(seen.error.map(|kind| kind.code()));
        }
    }

    /// Imported, and never called.
    fn unused(&self) -> Vec<&str> {
        let capability = |package: &str| package.trim_start_matches("plinth:").to_owned();
        let called = |name: &str| self.reached.keys().any(|reached| reached.split_once('.').is_some_and(|(of, _)| of == name));
        let unused = self.imported.iter().filter(|package| {
            let name = capability(package);
            !QUIET.contains(&name.as_str()) && !called(&name)
        });
        unused.map(String::as_str).collect()
    }

    /// Of the reached those that can fail.
    fn failing(&self) -> impl Iterator<Item = (&String, &Reached)> {
        self.reached.iter().filter(|(name, _)| Operation::fallible().iter().any(|operation| operation.name() == **name))
    }

    /// Reached, and never seen to fail.
    fn unfailed(&self) -> Vec<&str> {
        self.failing().filter(|(_, reached)| reached.errors.is_empty()).map(|(name, _)| name.as_str()).collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let reached: BTreeMap<_, _> = self
            .reached
            .iter()
            .map(|(name, reached)| (name, serde_json::json!({"calls": reached.calls, "errors": reached.errors})))
            .collect();
        serde_json::json!({ "reached": reached, "never_failed": self.unfailed(), "never_called": self.unused() })
    }
}

impl std::fmt::Display for Coverage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let failing = self.failing().count();
        let failed = failing - self.unfailed().len();
        write!(f, "coverage: {} capability calls reached, {failed} of {failing} also as they fail", self.reached.len())?;
        for (what, names) in [("never seen to fail", self.unfailed()), ("imported and never called", self.unused())] {
            if !names.is_empty() {
                write!(f, "\n  {what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_capability::ErrorKind;

    #[test]
    fn what_no_case_has_reached_is_named() {
        let mut coverage = Coverage::default();
        coverage.imports(
            [
                "plinth:cache/buckets@1.0.0",
                "plinth:audit/writer@1.0.0",
                "plinth:log/log@1.0.0",
                "plinth:queue/queue-types@1.0.0",
                "wasi:io/error@0.2.6",
            ]
            .map(str::to_owned)
            .to_vec(),
        );
        let seen = |capability, verb, error| Seen { operation: Operation { capability, verb }, error };
        coverage.add(&[
            seen("cache", "get", None),
            seen("cache", "get", Some(ErrorKind::Unavailable)),
            seen("cache", "set", None),
            seen("metrics", "record", None),
            seen("context", "read", None),
        ]);
        let expected = "coverage: 3 capability calls reached, 1 of 2 also as they fail\n  never seen to fail: cache.set\n  imported and never called: plinth:audit";
        assert_eq!(coverage.to_string(), expected);
    }
}
