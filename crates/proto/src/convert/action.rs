//! Typed actions. Whatever is wrong with the form of one is found here; whether its target exists is for the backend.

use envfarm_core::action::{Action, MAX_SEQUENCE, MAX_TEXT_BYTES, MAX_WAIT_MS, Modifier, MouseButton, Target};

use super::{At, ConvertError, Twin, fault, finite, name, required, text};
use crate::v1;
use crate::v1::action::Kind;

/// Longest element id, key name or file name, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Most options, files or modifiers in one action.
const MAX_LIST: usize = 256;

impl TryFrom<v1::Target> for Target {
    type Error = ConvertError;

    fn try_from(wire: v1::Target) -> Result<Self, ConvertError> {
        use v1::target::At as Wire;
        Ok(match required(wire.at)? {
            Wire::Element(id) => Self::Element(name(id, MAX_NAME_BYTES).at("element")?),
            Wire::Pixel(v1::Pixel { x, y }) => Self::Pixel { x: finite(x).at("x").at("pixel")?, y: finite(y).at("y").at("pixel")? },
            Wire::Point(v1::Point { x, y }) => Self::Point { x: share(x).at("x").at("point")?, y: share(y).at("y").at("point")? },
        })
    }
}

impl From<Target> for v1::Target {
    fn from(target: Target) -> Self {
        use v1::target::At as Wire;
        let at = match target {
            Target::Element(id) => Wire::Element(id),
            Target::Pixel { x, y } => Wire::Pixel(v1::Pixel { x, y }),
            Target::Point { x, y } => Wire::Point(v1::Point { x, y }),
        };
        Self { at: Some(at) }
    }
}

fn share(value: f64) -> Result<f64, ConvertError> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { fault("not within 0 and 1") }
}

fn target(wire: Option<v1::Target>, field: &str) -> Result<Target, ConvertError> {
    required(wire).and_then(Target::try_from).at(field)
}

fn optional_target(wire: Option<v1::Target>, field: &str) -> Result<Option<Target>, ConvertError> {
    wire.map(Target::try_from).transpose().at(field)
}

fn button(wire: i32) -> Result<MouseButton, ConvertError> {
    Ok(MouseButton::from_wire(wire).at("button")?.unwrap_or_default())
}

fn any_text(value: String) -> Result<String, ConvertError> {
    text(value, MAX_TEXT_BYTES)
}

fn key(value: String) -> Result<String, ConvertError> {
    name(value, MAX_NAME_BYTES)
}

/// A list whose items together are bounded like one text.
fn texts(values: Vec<String>, field: &str) -> Result<Vec<String>, ConvertError> {
    let total = values.iter().map(String::len).sum::<usize>();
    if values.len() > MAX_LIST {
        fault(format!("{} items, of at most {MAX_LIST}", values.len())).at(field)
    } else if total > MAX_TEXT_BYTES {
        fault(format!("{total} bytes, of at most {MAX_TEXT_BYTES}")).at(field)
    } else {
        Ok(values)
    }
}

fn click(wire: v1::Click) -> Result<Action, ConvertError> {
    let modifiers = texts(wire.modifiers, "modifiers")?;
    let modifiers = modifiers.iter().enumerate().map(|(i, name)| {
        Modifier::parse(name).map_or_else(|| fault("not Alt, Control, Meta, Shift or ControlOrMeta").at_index("modifiers", i), Ok)
    });
    Ok(Action::Click {
        target: target(wire.target, "target")?,
        button: button(wire.button)?,
        count: u8::try_from(wire.count).or_else(|_| fault("more than 255").at("count"))?.max(1),
        modifiers: modifiers.collect::<Result<_, _>>()?,
    })
}

impl TryFrom<v1::Action> for Action {
    type Error = ConvertError;

    fn try_from(wire: v1::Action) -> Result<Self, ConvertError> {
        Ok(match required(wire.kind)? {
            Kind::Sequence(sequence) => {
                let count = sequence.actions.len();
                if count > MAX_SEQUENCE {
                    return fault(format!("{count} actions, of at most {MAX_SEQUENCE}")).at("sequence.actions");
                }
                let single =
                    |(i, action): (usize, v1::Action)| required(action.kind).and_then(single).at_index("actions", i).at("sequence");
                Self::Sequence(sequence.actions.into_iter().enumerate().map(single).collect::<Result<_, _>>()?)
            }
            kind => single(kind)?,
        })
    }
}

/// Any action but a sequence: sequences do not nest.
fn single(kind: Kind) -> Result<Action, ConvertError> {
    Ok(match kind {
        Kind::Sequence(_) => return fault("a sequence within a sequence").at("sequence"),
        Kind::Click(wire) => click(wire).at("click")?,
        Kind::Hover(wire) => Action::Hover { target: target(wire.target, "target").at("hover")? },
        Kind::MouseDown(wire) => Action::MouseDown {
            target: optional_target(wire.target, "target").at("mouse_down")?,
            button: button(wire.button).at("mouse_down")?,
        },
        Kind::MouseUp(wire) => {
            Action::MouseUp { target: optional_target(wire.target, "target").at("mouse_up")?, button: button(wire.button).at("mouse_up")? }
        }
        Kind::Drag(wire) => Action::Drag { from: target(wire.from, "from").at("drag")?, to: target(wire.to, "to").at("drag")? },
        Kind::Scroll(wire) => Action::Scroll {
            at: optional_target(wire.at, "at").at("scroll")?,
            dx: finite(wire.dx).at("dx").at("scroll")?,
            dy: finite(wire.dy).at("dy").at("scroll")?,
        },
        Kind::ScrollPages(pages) => Action::ScrollPages { pages: finite(pages).at("scroll_pages")? },
        Kind::Fill(wire) => {
            Action::Fill { target: target(wire.target, "target").at("fill")?, text: any_text(wire.text).at("text").at("fill")? }
        }
        Kind::Type(wire) => Action::Type {
            target: optional_target(wire.target, "target").at("type")?,
            text: any_text(wire.text).at("text").at("type")?,
            clear: wire.clear,
            press_enter: wire.press_enter,
        },
        Kind::Select(wire) => {
            Action::Select { target: target(wire.target, "target").at("select")?, options: texts(wire.options, "options").at("select")? }
        }
        Kind::SetChecked(wire) => Action::SetChecked { target: target(wire.target, "target").at("set_checked")?, checked: wire.checked },
        Kind::Clear(wire) => Action::Clear { target: Target::try_from(wire).at("clear")? },
        Kind::Focus(wire) => Action::Focus { target: Target::try_from(wire).at("focus")? },
        Kind::Press(wire) => {
            Action::Press { target: optional_target(wire.target, "target").at("press")?, keys: key(wire.keys).at("keys").at("press")? }
        }
        Kind::KeyDown(wire) => Action::KeyDown { key: key(wire).at("key_down")? },
        Kind::KeyUp(wire) => Action::KeyUp { key: key(wire).at("key_up")? },
        Kind::InsertText(wire) => Action::InsertText { text: any_text(wire).at("insert_text")? },
        Kind::Upload(wire) => {
            Action::Upload { target: target(wire.target, "target").at("upload")?, files: texts(wire.files, "files").at("upload")? }
        }
        Kind::Goto(wire) => Action::Goto { url: any_text(wire.url).at("url").at("goto")?, new_tab: wire.new_tab },
        Kind::Back(_) => Action::Back,
        Kind::Forward(_) => Action::Forward,
        Kind::NewTab(_) => Action::NewTab,
        Kind::CloseTab(_) => Action::CloseTab,
        Kind::FocusTab(index) => Action::FocusTab { index: index as usize },
        Kind::WaitMs(ms) if ms > MAX_WAIT_MS => return fault(format!("{ms}, of at most {MAX_WAIT_MS}")).at("wait_ms"),
        Kind::WaitMs(ms) => Action::Wait { ms },
        Kind::Answer(wire) => Action::Answer { text: any_text(wire).at("answer")? },
        Kind::Infeasible(wire) => Action::Infeasible { reason: any_text(wire).at("infeasible")? },
        Kind::Finish(wire) => Action::Finish { answer: any_text(wire).at("finish")? },
    })
}

fn modifier_name(modifier: &Modifier) -> String {
    match modifier {
        Modifier::Alt => "Alt",
        Modifier::Control => "Control",
        Modifier::Meta => "Meta",
        Modifier::Shift => "Shift",
    }
    .to_owned()
}

impl From<Action> for v1::Action {
    fn from(action: Action) -> Self {
        let wire = |target: Target| Some(v1::Target::from(target));
        let maybe = |target: Option<Target>| target.map(v1::Target::from);
        let kind = match action {
            Action::Click { target, button, count, modifiers } => Kind::Click(v1::Click {
                target: wire(target),
                button: button.to_wire(),
                count: count.into(),
                modifiers: modifiers.iter().map(modifier_name).collect(),
            }),
            Action::Hover { target } => Kind::Hover(v1::Hover { target: wire(target) }),
            Action::MouseDown { target, button } => {
                Kind::MouseDown(v1::MouseButtonChange { target: maybe(target), button: button.to_wire() })
            }
            Action::MouseUp { target, button } => Kind::MouseUp(v1::MouseButtonChange { target: maybe(target), button: button.to_wire() }),
            Action::Drag { from, to } => Kind::Drag(v1::Drag { from: wire(from), to: wire(to) }),
            Action::Scroll { at, dx, dy } => Kind::Scroll(v1::Scroll { at: maybe(at), dx, dy }),
            Action::ScrollPages { pages } => Kind::ScrollPages(pages),
            Action::Fill { target, text } => Kind::Fill(v1::Fill { target: wire(target), text }),
            Action::Type { target, text, clear, press_enter } => {
                Kind::Type(v1::TypeText { target: maybe(target), text, clear, press_enter })
            }
            Action::Select { target, options } => Kind::Select(v1::SelectOption { target: wire(target), options }),
            Action::SetChecked { target, checked } => Kind::SetChecked(v1::SetChecked { target: wire(target), checked }),
            Action::Clear { target } => Kind::Clear(target.into()),
            Action::Focus { target } => Kind::Focus(target.into()),
            Action::Press { target, keys } => Kind::Press(v1::Press { target: maybe(target), keys }),
            Action::KeyDown { key } => Kind::KeyDown(key),
            Action::KeyUp { key } => Kind::KeyUp(key),
            Action::InsertText { text } => Kind::InsertText(text),
            Action::Upload { target, files } => Kind::Upload(v1::Upload { target: wire(target), files }),
            Action::Goto { url, new_tab } => Kind::Goto(v1::Goto { url, new_tab }),
            Action::Back => Kind::Back(v1::Empty {}),
            Action::Forward => Kind::Forward(v1::Empty {}),
            Action::NewTab => Kind::NewTab(v1::Empty {}),
            Action::CloseTab => Kind::CloseTab(v1::Empty {}),
            Action::FocusTab { index } => Kind::FocusTab(u32::try_from(index).unwrap_or(u32::MAX)),
            Action::Wait { ms } => Kind::WaitMs(ms),
            Action::Answer { text } => Kind::Answer(text),
            Action::Infeasible { reason } => Kind::Infeasible(reason),
            Action::Finish { answer } => Kind::Finish(answer),
            Action::Sequence(actions) => Kind::Sequence(v1::Sequence { actions: actions.into_iter().map(Self::from).collect() }),
        };
        Self { kind: Some(kind) }
    }
}
