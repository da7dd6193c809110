//! Every backend against the suite of its capability.

// Marked as tests, so that clippy lets their helpers unwrap.
#[cfg(test)]
mod archive;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod audit_spool;
#[cfg(test)]
mod cache;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod database;
#[cfg(test)]
mod fleet;
#[cfg(test)]
mod http;
#[cfg(test)]
mod inbox;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod persons;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod secrets;
#[cfg(test)]
mod state;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transparency;
