//! The suite of persons in the audit log: one case per bullet of the contract of [`Persons`].
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a case fails by panicking")]

use super::audit::record;
use crate::{
    ErrorKind,
    audit::{AuditLog, AuditRecord},
    persons::{ERASED, FIELD_NAME_MAX, FIELDS_MAX, PERSON_MAX, Personal, Persons},
};
use async_trait::async_trait;
use std::sync::Arc;

/// Persons over a log, alone in their storage, that can lose their process.
#[async_trait]
pub trait PersonsFixture: Send + Sync {
    fn persons(&self) -> Arc<dyn Persons>;
    /// What erasures are recorded in.
    fn log(&self) -> Arc<dyn AuditLog>;
    /// As if the process was killed now and started again over what it had stored.
    async fn reopen(&mut self);
}

/// Makes the tests of one backend: `$make` is an async expression that yields a [`PersonsFixture`].
#[macro_export]
macro_rules! persons_conformance {
    ($make:expr) => {
        $crate::conformance_cases! {
            $crate::conformance::persons, $make;
            sealed_says_nothing,
            opened_is_what_was_sealed,
            sealed_belongs_to_its_record,
            sealing_again_changes_nothing,
            actors_are_pseudonymous,
            limits_are_kept,
            erased_stays_closed,
            erasing_is_recorded_once,
            a_new_key_after_erasure,
        }
    };
}

const PERSON: &str = "person-4711";

fn fields() -> Vec<(String, String)> {
    [("phone", "+86 10 5550 0117"), ("address", "somewhere 身份"), ("empty", "")].map(|(n, v)| (n.to_owned(), v.to_owned())).into()
}

fn about(person: &str, fields: Vec<(String, String)>) -> AuditRecord {
    let mut record = record("person.add");
    record.actor = format!("user:{person}");
    record.entry.personal = Some(Personal { person: person.to_owned(), fields });
    record
}

pub async fn sealed_says_nothing(fixture: impl PersonsFixture) {
    let sealed = fixture.persons().seal(about(PERSON, fields())).await.unwrap();
    assert_eq!(sealed.entry.personal, None);
    let names: Vec<_> = sealed.entry.sealed.iter().map(|sealed| sealed.f.as_str()).collect();
    assert_eq!(names, ["phone", "address", "empty"]);
    let text = format!("{sealed:?}");
    assert!(["4711", "5550", "somewhere"].iter().all(|clear| !text.contains(clear)), "{text}");
    let again = fixture.persons().seal(about(PERSON, fields())).await.unwrap();
    assert_ne!(again.entry.sealed[0].ct, sealed.entry.sealed[0].ct, "equal values do not look equal");
}

pub async fn opened_is_what_was_sealed(mut fixture: impl PersonsFixture) {
    let mut others = tokio::task::JoinSet::new();
    for number in 0..8 {
        let persons = fixture.persons();
        // Four persons, each for the first time from two tasks at once.
        others.spawn(async move { persons.seal(about(&format!("p{}", number % 4), fields())).await.unwrap() });
    }
    let mut all = others.join_all().await;
    all.push(fixture.persons().seal(about(PERSON, fields())).await.unwrap());
    for _ in 0..2 {
        for sealed in &all {
            assert_eq!(fixture.persons().open(sealed).await.unwrap(), fields());
        }
        fixture.reopen().await;
    }
    assert_eq!(fixture.persons().open(&record("a.b")).await.unwrap(), []);
}

pub async fn sealed_belongs_to_its_record(fixture: impl PersonsFixture) {
    let persons = fixture.persons();
    let (one, other) = (persons.seal(about(PERSON, fields())).await.unwrap(), persons.seal(about("other", fields())).await.unwrap());
    let mut moved = one.clone();
    moved.id = other.id.clone();
    let mut renamed = one.clone();
    renamed.entry.sealed[0].f = "address".to_owned();
    let mut spoilt = one.clone();
    spoilt.entry.sealed[0].ct.replace_range(0..1, if one.entry.sealed[0].ct.starts_with('A') { "B" } else { "A" });
    let mut cut = one.clone();
    cut.entry.sealed[0].ct.truncate(8);
    for wrong in [moved, renamed, spoilt, cut] {
        assert_eq!(persons.open(&wrong).await.unwrap_err().kind(), ErrorKind::Unverified, "{wrong:?}");
    }
}

pub async fn sealing_again_changes_nothing(fixture: impl PersonsFixture) {
    let persons = fixture.persons();
    let sealed = persons.seal(about(PERSON, fields())).await.unwrap();
    assert_eq!(persons.seal(sealed.clone()).await.unwrap(), sealed);
}

pub async fn actors_are_pseudonymous(mut fixture: impl PersonsFixture) {
    let name = fixture.persons().pseudonymous("user:4711").unwrap();
    assert!(name.starts_with("user:~") && !name.contains("4711"), "{name}");
    let mut clear = record("a.b");
    clear.actor = "user:4711".to_owned();
    assert_eq!(fixture.persons().seal(clear).await.unwrap().actor, name);
    fixture.reopen().await;
    let persons = fixture.persons();
    assert_eq!(persons.pseudonymous("user:4711").unwrap(), name);
    assert_ne!(persons.pseudonymous("user:4712").unwrap(), name);
    for other in [name.as_str(), "system", "key:ops", "plugin:p", "anonymous", "user:"] {
        assert_eq!(persons.pseudonymous(other), None, "{other}");
    }
}

pub async fn limits_are_kept(fixture: impl PersonsFixture) {
    let numbered = |count: usize| (0..count).map(|number| (number.to_string(), String::new())).collect::<Vec<_>>();
    let named = |name: &str| vec![(name.to_owned(), "v".to_owned())];
    let twice = [named("a"), named("a")].concat();
    for (person, fields, expected) in [
        ("p".to_owned(), numbered(FIELDS_MAX), None),
        ("p".to_owned(), numbered(FIELDS_MAX + 1), Some(ErrorKind::LimitExceeded)),
        ("p".to_owned(), named(&"n".repeat(FIELD_NAME_MAX)), None),
        ("p".to_owned(), named(&"n".repeat(FIELD_NAME_MAX + 1)), Some(ErrorKind::LimitExceeded)),
        ("p".repeat(PERSON_MAX), named("a"), None),
        ("p".repeat(PERSON_MAX + 1), named("a"), Some(ErrorKind::InvalidInput)),
        (String::new(), named("a"), Some(ErrorKind::InvalidInput)),
        ("p".to_owned(), Vec::new(), Some(ErrorKind::InvalidInput)),
        ("p".to_owned(), twice, Some(ErrorKind::InvalidInput)),
        ("p".to_owned(), named(""), Some(ErrorKind::InvalidInput)),
    ] {
        let what = format!("{} bytes, {} fields", person.len(), fields.len());
        assert_eq!(fixture.persons().seal(about(&person, fields)).await.err().map(|e| e.kind()), expected, "{what}");
    }
}

pub async fn erased_stays_closed(mut fixture: impl PersonsFixture) {
    let persons = fixture.persons();
    let sealed = persons.seal(about(PERSON, fields())).await.unwrap();
    let other = persons.seal(about("other", fields())).await.unwrap();
    persons.erase(PERSON, record("a.b")).await.unwrap().unwrap();
    drop(persons);
    for _ in 0..2 {
        let persons = fixture.persons();
        assert_eq!(persons.open(&sealed).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(persons.open(&other).await.unwrap(), fields(), "nobody else is touched");
        fixture.reopen().await;
    }
}

pub async fn erasing_is_recorded_once(mut fixture: impl PersonsFixture) {
    let persons = fixture.persons();
    let sealed = persons.seal(about(PERSON, fields())).await.unwrap();
    let receipt = persons.erase(PERSON, record("a.b")).await.unwrap().unwrap();
    let stored = fixture.log().record(&receipt.id).await.unwrap().unwrap().record;
    let pseudonym = sealed.entry.sealed[0].kid.split('.').next().unwrap();
    assert_eq!((stored.entry.action.as_str(), stored.entry.subject.id.as_str()), (ERASED, pseudonym));
    assert!(!format!("{stored:?}").contains(PERSON));
    assert!(persons.erase(PERSON, record("a.b")).await.unwrap().is_none());
    assert!(persons.erase("nobody", record("a.b")).await.unwrap().is_none());
    drop(persons);
    fixture.reopen().await;
    assert!(fixture.persons().erase(PERSON, record("a.b")).await.unwrap().is_none());
    assert_eq!(fixture.log().count().await.unwrap(), 1);
}

pub async fn a_new_key_after_erasure(fixture: impl PersonsFixture) {
    let persons = fixture.persons();
    let before = persons.seal(about(PERSON, fields())).await.unwrap();
    persons.erase(PERSON, record("a.b")).await.unwrap().unwrap();
    let after = persons.seal(about(PERSON, fields())).await.unwrap();
    assert_eq!(persons.open(&after).await.unwrap(), fields());
    assert_eq!(persons.open(&before).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(after.actor, before.actor, "the same pseudonym");
    assert!(persons.erase(PERSON, record("a.b")).await.unwrap().is_some(), "and the new key can be destroyed, too");
    assert_eq!(persons.open(&after).await.unwrap_err().kind(), ErrorKind::NotFound);
}
