//! Glue for `wasmcloud:messaging`: publishing goes the way of `plinth:queue`, to a destination that was granted.

use crate::{
    bindings::{
        plinth::queue::{
            publisher::Host as Publisher,
            queue_types::{Error as QueueError, Message},
        },
        wasmcloud::messaging::{
            consumer,
            types::{self, BrokerMessage},
        },
    },
    choke::Operation,
    state::CallState,
};

/// Where a message says who waits for an answer.
pub(crate) const REPLY_TO: &str = "reply-to";
const CONTENT_TYPE: &str = "application/octet-stream";
const REQUEST: Operation = Operation::new("queue", "request");

fn words(error: QueueError) -> String {
    match error {
        QueueError::NoSuchDestination(why)
        | QueueError::AccessDenied(why)
        | QueueError::InvalidArgument(why)
        | QueueError::LimitExceeded(why)
        | QueueError::Unroutable(why)
        | QueueError::OutcomeUnknown(why)
        | QueueError::Unavailable(why) => why,
        QueueError::TooLarge(most) => format!("the body has more than {most} bytes"),
        QueueError::Timeout => "the broker did not answer in time".to_owned(),
        QueueError::Other(failure) => failure.message,
    }
}

impl types::Host for CallState {}

impl consumer::Host for CallState {
    async fn request(&mut self, subject: String, _body: Vec<u8>, _timeout_ms: u32) -> wasmtime::Result<Result<BrokerMessage, String>> {
        self.choke_local(REQUEST)?;
        Ok(Err(format!("queues of this host have no replies; publish to `{}` instead", subject.escape_debug())))
    }

    async fn publish(&mut self, message: BrokerMessage) -> wasmtime::Result<Result<(), String>> {
        let BrokerMessage { subject, body, reply_to } = message;
        let headers = reply_to.map(|to| (REPLY_TO.to_owned(), to)).into_iter().collect();
        let message = Message { body, content_type: CONTENT_TYPE.to_owned(), headers };
        Ok(Publisher::publish(self, subject, message, None).await?.map(drop).map_err(words))
    }
}
