//! Why a plugin could not be loaded, installed or changed: all problems at once, with a stable code.

use plinth_capability::name::PluginName;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// plugin.toml does not parse or contradicts itself.
    #[error("the manifest has {} problem(s)", .0.len())]
    Manifest(Vec<String>),
    /// The configuration breaks the plugin's schema.
    #[error("the configuration has {} problem(s)", .0.len())]
    Config(Vec<String>),
    /// Larger than the host takes.
    #[error("the component has {size} bytes, at most {limit} are taken")]
    TooLarge { size: usize, limit: usize },
    /// Not a component, truncated, or shaped in a way the host refuses.
    #[error("the component is not valid")]
    Structure(Vec<String>),
    /// The compiler refused it, or was stopped at its limits.
    #[error("the component did not compile")]
    Compile(String),
    /// Imports or exports that this host cannot serve.
    #[error("the component does not fit this host: {} problem(s)", .0.len())]
    Preflight(Vec<String>),
    /// It asks for more than the operator granted.
    #[error("the plugin asks for {} grant(s) that were not approved", .0.len())]
    Grants(Vec<String>),
    /// `health.check` or `lifecycle.activate` of the candidate failed.
    #[error("the probe of the candidate failed")]
    Probe(String),
    /// The same version was installed before with other bytes.
    #[error("version {version} is already installed with other content")]
    VersionTaken { version: String },
    /// The digest trapped too often on this host.
    #[error("this digest is quarantined")]
    Quarantined(String),
    #[error("no plugin named {0}")]
    NoSuchPlugin(PluginName),
    #[error("no stored version {0}")]
    NoSuchVersion(String),
    /// Roll back without a previous version.
    #[error("there is no previous version")]
    NoPrevious,
    /// Another host of the fleet cannot run it; nothing changed.
    #[error("host {host} refuses the change")]
    Vetoed { host: String, reason: String },
    /// Live hosts that have neither made the version ready nor refused it in time; nothing changed.
    #[error("{} host(s) did not make the version ready in time", .0.len())]
    NotStaged(Vec<String>),
    /// Another host of the fleet is changing this plugin, or has just changed it; nothing changed.
    #[error("another host is changing this plugin; look again and repeat")]
    Superseded,
    /// The host could not store the change; nothing changed.
    #[error("the change could not be stored")]
    State(#[source] plinth_capability::Error),
    /// The host is stopping or the loader is busy.
    #[error("the host cannot load now: {0}")]
    Unavailable(String),
}

impl LoadError {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Manifest(_) => "manifest-invalid",
            Self::Config(_) => "config-invalid",
            Self::TooLarge { .. } => "component-too-large",
            Self::Structure(_) => "component-invalid",
            Self::Compile(_) => "compile-failed",
            Self::Preflight(_) => "preflight-failed",
            Self::Grants(_) => "grants-not-approved",
            Self::Probe(_) => "probe-failed",
            Self::VersionTaken { .. } => "version-taken",
            Self::Quarantined(_) => "quarantined",
            Self::NoSuchPlugin(_) => "no-such-plugin",
            Self::NoSuchVersion(_) => "no-such-version",
            Self::NoPrevious => "no-previous-version",
            Self::Vetoed { .. } => "vetoed",
            Self::NotStaged(_) => "not-staged",
            Self::Superseded => "superseded",
            Self::State(_) => "state-unavailable",
            Self::Unavailable(_) => "loader-unavailable",
        }
    }

    /// All of it in one line, for a reason or a vote.
    pub(crate) fn told(&self) -> String {
        std::iter::once(self.to_string()).chain(self.problems()).collect::<Vec<_>>().join("; ")
    }

    /// Every single problem, for people.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Manifest(list) | Self::Config(list) | Self::Structure(list) | Self::Preflight(list) | Self::Grants(list) => list.clone(),
            Self::Vetoed { reason, .. } => vec![reason.clone()],
            Self::NotStaged(hosts) => hosts.clone(),
            Self::Compile(text) | Self::Probe(text) | Self::Quarantined(text) => vec![text.clone()],
            _ => Vec::new(),
        }
    }
}
