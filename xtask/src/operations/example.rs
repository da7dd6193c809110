//! The example as the checks see it: documents, texts, the host's configuration and its routes.

use crate::shell;
use anyhow::{Context, Result};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path};

pub(super) const COMPOSE: &str = "compose.yaml";
pub(super) const KUSTOMIZATION: &str = "kustomization.yaml";

#[derive(Debug, Clone)]
pub(super) struct Example {
    pub(super) files: BTreeMap<String, Vec<Value>>,
    pub(super) dockerfile: String,
    pub(super) nginx: String,
    /// `plinth.toml`.
    pub(super) host: Value,
    /// What a host answers.
    pub(super) routes: Vec<String>,
}

impl Example {
    pub(super) fn read(folder: &Path, files: BTreeMap<String, Vec<Value>>) -> Result<Self> {
        let text = |path: &Path| fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()));
        let openapi: Value = serde_json::from_str(&text(&shell::root().join("docs/openapi.json"))?).context("openapi.json is not JSON")?;
        let routes = openapi.get("paths").and_then(Value::as_object).map(|paths| paths.keys().cloned().collect());
        Ok(Self {
            files,
            dockerfile: text(&folder.join("Dockerfile"))?,
            nginx: text(&folder.join("compose/nginx.conf"))?,
            host: toml::from_str(&text(&folder.join("plinth.toml"))?).context("plinth.toml is not TOML")?,
            routes: routes.context("openapi.json has no paths")?,
        })
    }

    /// Every document of a kind with the file that it is in.
    pub(super) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let documents = self.files.iter().flat_map(|(file, documents)| documents.iter().map(|document| (file.as_str(), document)));
        documents.filter(move |(_, document)| text(document, "/kind") == kind)
    }

    /// The services of `compose.yaml` that are hosts, by the image they run.
    pub(super) fn compose_hosts(&self) -> Vec<(&str, &Value)> {
        let services = self.compose().and_then(|compose| compose.get("services")).and_then(Value::as_object);
        let all = services.into_iter().flatten().map(|(name, service)| (name.as_str(), service));
        all.filter(|(_, service)| text(service, "/image") == "plinth").collect()
    }

    pub(super) fn compose(&self) -> Option<&Value> {
        self.files.get(COMPOSE).and_then(|documents| documents.first())
    }

    /// The port in `api.listen`.
    pub(super) fn port(&self) -> Option<u64> {
        text(&self.host, "/api/listen").rsplit(':').next()?.parse().ok()
    }

    pub(super) fn stop_ms(&self) -> Option<u64> {
        self.host.get("stop-ms").and_then(Value::as_u64)
    }

    /// Host name and port of every backend in `plinth.toml`.
    pub(super) fn backends(&self) -> Vec<(String, u64)> {
        let lists = ["/cache/urls", "/queue/urls"].iter().flat_map(|place| items(&self.host, place));
        lists.chain(self.host.pointer("/postgres/url")).filter_map(|url| authority(url.as_str()?)).collect()
    }

    /// The files in `plinth.toml` that hold passwords.
    pub(super) fn password_files(&self) -> Vec<&str> {
        let sections = self.host.as_object().into_iter().flat_map(|sections| sections.values());
        sections.filter_map(|section| section.get("password-file").and_then(Value::as_str)).collect()
    }
}

/// `scheme://user@host:port/rest`.
fn authority(url: &str) -> Option<(String, u64)> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    let (host, port) = authority.rsplit('@').next()?.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

/// The text at a place, empty if there is none.
pub(super) fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

/// The members of the list at a place, none if there is no list.
pub(super) fn items<'a>(value: &'a Value, place: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(place).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_hosts_and_ports() {
        let read = |url| authority(url).map(|(host, port)| format!("{host} {port}"));
        assert_eq!(read("amqp://plinth@rabbitmq-0:5672/%2f").as_deref(), Some("rabbitmq-0 5672"));
        assert_eq!(read("redis://redis:6379").as_deref(), Some("redis 6379"));
        assert_eq!(read("postgres://plinth@postgres/plinth"), None);
    }
}
