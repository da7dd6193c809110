//! A plugin's configuration: defaults, the operator's values over them, checked against the schema.

use crate::manifest::Manifest;
use serde_json::{Map, Value};

/// Problems reported of one configuration.
const PROBLEMS_MAX: usize = 20;
/// Operator-controlled: bytes of one configuration.
const CONFIG_MAX: usize = 64 << 10;

pub(super) fn check(manifest: &Manifest, given: Option<&Value>) -> Result<Value, Vec<String>> {
    let mut config = to_json(&manifest.config)?;
    match given {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            if let Value::Object(defaults) = &mut config {
                merge(defaults, given);
            }
        }
        Some(_) => return Err(vec!["the configuration is not an object".to_owned()]),
    }
    if config.to_string().len() > CONFIG_MAX {
        return Err(vec![format!("the configuration has more than {CONFIG_MAX} bytes")]);
    }
    let Some(schema) = &manifest.config_schema else {
        return match config.as_object().is_some_and(Map::is_empty) {
            true => Ok(config),
            false => Err(vec!["there is a configuration but no config-schema to check it with".to_owned()]),
        };
    };
    let schema = to_json(schema)?;
    let validator = jsonschema::validator_for(&schema).map_err(|e| vec![format!("config-schema is not a JSON Schema: {e}")])?;
    let problems: Vec<_> =
        validator.iter_errors(&config).take(PROBLEMS_MAX).map(|e| format!("config{}: {e}", path(&e.instance_path().to_string()))).collect();
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

/// `/limits/high` as an author writes it: `.limits.high`.
fn path(pointer: &str) -> String {
    pointer.replace('/', ".")
}

fn to_json(table: &toml::Table) -> Result<Value, Vec<String>> {
    serde_json::to_value(table).map_err(|e| vec![format!("not expressible as JSON: {e}")])
}

fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(value)) => merge(below, value),
            _ => drop(into.insert(key.clone(), value.clone())),
        }
    }
}

/// Text for `wasi:config`: strings as they are, everything else as JSON.
pub(super) fn pairs(config: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    config.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(rest: &str) -> Manifest {
        Manifest::parse(&format!("name = 'p'\nversion = '1.0.0'\n{rest}")).unwrap()
    }

    const SCHEMA: &str = "[config]\nhold-above = 10\n[config.deep]\na = 1\nb = 2\n[config-schema]\ntype = 'object'\nadditionalProperties = false\n\
        [config-schema.properties]\nhold-above = { type = 'integer', minimum = 0 }\ndeep = { type = 'object' }\nname = { type = 'string' }\n";

    #[test]
    fn values_are_merged_and_checked_with_their_path() {
        let manifest = manifest(SCHEMA);
        let config = check(&manifest, Some(&json!({"deep": {"b": 3}, "name": "x"}))).unwrap();
        assert_eq!(config, json!({"hold-above": 10, "deep": {"a": 1, "b": 3}, "name": "x"}));
        let texts = pairs(&config);
        assert!(texts.contains(&("hold-above".into(), "10".into())) && texts.contains(&("name".into(), "x".into())));
        let problems = check(&manifest, Some(&json!({"hold-above": -1, "other": 1}))).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().any(|p| p.starts_with("config.hold-above: ")), "{problems:?}");
        assert!(check(&manifest, Some(&json!([1]))).is_err());
    }

    #[test]
    fn without_a_schema_only_nothing_is_right() {
        assert!(check(&manifest(""), None).is_ok());
        assert!(check(&manifest(""), Some(&json!({"a": 1}))).is_err());
        assert!(check(&manifest("[config-schema]\ntype = 3"), None).is_err());
    }
}
