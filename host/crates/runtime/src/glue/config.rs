//! Glue for `wasi:config/store`: a plugin sees its own checked configuration.

use crate::{bindings::wasi::config::store, choke::Operation, state::CallState};

const CONFIG: Operation = Operation::new("context", "config");

impl store::Host for CallState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        self.choke_local(CONFIG)?;
        Ok(Ok(self.version.config.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        self.choke_local(CONFIG)?;
        Ok(Ok(self.version.config.clone()))
    }
}
