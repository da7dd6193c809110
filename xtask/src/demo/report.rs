//! What the demo says in the end: a table, a line for programs, a file of figures.

use super::{
    settle::Facts,
    swaps::Swapped,
    tally::{Tally, millis},
};
use crate::shell;
use anyhow::{Context, Result};
use comfy_table::Table;
use serde_json::{Map, Value, json};
use std::{path::Path, time::Duration};

pub(crate) struct Report {
    pub(crate) tally: Tally,
    pub(crate) swapped: Swapped,
    pub(crate) facts: Facts,
    /// From the first act to the last answer.
    pub(crate) took: Duration,
}

impl Report {
    /// Adds up what was found wrong in each part.
    pub(crate) fn new(mut tally: Tally, swapped: Swapped, facts: Facts, faults: Vec<String>, took: Duration) -> Self {
        swapped.failures.iter().cloned().chain(faults).for_each(|fault| tally.fail(fault));
        Self { tally, swapped, facts, took }
    }

    fn answered_by(&self) -> String {
        let parts: Vec<String> = self.tally.answered_by.iter().map(|(label, count)| format!("{label}:{count}")).collect();
        parts.join(",")
    }

    /// The last line of the demo; its form is relied upon.
    pub(crate) fn line(&self) -> String {
        format!(
            "demo: requests={} failed={} swaps={} answered_by={} messages={} audit={} p99_ms={}",
            self.tally.requests,
            self.tally.failed,
            self.swapped.swaps,
            self.answered_by(),
            self.facts.delivered,
            self.facts.audit.records,
            self.tally.p99_ms()
        )
    }

    pub(crate) fn print(&self) {
        println!("\n{}", self.by_act());
        println!("\n{}", self.totals());
        if self.tally.failed > 0 {
            println!("\n{} failed; the first:", self.tally.failed);
            self.tally.failures.iter().for_each(|failure| println!("  {failure}"));
        }
    }

    fn by_act(&self) -> Table {
        let rows = self.tally.kinds.iter().map(|(kind, (counts, latencies))| {
            let [sent, done, denied, held, failed] =
                [counts.sent, counts.done, counts.denied, counts.held, counts.failed].map(|count| count.to_string());
            let [p50, p99] = [0.5, 0.99].map(|quantile| format!("{:.1}", millis(latencies, quantile)));
            [kind.name().to_owned(), sent, done, denied, held, failed, p50, p99]
        });
        shell::table(["act", "sent", "done", "denied", "held", "failed", "p50 ms", "p99 ms"], rows)
    }

    fn totals(&self) -> Table {
        let (tally, swapped, facts) = (&self.tally, &self.swapped, &self.facts);
        let rows = [
            ("requests", format!("{} in {}", tally.requests, shell::seconds(self.took))),
            ("failures", tally.failed.to_string()),
            ("decisions answered by", self.answered_by().replace(',', "  ")),
            ("swaps, rollbacks", format!("{}, {}", swapped.swaps, swapped.rollbacks)),
            ("slowest swap", format!("{} ms", swapped.slowest.as_millis())),
            ("p50, p99", format!("{} ms, {} ms", tally.p50_ms(), tally.p99_ms())),
            ("cache hits, misses", format!("{}, {}", tally.hits, tally.misses)),
            ("messages delivered", facts.delivered.to_string()),
            ("notifications sent", facts.notifications_sent.to_string()),
            ("audit records", facts.audit.records.to_string()),
        ];
        shell::table(["in all", ""], rows.map(|(name, value)| [name.to_owned(), value]))
    }

    /// target/figures/demo.json, in the form every bench writes.
    pub(crate) fn write_figures(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
        let file = folder.join("demo.json");
        let text = serde_json::to_string_pretty(&json!({ "name": "demo", "commit": shell::commit(), "figures": self.figures() }))?;
        std::fs::write(&file, text + "\n").with_context(|| format!("could not write {}", file.display()))
    }

    fn figures(&self) -> Map<String, Value> {
        let (tally, facts) = (&self.tally, &self.facts);
        let mut figures = Map::new();
        let mut put = |name: &str, value: Value| drop(figures.insert(name.to_owned(), value));
        put("requests", tally.requests.into());
        put("failed", tally.failed.into());
        put("commands", tally.commands().into());
        put("status_changes", tally.changes().into());
        put("seconds", ((self.took.as_secs_f64() * 10.0).round() / 10.0).into());
        put("swaps", self.swapped.swaps.into());
        put("rollbacks", self.swapped.rollbacks.into());
        put("slowest_swap_ms", u64::try_from(self.swapped.slowest.as_millis()).unwrap_or(u64::MAX).into());
        put("p50_ms", tally.p50_ms().into());
        put("p99_ms", tally.p99_ms().into());
        put("cache_hits", tally.hits.into());
        put("cache_misses", tally.misses.into());
        put("messages", facts.delivered.into());
        put("notifications", facts.notifications_sent.into());
        put("audit_records", facts.audit.records.into());
        for (label, count) in &tally.answered_by {
            put(&format!("answered_by_{label}"), (*count).into());
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            scenario::Verb,
            tally::{Ended, Kind, tests::sample},
        },
        *,
    };

    fn report(faults: Vec<String>) -> Report {
        let mut tally = Tally::new().unwrap();
        tally.add(sample(Kind::Create, 4, Ok(Ended::Done)));
        tally.add(sample(Kind::Command(Verb::Submit), 12, Ok(Ended::Done)));
        let swapped = Swapped { swaps: 6, rollbacks: 6, ..Swapped::default() };
        let mut facts = Facts { delivered: 2, notifications_sent: 1, ..Facts::default() };
        facts.audit.records = 3;
        Report::new(tally, swapped, facts, faults, Duration::from_secs(2))
    }

    #[test]
    fn the_last_line_keeps_its_form() {
        assert_eq!(report(Vec::new()).line(), "demo: requests=3 failed=0 swaps=6 answered_by=v1:1 messages=2 audit=3 p99_ms=12");
    }

    #[test]
    fn a_fault_is_a_failure() {
        let report = report(vec!["2 messages still wait".into()]);
        assert!(report.line().contains(" failed=1 "));
        assert_eq!(report.tally.failures, ["2 messages still wait"]);
    }

    #[test]
    fn figures_are_numbers() {
        let folder = tempfile::tempdir().unwrap();
        report(Vec::new()).write_figures(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join("demo.json")).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["name"], "demo");
        assert!(file["figures"].as_object().unwrap().values().all(Value::is_number), "{text}");
        assert_eq!(file["figures"]["answered_by_v1"], 1);
    }
}
