//! `plinth audit open` and `plinth audit erase`: what records of a running host say of persons.

use crate::cli::{Done, Remote, block_on};
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

#[derive(Args)]
pub(in crate::cli) struct Open {
    /// The record.
    id: String,
    /// Why; it is recorded, so without personal data.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args)]
pub(in crate::cli) struct Erase {
    /// Her id, as records were written about her.
    person: String,
    /// Why; it is recorded, so without personal data.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Deserialize)]
struct Opened {
    fields: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Erasure {
    id: Option<String>,
}

impl Open {
    pub(super) fn run(self) -> Done {
        let answer = block_on(async {
            let client = self.remote.client()?;
            let request = client.request(Method::POST, &["v1", "audit", &self.id, "personal"]);
            Ok(client.answer(request.json(&json!({"reason": self.reason}))).await?)
        })?;
        let lines = |Opened { fields }| fields.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n");
        self.remote.print(answer, lines)
    }
}

impl Erase {
    pub(super) fn run(self) -> Done {
        let answer = block_on(async {
            let client = self.remote.client()?;
            let request = client.request(Method::POST, &["v1", "audit", "persons", "erase"]);
            Ok(client.answer(request.json(&json!({"person": self.person, "reason": self.reason}))).await?)
        })?;
        self.remote.print(answer, |Erasure { id }| match id {
            Some(id) => format!("erased; record {id}"),
            None => "there is no key to destroy".to_owned(),
        })
    }
}
