//! Messages to topics and queues. `Ok` means: durably stored. It does not mean
//! that anyone has consumed them.

use crate::bindings::plinth::queue::publisher;
pub use crate::bindings::plinth::queue::queue_types::{Error, Failure, Message, PublishOptions};

/// The result of a queue call.
pub type Result<T> = std::result::Result<T, Error>;

#[expect(clippy::derivable_impls, reason = "the type is generated; its derives are not ours")]
impl Default for PublishOptions {
    fn default() -> Self {
        Self {
            routing_key: None,
            message_id: None,
            correlation_id: None,
            delay_ms: None,
            expires_ms: None,
            priority: None,
            extensions: Vec::new(),
        }
    }
}

impl PublishOptions {
    /// A message id of the sender's choice: publishing again under it is safe.
    pub fn id(id: impl Into<String>) -> Self {
        Self { message_id: Some(id.into()), ..Self::default() }
    }

    /// What the message is about; the host hands it on as the event's subject
    /// or the task's routing key.
    #[must_use]
    pub fn about(mut self, subject: impl Into<String>) -> Self {
        self.routing_key = Some(subject.into());
        self
    }
}

/// Publishes to a granted destination; answers the message id.
pub fn publish(destination: &str, message: &Message) -> Result<String> {
    publisher::publish(destination, message, None)
}

/// As [`publish`] with an id, a delay, an expiry or a priority.
pub fn publish_with(destination: &str, message: &Message, options: &PublishOptions) -> Result<String> {
    publisher::publish(destination, message, Some(options))
}

/// Many messages with one wait; one result per message, in order.
pub fn publish_many(destination: &str, messages: &[Message], options: Option<&PublishOptions>) -> Result<Vec<Result<String>>> {
    publisher::publish_many(destination, messages, options)
}
