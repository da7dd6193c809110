//! What a plugin may declare: checked as a whole list before any of it counts.

use plinth_capability::{
    Error, ErrorKind, Result,
    metrics::{METRICS_MAX, MetricDeclaration, MetricKind},
    name::PluginName,
};
use std::collections::HashSet;

pub(super) const OPERATION: &str = "metrics.declare";
/// Labels every series of a plugin has, before its own.
pub(super) const OWN_LABELS: [&str; 2] = ["plugin", "plugin_version"];

const NAME_MAX: usize = 128;
const HELP_MAX: usize = 1_024;
const LABELS_MAX: usize = 8;
const BUCKETS_MAX: usize = 40;
/// Names of the host itself and of the process.
const RESERVED: [&str; 2] = ["plinth_", "process_"];

/// `review-rules` and `changes_total` make `review_rules_changes_total`.
pub(super) fn full_name(plugin: &PluginName, name: &str) -> String {
    format!("{}_{name}", plugin.as_str().replace('-', "_"))
}

/// Every name that a metric of this kind writes in the exposition.
pub(super) fn exported(full_name: &str, kind: MetricKind) -> Vec<String> {
    let suffixes: &[&str] = match kind {
        MetricKind::Counter | MetricKind::Gauge => &[""],
        MetricKind::Histogram => &["", "_bucket", "_count", "_sum"],
    };
    suffixes.iter().map(|suffix| format!("{full_name}{suffix}")).collect()
}

/// `taken` holds the exported names of all other plugins.
pub(super) fn check(plugin: &PluginName, declarations: &[MetricDeclaration], taken: &HashSet<String>) -> Result<()> {
    if declarations.len() > METRICS_MAX {
        let message = format!("{} metrics, at most {METRICS_MAX}", declarations.len());
        return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, message));
    }
    let mut own = HashSet::new();
    for declaration in declarations {
        check_one(declaration).map_err(|why| refuse(declaration, &why))?;
        let full_name = full_name(plugin, &declaration.name);
        if RESERVED.iter().any(|reserved| full_name.starts_with(reserved)) {
            return Err(refuse(declaration, "its full name belongs to the host"));
        }
        for name in exported(&full_name, declaration.kind) {
            if taken.contains(&name) || !own.insert(name) {
                return Err(refuse(declaration, "collides with another metric"));
            }
        }
    }
    Ok(())
}

fn refuse(declaration: &MetricDeclaration, why: &str) -> Error {
    let name: String = declaration.name.chars().take(NAME_MAX).collect();
    Error::new(ErrorKind::InvalidInput, OPERATION, format!("metric `{}`: {why}", name.escape_debug()))
}

fn check_one(declaration: &MetricDeclaration) -> Result<(), String> {
    let MetricDeclaration { name, kind, help, labels, buckets } = declaration;
    if !identifier(name) {
        return Err(format!("a name is 1 to {NAME_MAX} letters, digits and `_`, and begins with no digit"));
    }
    if help.is_empty() || help.len() > HELP_MAX {
        return Err(format!("the help has 1 to {HELP_MAX} bytes"));
    }
    if labels.len() > LABELS_MAX {
        return Err(format!("{} labels, at most {LABELS_MAX}", labels.len()));
    }
    let mut seen = HashSet::new();
    for label in labels {
        if !identifier(label) || label.starts_with("__") || label == "le" || OWN_LABELS.contains(&label.as_str()) {
            return Err(format!("`{}` cannot be a label", label.escape_debug()));
        }
        if !seen.insert(label) {
            return Err(format!("label `{label}` twice"));
        }
    }
    if *kind != MetricKind::Histogram && !buckets.is_empty() {
        return Err("only histograms have buckets".to_owned());
    }
    let rising = buckets.iter().zip(buckets.iter().skip(1)).all(|(low, high)| low < high);
    if buckets.len() > BUCKETS_MAX || !rising || !buckets.iter().all(|bound| bound.is_finite()) {
        return Err(format!("buckets are at most {BUCKETS_MAX} rising finite bounds"));
    }
    Ok(())
}

fn identifier(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=NAME_MAX).contains(&text.len()) && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit())
}
