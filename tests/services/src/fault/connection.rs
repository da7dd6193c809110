//! One connection through the proxy, from its beginning to the end that the fault wants.

use super::{
    Fault, State,
    line::{self, Direction},
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

/// Why a connection does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Both sides have said all they had to say.
    Done,
    /// The client is told that nothing more comes.
    Close,
    /// Both sides get a reset.
    Reset,
    /// The server's side is closed, the client's is not.
    HalfOpen,
}

pub(super) struct Connection {
    client: TcpStream,
    upstream: SocketAddr,
    seed: u64,
    state: watch::Receiver<State>,
    /// The resets before this connection are not for it.
    resets: u64,
}

impl Connection {
    pub(super) fn new(client: TcpStream, upstream: SocketAddr, seed: u64, state: watch::Receiver<State>) -> Self {
        let resets = state.borrow().resets;
        Self { client, upstream, seed, state, resets }
    }

    pub(super) async fn serve(mut self) {
        match self.carry().await {
            End::Done => {}
            // The client closes in its turn, and then there is nobody to tell.
            End::Close => drop(self.client.shutdown().await),
            End::Reset => drop(self.client.set_zero_linger()),
            End::HalfOpen => {
                self.swallow().await;
                drop(self.client.set_zero_linger());
            }
        }
    }

    async fn carry(&mut self) -> End {
        let mut state = self.state.clone();
        let begins = state.wait_for(|state| state.fault != Fault::BlackHole || state.resets != self.resets).await.map(|state| *state);
        match begins {
            Ok(State { fault: Fault::HalfOpen, .. }) => return End::HalfOpen,
            Ok(State { fault, resets, .. }) if fault != Fault::Reset && resets == self.resets => {}
            _ => return End::Reset,
        }
        let Ok(mut server) = TcpStream::connect(self.upstream).await else { return End::Reset };
        // Without it small pieces would wait for each other and arrive as one.
        if self.client.set_nodelay(true).and_then(|()| server.set_nodelay(true)).is_err() {
            return End::Reset;
        }
        let (from_client, to_client) = self.client.split();
        let (from_server, to_server) = server.split();
        let requests = line::carry(from_client, to_server, Direction::Requests, self.state.clone(), self.seed);
        let replies = line::carry(from_server, to_client, Direction::Replies, self.state.clone(), self.seed.wrapping_add(1));
        let end = tokio::select! {
            both = async { tokio::try_join!(requests, replies) } => both.map_or_else(|end| end, |_| End::Done),
            end = ordered(self.state.clone(), self.resets) => end,
        };
        if end == End::Reset {
            drop(server.set_zero_linger());
        }
        end
    }

    /// The void: takes what the client sends until the fault ends or the client gives up.
    async fn swallow(&mut self) {
        let mut state = self.state.clone();
        let mut void = vec![0; 4096];
        let ended = state.wait_for(|state| state.fault != Fault::HalfOpen || state.resets != self.resets);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                _ = &mut ended => return,
                read = self.client.read(&mut void) => if !read.is_ok_and(|bytes| bytes > 0) { return },
            }
        }
    }
}

/// The end that the fault of the moment wants for connections that are open.
async fn ordered(mut state: watch::Receiver<State>, resets: u64) -> End {
    match state.wait_for(|state| state.resets != resets || state.fault == Fault::HalfOpen).await {
        Ok(state) if state.resets == resets => End::HalfOpen,
        _ => End::Reset,
    }
}
