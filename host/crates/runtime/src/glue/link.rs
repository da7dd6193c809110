//! Builds the linker of one plugin version: an interface that is not granted is not in it.

use super::wasi_logging;
use crate::{
    bindings::{
        plinth::{audit, cache, context, database, log, metrics, outbox, queue, secrets},
        wasi::{config::store, keyvalue0_2_0_draft as keyvalue1, keyvalue0_2_0_draft2 as keyvalue2},
        wasmcloud::messaging,
    },
    contract::CONFIG_DRAFTS,
    grants::Interfaces,
    state::CallState,
};
use wasmtime::{
    Engine, StoreContextMut,
    component::{HasSelf, Linker},
};

pub(super) type Own = HasSelf<CallState>;

pub(crate) fn link(engine: &Engine, granted: Interfaces, wasi: bool) -> wasmtime::Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    let l = &mut linker;
    context::invocation::add_to_linker::<_, Own>(l, |s| s)?;
    context::clock::add_to_linker::<_, Own>(l, |s| s)?;
    context::random::add_to_linker::<_, Own>(l, |s| s)?;
    config(l)?;
    // `http` is of WASI, which is linked as a whole.
    let Interfaces { cache, queue, database, http: _, audit_write, audit_read, audit_personal, metrics, log, secret_keys, secret_reveal } =
        granted;
    // Types are harmless without the functions that use them, and the outbox
    // names those of its three neighbours.
    cache::cache_types::add_to_linker::<_, Own>(l, |s| s)?;
    queue::queue_types::add_to_linker::<_, Own>(l, |s| s)?;
    database::sql_types::add_to_linker::<_, Own>(l, |s| s)?;
    audit::audit_types::add_to_linker::<_, Own>(l, |s| s)?;
    secrets::secret_types::add_to_linker::<_, Own>(l, |s| s)?;
    messaging::types::add_to_linker::<_, Own>(l, |s| s)?;
    if cache {
        cache::buckets::add_to_linker::<_, Own>(l, |s| s)?;
        cache::tags::add_to_linker::<_, Own>(l, |s| s)?;
        keyvalue1::store::add_to_linker::<_, Own>(l, |s| s)?;
        keyvalue1::atomics::add_to_linker::<_, Own>(l, |s| s)?;
        keyvalue1::batch::add_to_linker::<_, Own>(l, |s| s)?;
        keyvalue2::store::add_to_linker::<_, Own>(l, |s| s)?;
        keyvalue2::atomics::add_to_linker::<_, Own>(l, |s| s)?;
        keyvalue2::batch::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if queue {
        queue::publisher::add_to_linker::<_, Own>(l, |s| s)?;
        messaging::consumer::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if database {
        database::sql::add_to_linker::<_, Own>(l, |s| s)?;
        outbox::outbox::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if audit_write {
        audit::writer::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if audit_read {
        audit::reader::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if audit_personal {
        audit::personal_writer::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if audit_personal && database {
        outbox::personal_outbox::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if metrics {
        metrics::instruments::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if log {
        log::log::add_to_linker::<_, Own>(l, |s| s)?;
        wasi_logging::add_to_linker(l)?;
    }
    if secret_keys {
        secrets::keys::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if secret_reveal {
        secrets::reveal::add_to_linker::<_, Own>(l, |s| s)?;
    }
    if wasi {
        wasmtime_wasi::p2::add_to_linker_async(l)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(l)?;
    }
    Ok(linker)
}

/// The same two functions under each spelling of the draft.
fn config(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, Own>(linker, |s| s)?;
    for draft in CONFIG_DRAFTS {
        let mut instance = linker.instance(&format!("wasi:config/store@{draft}"))?;
        instance.func_wrap("get", |mut state: StoreContextMut<'_, CallState>, (key,): (String,)| {
            Ok((store::Host::get(state.data_mut(), key)?,))
        })?;
        instance
            .func_wrap("get-all", |mut state: StoreContextMut<'_, CallState>, (): ()| Ok((store::Host::get_all(state.data_mut())?,)))?;
    }
    Ok(())
}
