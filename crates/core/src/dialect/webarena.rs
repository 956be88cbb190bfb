//! WebArena's bracketed commands: `type [21] [tea] [1]`, within the first code fence of the text if it has one.
//!
//! As there, typing adds to what is in the field and presses Enter unless told otherwise, and a page is scrolled by one
//! viewport height. Brackets within a text need no escape: the last one of the command closes it.

use super::arguments::MAX_ELEMENT_BYTES;
use super::{Dialect, ParseError, clip};
use crate::action::{Action, MAX_TEXT_BYTES, MouseButton, Target};

const DIALECT: Dialect = Dialect::Webarena;
const FENCE: &str = "```";

pub(super) fn parse(text: &str) -> Result<Action, ParseError> {
    let (at, command) = match text.find(FENCE) {
        Some(fence) => {
            let inside = &text[fence + FENCE.len()..];
            (fence + FENCE.len(), inside.split_once(FENCE).map_or(inside, |(command, _)| command))
        }
        None => (0, text),
    };
    let trimmed = command.trim_start();
    Command::new(trimmed.trim_end(), at + (command.len() - trimmed.len())).action()
}

/// A verb and what follows it.
struct Command<'a> {
    verb: &'a str,
    verb_at: usize,
    rest: &'a str,
    rest_at: usize,
}

impl<'a> Command<'a> {
    fn new(text: &'a str, at: usize) -> Self {
        let verb = text.find(|c: char| c == '[' || c.is_whitespace()).map_or(text, |end| &text[..end]);
        let rest = text[verb.len()..].trim_start();
        Self { verb, verb_at: at, rest, rest_at: at + (text.len() - rest.len()) }
    }

    fn action(&self) -> Result<Action, ParseError> {
        Ok(match self.verb {
            "click" => Action::click(self.element()?.0),
            "hover" => Action::Hover { target: self.element()?.0 },
            "clear" => Action::Clear { target: self.element()?.0 },
            "type" => self.type_text()?,
            "press" => Action::Press { target: None, keys: keys(self.bracketed()?) },
            "scroll" => Action::ScrollPages { pages: self.direction()? },
            "goto" => Action::Goto { url: self.bracketed()?.to_owned(), new_tab: false },
            "new_tab" => Action::NewTab,
            "tab_focus" | "page_focus" => match self.bracketed()?.trim().parse() {
                Ok(index) => Action::FocusTab { index },
                Err(_) => return self.error("expected the number of a tab in brackets"),
            },
            "close_tab" | "page_close" => Action::CloseTab,
            "go_back" => Action::Back,
            "go_forward" => Action::Forward,
            // Some tasks ask for no answer.
            "stop" if !self.rest.starts_with('[') => Action::Finish { answer: String::new() },
            "stop" => Action::Finish { answer: self.bracketed()?.to_owned() },
            "" => return self.error("no action in the text"),
            other => {
                return Err(ParseError { dialect: DIALECT, at: self.verb_at, reason: format!("no action '{}'", clip(other)) });
            }
        })
    }

    fn error<T>(&self, reason: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { dialect: DIALECT, at: self.rest_at, reason: reason.into() })
    }

    /// The id in the first brackets, and what follows them.
    fn element(&self) -> Result<(Target, &'a str), ParseError> {
        let id = self.rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match id.map(|(id, rest)| (id.trim(), rest.trim_start())) {
            Some((id, _)) if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                self.error(format!("'{}' is not an element id", clip(id)))
            }
            Some((id, _)) if id.len() > MAX_ELEMENT_BYTES => self.error(format!("an id of more than {MAX_ELEMENT_BYTES} bytes")),
            Some((id, rest)) => Ok((Target::Element(id.to_owned()), rest)),
            None => self.error("expected an element id in brackets"),
        }
    }

    /// What stands between the first bracket and the last.
    fn bracketed(&self) -> Result<&'a str, ParseError> {
        match self.rest.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) {
            Some((text, _)) => self.bounded(text),
            None => self.error("expected an argument in brackets"),
        }
    }

    fn bounded(&self, text: &'a str) -> Result<&'a str, ParseError> {
        if text.len() > MAX_TEXT_BYTES {
            return self.error(format!("a text of more than {MAX_TEXT_BYTES} bytes"));
        }
        Ok(text)
    }

    fn direction(&self) -> Result<f64, ParseError> {
        let said = self.rest.trim_start_matches('[');
        let said = said.strip_prefix("direction=").unwrap_or(said);
        if said.starts_with("down") {
            Ok(1.0)
        } else if said.starts_with("up") {
            Ok(-1.0)
        } else {
            self.error("expected 'up' or 'down'")
        }
    }

    fn type_text(&self) -> Result<Action, ParseError> {
        let (target, rest) = self.element()?;
        let Some((mut text, _)) = rest.strip_prefix('[').and_then(|rest| rest.rsplit_once(']')) else {
            return self.error("expected a text in brackets behind the element id");
        };
        let mut press_enter = true;
        if let Some((before, flag)) = text.rsplit_once('[')
            && let Some(typed) = before.trim_end().strip_suffix(']')
            && let Some(flag) = match flag.trim().strip_prefix("press_enter_after=").unwrap_or(flag.trim()) {
                "0" => Some(false),
                "1" => Some(true),
                _ => None,
            }
        {
            (text, press_enter) = (typed, flag);
        }
        Ok(Action::Type { target: Some(target), text: self.bounded(text)?.to_owned(), clear: false, press_enter })
    }
}

/// Agents write `ctrl+v` as well as `Control+V`; the action has Playwright's names.
fn keys(chord: &str) -> String {
    const NAMES: [&str; 22] = [
        "Backquote",
        "Minus",
        "Equal",
        "Backslash",
        "Backspace",
        "Meta",
        "Tab",
        "Delete",
        "Escape",
        "End",
        "Enter",
        "Home",
        "Insert",
        "PageDown",
        "PageUp",
        "ArrowDown",
        "ArrowRight",
        "ArrowUp",
        "ArrowLeft",
        "Shift",
        "Alt",
        "Control",
    ];
    let name = |key: &str| {
        let key = key.trim();
        let known = NAMES.iter().find(|name| name.eq_ignore_ascii_case(key)).copied();
        let known = known.or_else(|| ["ctrl", "cmd"].contains(&key.to_ascii_lowercase().as_str()).then_some("Control"));
        let is_function = key.len() <= 3 && key.starts_with('f') && key[1..].parse::<u8>().is_ok();
        known.map_or_else(|| if is_function { key.to_ascii_uppercase() } else { key.to_owned() }, str::to_owned)
    };
    chord.split('+').map(name).collect::<Vec<_>>().join("+")
}

/// Writes the action as a command, if the dialect has one for it that reads back the same.
pub(super) fn render(action: &Action) -> Option<String> {
    use Target::Element;
    let text = match action {
        Action::Click { target: Element(id), button: MouseButton::Left, count: 1, modifiers } if modifiers.is_empty() => {
            format!("click [{id}]")
        }
        Action::Hover { target: Element(id) } => format!("hover [{id}]"),
        Action::Clear { target: Element(id) } => format!("clear [{id}]"),
        Action::Type { target: Some(Element(id)), text, clear: false, press_enter } => {
            format!("type [{id}] [{text}] [{}]", u8::from(*press_enter))
        }
        Action::Press { target: None, keys } => format!("press [{keys}]"),
        Action::ScrollPages { pages: 1.0 } => "scroll [down]".into(),
        Action::ScrollPages { pages: -1.0 } => "scroll [up]".into(),
        Action::Goto { url, new_tab: false } => format!("goto [{url}]"),
        Action::NewTab => "new_tab".into(),
        Action::FocusTab { index } => format!("tab_focus [{index}]"),
        Action::CloseTab => "close_tab".into(),
        Action::Back => "go_back".into(),
        Action::Forward => "go_forward".into(),
        Action::Finish { answer } => format!("stop [{answer}]"),
        _ => return None,
    };
    // Nothing can be escaped here: a text with a fence in it, for example, cannot be said.
    (parse(&text).as_ref() == Ok(action)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> Target {
        Target::Element(id.into())
    }

    #[test]
    fn every_command_has_its_action() {
        let typed = |text: &str, press_enter| Action::Type { target: Some(id("21")), text: text.into(), clear: false, press_enter };
        let press = |keys: &str| Action::Press { target: None, keys: keys.into() };
        let stop = |answer: &str| Action::Finish { answer: answer.into() };
        let table = [
            ("click [1234]", Action::click(id("1234"))),
            ("click[a12] where [a12] is a link", Action::click(id("a12"))),
            ("hover [7]", Action::Hover { target: id("7") }),
            ("clear [7]", Action::Clear { target: id("7") }),
            ("type [21] [tea]", typed("tea", true)),
            ("type [21][tea][0]", typed("tea", false)),
            ("type [21] [tea] [press_enter_after=0]", typed("tea", false)),
            ("type [21] [a] [b]] [1]", typed("a] [b]", true)),
            ("type [21] [1]", typed("1", true)),
            ("type [21] [x[0]] [1]", typed("x[0]", true)),
            ("type [21] []", typed("", true)),
            ("press [Enter]", press("Enter")),
            ("press [ctrl+v]", press("Control+v")),
            ("press [meta+SHIFT+arrowdown]", press("Meta+Shift+ArrowDown")),
            ("press [f5]", press("F5")),
            ("press [F]", press("F")),
            ("scroll [down]", Action::ScrollPages { pages: 1.0 }),
            ("scroll [direction=up]", Action::ScrollPages { pages: -1.0 }),
            ("scroll up", Action::ScrollPages { pages: -1.0 }),
            ("goto [http://a.test/x[1]]", Action::Goto { url: "http://a.test/x[1]".into(), new_tab: false }),
            ("new_tab", Action::NewTab),
            ("tab_focus [2]", Action::FocusTab { index: 2 }),
            ("close_tab", Action::CloseTab),
            ("page_close", Action::CloseTab),
            ("go_back", Action::Back),
            ("go_forward", Action::Forward),
            ("stop [N/A]", stop("N/A")),
            ("stop [two\nlines]", stop("two\nlines")),
            ("stop", stop("")),
        ];
        for (text, action) in &table {
            assert_eq!(parse(text).as_ref(), Ok(action), "{text}");
            let rendered = render(action).expect(text);
            assert_eq!(parse(&rendered).as_ref(), Ok(action), "{rendered}");
        }
    }

    #[test]
    fn the_first_fence_holds_the_action() {
        let action = Action::click(id("12"));
        for text in [
            "In summary, the next action I will perform is ```click [12]```",
            "I click.\n```\nclick [12]\n```\nThen I see ```stop [x]```",
            "cut off: ```click [12]\n",
            "\n  click [12]  \n",
        ] {
            assert_eq!(parse(text), Ok(action.clone()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        for (text, at, reason) in [
            ("", 0, "no action in the text"),
            ("``````", 3, "no action in the text"),
            ("I click [12]", 0, "no action 'I'"),
            ("so: ```tap [1]```", 7, "no action 'tap'"),
            ("click", 5, "expected an element id"),
            ("click 12", 6, "expected an element id"),
            ("click [a b]", 6, "'a b' is not an element id"),
            ("```type [1]```", 8, "expected a text"),
            ("type [1] tea", 5, "expected a text"),
            ("scroll [left]", 7, "'up' or 'down'"),
            ("tab_focus [-1]", 10, "number of a tab"),
            ("goto http://a.test", 5, "in brackets"),
            ("stop [half", 5, "in brackets"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
        let long = format!("type [1] [{}]", "x".repeat(MAX_TEXT_BYTES + 1));
        assert!(parse(&long).expect_err("too long").reason.contains("1048576 bytes"));
    }
}
