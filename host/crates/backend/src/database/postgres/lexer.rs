//! Cuts a statement into tokens the way PostgreSQL does; where in doubt it refuses.

use std::borrow::Cow;

/// As much of a token as the statement gate decides on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A bare word, folded to lower case: keyword, name or number.
    Word(Cow<'a, str>),
    /// A quoted name, as it is meant.
    Name(String),
    /// A string of any kind.
    Text,
    /// `$1` is `Parameter(1)`.
    Parameter(usize),
    Semicolon,
    Open,
    Close,
    /// An operator of JSON, or another database's placeholder.
    Question,
    Other,
}

/// Comments and white space are skipped; `Err` says what the text does wrong.
pub(super) struct Lexer<'a> {
    rest: &'a str,
    /// After a string with escapes: a string that follows it would go on with them.
    escaped: bool,
}

type Cut<T> = Result<T, &'static str>;

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, escaped: false }
    }

    /// Takes everything up to byte `end`, which is on a character boundary.
    fn take(&mut self, end: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    fn take_while(&mut self, keep: fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !keep(c)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// Skips blanks and comments; those in `/*` nest.
    fn skip(&mut self) -> Cut<()> {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c'));
            if self.rest.starts_with("--") {
                self.take_while(|c| c != '\n' && c != '\r');
            } else if self.rest.starts_with("/*") {
                self.comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn comment(&mut self) -> Cut<()> {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                self.take(2);
                depth += 1;
            } else if self.rest.starts_with("*/") {
                self.take(2);
                depth -= 1;
                if depth == 0 {
                    return Ok(());
                }
            } else {
                let next = self.rest.chars().next().ok_or("a comment is not closed")?;
                self.take(next.len_utf8());
            }
        }
    }

    /// Up to the closing quote; a doubled one stands for itself.
    fn quoted(&mut self, quote: char) -> Cut<String> {
        let mut inner = String::new();
        self.take(1);
        loop {
            let end = self.rest.find(quote).ok_or("a quote is not closed")?;
            inner.push_str(self.take(end));
            self.take(1);
            if !self.rest.starts_with(quote) {
                return Ok(inner);
            }
            inner.push(quote);
            self.take(1);
        }
    }

    /// A string in which a backslash takes the next character's meaning away.
    fn with_escapes(&mut self) -> Cut<Token<'a>> {
        self.take(1);
        loop {
            let end = self.rest.find(['\'', '\\']).ok_or("a quote is not closed")?;
            self.take(end);
            let escape = self.rest.starts_with('\\');
            self.take(1);
            if escape || self.rest.starts_with('\'') {
                let next = self.rest.chars().next().ok_or("a quote is not closed")?;
                self.take(next.len_utf8());
            } else {
                self.escaped = true;
                return Ok(Token::Text);
            }
        }
    }

    /// `$1`, or a string between two of the same `$tag$`.
    fn dollar(&mut self) -> Cut<Token<'a>> {
        self.take(1);
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = self.take_while(|c| c.is_ascii_digit());
            let ends = !self.rest.starts_with(is_word);
            return match digits.parse() {
                Ok(number) if ends && !digits.starts_with('0') => Ok(Token::Parameter(number)),
                _ => Err("placeholders are $1, $2 and so on"),
            };
        }
        let tag = self.take_while(|c| is_word(c) && c != '$');
        if !self.rest.starts_with('$') {
            return Err("placeholders are $1, $2 and so on");
        }
        self.take(1);
        let close = format!("${tag}$");
        let end = self.rest.find(&close).ok_or("a quote is not closed")?;
        self.take(end + close.len());
        Ok(Token::Text)
    }

    fn word(&mut self) -> Cut<Token<'a>> {
        let word = self.take_while(is_word);
        match word {
            "e" | "E" if self.rest.starts_with('\'') => self.with_escapes(),
            // Names could be spelled so that no reader knows them.
            "u" | "U" if self.rest.starts_with("&'") || self.rest.starts_with("&\"") => Err("strings and names with `U&` are not offered"),
            _ if word.bytes().any(|b| b.is_ascii_uppercase()) => Ok(Token::Word(Cow::Owned(word.to_ascii_lowercase()))),
            _ => Ok(Token::Word(Cow::Borrowed(word))),
        }
    }

    fn token(&mut self, first: char) -> Cut<Token<'a>> {
        if std::mem::take(&mut self.escaped) && first == '\'' {
            return Err("a string goes on after one with escapes");
        }
        match first {
            '\'' => return self.quoted('\'').map(|_| Token::Text),
            '"' => return self.quoted('"').map(Token::Name),
            '$' => return self.dollar(),
            c if is_word(c) => return self.word(),
            _ => {}
        }
        self.take(first.len_utf8());
        Ok(match first {
            ';' => Token::Semicolon,
            '(' => Token::Open,
            ')' => Token::Close,
            '?' => Token::Question,
            _ => Token::Other,
        })
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Cut<Token<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(why) = self.skip() {
            self.rest = "";
            return Some(Err(why));
        }
        let first = self.rest.chars().next()?;
        Some(self.token(first))
    }
}

/// What PostgreSQL lets a name or number go on with.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}
