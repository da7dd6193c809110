//! Load from one thread over keep-alive connections: as fast as answers come, or at a fixed rate.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet};

/// What is asked for, and of whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
}

/// An open connection and the task that drives it.
struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    _driver: JoinSet<()>,
}

impl Connection {
    async fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(target.address).await.with_context(|| format!("nobody listens on {}", target.address))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        let request = Request::get(&target.path).header(header::HOST, target.address.to_string()).body(Empty::new())?;
        Ok(Self { sender, request, _driver: driver })
    }

    /// The head and the whole body of a good answer.
    async fn get(&mut self) -> Result<(HeaderMap, Bytes)> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(self.request.clone()).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        ensure!(head.status.is_success(), "{}: {}", head.status, String::from_utf8_lossy(&body));
        Ok((head.headers, body))
    }
}

/// Requests answered per second, each connection asking again as soon as it
/// has an answer. Any failure ends it: a server under this load does not fail.
pub(crate) async fn closed(target: &Target, connections: usize, time: Duration) -> Result<f64> {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for _ in 0..connections {
        let mut connection = Connection::open(target).await?;
        tasks.spawn(async move {
            let mut answered = 0_u64;
            while began.elapsed() < time {
                connection.get().await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(task) = tasks.join_next().await {
        answered += task??;
    }
    Ok(answered as f64 / began.elapsed().as_secs_f64())
}

/// One request of an open loop; times are since its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample<T> {
    /// When it was due: latency counts from here, also for one that had to wait for a connection.
    pub(crate) intended: Duration,
    pub(crate) began: Duration,
    pub(crate) ended: Duration,
    /// None if it failed.
    pub(crate) seen: Option<T>,
}

impl<T> Sample<T> {
    pub(crate) fn latency_us(&self) -> u64 {
        u64::try_from(self.ended.saturating_sub(self.intended).as_micros()).unwrap_or(u64::MAX)
    }
}

/// A load at a fixed rate that does not slow down when the server does.
pub(crate) struct OpenLoop<T> {
    began: Instant,
    workers: JoinSet<Result<Vec<Sample<T>>>>,
    stop: Arc<AtomicBool>,
    pace: JoinHandle<()>,
    due: Arc<Semaphore>,
}

impl<T: Send + 'static> OpenLoop<T> {
    /// `see` reads what matters from an answer.
    pub(crate) async fn start(target: &Target, connections: usize, rate: f64, see: fn(&HeaderMap, &[u8]) -> Option<T>) -> Result<Self> {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(target).await?);
        }
        let (due, stop, next) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let interval = Duration::from_secs_f64(1.0 / rate);
        let began = Instant::now();
        let pace = std::thread::Builder::new().name("pace".into()).spawn({
            let (due, stop) = (due.clone(), stop.clone());
            move || pace(began, interval, &due, &stop)
        })?;
        let mut workers = JoinSet::new();
        for connection in open {
            let turns = Turns { began, interval, due: due.clone(), next: next.clone() };
            workers.spawn(work(connection, target.clone(), turns, see));
        }
        Ok(Self { began, workers, stop, pace, due })
    }

    /// Since the start, on the clock of the samples.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Every sample, in the order they were due.
    pub(crate) async fn stop(mut self) -> Result<Vec<Sample<T>>> {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.pace.join();
        self.due.close();
        let mut samples = Vec::new();
        while let Some(worker) = self.workers.join_next().await {
            samples.extend(worker??);
        }
        samples.sort_by_key(|sample| sample.intended);
        Ok(samples)
    }
}

/// Hands out turns from a thread of its own: tokio's timers are too coarse for it.
fn pace(began: Instant, interval: Duration, due: &Semaphore, stop: &AtomicBool) {
    plinth_runtime::ask_for_short_slices();
    let mut given = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let until_now = (began.elapsed().as_nanos() / interval.as_nanos().max(1)) as u64;
        due.add_permits(usize::try_from(until_now - given).unwrap_or(0));
        given = until_now;
        let next = began + interval.mul_f64((given + 1) as f64);
        std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
    }
}

struct Turns {
    began: Instant,
    interval: Duration,
    due: Arc<Semaphore>,
    next: Arc<AtomicU64>,
}

impl Turns {
    /// When the request that this worker is to make now was due; none at the end.
    async fn take(&self) -> Option<Duration> {
        self.due.acquire().await.ok()?.forget();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Some(self.interval.mul_f64((number + 1) as f64))
    }
}

async fn work<T>(
    mut connection: Connection,
    target: Target,
    turns: Turns,
    see: fn(&HeaderMap, &[u8]) -> Option<T>,
) -> Result<Vec<Sample<T>>> {
    let mut samples = Vec::new();
    while let Some(intended) = turns.take().await {
        let began = turns.began.elapsed();
        let answer = connection.get().await;
        let ended = turns.began.elapsed();
        if let Err(error) = &answer {
            // A broken connection must not fail the requests after this one.
            eprintln!("a request failed: {error:#}");
            connection = Connection::open(&target).await?;
        }
        let seen = answer.ok().and_then(|(head, body)| see(&head, &body));
        samples.push(Sample { intended, began, ended, seen });
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_intended_start() {
        let ms = Duration::from_millis;
        let sample = Sample { intended: ms(10), began: ms(25), ended: ms(30), seen: Some(()) };
        assert_eq!(sample.latency_us(), 20_000);
    }

    #[tokio::test]
    async fn an_open_loop_keeps_its_rate_and_loses_nothing() {
        let server = crate::native::Native::bind().await.unwrap();
        let target = Target { address: server.address(), path: "/x/bench/".into() };
        let mut serving = JoinSet::new();
        serving.spawn(server.serve());
        let load = OpenLoop::start(&target, 2, 500.0, |_, body| Some(body.to_vec())).await.unwrap();
        while load.elapsed() < Duration::from_millis(200) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let samples = load.stop().await.unwrap();
        assert!(samples.len() >= 95, "{}", samples.len());
        assert!(samples.iter().all(|s| s.seen.as_deref() == Some(crate::native::BODY.as_bytes())));
        assert!(samples.iter().all(|s| s.intended <= s.began && s.began <= s.ended));
        assert!(samples.windows(2).all(|pair| pair[0].intended < pair[1].intended));
    }
}
