//! Tests that measure or exhaust the machine: nothing runs beside them.

mod kill;
mod neighbour;
