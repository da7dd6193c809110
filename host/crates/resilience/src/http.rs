//! Outgoing requests behind their policy.

use crate::{Guarded, gate::Repeat};
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Result,
    http::{Http, Outgoing},
};

#[async_trait]
impl Http for Guarded<dyn Http> {
    async fn send(&self, outgoing: Outgoing) -> Result<http::Response<Bytes>> {
        let repeat = if outgoing.request.method().is_safe() { Repeat::Safe } else { Repeat::Unsafe };
        self.gate.run("http.send", repeat, self.inner.send(outgoing)).await
    }
}
