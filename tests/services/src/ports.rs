//! Ports that stay ours: reserved among all test processes of the machine, also while a server is down.

use anyhow::{Result, bail};
use std::{
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

/// Below the ephemeral range: on a port inside it, a client that reconnects while its server is down
/// can be given that very port as its own, connect to itself, and keep the server from coming back.
const FIRST: u16 = 20_000;
const LAST: u16 = 32_767;
const ATTEMPTS: usize = 1000;

/// A port of 127.0.0.1. While it is held no other test process takes it.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// A name in the kernel's abstract namespace: unlike a file it goes with the process that held it.
    _claim: UnixListener,
}

impl Port {
    pub(crate) fn reserve() -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let number = rand::random_range(FIRST..=LAST);
            let name = SocketAddr::from_abstract_name(format!("plinth-port-{number}"))?;
            let Ok(claim) = UnixListener::bind_addr(&name) else { continue };
            // Programs that know nothing of the claims may be listening.
            if TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        bail!("no free port between {FIRST} and {LAST}")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn held_ports_differ_and_can_be_listened_on() {
        let held: Vec<Port> = (0..200).map(|_| Port::reserve().unwrap()).collect();
        let numbers: HashSet<u16> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), held.len());
        for port in &held {
            TcpListener::bind(("127.0.0.1", port.number())).unwrap();
        }
    }

    #[test]
    fn a_claim_ends_with_its_holder() {
        let port = Port::reserve().unwrap();
        let name = || SocketAddr::from_abstract_name(format!("plinth-port-{}", port.number())).unwrap();
        UnixListener::bind_addr(&name()).unwrap_err();
        let name = name();
        drop(port);
        UnixListener::bind_addr(&name).unwrap();
    }
}
