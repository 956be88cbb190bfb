//! How Python writes values: the texts that agents were trained on are made with its `repr`, `strip` and `split`.

use std::fmt::Write;

use serde_json::value::RawValue;

/// `repr` of a JSON value.
pub fn repr_json(value: &RawValue) -> String {
    repr_value(&serde_json::from_str(value.get()).unwrap_or_default())
}

fn repr_value(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(n) if n.is_f64() => repr_float(n.as_f64().unwrap_or_default()),
        Value::Number(n) => n.to_string(),
        Value::String(text) => repr(text),
        Value::Array(items) => format!("[{}]", items.iter().map(repr_value).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(k, v)| format!("{}: {}", repr(k), repr_value(v))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}

fn repr_float(x: f64) -> String {
    let text = format!("{x:?}");
    // Python signs exponents and gives them two digits.
    match text.split_once('e') {
        None => text,
        Some((mantissa, exponent)) => {
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |d| ('-', d));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
    }
}

/// `str(value)` of a JSON value.
pub fn str_json(value: &RawValue) -> String {
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(other) => repr_value(&other),
        Err(_) => String::new(),
    }
}

/// Whether Python holds the JSON value for true.
pub fn is_true(value: &RawValue) -> bool {
    !matches!(value.get(), "false" | "null" | "0" | "0.0" | "\"\"" | "[]" | "{}")
}

/// `repr` of a string.
pub fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                // Writing to a string cannot fail.
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push(quote);
    out
}

/// Python's `str.isprintable`, by Unicode's categories: no control, format, private use, and no separator but the space.
/// Unassigned code points, which change with each Unicode version, count as printable here unless they are noncharacters.
fn is_printable(c: char) -> bool {
    !matches!(u32::from(c),
        0..=0x1f | 0x7f..=0xa0 | 0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890 | 0x891 | 0x8e2 | 0x1680 | 0x180e
        | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb
        | 0xfffe | 0xffff | 0x110bd | 0x110cd | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0xe00ff | 0xf0000..)
}

/// Python's `str.isspace` for one character.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// `str.strip()`.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).expect("JSON")
    }

    #[test]
    fn strings_are_quoted_as_python_quotes_them() {
        for (text, quoted) in [
            ("plain", "'plain'"),
            ("it's", "\"it's\""),
            ("both ' and \"", "'both \\' and \"'"),
            ("a\\b\n\t\r", "'a\\\\b\\n\\t\\r'"),
            ("\u{0}\u{7f}\u{a0}", "'\\x00\\x7f\\xa0'"),
            ("zero\u{200b}width \u{e001}", "'zero\\u200bwidth \\ue001'"),
            ("\u{e0001}", "'\\U000e0001'"),
            ("é 漢 😀", "'é 漢 😀'"),
        ] {
            assert_eq!(repr(text), quoted);
        }
    }

    #[test]
    fn values_read_as_in_python() {
        for (value, text) in [
            ("true", "True"),
            ("false", "False"),
            ("null", "None"),
            ("3", "3"),
            ("0.5", "0.5"),
            ("1e-7", "1e-07"),
            ("1e22", "1e+22"),
            ("\"x\"", "'x'"),
            ("[1,\"a\"]", "[1, 'a']"),
        ] {
            assert_eq!(repr_json(&json(value)), text);
        }
        assert_eq!(str_json(&json("\"x\"")), "x");
        assert_eq!(str_json(&json("true")), "True");
    }

    #[test]
    fn strip_takes_what_python_takes() {
        assert_eq!(strip("\u{1c} \u{a0}a b\u{2003}\n"), "a b");
        // Not space to Python, however empty it looks.
        assert_eq!(strip("\u{200b}a"), "\u{200b}a");
    }
}
