//! The statement gate: one statement, of an allowed kind, with numbered placeholders.
//!
//! It is the first wall, and explains its refusals; SQLite's authorizer,
//! `query_only` and the connection's limits stand behind it.

use super::lexer::{Lexer, Token};
use plinth_capability::{
    Error, ErrorKind, Result,
    database::{PARAMS_MAX, RESERVED_PREFIX, STATEMENT_MAX, Value},
};
use std::sync::Arc;

/// What a statement does, as far as the host treats it differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Read,
    Insert,
    /// Updates and deletes.
    Change,
    Schema,
}

/// A statement that passed the gate.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    text: Arc<str>,
    verb: Verb,
    parameters: usize,
}

impl Statement {
    pub(super) fn check(text: &str) -> Result<Self> {
        if text.len() > STATEMENT_MAX {
            return Err(refuse(ErrorKind::LimitExceeded, format!("a statement has at most {STATEMENT_MAX} bytes")));
        }
        if text.to_ascii_lowercase().contains(RESERVED_PREFIX) {
            return Err(refuse(ErrorKind::Denied, format!("`{RESERVED_PREFIX}` is reserved for the host")));
        }
        // SQLite would stop reading here, and the rest would be neither run nor refused.
        if text.contains('\0') {
            return Err(invalid("the text has a zero character"));
        }
        let mut scan = Scan::default();
        for token in Lexer::new(text) {
            scan.push(token.map_err(invalid)?)?;
        }
        if scan.parameters > PARAMS_MAX {
            return Err(refuse(ErrorKind::LimitExceeded, format!("a statement has at most {PARAMS_MAX} parameters")));
        }
        match scan.verb() {
            Some(verb) => Ok(Self { text: text.into(), verb, parameters: scan.parameters }),
            None => Err(invalid("there is no statement")),
        }
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub(super) fn verb(&self) -> Verb {
        self.verb
    }

    pub(super) fn check_params(&self, params: &[Value]) -> Result<()> {
        if params.len() == self.parameters {
            return Ok(());
        }
        let why = format!("the statement has {} parameters, {} were given", self.parameters, params.len());
        Err(refuse(ErrorKind::InvalidInput, why))
    }
}

fn refuse(kind: ErrorKind, why: impl Into<String>) -> Error {
    Error::new(kind, "database.statement", why)
}

fn invalid(why: &str) -> Error {
    refuse(ErrorKind::InvalidStatement, why)
}

/// Where in the statement the scan is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    /// After `explain`, which may go on with `query plan`.
    Explain,
    /// After `with`: the verb is the first one outside parentheses.
    With,
    Create,
    /// After `drop`, `alter` and `create unique`.
    Object,
    Body,
    /// After the semicolon that ends the statement.
    End,
}

#[derive(Default)]
struct Scan {
    place: Place,
    verb: Option<Verb>,
    explained: bool,
    depth: usize,
    parameters: usize,
    trigger: Trigger,
}

/// The body of a trigger has semicolons of its own; `; end ;` is its last.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    #[default]
    No,
    Inside,
    AfterSemicolon,
    AfterEnd,
}

impl Scan {
    fn verb(&self) -> Option<Verb> {
        match self.place {
            Place::Start | Place::Explain => None,
            _ if self.explained => Some(Verb::Read),
            // A `with` that ends without a verb is for SQLite to refuse, on a reader.
            _ => self.verb.or(Some(Verb::Read)),
        }
    }

    fn push(&mut self, token: Token<'_>) -> Result<()> {
        if token == Token::Semicolon {
            self.semicolon();
            return Ok(());
        }
        if self.place == Place::End {
            return Err(invalid("one statement at a time"));
        }
        let word = match token {
            Token::Word(word) => word.to_ascii_lowercase(),
            _ => String::new(),
        };
        self.trigger = match self.trigger {
            Trigger::No => Trigger::No,
            Trigger::AfterSemicolon if word == "end" => Trigger::AfterEnd,
            _ => Trigger::Inside,
        };
        match token {
            Token::Open => self.depth += 1,
            Token::Close => self.depth = self.depth.saturating_sub(1),
            Token::Parameter(number) => self.parameters = self.parameters.max(number),
            _ => {}
        }
        self.step(&word)
    }

    fn semicolon(&mut self) {
        match (self.place, self.trigger) {
            // Empty statements before the first are skipped.
            (Place::Start, _) => {}
            (_, Trigger::Inside | Trigger::AfterSemicolon) => self.trigger = Trigger::AfterSemicolon,
            _ => self.place = Place::End,
        }
    }

    fn step(&mut self, word: &str) -> Result<()> {
        match self.place {
            Place::Start => self.start(word)?,
            Place::Explain if matches!(word, "query" | "plan") => {}
            Place::Explain => self.start(word)?,
            Place::With if self.depth == 0 => {
                if let Some(verb) = data_verb(word) {
                    self.begin_body(verb);
                }
            }
            Place::Create => self.create(word)?,
            Place::Object => self.object(word)?,
            Place::With | Place::Body | Place::End => {}
        }
        Ok(())
    }

    fn begin_body(&mut self, verb: Verb) {
        self.verb = Some(verb);
        self.place = Place::Body;
    }

    fn start(&mut self, word: &str) -> Result<()> {
        if let Some(verb) = data_verb(word) {
            self.begin_body(verb);
            return Ok(());
        }
        self.place = match word {
            "with" => Place::With,
            "create" => Place::Create,
            "drop" | "alter" => Place::Object,
            "explain" if self.place == Place::Start => Place::Explain,
            "begin" | "commit" | "end" | "rollback" | "savepoint" | "release" | "abort" => {
                return Err(refuse(ErrorKind::Denied, "transactions are begun and ended by their own calls"));
            }
            "attach" | "detach" | "pragma" | "vacuum" | "analyze" | "reindex" | "set" | "load" => {
                return Err(refuse(ErrorKind::Denied, format!("`{word}` is for the host")));
            }
            _ => return Err(invalid("a statement begins with select, insert, update, delete, with, values, create, alter or drop")),
        };
        self.explained |= self.place == Place::Explain;
        Ok(())
    }

    fn create(&mut self, word: &str) -> Result<()> {
        match word {
            "unique" => {
                self.place = Place::Object;
                Ok(())
            }
            // A temporary table would shadow the real one for everyone on this connection.
            "temp" | "temporary" | "virtual" => Err(refuse(ErrorKind::Denied, format!("`create {word}` is not offered"))),
            _ => self.object(word),
        }
    }

    fn object(&mut self, word: &str) -> Result<()> {
        match word {
            "trigger" if self.place == Place::Create => self.trigger = Trigger::Inside,
            "table" | "index" | "view" | "trigger" => {}
            _ => return Err(invalid("create, alter and drop are for tables, indexes, views and triggers")),
        }
        self.begin_body(Verb::Schema);
        Ok(())
    }
}

fn data_verb(word: &str) -> Option<Verb> {
    match word {
        "select" | "values" => Some(Verb::Read),
        "insert" | "replace" => Some(Verb::Insert),
        "update" | "delete" => Some(Verb::Change),
        _ => None,
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
