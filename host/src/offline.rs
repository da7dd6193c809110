//! The loader without a host: what `plugin check` runs, on embedded backends in a folder that goes away.

use crate::{
    config::HostConfig,
    start::{Overrides, StartError},
    wiring::{self, Backends},
};
use plinth_runtime::{Examined, Package, Parts, Runtime};
use std::time::Duration;

/// The error is the machine's.
pub(crate) async fn check(config: HostConfig, overrides: Overrides, package: Package) -> Result<Examined, StartError> {
    let folder = tempfile::tempdir().map_err(|e| StartError::Data(std::env::temp_dir(), e))?;
    let config = HostConfig { data: folder.path().to_owned(), ..config };
    let backends = Backends::open(&config).await?;
    let runtime_config = wiring::runtime_config(&config, overrides.program()?, overrides.faults)?;
    let parts = Parts { capabilities: backends.capabilities.clone(), state: backends.state(), fleet: None };
    let runtime = Runtime::start(runtime_config, parts).await?;
    let checked = runtime.examine(package).await;
    let limit = Duration::from_secs(1);
    runtime.stop(limit).await;
    backends.close(limit).await;
    Ok(checked)
}
