//! The fleet in PostgreSQL: hosts, proposals and votes beside the state they are about.

use crate::{
    postgres::{Postgres, from_sql, map_error, to_sql},
    state::PostgresState,
};
use async_trait::async_trait;
use bytes::Bytes;
use plinth_capability::{
    Error, ErrorKind, Result,
    fleet::{Decided, Fleet, HostBeat, HostSeen, LIVE_FOR, Proposal, Vote},
    name::PluginName,
    state::StoredSlot,
};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgListener, types::PgInterval},
};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Before the listener connects again.
const PAUSE: Duration = Duration::from_secs(1);

/// Dropped, it stops listening; the host is forgotten an hour later, or by `leave`.
pub struct PostgresFleet {
    postgres: Postgres,
    /// What was said last: repeating it wakes nobody.
    said: Mutex<Option<HostBeat>>,
    heard: tokio::sync::Mutex<watch::Receiver<u64>>,
    /// Ends with this.
    _listener: JoinSet<()>,
}

impl PostgresFleet {
    /// Listens on a connection of its own. Must be called inside a runtime.
    pub fn new(postgres: Postgres) -> Self {
        let (tell, heard) = watch::channel(0);
        let mut listener = JoinSet::new();
        listener.spawn(listen(postgres.clone(), tell));
        Self { postgres, said: Mutex::default(), heard: tokio::sync::Mutex::new(heard), _listener: listener }
    }

    /// Runs `work` in one transaction, in the order of all changes of the fleet.
    async fn in_order<T: Send>(&self, operation: &'static str, work: impl AsyncFnOnce(&mut PgConnection) -> Result<T> + Send) -> Result<T> {
        let failed = |e| map_error(operation, e);
        let mut connection = self.postgres.pool().acquire().await.map_err(failed)?;
        let mut transaction = connection.begin().await.map_err(failed)?;
        sqlx::query("SELECT highest FROM plinth.generation FOR UPDATE").execute(&mut *transaction).await.map_err(failed)?;
        let done = work(&mut transaction).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(done)
    }
}

/// Counts up for every notification, and whenever one may have been missed.
async fn listen(postgres: Postgres, tell: watch::Sender<u64>) {
    loop {
        let listening = async {
            let mut listener = PgListener::connect_with(postgres.pool()).await?;
            listener.listen(CHANNEL).await?;
            loop {
                // `None`: the connection was lost and is made anew, with a gap in between.
                listener.try_recv().await?;
                tell.send_modify(|count| *count += 1);
            }
        };
        let Err::<std::convert::Infallible, sqlx::Error>(error) = listening.await;
        tracing::warn!(%error, "not listening to the fleet now; it is asked every now and then");
        tell.send_modify(|count| *count += 1);
        if tell.is_closed() {
            return;
        }
        sleep(PAUSE).await;
    }
}

const CHANNEL: &str = crate::state::CHANNEL;

async fn notify(connection: &mut PgConnection, operation: &'static str) -> Result<()> {
    sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(connection).await.map(drop).map_err(|e| map_error(operation, e))
}

/// The generation a slot has, 0 if there is none.
async fn generation_of(connection: &mut PgConnection, plugin: &PluginName, operation: &'static str) -> Result<u64> {
    let slot: Option<String> = sqlx::query_scalar("SELECT slot FROM plinth.slots WHERE plugin = $1")
        .bind(plugin.as_str())
        .fetch_optional(connection)
        .await
        .map_err(|e| map_error(operation, e))?;
    slot.map_or(Ok(0), |slot| read(&slot, operation).map(|slot| slot.generation))
}

async fn expect(connection: &mut PgConnection, plugin: &PluginName, expects: u64, operation: &'static str) -> Result<()> {
    if generation_of(connection, plugin, operation).await? == expects {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, operation, "the slot was changed by another host"))
}

fn read(slot: &str, operation: &'static str) -> Result<StoredSlot> {
    serde_json::from_str(slot).map_err(|e| Error::new(ErrorKind::Failed, operation, "a stored slot is damaged").with_source(e))
}

fn write(slot: &StoredSlot, operation: &'static str) -> Result<String> {
    serde_json::to_string(slot).map_err(|e| Error::new(ErrorKind::Internal, operation, "encoding failed").with_source(e))
}

async fn next_generation(connection: &mut PgConnection, operation: &'static str) -> Result<u64> {
    let next: sqlx::Result<i64> = sqlx::query_scalar("SELECT highest + 1 FROM plinth.generation").fetch_one(connection).await;
    next.map(from_sql).map_err(|e| map_error(operation, e))
}

fn ended(operation: &'static str) -> Error {
    Error::new(ErrorKind::NotFound, operation, "the proposal has ended")
}

fn interval(time: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(time.as_micros()).unwrap_or(i64::MAX) }
}

#[async_trait]
impl Fleet for PostgresFleet {
    async fn beat(&self, beat: &HostBeat) -> Result<()> {
        let failed = |e| map_error("fleet.beat", e);
        let news = self.said.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(beat);
        let mut connection = self.postgres.pool().acquire().await.map_err(failed)?;
        sqlx::query(
            "INSERT INTO plinth.hosts (id, name, ready, generation, note, seen) VALUES ($1, $2, $3, $4, $5, clock_timestamp())
             ON CONFLICT (id) DO UPDATE SET name = $2, ready = $3, generation = $4, note = $5, seen = clock_timestamp()",
        )
        .bind(&beat.id)
        .bind(&beat.name)
        .bind(beat.ready)
        .bind(to_sql(beat.generation))
        .bind(&beat.note)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        if news {
            sqlx::query(FORGET_HOSTS).execute(&mut *connection).await.map_err(failed)?;
            notify(&mut connection, "fleet.beat").await?;
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some(beat.clone());
        }
        Ok(())
    }

    async fn leave(&self, id: &str) -> Result<()> {
        let failed = |e| map_error("fleet.leave", e);
        let mut connection = self.postgres.pool().acquire().await.map_err(failed)?;
        sqlx::query("DELETE FROM plinth.hosts WHERE id = $1").bind(id).execute(&mut *connection).await.map_err(failed)?;
        notify(&mut connection, "fleet.leave").await
    }

    async fn hosts(&self) -> Result<Vec<HostSeen>> {
        let rows: Vec<(String, String, bool, i64, Option<String>, i64)> = sqlx::query_as(
            "SELECT id, name, ready, generation, note, (extract(epoch FROM clock_timestamp() - seen) * 1000)::bigint
             FROM plinth.hosts WHERE seen > clock_timestamp() - interval '1 hour' ORDER BY name, id",
        )
        .fetch_all(self.postgres.pool())
        .await
        .map_err(|e| map_error("fleet.hosts", e))?;
        let seen = |(id, name, ready, generation, note, age)| HostSeen {
            beat: HostBeat { id, name, ready, generation: from_sql(generation), note },
            age: Duration::from_millis(from_sql(age)),
        };
        Ok(rows.into_iter().map(seen).collect())
    }

    async fn propose(&self, proposal: &Proposal, component: Option<&Bytes>) -> Result<()> {
        const OPERATION: &str = "fleet.propose";
        let slot = write(&proposal.slot, OPERATION)?;
        self.in_order(OPERATION, async |connection| {
            let (plugin, digest) = (&proposal.slot.plugin, &proposal.slot.active.digest);
            expect(connection, plugin, proposal.expects, OPERATION).await?;
            let forget = sqlx::query(FORGET_DEAD).bind(plugin.as_str()).bind(interval(LIVE_FOR));
            forget.execute(&mut *connection).await.map_err(|e| map_error(OPERATION, e))?;
            let put = sqlx::query(
                "INSERT INTO plinth.proposals (id, plugin, host, digest, slot, expects) VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (plugin) DO NOTHING",
            );
            let put = put.bind(&proposal.id).bind(plugin.as_str()).bind(&proposal.host).bind(digest).bind(&slot);
            let put = put.bind(to_sql(proposal.expects)).execute(&mut *connection).await.map_err(|e| map_error(OPERATION, e))?;
            if put.rows_affected() == 0 {
                return Err(Error::new(ErrorKind::Conflict, OPERATION, "another change of this plugin is being agreed on"));
            }
            if let Some(component) = component {
                PostgresState::put_component_on(connection, digest, component).await?;
            }
            notify(connection, OPERATION).await
        })
        .await
    }

    async fn proposals(&self) -> Result<Vec<Proposal>> {
        const OPERATION: &str = "fleet.proposals";
        let rows: Vec<(String, String, String, i64)> = sqlx::query_as("SELECT id, host, slot, expects FROM plinth.proposals ORDER BY id")
            .fetch_all(self.postgres.pool())
            .await
            .map_err(|e| map_error(OPERATION, e))?;
        let proposal = |(id, host, slot, expects): (String, String, String, i64)| {
            Ok(Proposal { id, host, slot: read(&slot, OPERATION)?, expects: from_sql(expects) })
        };
        rows.into_iter().map(proposal).collect()
    }

    async fn vote(&self, proposal: &str, host: &str, vote: &Vote) -> Result<()> {
        const OPERATION: &str = "fleet.vote";
        let veto = match vote {
            Vote::Yes => None,
            Vote::Veto(reason) => Some(reason),
        };
        self.in_order(OPERATION, async |connection| {
            let put = sqlx::query(
                "INSERT INTO plinth.votes (proposal, host, veto) SELECT id, $2, $3 FROM plinth.proposals WHERE id = $1
                 ON CONFLICT (proposal, host) DO UPDATE SET veto = $3",
            );
            let put = put.bind(proposal).bind(host).bind(veto).execute(&mut *connection).await.map_err(|e| map_error(OPERATION, e))?;
            if put.rows_affected() == 0 {
                return Err(ended(OPERATION));
            }
            notify(connection, OPERATION).await
        })
        .await
    }

    async fn votes(&self, proposal: &str) -> Result<Vec<(String, Vote)>> {
        let rows: Vec<(String, Option<String>)> = sqlx::query_as("SELECT host, veto FROM plinth.votes WHERE proposal = $1")
            .bind(proposal)
            .fetch_all(self.postgres.pool())
            .await
            .map_err(|e| map_error("fleet.votes", e))?;
        Ok(rows.into_iter().map(|(host, veto)| (host, veto.map_or(Vote::Yes, Vote::Veto))).collect())
    }

    async fn commit(&self, proposal: &str) -> Result<u64> {
        const OPERATION: &str = "fleet.commit";
        self.in_order(OPERATION, async |connection| {
            let found: Option<(String, i64)> = sqlx::query_as("DELETE FROM plinth.proposals WHERE id = $1 RETURNING slot, expects")
                .bind(proposal)
                .fetch_optional(&mut *connection)
                .await
                .map_err(|e| map_error(OPERATION, e))?;
            let (slot, expects) = found.ok_or_else(|| ended(OPERATION))?;
            let slot = read(&slot, OPERATION)?;
            expect(connection, &slot.plugin, from_sql(expects), OPERATION).await?;
            let generation = next_generation(connection, OPERATION).await?;
            PostgresState::save_slot_on(connection, &StoredSlot { generation, ..slot }).await?;
            Ok(generation)
        })
        .await
    }

    async fn withdraw(&self, proposal: &str) -> Result<()> {
        const OPERATION: &str = "fleet.withdraw";
        self.in_order(OPERATION, async |connection| {
            let gone = sqlx::query("DELETE FROM plinth.proposals WHERE id = $1").bind(proposal).execute(&mut *connection).await;
            gone.map_err(|e| map_error(OPERATION, e))?;
            notify(connection, OPERATION).await
        })
        .await
    }

    async fn decide(&self, decided: &Decided, expects: u64) -> Result<u64> {
        const OPERATION: &str = "fleet.decide";
        self.in_order(OPERATION, async |connection| {
            let plugin = match decided {
                Decided::Save(slot) => &slot.plugin,
                Decided::Remove(plugin) => plugin,
            };
            expect(connection, plugin, expects, OPERATION).await?;
            let generation = next_generation(connection, OPERATION).await?;
            match decided {
                Decided::Save(slot) => {
                    PostgresState::save_slot_on(connection, &StoredSlot { generation, ..StoredSlot::clone(slot) }).await?
                }
                Decided::Remove(plugin) => PostgresState::remove_slot_on(connection, plugin, generation).await?,
            }
            Ok(generation)
        })
        .await
    }

    async fn changed(&self, wait: Duration) {
        let mut heard = self.heard.lock().await;
        // An error means that nobody listens any more; then the wait is the net below.
        if let Ok(Err(_)) = timeout(wait, heard.changed()).await {
            sleep(wait).await;
        }
    }
}

const FORGET_HOSTS: &str = "DELETE FROM plinth.hosts WHERE seen < clock_timestamp() - interval '1 hour'";

/// Proposals for one plugin whose host is not live.
const FORGET_DEAD: &str = "DELETE FROM plinth.proposals p WHERE plugin = $1 AND NOT EXISTS (
    SELECT 1 FROM plinth.hosts h WHERE h.id = p.host AND h.seen > clock_timestamp() - $2::interval)";
