//! AutoWebGLM's function calls: one a step, `type_string('AB', 'text', True)`, often with a comment behind it.
//!
//! Typing replaces what was in the field, and a page is scrolled by one viewport height, as its own runner does. Tabs count
//! from 1 there, as its observation numbers them.

use super::arguments::Arguments;
use super::call::{self, quote};
use super::{Dialect, ParseError, clip};
use crate::action::{Action, MouseButton, Target};

const DIALECT: Dialect = Dialect::Autowebglm;

fn parameters(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "click" | "hover" => &["element_id"],
        "select" => &["element_id", "option"],
        "type_string" => &["element_id", "content", "press_enter"],
        "scroll_page" | "go" => &["direction"],
        "jump_to" => &["url", "new_tab"],
        "switch_tab" => &["tab_index"],
        "user_input" => &["message"],
        "finish" => &["answer"],
        _ => return None,
    })
}

pub(super) fn parse(text: &str) -> Result<Action, ParseError> {
    let mut calls = call::calls(DIALECT, text, |name| parameters(name).is_some())?;
    if let Some(second) = calls.get(1) {
        return Err(ParseError { dialect: DIALECT, at: second.at, reason: "more than one action".into() });
    }
    let call = calls.remove(0);
    let (name, at) = (call.name, call.at);
    let Some(parameters) = parameters(name) else {
        return Err(ParseError { dialect: DIALECT, at, reason: format!("no action '{}'", clip(name)) });
    };
    let args = Arguments::bind(DIALECT, call, parameters)?;
    Ok(match name {
        "click" => Action::click(args.element("element_id")?),
        "hover" => Action::Hover { target: args.element("element_id")? },
        "select" => Action::Select { target: args.element("element_id")?, options: vec![args.text("option")?] },
        "type_string" => Action::Type {
            target: Some(args.element("element_id")?),
            text: args.text("content")?,
            clear: true,
            press_enter: args.flag_or("press_enter", false)?,
        },
        "scroll_page" => match args.text("direction")?.as_str() {
            "down" => Action::ScrollPages { pages: 1.0 },
            "up" => Action::ScrollPages { pages: -1.0 },
            _ => return Err(args.error_in("direction", "must be 'up' or 'down'")),
        },
        "go" => match args.text("direction")?.as_str() {
            "backward" => Action::Back,
            "forward" => Action::Forward,
            _ => return Err(args.error_in("direction", "must be 'forward' or 'backward'")),
        },
        "jump_to" => Action::Goto { url: args.text("url")?, new_tab: args.flag_or("new_tab", false)? },
        "switch_tab" => match args.index("tab_index")?.checked_sub(1) {
            Some(index) => Action::FocusTab { index },
            None => return Err(args.error_in("tab_index", "counts from 1")),
        },
        "user_input" => Action::Answer { text: args.text("message")? },
        "finish" => Action::Finish { answer: args.text_or("answer", "")? },
        other => unreachable!("every function with parameters is handled: {other}"),
    })
}

/// Writes the action as a call, if the dialect has one for it.
pub(super) fn render(action: &Action) -> Option<String> {
    use Target::Element;
    Some(match action {
        Action::Click { target: Element(id), button: MouseButton::Left, count: 1, modifiers } if modifiers.is_empty() => {
            format!("click({})", quote(id))
        }
        Action::Hover { target: Element(id) } => format!("hover({})", quote(id)),
        Action::Select { target: Element(id), options } if options.len() == 1 => format!("select({}, {})", quote(id), quote(&options[0])),
        Action::Type { target: Some(Element(id)), text, clear: true, press_enter } => {
            format!("type_string({}, {}, {})", quote(id), quote(text), python(*press_enter))
        }
        Action::ScrollPages { pages: 1.0 } => "scroll_page('down')".into(),
        Action::ScrollPages { pages: -1.0 } => "scroll_page('up')".into(),
        Action::Back => "go('backward')".into(),
        Action::Forward => "go('forward')".into(),
        Action::Goto { url, new_tab } => format!("jump_to({}, {})", quote(url), python(*new_tab)),
        Action::FocusTab { index } => format!("switch_tab({})", index.checked_add(1)?),
        Action::Answer { text } => format!("user_input({})", quote(text)),
        Action::Finish { answer } => format!("finish({})", quote(answer)),
        _ => return None,
    })
}

fn python(flag: bool) -> &'static str {
    if flag { "True" } else { "False" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_has_its_action() {
        let id = |id: &str| Target::Element(id.into());
        let typed = |text: &str, press_enter| Action::Type { target: Some(id("DHC")), text: text.into(), clear: true, press_enter };
        let table = [
            ("click('SD')", Action::click(id("SD"))),
            ("click(12)", Action::click(id("12"))),
            ("hover('CC') # to see more", Action::Hover { target: id("CC") }),
            ("select('AB', 'blue')", Action::Select { target: id("AB"), options: vec!["blue".into()] }),
            ("type_string('DHC', '马来西亚', True)", typed("马来西亚", true)),
            ("type_string('DHC', \"it's\", False) #HTML Segment: <input[DHC]| it('s) >", typed("it's", false)),
            ("type_string(element_id='DHC', content='a', press_enter=1)", typed("a", true)),
            ("scroll_page('down')", Action::ScrollPages { pages: 1.0 }),
            ("scroll_page(direction='up')", Action::ScrollPages { pages: -1.0 }),
            ("go('backward')", Action::Back),
            ("go('forward')", Action::Forward),
            ("jump_to('http://a.test/', True)", Action::Goto { url: "http://a.test/".into(), new_tab: true }),
            ("jump_to('http://a.test/')", Action::Goto { url: "http://a.test/".into(), new_tab: false }),
            ("switch_tab(1)", Action::FocusTab { index: 0 }),
            ("switch_tab('2')", Action::FocusTab { index: 1 }),
            ("user_input('Please login.')", Action::Answer { text: "Please login.".into() }),
            ("finish()", Action::Finish { answer: String::new() }),
            ("finish(None)", Action::Finish { answer: String::new() }),
            ("finish('The Dubai Mall;\nThe Global Village')", Action::Finish { answer: "The Dubai Mall;\nThe Global Village".into() }),
            ("finish('42')", Action::Finish { answer: "42".into() }),
        ];
        for (text, action) in &table {
            assert_eq!(parse(text).as_ref(), Ok(action), "{text}");
            let rendered = render(action).expect(text);
            assert_eq!(parse(&rendered).as_ref(), Ok(action), "{rendered}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        for (text, at, reason) in [
            ("Click the button.", 0, "no action"),
            ("click('A')\nclick('B')", 11, "more than one"),
            ("fill('A', 'b')", 0, "no action 'fill'"),
            ("scroll_page('left')", 12, "'up' or 'down'"),
            ("go('home')", 3, "'forward' or 'backward'"),
            ("switch_tab(0)", 11, "counts from 1"),
            ("type_string('A')", 0, "'content' is missing"),
            ("type_string('A', 'b', 'yes')", 22, "True or False"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }
}
