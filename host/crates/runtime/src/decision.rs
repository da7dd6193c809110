//! A decision point: several plugins asked in order, their verdicts merged.

use crate::{
    Answer, Decision,
    hook::{Payload, Question, Reason, Verdict},
    manifest::OnFailure,
    outcome::{Failure, Reply},
};

/// Merges verdicts as they come: the first `deny` ends it, then `hold` wins,
/// then `allow`; amendments apply in order and later plugins see them.
pub(crate) struct Merge {
    question: Question,
    amended: bool,
    hold: Option<Reason>,
    allowed: bool,
    answers: Vec<Answer>,
}

impl Merge {
    pub(crate) fn new(question: Question) -> Self {
        Self { question, amended: false, hold: None, allowed: false, answers: Vec::new() }
    }

    /// What the next plugin is asked.
    pub(crate) fn question(&self) -> Question {
        self.question.clone()
    }

    /// Takes one plugin's reply; `Some` ends the asking.
    pub(crate) fn take(
        &mut self,
        plugin: &plinth_capability::name::PluginName,
        on_failure: OnFailure,
        reply: Reply<Verdict>,
    ) -> Option<Reason> {
        self.answers.push(Answer {
            plugin: plugin.clone(),
            version: reply.answered_by.as_ref().map(|v| v.version.clone()).unwrap_or_default(),
            digest: reply.answered_by.as_ref().map(|v| v.digest.clone()).unwrap_or_default(),
            generation: reply.generation,
            invocation_id: reply.invocation_id,
            answer: reply.outcome.as_ref().map_or_else(Failure::code, Verdict::code).to_owned(),
        });
        match reply.outcome {
            Ok(Verdict::Abstain) => None,
            Ok(Verdict::Allow) => {
                self.allowed = true;
                None
            }
            Ok(Verdict::Amend(payload)) => {
                self.question.payload = payload;
                self.amended = true;
                self.allowed = true;
                None
            }
            Ok(Verdict::Hold(reason)) => {
                self.hold.get_or_insert(reason);
                None
            }
            Ok(Verdict::Deny(reason)) => Some(reason),
            Err(failure) => match on_failure {
                OnFailure::Open => None,
                OnFailure::Closed => Some(Reason {
                    code: format!("decision.{}", failure.code()),
                    message: format!("{plugin} could not decide, and this point fails closed"),
                    details: Vec::new(),
                }),
            },
        }
    }

    pub(crate) fn end(self, denied: Option<Reason>) -> Decision {
        let verdict = match (denied, self.hold) {
            (Some(reason), _) => Verdict::Deny(reason),
            (None, Some(reason)) => Verdict::Hold(reason),
            (None, None) if self.amended => Verdict::Amend(self.question.payload.clone()),
            (None, None) if self.allowed => Verdict::Allow,
            (None, None) => Verdict::Abstain,
        };
        let payload: Option<Payload> = self.amended.then_some(self.question.payload);
        Decision { verdict, payload, answers: self.answers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plinth_capability::name::PluginName;

    fn payload(text: &str) -> Payload {
        Payload { content_type: "text/plain".into(), data: text.to_owned().into() }
    }

    fn reason(code: &str) -> Reason {
        Reason { code: code.into(), message: String::new(), details: Vec::new() }
    }

    /// Plays verdicts against a point that fails as given; the merged verdict's
    /// text, and how many were asked.
    fn merged(on_failure: OnFailure, verdicts: Vec<Result<Verdict, Failure>>) -> (String, usize) {
        let question = Question { point: "p".into(), subject: "s".into(), payload: payload("0"), attributes: Vec::new() };
        let mut merge = Merge::new(question);
        let plugin = PluginName::new("p").unwrap();
        let mut denied = None;
        let mut asked = 0;
        for outcome in verdicts {
            asked += 1;
            let reply = Reply { invocation_id: String::new(), answered_by: None, generation: 1, outcome };
            denied = merge.take(&plugin, on_failure, reply);
            if denied.is_some() {
                break;
            }
        }
        let decision = merge.end(denied);
        let text = match decision.verdict {
            Verdict::Deny(r) | Verdict::Hold(r) => r.code,
            Verdict::Amend(p) => String::from_utf8(p.data.to_vec()).unwrap(),
            other => other.code().to_owned(),
        };
        (text, asked)
    }

    #[test]
    fn deny_wins_then_hold_then_amend_then_allow() {
        use Verdict::*;
        let trap = || Err(Failure::Trap("x".into()));
        let cases = [
            (OnFailure::Closed, vec![], "abstain", 0),
            (OnFailure::Closed, vec![Ok(Abstain), Ok(Abstain)], "abstain", 2),
            (OnFailure::Closed, vec![Ok(Abstain), Ok(Allow)], "allow", 2),
            (OnFailure::Closed, vec![Ok(Amend(payload("1"))), Ok(Amend(payload("2"))), Ok(Allow)], "2", 3),
            (OnFailure::Closed, vec![Ok(Hold(reason("h1"))), Ok(Hold(reason("h2"))), Ok(Allow)], "h1", 3),
            (OnFailure::Closed, vec![Ok(Hold(reason("h"))), Ok(Deny(reason("d"))), Ok(Allow)], "d", 2),
            (OnFailure::Closed, vec![Ok(Allow), trap(), Ok(Allow)], "decision.trap", 2),
            (OnFailure::Open, vec![trap(), Ok(Allow)], "allow", 2),
        ];
        for (on_failure, verdicts, text, asked) in cases {
            let label = format!("{verdicts:?}");
            assert_eq!(merged(on_failure, verdicts), (text.to_owned(), asked), "{label}");
        }
    }
}
