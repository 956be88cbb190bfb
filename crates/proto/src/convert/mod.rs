//! Between what travels and core's strict types: `TryFrom` inwards, `From` outwards.
//!
//! Everything that a peer sends is checked here once, on receipt; past this line no type can hold a value that the API
//! forbids. An error names the field by its path, so that whoever wrote the message can find it.

mod action;
mod command;
mod enums;
mod observation;
mod outcome;

use std::fmt;
use std::time::Duration;

pub use command::{MAX_ID_BYTES, Rejection, attach, command};
pub use enums::Twin;
pub use observation::MAX_SPECS;

/// A message that the API forbids: which field (`step.typed.click.target.pixel.x`), and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertError {
    /// Path from the message that was converted; empty for the message itself.
    pub field: String,
    pub reason: String,
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.field, self.reason) }
    }
}

impl std::error::Error for ConvertError {}

/// A fault in the value at hand; [`At`] adds where it sits on the way out.
fn fault<T>(reason: impl Into<String>) -> Result<T, ConvertError> {
    Err(ConvertError { field: String::new(), reason: reason.into() })
}

/// Adds path segments to errors only, so that good messages pay nothing for them.
pub(crate) trait At: Sized {
    fn at(self, field: &str) -> Self;
    fn at_index(self, field: &str, index: usize) -> Self;
}

impl<T> At for Result<T, ConvertError> {
    fn at(self, field: &str) -> Self {
        self.map_err(|mut error| {
            let dot = if error.field.is_empty() { "" } else { "." };
            error.field = format!("{field}{dot}{}", error.field);
            error
        })
    }

    fn at_index(self, field: &str, index: usize) -> Self {
        if self.is_ok() { self } else { self.at(&format!("{field}[{index}]")) }
    }
}

fn required<T>(value: Option<T>) -> Result<T, ConvertError> {
    value.map_or_else(|| fault("not set"), Ok)
}

/// A text of at most `max` bytes; the reason does not repeat it, since it may be megabytes.
fn text(value: String, max: usize) -> Result<String, ConvertError> {
    if value.len() > max { fault(format!("{} bytes, of at most {max}", value.len())) } else { Ok(value) }
}

/// A name: not empty, and of at most `max` bytes.
fn name(value: String, max: usize) -> Result<String, ConvertError> {
    if value.is_empty() { fault("empty") } else { text(value, max) }
}

fn finite(value: f64) -> Result<f64, ConvertError> {
    if value.is_finite() { Ok(value) } else { fault("not finite") }
}

/// Milliseconds, where 0 means "none": anything longer than nothing is at least 1.
pub(crate) fn millis(value: Duration) -> u32 {
    u32::try_from(value.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

fn optional_millis(value: u32) -> Option<Duration> {
    (value != 0).then(|| Duration::from_millis(value.into()))
}

fn micros(value: Duration) -> u32 {
    u32::try_from(value.as_micros()).unwrap_or(u32::MAX)
}

fn from_micros(value: u32) -> Duration {
    Duration::from_micros(value.into())
}
