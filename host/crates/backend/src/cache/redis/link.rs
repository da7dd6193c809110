//! A connection that is looked after: made again when it breaks, dropped when nobody answers.

use super::{
    connect::{Connection, Connector, OnPush},
    error::{Call, is_demoted, is_redirect},
    script::{Program, is_unknown},
};
use arc_swap::ArcSwapOption;
use plinth_capability::Result;
use redis::{
    Cmd, Pipeline, RedisError, RedisResult, Value,
    aio::ConnectionLike,
    cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Waits between attempts to connect grow from the first to the second, each with up to half of itself on top.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How often an idle-looking connection is asked whether it lives.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// A slot that moves answers with redirects until the map of slots is read again.
const REDIRECTS: u32 = 5;

/// Told when a connection is made or lost.
pub(super) trait Listener: Send + Sync + 'static {
    /// Sent first on every new connection.
    fn greeting(&self) -> Option<Cmd> {
        None
    }
    fn up(&self) {}
    fn down(&self) {}
    fn push(&self, _: redis::PushInfo) {}
}

/// For a connection on which only commands are sent.
pub(super) struct Nobody;
impl Listener for Nobody {}

pub(super) struct Link {
    shared: Arc<Shared>,
    permits: Semaphore,
    /// Ends with the link.
    _supervisor: JoinSet<()>,
}

struct Shared {
    connector: Arc<Connector>,
    current: ArcSwapOption<Connection>,
    /// Why there is no connection.
    last: ArcSwapOption<RedisError>,
    /// Told to give up the current connection.
    wrong: Notify,
}

impl Link {
    /// Returns after the first attempt, whatever became of it.
    pub(super) async fn start(connector: Arc<Connector>, in_flight: usize, listener: Arc<dyn Listener>) -> Self {
        let shared = Arc::new(Shared { connector, current: ArcSwapOption::empty(), last: ArcSwapOption::empty(), wrong: Notify::new() });
        let (tried, first) = oneshot::channel();
        let mut supervisor = JoinSet::new();
        supervisor.spawn(Arc::clone(&shared).supervise(listener, tried));
        // An error would be a supervisor that ended, and then every call is refused.
        _ = first.await;
        Self { shared, permits: Semaphore::new(in_flight), _supervisor: supervisor }
    }

    /// One command, one answer.
    pub(super) async fn query(&self, call: Call, cmd: &Cmd) -> Result<Value> {
        let (_permit, connection) = self.take(call).await?;
        self.send(connection, cmd).await.map_err(|error| call.error(error))
    }

    pub(super) async fn run(&self, call: Call, program: &Program, cmd: &Cmd) -> Result<Value> {
        let (_permit, connection) = self.take(call).await?;
        let answer = match self.send(connection.clone(), cmd).await {
            Err(error) if is_unknown(&error) => self.send(connection, &program.with_code(cmd)).await,
            answer => answer,
        };
        answer.map_err(|error| call.error(error))
    }

    /// A command that names no key, of the node that has `key`.
    pub(super) async fn query_at(&self, call: Call, cmd: &Cmd, key: &str) -> Result<Value> {
        let (_permit, connection) = self.take(call).await?;
        let answer = match connection {
            Connection::Cluster(mut cluster) => {
                let node = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                cluster.route_command(cmd.clone(), RoutingInfo::SingleNode(node)).await.and_then(Value::extract_error)
            }
            one => self.send(one, cmd).await,
        };
        answer.map_err(|error| call.error(error))
    }

    /// Many commands in one round trip; the first error is the answer of all.
    pub(super) async fn pipeline(&self, call: Call, pipeline: &Pipeline) -> Result<Vec<Value>> {
        let (_permit, connection) = self.take(call).await?;
        let mut redirects = 0;
        loop {
            let answer = match connection.clone() {
                Connection::One(mut one) => one.req_packed_commands(pipeline, 0, pipeline.len()).await,
                Connection::Cluster(mut cluster) => cluster.req_packed_commands(pipeline, 0, pipeline.len()).await,
            };
            let answer = answer.and_then(|values| values.into_iter().map(Value::extract_error).collect::<RedisResult<Vec<_>>>());
            match self.judge(answer, &mut redirects).await {
                Some(answer) => return answer.map_err(|error| call.error(error)),
                None => continue,
            }
        }
    }

    /// The error of the last attempt to connect, if there is no connection.
    pub(super) fn state(&self, call: Call) -> Result<()> {
        match self.shared.current.load().is_some() {
            true => Ok(()),
            false => Err(self.away(call)),
        }
    }

    fn away(&self, call: Call) -> plinth_capability::Error {
        let Some(last) = self.shared.last.load_full() else { return call.unavailable() };
        let error = call.error(RedisError::clone(&last));
        // Nothing was sent now: of the last attempt only a refusal says more than that.
        match error.kind() {
            plinth_capability::ErrorKind::Denied => error,
            _ => call.unavailable().with_source(RedisError::clone(&last)),
        }
    }

    async fn take(&self, call: Call) -> Result<(SemaphorePermit<'_>, Connection)> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => match timeout(self.shared.connector.target().response_timeout, self.permits.acquire()).await {
                Ok(Ok(permit)) => permit,
                _ => return Err(call.fail(plinth_capability::ErrorKind::Unavailable, "too many calls to the cache at once")),
            },
        };
        match &*self.shared.current.load() {
            Some(connection) => Ok((permit, Connection::clone(connection))),
            None => Err(self.away(call)),
        }
    }

    async fn send(&self, connection: Connection, cmd: &Cmd) -> RedisResult<Value> {
        match connection {
            Connection::One(mut one) => {
                let answer = one.send_packed_command(cmd).await.and_then(Value::extract_error);
                if answer.as_ref().is_err_and(is_demoted) {
                    self.shared.wrong.notify_one();
                }
                answer
            }
            Connection::Cluster(cluster) => {
                let mut redirects = 0;
                loop {
                    let answer = cluster.clone().req_packed_command(cmd).await.and_then(Value::extract_error);
                    if let Some(answer) = self.judge(answer, &mut redirects).await {
                        return answer;
                    }
                }
            }
        }
    }

    /// `None` to ask again: a redirect says that nothing was done, and the map
    /// of slots is being read again.
    async fn judge<T>(&self, answer: RedisResult<T>, redirects: &mut u32) -> Option<RedisResult<T>> {
        match &answer {
            Err(error) if is_redirect(error) && *redirects < REDIRECTS => {
                *redirects += 1;
                // The crate reads the map in the background and has no event for when it is done.
                sleep(Duration::from_millis(20) * *redirects).await;
                None
            }
            Err(error) if is_demoted(error) => {
                self.shared.wrong.notify_one();
                Some(answer)
            }
            _ => Some(answer),
        }
    }
}

impl Shared {
    async fn supervise(self: Arc<Self>, listener: Arc<dyn Listener>, tried: oneshot::Sender<()>) {
        let (mut wait, mut tried) = (BACKOFF.0, Some(tried));
        loop {
            let gone = Arc::new(Notify::new());
            match self.connect(&gone, &listener).await {
                Ok(connection) => {
                    self.current.store(Some(Arc::new(connection.clone())));
                    listener.up();
                    tried.take().map(|tried| tried.send(()));
                    wait = BACKOFF.0;
                    let why = self.watch(connection, &gone).await;
                    tracing::warn!(error = why.as_ref().map(tracing::field::display), "connection to redis lost");
                    self.current.store(None);
                    self.last.store(why.map(Arc::new));
                    listener.down();
                }
                Err(error) => {
                    tracing::warn!(%error, "redis cannot be reached");
                    self.last.store(Some(Arc::new(error)));
                    tried.take().map(|tried| tried.send(()));
                }
            }
            // Between attempts, so that a server that is back is not greeted by all hosts at once.
            sleep(wait.mul_f64(1.0 + rand::random::<f64>() / 2.0)).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    async fn connect(&self, gone: &Arc<Notify>, listener: &Arc<dyn Listener>) -> RedisResult<Connection> {
        let on_push: OnPush = {
            let listener = Arc::clone(listener);
            Arc::new(move |push| listener.push(push))
        };
        let connection = self.connector.connect(Arc::clone(gone), on_push).await?;
        if let (Connection::One(one), Some(greeting)) = (&connection, listener.greeting()) {
            one.clone().send_packed_command(&greeting).await?.extract_error()?;
        }
        Ok(connection)
    }

    /// Returns when the connection is of no use any more.
    async fn watch(&self, connection: Connection, gone: &Notify) -> Option<RedisError> {
        // A cluster's connections are made again by the crate, node by node.
        let Connection::One(mut one) = connection else { return std::future::pending().await };
        let role = redis::cmd("ROLE");
        let ping = redis::cmd("PING");
        let sentinel = self.connector.target().mode == super::config::RedisMode::Sentinel;
        loop {
            tokio::select! {
                () = gone.notified() => return None,
                () = self.wrong.notified() => return None,
                // A connection into a black hole shows itself only to who asks.
                () = sleep(CHECK_EVERY) => {}
            }
            match one.send_packed_command(if sentinel { &role } else { &ping }).await.and_then(Value::extract_error) {
                Ok(answer) if sentinel && !is_master(&answer) => return None,
                Err(error) if error.is_io_error() => return Some(error),
                // An answer is an answer: the user may be forbidden to ask.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

fn is_master(role: &Value) -> bool {
    matches!(role, Value::Array(parts) if matches!(parts.first(), Some(Value::BulkString(name)) if name == b"master"))
}
