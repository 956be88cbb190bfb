//! Calls in Python's syntax with literal arguments: what three of the dialects are made of.
//!
//! A hand-written lexer, since agents write far more than grammar: prose around calls, comments, broken quotes. One pass,
//! no recursion, and bounds on everything that an argument can hold, so that hostile text costs no more than its length.

use super::{Dialect, ParseError, clip};
use crate::action::{MAX_SEQUENCE, MAX_TEXT_BYTES};

/// The most arguments of one call, and the most items of a list argument.
const MAX_ITEMS: usize = 64;
const MAX_NUMBER_BYTES: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Items of a list or tuple: plain values with their places, never lists.
    List(Vec<(usize, Value)>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Argument<'a> {
    pub at: usize,
    pub name: Option<&'a str>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call<'a> {
    pub at: usize,
    pub name: &'a str,
    pub arguments: Vec<Argument<'a>>,
}

/// All well-formed calls of the text, in order and at least one. What is no call is skipped, as agents explain themselves;
/// if nothing else is found, the error tells of the first thing that began like a call of `known`.
pub(super) fn calls<'a>(dialect: Dialect, text: &'a str, known: impl Fn(&str) -> bool) -> Result<Vec<Call<'a>>, ParseError> {
    let mut lexer = Lexer { dialect, text, at: 0 };
    let mut found = Vec::new();
    let mut broken = None;
    while let Some((at, name)) = lexer.next_head() {
        match lexer.arguments() {
            Ok(_) if found.len() == MAX_SEQUENCE => {
                return Err(lexer.error(at, format!("more than {MAX_SEQUENCE} actions in one step")));
            }
            Ok(arguments) => found.push(Call { at, name, arguments }),
            Err(Broken::TooMuch(error)) => return Err(error),
            // The search goes on where the call broke off, never back at its start: that keeps it linear.
            Err(Broken::Syntax(error)) if broken.is_none() && known(name) => broken = Some(error),
            Err(Broken::Syntax(_)) => {}
        }
    }
    if found.is_empty() {
        return Err(broken.unwrap_or_else(|| lexer.error(0, "no action in the text".into())));
    }
    Ok(found)
}

/// Why a call could not be read: not one after all, or beyond the limits, which ends the whole parse.
enum Broken {
    Syntax(ParseError),
    TooMuch(ParseError),
}

struct Lexer<'a> {
    dialect: Dialect,
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    /// Passes the longest run of such characters and returns it.
    fn run(&mut self, of: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let run = &rest[..rest.find(|c| !of(c)).unwrap_or(rest.len())];
        self.at += run.len();
        run
    }

    /// Passes white space, comments and backslashes that continue a line.
    fn skip_blank(&mut self) {
        loop {
            self.run(char::is_whitespace);
            if self.peek() == Some('#') {
                self.run(|c| c != '\n');
            } else if !self.eat("\\\n") && !self.eat("\\\r\n") {
                return;
            }
        }
    }

    fn error(&self, at: usize, reason: String) -> ParseError {
        ParseError { dialect: self.dialect, at, reason }
    }

    fn syntax<T>(&self, reason: impl Into<String>) -> Result<T, Broken> {
        Err(Broken::Syntax(self.error(self.at, reason.into())))
    }

    fn too_much<T>(&self, at: usize, reason: String) -> Result<T, Broken> {
        Err(Broken::TooMuch(self.error(at, reason)))
    }

    /// Goes to just behind the next `name(` and returns the name and its place.
    fn next_head(&mut self) -> Option<(usize, &'a str)> {
        loop {
            self.skip_blank();
            let at = self.at;
            if !is_name_start(self.peek()?) {
                self.at += self.peek()?.len_utf8();
                continue;
            }
            let name = self.run(is_name);
            self.run(char::is_whitespace);
            if self.eat("(") {
                return Some((at, name));
            }
        }
    }

    /// Reads arguments up to and with the closing bracket.
    fn arguments(&mut self) -> Result<Vec<Argument<'a>>, Broken> {
        let mut arguments: Vec<Argument<'a>> = Vec::new();
        loop {
            self.skip_blank();
            if self.eat(")") {
                return Ok(arguments);
            }
            if arguments.len() == MAX_ITEMS {
                return self.too_much(self.at, format!("more than {MAX_ITEMS} arguments"));
            }
            let at = self.at;
            let name = self.keyword();
            if name.is_none() && arguments.last().is_some_and(|last| last.name.is_some()) {
                return self.syntax("a positional argument behind a named one");
            }
            let value = self.value()?;
            arguments.push(Argument { at, name, value });
            self.skip_blank();
            if !self.eat(",") && self.peek() != Some(')') {
                return self.syntax("expected ',' or ')'");
            }
        }
    }

    /// Passes `name =`, if that is what comes next.
    fn keyword(&mut self) -> Option<&'a str> {
        let start = self.at;
        if self.peek().is_some_and(is_name_start) {
            let name = self.run(is_name);
            self.skip_blank();
            if self.eat("=") {
                self.skip_blank();
                return Some(name);
            }
        }
        self.at = start;
        None
    }

    fn value(&mut self) -> Result<Value, Broken> {
        match self.peek() {
            Some('[') => self.list(']'),
            Some('(') => self.list(')'),
            _ => self.plain(),
        }
    }

    fn list(&mut self, close: char) -> Result<Value, Broken> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_blank();
            if self.peek() == Some(close) {
                self.at += 1;
                return Ok(Value::List(items));
            }
            if items.len() == MAX_ITEMS {
                return self.too_much(self.at, format!("more than {MAX_ITEMS} items in a list"));
            }
            items.push((self.at, self.plain()?));
            self.skip_blank();
            if !self.eat(",") && self.peek() != Some(close) {
                return self.syntax(format!("expected ',' or '{close}'"));
            }
        }
    }

    /// A literal without parts: text, a number, `True`, `False` or `None`.
    fn plain(&mut self) -> Result<Value, Broken> {
        match self.peek() {
            Some('"' | '\'') => self.string(false),
            Some('0'..='9' | '+' | '-' | '.') => self.number(),
            Some(c) if is_name_start(c) => {
                let start = self.at;
                let word = self.run(is_name);
                let quoted = matches!(self.peek(), Some('"' | '\''));
                match word {
                    "True" => Ok(Value::Bool(true)),
                    "False" => Ok(Value::Bool(false)),
                    "None" => Ok(Value::None),
                    "r" | "R" if quoted => self.string(true),
                    "u" | "U" if quoted => self.string(false),
                    _ => {
                        self.at = start;
                        self.syntax(format!("'{}' is not a literal value", clip(word)))
                    }
                }
            }
            Some('[' | '(' | '{') => self.syntax("lists in lists and dicts are no arguments of any action"),
            Some(_) => self.syntax("expected a value"),
            None => self.syntax("the call is not closed"),
        }
    }

    fn number(&mut self) -> Result<Value, Broken> {
        let start = self.at;
        self.run(|c| matches!(c, '+' | '-'));
        let sign = &self.text[start..self.at];
        self.run(|c| c.is_ascii_digit() || matches!(c, '.' | '_'));
        if self.eat("e") || self.eat("E") {
            let _ = self.eat("+") || self.eat("-");
            self.run(|c| c.is_ascii_digit());
        }
        let written = &self.text[start..self.at];
        let number = if sign.len() > 1 || written.len() > MAX_NUMBER_BYTES {
            None
        } else {
            let digits = written.replace('_', "");
            digits.parse().map(Value::Int).ok().or_else(|| digits.parse().map(Value::Float).ok())
        };
        match number {
            Some(Value::Float(value)) if !value.is_finite() => self.syntax("a number beyond all bounds"),
            Some(value) => Ok(value),
            None => self.syntax(format!("'{}' is not a number", clip(written))),
        }
    }

    /// A quoted text, from its opening quote.
    fn string(&mut self, raw: bool) -> Result<Value, Broken> {
        let start = self.at;
        let quote = if self.rest().starts_with('"') { '"' } else { '\'' };
        let long = self.rest().starts_with(if quote == '"' { "\"\"\"" } else { "'''" });
        // AutoWebGLM's models write the line breaks of an answer as they are.
        let breaks = long || self.dialect == Dialect::Autowebglm;
        let close = &self.text[start..start + if long { 3 } else { 1 }];
        self.at += close.len();
        let mut text = String::new();
        loop {
            text.push_str(self.run(|c| c != quote && c != '\\' && c != '\n' && c != '\r'));
            if text.len() > MAX_TEXT_BYTES {
                return self.too_much(start, format!("a text of more than {MAX_TEXT_BYTES} bytes"));
            }
            match self.peek() {
                Some('\\') => self.escape(raw, &mut text)?,
                Some(c) if c == quote => {
                    if self.eat(close) {
                        return Ok(Value::Text(text));
                    }
                    self.at += 1;
                    text.push(quote);
                }
                // As Python reads its sources: every line ends in a single line feed.
                Some(_) if breaks => {
                    let _ = self.eat("\r");
                    let _ = self.eat("\n");
                    text.push('\n');
                }
                Some(_) => return self.syntax("the text is not closed on its line"),
                None => return self.syntax("the text is not closed"),
            }
        }
    }

    /// Reads from a backslash on.
    fn escape(&mut self, raw: bool, text: &mut String) -> Result<(), Broken> {
        self.at += 1;
        let Some(c) = self.peek() else { return self.syntax("the text is not closed") };
        if raw {
            text.push('\\');
            // The next round of `string` takes a line end as it is; only a quote or a second backslash needs shelter here.
            if matches!(c, '\\' | '"' | '\'') {
                self.at += 1;
                text.push(c);
            }
            return Ok(());
        }
        self.at += c.len_utf8();
        let c = match c {
            '\\' | '\'' | '"' => c,
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\n' => return Ok(()),
            '\r' => {
                let _ = self.eat("\n");
                return Ok(());
            }
            '0'..='7' => {
                let mut code = c as u32 - '0' as u32;
                for _ in 0..2 {
                    let Some(digit) = self.peek().and_then(|c| c.to_digit(8)) else { break };
                    self.at += 1;
                    code = code * 8 + digit;
                }
                self.character(code)?
            }
            'x' => self.hex(2).and_then(|code| self.character(code))?,
            'u' => {
                let code = self.hex(4)?;
                // Agents write what lies beyond the basic plane as JSON does: in two halves.
                let code = if (0xd800..0xdc00).contains(&code) && self.eat("\\u") {
                    let low = self.hex(4)?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return self.syntax("half a surrogate pair");
                    }
                    0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    code
                };
                self.character(code)?
            }
            'U' => self.hex(8).and_then(|code| self.character(code))?,
            'N' => return self.syntax("characters by name are not supported"),
            other => {
                text.push('\\');
                other
            }
        };
        text.push(c);
        Ok(())
    }

    fn hex(&mut self, digits: usize) -> Result<u32, Broken> {
        let code = self.rest().get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|hex| u32::from_str_radix(hex, 16).ok()) {
            Some(code) => {
                self.at += digits;
                Ok(code)
            }
            None => self.syntax(format!("expected {digits} hexadecimal digits")),
        }
    }

    fn character(&self, code: u32) -> Result<char, Broken> {
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None => self.syntax(format!("there is no character U+{code:04X}")),
        }
    }
}

fn is_name_start(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Writes text as a literal that [`calls`] reads back.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\\' | '\'' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            _ => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(literal: &str) -> Result<Value, ParseError> {
        let text = format!("f({literal})");
        let mut calls = calls(Dialect::Browsergym, &text, |_| true)?;
        assert_eq!(calls.len(), 1, "{literal}");
        Ok(calls.remove(0).arguments.remove(0).value)
    }

    #[test]
    fn literals_mean_what_python_means() {
        let text = |s: &str| Value::Text(s.into());
        let table = [
            ("'a'", text("a")),
            ("\"it's\"", text("it's")),
            ("''", text("")),
            ("''''a'b\n\"\"\"c'''", text("'a'b\n\"\"\"c")),
            ("\"\"\"a\r\nb\"\"\"", text("a\nb")),
            (r"'\n\t\\\'\x41\u00e9\U0001f600\101\0'", text("\n\t\\'A\u{e9}\u{1f600}A\0")),
            (r"'\ud83d\ude00'", text("\u{1f600}")),
            (r"'\d\.'", text(r"\d\.")),
            ("'a\\\nb'", text("ab")),
            (r"r'\d\'\n'", text(r"\d\'\n")),
            ("u'é'", text("é")),
            ("# why\n 12 # so\n", Value::Int(12)),
            ("-3", Value::Int(-3)),
            ("+.5", Value::Float(0.5)),
            ("1_000", Value::Int(1000)),
            ("-1.5e-3", Value::Float(-0.0015)),
            ("99999999999999999999", Value::Float(1e20)),
            ("True", Value::Bool(true)),
            ("None", Value::None),
        ];
        for (literal, value) in table {
            assert_eq!(one(literal), Ok(value), "{literal}");
        }
        let Ok(Value::List(items)) = one("['a', 2,]") else { panic!("a list") };
        assert_eq!(items.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), [text("a"), Value::Int(2)]);
        assert_eq!(one("()"), Ok(Value::List(vec![])));
    }

    #[test]
    fn broken_literals_are_refused_with_their_place() {
        for (literal, at, reason) in [
            ("'a", 5, "not closed"),
            ("'a\nb'", 4, "not closed on its line"),
            ("'''a", 7, "not closed"),
            (r"'\xg1'", 5, "2 hexadecimal digits"),
            (r"'\ud800'", 9, "no character U+D800"),
            (r"'\ud800\u0041'", 15, "half a surrogate pair"),
            (r"'\U00110000'", 13, "no character"),
            (r"'\N{BULLET}'", 5, "by name"),
            ("--1", 5, "not a number"),
            ("1.2.3", 7, "not a number"),
            ("1e999", 7, "beyond all bounds"),
            ("name", 2, "'name' is not a literal"),
            ("b'x'", 2, "'b' is not a literal"),
            ("[['a']]", 3, "lists in lists"),
            ("{'a': 1}", 2, "dicts"),
            ("'a' 'b'", 6, "expected ','"),
            ("a=1, 2", 7, "behind a named one"),
            ("@", 2, "expected a value"),
        ] {
            let error = one(literal).expect_err(literal);
            assert!(error.reason.contains(reason), "{literal}: {error}");
            assert_eq!(error.at, at, "{literal}: {error}");
        }
    }

    #[test]
    fn hostile_texts_cost_no_more_than_their_length() {
        for unit in
            ["f(", "f('", "f('''", "f([", "[", "f(\"b('\"',", "\\", "'", "f(1,", "#", "\0", "f(r'\\", "é(", "-", "f(-", "f(a=", "f(1)"]
        {
            // A parser that were quadratic would not come back from this.
            let _ = calls(Dialect::Browsergym, &unit.repeat((1 << 20) / unit.len()), |_| true);
        }
        let long = format!("f('{}')", "x".repeat(MAX_TEXT_BYTES + 1));
        assert!(calls(Dialect::Browsergym, &long, |_| true).expect_err("too long").reason.contains("1048576 bytes"));
        let many = "f();".repeat(MAX_SEQUENCE + 1);
        assert!(calls(Dialect::Browsergym, &many, |_| true).expect_err("too many").reason.contains("64 actions"));
    }
}
