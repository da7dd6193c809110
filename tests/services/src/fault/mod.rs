//! A proxy between a client and its server on which the network fails to order.

mod connection;
mod line;

use anyhow::{Context, Result};
use connection::Connection;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

/// What happens on the way. It applies at once to all connections, open and new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing does.
    Pass,
    /// Each direction takes `base` and up to `jitter` longer; bytes stay in order and overlap, as on a long line.
    Latency {
        /// The least delay.
        base: Duration,
        /// The most that chance adds.
        jitter: Duration,
    },
    /// Each direction of each connection carries so much and no more.
    Bandwidth {
        /// Counted as at least 1.
        bytes_per_s: u64,
    },
    /// Connections are reset, new ones as soon as they are accepted.
    Reset,
    /// Connections stay open and can be made, and no byte arrives in either direction, as on a pulled
    /// cable. What was sent meanwhile arrives afterwards.
    BlackHole,
    /// Requests arrive and are executed; their replies are lost for good. When the fault ends, connections
    /// that lost bytes are reset: a stream cannot go on behind a hole.
    LoseReplies,
    /// The server sees its connections close, the client sees nothing: it may send for ever into a void.
    /// When the fault ends, such connections are reset.
    HalfOpen,
    /// Everything arrives, in pieces of random sizes that do not respect anybody's frames.
    Slice {
        /// The largest piece, counted as at least 1.
        max_bytes: usize,
    },
    /// Bytes are changed at random, in both directions.
    Corrupt {
        /// One byte in so many, counted as at least 1.
        one_in: u64,
    },
    /// Each connection ends in an orderly way after so many bytes of replies, counted from when the fault was set.
    CloseAfter {
        /// Zero: at the first reply.
        bytes: u64,
    },
}

/// What connections look at. `set` changes all of it at once.
#[derive(Clone, Copy, Debug)]
struct State {
    fault: Fault,
    /// How often a fault was set.
    change: u64,
    /// How often everything was reset: a connection that slept through a short `Reset` still sees it here.
    resets: u64,
}

/// A TCP proxy on a port of its own. Dropped, it takes its connections with it.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    accepted: Arc<AtomicU64>,
    /// Its one task owns those of the connections.
    _tasks: JoinSet<()>,
}

impl FaultProxy {
    /// Listens on a free port of 127.0.0.1 and passes everything on to `upstream`. What chance decides
    /// follows from `seed` and the number of the connection.
    pub async fn start(upstream: SocketAddr, seed: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the proxy got no port")?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(State { fault: Fault::Pass, change: 0, resets: 0 });
        let accepted = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, seed, seen, Arc::clone(&accepted)));
        Ok(Self { address, state, accepted, _tasks: tasks })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the fault of all connections.
    pub fn set(&self, fault: Fault) {
        self.state.send_modify(|state| {
            let cuts = fault == Fault::Reset || (state.fault == Fault::HalfOpen && fault != Fault::HalfOpen);
            *state = State { fault, change: state.change + 1, resets: state.resets + u64::from(cuts) };
        });
    }

    /// How many connections clients have made so far, those included that a fault ended at once.
    pub fn connections(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Resets all open connections; new ones are served by the fault that is set.
    pub fn reset_all(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, seed: u64, state: watch::Receiver<State>, accepted: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                let number = accepted.fetch_add(1, Ordering::Relaxed);
                let seed = seed.wrapping_add(number.wrapping_mul(2));
                connections.spawn(Connection::new(client, upstream, seed, state.clone()).serve());
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
