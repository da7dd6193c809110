//! Reads Prometheus' text format strictly, for machines that have no `promtool`.

use std::collections::{BTreeMap, BTreeSet};

/// Every problem of a text; none means that Prometheus takes it.
pub fn problems(text: &str) -> Vec<String> {
    let mut reader = Reader::default();
    for (number, line) in (1..).zip(text.lines()) {
        if let Err(why) = reader.line(line) {
            reader.problems.push(format!("line {number}: {why}: {line}"));
        }
    }
    if !text.ends_with('\n') {
        reader.problems.push("the last line has no end".to_owned());
    }
    reader.problems
}

#[derive(Default)]
struct Reader {
    types: BTreeMap<String, String>,
    helps: BTreeSet<String>,
    /// The family whose samples come now, and those that have ended.
    family: String,
    ended: BTreeSet<String>,
    series: BTreeSet<String>,
    problems: Vec<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        let Some(comment) = line.strip_prefix("# ") else { return self.sample(line) };
        let mut words = comment.splitn(3, ' ');
        let (kind, name, rest) = (words.next(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        check_name(name)?;
        match kind {
            Some("HELP") if !self.helps.insert(name.to_owned()) => Err("a second HELP".to_owned()),
            Some("HELP") if rest.is_empty() => Err("an empty HELP".to_owned()),
            Some("HELP") => Ok(()),
            Some("TYPE") => self.kind(name, rest),
            _ => Err("neither HELP nor TYPE".to_owned()),
        }
    }

    fn kind(&mut self, name: &str, kind: &str) -> Result<(), String> {
        if !["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind) {
            return Err("an unknown type".to_owned());
        }
        if kind == "counter" && !name.ends_with("_total") {
            return Err("a counter that does not end in _total".to_owned());
        }
        if !self.helps.contains(name) {
            return Err("a TYPE without a HELP before it".to_owned());
        }
        self.enter(name)?;
        match self.types.insert(name.to_owned(), kind.to_owned()) {
            None => Ok(()),
            Some(_) => Err("a second TYPE".to_owned()),
        }
    }

    /// The lines of one family stand together.
    fn enter(&mut self, family: &str) -> Result<(), String> {
        if self.family == family {
            return Ok(());
        }
        self.ended.insert(std::mem::replace(&mut self.family, family.to_owned()));
        if self.ended.contains(family) { Err("a family that had ended".to_owned()) } else { Ok(()) }
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let (series, value) = match line.rfind('}') {
            Some(end) => line.split_at(end + 1),
            None => line.split_at(line.find(' ').ok_or("no value")?),
        };
        let value = value.strip_prefix(' ').ok_or("no value")?;
        value.parse::<f64>().map_err(|_| "a value that is no number".to_owned())?;
        let (name, labels) = series.split_once('{').map_or((series, ""), |(name, rest)| (name, rest.trim_end_matches('}')));
        check_name(name)?;
        check_labels(labels)?;
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
            let base = name.strip_suffix(end)?;
            self.types.get(base).is_some_and(|kind| kind == "histogram").then_some(base)
        });
        let family = family.unwrap_or(name).to_owned();
        if !self.types.contains_key(&family) {
            return Err("a sample without a TYPE".to_owned());
        }
        self.enter(&family)?;
        if self.series.insert(series.to_owned()) { Ok(()) } else { Err("a series that comes twice".to_owned()) }
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let good = name.starts_with(|c: char| inner(c) && !c.is_ascii_digit()) && name.chars().all(inner);
    if good { Ok(()) } else { Err(format!("`{name}` is no name")) }
}

/// `name="value",…` with `\\`, `\"` and `\n` as the only escapes.
fn check_labels(mut text: &str) -> Result<(), String> {
    let mut names = BTreeSet::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").ok_or("a label without a value")?;
        check_name(name)?;
        if !names.insert(name) {
            return Err(format!("label `{name}` comes twice"));
        }
        let mut escaped = false;
        let end = rest.find(|c: char| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let (_, after) = rest.split_at(end.ok_or("a label value without an end")?);
        text = after.trim_start_matches('"').trim_start_matches(',');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::problems;

    #[test]
    fn a_good_text_has_no_problems_and_each_bad_one_has() {
        let good = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\\\"}\",y=\"\"} 3\n# HELP h H.\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 0.5\nh_count 1\n";
        assert_eq!(problems(good), Vec::<String>::new());
        let head = "# HELP a_total A.\n# TYPE a_total counter\n";
        for bad in ["a_total 1\n", "# HELP a A.\n# TYPE a counter\na 1\n", "# TYPE a_total counter\na_total 1\n"] {
            assert!(!problems(bad).is_empty(), "{bad}");
        }
        for bad in ["a_total one\n", "a_total{x=1} 1\n", "a_total 1\na_total 1\n", "a_total{x=\"1\",x=\"2\"} 1\n", "a_total 1", "b-c 1\n"] {
            assert!(!problems(&format!("{head}{bad}")).is_empty(), "{bad}");
        }
    }
}
