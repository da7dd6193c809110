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
    assert_eq!(
        verb(" ;; -- hello\n /* you ; /* nested */ ; */ SELECT ';' AS \"a;b\", E'it\\'s;', $$a;b$$, $x$;$$;$x$ FROM t; -- done"),
        Verb::Read
    );
    assert_eq!(verb("values (1), ('it''s; fine')"), Verb::Read);
    assert_eq!(verb("table people"), Verb::Read);
    assert_eq!(verb("select $1::text, cast($2 as jsonb) ? 'a', '{1}'::int[] @> array[$3]"), Verb::Read);
    assert_eq!(verb("with a as (select 1) select * from a"), Verb::Read);
    assert_eq!(verb("with a as (select 1) insert into t select * from a"), Verb::Change);
    assert_eq!(verb("with gone as (delete from t returning *) select * from gone"), Verb::Change);
    assert_eq!(verb("merge into t using u on t.a = u.a when matched then delete"), Verb::Change);
    assert_eq!(verb("explain select 1"), Verb::Read);
    assert_eq!(verb("explain (analyze, format json) delete from t"), Verb::Change);
    assert_eq!(verb("explain analyze verbose select 1"), Verb::Read);
    assert_eq!(verb("create unique index i on t(a)"), Verb::Schema);
    assert_eq!(verb("create or replace view v as select 1"), Verb::Schema);
    assert_eq!(verb("create type mood as enum ('sad', 'ok')"), Verb::Schema);
    assert_eq!(verb("alter table t add column c int"), Verb::Schema);
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
        "select $a$;$a$; drop table t",
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
        "start transaction",
        "/* x */ commit",
        "/* /* */ select */ commit",
        "-- x\nrollback",
        "-- x\rrollback",
        "; savepoint a",
        "set role postgres",
        "SET SESSION AUTHORIZATION postgres",
        "reset all",
        "show all",
        "listen x",
        "copy t to program 'sh'",
        "do $$begin end$$",
        "call p()",
        "lock table t",
        "grant all on t to public",
        "explain execute x",
        "prepare x as select 1",
        "create temp table t(a int)",
        "create /**/ TEMPORARY view v as select 1",
        "select set_config('role', 'postgres', false)",
        "select pg_catalog.\"set_config\"('role', 'postgres', false)",
        "select Pg_Advisory_Lock(1)",
        "select pg_try_advisory_xact_lock_shared(1)",
        "select query_to_xml('select 1', true, false, '')",
        "select pg_notify('a', 'b')",
        "select lo_import('/etc/passwd')",
        "select pg_read_file('/etc/passwd')",
        "create view v as select pg_terminate_backend(1)",
        "select * from _Plinth_door.put('', '', '', '', '', 0, 0)",
        "select * from \"_plinth_outbox\"",
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
        "select",
        "select ;",
        "(select 1)",
        "'select'",
        "\"select\" 1",
        "explain",
        "explain explain select 1",
        "create schema s",
        "create function f() returns int language sql as 'select 1'",
        "create trigger t after insert on a execute function f()",
        "create extension dblink",
        "alter role postgres superuser",
        "drop database x",
        "select $a",
        "select $0",
        "select $01",
        "select $1a",
        "select $99999999999999999999",
        "select 'open",
        "select $a$ open $$",
        "select /* open /* */",
        "select U&\"set\\005fconfig\"('a', 'b', false)",
        "select u&'\\0041'",
        "select E'a' '\\'; drop table t --'",
        "select E'a' -- x\n '\\'; drop table t --'",
        "select 1\0; drop table t",
        "\u{feff}select 1",
    ];
    for text in bad {
        assert_eq!(kind(text), ErrorKind::InvalidStatement, "{text}");
    }
}

#[test]
fn placeholders_are_counted_by_their_highest_number() {
    let statement = Statement::check("select $2, $1, $2, '$9', \"$8\", $$ $6 $$ -- $7").unwrap();
    assert!(statement.check_params(&[Value::Null, Value::Null]).is_ok());
    for count in [0, 1, 3] {
        let error = statement.check_params(&vec![Value::Null; count]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(kind("select $1001"), ErrorKind::LimitExceeded);
    assert_eq!(kind(&format!("select '{}'", "x".repeat(STATEMENT_MAX))), ErrorKind::LimitExceeded);
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        drop(Statement::check(&text));
    }
}
