//! Rules that every backend of the database keeps.

use plinth_capability::{
    Error, ErrorKind, Result,
    database::{EXECUTE_MANY_MAX, Execution},
};

/// Guest-controlled: savepoints of one transaction.
pub(super) const SAVEPOINTS_MAX: usize = 100;

pub(super) fn limit_exceeded(why: String) -> Error {
    Error::new(ErrorKind::LimitExceeded, "database.query", why)
}

pub(super) fn read_only() -> Error {
    Error::new(ErrorKind::Denied, "database.execute", "this access is for reading only")
}

pub(super) fn check_lists(count: usize) -> Result<()> {
    if count > EXECUTE_MANY_MAX {
        let why = format!("at most {EXECUTE_MANY_MAX} parameter lists at a time");
        return Err(Error::new(ErrorKind::LimitExceeded, "database.execute_many", why));
    }
    Ok(())
}

pub(super) fn add(total: &mut Execution, one: Execution) {
    total.rows_affected += one.rows_affected;
    total.last_insert_id = one.last_insert_id.or(total.last_insert_id);
}

/// Names are checked although no database sees them: every backend refuses the same.
pub(super) fn check_savepoint(name: &str, so_far: usize) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.len() > 60 || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain) {
        let why = "a savepoint's name has 1 to 60 letters, digits and underscores";
        return Err(Error::new(ErrorKind::InvalidInput, "transaction.savepoint", why));
    }
    if so_far >= SAVEPOINTS_MAX {
        let why = format!("at most {SAVEPOINTS_MAX} savepoints in a transaction");
        return Err(Error::new(ErrorKind::LimitExceeded, "transaction.savepoint", why));
    }
    Ok(())
}
