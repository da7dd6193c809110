//! From bytes to a version that may be published: each step refuses what the next must not see.
//!
//! size cap → digest → (structure → compile in a child → code cache) →
//! preflight → link what is granted → probe. Nothing of the guest runs before
//! the probe.

mod code_cache;
mod compile;
mod config_check;
mod examine;
mod preflight;
mod probe;
mod structure;

pub use compile::{CompilerConfig, compile_worker};
pub use examine::{Examined, Place, Problem};

use crate::{
    LoadError, Package,
    admission::Admission,
    choke::FaultHook,
    engine::EngineConfig,
    glue,
    grants::{self, Grants, Interfaces},
    hook::ActivationCause,
    invoke::Invoker,
    lane::Manners,
    limits::Limits,
    live::Live,
    manifest::{GrantRequests, Manifest},
    metrics::VersionMeters,
    outcome::VersionInfo,
    version::{Exports, Version},
};
use bytes::Bytes;
use plinth_capability::{Capabilities, name::PluginName, state::StoredVersion};
use std::{collections::BTreeMap, sync::Arc};
use wasmtime::{Engine, component::Component};

/// Operator's word on what plugins may have.
#[derive(Debug, Clone, Default)]
pub enum GrantPolicy {
    /// What an operator approves while installing.
    #[default]
    Approved,
    /// Nothing beyond this list, whoever approves.
    Listed(BTreeMap<PluginName, GrantRequests>),
}

pub(crate) struct Loader {
    pub(crate) engine: Engine,
    pub(crate) engine_config: EngineConfig,
    pub(crate) compiler: CompilerConfig,
    pub(crate) cache: code_cache::CodeCache,
    pub(crate) component_max: usize,
    pub(crate) policy: GrantPolicy,
    /// No manifest gets more.
    pub(crate) limits_max: Limits,
    /// One plugin's share of the instances, so that it cannot take them all.
    pub(crate) concurrency_max: u32,
    pub(crate) capabilities: Arc<Capabilities>,
    pub(crate) faults: FaultHook,
}

/// Loaded and checked; only a probe turns it into something to publish.
pub(crate) struct Loaded {
    pub(crate) version: Arc<Version>,
    pub(crate) notices: Vec<String>,
    pub(crate) compile_cached: bool,
}

/// `sha256:` and 64 hex digits.
pub(crate) fn digest_of(component: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, component);
    format!("sha256:{}", hex(digest.as_ref()))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl Loader {
    pub(crate) fn open_cache(
        dir: std::path::PathBuf,
        key: &[u8; 32],
        engine: &Engine,
        config: &EngineConfig,
    ) -> std::io::Result<code_cache::CodeCache> {
        code_cache::CodeCache::open(dir, key, engine, config)
    }

    /// Everything but the probe. `approved` is what the slot was granted before.
    pub(crate) async fn load(&self, package: &Package, approved: &GrantRequests) -> Result<Loaded, LoadError> {
        if package.component.len() > self.component_max {
            return Err(LoadError::TooLarge { size: package.component.len(), limit: self.component_max });
        }
        let manifest = Manifest::parse(&package.manifest).map_err(LoadError::Manifest)?;
        let config = config_check::check(&manifest, package.config.as_ref()).map_err(LoadError::Config)?;
        self.within_limits(&manifest)?;
        self.permit(&manifest, approved, package.approve_grants)?;
        let digest = digest_of(&package.component);
        let (component, compile_cached) = self.component(&digest, &package.component).await?;
        let (version, notices) = self.link(manifest, config, package, digest, &component)?;
        Ok(Loaded { version: Arc::new(version), notices, compile_cached })
    }

    fn within_limits(&self, manifest: &Manifest) -> Result<(), LoadError> {
        let over = manifest.limits.violations(&self.limits_max);
        let told = |(name, asked, most)| format!("limits.{name} = {asked} is over what this host allows, {most}");
        if over.is_empty() { Ok(()) } else { Err(LoadError::Manifest(over.into_iter().map(told).collect())) }
    }

    /// Asked must be approved, and approval cannot pass the operator's list.
    fn permit(&self, manifest: &Manifest, approved: &GrantRequests, approve: bool) -> Result<(), LoadError> {
        let mut missing = if approve { Vec::new() } else { grants::beyond(&manifest.grants, approved) };
        if let GrantPolicy::Listed(listed) = &self.policy {
            let none = GrantRequests::default();
            missing.extend(grants::beyond(&manifest.grants, listed.get(&manifest.name).unwrap_or(&none)));
            missing.sort();
            missing.dedup();
        }
        if missing.is_empty() { Ok(()) } else { Err(LoadError::Grants(missing)) }
    }

    /// Compiled code from the cache, or from a child that is allowed to die.
    async fn component(&self, digest: &str, bytes: &Bytes) -> Result<(Component, bool), LoadError> {
        if let Some(component) = self.cache.get(&self.engine, digest) {
            return Ok((component, true));
        }
        structure::check(bytes).map_err(LoadError::Structure)?;
        let code = compile::in_child(&self.compiler, &self.engine_config, bytes).await?;
        let component = self.cache.put(&self.engine, digest, &code).map_err(|e| LoadError::Compile(format!("{e:#}")))?;
        Ok((component, false))
    }

    fn link(
        &self,
        manifest: Manifest,
        config: serde_json::Value,
        package: &Package,
        digest: String,
        component: &Component,
    ) -> Result<(Version, Vec<String>), LoadError> {
        let found = preflight::check(&self.engine, component, Some(&manifest));
        if !found.problems.is_empty() {
            return Err(LoadError::Preflight(found.problems.into_iter().map(|problem| problem.problem).collect()));
        }
        let refused = |e: wasmtime::Error| LoadError::Preflight(vec![format!("{e:#}; rebuild the plugin against the released WIT")]);
        let linker = glue::link(&self.engine, Interfaces::of(&manifest.grants), found.wasi).map_err(refused)?;
        let pre = linker.instantiate_pre(component).map_err(refused)?;
        let grants = Grants::compile(&manifest.name, &manifest.grants).map_err(LoadError::Manifest)?;
        let info = Arc::new(VersionInfo { plugin: manifest.name.clone(), version: manifest.version.to_string(), digest: digest.clone() });
        let meters = VersionMeters::new(self.capabilities.metrics.as_ref(), &info);
        let stored = StoredVersion {
            version: info.version.clone(),
            digest,
            manifest: package.manifest.clone(),
            config: config.to_string(),
            grants: serde_json::to_string(&manifest.grants).unwrap_or_default(),
            installed_at_ms: plinth_capability::now_ms(),
        };
        let limits = Limits { concurrency: manifest.limits.concurrency.min(self.concurrency_max), ..manifest.limits };
        let mut notices = found.notices;
        if limits.concurrency < manifest.limits.concurrency {
            notices.push(format!("limits.concurrency is {} here: one plugin's share of the host's instances", limits.concurrency));
        }
        let version = Version {
            info,
            stored,
            limits,
            grants,
            config: config_check::pairs(&config),
            imports: found.imports,
            exports: Exports::find(&pre),
            pre,
            live: Live::new(meters.live.clone()),
            manners: Manners::default(),
            meters,
            admission: Admission::new("this plugin", limits.concurrency, limits.waiting, limits.wait()),
            faults: self.faults.clone(),
            manifest,
        };
        Ok((version, notices))
    }

    /// Runs the candidate for the first time: types, then health, then activation.
    pub(crate) async fn probe(&self, invoker: &Invoker, version: &Arc<Version>, cause: ActivationCause) -> Result<(), LoadError> {
        probe::check(invoker, version).await?;
        probe::activate(invoker, version, cause).await
    }

    /// Without activation, for `check`.
    pub(crate) async fn try_out(&self, invoker: &Invoker, version: &Arc<Version>) -> Result<(), LoadError> {
        probe::check(invoker, version).await
    }

    pub(crate) async fn activate(&self, invoker: &Invoker, version: &Arc<Version>, cause: ActivationCause) -> Result<(), LoadError> {
        probe::activate(invoker, version, cause).await
    }
}
