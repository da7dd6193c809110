//! The probe: a candidate's first instance, its hooks' types, its health, its activation.

use crate::{
    LoadError,
    hook::{ActivationCause, Cause, Hook},
    hooks,
    invoke::{Call, Invoker, Work},
    version::Version,
};
use std::{sync::Arc, time::Duration};

/// A candidate that takes longer is refused: others wait to be changed.
const STEP_MAX: Duration = Duration::from_secs(10);

pub(super) async fn check(invoker: &Invoker, version: &Arc<Version>) -> Result<(), LoadError> {
    step(invoker, version, Hook::Health, "instantiate", hooks::check_types()).await?;
    step(invoker, version, Hook::Health, "health.check", hooks::check_health()).await
}

pub(super) async fn activate(invoker: &Invoker, version: &Arc<Version>, cause: ActivationCause) -> Result<(), LoadError> {
    if version.exports.lifecycle.is_none() {
        return Ok(());
    }
    step(invoker, version, Hook::Lifecycle, "lifecycle.activate", hooks::activate(cause)).await
}

async fn step(invoker: &Invoker, version: &Arc<Version>, hook: Hook, what: &str, work: Work<()>) -> Result<(), LoadError> {
    let cause = Cause { actor: Some("system".to_owned()), attempt: 1, ..Cause::default() };
    let id = uuid::Uuid::now_v7().simple().to_string();
    let call = Call { hook, cause, timeout: Some(STEP_MAX), work };
    invoker.run(version, id, call, ()).await.map_err(|failure| LoadError::Probe(format!("{what}: {failure}")))
}
