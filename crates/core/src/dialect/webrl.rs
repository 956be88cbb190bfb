//! WebRL's actions, as WebArena-Lite's runner reads them: `do(action="Click", element="7")`, under `# Element:` and
//! `# Note:` lines that say why.
//!
//! Of several calls the last one counts, since what comes before it is thought. Typing replaces what was in the field, and
//! scrolling goes two thirds of the viewport's height.

use super::arguments::{Arguments, MAX_ELEMENT_BYTES};
use super::call::{self, quote};
use super::{Dialect, ParseError, clip};
use crate::action::{Action, MouseButton, Target};

const DIALECT: Dialect = Dialect::Webrl;
const SCROLL_PAGES: f64 = 2.0 / 3.0;

/// `Wait` says no time. Pages settle by themselves before they are observed; this is for what they do afterwards.
const WAIT_MS: u32 = 1000;

fn parameters(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "do" => &["action", "argument", "element"],
        "exit" => &["message"],
        "go_backward" | "go_forward" => &[],
        _ => return None,
    })
}

pub(super) fn parse(text: &str) -> Result<Action, ParseError> {
    let calls = call::calls(DIALECT, text, |name| parameters(name).is_some())?;
    let first = (calls[0].name, calls[0].at);
    let Some((call, parameters)) = calls.into_iter().rev().find_map(|call| parameters(call.name).map(|known| (call, known))) else {
        return Err(ParseError { dialect: DIALECT, at: first.1, reason: format!("no action '{}'", clip(first.0)) });
    };
    let name = call.name;
    let args = Arguments::bind(DIALECT, call, parameters)?;
    match name {
        "do" => browse(&args),
        "exit" => Ok(Action::Finish { answer: args.text_or("message", "")? }),
        "go_backward" => Ok(Action::Back),
        _ => Ok(Action::Forward),
    }
}

fn browse(args: &Arguments<'_>) -> Result<Action, ParseError> {
    let typed = |press_enter| Ok(Action::Type { target: Some(element(args)?), text: args.text("argument")?, clear: true, press_enter });
    match args.text("action")?.to_ascii_lowercase().as_str() {
        "click" => Ok(Action::click(element(args)?)),
        "right click" => Ok(Action::Click { target: element(args)?, button: MouseButton::Right, count: 1, modifiers: Vec::new() }),
        "type" => typed(false),
        "search" => typed(true),
        "hover" => Ok(Action::Hover { target: element(args)? }),
        "scroll up" => Ok(Action::ScrollPages { pages: -SCROLL_PAGES }),
        "scroll down" => Ok(Action::ScrollPages { pages: SCROLL_PAGES }),
        "press enter" => Ok(Action::Press { target: None, keys: "Enter".into() }),
        "switch tab" | "switch page" => Ok(Action::FocusTab { index: args.index("argument")? }),
        "select dropdown option" => Ok(Action::Select { target: element(args)?, options: vec![args.text("argument")?] }),
        "wait" => Ok(Action::Wait { ms: WAIT_MS }),
        "go backward" => Ok(Action::Back),
        "go forward" => Ok(Action::Forward),
        other => Err(args.error_in("action", &format!("'{}' is none of WebRL's", clip(other)))),
    }
}

/// An id by itself, or the only one that a description names: `[7]`, or its only number.
fn element(args: &Arguments<'_>) -> Result<Target, ParseError> {
    let Ok(described) = args.text("element") else { return args.element("element") };
    let described = described.trim();
    let is_id = |id: &str| !id.is_empty() && id.len() <= MAX_ELEMENT_BYTES && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let only = |mut ids: Box<dyn Iterator<Item = &str> + '_>| ids.next().filter(|_| ids.next().is_none()).map(str::to_owned);
    let bracketed = || only(Box::new(described.split('[').skip(1).filter_map(|part| part.split(']').next()).filter(|id| is_id(id))));
    let number = || only(Box::new(described.split(|c: char| !c.is_ascii_digit()).filter(|id| is_id(id))));
    let id = if is_id(described) { Some(described.to_owned()) } else { bracketed().or_else(number) };
    id.map(Target::Element).ok_or_else(|| args.error_in("element", "names no element id, or several"))
}

/// Writes the action as a call, if the dialect has one for it.
pub(super) fn render(action: &Action) -> Option<String> {
    use Target::Element;
    let on = |name: &str, argument: Option<&str>, id: &str| {
        let argument = argument.map(|text| format!(", argument={}", quote(text))).unwrap_or_default();
        format!("do(action='{name}'{argument}, element={})", quote(id))
    };
    Some(match action {
        Action::Click { target: Element(id), button, count: 1, modifiers } if modifiers.is_empty() => match button {
            MouseButton::Left => on("Click", None, id),
            MouseButton::Right => on("Right Click", None, id),
            MouseButton::Middle => return None,
        },
        Action::Type { target: Some(Element(id)), text, clear: true, press_enter } => {
            on(if *press_enter { "Search" } else { "Type" }, Some(text), id)
        }
        Action::Hover { target: Element(id) } => on("Hover", None, id),
        Action::Select { target: Element(id), options } if options.len() == 1 => on("Select Dropdown Option", Some(&options[0]), id),
        Action::ScrollPages { pages } if *pages == SCROLL_PAGES => "do(action='Scroll Down')".into(),
        Action::ScrollPages { pages } if *pages == -SCROLL_PAGES => "do(action='Scroll Up')".into(),
        Action::Press { target: None, keys } if keys == "Enter" => "do(action='Press Enter')".into(),
        Action::FocusTab { index } => format!("do(action='Switch Tab', argument={index})"),
        Action::Wait { ms: WAIT_MS } => "do(action='Wait')".into(),
        Action::Back => "go_backward()".into(),
        Action::Forward => "go_forward()".into(),
        Action::Finish { answer } => format!("exit(message={})", quote(answer)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> Target {
        Target::Element(id.into())
    }

    #[test]
    fn every_action_is_understood() {
        let typed = |text: &str, press_enter| Action::Type { target: Some(id("22")), text: text.into(), clear: true, press_enter };
        let right = Action::Click { target: id("7"), button: MouseButton::Right, count: 1, modifiers: vec![] };
        let table = [
            ("# Element: the 'REPORTS' section\ndo(action=\"Click\", element=\"7\")", Action::click(id("7"))),
            ("do(action=\"click\", argument=None, element=7)", Action::click(id("7"))),
            ("do(action=\"Right Click\", element=\"7\")", right.clone()),
            ("do('Right Click', None, '7')", right),
            ("do(action=\"Type\", argument=\"01/01/2023\", element=\"22\")", typed("01/01/2023", false)),
            ("# Note: a\n# Element: b\ndo(action=\"Search\", argument=\"airport\", element=\"22\")", typed("airport", true)),
            ("do(action=\"Hover\", element=\"7\")", Action::Hover { target: id("7") }),
            ("do(action=\"Scroll Down\")", Action::ScrollPages { pages: 2.0 / 3.0 }),
            ("- do(action=\"Scroll Up\")", Action::ScrollPages { pages: -2.0 / 3.0 }),
            ("do(action=\"Press Enter\")", Action::Press { target: None, keys: "Enter".into() }),
            ("do(action=\"Switch Tab\", argument=\"1\")", Action::FocusTab { index: 1 }),
            (
                "do(action=\"Select Dropdown Option\", argument=\"Month\", element=\"20\")",
                Action::Select { target: id("20"), options: vec!["Month".into()] },
            ),
            ("do(action=\"Wait\")", Action::Wait { ms: 1000 }),
            ("go_backward()", Action::Back),
            ("go_forward()", Action::Forward),
            ("do(action='Go Backward')", Action::Back),
            ("exit(message=\"The answer is (1)\")", Action::Finish { answer: "The answer is (1)".into() }),
            ("exit()", Action::Finish { answer: String::new() }),
            ("```\nexit('x')\n```", Action::Finish { answer: "x".into() }),
            ("I could do(action='Wait') but go_backward() beats list()", Action::Back),
        ];
        for (text, action) in &table {
            assert_eq!(parse(text).as_ref(), Ok(action), "{text}");
            let rendered = render(action).expect(text);
            assert_eq!(parse(&rendered).as_ref(), Ok(action), "{rendered}");
        }
    }

    #[test]
    fn a_described_element_is_known_by_its_only_id() {
        for (described, expected) in [
            ("7", Some("7")),
            (" a12 ", Some("a12")),
            ("[7]", Some("7")),
            ("the [7] button of 3 columns", Some("7")),
            ("id=12", Some("12")),
            ("element 12, the 'Reports' link", Some("12")),
            ("[1] or [2]", None),
            ("row 3, column 4", None),
            ("the search bar", None),
            ("", None),
        ] {
            let got = parse(&format!("do(action='Click', element={})", quote(described)));
            assert_eq!(got.ok(), expected.map(|expected| Action::click(id(expected))), "{described}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        for (text, at, reason) in [
            ("I am done.", 0, "no action"),
            ("do(action='Click')", 0, "'element' is missing"),
            ("do(action='Type', element='7')", 0, "'argument' is missing"),
            ("do(action='Quote', element='7')", 3, "'quote' is none of WebRL's"),
            ("do(action='Click', element=find_element_by_instruction(instruction='x'))", 27, "no action 'find_element_by_instruction'"),
            ("quit()", 0, "no action 'quit'"),
            ("do(action='Switch Tab', argument='next')", 24, "whole number"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }
}
