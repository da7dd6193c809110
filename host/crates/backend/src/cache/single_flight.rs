//! One loader for many readers of the same missing entry.

use bytes::Bytes;
use plinth_capability::{
    Error, Result,
    cache::{Cache, Write},
    name::{BucketName, CacheKey},
};
use std::{
    collections::{HashMap, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

type Id = (BucketName, CacheKey);

/// The refreshes under way. One for each cache whose readers shall share.
#[derive(Default)]
pub struct SingleFlight {
    // A std mutex: held for a map lookup, never across an await. Bounded by the
    // readers that wait right now.
    flights: Mutex<HashMap<Id, Flight>>,
}

struct Flight {
    landing: Arc<Landing>,
    seats: usize,
}

/// Held by the reader that loads; the others wait for it and find the outcome,
/// or, if the one before them was dropped, nothing: then the next one loads.
type Landing = tokio::sync::Mutex<Option<Result<Bytes>>>;

impl SingleFlight {
    pub fn new() -> Self {
        Self::default()
    }

    /// What is cached, or else what `load` makes of it. Of concurrent readers
    /// one loads and the others share its value or its error; an error is not
    /// cached. An unreachable cache costs loads, not answers.
    ///
    /// # Cancel safety
    ///
    /// A reader dropped while it loads leaves the loading to the next one.
    pub async fn get_or_refresh<F>(
        &self,
        cache: &dyn Cache,
        bucket: &BucketName,
        key: &CacheKey,
        ttl: Option<Duration>,
        load: impl FnOnce() -> F + Send,
    ) -> Result<Bytes>
    where
        F: Future<Output = Result<Bytes>> + Send,
    {
        if let Some(value) = cached(cache, bucket, key).await {
            return Ok(value);
        }
        let seat = self.board((bucket.clone(), key.clone()));
        let mut landing = seat.landing.lock().await;
        if let Some(outcome) = &*landing {
            return share(outcome);
        }
        // Looked at again: the flight before this one may have landed since.
        let outcome = match cached(cache, bucket, key).await {
            Some(value) => Ok(value),
            None => {
                let outcome = load().await;
                if let Ok(value) = &outcome {
                    store(cache, bucket, key, value, ttl).await;
                }
                outcome
            }
        };
        *landing = Some(share(&outcome));
        seat.land();
        outcome
    }

    fn board(&self, id: Id) -> Seat<'_> {
        let mut flights = self.lock();
        let flight = flights.entry(id.clone()).or_insert_with(|| Flight { landing: Arc::default(), seats: 0 });
        flight.seats += 1;
        Seat { flights: self, landing: Arc::clone(&flight.landing), id }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Id, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader's part in a flight.
struct Seat<'a> {
    flights: &'a SingleFlight,
    landing: Arc<Landing>,
    id: Id,
}

impl Seat<'_> {
    /// Whoever comes now starts anew; those who wait keep the landing.
    fn land(&self) {
        self.leave(|_| 0);
    }

    fn leave(&self, seats_left: impl FnOnce(usize) -> usize) {
        if let hash_map::Entry::Occupied(mut flight) = self.flights.lock().entry(self.id.clone())
            && Arc::ptr_eq(&flight.get().landing, &self.landing)
        {
            let left = seats_left(flight.get().seats);
            match left {
                0 => drop(flight.remove()),
                left => flight.get_mut().seats = left,
            }
        }
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.leave(|seats| seats.saturating_sub(1));
    }
}

async fn cached(cache: &dyn Cache, bucket: &BucketName, key: &CacheKey) -> Option<Bytes> {
    match cache.get(bucket, key).await {
        Ok(entry) => entry.map(|entry| entry.value),
        Err(error) => {
            tracing::warn!(%bucket, code = error.kind().code(), %error, "cache read failed, loading instead");
            None
        }
    }
}

async fn store(cache: &dyn Cache, bucket: &BucketName, key: &CacheKey, value: &Bytes, ttl: Option<Duration>) {
    if let Err(error) = cache.set(bucket, key, value.clone(), Write::always(ttl)).await {
        tracing::warn!(%bucket, code = error.kind().code(), %error, "loaded value was not cached");
    }
}

/// The same outcome for somebody else; the source of an error stays with the one who loaded.
fn share(outcome: &Result<Bytes>) -> Result<Bytes> {
    match outcome {
        Ok(value) => Ok(value.clone()),
        Err(error) => {
            let copy = Error::new(error.kind(), error.operation(), error.message());
            Err(match error.sql() {
                Some(sql) => copy.with_sql(sql.clone()),
                None => copy,
            })
        }
    }
}
