//! The statement gate: one statement, of an allowed kind, with numbered placeholders.
//!
//! It is the first wall, and explains its refusals. Behind it stand the roles:
//! a plugin's connection is logged in as a role that owns one schema and nothing
//! else, and as another that only reads it; and the protocol, which takes one
//! statement at a time.

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
    Change,
    Schema,
}

/// A statement that passed the gate.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    text: Arc<str>,
    verb: Verb,
    parameters: usize,
    explains: bool,
    questions: bool,
}

/// Functions that reach beyond the caller's own rows: settings, other sessions,
/// locks and messages the host uses, files, and SQL given as text. Each stands
/// for all names that begin with it.
const FOR_THE_HOST: &[&str] = &[
    "set_config",
    "pg_advisory",
    "pg_try_advisory",
    "pg_notify",
    "pg_cancel_backend",
    "pg_terminate_backend",
    "pg_reload_conf",
    "pg_read_",
    "pg_ls_",
    "pg_stat_file",
    "pg_switch_wal",
    "pg_logical",
    "pg_replication",
    "pg_create_",
    "pg_drop_",
    "pg_export_snapshot",
    "lo_",
    "loread",
    "lowrite",
    "query_to_xml",
    "cursor_to_xml",
    "table_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "ts_stat",
    "ts_rewrite",
    "dblink",
];

impl Statement {
    pub(super) fn check(text: &str) -> Result<Self> {
        if text.len() > STATEMENT_MAX {
            return Err(refuse(ErrorKind::LimitExceeded, format!("a statement has at most {STATEMENT_MAX} bytes")));
        }
        if contains_reserved(text) {
            return Err(refuse(ErrorKind::Denied, format!("`{RESERVED_PREFIX}` is reserved for the host")));
        }
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
        match scan.verb {
            // `select` alone is a statement to PostgreSQL, and a slip of whoever wrote it.
            Some(_) if scan.tokens < 2 => Err(invalid("the statement is not finished")),
            Some(verb) => {
                Ok(Self { text: text.into(), verb, parameters: scan.parameters, explains: scan.explains, questions: scan.questions })
            }
            None => Err(invalid("there is no statement")),
        }
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub(super) fn verb(&self) -> Verb {
        self.verb
    }

    /// Whether [`Self::as_cursor`] is a statement too.
    pub(super) fn can_be_paged(&self) -> bool {
        self.verb == Verb::Read && !self.explains
    }

    /// To be read page by page.
    pub(super) fn as_cursor(&self) -> Self {
        let body = self.text.trim_start_matches(|c: char| c == ';' || c.is_ascii_whitespace());
        Self { text: format!("DECLARE _plinth_cursor NO SCROLL CURSOR FOR {body}").into(), ..self.clone() }
    }

    pub(super) fn check_params(&self, params: &[Value]) -> Result<()> {
        if params.len() == self.parameters {
            return Ok(());
        }
        if self.questions && self.parameters == 0 {
            return Err(invalid("placeholders are $1, $2 and so on"));
        }
        let why = format!("the statement has {} parameters, {} were given", self.parameters, params.len());
        Err(refuse(ErrorKind::InvalidInput, why))
    }
}

fn contains_reserved(text: &str) -> bool {
    let prefix = RESERVED_PREFIX.as_bytes();
    text.as_bytes().windows(prefix.len()).any(|window| window.eq_ignore_ascii_case(prefix))
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
    /// After `explain` and its options.
    Explain,
    Create,
    /// After `drop`, `alter` and `create` with its adjectives.
    Object,
    Body,
    /// After the semicolon that ends the statement.
    End,
}

#[derive(Default)]
struct Scan {
    place: Place,
    verb: Option<Verb>,
    depth: usize,
    parameters: usize,
    /// A change may hide in what begins with `with`.
    with: bool,
    explains: bool,
    questions: bool,
    tokens: usize,
}

impl Scan {
    fn push(&mut self, token: Token<'_>) -> Result<()> {
        if self.place == Place::End && token != Token::Semicolon {
            return Err(invalid("only one statement at a time"));
        }
        self.tokens += usize::from(token != Token::Semicolon);
        match token {
            Token::Semicolon if self.place == Place::Start => {}
            Token::Semicolon => self.place = Place::End,
            Token::Open => self.depth += 1,
            Token::Close => self.depth = self.depth.saturating_sub(1),
            Token::Parameter(number) => self.parameters = self.parameters.max(number),
            Token::Word(word) => return self.word(&word),
            Token::Name(name) => return self.check_name(&name),
            Token::Question => self.questions = true,
            Token::Text | Token::Other => {}
        }
        match self.place {
            Place::Start | Place::Create | Place::Object if !matches!(token, Token::Semicolon) => Err(begins()),
            _ => Ok(()),
        }
    }

    fn check_name(&self, name: &str) -> Result<()> {
        if FOR_THE_HOST.iter().any(|start| name.starts_with(start)) {
            return Err(refuse(ErrorKind::Denied, format!("`{name}` is for the host")));
        }
        if matches!(self.place, Place::Body) { Ok(()) } else { Err(begins()) }
    }

    fn word(&mut self, word: &str) -> Result<()> {
        match self.place {
            Place::Start => self.start(word),
            // Its options in parentheses, or bare.
            Place::Explain if self.depth > 0 || matches!(word, "analyze" | "verbose") => Ok(()),
            Place::Explain => self.start(word),
            Place::Create => self.create(word),
            Place::Object => self.object(word),
            Place::Body => self.body(word),
            Place::End => Ok(()),
        }
    }

    fn start(&mut self, word: &str) -> Result<()> {
        let verb = match word {
            "select" | "values" | "table" => Verb::Read,
            "with" => {
                self.with = true;
                Verb::Read
            }
            "insert" | "update" | "delete" | "merge" | "truncate" => Verb::Change,
            "create" | "drop" | "alter" => {
                self.place = if word == "create" { Place::Create } else { Place::Object };
                return Ok(());
            }
            "explain" if self.place == Place::Start => {
                self.place = Place::Explain;
                self.explains = true;
                return Ok(());
            }
            "begin" | "start" | "commit" | "end" | "rollback" | "savepoint" | "release" | "abort" | "prepare" => {
                return Err(refuse(ErrorKind::Denied, "transactions are begun and ended by their own calls"));
            }
            "attach" | "detach" | "pragma" | "vacuum" | "analyze" | "reindex" | "cluster" | "set" | "reset" | "show" | "load" | "copy"
            | "do" | "call" | "listen" | "unlisten" | "notify" | "lock" | "declare" | "fetch" | "move" | "close" | "execute"
            | "deallocate" | "discard" | "grant" | "revoke" | "reassign" | "security" | "comment" | "import" | "refresh" | "checkpoint" => {
                return Err(refuse(ErrorKind::Denied, format!("`{word}` is for the host")));
            }
            _ => return Err(begins()),
        };
        self.begin_body(verb);
        Ok(())
    }

    fn begin_body(&mut self, verb: Verb) {
        self.verb = Some(verb);
        self.place = Place::Body;
    }

    fn body(&mut self, word: &str) -> Result<()> {
        if self.with && self.verb == Some(Verb::Read) && matches!(word, "insert" | "update" | "delete" | "merge") {
            self.verb = Some(Verb::Change);
        }
        self.check_name(word)
    }

    fn create(&mut self, word: &str) -> Result<()> {
        match word {
            "unique" | "unlogged" => {
                self.place = Place::Object;
                Ok(())
            }
            "or" | "replace" | "recursive" => Ok(()),
            // A temporary table would shadow the real one for everyone on this connection.
            "temp" | "temporary" | "global" | "local" => Err(refuse(ErrorKind::Denied, format!("`create {word}` is not offered"))),
            _ => self.object(word),
        }
    }

    fn object(&mut self, word: &str) -> Result<()> {
        match word {
            "table" | "index" | "view" | "sequence" | "type" => {
                self.begin_body(Verb::Schema);
                Ok(())
            }
            _ => Err(invalid("create, alter and drop are for tables, indexes, views, sequences and types")),
        }
    }
}

fn begins() -> Error {
    invalid("a statement begins with select, insert, update, delete, merge, truncate, with, values, table, create, alter or drop")
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
