//! JSON in and out of payloads and messages.

use crate::{Payload, queue::Message};
use serde::{Serialize, de::DeserializeOwned};

/// The media type of everything the helpers here make.
pub(crate) const JSON: &str = "application/json";

impl Payload {
    /// `value` as JSON.
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { content_type: JSON.to_owned(), data: serde_json::to_vec(value)? })
    }

    /// Reads JSON, whatever the media type says.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.data)
    }
}

impl Message {
    /// `value` as JSON, without headers.
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self { body: serde_json::to_vec(value)?, content_type: JSON.to_owned(), headers: Vec::new() })
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}
