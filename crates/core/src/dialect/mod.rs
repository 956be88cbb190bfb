//! Action languages: one parser each, from an agent's text to a typed [`Action`].
//!
//! Parsers are total: any input gives an action or a [`ParseError`] that says what was wrong; none panics, none recurses
//! without bound. They know nothing of pages: whether an element exists is found out when the action is performed.

use std::fmt;

use thiserror::Error;

use crate::action::Action;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// Python calls as in BrowserGym's action set: `click('a12')`.
    #[default]
    Browsergym,
    /// `click [12]`.
    Webarena,
    /// `click(12)`, `type_string(12, "text", True)`.
    Autowebglm,
    /// `do(action="Click", element="12")`.
    Webrl,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{dialect} action at byte {at}: {reason}")]
pub struct ParseError {
    pub dialect: Dialect,
    /// Byte offset into the text.
    pub at: usize,
    pub reason: String,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Browsergym => "BrowserGym",
            Self::Webarena => "WebArena",
            Self::Autowebglm => "AutoWebGLM",
            Self::Webrl => "WebRL",
        })
    }
}

impl Dialect {
    pub const ALL: [Self; 4] = [Self::Browsergym, Self::Webarena, Self::Autowebglm, Self::Webrl];

    /// Parses one step's text.
    pub fn parse(self, text: &str) -> Result<Action, ParseError> {
        Err(ParseError { dialect: self, at: 0, reason: format!("cannot read {} bytes", text.len()) })
    }
}
