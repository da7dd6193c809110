//! Who `docker login` logged in to a registry.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use std::{collections::BTreeMap, path::PathBuf};

/// Name and password; nobody, if it is open to all.
pub(super) type Login = Option<(String, String)>;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: String,
}

/// From `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
pub(super) fn of_docker(registry: &str, env: impl Fn(&str) -> Option<String>) -> Result<Login, String> {
    let folder = env("DOCKER_CONFIG").map(PathBuf::from).or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    of_text(registry, &text).map_err(|why| format!("{}: {why}", path.display()))
}

fn of_text(registry: &str, text: &str) -> Result<Login, String> {
    let config: DockerConfig = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let found = config.auths.get(registry).or_else(|| config.auths.get(&format!("https://{registry}")));
    match found.filter(|auth| !auth.auth.is_empty()) {
        Some(auth) => {
            let bad = || format!("the login for {registry} cannot be read");
            let bytes = BASE64_STANDARD.decode(&auth.auth).map_err(|_| bad())?;
            let text = String::from_utf8(bytes).map_err(|_| bad())?;
            let (name, password) = text.split_once(':').ok_or_else(bad)?;
            Ok(Some((name.to_owned(), password.to_owned())))
        }
        // An entry without a secret, or a helper: docker keeps it elsewhere.
        None if found.is_some() && config.creds_store.is_some() || config.cred_helpers.contains_key(registry) => {
            Err(format!("the login for {registry} is kept by a credential helper; give `--username` and `--password-file`"))
        }
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_read_as_docker_writes_them() {
        let text = r#"{"auths": {"a.org": {"auth": "bmFtZTpwYXNzOndvcmQ="}, "https://b.org": {"auth": "bjpw"}, "c.org": {}}, "credsStore": "desktop",
            "credHelpers": {"d.org": "helper"}}"#;
        assert_eq!(of_text("a.org", text).unwrap(), Some(("name".to_owned(), "pass:word".to_owned())));
        assert_eq!(of_text("b.org", text).unwrap(), Some(("n".to_owned(), "p".to_owned())));
        assert!(of_text("c.org", text).unwrap_err().contains("credential helper"));
        assert!(of_text("d.org", text).unwrap_err().contains("credential helper"));
        assert_eq!(of_text("e.org", text).unwrap(), None);
        assert!(of_text("a.org", r#"{"auths": {"a.org": {"auth": "%%"}}}"#).unwrap_err().contains("a.org"));
        assert_eq!(of_docker("a.org", |_| None).unwrap(), None);
    }
}
