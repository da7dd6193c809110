//! The walls SQLite itself keeps, set through its C interface: limits, modes and
//! the authorizer. All `unsafe` of the database capability is in this file.

use super::control::Control;
use libsqlite3_sys as ffi;
use plinth_capability::database::RESERVED_PREFIX;
use sqlx::SqliteConnection;
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    ptr,
    sync::Arc,
};

/// SQLite's instructions between two looks at the deadline: some ten microseconds.
const PROGRESS_STEPS: i32 = 1_000;

/// Guest-controlled shapes of statements, bounded well below SQLite's own limits.
const LIMITS: &[(c_int, c_int)] = &[
    (ffi::SQLITE_LIMIT_ATTACHED, 0),
    (ffi::SQLITE_LIMIT_WORKER_THREADS, 0),
    (ffi::SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
    (ffi::SQLITE_LIMIT_EXPR_DEPTH, 200),
    (ffi::SQLITE_LIMIT_COMPOUND_SELECT, 100),
    (ffi::SQLITE_LIMIT_COLUMN, 500),
    (ffi::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 500),
    (ffi::SQLITE_LIMIT_VARIABLE_NUMBER, 1_000),
    (ffi::SQLITE_LIMIT_TRIGGER_DEPTH, 20),
];

const SWITCHES: &[(c_int, c_int)] = &[
    (ffi::SQLITE_DBCONFIG_DEFENSIVE, 1),
    (ffi::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
    (ffi::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0),
    // A double-quoted name that is unknown is an error, not a string.
    (ffi::SQLITE_DBCONFIG_DQS_DML, 0),
    (ffi::SQLITE_DBCONFIG_DQS_DDL, 0),
];

/// Sets every wall of a new connection. `control` decides from then on.
pub(super) async fn harden(connection: &mut SqliteConnection, control: &Arc<Control>, value_bytes: u32) -> sqlx::Result<()> {
    let mut handle = connection.lock_handle().await?;
    let progress = Arc::clone(control);
    handle.set_progress_handler(PROGRESS_STEPS, move || progress.may_go_on());
    let db = handle.as_raw_handle().as_ptr();
    let mut refused = false;
    // SAFETY: `db` is open and ours alone while `handle` lives. The two variadic
    // arguments of `sqlite3_db_config` are what these switches take: an int and
    // a pointer that may be null. The authorizer's pointer stays valid as long
    // as the connection can prepare: the progress handler set above owns a clone
    // of the `Arc`, and SQLx frees it after the last statement.
    unsafe {
        ffi::sqlite3_limit(db, ffi::SQLITE_LIMIT_LENGTH, c_int::try_from(value_bytes).unwrap_or(c_int::MAX));
        for (limit, most) in LIMITS {
            ffi::sqlite3_limit(db, *limit, *most);
        }
        for (switch, on) in SWITCHES {
            refused |= ffi::sqlite3_db_config(db, *switch, *on, ptr::null_mut::<c_int>()) != ffi::SQLITE_OK;
        }
        let data = Arc::as_ptr(control).cast_mut().cast::<c_void>();
        refused |= ffi::sqlite3_set_authorizer(db, Some(authorize), data) != ffi::SQLITE_OK;
    }
    if refused { Err(sqlx::Error::Configuration("SQLite refused a safety setting".into())) } else { Ok(()) }
}

/// Whether a transaction is open. Asked after errors: some of them end it.
pub(super) async fn in_transaction(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let mut handle = connection.lock_handle().await?;
    // SAFETY: the handle is open and ours alone while `handle` lives.
    Ok(unsafe { ffi::sqlite3_get_autocommit(handle.as_raw_handle().as_ptr()) } == 0)
}

/// The declared type of each column of a table, `None` where there is none.
pub(super) async fn declared_types(connection: &mut SqliteConnection, columns: &[(CString, CString)]) -> sqlx::Result<Vec<Option<String>>> {
    let mut handle = connection.lock_handle().await?;
    let db = handle.as_raw_handle().as_ptr();
    Ok(columns.iter().map(|(table, column)| declared_type(db, table, column)).collect())
}

fn declared_type(db: *mut ffi::sqlite3, table: &CStr, column: &CStr) -> Option<String> {
    let mut declared: *const c_char = ptr::null();
    let skip = ptr::null_mut();
    // SAFETY: the caller holds the connection; both names end in zero; results
    // that are not wanted may be null. The text stays valid until the next call
    // on this connection, and is copied before.
    unsafe {
        let status = ffi::sqlite3_table_column_metadata(
            db,
            c"main".as_ptr(),
            table.as_ptr(),
            column.as_ptr(),
            &raw mut declared,
            ptr::null_mut(),
            skip,
            skip,
            skip,
        );
        if status != ffi::SQLITE_OK || declared.is_null() {
            return None;
        }
        CStr::from_ptr(declared).to_str().ok().map(str::to_owned)
    }
}

/// Called by SQLite while it prepares a statement, once for each thing it touches.
unsafe extern "C" fn authorize(
    control: *mut c_void,
    action: c_int,
    first: *const c_char,
    second: *const c_char,
    _database: *const c_char,
    trigger: *const c_char,
) -> c_int {
    // SAFETY: `harden` passed a pointer to a `Control` that outlives the statement.
    let control = unsafe { &*control.cast_const().cast::<Control>() };
    let reserved = [first, second, trigger].into_iter().any(|name| {
        // SAFETY: SQLite passes null or a text that ends in zero.
        !name.is_null() && is_reserved(unsafe { CStr::from_ptr(name) }.to_bytes())
    });
    if control.is_guest() && (reserved || is_for_the_host(action)) { ffi::SQLITE_DENY } else { ffi::SQLITE_OK }
}

fn is_reserved(name: &[u8]) -> bool {
    name.get(..RESERVED_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED_PREFIX.as_bytes()))
}

fn is_for_the_host(action: c_int) -> bool {
    matches!(
        action,
        ffi::SQLITE_ATTACH
            | ffi::SQLITE_DETACH
            | ffi::SQLITE_PRAGMA
            | ffi::SQLITE_TRANSACTION
            | ffi::SQLITE_SAVEPOINT
            | ffi::SQLITE_CREATE_TEMP_TABLE
            | ffi::SQLITE_CREATE_TEMP_INDEX
            | ffi::SQLITE_CREATE_TEMP_TRIGGER
            | ffi::SQLITE_CREATE_TEMP_VIEW
            | ffi::SQLITE_CREATE_VTABLE
    )
}

/// How many statements SQLite finds in `text`, counted by its own parser up to
/// the first it cannot read; tables need not exist.
#[cfg(test)]
pub(super) fn statements_in(text: &str) -> usize {
    let (mut db, mut found) = (ptr::null_mut(), 0);
    let mut rest = text.as_bytes();
    // SAFETY: a private in-memory database; `tail` points into `rest`.
    unsafe {
        assert_eq!(ffi::sqlite3_open(c":memory:".as_ptr(), &raw mut db), ffi::SQLITE_OK);
        let schema = c"create table t(a); create table u(a);";
        assert_eq!(ffi::sqlite3_exec(db, schema.as_ptr(), None, ptr::null_mut(), ptr::null_mut()), ffi::SQLITE_OK);
        while !rest.is_empty() {
            let (mut statement, mut tail) = (ptr::null_mut(), ptr::null());
            let length = c_int::try_from(rest.len()).unwrap();
            let status = ffi::sqlite3_prepare_v2(db, rest.as_ptr().cast(), length, &raw mut statement, &raw mut tail);
            let used = tail.cast::<u8>().offset_from_unsigned(rest.as_ptr());
            found += usize::from(!statement.is_null());
            ffi::sqlite3_finalize(statement);
            if status != ffi::SQLITE_OK || used == 0 {
                break;
            }
            rest = &rest[used..];
        }
        ffi::sqlite3_close(db);
    }
    found
}
