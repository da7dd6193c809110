//! Sealing, opening and erasing.

use super::{
    KEY_BYTES, Key, PersonKeeper, PersonKey,
    cipher::{SIGN, hex},
    folder::Condemned,
    present,
    store::PersonRow,
};
use async_trait::async_trait;
use plinth_capability::{
    Error, ErrorKind, Result,
    audit::{AuditRecord, Receipt, Subject},
    persons::{ERASED, FIELD_NAME_MAX, FIELDS_MAX, PERSON_MAX, Personal, Persons},
};
use std::{collections::BTreeSet, sync::Arc};

/// Random bytes that tell a person's keys apart.
const KEY_ID_BYTES: usize = 8;
/// To get a key while others erase the same person.
const ATTEMPTS: usize = 3;
const USER: &str = "user:";

#[async_trait]
impl Persons for PersonKeeper {
    async fn seal(&self, mut record: AuditRecord) -> Result<AuditRecord> {
        if let Some(name) = self.pseudonymous(&record.actor) {
            record.actor = name;
        }
        let Some(personal) = record.entry.personal.take() else { return Ok(record) };
        check(&personal)?;
        let person = self.key_of(&self.pepper.pseudonym(&personal.person)).await?;
        let seal = |(name, value): &(String, String)| person.key.seal_field(&person.kid, &record.id, name, value);
        record.entry.sealed = personal.fields.iter().map(seal).collect::<Result<_>>()?;
        Ok(record)
    }

    async fn open(&self, record: &AuditRecord) -> Result<Vec<(String, String)>> {
        let mut known: Option<PersonKey> = None;
        let mut fields = Vec::new();
        for sealed in &record.entry.sealed {
            let person = match known.take().filter(|known| known.kid == sealed.kid) {
                Some(person) => person,
                None => self.named(&sealed.kid).await?,
            };
            fields.push((sealed.f.clone(), person.key.open_field(&record.id, sealed)?));
            known = Some(person);
        }
        Ok(fields)
    }

    async fn erase(&self, person: &str, by: AuditRecord) -> Result<Option<Receipt>> {
        let pseudonym = self.pepper.pseudonym(person);
        let Some(row) = self.store.person(&pseudonym).await? else { return Ok(None) };
        // From here on nobody uses the key, whatever happens next; whoever repeats this goes on under the same record.
        let key = row.key.clone();
        let known = self.store.known().await?;
        let condemned = self.folder.off(move |folder| {
            let generation = present(&known, &folder.generations()?)?;
            folder.condemn(&key, &Condemned { generation, record: by_now() })
        });
        let condemned = condemned.await?;
        self.keys.invalidate(&pseudonym).await;
        let mut record = self.seal(by).await?;
        record.id = condemned.record;
        record.entry.action = ERASED.to_owned();
        record.entry.subject = Subject { kind: "person".to_owned(), id: pseudonym.clone() };
        let receipt = self.log.append(vec![record]).await?.pop();
        self.store.remove(&pseudonym, &row.key).await?;
        receipt.map(Some).ok_or_else(|| Error::new(ErrorKind::Internal, "audit.erase", "the log gave no receipt"))
    }

    fn pseudonymous(&self, actor: &str) -> Option<String> {
        let id = actor.strip_prefix(USER).filter(|id| self.config.pseudonymous_actors && !id.is_empty() && !id.starts_with(SIGN))?;
        Some(format!("{USER}{}", self.pepper.pseudonym(id)))
    }

    async fn health(&self) -> Result<()> {
        match self.failing.lock().ok().and_then(|failing| failing.clone()) {
            Some((kind, why)) => Err(Error::new(kind, "audit.persons", why)),
            None => Ok(()),
        }
    }
}

/// An id for the record of an erasure.
fn by_now() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn check(personal: &Personal) -> Result<()> {
    let Personal { person, fields } = personal;
    let refuse = |kind, why: String| Err(Error::new(kind, "audit.append", why));
    if person.is_empty() || person.len() > PERSON_MAX {
        return refuse(ErrorKind::InvalidInput, format!("a person's id has 1 to {PERSON_MAX} bytes"));
    }
    if fields.len() > FIELDS_MAX {
        return refuse(ErrorKind::LimitExceeded, format!("a record has at most {FIELDS_MAX} personal fields"));
    }
    if fields.iter().any(|(name, _)| name.len() > FIELD_NAME_MAX) {
        return refuse(ErrorKind::LimitExceeded, format!("the name of a personal field has at most {FIELD_NAME_MAX} bytes"));
    }
    let names: BTreeSet<_> = fields.iter().map(|(name, _)| name).collect();
    if fields.is_empty() || names.len() < fields.len() || names.iter().any(|name| name.is_empty()) {
        return refuse(ErrorKind::InvalidInput, "personal fields have names, each its own, and there is one at least".to_owned());
    }
    Ok(())
}

impl PersonKeeper {
    /// To seal with: the key the person has, or gets now.
    async fn key_of(&self, pseudonym: &str) -> Result<Arc<PersonKey>> {
        if let Some(known) = self.keys.get(pseudonym).await {
            return Ok(known);
        }
        for _ in 0..ATTEMPTS {
            let row = match self.store.person(pseudonym).await? {
                Some(row) => row,
                None => match self.store.add(self.fresh(pseudonym).await?).await {
                    Err(error) if error.kind() == ErrorKind::Conflict => continue,
                    added => added?,
                },
            };
            match self.unwrap(&row).await {
                Ok(person) => {
                    let person = Arc::new(person);
                    self.keys.insert(pseudonym.to_owned(), person.clone()).await;
                    return Ok(person);
                }
                // A backup brought back what was destroyed: it stays closed, and the person gets another.
                Err(error) if error.kind() == ErrorKind::NotFound => self.store.remove(pseudonym, &row.key).await?,
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "audit.append", "the person is being erased"))
    }

    /// To open with: exactly this key, if it still is one.
    async fn named(&self, kid: &str) -> Result<PersonKey> {
        let unknown = || Error::new(ErrorKind::Unverified, "audit.open", "the sealed field names no key");
        let (pseudonym, key) = kid.split_once('.').ok_or_else(unknown)?;
        match self.store.person(pseudonym).await? {
            Some(row) if row.key == key => self.unwrap(&row).await,
            _ => Err(destroyed()),
        }
    }

    /// A key for a person who has none.
    pub(super) async fn fresh(&self, pseudonym: &str) -> Result<PersonRow> {
        let (known, pseudonym) = (self.store.known().await?, pseudonym.to_owned());
        let wrap = self.folder.off(move |folder| {
            let generation = present(&known, &folder.generations()?)?;
            let wrapping = folder.generation(generation)?.ok_or_else(lost)?;
            let key = hex(&rand::random::<[u8; KEY_ID_BYTES]>());
            let wrapped = Key::new(&wrapping.key)?.wrap([&pseudonym, &key], generation, &rand::random::<[u8; KEY_BYTES]>())?;
            Ok(PersonRow { pseudonym, key, generation, wrapped })
        });
        wrap.await
    }

    /// `NotFound` if it was destroyed, one way or the other.
    async fn unwrap(&self, row: &PersonRow) -> Result<PersonKey> {
        let PersonRow { pseudonym, key, generation, wrapped } = row.clone();
        let unwrap = self.folder.off(move |folder| {
            if folder.condemned(&key)?.is_some() {
                return Err(destroyed());
            }
            let Some(wrapping) = folder.generation(generation)? else {
                return Err(if folder.left(generation)?.is_some() { destroyed() } else { lost() });
            };
            let secret = Key::new(&wrapping.key)?.unwrap([&pseudonym, &key], generation, &wrapped)?;
            Ok(PersonKey { kid: format!("{pseudonym}.{key}"), key: Key::new(&secret)? })
        });
        unwrap.await
    }
}

pub(super) fn destroyed() -> Error {
    Error::new(ErrorKind::NotFound, "audit.open", "the person's key was destroyed")
}

/// Neither there nor destroyed: what is under it is closed until somebody brings it back.
pub(super) fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "audit.persons", "a key is missing in the folder of persons' keys, which nobody destroyed")
}
