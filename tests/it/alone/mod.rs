//! Tests that measure or exhaust the machine: nothing runs beside them.

mod excess;
mod kill;
mod neighbour;
