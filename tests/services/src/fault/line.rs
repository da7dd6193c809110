//! One direction of a connection: what is read is shaped, waits until it is due, and is written.

use super::{Fault, State, connection::End};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::Instant,
};

const READ: usize = 16 << 10;
/// Pieces on the way; beyond them the sender has to wait, as on a real line.
const ON_THE_WAY: usize = 256;
/// A limited line is fed in pieces of this time, so that something arrives all the while.
const PIECES_PER_S: u64 = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    Requests,
    Replies,
}

struct Piece {
    due: Instant,
    bytes: Vec<u8>,
    /// Nothing comes behind it, by order of the fault.
    last: bool,
}

/// Carries until the sender has said all. Everything else is an error that ends the connection.
pub(super) async fn carry(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    direction: Direction,
    state: watch::Receiver<State>,
    seed: u64,
) -> Result<(), End> {
    let (pieces, arriving) = mpsc::channel(ON_THE_WAY);
    let feeder = Feeder {
        direction,
        state: state.clone(),
        chance: StdRng::seed_from_u64(seed),
        last_due: Instant::now(),
        counted: (0, 0),
        lost: false,
        pieces,
    };
    tokio::try_join!(feeder.feed(from), deliver(to, arriving, state)).map(drop)
}

struct Feeder {
    direction: Direction,
    state: watch::Receiver<State>,
    chance: StdRng,
    /// Nothing overtakes what was sent before it.
    last_due: Instant,
    /// The change of the fault since which replies are counted, and how many bytes there were.
    counted: (u64, u64),
    lost: bool,
    pieces: mpsc::Sender<Piece>,
}

impl Feeder {
    async fn feed(mut self, mut from: ReadHalf<'_>) -> Result<(), End> {
        let mut buffer = vec![0; READ];
        loop {
            let state = *self.state.borrow_and_update();
            if self.lost && state.fault != Fault::LoseReplies {
                return Err(End::Reset);
            }
            // Not even read: the sender's buffers fill up as on a real line.
            if state.fault == Fault::BlackHole {
                self.state.changed().await.map_err(|_| End::Reset)?;
                continue;
            }
            let read = tokio::select! {
                read = from.read(&mut buffer) => read.map_err(|_| End::Reset)?,
                changed = self.state.changed() => {
                    changed.map_err(|_| End::Reset)?;
                    continue;
                }
            };
            if read == 0 {
                return Ok(());
            }
            self.shape(state, buffer.get(..read).unwrap_or_default()).await?;
        }
    }

    async fn shape(&mut self, state: State, bytes: &[u8]) -> Result<(), End> {
        match state.fault {
            Fault::LoseReplies if self.direction == Direction::Replies => {
                self.lost = true;
                Ok(())
            }
            Fault::CloseAfter { bytes: limit } if self.direction == Direction::Replies => self.count(state.change, limit, bytes).await,
            Fault::Latency { base, jitter } => {
                let chance = jitter.mul_f64(self.chance.random());
                self.send(Instant::now() + base + chance, bytes.to_vec()).await
            }
            Fault::Bandwidth { bytes_per_s } => self.trickle(bytes_per_s.max(1), bytes).await,
            Fault::Slice { max_bytes } => self.slice(max_bytes.max(1), bytes).await,
            Fault::Corrupt { one_in } => {
                let bytes = bytes.iter().map(|byte| self.corrupt(one_in.max(1), *byte)).collect();
                self.send(Instant::now(), bytes).await
            }
            _ => self.send(Instant::now(), bytes.to_vec()).await,
        }
    }

    async fn count(&mut self, change: u64, limit: u64, bytes: &[u8]) -> Result<(), End> {
        let before = if self.counted.0 == change { self.counted.1 } else { 0 };
        let left = usize::try_from(limit.saturating_sub(before)).unwrap_or(usize::MAX);
        let passing = bytes.get(..left).unwrap_or(bytes);
        self.counted = (change, before + passing.len() as u64);
        let last = bytes.len() >= left;
        self.push(Instant::now(), passing.to_vec(), last).await?;
        if last {
            // The other end closes when it has written the last piece; to return here would cut it off.
            self.pieces.closed().await;
        }
        Ok(())
    }

    async fn trickle(&mut self, bytes_per_s: u64, bytes: &[u8]) -> Result<(), End> {
        let size = usize::try_from(bytes_per_s / PIECES_PER_S).unwrap_or(usize::MAX).max(1);
        for piece in bytes.chunks(size) {
            let takes = Duration::from_secs_f64(piece.len() as f64 / bytes_per_s as f64);
            self.send(self.last_due.max(Instant::now()) + takes, piece.to_vec()).await?;
        }
        Ok(())
    }

    async fn slice(&mut self, max_bytes: usize, mut bytes: &[u8]) -> Result<(), End> {
        while !bytes.is_empty() {
            let size = self.chance.random_range(1..=max_bytes).min(bytes.len());
            let (piece, rest) = bytes.split_at(size);
            self.send(Instant::now(), piece.to_vec()).await?;
            bytes = rest;
        }
        Ok(())
    }

    fn corrupt(&mut self, one_in: u64, byte: u8) -> u8 {
        if self.chance.random_range(0..one_in) == 0 { byte ^ self.chance.random_range(1..=u8::MAX) } else { byte }
    }

    async fn send(&mut self, due: Instant, bytes: Vec<u8>) -> Result<(), End> {
        self.push(due, bytes, false).await
    }

    async fn push(&mut self, due: Instant, bytes: Vec<u8>, last: bool) -> Result<(), End> {
        self.last_due = self.last_due.max(due);
        self.pieces.send(Piece { due: self.last_due, bytes, last }).await.map_err(|_| End::Reset)
    }
}

async fn deliver(mut to: WriteHalf<'_>, mut arriving: mpsc::Receiver<Piece>, mut state: watch::Receiver<State>) -> Result<(), End> {
    while let Some(piece) = arriving.recv().await {
        tokio::time::sleep_until(piece.due).await;
        state.wait_for(|state| state.fault != Fault::BlackHole).await.map_err(|_| End::Reset)?;
        to.write_all(&piece.bytes).await.map_err(|_| End::Reset)?;
        if piece.last {
            return Err(End::Close);
        }
        // Pieces written without a pause would reach the reader as one.
        tokio::task::yield_now().await;
    }
    to.shutdown().await.map_err(|_| End::Reset)
}
