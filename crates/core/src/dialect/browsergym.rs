//! BrowserGym's high-level action set: `click('a12')`, several calls in a step.
//!
//! As there, calls are found wherever they stand in the text (in prose, in a code fence), comments are skipped, and what
//! cannot be read as a call is passed over. A call of no known function, or with wrong arguments, refuses the whole step.

use super::arguments::Arguments;
use super::call::{self, quote};
use super::{Dialect, ParseError, clip};
use crate::action::{Action, Modifier, MouseButton, Target};

const DIALECT: Dialect = Dialect::Browsergym;

/// `noop` without an argument waits so long.
const NOOP_MS: u32 = 1000;

const FUNCTIONS: &[(&str, &[&str])] = &[
    ("send_msg_to_user", &["text"]),
    ("report_infeasible", &["reason"]),
    ("noop", &["wait_ms"]),
    ("fill", &["bid", "value", "enable_autocomplete_menu"]),
    ("check", &["bid"]),
    ("uncheck", &["bid"]),
    ("select_option", &["bid", "options"]),
    ("click", &["bid", "button", "modifiers"]),
    ("dblclick", &["bid", "button", "modifiers"]),
    ("hover", &["bid"]),
    ("press", &["bid", "key_comb"]),
    ("focus", &["bid"]),
    ("clear", &["bid"]),
    ("drag_and_drop", &["from_bid", "to_bid"]),
    ("scroll", &["delta_x", "delta_y"]),
    ("scroll_at", &["x", "y", "dx", "dy"]),
    ("mouse_move", &["x", "y"]),
    ("mouse_up", &["x", "y", "button"]),
    ("mouse_down", &["x", "y", "button"]),
    ("mouse_click", &["x", "y", "button"]),
    ("mouse_dblclick", &["x", "y", "button"]),
    ("mouse_drag_and_drop", &["from_x", "from_y", "to_x", "to_y"]),
    ("mouse_upload_file", &["x", "y", "file"]),
    ("keyboard_press", &["key"]),
    ("keyboard_up", &["key"]),
    ("keyboard_down", &["key"]),
    ("keyboard_type", &["text"]),
    ("keyboard_insert_text", &["text"]),
    ("goto", &["url"]),
    ("go_back", &[]),
    ("go_forward", &[]),
    ("new_tab", &[]),
    ("tab_close", &[]),
    ("tab_focus", &["index"]),
    ("upload_file", &["bid", "file"]),
];

fn parameters(name: &str) -> Option<&'static [&'static str]> {
    FUNCTIONS.iter().find(|(function, _)| *function == name).map(|(_, parameters)| *parameters)
}

pub(super) fn parse(text: &str) -> Result<Action, ParseError> {
    let calls = call::calls(DIALECT, text, |name| parameters(name).is_some())?;
    let mut actions = calls.into_iter().map(action).collect::<Result<Vec<_>, _>>()?;
    Ok(if actions.len() == 1 { actions.remove(0) } else { Action::Sequence(actions) })
}

fn action(call: call::Call<'_>) -> Result<Action, ParseError> {
    let (name, at) = (call.name, call.at);
    let Some(parameters) = parameters(name) else {
        return Err(ParseError { dialect: DIALECT, at, reason: format!("no action '{}'", clip(name)) });
    };
    let args = Arguments::bind(DIALECT, call, parameters)?;
    Ok(match name {
        "send_msg_to_user" => Action::Answer { text: args.text("text")? },
        "report_infeasible" => Action::Infeasible { reason: args.text("reason")? },
        "noop" => Action::Wait { ms: args.milliseconds_or("wait_ms", NOOP_MS)? },
        // A menu of suggestions opens only for somebody who types.
        "fill" if args.flag_or("enable_autocomplete_menu", false)? => {
            Action::Type { target: Some(args.element("bid")?), text: args.text("value")?, clear: true, press_enter: false }
        }
        "fill" => Action::Fill { target: args.element("bid")?, text: args.text("value")? },
        "check" => Action::SetChecked { target: args.element("bid")?, checked: true },
        "uncheck" => Action::SetChecked { target: args.element("bid")?, checked: false },
        "select_option" => Action::Select { target: args.element("bid")?, options: args.texts("options")? },
        "click" | "dblclick" => Action::Click {
            target: args.element("bid")?,
            button: args.button("button")?,
            count: if name == "click" { 1 } else { 2 },
            modifiers: args.modifiers("modifiers")?,
        },
        "hover" => Action::Hover { target: args.element("bid")? },
        "press" => Action::Press { target: Some(args.element("bid")?), keys: args.text("key_comb")? },
        "focus" => Action::Focus { target: args.element("bid")? },
        "clear" => Action::Clear { target: args.element("bid")? },
        "drag_and_drop" => Action::Drag { from: args.element("from_bid")?, to: args.element("to_bid")? },
        "scroll" => Action::Scroll { at: None, dx: args.number("delta_x")?, dy: args.number("delta_y")? },
        "scroll_at" => Action::Scroll { at: Some(args.pixel("x", "y")?), dx: args.number("dx")?, dy: args.number("dy")? },
        "mouse_move" => Action::Hover { target: args.pixel("x", "y")? },
        "mouse_up" => Action::MouseUp { target: Some(args.pixel("x", "y")?), button: args.button("button")? },
        "mouse_down" => Action::MouseDown { target: Some(args.pixel("x", "y")?), button: args.button("button")? },
        "mouse_click" | "mouse_dblclick" => Action::Click {
            target: args.pixel("x", "y")?,
            button: args.button("button")?,
            count: if name == "mouse_click" { 1 } else { 2 },
            modifiers: Vec::new(),
        },
        "mouse_drag_and_drop" => Action::Drag { from: args.pixel("from_x", "from_y")?, to: args.pixel("to_x", "to_y")? },
        "mouse_upload_file" => Action::Upload { target: args.pixel("x", "y")?, files: args.texts("file")? },
        "upload_file" => Action::Upload { target: args.element("bid")?, files: args.texts("file")? },
        "keyboard_press" => Action::Press { target: None, keys: args.text("key")? },
        "keyboard_up" => Action::KeyUp { key: args.text("key")? },
        "keyboard_down" => Action::KeyDown { key: args.text("key")? },
        "keyboard_type" => Action::Type { target: None, text: args.text("text")?, clear: false, press_enter: false },
        "keyboard_insert_text" => Action::InsertText { text: args.text("text")? },
        "goto" => Action::Goto { url: args.text("url")?, new_tab: false },
        "go_back" => Action::Back,
        "go_forward" => Action::Forward,
        "new_tab" => Action::NewTab,
        "tab_close" => Action::CloseTab,
        "tab_focus" => Action::FocusTab { index: args.index("index")? },
        other => unreachable!("every function of the table is handled: {other}"),
    })
}

/// Writes the action as a call, if the action set has one for it.
pub(super) fn render(action: &Action) -> Option<String> {
    use Target::{Element, Pixel};
    Some(match action {
        Action::Click { target, button, count, modifiers } => {
            let (element, pixel) = match count {
                1 => ("click", "mouse_click"),
                2 => ("dblclick", "mouse_dblclick"),
                _ => return None,
            };
            let button = button_word(*button);
            let held: Vec<_> = modifiers.iter().map(|held| quote(modifier_word(*held))).collect();
            match target {
                Element(id) => format!("{element}({}, '{button}', [{}])", quote(id), held.join(", ")),
                Pixel { x, y } if held.is_empty() => format!("{pixel}({x:?}, {y:?}, '{button}')"),
                _ => return None,
            }
        }
        Action::Hover { target: Element(id) } => format!("hover({})", quote(id)),
        Action::Hover { target: Pixel { x, y } } => format!("mouse_move({x:?}, {y:?})"),
        Action::MouseDown { target: Some(Pixel { x, y }), button } => format!("mouse_down({x:?}, {y:?}, '{}')", button_word(*button)),
        Action::MouseUp { target: Some(Pixel { x, y }), button } => format!("mouse_up({x:?}, {y:?}, '{}')", button_word(*button)),
        Action::Drag { from: Element(from), to: Element(to) } => format!("drag_and_drop({}, {})", quote(from), quote(to)),
        Action::Drag { from: Pixel { x, y }, to: Pixel { x: to_x, y: to_y } } => {
            format!("mouse_drag_and_drop({x:?}, {y:?}, {to_x:?}, {to_y:?})")
        }
        Action::Scroll { at: None, dx, dy } => format!("scroll({dx:?}, {dy:?})"),
        Action::Scroll { at: Some(Pixel { x, y }), dx, dy } => format!("scroll_at({x:?}, {y:?}, {dx:?}, {dy:?})"),
        Action::Fill { target: Element(id), text } => format!("fill({}, {})", quote(id), quote(text)),
        Action::Type { target: Some(Element(id)), text, clear: true, press_enter: false } => {
            format!("fill({}, {}, True)", quote(id), quote(text))
        }
        Action::Type { target: None, text, clear: false, press_enter: false } => format!("keyboard_type({})", quote(text)),
        Action::Select { target: Element(id), options } => format!("select_option({}, {})", quote(id), list(options)),
        Action::SetChecked { target: Element(id), checked: true } => format!("check({})", quote(id)),
        Action::SetChecked { target: Element(id), checked: false } => format!("uncheck({})", quote(id)),
        Action::Clear { target: Element(id) } => format!("clear({})", quote(id)),
        Action::Focus { target: Element(id) } => format!("focus({})", quote(id)),
        Action::Press { target: Some(Element(id)), keys } => format!("press({}, {})", quote(id), quote(keys)),
        Action::Press { target: None, keys } => format!("keyboard_press({})", quote(keys)),
        Action::KeyDown { key } => format!("keyboard_down({})", quote(key)),
        Action::KeyUp { key } => format!("keyboard_up({})", quote(key)),
        Action::InsertText { text } => format!("keyboard_insert_text({})", quote(text)),
        Action::Upload { target: Element(id), files } => format!("upload_file({}, {})", quote(id), list(files)),
        Action::Upload { target: Pixel { x, y }, files } => format!("mouse_upload_file({x:?}, {y:?}, {})", list(files)),
        Action::Goto { url, new_tab: false } => format!("goto({})", quote(url)),
        Action::Back => "go_back()".into(),
        Action::Forward => "go_forward()".into(),
        Action::NewTab => "new_tab()".into(),
        Action::CloseTab => "tab_close()".into(),
        Action::FocusTab { index } => format!("tab_focus({index})"),
        Action::Wait { ms } => format!("noop({ms})"),
        Action::Answer { text } => format!("send_msg_to_user({})", quote(text)),
        Action::Infeasible { reason } => format!("report_infeasible({})", quote(reason)),
        // Sequences do not nest: each of their actions must be a single call.
        Action::Sequence(actions) if actions.len() > 1 && !actions.iter().any(|part| matches!(part, Action::Sequence(_))) => {
            actions.iter().map(render).collect::<Option<Vec<_>>>()?.join("\n")
        }
        _ => return None,
    })
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", "))
}

fn button_word(button: MouseButton) -> &'static str {
    match button {
        MouseButton::Left => "left",
        MouseButton::Middle => "middle",
        MouseButton::Right => "right",
    }
}

fn modifier_word(modifier: Modifier) -> &'static str {
    match modifier {
        Modifier::Alt => "Alt",
        Modifier::Control => "Control",
        Modifier::Meta => "Meta",
        Modifier::Shift => "Shift",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> Target {
        Target::Element(id.into())
    }

    fn pixel(x: f64, y: f64) -> Target {
        Target::Pixel { x, y }
    }

    fn click(target: Target, button: MouseButton, count: u8, modifiers: &[Modifier]) -> Action {
        Action::Click { target, button, count, modifiers: modifiers.to_vec() }
    }

    #[test]
    fn every_function_has_its_action() {
        use MouseButton::{Left, Middle, Right};
        let typed = |target, text: &str, clear| Action::Type { target, text: text.into(), clear, press_enter: false };
        let table = [
            ("send_msg_to_user(\"It was 1751.\")", Action::Answer { text: "It was 1751.".into() }),
            ("report_infeasible('no email field')", Action::Infeasible { reason: "no email field".into() }),
            ("noop()", Action::Wait { ms: 1000 }),
            ("noop(500.5)", Action::Wait { ms: 500 }),
            ("noop(wait_ms=0)", Action::NOOP),
            ("scroll(-50.2, 100)", Action::Scroll { at: None, dx: -50.2, dy: 100.0 }),
            ("scroll(delta_y=1, delta_x=2)", Action::Scroll { at: None, dx: 2.0, dy: 1.0 }),
            ("fill('45', \"a\\nb\")", Action::Fill { target: id("45"), text: "a\nb".into() }),
            ("fill('b534', 'Montre', True)", typed(Some(id("b534")), "Montre", true)),
            ("fill(45, value='x', enable_autocomplete_menu=False)", Action::Fill { target: id("45"), text: "x".into() }),
            ("check('55')", Action::SetChecked { target: id("55"), checked: true }),
            ("uncheck('a5289')", Action::SetChecked { target: id("a5289"), checked: false }),
            ("select_option('a48', \"blue\")", Action::Select { target: id("a48"), options: vec!["blue".into()] }),
            ("select_option('c48', ['r', 'g',])", Action::Select { target: id("c48"), options: vec!["r".into(), "g".into()] }),
            ("click('a51')", Action::click(id("a51"))),
            ("click(51)", Action::click(id("51"))),
            ("click(bid='b22', button=\"right\")", click(id("b22"), Right, 1, &[])),
            ("click('48', 'middle', ['Shift', 'ControlOrMeta'])", click(id("48"), Middle, 1, &[Modifier::Shift, Modifier::Control])),
            ("dblclick('12')", click(id("12"), Left, 2, &[])),
            ("hover('b8')", Action::Hover { target: id("b8") }),
            ("press('a26', 'ControlOrMeta+a')", Action::Press { target: Some(id("a26")), keys: "ControlOrMeta+a".into() }),
            ("focus('b455')", Action::Focus { target: id("b455") }),
            ("clear('996')", Action::Clear { target: id("996") }),
            ("drag_and_drop('56', '498')", Action::Drag { from: id("56"), to: id("498") }),
            ("upload_file('572', 'my.pdf')", Action::Upload { target: id("572"), files: vec!["my.pdf".into()] }),
            ("upload_file('63', [])", Action::Upload { target: id("63"), files: vec![] }),
            ("scroll_at(50, 100, -50, -100)", Action::Scroll { at: Some(pixel(50.0, 100.0)), dx: -50.0, dy: -100.0 }),
            ("mouse_move(65.2, 158.5)", Action::Hover { target: pixel(65.2, 158.5) }),
            ("mouse_up(47, 252, 'right')", Action::MouseUp { target: Some(pixel(47.0, 252.0)), button: Right }),
            ("mouse_down(140.2, 580.1)", Action::MouseDown { target: Some(pixel(140.2, 580.1)), button: Left }),
            ("mouse_click(887.2, 68)", click(pixel(887.2, 68.0), Left, 1, &[])),
            ("mouse_dblclick(5, 236, 'middle')", click(pixel(5.0, 236.0), Middle, 2, &[])),
            ("mouse_drag_and_drop(10.7, 325, 235.6, 24.54)", Action::Drag { from: pixel(10.7, 325.0), to: pixel(235.6, 24.54) }),
            ("mouse_upload_file(1, 2, 'a')", Action::Upload { target: pixel(1.0, 2.0), files: vec!["a".into()] }),
            ("keyboard_press('Backspace')", Action::Press { target: None, keys: "Backspace".into() }),
            ("keyboard_up('Shift')", Action::KeyUp { key: "Shift".into() }),
            ("keyboard_down('Shift')", Action::KeyDown { key: "Shift".into() }),
            ("keyboard_type('Hello')", typed(None, "Hello", false)),
            ("keyboard_insert_text('é')", Action::InsertText { text: "é".into() }),
            ("goto('http://www.example.com')", Action::Goto { url: "http://www.example.com".into(), new_tab: false }),
            ("go_back()", Action::Back),
            ("go_forward()", Action::Forward),
            ("new_tab()", Action::NewTab),
            ("tab_close()", Action::CloseTab),
            ("tab_focus(2)", Action::FocusTab { index: 2 }),
        ];
        for (text, action) in &table {
            assert_eq!(parse(text).as_ref(), Ok(action), "{text}");
            let rendered = render(action).expect(text);
            assert_eq!(parse(&rendered).as_ref(), Ok(action), "{rendered}");
        }
        let tried = |name: &str| table.iter().any(|(text, _)| text.starts_with(&format!("{name}(")));
        assert_eq!(FUNCTIONS.iter().map(|(name, _)| *name).filter(|name| !tried(name)).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn calls_are_found_among_whatever_an_agent_writes_around_them() {
        let one = Action::click(id("1"));
        let two = Action::Sequence(vec![one.clone(), Action::Fill { target: id("2"), text: "b # c".into() }]);
        for text in ["click('1')\nfill('2', 'b # c')", "click('1'); fill('2', 'b # c')", "click('1') fill('2','b # c',)  # done"] {
            assert_eq!(parse(text), Ok(two.clone()), "{text}");
        }
        for text in [
            "First (so it's) I press the button:\n```python\nclick(\n  '1',  # the button\n)\n```\nThat should do.",
            "```click('1')```",
            "# click('2')\nclick('1')  # click('3')",
            "I will click(the button) like so: click('1').",
            "fill('2', 'it's')\nclick('1')",
            "\0\u{feff}click \n('1')",
            "a.click('1')",
        ] {
            assert_eq!(parse(text), Ok(one.clone()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_where() {
        for (text, at, reason) in [
            ("", 0, "no action"),
            ("I give up.", 0, "no action"),
            ("let me click(that)", 13, "'that' is not a literal"),
            ("click('1'", 9, "expected ','"),
            ("  jump('1')", 2, "no action 'jump'"),
            ("click('1')\nopen('2')", 11, "no action 'open'"),
            ("click()", 0, "click: 'bid' is missing"),
            ("click(None)", 0, "'bid' is missing"),
            ("click('')", 6, "'bid' is empty"),
            ("click(-1)", 6, "must be an element id"),
            ("click('1', 'up')", 11, "'left', 'middle' or 'right'"),
            ("click('1', modifiers=['Super'])", 11, "'Alt'"),
            ("click('1', bid='2')", 11, "given twice"),
            ("click('1', where='2')", 11, "no parameter 'where'"),
            ("hover('1', '2')", 11, "at most 1 arguments"),
            ("fill('1', 2)", 10, "must be a text"),
            ("select_option('1', ['a', 2])", 25, "texts only"),
            ("scroll('a', 1)", 7, "must be a number"),
            ("noop(-1)", 5, "from 0 to 20000"),
            ("noop(1e9)", 5, "from 0 to 20000"),
            ("tab_focus(-1)", 10, "whole number"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.reason.contains(reason), "{text}: {error}");
            assert_eq!(error.at, at, "{text}: {error}");
        }
    }
}
