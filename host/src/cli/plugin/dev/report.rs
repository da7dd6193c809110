//! What `plinth plugin dev` tells: a sentence for people or an object for programs, one line each.

use super::super::super::client::Change;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

pub(super) struct Report {
    pub(super) json: bool,
}

impl Report {
    pub(super) fn watching(&self, dir: &Path, host: &str) {
        let text = format!("watching {} for {host}; Ctrl-C stops and leaves what is live", dir.display());
        self.tell(json!({ "event": "watching", "dir": dir, "host": host }), text);
    }

    pub(super) fn live(&self, change: &Change, built: Duration) {
        let Change { plugin, version, digest, generation, .. } = change;
        let (built_ms, installed_ms) = (built.as_millis(), change.elapsed_us / 1_000);
        let notices: String = change.notices.iter().map(|notice| format!("\n  note: {notice}")).collect();
        let text = format!(
            "{plugin} {version} is live ({digest}, generation {generation}; built in {built_ms} ms, installed in {installed_ms} ms){notices}"
        );
        let value = json!({
            "event": "live", "plugin": plugin, "version": version, "digest": digest, "generation": generation,
            "built_ms": built_ms, "installed_ms": installed_ms, "notices": change.notices,
        });
        self.tell(value, text);
    }

    pub(super) fn unchanged(&self, live: Option<&str>) {
        self.tell(json!({ "event": "unchanged", "live": live }), format!("the same component as before; {}", answering(live)));
    }

    pub(super) fn not_built(&self, why: &str, live: Option<&str>) {
        self.tell(json!({ "event": "not-built", "why": why, "live": live }), format!("{why}; {}", answering(live)));
    }

    pub(super) fn refused(&self, why: &str, live: Option<&str>) {
        self.tell(
            json!({ "event": "refused", "why": why, "live": live }),
            format!("the host refuses it: {why}\nplinth: {}", answering(live)),
        );
    }

    pub(super) fn no_answer(&self, why: &str) {
        self.tell(json!({ "event": "no-answer", "why": why }), why.to_owned());
    }

    pub(super) fn stopped(&self, live: Option<&str>) {
        self.tell(json!({ "event": "stopped", "live": live }), format!("stopped; {}", answering(live)));
    }

    fn tell(&self, value: Value, text: String) {
        if self.json { println!("{value}") } else { println!("plinth: {text}") }
    }
}

fn answering(live: Option<&str>) -> String {
    live.map_or("nothing of it is live".to_owned(), |version| format!("{version} answers"))
}
