//! The headers that say which code answered, made once per version and not per call.

use http::{HeaderMap, HeaderName, HeaderValue};
use plinth_runtime::outcome::VersionInfo;
use std::sync::{Arc, PoisonError, RwLock};

const PLUGIN: HeaderName = HeaderName::from_static("plinth-plugin");
const VERSION: HeaderName = HeaderName::from_static("plinth-version");
const DIGEST: HeaderName = HeaderName::from_static("plinth-digest");
const GENERATION: HeaderName = HeaderName::from_static("plinth-generation");
const INVOCATION: HeaderName = HeaderName::from_static("plinth-invocation");

/// Versions remembered; one more and all are made anew.
const REMEMBERED: usize = 64;

/// A std lock: held for a short search, never across an await.
#[derive(Default)]
pub(crate) struct VersionHeaders(RwLock<Vec<Made>>);

#[derive(Clone)]
struct Made {
    of: Arc<VersionInfo>,
    plugin: HeaderValue,
    version: HeaderValue,
    digest: HeaderValue,
}

impl VersionHeaders {
    pub(crate) fn stamp(&self, headers: &mut HeaderMap, answered_by: Option<&Arc<VersionInfo>>, generation: u64, invocation: String) {
        if let Some(of) = answered_by {
            let Made { plugin, version, digest, .. } = self.made(of);
            headers.insert(PLUGIN, plugin);
            headers.insert(VERSION, version);
            headers.insert(DIGEST, digest);
            headers.insert(GENERATION, HeaderValue::from(generation));
        }
        if let Ok(invocation) = HeaderValue::try_from(invocation) {
            headers.insert(INVOCATION, invocation);
        }
    }

    fn made(&self, of: &Arc<VersionInfo>) -> Made {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = known.iter().find(|made| Arc::ptr_eq(&made.of, of)) {
            return made.clone();
        }
        drop(known);
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let made = Made { of: Arc::clone(of), plugin: value(of.plugin.as_str()), version: value(&of.version), digest: value(&of.digest) };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.push(made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_capability::name::PluginName;

    #[test]
    fn each_version_stamps_its_own_name() {
        let versions = VersionHeaders::default();
        for n in 0..REMEMBERED + 3 {
            let info = VersionInfo { plugin: PluginName::new("desk").unwrap(), version: format!("1.0.{n}"), digest: format!("sha256:{n}") };
            let info = Arc::new(info);
            for _ in 0..2 {
                let mut headers = HeaderMap::new();
                versions.stamp(&mut headers, Some(&info), 7, "call-1".to_owned());
                assert_eq!(headers[VERSION], format!("1.0.{n}").as_str());
                assert_eq!(
                    (&headers[GENERATION], &headers[INVOCATION], headers.len()),
                    (&HeaderValue::from(7), &HeaderValue::from_static("call-1"), 5)
                );
            }
        }
        let mut headers = HeaderMap::new();
        versions.stamp(&mut headers, None, 0, "call-2".to_owned());
        assert_eq!(headers.len(), 1);
    }
}
