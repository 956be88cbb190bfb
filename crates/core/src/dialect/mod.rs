//! Action languages: one parser each, from an agent's text to a typed [`Action`].
//!
//! Parsers are total: any input gives an action or a [`ParseError`] that says what was wrong; none panics, none recurses
//! without bound. They know nothing of pages: whether an element exists is found out when the action is performed.

mod arguments;
mod autowebglm;
mod browsergym;
mod call;
mod webarena;
mod webrl;

#[cfg(test)]
mod properties;

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

    /// Parses one step's text, in time linear in its length.
    pub fn parse(self, text: &str) -> Result<Action, ParseError> {
        match self {
            Self::Browsergym => browsergym::parse(text),
            Self::Webarena => webarena::parse(text),
            Self::Autowebglm => autowebglm::parse(text),
            Self::Webrl => webrl::parse(text),
        }
    }

    /// Writes an action so that [`Self::parse`] gives it back; `None` if the dialect cannot say it. For scripted agents.
    pub fn render(self, action: &Action) -> Option<String> {
        match self {
            Self::Browsergym => browsergym::render(action),
            Self::Webarena => webarena::render(action),
            Self::Autowebglm => autowebglm::render(action),
            Self::Webrl => webrl::render(action),
        }
    }
}

/// The beginning of what an agent wrote, short enough for an error.
fn clip(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}
