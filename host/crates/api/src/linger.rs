//! Lets an answer arrive at a client that is still sending: what it sends of a refused body is read and thrown away.
//!
//! Closing a socket with bytes unread makes the system reset the connection,
//! and a client that is still writing sees the reset and never the answer. So
//! the host says that it has no more to send, and reads on for a while.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How long the rest of a body may take. A client that has read its answer by
/// then has stopped; its place among the connections is wanted by others.
const LINGER: Duration = Duration::from_secs(5);
/// Client-controlled: of what was refused, so many times the largest body that
/// is taken are read. More is no mistake of an ordinary client.
pub(crate) const LINGER_TIMES: usize = 4;
/// Read at once and thrown away.
const CHUNK: usize = 16 << 10;

/// Whether the last request of a connection had a body that was not read to
/// its end. Of HTTP/1 only, where one request is served after the other.
#[derive(Clone, Default)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// The body of the next request, watched.
    pub(crate) fn watch<B: Body>(&self, body: B) -> Watched<B> {
        self.0.store(false, Ordering::Relaxed);
        let ended = body.is_end_stream();
        Watched { body, ended, unread: self.clone() }
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Notes when it is dropped before its end.
pub(crate) struct Watched<B: Body> {
    body: B,
    ended: bool,
    unread: Unread,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.ended |= matches!(polled, Poll::Ready(None));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: Body> Drop for Watched<B> {
    fn drop(&mut self) {
        if !self.ended && !self.body.is_end_stream() {
            self.unread.0.store(true, Ordering::Relaxed);
        }
    }
}

/// A connection that does not close on a client in the middle of its body.
pub(crate) struct Lingering<S> {
    stream: S,
    unread: Unread,
    /// Bytes that may still be thrown away.
    left: usize,
    /// Since the host has said all it has to say.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Lingering<S> {
    pub(crate) fn new(stream: S, unread: Unread, bytes: usize) -> Self {
        Self { stream, unread, left: bytes, until: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    /// Ready when the client has stopped sending, or has had its time or its bytes.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut chunk = [0; CHUNK];
        while self.left > 0 {
            if self.until.as_mut().is_none_or(|until| until.as_mut().poll(cx).is_ready()) {
                break;
            }
            let mut buffer = ReadBuf::new(&mut chunk);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.left = self.left.saturating_sub(buffer.filled().len()),
                // It has closed its side, or is gone.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.until.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.unread.is_set() {
                return Poll::Ready(Ok(()));
            }
            self.until = Some(Box::pin(sleep(LINGER)));
        }
        self.poll_rest(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http_body_util::BodyExt;
    use std::convert::Infallible;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::Instant,
    };

    /// A connection whose last body was refused, and its client.
    fn refusing(bytes: usize) -> (Lingering<DuplexStream>, DuplexStream) {
        let (client, host) = duplex(1 << 10);
        let unread = Unread::default();
        drop(unread.watch(Body::from("refused")));
        (Lingering::new(host, unread, bytes), client)
    }

    #[tokio::test]
    async fn only_a_body_that_was_left_is_waited_for() {
        let unread = Unread::default();
        drop(unread.watch(Body::empty()));
        assert!(!unread.is_set());
        drop(unread.watch(Body::from("refused")));
        assert!(unread.is_set());
        unread.watch(Body::from("read")).collect().await.unwrap();
        assert!(!unread.is_set());
        let chunks = futures::stream::iter(["a", "b"].map(Ok::<_, Infallible>));
        unread.watch(Body::from_stream(chunks)).collect().await.unwrap();
        assert!(!unread.is_set(), "the end of chunks is only known when it was read");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_time_and_no_more() {
        let (mut host, mut client) = refusing(usize::MAX);
        let began = Instant::now();
        host.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), LINGER);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "it was told at once that no more comes");
        let (mut host, client) = refusing(usize::MAX);
        drop(client);
        let began = Instant::now();
        host.shutdown().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "a client that is gone is not waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_has_its_bytes_and_no_more() {
        let (mut host, mut client) = refusing(100 << 10);
        let began = Instant::now();
        let send = async {
            let mut sent = 0;
            while client.write_all(&[b'x'; 1 << 10]).await.is_ok() {
                sent += 1;
            }
            sent
        };
        let close = async {
            host.shutdown().await.unwrap();
            drop(host);
        };
        let (sent, ()) = tokio::join!(send, close);
        assert!((100..=102).contains(&sent), "{sent} KiB were taken");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
