//! What a bench found: a table for people and target/figures/NAME.json for programs.

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// Worth knowing; nothing depends on it.
    Tell,
}

impl Aim {
    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
            Self::Tell => String::new(),
        }
    }

    fn verdict(self, value: f64) -> &'static str {
        let met = match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
            Self::Tell => return "",
        };
        if met { "met" } else { "missed" }
    }
}

pub(crate) struct Figures {
    name: &'static str,
    figures: Vec<(&'static str, f64, Aim)>,
}

#[derive(Serialize)]
struct Document<'a> {
    name: &'a str,
    commit: &'a str,
    figures: BTreeMap<&'a str, serde_json::Number>,
}

impl Figures {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, figures: Vec::new() }
    }

    pub(crate) fn add(&mut self, key: &'static str, value: f64, aim: Aim) {
        self.figures.push((key, value, aim));
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header([self.name, "value", "aim", ""]);
        for (key, value, aim) in &self.figures {
            table.add_row([(*key).to_owned(), rounded(*value).to_string(), aim.text(), aim.verdict(*value).to_owned()]);
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }

    /// Where it was written.
    pub(crate) fn write(&self, root: &Path) -> Result<PathBuf> {
        let path = root.join("target/figures").join(format!("{}.json", self.name));
        let folder = path.parent().unwrap_or(root);
        std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
        std::fs::write(&path, self.json(&commit(root))?).with_context(|| format!("could not write {}", path.display()))?;
        Ok(path)
    }

    fn json(&self, commit: &str) -> Result<String> {
        let mut figures = BTreeMap::new();
        for (key, value, _) in &self.figures {
            let number = number(*value).with_context(|| format!("{key} is not a number: nothing was measured"))?;
            ensure!(figures.insert(*key, number).is_none(), "{key} is there twice");
        }
        Ok(serde_json::to_string_pretty(&Document { name: self.name, commit, figures })? + "\n")
    }
}

/// Whole numbers without a point, others with as many digits as mean something.
fn number(value: f64) -> Option<serde_json::Number> {
    let value = rounded(value);
    match value.fract() == 0.0 && value.abs() < 1e15 {
        true => Some((value as i64).into()),
        false => serde_json::Number::from_f64(value),
    }
}

fn rounded(value: f64) -> f64 {
    let steps = if value.abs() < 100.0 { 1_000.0 } else { 1.0 };
    (value * steps).round() / steps
}

fn commit(root: &Path) -> String {
    let said = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).current_dir(root).output();
    match said {
        Ok(said) if said.status.success() => String::from_utf8_lossy(&said.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::new("sample");
        figures.add("requests", 120_000.0, Aim::Tell);
        figures.add("ratio", 0.951_49, Aim::AtLeast(0.95));
        figures.add("p50_us", 41.5, Aim::AtMost(40.0));
        figures
    }

    #[test]
    fn the_file_is_what_programs_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = figures().write(folder.path()).unwrap();
        assert!(path.ends_with("target/figures/sample.json"));
        let read: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let expected = serde_json::json!({"requests": 120_000, "ratio": 0.951, "p50_us": 41.5});
        assert_eq!((&read["name"], &read["commit"], &read["figures"]), (&"sample".into(), &"unknown".into(), &expected));
    }

    #[test]
    fn the_table_says_what_is_met() {
        let table = figures().table().to_string();
        let line = |key: &str| table.lines().find(|line| line.contains(key)).unwrap().to_owned();
        assert!(line("ratio").contains("≥ 0.95") && line("ratio").contains("met"));
        assert!(line("p50_us").contains("≤ 40") && line("p50_us").contains("missed"));
        assert!(!line("requests").contains("met"));
    }

    #[test]
    fn what_was_not_measured_is_not_written() {
        let mut figures = figures();
        figures.add("rps", f64::NAN, Aim::Tell);
        assert!(figures.json("c").unwrap_err().to_string().contains("rps"));
        let mut twice = self::figures();
        twice.add("ratio", 1.0, Aim::Tell);
        assert!(twice.json("c").is_err());
    }
}
