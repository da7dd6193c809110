//! Backends of the queue, and the rules that all of them share.

mod amqp;
mod embedded;
mod policy;

pub use amqp::{AmqpConfig, AmqpQueue};
pub use embedded::EmbeddedQueue;

use plinth_capability::{
    Error, ErrorKind, Result,
    queue::{BODY_MAX, DELAY_MAX, HEADERS_MAX, Message, QueueSpec},
};

/// The contract's limits on one message. `operation` names who was asked: the
/// queue itself, or an outbox, where a guest must learn of it before its commit.
pub(crate) fn check_message(operation: &'static str, message: &Message) -> Result<()> {
    let refuse = |kind, why: String| Err(Error::new(kind, operation, why));
    if message.id.is_empty() || message.id.len() > 128 {
        return refuse(ErrorKind::InvalidInput, format!("a message id has 1 to 128 bytes, not {}", message.id.len()));
    }
    if message.priority > 9 {
        return refuse(ErrorKind::InvalidInput, format!("priority {} is over 9", message.priority));
    }
    if message.delay > DELAY_MAX || message.expires.is_some_and(|expires| expires > DELAY_MAX) {
        return refuse(ErrorKind::InvalidInput, format!("a delay or expiry is at most {} seconds", DELAY_MAX.as_secs()));
    }
    if message.body.len() > BODY_MAX {
        return refuse(ErrorKind::LimitExceeded, format!("a body has at most {BODY_MAX} bytes, not {}", message.body.len()));
    }
    // What describes a message counts as headers: each of these is guest-controlled.
    let described = message.content_type.len() + message.routing_key.len() + message.correlation_id.as_ref().map_or(0, String::len);
    let headers = message.headers.iter().fold(described, |sum, (name, value)| sum + name.len() + value.len());
    if headers > HEADERS_MAX {
        return refuse(ErrorKind::LimitExceeded, format!("headers have at most {HEADERS_MAX} bytes, not {headers}"));
    }
    Ok(())
}

fn check_spec(spec: &QueueSpec) -> Result<()> {
    if spec.max_attempts == 0 || spec.lease_ms == 0 || spec.max_depth == 0 {
        return Err(Error::new(ErrorKind::InvalidInput, "queue.declare", "attempts, lease and depth are at least 1"));
    }
    Ok(())
}
