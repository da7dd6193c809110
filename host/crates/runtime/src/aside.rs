//! Loading and probing a version beside the requests: on threads of lower priority than those that answer.

use crate::{LoadError, Package, hook::ActivationCause, loader::Loaded, manifest::GrantRequests, runtime::Inner, version::Version};
use plinth_capability::name::PluginName;
use std::sync::Arc;

impl Inner {
    pub(crate) async fn load(&self, package: &Package, plugin: &PluginName) -> Result<Loaded, LoadError> {
        let _one = self.loading.acquire().await.map_err(|_| stopping())?;
        let approved = self.registry.snapshot().slots.get(plugin).map(|slot| slot.approved.clone()).unwrap_or_default();
        self.load_aside(package.clone(), approved).await
    }

    /// On the background threads: digest, compiled code and linking take
    /// milliseconds, which requests would wait for.
    pub(crate) async fn load_aside(&self, package: Package, approved: GrantRequests) -> Result<Loaded, LoadError> {
        let loader = self.loader.clone();
        let loading = async move { loader.load(&package, &approved).await };
        self.invoker.lanes.aside(loading).await.ok_or_else(stopping)?
    }

    /// On the background threads too: a first instance maps its code and memory.
    pub(crate) async fn probe_aside(self: &Arc<Self>, version: &Arc<Version>, cause: ActivationCause) -> Result<(), LoadError> {
        let (inner, version) = (self.clone(), version.clone());
        let probing = async move { inner.loader.probe(&inner.invoker, &version, cause).await };
        self.invoker.lanes.aside(probing).await.ok_or_else(stopping)?
    }
}

fn stopping() -> LoadError {
    LoadError::Unavailable("the host is stopping".to_owned())
}
