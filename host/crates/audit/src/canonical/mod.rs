//! One value, one sequence of bytes: JSON after RFC 8785, restricted to what every language reads alike.
//!
//! There are no fractions and no exponents, and integers are at most 2^53 - 1
//! either way; larger ones are written as strings. Members are sorted by the
//! UTF-16 units of their names. A record has at most [`RECORD_MAX`] bytes,
//! because an entry bundle of a tile log counts them in 16 bits, and nests at most
//! [`DEPTH_MAX`] deep. No canonical form contains a newline.

mod check;
mod encode;
mod serialize;

pub use check::check;
pub use encode::encode;
pub use serialize::to_bytes;

/// The most bytes a record has.
pub const RECORD_MAX: usize = 65_535;

/// How deep arrays and objects nest.
pub const DEPTH_MAX: usize = 64;

/// The largest integer that a double represents together with its neighbours.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// What is not canonical, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (at byte {at})")]
pub struct CanonicalError {
    /// Bytes before the problem: of the input when checking, of the output when encoding.
    pub at: usize,
    /// What it is.
    pub problem: Problem,
}

/// The ways in which bytes, or a value, have no place in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// More than [`RECORD_MAX`] bytes.
    #[error("a record has at most {RECORD_MAX} bytes")]
    TooLong,
    /// Nested more than [`DEPTH_MAX`] deep.
    #[error("arrays and objects nest more than {DEPTH_MAX} deep")]
    TooDeep,
    /// A fraction, an exponent, or a magnitude above [`INTEGER_MAX`].
    #[error("a number is not an integer of at most 53 bits")]
    Number,
    /// A sign, a zero or a digit that the canonical form leaves out.
    #[error("an integer is not written in its shortest form")]
    NumberForm,
    /// Not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A character escaped that is written as itself, or escaped in another way.
    #[error("a character is not written as RFC 8785 writes it")]
    Escape,
    /// Two members have the same name.
    #[error("an object has a member twice")]
    DuplicateMember,
    /// A member comes behind one with a greater name.
    #[error("the members of an object are not in order")]
    MemberOrder,
    /// Space, tab or newline between values.
    #[error("there is white space between values")]
    WhiteSpace,
    /// Not JSON.
    #[error("this is not JSON")]
    Syntax,
    /// Something behind the value.
    #[error("there is something behind the value")]
    TrailingBytes,
}
