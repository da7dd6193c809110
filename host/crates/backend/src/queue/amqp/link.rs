//! One connection to whichever broker answers, made again for as long as the queue is open.
//!
//! The driver's own recovery is off: after a broker was killed it left channels
//! that looked alive and held messages. Here a broken connection is dropped with
//! everything on it, and whoever used it starts anew.

use super::{
    config::AmqpConfig,
    error::{broken, late},
};
use futures::{Stream, StreamExt, pin_mut};
use lapin::{Channel, Connection, ConnectionProperties, Event, tcp::OwnedTLSConfig, uri::AMQPUri};
use plinth_capability::{Error, ErrorKind, Result};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::timeout};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

const BACKOFF_LEAST: Duration = Duration::from_millis(100);
const BACKOFF_MOST: Duration = Duration::from_secs(2);
/// The net below the driver's events: how often its state is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection while it lives.
pub(super) struct Live {
    connection: Connection,
    /// Counts connections, so that things of an earlier one are known as such.
    pub(super) number: u64,
    /// Ends with the connection; cancel it to give the connection up.
    pub(super) over: CancellationToken,
}

impl Live {
    /// A new channel, closed when its last clone is dropped.
    pub(super) async fn channel(&self, operation: &'static str, within: Duration) -> Result<Channel> {
        match timeout(within, self.connection.create_channel()).await {
            Ok(made) => made.map_err(broken(operation)),
            Err(_) => {
                // A broker that opens no channel answers nothing else either.
                self.over.cancel();
                Err(late(operation))
            }
        }
    }

    /// What came of `work`, unless the connection ends before: the driver may never answer what it was given
    /// in the moment in which the connection broke.
    pub(super) async fn bound<T>(&self, operation: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let gone = || Err(Error::new(ErrorKind::Unavailable, operation, "the connection to the broker broke"));
        self.over.run_until_cancelled(work).await.unwrap_or_else(gone)
    }

    /// The broker takes no publishes now: it is short of memory or disk.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }
}

/// The connection of the moment.
pub(super) struct Link {
    current: watch::Receiver<Option<Arc<Live>>>,
}

impl Link {
    pub(super) fn start(
        name: &'static str,
        config: Arc<AmqpConfig>,
        hosts: Vec<AMQPUri>,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (current, receiver) = watch::channel(None);
        tasks.spawn(Supervisor { name, config, hosts, current, next: 0, made: 0 }.run(stop));
        Self { current: receiver }
    }

    /// Waits for a connection, but no longer than `within`.
    pub(super) async fn live(&self, operation: &'static str, within: Duration) -> Result<Arc<Live>> {
        let mut current = self.current.clone();
        let alive = |live: &Option<Arc<Live>>| live.as_ref().is_some_and(|live| !live.over.is_cancelled());
        let unreachable = || Error::new(ErrorKind::Unavailable, operation, "the broker cannot be reached now");
        let live = timeout(within, current.wait_for(alive)).await.map_err(|_| unreachable())?;
        live.ok().and_then(|live| live.clone()).ok_or_else(unreachable)
    }

    pub(super) fn is_up(&self) -> bool {
        self.current.borrow().as_ref().is_some_and(|live| !live.over.is_cancelled())
    }
}

struct Supervisor {
    name: &'static str,
    config: Arc<AmqpConfig>,
    hosts: Vec<AMQPUri>,
    current: watch::Sender<Option<Arc<Live>>>,
    next: usize,
    made: u64,
}

impl Supervisor {
    async fn run(mut self, stop: CancellationToken) {
        let mut backoff = BACKOFF_LEAST;
        while !stop.is_cancelled() {
            let began = Instant::now();
            match stop.run_until_cancelled(self.connect()).await {
                None => return,
                Some(Ok(connection)) => {
                    self.hold(connection, &stop).await;
                    // A connection that held is no reason to wait longer than the first time.
                    if began.elapsed() > BACKOFF_MOST {
                        backoff = BACKOFF_LEAST;
                    }
                }
                Some(Err(error)) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(connection = self.name, host = self.next % self.hosts.len().max(1), %error, cause, "no connection to the broker");
                }
            }
            self.next = self.next.wrapping_add(1);
            // Spread out, so that a fleet does not come back in one instant.
            let wait = backoff.mul_f64(0.5 + rand::random::<f64>() / 2.0);
            backoff = (backoff * 2).min(BACKOFF_MOST);
            // Time for the broker to come back; nothing tells when it has.
            stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }

    /// Publishes the connection until it ends, then says farewell to it.
    async fn hold(&mut self, connection: Connection, stop: &CancellationToken) {
        self.made += 1;
        let events = connection.events_listener();
        let live = Arc::new(Live { connection, number: self.made, over: CancellationToken::new() });
        let _over: DropGuard = live.over.clone().drop_guard();
        self.current.send_replace(Some(live.clone()));
        tracing::info!(connection = self.name, number = self.made, "connected to the broker");
        tokio::select! {
            () = ended(&live.connection, events) => tracing::warn!(connection = self.name, "the connection to the broker broke"),
            () = live.over.cancelled() => tracing::warn!(connection = self.name, "the connection to the broker was given up"),
            () = stop.cancelled() => {}
        }
        self.current.send_replace(None);
        live.over.cancel();
        let _told = timeout(FAREWELL, live.connection.close(200, "bye".into())).await;
    }

    async fn connect(&self) -> Result<Connection> {
        let refuse = |why| Error::new(ErrorKind::Unavailable, "queue.connect", why);
        let mut uri = self.hosts.get(self.next % self.hosts.len().max(1)).cloned().ok_or_else(|| refuse("no host"))?;
        if let Some(path) = &self.config.password_file {
            let password = tokio::fs::read_to_string(path).await.map_err(|e| refuse("the password file cannot be read").with_source(e))?;
            uri.authority.userinfo.password = password.trim_end_matches(['\n', '\r']).to_owned();
        }
        let cert_chain = match &self.config.ca_file {
            None => None,
            Some(path) => Some(tokio::fs::read_to_string(path).await.map_err(|e| refuse("the CA file cannot be read").with_source(e))?),
        };
        let runtime = lapin::runtime::default_runtime().map_err(broken("queue.connect"))?;
        let properties = ConnectionProperties::default().with_connection_name(format!("plinth {}", self.name).into());
        let connecting = Connection::connect_uri_with_config(uri, properties, OwnedTLSConfig { identity: None, cert_chain }, runtime);
        match timeout(self.config.connect_timeout(), connecting).await {
            Ok(connected) => connected.map_err(broken("queue.connect")),
            Err(_) => Err(late("queue.connect")),
        }
    }
}

async fn ended(connection: &Connection, events: impl Stream<Item = Event>) {
    let broke = async {
        pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                // The driver tells of the errors of single channels here too.
                Event::Error(error) if !error.is_amqp_soft_error() => return,
                Event::ConnectionBlocked(reason) => tracing::warn!(reason, "the broker blocks publishing"),
                Event::ConnectionUnblocked => tracing::info!("the broker takes publishes again"),
                _ => {}
            }
        }
    };
    let looked = async {
        while connection.status().connected() {
            // A driver that ended without an event would be waited for for ever.
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = broke => {}
        () = looked => {}
    }
}
