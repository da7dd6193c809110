//! The gate against statements people write and statements people try.

use super::*;
use proptest::prelude::*;

fn verb(text: &str) -> Verb {
    Statement::check(text).unwrap_or_else(|e| panic!("{text}: {e}")).verb()
}

fn kind(text: &str) -> ErrorKind {
    match Statement::check(text) {
        Ok(statement) => panic!("{text} passed as {statement:?}"),
        Err(error) => error.kind(),
    }
}

#[test]
fn everyday_statements_pass_as_what_they_do() {
    assert_eq!(verb("select 1"), Verb::Read);
    assert_eq!(verb(" ;; -- hello\n /* you ; */ SELECT ';' AS \"a;b\", [c;d], `e;f` FROM t; -- done"), Verb::Read);
    assert_eq!(verb("values (1), ('it''s; fine')"), Verb::Read);
    assert_eq!(verb("with a as (insert_me), b(x) as (select 1) select * from b"), Verb::Read);
    assert_eq!(verb("with a as (select 1) insert into t select * from a"), Verb::Insert);
    assert_eq!(verb("WITH a AS (select 1) DELETE FROM t"), Verb::Change);
    assert_eq!(verb("explain query plan delete from t"), Verb::Read);
    assert_eq!(verb("replace into t values ($1)"), Verb::Insert);
    assert_eq!(verb("create unique index i on t(a)"), Verb::Schema);
    assert_eq!(verb("alter table t add column c"), Verb::Schema);
    assert_eq!(verb("create trigger g after insert on t begin select case when 1 then 2 end; delete from u; end;"), Verb::Schema);
    assert_eq!(verb("create trigger g after insert on t begin delete from u; end"), Verb::Schema);
    assert_eq!(verb("select a$1 from t"), Verb::Read);
}

#[test]
fn a_second_statement_is_refused() {
    let tricks = [
        "select 1; select 2",
        "select 1;;drop table t",
        "select '--'; drop table t",
        "select /* ; */ 1; /**/ delete from t",
        "select 'a\\'; drop table t --'",
        "create trigger g after insert on t begin delete from u; end; drop table t",
        "create trigger g after insert on t begin delete from u; end; drop table t; end;",
        "explain select 1; select 2",
    ];
    for text in tricks {
        assert_eq!(kind(text), ErrorKind::InvalidStatement, "{text}");
    }
}

#[test]
fn control_is_denied_in_any_spelling() {
    let tricks = [
        "BeGiN",
        "/* x */ commit",
        "-- x\nrollback",
        "; savepoint a",
        "explain pragma user_version",
        "EXPLAIN QUERY PLAN VACUUM",
        "attach 'x' as y",
        "\u{c}detach y",
        "pragma table_info(t)",
        "create temp table t(a)",
        "create /**/ TEMPORARY view v as select 1",
        "create virtual table f using fts5(x)",
        "select * from _Plinth_outbox",
        "select * from \"_plinth_outbox\"",
        "create view v as select * from main._PLINTH_outbox",
    ];
    for text in tricks {
        assert_eq!(kind(text), ErrorKind::Denied, "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_invalid() {
    let bad = [
        "",
        " ; -- nothing\n",
        "selekt 1",
        "(select 1)",
        "'select'",
        "explain",
        "explain explain select 1",
        "create schema s",
        "select ?",
        "select ?1",
        "select :a",
        "select @a",
        "select $a",
        "select $0",
        "select $01",
        "select $1a",
        "select $1::text",
        "select $1(2)",
        "select $99999999999999999999",
        "select 'open",
        "select /* open",
        "select 1\0; drop table t",
        "select 1 -- \0",
        "\u{feff}select 1",
    ];
    for text in bad {
        assert_eq!(kind(text), ErrorKind::InvalidStatement, "{text}");
    }
}

#[test]
fn placeholders_are_counted_by_their_highest_number() {
    let statement = Statement::check("select $2, $1, $2, '$9', \"$8\" -- $7").unwrap();
    assert!(statement.check_params(&[Value::Null, Value::Null]).is_ok());
    for count in [0, 1, 3] {
        let error = statement.check_params(&vec![Value::Null; count]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(kind("select $1001"), ErrorKind::LimitExceeded);
    assert_eq!(kind(&format!("select '{}'", "x".repeat(STATEMENT_MAX))), ErrorKind::LimitExceeded);
}

/// Pieces that a cunning text is made of.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "select 1",
        "drop table t",
        "begin",
        "end",
        ";",
        "'",
        "''",
        "\"",
        "`",
        "[",
        "]",
        "--",
        "\n",
        "/*",
        "*/",
        " ",
        "$1",
        "$",
        "(",
        ")",
        "create trigger g after insert on t begin",
        "delete from t",
        "explain ",
        "with a as",
        "x'41'",
        "é",
        "\0",
        "1",
        "_",
        ":",
        "/",
        "-",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|list| list.concat())
}

proptest! {
    /// Whatever passes, SQLite itself reads as exactly one statement, if as any.
    #[test]
    fn sqlite_sees_one_statement_in_what_passes(text in pieces()) {
        if Statement::check(&text).is_ok() {
            prop_assert!(super::super::guard::statements_in(&text) <= 1, "{text:?}");
        }
    }

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        drop(Statement::check(&text));
    }
}
