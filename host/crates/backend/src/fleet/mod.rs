//! Backends of the fleet.

mod postgres;

pub use postgres::PostgresFleet;
