//! Glue for `wasi:keyvalue`, in both its drafts: buckets are those of `plinth:cache`, under the same grants.

use super::cache::{Bucket, SWAP};
use crate::{
    bindings::{
        plinth::cache::{buckets::HostBucket, cache_types::Error as CacheError},
        wasi::{
            keyvalue0_2_0_draft::{atomics as atomics1, batch as batch1, store as store1},
            keyvalue0_2_0_draft2::{atomics as atomics2, batch as batch2, store as store2},
        },
    },
    state::CallState,
};
use plinth_capability::cache::{Condition, Version, Write, WriteOutcome};
use wasmtime::component::{Resource, ResourceTable};

/// Keys of one page of `list-keys`.
const PAGE: u32 = 1_000;

/// What a key held at one moment.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct Cas {
    bucket: Bucket,
    key: String,
    held: Option<(Vec<u8>, String)>,
}

/// Where a list of keys goes on: the first draft's cursors are numbers, the cache's are text.
struct Place(String);

type Answer<T, E> = wasmtime::Result<Result<T, E>>;

impl Place {
    fn at(table: &ResourceTable, number: u64) -> Result<(Resource<Self>, String), store1::Error> {
        let unknown = || store1::Error::Other("a cursor that this call was not given".to_owned());
        let place = Resource::new_own(u32::try_from(number).map_err(|_| unknown())?);
        let text = table.get(&place).map(|Self(text)| text.clone()).map_err(|_| unknown())?;
        Ok((place, text))
    }
}

/// What is not a case of its own there, in words.
fn words(error: CacheError) -> String {
    match error {
        CacheError::NoSuchCache(why)
        | CacheError::AccessDenied(why)
        | CacheError::InvalidArgument(why)
        | CacheError::WrongType(why)
        | CacheError::LimitExceeded(why)
        | CacheError::Unavailable(why) => why,
        CacheError::Timeout => "the storage did not answer in time".to_owned(),
        CacheError::Other(failure) => failure.message,
    }
}

/// What the drafts have in common but for the types.
macro_rules! draft {
    ($store:ident, $cursor:ty, $page:ident) => {
        impl From<CacheError> for $store::Error {
            fn from(error: CacheError) -> Self {
                match error {
                    CacheError::AccessDenied(_) => Self::AccessDenied,
                    error => Self::Other(words(error)),
                }
            }
        }

        impl $store::Host for CallState {
            async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>, $store::Error> {
                Ok(HostBucket::open(self, identifier).await?.map_err(Into::into))
            }
        }

        impl $store::HostBucket for CallState {
            async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>, $store::Error> {
                Ok(HostBucket::get(self, bucket, key).await?.map_err(Into::into))
            }

            async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<(), $store::Error> {
                Ok(HostBucket::set(self, bucket, key, value, None).await?.map_err(Into::into))
            }

            async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<(), $store::Error> {
                Ok(HostBucket::delete(self, bucket, key).await?.map(drop).map_err(Into::into))
            }

            async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool, $store::Error> {
                Ok(HostBucket::exists(self, bucket, key).await?.map_err(Into::into))
            }

            async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<$cursor>) -> Answer<$store::KeyResponse, $store::Error> {
                self.$page(bucket, cursor).await
            }

            async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
                HostBucket::drop(self, bucket).await
            }
        }
    };
}

draft!(store1, u64, numbered_page);
draft!(store2, String, page);

impl CallState {
    async fn page(&mut self, bucket: Resource<Bucket>, cursor: Option<String>) -> Answer<store2::KeyResponse, store2::Error> {
        let page = HostBucket::scan(self, bucket, String::new(), cursor, PAGE).await?;
        Ok(page.map(|page| store2::KeyResponse { keys: page.keys, cursor: page.next }).map_err(Into::into))
    }

    /// As `page`; a cursor is used up by the page that it leads to.
    async fn numbered_page(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Answer<store1::KeyResponse, store1::Error> {
        let place = match cursor.map(|number| Place::at(&self.table, number)).transpose() {
            Ok(place) => place,
            Err(unknown) => return Ok(Err(unknown)),
        };
        let (place, text) = place.unzip();
        let page = match HostBucket::scan(self, bucket, String::new(), text, PAGE).await? {
            Ok(page) => page,
            Err(error) => return Ok(Err(error.into())),
        };
        if let Some(place) = place {
            self.table.delete(place)?;
        }
        let next = page.next.map(|text| self.keep("cache.scan", Place(text))).transpose();
        let next = next.map(|place| place.map(|place| u64::from(place.rep())));
        Ok(next.map(|cursor| store1::KeyResponse { keys: page.keys, cursor }).map_err(|e| super::cache::wit(e).into()))
    }
}

impl atomics1::Host for CallState {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64, store1::Error> {
        let Ok(delta) = i64::try_from(delta) else {
            return Ok(Err(store1::Error::Other(format!("{delta} is more than a counter holds"))));
        };
        let sum = HostBucket::increment(self, bucket, key, delta, None).await?;
        let unsigned = |sum: i64| u64::try_from(sum).map_err(|_| store1::Error::Other(format!("the counter is {sum} now, below zero")));
        Ok(sum.map_err(Into::into).and_then(unsigned))
    }
}

impl batch1::Host for CallState {
    async fn get_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<Vec<Option<(String, Vec<u8>)>>, store1::Error> {
        let values = HostBucket::get_many(self, bucket, keys.clone()).await?.map_err(Into::into);
        Ok(values.map(|values| keys.into_iter().zip(values).map(|(key, value)| value.map(|value| (key, value))).collect()))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Answer<(), store1::Error> {
        Ok(HostBucket::set_many(self, bucket, entries, None).await?.map_err(Into::into))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<(), store1::Error> {
        Ok(HostBucket::delete_many(self, bucket, keys).await?.map(drop).map_err(Into::into))
    }
}

impl batch2::Host for CallState {
    async fn get_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<Vec<(String, Option<Vec<u8>>)>, store2::Error> {
        let values = HostBucket::get_many(self, bucket, keys.clone()).await?.map_err(Into::into);
        Ok(values.map(|values| keys.into_iter().zip(values).collect()))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Answer<(), store2::Error> {
        Ok(HostBucket::set_many(self, bucket, entries, None).await?.map_err(Into::into))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<(), store2::Error> {
        Ok(HostBucket::delete_many(self, bucket, keys).await?.map(drop).map_err(Into::into))
    }
}

impl atomics2::HostCas for CallState {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Resource<Cas>, store2::Error> {
        let own = self.bucket(&bucket)?;
        let held = match HostBucket::get_versioned(self, bucket, key.clone()).await? {
            Ok(held) => held.map(|held| (held.value, held.version)),
            Err(error) => return Ok(Err(error.into())),
        };
        Ok(self.keep("cache.get", Cas { bucket: own, key, held }).map_err(|e| super::cache::wit(e).into()))
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>, store2::Error> {
        Ok(Ok(self.table.get(&cas)?.held.as_ref().map(|(value, _)| value.clone())))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}

impl atomics2::Host for CallState {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Answer<i64, store2::Error> {
        Ok(HostBucket::increment(self, bucket, key, delta, None).await?.map_err(Into::into))
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Answer<(), atomics2::CasError> {
        let Cas { bucket, key, held } = self.table.delete(cas)?;
        let condition = Condition::IfVersion(held.map(|(_, version)| Version(version)));
        let write = Ok(Write { ttl: None, condition, tags: Vec::new() });
        match self.write(SWAP, bucket.clone(), key.clone(), value, write).await? {
            Ok(WriteOutcome::Stored(_)) => Ok(Ok(())),
            Ok(WriteOutcome::Conflict(now)) => {
                let held = now.map(|entry| (entry.value.into(), entry.version.0));
                let again = self.keep("cache.swap", Cas { bucket, key, held });
                Ok(Err(again.map_or_else(|e| atomics2::CasError::StoreError(super::cache::wit(e).into()), atomics2::CasError::CasFailed)))
            }
            Err(error) => Ok(Err(atomics2::CasError::StoreError(error.into()))),
        }
    }
}
