//! The plugin's own configuration: the defaults of its manifest with what the
//! operator set over them, checked against the manifest's schema.

use crate::bindings::wasi::config::store;
use std::{fmt, str::FromStr};
pub use store::Error;

/// The result of a config call.
pub type Result<T> = std::result::Result<T, Error>;

/// One value as text, or `None` if neither the manifest nor the operator set it.
pub fn get(key: &str) -> Result<Option<String>> {
    store::get(key)
}

/// One value, read as a number, a bool or anything else that parses from text.
pub fn parse<T: FromStr<Err: fmt::Display>>(key: &str) -> Result<Option<T>> {
    let read = |text: String| text.parse::<T>().map_err(|error| Error::Upstream(format!("config key {key}: {error}")));
    get(key)?.map(read).transpose()
}

/// Every key and value.
pub fn all() -> Result<Vec<(String, String)>> {
    store::get_all()
}
