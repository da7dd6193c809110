//! The business rules of applications, as functions of their arguments alone.

mod person;
mod time;

pub use person::{mask_mobile, mask_name, mask_resident_id, valid_mobile, valid_name, valid_resident_id};
use serde::{Deserialize, Serialize};
pub use time::{rfc3339, year_of};

/// Where an application stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Draft,
    Submitted,
    InReview,
    Approved,
    Rejected,
    Withdrawn,
}

impl Status {
    pub const ALL: [Self; 6] = [Self::Draft, Self::Submitted, Self::InReview, Self::Approved, Self::Rejected, Self::Withdrawn];

    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Submitted => "submitted",
            Self::InReview => "in-review",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == text)
    }
}

/// What may be asked of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    Submit,
    Review,
    Approve,
    Reject,
    Withdraw,
}

impl Command {
    pub const ALL: [Self; 5] = [Self::Submit, Self::Review, Self::Approve, Self::Reject, Self::Withdraw];

    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Review => "review",
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Withdraw => "withdraw",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.name() == text)
    }
}

/// The status a command leads to, or `None` where it is not allowed.
pub fn next(from: Status, command: Command) -> Option<Status> {
    match (from, command) {
        (Status::Draft, Command::Submit) => Some(Status::Submitted),
        (Status::Submitted, Command::Review) => Some(Status::InReview),
        (Status::InReview, Command::Approve) => Some(Status::Approved),
        (Status::InReview, Command::Reject) => Some(Status::Rejected),
        (Status::Draft | Status::Submitted | Status::InReview, Command::Withdraw) => Some(Status::Withdrawn),
        _ => None,
    }
}

/// `A-2026-000123`.
pub fn number(year: i64, sequence: i64) -> String {
    format!("A-{year:04}-{sequence:06}")
}

/// Whether a text is an application number: `A-`, four digits, `-`, six digits.
pub fn valid_number(text: &str) -> bool {
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = text.split('-');
    parts.next() == Some("A")
        && parts.next().is_some_and(|year| digits(year, 4))
        && parts.next().is_some_and(|sequence| digits(sequence, 6))
        && parts.next().is_none()
}

/// A person, as sent by the client and as sealed in the database.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Applicant {
    pub name: String,
    pub id_number: String,
    pub mobile: String,
}

impl Applicant {
    /// What is wrong, field by field, without repeating the values.
    pub fn problems(&self) -> Vec<&'static str> {
        let checks = [
            (valid_name(&self.name), "applicant.name is not a Chinese name of 2 to 20 characters"),
            (valid_resident_id(&self.id_number), "applicant.id_number is not a valid resident identity number"),
            (valid_mobile(&self.mobile), "applicant.mobile is not a mainland mobile number"),
        ];
        checks.into_iter().filter(|(good, _)| !good).map(|(_, problem)| problem).collect()
    }

    /// The form that may leave the plugin.
    pub fn masked(&self) -> Self {
        Self { name: mask_name(&self.name), id_number: mask_resident_id(&self.id_number), mobile: mask_mobile(&self.mobile) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_drawn_arrows_exist() {
        let mut arrows = Vec::new();
        for from in Status::ALL {
            for command in Command::ALL {
                arrows.extend(next(from, command).map(|to| format!("{} -{}-> {}", from.name(), command.name(), to.name())));
            }
        }
        assert_eq!(
            arrows,
            [
                "draft -submit-> submitted",
                "draft -withdraw-> withdrawn",
                "submitted -review-> in-review",
                "submitted -withdraw-> withdrawn",
                "in-review -approve-> approved",
                "in-review -reject-> rejected",
                "in-review -withdraw-> withdrawn",
            ]
        );
    }

    #[test]
    fn names_parse_back_and_match_their_json() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.name()), Some(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.name());
        }
        assert!(Command::ALL.into_iter().all(|command| Command::parse(command.name()) == Some(command)));
        assert_eq!((Status::parse("Draft"), Command::parse("")), (None, None));
    }

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(number(2026, 123), "A-2026-000123");
        assert!(valid_number(&number(2026, 999_999)));
        for bad in ["", "A-2026-00012", "B-2026-000123", "A-2026-000123-1", "A-２026-000123", "A-2026-000123'"] {
            assert!(!valid_number(bad), "{bad}");
        }
    }

    #[test]
    fn problems_name_the_field_and_never_the_value() {
        let bad = Applicant { name: "John".into(), id_number: "110101199003070021".into(), mobile: "12800138000".into() };
        let problems = bad.problems().join("; ");
        assert_eq!(bad.problems().len(), 3);
        assert!(!problems.contains("John") && !problems.contains("110101199003070021") && !problems.contains("12800138000"));
    }
}
