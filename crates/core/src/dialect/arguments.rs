//! A call's arguments, matched with the parameters of the function that it calls, and read as what the action needs.

use super::call::{Call, Value};
use super::{Dialect, ParseError, clip};
use crate::action::{MAX_WAIT_MS, Modifier, MouseButton, Target};

/// The longest element id, in bytes.
pub(super) const MAX_ELEMENT_BYTES: usize = 256;

pub(super) struct Arguments<'a> {
    dialect: Dialect,
    call: &'a str,
    at: usize,
    /// By parameter; `None` if it was not given, or given as `None`.
    values: Vec<(&'static str, Option<(usize, Value)>)>,
}

impl<'a> Arguments<'a> {
    /// Matches by position and by name, as Python does.
    pub fn bind(dialect: Dialect, call: Call<'a>, parameters: &[&'static str]) -> Result<Self, ParseError> {
        let mut bound = Self { dialect, call: call.name, at: call.at, values: parameters.iter().map(|name| (*name, None)).collect() };
        let mut given = vec![false; parameters.len()];
        for (position, argument) in call.arguments.into_iter().enumerate() {
            let slot = match argument.name {
                Some(name) => parameters
                    .iter()
                    .position(|parameter| *parameter == name)
                    .ok_or_else(|| bound.error(argument.at, format!("no parameter '{}'", clip(name))))?,
                None if position < parameters.len() => position,
                None => return Err(bound.error(argument.at, format!("takes at most {} arguments", parameters.len()))),
            };
            if std::mem::replace(&mut given[slot], true) {
                return Err(bound.error(argument.at, format!("'{}' is given twice", parameters[slot])));
            }
            bound.values[slot].1 = Some((argument.at, argument.value)).filter(|(_, value)| *value != Value::None);
        }
        Ok(bound)
    }

    pub fn error(&self, at: usize, reason: String) -> ParseError {
        ParseError { dialect: self.dialect, at, reason: format!("{}: {reason}", self.call) }
    }

    /// An error about a parameter, at its argument or, without one, at the call.
    pub fn error_in(&self, name: &str, reason: &str) -> ParseError {
        let at = self.values.iter().find(|(parameter, _)| *parameter == name);
        let at = at.and_then(|(_, value)| value.as_ref()).map_or(self.at, |(at, _)| *at);
        self.error(at, format!("'{name}' {reason}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.values.iter().any(|(parameter, value)| *parameter == name && value.is_some())
    }

    fn get(&self, name: &str) -> Result<&Value, ParseError> {
        let value = self.values.iter().find(|(parameter, _)| *parameter == name);
        match value.and_then(|(_, value)| value.as_ref()) {
            Some((_, value)) => Ok(value),
            None => Err(self.error(self.at, format!("'{name}' is missing"))),
        }
    }

    pub fn text(&self, name: &str) -> Result<String, ParseError> {
        match self.get(name)? {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(self.error_in(name, "must be a text")),
        }
    }

    pub fn text_or(&self, name: &str, default: &str) -> Result<String, ParseError> {
        if self.has(name) { self.text(name) } else { Ok(default.to_owned()) }
    }

    /// A text, or a list of them.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, ParseError> {
        match self.get(name)? {
            Value::Text(text) => Ok(vec![text.clone()]),
            Value::List(items) => items
                .iter()
                .map(|(at, item)| match item {
                    Value::Text(text) => Ok(text.clone()),
                    _ => Err(self.error(*at, format!("'{name}' must hold texts only"))),
                })
                .collect(),
            _ => Err(self.error_in(name, "must be a text or a list of texts")),
        }
    }

    pub fn number(&self, name: &str) -> Result<f64, ParseError> {
        match self.get(name)? {
            Value::Int(number) => Ok(*number as f64),
            Value::Float(number) => Ok(*number),
            _ => Err(self.error_in(name, "must be a number")),
        }
    }

    /// A whole number from 0, also if written as a text.
    pub fn index(&self, name: &str) -> Result<usize, ParseError> {
        let index = match self.get(name)? {
            Value::Int(index) => usize::try_from(*index).ok(),
            Value::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        index.ok_or_else(|| self.error_in(name, "must be a whole number, not below 0"))
    }

    pub fn milliseconds_or(&self, name: &str, default: u32) -> Result<u32, ParseError> {
        if !self.has(name) {
            return Ok(default);
        }
        let ms = self.number(name)?;
        if !(0.0..=f64::from(MAX_WAIT_MS)).contains(&ms) {
            return Err(self.error_in(name, &format!("must be from 0 to {MAX_WAIT_MS} milliseconds")));
        }
        Ok(ms as u32)
    }

    pub fn flag_or(&self, name: &str, default: bool) -> Result<bool, ParseError> {
        if !self.has(name) {
            return Ok(default);
        }
        match self.get(name)? {
            Value::Bool(flag) => Ok(*flag),
            Value::Int(0) => Ok(false),
            Value::Int(1) => Ok(true),
            _ => Err(self.error_in(name, "must be True or False")),
        }
    }

    /// An element id, as a text or a bare number.
    pub fn element(&self, name: &str) -> Result<Target, ParseError> {
        match self.get(name)? {
            Value::Int(id) if *id >= 0 => Ok(Target::Element(id.to_string())),
            Value::Text(id) if !id.is_empty() && id.len() <= MAX_ELEMENT_BYTES => Ok(Target::Element(id.clone())),
            Value::Text(id) if id.is_empty() => Err(self.error_in(name, "is empty")),
            Value::Text(_) => Err(self.error_in(name, &format!("is longer than {MAX_ELEMENT_BYTES} bytes"))),
            _ => Err(self.error_in(name, "must be an element id")),
        }
    }

    pub fn pixel(&self, x: &str, y: &str) -> Result<Target, ParseError> {
        Ok(Target::Pixel { x: self.number(x)?, y: self.number(y)? })
    }

    pub fn button(&self, name: &str) -> Result<MouseButton, ParseError> {
        match self.text_or(name, "left")?.as_str() {
            "left" => Ok(MouseButton::Left),
            "middle" => Ok(MouseButton::Middle),
            "right" => Ok(MouseButton::Right),
            _ => Err(self.error_in(name, "must be 'left', 'middle' or 'right'")),
        }
    }

    pub fn modifiers(&self, name: &str) -> Result<Vec<Modifier>, ParseError> {
        if !self.has(name) {
            return Ok(Vec::new());
        }
        let modifiers: Option<Vec<Modifier>> = self.texts(name)?.iter().map(|held| Modifier::parse(held)).collect();
        modifiers.ok_or_else(|| self.error_in(name, "must be of 'Alt', 'Control', 'ControlOrMeta', 'Meta', 'Shift'"))
    }
}
