//! The rules, as a function of the change and the edition alone.

use serde::Deserialize;

/// The amount version 2 holds above, unless configured.
pub const HOLD_ABOVE: i64 = 100_000;
const AGE_MIN: i64 = 18;

/// The question: which application is to go from where to where.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Change {
    pub number: String,
    pub from: String,
    pub to: String,
    #[serde(default)]
    pub applicant_age: Option<i64>,
    #[serde(default)]
    pub documents: Documents,
    #[serde(default)]
    pub amount: Option<i64>,
}

/// Documents as a list of their names or as their number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Documents {
    Count(u64),
    Names(Vec<String>),
}

impl Default for Documents {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl Documents {
    fn count(&self) -> u64 {
        match self {
            Self::Count(count) => *count,
            Self::Names(names) => names.len() as u64,
        }
    }
}

impl Change {
    /// An approval that is sound but for its documents.
    pub fn approval(documents: u64) -> Self {
        Self {
            number: "A-2026-000001".to_owned(),
            from: "in-review".to_owned(),
            to: "approved".to_owned(),
            applicant_age: Some(30),
            documents: Documents::Count(documents),
            amount: None,
        }
    }
}

/// Which rules hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edition {
    V1,
    V2 { hold_above: i64 },
}

impl Edition {
    pub fn version(&self) -> &'static str {
        match self {
            Self::V1 => "1.0.0",
            Self::V2 { .. } => "2.0.0",
        }
    }

    fn documents_needed(&self) -> u64 {
        match self {
            Self::V1 => 1,
            Self::V2 { .. } => 2,
        }
    }

    fn hold_above(&self) -> Option<i64> {
        match self {
            Self::V1 => None,
            Self::V2 { hold_above } => Some(*hold_above),
        }
    }
}

/// What the rules say; a refusal names the version of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    Abstain,
    Allow,
    Hold { code: &'static str, message: String, rules: &'static str },
    Deny { code: &'static str, message: String, rules: &'static str },
}

/// Only approvals are ruled on; the first rule that is broken decides.
pub fn decide(change: &Change, edition: &Edition) -> Ruling {
    if change.to != "approved" {
        return Ruling::Abstain;
    }
    let rules = edition.version();
    if let Some(age) = change.applicant_age.filter(|age| *age < AGE_MIN) {
        return Ruling::Deny { code: "applicant-under-age", message: format!("the applicant is {age}, {AGE_MIN} is required"), rules };
    }
    let (given, needed) = (change.documents.count(), edition.documents_needed());
    if given < needed {
        return Ruling::Deny { code: "documents-missing", message: format!("{needed} documents are required, {given} given"), rules };
    }
    match (change.amount, edition.hold_above()) {
        (Some(amount), Some(limit)) if amount > limit => {
            Ruling::Hold { code: "amount-above-limit", message: format!("amounts above {limit} are for a person to decide"), rules }
        }
        _ => Ruling::Allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: Edition = Edition::V2 { hold_above: 1_000 };

    fn code(ruling: &Ruling) -> &str {
        match ruling {
            Ruling::Abstain => "abstain",
            Ruling::Allow => "allow",
            Ruling::Hold { code, .. } | Ruling::Deny { code, .. } => code,
        }
    }

    #[test]
    fn the_editions_differ_in_documents() {
        let answers = |edition| [0, 1, 2].map(|n| code(&decide(&Change::approval(n), edition)).to_owned());
        assert_eq!(answers(&Edition::V1), ["documents-missing", "allow", "allow"]);
        assert_eq!(answers(&V2), ["documents-missing", "documents-missing", "allow"]);
    }

    #[test]
    fn only_the_second_holds_large_amounts() {
        let amount = |amount| Change { amount: Some(amount), ..Change::approval(2) };
        assert_eq!(code(&decide(&amount(1_001), &Edition::V1)), "allow");
        assert_eq!(code(&decide(&amount(1_001), &V2)), "amount-above-limit");
        assert_eq!(code(&decide(&amount(1_000), &V2)), "allow");
    }

    #[test]
    fn minors_are_refused_before_anything_else() {
        let minor = Change { applicant_age: Some(17), ..Change::approval(0) };
        for edition in [Edition::V1, V2] {
            let Ruling::Deny { code, rules, .. } = decide(&minor, &edition) else { panic!("not denied") };
            assert_eq!((code, rules), ("applicant-under-age", edition.version()));
        }
    }

    #[test]
    fn other_changes_are_not_their_business() {
        let reject = Change { to: "rejected".into(), ..Change::approval(0) };
        assert_eq!(decide(&reject, &V2), Ruling::Abstain);
    }

    #[test]
    fn documents_may_be_names_or_a_number() {
        let parse = |json: &str| serde_json::from_str::<Change>(json).unwrap().documents.count();
        assert_eq!(parse(r#"{"number":"A","from":"in-review","to":"approved","documents":["id","contract"]}"#), 2);
        assert_eq!(parse(r#"{"number":"A","from":"in-review","to":"approved","documents":3,"extra":true}"#), 3);
        assert_eq!(parse(r#"{"number":"A","from":"in-review","to":"approved"}"#), 0);
    }
}
