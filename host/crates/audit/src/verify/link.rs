//! The first record of an epoch after the first: where the one before ended.

use crate::{hash::Hash, text};
use serde::Deserialize;

/// The action of that record.
pub const EPOCH_OPENED: &str = "audit.epoch.opened";

/// What the record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Why there is a new epoch: `behind` or `rewritten`.
    pub reason: String,
    /// The checkpoint that the log no longer bore out, as a signed note.
    pub signed_checkpoint: String,
    /// Its origin.
    pub signed_origin: String,
    /// Its size.
    pub signed_size: u64,
    /// The origin of the epoch before.
    pub stored_origin: String,
    /// Records that were left in it.
    pub stored_size: u64,
    /// The root over those.
    pub stored_root: Hash,
    /// Records that had been signed for and were gone, where that is known.
    pub missing: Option<u64>,
}

#[derive(Deserialize)]
struct Form {
    entry: Entry,
}

#[derive(Deserialize)]
struct Entry {
    action: String,
    subject: Subject,
    attributes: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Subject {
    kind: String,
    id: String,
}

impl Link {
    /// Reads the first record of the epoch with this origin. A record is at most
    /// [`crate::canonical::RECORD_MAX`] bytes.
    ///
    /// # Errors
    /// What the record is instead, in words.
    pub fn read(record: &[u8], origin: &str) -> Result<Self, String> {
        if record.len() > crate::canonical::RECORD_MAX {
            return Err("a record that is too long".to_owned());
        }
        let form: Form = serde_json::from_slice(record).map_err(|error| error.to_string())?;
        let Entry { action, subject, attributes } = form.entry;
        if action != EPOCH_OPENED {
            return Err(format!("a record of {action}"));
        }
        if subject.kind != "audit-log" || subject.id != origin {
            return Err(format!("the begin of {}", subject.id));
        }
        let value = |name: &str| {
            let mut values = attributes.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone());
            match (values.next(), values.next()) {
                (Some(value), None) => Ok(value),
                _ => Err(format!("not one {name}")),
            }
        };
        let number = |name: &str| text::decimal(&value(name)?).ok_or_else(|| format!("no number as {name}"));
        Ok(Self {
            reason: value("reason")?,
            signed_checkpoint: value("signed-checkpoint")?,
            signed_origin: value("signed-origin")?,
            signed_size: number("signed-size")?,
            stored_origin: value("stored-origin")?,
            stored_size: number("stored-size")?,
            stored_root: Hash::from_base64(&value("stored-root")?).ok_or("no hash as stored-root")?,
            missing: text::decimal(&value("missing")?),
        })
    }
}
