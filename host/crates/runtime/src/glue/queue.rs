//! Glue for `plinth:queue`: publishing to a logical destination.

use super::{invalid, no_extensions, wit_error};
use crate::{
    bindings::plinth::queue::{
        publisher,
        queue_types::{self, Message as WitMessage, PublishOptions},
    },
    choke::Operation,
    state::CallState,
};
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    queue::{BODY_MAX, Destination, Message, PUBLISH_MAX, Queue},
};
use std::time::Duration;

/// Counts the hook calls that led to a message; the host sets and reads it.
pub const DEPTH_HEADER: &str = "plinth-depth";
/// Headers of this prefix are the host's; a plugin cannot set them.
const HOST_PREFIX: &str = "plinth-";
/// Hook → message → hook, at most this deep.
const DEPTH_MAX: u32 = 8;

const PUBLISH: Operation = Operation::new("queue", "publish");

fn wit(error: Error) -> queue_types::Error {
    wit_error!(crate::bindings::plinth::queue::queue_types, error;
        Kind::NotFound => |e: &Error| types::Error::NoSuchDestination(e.message().to_owned()),
        Kind::Unroutable => |e: &Error| types::Error::Unroutable(e.message().to_owned()),
        Kind::OutcomeUnknown => |e: &Error| types::Error::OutcomeUnknown(e.message().to_owned()),
    )
}

/// What a body too large becomes, the one error with a number in it.
fn too_large() -> queue_types::Error {
    queue_types::Error::TooLarge(u32::try_from(BODY_MAX).unwrap_or(u32::MAX))
}

impl CallState {
    /// Resolves the destination and refuses a chain of hooks that feeds itself.
    pub(super) fn destination(&self, name: &str) -> Result<Destination> {
        if self.cause.depth >= DEPTH_MAX {
            let why = format!("this message would be number {} in a chain of hooks; {DEPTH_MAX} is the limit", self.cause.depth + 1);
            return Err(Error::new(ErrorKind::LimitExceeded, "queue.publish", why));
        }
        self.version.grants.destination(name).cloned()
    }

    /// The host's message for a guest's, stamped with who sent it and from where.
    pub(super) fn outgoing(&self, message: WitMessage, options: &Option<PublishOptions>) -> Result<Message> {
        let mut out = plain(message, options.as_ref())?;
        let info = &self.version.info;
        let stamps = [
            (DEPTH_HEADER, (self.cause.depth + 1).to_string()),
            ("plinth-plugin", info.plugin.to_string()),
            ("plinth-version", info.version.clone()),
            ("plinth-invocation", self.invocation_id.clone()),
        ];
        out.headers.extend(stamps.into_iter().map(|(name, value)| (name.to_owned(), value)));
        out.headers.extend(self.cause.traceparent.clone().map(|value| ("traceparent".to_owned(), value)));
        Ok(out)
    }
}

/// Everything a guest may choose, with the defaults for what it did not.
fn plain(message: WitMessage, options: Option<&PublishOptions>) -> Result<Message> {
    if let Some((name, _)) = message.headers.iter().find(|(name, _)| name.to_ascii_lowercase().starts_with(HOST_PREFIX)) {
        return Err(invalid("queue.publish", format!("header `{}` belongs to the host", name.escape_debug())));
    }
    let WitMessage { body, content_type, headers } = message;
    let millis = |ms: Option<u32>| ms.map(|ms| Duration::from_millis(ms.into()));
    let mut out = Message {
        id: String::new(),
        body: Bytes::from(body),
        content_type,
        headers,
        routing_key: String::new(),
        correlation_id: None,
        priority: 4,
        delay: Duration::ZERO,
        expires: None,
    };
    if let Some(options) = options {
        no_extensions("queue.publish", &options.extensions)?;
        out.id = options.message_id.clone().unwrap_or_default();
        if options.message_id.as_deref() == Some("") {
            return Err(invalid("queue.publish", "an empty message-id recognises nothing"));
        }
        out.routing_key = options.routing_key.clone().unwrap_or_default();
        out.correlation_id.clone_from(&options.correlation_id);
        out.priority = options.priority.unwrap_or(out.priority);
        out.delay = millis(options.delay_ms).unwrap_or_default();
        out.expires = millis(options.expires_ms);
    }
    if out.id.is_empty() {
        out.id = uuid::Uuid::now_v7().to_string();
    }
    Ok(out)
}

impl queue_types::Host for CallState {}

type Published = std::result::Result<String, queue_types::Error>;

impl publisher::Host for CallState {
    async fn publish(&mut self, destination: String, message: WitMessage, options: Option<PublishOptions>) -> wasmtime::Result<Published> {
        let answers = publisher::Host::publish_many(self, destination, vec![message], options).await?;
        Ok(answers.and_then(|mut list| list.pop().unwrap_or_else(|| Err(wit(lost_answer())))))
    }

    async fn publish_many(
        &mut self,
        destination: String,
        messages: Vec<WitMessage>,
        options: Option<PublishOptions>,
    ) -> wasmtime::Result<std::result::Result<Vec<Published>, queue_types::Error>> {
        let prepared = self.prepare(&destination, messages, &options);
        let queue = self.capabilities.queue.clone();
        let work = async move {
            let (destination, messages) = prepared?;
            publish_good(queue.as_ref(), &destination, messages).await
        };
        Ok(self.choke(PUBLISH, work).await?.map_err(wit))
    }
}

/// Publishes the messages that are in order; each of the others gets its own error.
async fn publish_good(
    queue: &dyn Queue,
    destination: &Destination,
    messages: Vec<std::result::Result<Message, queue_types::Error>>,
) -> Result<Vec<Published>> {
    let mut good = Vec::with_capacity(messages.len());
    let ids = messages.into_iter().map(|message| {
        let message = message?;
        let id = message.id.clone();
        good.push(message);
        Ok(id)
    });
    let ids: Vec<Published> = ids.collect();
    let answers = if good.is_empty() { Vec::new() } else { queue.publish(destination, good).await? };
    let mut answers = answers.into_iter();
    let published = ids.into_iter().map(|id| {
        let id = id?;
        answers.next().unwrap_or_else(|| Err(lost_answer())).map(|()| id).map_err(wit)
    });
    Ok(published.collect())
}

impl CallState {
    fn prepare(
        &self,
        destination: &str,
        messages: Vec<WitMessage>,
        options: &Option<PublishOptions>,
    ) -> Result<(Destination, Vec<std::result::Result<Message, queue_types::Error>>)> {
        let destination = self.destination(destination)?;
        if messages.len() > PUBLISH_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "queue.publish", format!("at most {PUBLISH_MAX} messages in one call")));
        }
        if messages.len() > 1 && options.as_ref().is_some_and(|o| o.message_id.is_some()) {
            return Err(invalid("queue.publish", "one message-id for many messages would drop all but the first"));
        }
        let each = |message: WitMessage| match message.body.len() > BODY_MAX {
            true => Err(too_large()),
            false => self.outgoing(message, options).map_err(wit),
        };
        Ok((destination, messages.into_iter().map(each).collect()))
    }
}

fn lost_answer() -> Error {
    Error::new(ErrorKind::Internal, "queue.publish", "the queue answered for fewer messages than it got")
}
