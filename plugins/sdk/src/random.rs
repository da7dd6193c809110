//! The host's randomness, fit for keys.

use crate::bindings::plinth::context::random;

/// `len` random bytes.
pub fn bytes(len: u16) -> Vec<u8> {
    random::bytes(len)
}

/// Uniform in [0, 1), with 53 bits.
pub fn unit() -> f64 {
    random::unit()
}
