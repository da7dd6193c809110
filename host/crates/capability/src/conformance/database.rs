//! The database's suite: one case per bullet of the contract of [`crate::database::Database`].
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a case fails by panicking")]

mod outbox;
mod support;

pub use outbox::*;
pub use support::{DatabaseFixture, Switched};

use super::eventually;
use crate::{
    ConstraintKind, ErrorKind,
    database::{Access, Dialect, QueryLimits, TransactionOptions, Value},
};
use std::time::{Duration, Instant};
use support::*;

/// Makes the tests of one backend: `$make` is an async expression that yields a [`DatabaseFixture`].
#[macro_export]
macro_rules! database_conformance {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::database, $make;
            values_round_trip,
            placeholders_are_numbered,
            one_statement_per_call,
            control_statements_are_refused,
            syntax_error_is_typed,
            wrong_parameter_count_is_refused,
            constraints_are_typed,
            rows_are_capped,
            bytes_are_capped,
            statement_times_out,
            read_only_is_enforced,
            cursor_pages_through,
            execute_many_is_atomic,
            transaction_commits,
            dropped_transaction_rolls_back,
            savepoint_returns,
            closed_transaction_answers_closed,
            transaction_times_out,
            conflict_is_typed,
            outbox_delivers_after_commit,
            outbox_forgets_rolled_back,
            outbox_survives_a_kill,
            databases_are_apart,
        }
    };
}

pub async fn values_round_trip(fixture: impl DatabaseFixture) {
    let db = open(&fixture, "shared/values", Access::ReadWrite).await;
    let uuid = "0198c5a0-7d7c-7f3a-9b53-3a2f4c5d6e7f";
    let cases = [
        ("boolean", "boolean", Value::Boolean(true)),
        ("boolean", "boolean", Value::Boolean(false)),
        ("bigint", "bigint", int(i64::MIN)),
        ("bigint", "bigint", int(i64::MAX)),
        ("double precision", "real", Value::Real(-0.1e-300)),
        ("text", "text", text("申请 ä 'quoted' \\ \n")),
        ("text", "text", text("")),
        ("bytea", "blob", Value::Blob(vec![0, 255, 39, 10])),
        ("bytea", "blob", Value::Blob(vec![])),
        ("numeric", "text", Value::Decimal("12345678901234567890.50".to_owned())),
        ("date", "text", Value::Date("2026-02-28".to_owned())),
        ("time", "text", Value::Time("23:59:59".to_owned())),
        ("timestamptz", "text", Value::Timestamp("2026-02-28T23:59:59Z".to_owned())),
        ("timestamp", "text", Value::LocalTimestamp("2026-02-28T23:59:59".to_owned())),
        ("uuid", "text", Value::Uuid(uuid.to_owned())),
        ("json", "text", Value::Json("{\"a\":[1,null]}".to_owned())),
        ("bigint[]", "text", Value::IntegerArray(vec![-1, 2])),
        ("text[]", "text", Value::TextArray(vec!["a".to_owned(), "ö".to_owned()])),
        ("text", "text", Value::Null),
    ];
    for (number, (postgres, sqlite, value)) in cases.into_iter().enumerate() {
        let declared = if db.dialect() == Dialect::Postgres { postgres } else { sqlite };
        db.execute(&format!("create table v{number} (v {declared})"), vec![], limits()).await.unwrap();
        db.execute(&format!("insert into v{number} values ($1)"), vec![value.clone()], limits()).await.unwrap();
        let answer = db.query(&format!("select v from v{number}"), vec![], limits()).await.unwrap();
        let back = &answer.rows[0][0];
        let kept = back == &value || text_form(&value).is_some_and(|form| *back == Value::Text(form));
        assert!(kept, "{value:?} came back as {back:?}");
        assert_eq!((answer.columns[0].name.as_str(), answer.rows.len()), ("v", 1));
        assert!(!answer.columns[0].type_name.is_empty());
    }
}

pub async fn placeholders_are_numbered(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let query = "select name from people where age >= $2 and name <> $1 and name <> $1 order by $2 + age";
    let answer = db.query(query, vec![text("Bob"), int(1)], limits()).await.unwrap();
    assert_eq!(answer.rows, [vec![text("Ada")]]);
    assert_eq!(kind(db.query("select name from people where id = ?", vec![int(1)], limits()).await), ErrorKind::InvalidStatement);
}

pub async fn one_statement_per_call(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let texts = [
        "delete from people; select 1",
        "delete from people where name <> ';'; delete from people",
        "delete from people /* ; */ ; -- x\n delete from pets",
    ];
    for statement in texts {
        assert_eq!(kind(db.execute(statement, vec![], limits()).await), ErrorKind::InvalidStatement, "{statement}");
        assert_eq!(kind(db.query(statement, vec![], limits()).await), ErrorKind::InvalidStatement, "{statement}");
    }
    assert_eq!(count(&db).await, 2);
    let one = "select count(*) from people where name <> ';' -- ; the end\n ;";
    assert_eq!(number(&db.query(one, vec![], limits()).await.unwrap()), 2);
}

pub async fn control_statements_are_refused(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let texts =
        ["begin", "BeGiN", "/**/commit", "-- x\nrollback", "savepoint a", "attach 'x.db' as x", "detach x", "pragma x = 1", "vacuum"];
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    for statement in texts {
        let refused = [transaction.execute(statement, vec![]).await.map(drop), transaction.query(statement, vec![]).await.map(drop)];
        for refusal in refused.map(kind) {
            assert!(matches!(refusal, ErrorKind::Denied | ErrorKind::InvalidStatement), "{statement}: {refusal:?}");
        }
    }
    for statement in ["select * from _plinth_outbox", "delete from \"_PLINTH_outbox\"", "create view v as select * from _plinth_outbox"] {
        assert_eq!(kind(transaction.execute(statement, vec![]).await), ErrorKind::Denied, "{statement}");
    }
    assert_eq!(number(&transaction.query(COUNT, vec![]).await.unwrap()), 2, "the transaction is as it was");
}

pub async fn syntax_error_is_typed(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    for statement in ["selekt 1", "select", "select 1 from nowhere", "select nothing from people", "select \"nothing\" from people", ""] {
        assert_eq!(kind(db.query(statement, vec![], limits()).await), ErrorKind::InvalidStatement, "{statement}");
    }
    assert_eq!(kind(db.execute("insert into nowhere values (1)", vec![], limits()).await), ErrorKind::InvalidStatement);
}

pub async fn wrong_parameter_count_is_refused(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    for params in [vec![], vec![int(3)], vec![int(3), text("Eve"), int(3)]] {
        assert_eq!(kind(db.execute(ADD, params.clone(), limits()).await), ErrorKind::InvalidInput);
        assert_eq!(kind(db.execute_many(ADD, vec![person(3), params], limits()).await), ErrorKind::InvalidInput);
    }
    assert_eq!(count(&db).await, 2);
}

pub async fn constraints_are_typed(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let cases = [
        ("insert into people (id, name) values (1, 'Eve')", ConstraintKind::Unique),
        ("insert into people (id, name) values (3, 'Ada')", ConstraintKind::Unique),
        ("insert into people (id, name) values (3, null)", ConstraintKind::NotNull),
        ("insert into people (id, name, age) values (3, 'Eve', 150)", ConstraintKind::Check),
        ("insert into pets (id, owner) values (1, 9)", ConstraintKind::ForeignKey),
    ];
    for (statement, expected) in cases {
        let error = db.execute(statement, vec![], limits()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Constraint(expected), "{statement}");
        assert!(error.sql().is_some(), "{statement}");
    }
    assert_eq!(count(&db).await, 2);
}

pub async fn rows_are_capped(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let most = |max_rows| QueryLimits { max_rows, ..limits() };
    assert_eq!(db.query("select id from people", vec![], most(2)).await.unwrap().rows.len(), 2);
    assert_eq!(kind(db.query("select id from people", vec![], most(1)).await), ErrorKind::LimitExceeded);
    let change = "update people set age = 1 returning id";
    assert_eq!(kind(db.query(change, vec![], most(1)).await), ErrorKind::LimitExceeded);
    assert_eq!(number(&db.query("select count(*) from people where age = 1", vec![], limits()).await.unwrap()), 0, "undone");
    assert_eq!(db.query(change, vec![], most(2)).await.unwrap().rows.len(), 2);
}

pub async fn bytes_are_capped(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    for id in 3..20 {
        db.execute(ADD, vec![int(id), text(&format!("{id}{}", "x".repeat(1_000)))], limits()).await.unwrap();
    }
    let most = |max_bytes| QueryLimits { max_bytes, ..limits() };
    assert_eq!(kind(db.query("select name from people", vec![], most(10_000)).await), ErrorKind::LimitExceeded);
    assert_eq!(db.query("select name from people", vec![], most(20_000)).await.unwrap().rows.len(), 19);
    let wide = "select 'x' || name || name || name || name from people";
    let mut cursor = db.query_paged(wide, vec![], 19, most(20_000)).await.unwrap();
    assert_eq!(kind(cursor.next().await), ErrorKind::LimitExceeded);
}

pub async fn statement_times_out(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let began = Instant::now();
    // More often than there are connections: each serves again.
    for _ in 0..8 {
        assert_eq!(kind(db.query(endless(db.dialect()), vec![], hasty()).await), ErrorKind::Timeout);
    }
    assert!(began.elapsed() < Duration::from_secs(8), "took {:?}", began.elapsed());
    assert_eq!(count(&db).await, 2);
    let change = format!("update people set age = ({}) where id = 1", endless(db.dialect()));
    if db.dialect() == Dialect::Sqlite {
        assert_eq!(kind(db.execute(&change, vec![], hasty()).await), ErrorKind::Timeout);
    }
    db.execute("update people set age = 1", vec![], limits()).await.unwrap();
}

pub async fn read_only_is_enforced(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let reader = open(&fixture, "shared/people", Access::ReadOnly).await;
    assert_eq!(count(&reader).await, 2);
    let options = TransactionOptions { read_only: true, ..TransactionOptions::default() };
    for statement in
        ["delete from people", "drop table people", "with a as (select 1) delete from people", "update people set age = 1 returning id"]
    {
        assert_eq!(kind(reader.execute(statement, vec![], limits()).await), ErrorKind::Denied, "{statement}");
        assert_eq!(kind(reader.query(statement, vec![], limits()).await), ErrorKind::Denied, "{statement}");
        let mut transaction = db.begin(options, limits()).await.unwrap();
        assert_eq!(kind(transaction.execute(statement, vec![]).await), ErrorKind::Denied, "{statement}");
        let mut transaction = reader.begin(TransactionOptions::default(), limits()).await.unwrap();
        assert_eq!(kind(transaction.query(statement, vec![]).await), ErrorKind::Denied, "{statement}");
    }
    assert_eq!(kind(reader.execute_many(ADD, vec![person(3)], limits()).await), ErrorKind::Denied);
    let mut transaction = db.begin(options, limits()).await.unwrap();
    let (_, destination) = receiver(&fixture).await;
    assert_eq!(kind(transaction.outbox_publish(&destination, message("m")).await), ErrorKind::Denied);
    assert_eq!(count(&db).await, 2);
}

pub async fn cursor_pages_through(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    db.execute_many(ADD, (3..=25).map(person).collect(), limits()).await.unwrap();
    let mut cursor = db.query_paged("select id from people order by id", vec![], 10, limits()).await.unwrap();
    assert_eq!(cursor.columns()[0].name, "id");
    let (mut ids, mut sizes) = (Vec::new(), Vec::new());
    loop {
        let page = cursor.next().await.unwrap();
        sizes.push(page.rows.len());
        ids.extend(page.rows.into_iter().flatten());
        if page.done {
            break;
        }
        // Others write meanwhile; the cursor does not see it.
        db.execute("update people set id = id + 1000 where id = 25", vec![], limits()).await.unwrap();
    }
    assert_eq!(ids, (1..=25).map(int).collect::<Vec<_>>());
    assert_eq!(sizes[..2], [10, 10]);
    // Unfinished cursors give their connections back.
    for _ in 0..8 {
        let mut cursor = db.query_paged("select id from people order by id", vec![], 1, limits()).await.unwrap();
        assert!(!cursor.next().await.unwrap().done);
    }
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    let mut cursor = transaction.query_paged("select id from people order by id", vec![], 20).await.unwrap();
    assert_eq!(cursor.next().await.unwrap().rows.len(), 20);
    assert_eq!(cursor.next().await.unwrap().rows.len(), 5);
    assert_eq!(kind(db.query_paged(COUNT, vec![], 0, limits()).await), ErrorKind::InvalidInput);
}

pub async fn execute_many_is_atomic(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let lists = vec![person(3), person(4), person(1), person(5)];
    assert_eq!(kind(db.execute_many(ADD, lists.clone(), limits()).await), ErrorKind::Constraint(ConstraintKind::Unique));
    assert_eq!(count(&db).await, 2);
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    transaction.execute(ADD, person(9)).await.unwrap();
    assert_eq!(kind(transaction.execute_many(ADD, lists).await), ErrorKind::Constraint(ConstraintKind::Unique));
    assert_eq!(transaction.execute_many(ADD, vec![person(3), person(4)]).await.unwrap().rows_affected, 2);
    transaction.commit().await.unwrap();
    assert_eq!(db.execute_many(ADD, (5..=8).map(person).collect(), limits()).await.unwrap().rows_affected, 4);
    assert_eq!(count(&db).await, 9);
}

pub async fn transaction_commits(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    assert_eq!(transaction.execute(ADD, person(3)).await.unwrap().rows_affected, 1);
    let added = transaction.query("insert into people (id, name) values (4, 'Eve') returning name", vec![]).await.unwrap();
    assert_eq!(added.rows, [vec![text("Eve")]]);
    assert_eq!(number(&transaction.query(COUNT, vec![]).await.unwrap()), 4);
    assert_eq!(count(&db).await, 2);
    transaction.commit().await.unwrap();
    assert_eq!(count(&db).await, 4);
    assert_eq!(db.execute("delete from people where id > 2", vec![], limits()).await.unwrap().rows_affected, 2);
    assert_eq!(
        db.query("insert into people (id, name) values (4, 'Eve') returning id", vec![], limits()).await.unwrap().rows,
        [vec![int(4)]]
    );
}

pub async fn dropped_transaction_rolls_back(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    for round in 0..10 {
        let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
        transaction.execute("create table t (a bigint)", vec![]).await.unwrap();
        transaction.execute(ADD, person(3)).await.unwrap();
        if round % 2 == 0 {
            let endless = endless(db.dialect());
            let cut = tokio::time::timeout(Duration::from_millis(50), transaction.query(endless, vec![])).await;
            assert!(cut.is_err(), "a statement without end ended");
            assert_eq!(kind(transaction.execute(ADD, person(4)).await), ErrorKind::Closed, "a dropped call ends the transaction");
        }
        drop(transaction);
        assert_eq!(db.execute("update people set age = 1", vec![], limits()).await.unwrap().rows_affected, 2);
    }
    assert_eq!(kind(db.query("select * from t", vec![], limits()).await), ErrorKind::InvalidStatement);
}

pub async fn savepoint_returns(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    for (id, name) in [(3, "a"), (4, "b"), (5, "a"), (6, "c")] {
        transaction.savepoint(name).await.unwrap();
        transaction.execute(ADD, person(id)).await.unwrap();
    }
    let ids = "select count(*) from people where id > 2";
    transaction.rollback_to("a").await.unwrap();
    assert_eq!(number(&transaction.query(ids, vec![]).await.unwrap()), 2, "the newer of two with one name");
    assert_eq!(kind(transaction.rollback_to("c").await), ErrorKind::InvalidInput, "it was set after the one returned to");
    assert_eq!(kind(transaction.rollback_to("nowhere").await), ErrorKind::InvalidInput);
    assert_eq!(kind(transaction.savepoint("a; drop table people").await), ErrorKind::InvalidInput);
    transaction.rollback_to("b").await.unwrap();
    transaction.execute(ADD, person(7)).await.unwrap();
    transaction.rollback_to("b").await.unwrap();
    transaction.execute(ADD, person(8)).await.unwrap();
    transaction.commit().await.unwrap();
    let left = db.query("select id from people where id > 2 order by id", vec![], limits()).await.unwrap();
    assert_eq!(left.rows, [vec![int(3)], vec![int(8)]]);
}

pub async fn closed_transaction_answers_closed(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let (_, destination) = receiver(&fixture).await;
    for commit in [true, false] {
        let mut transaction = db.begin(TransactionOptions::default(), limits()).await.unwrap();
        if commit { transaction.commit().await } else { transaction.rollback().await }.unwrap();
        let answers = [
            transaction.query(COUNT, vec![]).await.map(drop),
            transaction.query_paged(COUNT, vec![], 1).await.map(drop),
            transaction.execute(ADD, person(3)).await.map(drop),
            transaction.execute_many(ADD, vec![person(3)]).await.map(drop),
            transaction.savepoint("a").await,
            transaction.rollback_to("a").await,
            transaction.outbox_publish(&destination, message("m")).await,
            transaction.outbox_audit(record("a.b")).await,
            transaction.commit().await,
            transaction.rollback().await,
        ];
        assert_eq!(answers.map(kind), [ErrorKind::Closed; 10]);
    }
    assert_eq!(count(&db).await, 2);
}

pub async fn transaction_times_out(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let options = TransactionOptions { timeout: Some(Duration::from_millis(150)), ..TransactionOptions::default() };
    let mut transaction = db.begin(options, limits()).await.unwrap();
    transaction.execute("update people set age = 2", vec![]).await.unwrap();
    // Its owner does nothing, and does not stand in the way of others for long.
    db.execute("update people set age = 3", vec![], limits()).await.unwrap();
    let late = kind(transaction.commit().await);
    assert!(matches!(late, ErrorKind::Closed | ErrorKind::Timeout), "{late:?}");
    assert_eq!(number(&db.query("select max(age) from people", vec![], limits()).await.unwrap()), 3);
    // Busy with a statement when its time is up.
    let mut transaction = db.begin(options, limits()).await.unwrap();
    let cut = kind(transaction.query(endless(db.dialect()), vec![]).await);
    assert!(matches!(cut, ErrorKind::Closed | ErrorKind::Timeout), "{cut:?}");
    let late = tokio::sync::Mutex::new(transaction);
    let closed = async || late.lock().await.query(COUNT, vec![]).await.is_err_and(|e| e.kind() == ErrorKind::Closed);
    eventually("closed", closed).await;
}

pub async fn conflict_is_typed(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    let mut winner = db.begin(TransactionOptions::default(), limits()).await.unwrap();
    winner.execute("update people set age = 4 where id = 1", vec![]).await.unwrap();
    let began = Instant::now();
    let loser = db.execute("update people set age = 5 where id = 1", vec![], hasty()).await;
    assert_eq!(kind(loser), ErrorKind::Conflict);
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(count(&db).await, 2, "readers are not in the way");
    winner.commit().await.unwrap();
    db.execute("update people set age = age + 1 where id = 1", vec![], limits()).await.unwrap();
    assert_eq!(number(&db.query("select age from people where id = 1", vec![], limits()).await.unwrap()), 5);
}

pub async fn databases_are_apart(fixture: impl DatabaseFixture) {
    let db = people(&fixture).await;
    for name in ["shared/other", "private/people", "shared/People"] {
        let other = open(&fixture, name, Access::ReadWrite).await;
        assert_eq!(kind(other.query(COUNT, vec![], limits()).await), ErrorKind::InvalidStatement, "{name}");
        other.execute("create table people (id bigint)", vec![], limits()).await.unwrap();
    }
    assert_eq!(count(&db).await, 2);
    assert_eq!(count(&open(&fixture, "shared/people", Access::ReadOnly).await).await, 2);
}
