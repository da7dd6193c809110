//! Names to public addresses: a name that leads anywhere else is refused as a whole.

use super::OPERATION;
use plinth_capability::{Error, ErrorKind, http::is_public};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};

/// What the connection is made to is what was looked at here: nothing is resolved a second time.
pub(super) struct Public;

#[derive(Debug, thiserror::Error)]
#[error("{0} is not a public address")]
pub(super) struct Prohibited(pub(super) IpAddr);

impl From<Prohibited> for Error {
    fn from(_: Prohibited) -> Self {
        // Not which address: names of the inside are none of the plugin's business.
        Self::new(ErrorKind::Denied, OPERATION, "the host is at an address that is not public, which is not granted")
    }
}

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            match found.iter().find(|address| !is_public(address.ip())) {
                Some(address) => Err(Prohibited(address.ip()).into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}
