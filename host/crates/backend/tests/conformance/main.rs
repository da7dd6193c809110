//! Every embedded backend against the suite of its capability.

// Marked as tests, so that clippy lets their helpers unwrap.
#[cfg(test)]
mod cache;
