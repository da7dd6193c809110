//! The integration tests, one binary: what crosses crates, through the doors that users have.

// Marked as tests, so that clippy lets their helpers unwrap.
#[cfg(test)]
mod alone;
#[cfg(test)]
mod api;
#[cfg(test)]
mod audit_archive;
#[cfg(test)]
mod audit_log;
#[cfg(test)]
mod audit_persons;
#[cfg(test)]
mod audit_spool;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod check;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod doors;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod hooks;
#[cfg(test)]
mod invocations;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod loader;
#[cfg(test)]
mod museum;
#[cfg(test)]
mod oci;
#[cfg(test)]
mod order_desk;
#[cfg(test)]
mod permissions;
#[cfg(test)]
mod scaffold;
#[cfg(test)]
mod standards;
#[cfg(test)]
mod swap;
#[cfg(test)]
mod tasks;
#[cfg(test)]
mod trial;
#[cfg(test)]
mod witness;
