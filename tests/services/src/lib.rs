//! Real servers for tests. Each is private: a port of its own below the ephemeral range, a temporary
//! folder, and an end with whoever started it. A server that is missing is an error, never a skip.
//!
//! - [`shared`]: the servers of the whole test run, started by `plinth-services up`; a test takes a
//!   key prefix, a vhost or a database of its own there.
//! - [`Redis`], [`RabbitMq`], [`Postgres`]: for tests that kill, pause or restart.
//! - [`RedisCluster`], [`RedisSentinel`], [`RabbitMqCluster`]: several that are one.
//! - [`S3`]: a store for what is archived. [`OciRegistry`]: one for plugins.
//! - [`FaultProxy`]: the network between a client and any of them, failing to order.
//!
//! Every server offers the same verbs: `kill` (SIGKILL, the whole tree), `restart` (same ports, same
//! folder), `pause` and `resume` (connections stay open, nothing answers).

mod fault;
mod http;
mod launch;
mod oci;
pub mod packages;
mod ports;
mod postgres;
mod process;
mod rabbitmq;
mod rabbitmq_cluster;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod resp;
mod s3;
pub mod shared;
mod tls;
mod wait;

pub use fault::{Fault, FaultProxy};
pub use oci::OciRegistry;
pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;
pub use rabbitmq_cluster::RabbitMqCluster;
pub use redis::{Redis, RedisOptions};
pub use redis_cluster::RedisCluster;
pub use redis_sentinel::RedisSentinel;
pub use s3::S3;
