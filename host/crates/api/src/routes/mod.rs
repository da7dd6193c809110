//! The routes, one file per group; each group says which state it needs.

pub(crate) mod audit;
pub(crate) mod audit_export;
pub(crate) mod audit_log;
pub(crate) mod audit_personal;
pub(crate) mod cache;
pub(crate) mod cache_bulk;
pub(crate) mod decisions;
pub(crate) mod events;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod hooks;
pub(crate) mod invocations;
pub(crate) mod metrics;
pub(crate) mod plugins;
pub(crate) mod queues;
pub(crate) mod tasks;

use plinth_runtime::Runtime;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};
use tokio_util::task::TaskTracker;

/// What routes that reach plugins need.
#[derive(Clone)]
pub(crate) struct Plugins {
    pub runtime: Runtime,
    /// Owns calls whose client has gone.
    pub tasks: TaskTracker,
}

impl Plugins {
    /// Whose changes are recorded as the caller's.
    pub(crate) fn acting_for(&self, visit: &crate::edge::Visit) -> Runtime {
        self.runtime.on_behalf_of(visit.caller.audit_actor())
    }
}

pub(crate) type Capabilities = Arc<plinth_capability::Capabilities>;

/// A name that comes more than once keeps all its values, joined by `, `.
pub(crate) fn object(list: Vec<(String, String)>) -> BTreeMap<String, String> {
    let mut object = BTreeMap::<String, String>::new();
    for (name, value) in list {
        match object.entry(name) {
            Entry::Vacant(place) => _ = place.insert(value),
            Entry::Occupied(mut place) => {
                place.get_mut().push_str(", ");
                place.get_mut().push_str(&value);
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_repeated_name_loses_no_value() {
        let list = [("b", "1"), ("a", "2"), ("b", "3")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let object = super::object(list.to_vec());
        assert_eq!(serde_json::to_string(&object).unwrap(), r#"{"a":"2","b":"1, 3"}"#);
    }
}
