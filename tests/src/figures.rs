//! Figures of a campaign: printed, and written where reports are made from them.

use crate::root;
use serde_json::{Map, Value, json};
use std::process::Command;

/// Prints a table and writes `target/figures/NAME.json`.
pub fn write(name: &str, figures: &[(&str, f64)]) {
    let width = figures.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in figures {
        eprintln!("{name}: {key:width$}  {value:.3}");
    }
    let folder = root().join("target/figures");
    std::fs::create_dir_all(&folder).expect("a folder for figures");
    let figures: Map<String, Value> = figures.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    let text = json!({"name": name, "commit": commit(), "figures": figures});
    std::fs::write(folder.join(name).with_extension("json"), format!("{text:#}\n")).expect("figures are written");
}

fn commit() -> String {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(root()).output();
    let text = output.ok().filter(|output| output.status.success()).and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
