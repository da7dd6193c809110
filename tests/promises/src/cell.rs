//! One cell of a campaign: what was offered, acknowledged and seen, and the table of them all.

use comfy_table::Table;
use plinth_tests::figures;
use std::time::Duration;

/// What one fault did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    pub(crate) name: String,
    /// Different messages somebody tried to publish.
    pub(crate) offered: u64,
    pub(crate) acked: u64,
    /// Acknowledged and never seen again.
    pub(crate) lost: u64,
    /// Seen to their end more than once.
    pub(crate) duplicated: u64,
    /// Seen and never offered.
    pub(crate) unexpected: u64,
    /// Tries whose outcome was not known; each was repeated under the same id.
    pub(crate) unknown: u64,
    /// Not acknowledged at the end, and seen or not.
    pub(crate) unacked: u64,
    pub(crate) p99: [Duration; 3],
    /// From the start of the fault to the first try that failed, if one did.
    pub(crate) detected: Option<Duration>,
    /// From the end of the fault to the first acknowledgement of a try begun after it.
    pub(crate) recovered: Option<Duration>,
    /// What else was promised and not kept.
    pub(crate) broken: Vec<String>,
}

impl Cell {
    pub(crate) fn kept(&self) -> bool {
        self.lost == 0 && self.unexpected == 0 && self.broken.is_empty() && self.acked > 0
    }
}

pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) cells: Vec<Cell>,
}

impl Report {
    pub(crate) fn kept(&self) -> bool {
        !self.cells.is_empty() && self.cells.iter().all(Cell::kept)
    }

    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.set_header([
            self.name,
            "offered",
            "acked",
            "lost",
            "duplicated",
            "unexpected",
            "unknown",
            "unacked",
            "p99 before",
            "during",
            "after",
            "detected",
            "recovered",
            "kept",
        ]);
        for cell in &self.cells {
            let count = |number: u64| number.to_string();
            let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1_000.0);
            let maybe = |time: Option<Duration>| time.map_or_else(|| "-".to_owned(), ms);
            let [before, during, after] = cell.p99.map(ms);
            let kept = if cell.kept() { "yes".to_owned() } else { format!("NO {}", cell.broken.join("; ")) };
            table.add_row([
                cell.name.clone(),
                count(cell.offered),
                count(cell.acked),
                count(cell.lost),
                count(cell.duplicated),
                count(cell.unexpected),
                count(cell.unknown),
                count(cell.unacked),
                before,
                during,
                after,
                maybe(cell.detected),
                maybe(cell.recovered),
                kept,
            ]);
        }
        table.to_string()
    }

    /// The worst over the cells; of what was acknowledged, the least.
    pub(crate) fn write(&self) {
        let worst = |of: fn(&Cell) -> u64| self.cells.iter().map(of).max().unwrap_or(0) as f64;
        let slowest =
            |of: fn(&Cell) -> Option<Duration>| self.cells.iter().filter_map(of).max().unwrap_or_default().as_secs_f64() * 1_000.0;
        figures::write(
            self.name,
            &[
                ("cells", self.cells.len() as f64),
                ("acked", self.cells.iter().map(|cell| cell.acked).min().unwrap_or(0) as f64),
                ("lost", worst(|cell| cell.lost)),
                ("unexpected", worst(|cell| cell.unexpected)),
                ("duplicated", worst(|cell| cell.duplicated)),
                ("unknown", worst(|cell| cell.unknown)),
                ("broken", worst(|cell| cell.broken.len() as u64)),
                ("detect_ms", slowest(|cell| cell.detected)),
                ("recover_ms", slowest(|cell| cell.recovered)),
                ("p99_before_ms", slowest(|cell| Some(cell.p99[0]))),
                ("p99_during_ms", slowest(|cell| Some(cell.p99[1]))),
                ("p99_after_ms", slowest(|cell| Some(cell.p99[2]))),
            ],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_message_breaks_the_promise_and_is_in_the_table() {
        let good = Cell { name: "calm".to_owned(), offered: 3, acked: 3, ..Cell::default() };
        let bad = Cell { name: "kill".to_owned(), lost: 1, ..good.clone() };
        assert!(Report { name: "p", cells: vec![good.clone()] }.kept());
        let report = Report { name: "p", cells: vec![good, bad] };
        assert!(!report.kept() && report.table().contains("NO"), "{}", report.table());
        assert!(!Report { name: "p", cells: Vec::new() }.kept(), "nothing done is nothing shown");
        assert!(!Cell::default().kept(), "nothing acknowledged is nothing shown");
    }
}
