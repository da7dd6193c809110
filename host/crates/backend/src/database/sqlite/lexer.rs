//! Cuts a statement into tokens the way SQLite does; where in doubt it refuses.

/// As much of a token as the statement gate decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A bare word: keyword, name or number.
    Word(&'a str),
    /// A string or a quoted name.
    Quoted,
    /// `$1` is `Parameter(1)`.
    Parameter(usize),
    Semicolon,
    Open,
    Close,
    Other,
}

/// Comments and white space are skipped; `Err` says what the text does wrong.
pub(super) struct Lexer<'a> {
    rest: &'a str,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text }
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

    /// Skips blanks and comments.
    fn skip(&mut self) -> Result<(), &'static str> {
        loop {
            self.take_while(is_blank);
            if self.rest.starts_with("--") {
                self.take_while(|c| c != '\n');
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                let end = comment.find("*/").ok_or("a comment is not closed")?;
                self.take(end + 4);
            } else {
                return Ok(());
            }
        }
    }

    fn quoted(&mut self, close: char) -> Result<Token<'a>, &'static str> {
        self.take(1);
        loop {
            let end = self.rest.find(close).ok_or("a quote is not closed")?;
            self.take(end + 1);
            // A doubled quote stands for itself, except that brackets know no escape.
            if close == ']' || !self.rest.starts_with(close) {
                return Ok(Token::Quoted);
            }
            self.take(1);
        }
    }

    fn parameter(&mut self) -> Result<Token<'a>, &'static str> {
        const NUMBERED: &str = "placeholders are $1, $2 and so on";
        self.take(1);
        let digits = self.take_while(|c| c.is_ascii_digit());
        // SQLite reads `$1::text` and `$1(x)` as one long placeholder.
        let ends = !self.rest.starts_with(|c| is_word(c) || c == ':' || c == '(');
        match digits.parse() {
            Ok(number) if ends && !digits.starts_with('0') => Ok(Token::Parameter(number)),
            _ => Err(NUMBERED),
        }
    }

    fn token(&mut self, first: char) -> Result<Token<'a>, &'static str> {
        match first {
            '\'' | '"' | '`' => return self.quoted(first),
            '[' => return self.quoted(']'),
            '$' => return self.parameter(),
            '?' | ':' | '@' | '#' => return Err("placeholders are $1, $2 and so on"),
            c if is_word(c) => return Ok(Token::Word(self.take_while(is_word))),
            _ => {}
        }
        self.take(first.len_utf8());
        Ok(match first {
            ';' => Token::Semicolon,
            '(' => Token::Open,
            ')' => Token::Close,
            _ => Token::Other,
        })
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Result<Token<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(why) = self.skip() {
            self.rest = "";
            return Some(Err(why));
        }
        let first = self.rest.chars().next()?;
        Some(self.token(first))
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// What SQLite lets a name or number go on with.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()
}
