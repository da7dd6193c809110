//! Drivers of the cache capability, and what the host builds on any of them.

mod bucket;
mod memory;
mod redis;
mod single_flight;
mod tag_index;
mod weight;

pub use self::redis::{NearConfig, RedisCache, RedisCacheConfig, RedisMode, RedisUrl};
pub use memory::{MemoryCache, MemoryCacheConfig};
pub use single_flight::SingleFlight;
