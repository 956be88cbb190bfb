//! Key names, as Playwright and BrowserGym write them, to what CDP's `Input.dispatchKeyEvent` wants (US layout).

/// One key of the keyboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// DOM `KeyboardEvent.key`.
    pub key: String,
    /// DOM `KeyboardEvent.code`; empty for characters that no key of the layout makes.
    pub code: String,
    /// Windows virtual key code, which Chromium uses on every platform.
    pub virtual_code: u32,
    /// What the key types; empty if nothing.
    pub text: String,
    /// Bit of CDP's `modifiers`, for modifier keys.
    pub modifier: u32,
    pub needs_shift: bool,
}

pub const ALT: u32 = 1;
pub const CONTROL: u32 = 2;
pub const META: u32 = 4;
pub const SHIFT: u32 = 8;

const SHIFTED_DIGITS: [char; 10] = [')', '!', '@', '#', '$', '%', '^', '&', '*', '('];

/// Name, code, virtual code, text.
const NAMED: [(&str, &str, u32, &str); 36] = [
    ("Enter", "Enter", 13, "\r"),
    ("Tab", "Tab", 9, ""),
    ("Backspace", "Backspace", 8, ""),
    ("Delete", "Delete", 46, ""),
    ("Escape", "Escape", 27, ""),
    ("Space", "Space", 32, " "),
    ("ArrowLeft", "ArrowLeft", 37, ""),
    ("ArrowUp", "ArrowUp", 38, ""),
    ("ArrowRight", "ArrowRight", 39, ""),
    ("ArrowDown", "ArrowDown", 40, ""),
    ("Home", "Home", 36, ""),
    ("End", "End", 35, ""),
    ("PageUp", "PageUp", 33, ""),
    ("PageDown", "PageDown", 34, ""),
    ("Insert", "Insert", 45, ""),
    ("CapsLock", "CapsLock", 20, ""),
    ("NumLock", "NumLock", 144, ""),
    ("ScrollLock", "ScrollLock", 145, ""),
    ("Pause", "Pause", 19, ""),
    ("PrintScreen", "PrintScreen", 44, ""),
    ("ContextMenu", "ContextMenu", 93, ""),
    ("F1", "F1", 112, ""),
    ("F2", "F2", 113, ""),
    ("F3", "F3", 114, ""),
    ("F4", "F4", 115, ""),
    ("F5", "F5", 116, ""),
    ("F6", "F6", 117, ""),
    ("F7", "F7", 118, ""),
    ("F8", "F8", 119, ""),
    ("F9", "F9", 120, ""),
    ("F10", "F10", 121, ""),
    ("F11", "F11", 122, ""),
    ("F12", "F12", 123, ""),
    ("Help", "Help", 47, ""),
    ("Clear", "Clear", 12, ""),
    ("Cancel", "Cancel", 3, ""),
];

const MODIFIERS: [(&str, &str, u32, u32); 16] = [
    ("Alt", "AltLeft", 18, ALT),
    ("Control", "ControlLeft", 17, CONTROL),
    ("Meta", "MetaLeft", 91, META),
    ("Shift", "ShiftLeft", 16, SHIFT),
    ("ControlOrMeta", "ControlLeft", 17, CONTROL),
    ("Ctrl", "ControlLeft", 17, CONTROL),
    ("Cmd", "MetaLeft", 91, META),
    ("Command", "MetaLeft", 91, META),
    ("AltLeft", "AltLeft", 18, ALT),
    ("AltRight", "AltRight", 18, ALT),
    ("ControlLeft", "ControlLeft", 17, CONTROL),
    ("ControlRight", "ControlRight", 17, CONTROL),
    ("MetaLeft", "MetaLeft", 91, META),
    ("MetaRight", "MetaRight", 92, META),
    ("ShiftLeft", "ShiftLeft", 16, SHIFT),
    ("ShiftRight", "ShiftRight", 16, SHIFT),
];

/// Name, which is its code, virtual code, and the character that it types.
const NUMPAD: [(&str, u32, char); 16] = [
    ("Numpad0", 96, '0'),
    ("Numpad1", 97, '1'),
    ("Numpad2", 98, '2'),
    ("Numpad3", 99, '3'),
    ("Numpad4", 100, '4'),
    ("Numpad5", 101, '5'),
    ("Numpad6", 102, '6'),
    ("Numpad7", 103, '7'),
    ("Numpad8", 104, '8'),
    ("Numpad9", 105, '9'),
    ("NumpadMultiply", 106, '*'),
    ("NumpadAdd", 107, '+'),
    ("NumpadSubtract", 109, '-'),
    ("NumpadDecimal", 110, '.'),
    ("NumpadDivide", 111, '/'),
    ("NumpadEnter", 13, '\n'),
];

/// Plain and shifted character, code, virtual code.
const PUNCTUATION: [(char, char, &str, u32); 11] = [
    (';', ':', "Semicolon", 186),
    ('=', '+', "Equal", 187),
    (',', '<', "Comma", 188),
    ('-', '_', "Minus", 189),
    ('.', '>', "Period", 190),
    ('/', '?', "Slash", 191),
    ('`', '~', "Backquote", 192),
    ('[', '{', "BracketLeft", 219),
    ('\\', '|', "Backslash", 220),
    (']', '}', "BracketRight", 221),
    ('\'', '"', "Quote", 222),
];

impl Key {
    /// The key that types a character; `None` for characters without a key.
    pub fn of_char(c: char) -> Option<Self> {
        let text = c.to_string();
        let make = |code: String, virtual_code: u32, needs_shift: bool| Self {
            key: text.clone(),
            code,
            virtual_code,
            text: text.clone(),
            modifier: 0,
            needs_shift,
        };
        Some(match c {
            '\n' | '\r' => Self::of_name("Enter")?,
            '\t' => Self::of_name("Tab")?,
            ' ' => make("Space".to_owned(), 32, false),
            'a'..='z' | 'A'..='Z' => {
                let upper = c.to_ascii_uppercase();
                make(format!("Key{upper}"), upper as u32, c.is_ascii_uppercase())
            }
            '0'..='9' => make(format!("Digit{c}"), c as u32, false),
            _ => {
                if let Some(digit) = SHIFTED_DIGITS.iter().position(|d| *d == c) {
                    make(format!("Digit{digit}"), 48 + digit as u32, true)
                } else {
                    let (plain, _, code, virtual_code) = PUNCTUATION.iter().find(|(plain, shifted, ..)| *plain == c || *shifted == c)?;
                    make((*code).to_owned(), *virtual_code, *plain != c)
                }
            }
        })
    }

    pub fn modifiers() -> impl Iterator<Item = Self> {
        ["Alt", "Control", "Meta", "Shift"].into_iter().filter_map(Self::of_name)
    }

    /// The key of a name: `Enter`, `a`, `A`, `KeyA`, `Digit1`, `Shift`, in Playwright's manner; case counts for single
    /// letters only.
    pub fn of_name(name: &str) -> Option<Self> {
        let mut chars = name.chars();
        if let (Some(c), None) = (chars.next(), chars.next()) {
            return Self::of_char(c);
        }
        if let Some((_, code, virtual_code, bit)) = MODIFIERS.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name)) {
            let key = match *bit {
                ALT => "Alt",
                CONTROL => "Control",
                META => "Meta",
                _ => "Shift",
            };
            return Some(Self {
                key: key.to_owned(),
                code: (*code).to_owned(),
                virtual_code: *virtual_code,
                text: String::new(),
                modifier: *bit,
                needs_shift: false,
            });
        }
        let name = match name.to_ascii_lowercase().as_str() {
            "return" => "Enter",
            "esc" => "Escape",
            "del" => "Delete",
            "up" => "ArrowUp",
            "down" => "ArrowDown",
            "left" => "ArrowLeft",
            "right" => "ArrowRight",
            _ => name,
        };
        if let Some((name, code, virtual_code, text)) = NAMED.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name)) {
            let key = if *name == "Space" { " " } else { name };
            return Some(Self {
                key: key.to_owned(),
                code: (*code).to_owned(),
                virtual_code: *virtual_code,
                text: (*text).to_owned(),
                modifier: 0,
                needs_shift: false,
            });
        }
        if let Some((code, virtual_code, typed)) = NUMPAD.iter().find(|(n, ..)| n.eq_ignore_ascii_case(name)) {
            let key = Self::of_char(*typed)?;
            return Some(Self { code: (*code).to_owned(), virtual_code: *virtual_code, needs_shift: false, ..key });
        }
        if let Some(letter) = name.strip_prefix("Key").filter(|l| l.len() == 1) {
            return Self::of_char(letter.chars().next()?.to_ascii_lowercase());
        }
        if let Some(digit) = name.strip_prefix("Digit").filter(|d| d.len() == 1) {
            return Self::of_char(digit.chars().next()?);
        }
        PUNCTUATION.iter().find(|(_, _, code, _)| *code == name).and_then(|(plain, ..)| Self::of_char(*plain))
    }
}

/// A chord such as `Control+Shift+a`, or a single key; modifiers first. The error names the part that is no key.
pub fn parse_chord(keys: &str) -> Result<Vec<Key>, String> {
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = keys;
    // A plus at the end is the key itself: "Control++".
    while let Some(at) = rest.char_indices().skip(1).find(|(i, c)| *c == '+' && *i > 0).map(|(i, _)| i) {
        parts.push(&rest[..at]);
        rest = &rest[at + 1..];
        if rest.is_empty() {
            return Err(format!("no key after the last + in {keys:?}"));
        }
    }
    parts.push(rest);
    if parts.len() > 8 {
        return Err(format!("more than 8 keys in {keys:?}"));
    }
    parts.into_iter().map(|part| Key::of_name(part).ok_or_else(|| format!("no such key: {part:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: &str) -> Vec<String> {
        parse_chord(keys).unwrap().into_iter().map(|k| k.key).collect()
    }

    #[test]
    fn chords_split_at_plus_and_keep_a_final_plus() {
        assert_eq!(names("Enter"), ["Enter"]);
        assert_eq!(names("Control+a"), ["Control", "a"]);
        assert_eq!(names("ControlOrMeta+Shift+T"), ["Control", "Shift", "T"]);
        assert_eq!(names("Control++"), ["Control", "+"]);
        assert_eq!(names("+"), ["+"]);
    }

    #[test]
    fn what_is_no_key_is_named() {
        assert!(parse_chord("Control+Hyperspace").unwrap_err().contains("Hyperspace"));
        assert!(parse_chord("").is_err());
        assert!(parse_chord("a+").is_err());
    }

    #[test]
    fn every_printable_ascii_character_has_a_key() {
        for c in ' '..='~' {
            let key = Key::of_char(c).unwrap();
            assert_eq!(key.text, c.to_string());
            assert!(!key.code.is_empty());
        }
        assert!(Key::of_char('é').is_none());
    }
}
