//! Glue for `wasi:logging`, in both its spellings: lines go the way of `plinth:log`.

use super::link::Own;
use crate::{
    bindings::{
        plinth::log::log::{Host, Level},
        wasi::logging::logging,
    },
    state::CallState,
};
use wasmtime::{StoreContextMut, component::Linker};

/// As components name it that were made before the draft had a version.
const UNVERSIONED: &str = "wasi:logging/logging";

impl logging::Host for CallState {
    fn log(&mut self, level: logging::Level, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            logging::Level::Trace => Level::Trace,
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error | logging::Level::Critical => Level::Error,
        };
        let fields = if context.is_empty() { Vec::new() } else { vec![("context".to_owned(), context)] };
        Host::write(self, level, message, fields)
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    logging::add_to_linker::<_, Own>(linker, |s| s)?;
    let log = |mut state: StoreContextMut<'_, CallState>, (level, context, message): (logging::Level, String, String)| {
        logging::Host::log(state.data_mut(), level, context, message)
    };
    linker.instance(UNVERSIONED)?.func_wrap("log", log)
}
