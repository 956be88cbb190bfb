//! Mouse and keyboard: pointer events and key events through CDP's Input domain, as a person's devices would give them.

use envfarm_core::MouseButton;
use envfarm_core::action::Modifier;
use futures::future::try_join_all;
use serde_json::json;

use super::ActError;
use super::keys::{self, Key};
use crate::cdp::{CdpError, Session};

/// Text longer than this is typed as one insertion: key events for a megabyte would take minutes.
const MAX_TYPED_CHARS: usize = 1000;
/// Characters whose events are sent together; a round trip for each would make a busy farm a slow typist.
const TYPED_AT_ONCE: usize = 12;

/// The mouse and keyboard of one sandbox: where the pointer is, what is held.
#[derive(Clone, Debug, Default)]
pub struct Devices {
    pub pointer: (f64, f64),
    modifiers: u32,
    buttons: u32,
}

fn button_name(button: MouseButton) -> &'static str {
    match button {
        MouseButton::Left => "left",
        MouseButton::Middle => "middle",
        MouseButton::Right => "right",
    }
}

fn button_bit(button: MouseButton) -> u32 {
    match button {
        MouseButton::Left => 1,
        MouseButton::Right => 2,
        MouseButton::Middle => 4,
    }
}

fn modifier_bits(modifiers: &[Modifier]) -> u32 {
    modifiers.iter().fold(0, |bits, m| {
        bits | match m {
            Modifier::Alt => keys::ALT,
            Modifier::Control => keys::CONTROL,
            Modifier::Meta => keys::META,
            Modifier::Shift => keys::SHIFT,
        }
    })
}

impl Devices {
    fn mouse(&self, kind: &str, button: Option<MouseButton>, count: u8, modifiers: u32) -> serde_json::Value {
        json!({
            "type": kind, "x": self.pointer.0, "y": self.pointer.1, "modifiers": self.modifiers | modifiers,
            "button": button.map_or("none", button_name), "buttons": self.buttons, "clickCount": count,
        })
    }

    pub async fn move_to(&mut self, session: &Session, to: (f64, f64)) -> Result<(), CdpError> {
        self.pointer = to;
        let event = self.mouse("mouseMoved", self.held_button(), 0, 0);
        session.call_raw("Input.dispatchMouseEvent", event).await.map(drop)
    }

    /// Releases what is held and takes the pointer off the page.
    pub fn let_go(mut self, session: &Session) {
        while let Some(button) = self.held_button() {
            self.release(session, button);
        }
        for key in Key::modifiers().filter(|key| self.modifiers & key.modifier != 0) {
            session.notify("Input.dispatchKeyEvent", self.key_event("keyUp", &key, 0));
        }
        self.modifiers = 0;
        if self.pointer != (0.0, 0.0) {
            self.pointer = (-1.0, -1.0);
            session.notify("Input.dispatchMouseEvent", self.mouse("mouseMoved", None, 0, 0));
        }
    }

    /// Releases a button, if it is held, without waiting for what the page makes of it.
    pub fn release(&mut self, session: &Session, button: MouseButton) {
        if self.buttons & button_bit(button) != 0 {
            self.buttons &= !button_bit(button);
            session.notify("Input.dispatchMouseEvent", self.mouse("mouseReleased", Some(button), 1, 0));
        }
    }

    fn held_button(&self) -> Option<MouseButton> {
        [MouseButton::Left, MouseButton::Right, MouseButton::Middle].into_iter().find(|b| self.buttons & button_bit(*b) != 0)
    }

    /// Moves there and clicks `count` times. The events are sent together; the browser keeps their order.
    pub async fn click(
        &mut self,
        session: &Session,
        at: (f64, f64),
        button: MouseButton,
        count: u8,
        modifiers: &[Modifier],
    ) -> Result<(), CdpError> {
        let held = modifier_bits(modifiers);
        self.pointer = at;
        let mut events = vec![self.mouse("mouseMoved", None, 0, held)];
        for n in 1..=count.clamp(1, 3) {
            self.buttons |= button_bit(button);
            events.push(self.mouse("mousePressed", Some(button), n, held));
            self.buttons &= !button_bit(button);
            events.push(self.mouse("mouseReleased", Some(button), n, held));
        }
        try_join_all(events.iter().map(|event| session.call_raw("Input.dispatchMouseEvent", event))).await.map(drop)
    }

    pub async fn button(&mut self, session: &Session, button: MouseButton, down: bool) -> Result<(), CdpError> {
        let kind = if down {
            self.buttons |= button_bit(button);
            "mousePressed"
        } else {
            self.buttons &= !button_bit(button);
            "mouseReleased"
        };
        session.call_raw("Input.dispatchMouseEvent", self.mouse(kind, Some(button), 1, 0)).await.map(drop)
    }

    pub async fn wheel(&mut self, session: &Session, at: (f64, f64), dx: f64, dy: f64) -> Result<(), CdpError> {
        self.pointer = at;
        let mut event = self.mouse("mouseWheel", None, 0, 0);
        event["deltaX"] = dx.into();
        event["deltaY"] = dy.into();
        session.call_raw("Input.dispatchMouseEvent", event).await?;
        // Scrolling happens with frames, apart from the page's tasks: two frames later it has begun.
        let frames = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))";
        session.call_raw("Runtime.evaluate", json!({"expression": frames, "awaitPromise": true})).await.map(drop)
    }

    fn key_event(&self, kind: &str, key: &Key, modifiers: u32) -> serde_json::Value {
        // With Control, Alt or Meta held a key is a command, not text.
        let types = modifiers & !keys::SHIFT == 0 && kind == "keyDown" && !key.text.is_empty();
        let mut event = json!({
            "type": if kind == "keyDown" && !types { "rawKeyDown" } else { kind },
            "key": key.key, "code": key.code, "windowsVirtualKeyCode": key.virtual_code, "modifiers": modifiers,
        });
        if types {
            event["text"] = key.text.as_str().into();
            event["unmodifiedText"] = key.text.as_str().into();
        }
        event
    }

    pub async fn key(&mut self, session: &Session, name: &str, down: bool) -> Result<(), ActError> {
        let key = Key::of_name(name).ok_or_else(|| ActError::failed(format!("no such key: {name:?}")))?;
        let kind = if down {
            self.modifiers |= key.modifier;
            "keyDown"
        } else {
            self.modifiers &= !key.modifier;
            "keyUp"
        };
        let event = self.key_event(kind, &key, self.modifiers);
        Ok(session.call_raw("Input.dispatchKeyEvent", event).await.map(drop)?)
    }

    /// Presses a chord: all down in order, all up in reverse.
    pub async fn press(&mut self, session: &Session, chord: &str) -> Result<(), ActError> {
        let chord = keys::parse_chord(chord).map_err(ActError::failed)?;
        let mut modifiers = self.modifiers;
        let mut events = Vec::with_capacity(chord.len() * 2);
        for key in &chord {
            modifiers |= key.modifier;
            events.push(self.key_event("keyDown", key, modifiers));
        }
        for key in chord.iter().rev() {
            modifiers &= !key.modifier;
            events.push(self.key_event("keyUp", key, modifiers));
        }
        Ok(try_join_all(events.iter().map(|event| session.call_raw("Input.dispatchKeyEvent", event))).await.map(drop)?)
    }

    /// Types text key by key where the focus is; characters without a key, and what is beyond a thousand, are inserted.
    pub async fn type_text(&mut self, session: &Session, text: &str) -> Result<(), CdpError> {
        let typed_end = text.char_indices().nth(MAX_TYPED_CHARS).map_or(text.len(), |(at, _)| at);
        let (typed, rest) = text.split_at(typed_end);
        let chars: Vec<char> = typed.chars().collect();
        for chars in chars.chunks(TYPED_AT_ONCE) {
            let mut events = Vec::with_capacity(2 * chars.len());
            for c in chars {
                match Key::of_char(*c) {
                    Some(key) => {
                        let modifiers = self.modifiers | if key.needs_shift { keys::SHIFT } else { 0 };
                        events.push(("Input.dispatchKeyEvent", self.key_event("keyDown", &key, modifiers)));
                        events.push(("Input.dispatchKeyEvent", self.key_event("keyUp", &key, modifiers)));
                    }
                    None => events.push(("Input.insertText", json!({"text": c.to_string()}))),
                }
            }
            try_join_all(events.into_iter().map(|(method, event)| session.call_raw(method, event))).await?;
        }
        if rest.is_empty() { Ok(()) } else { insert(session, rest).await }
    }
}

/// Text without key events, as an input method gives it.
pub async fn insert(session: &Session, text: &str) -> Result<(), CdpError> {
    session.call_raw("Input.insertText", json!({"text": text})).await.map(drop)
}
