//! Values that people write as text: sizes (`"12GiB"`), shares of memory (`"70%"`) and durations (`"1h30m"`).
//!
//! Each has one way to be written wrong and says so itself, so that the error that serde wraps around it is already clear.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, written as a whole or decimal number and a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size: write a number and B, KiB, MiB, GiB or TiB, such as \"512MiB\"");
        let (unit, scale) = SIZE_UNITS.iter().find(|(unit, _)| text.ends_with(unit)).ok_or_else(wrong)?;
        let number: f64 = decimal(&text[..text.len() - unit.len()]).ok_or_else(wrong)?;
        let bytes = number * *scale as f64;
        if bytes >= u64::MAX as f64 {
            return Err(format!("`{text}` is more than any machine has"));
        }
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, scale) = SIZE_UNITS.iter().find(|(_, scale)| self.0 >= *scale && self.0.is_multiple_of(*scale)).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// Memory: a size, or a share of what the machine (or its cgroup) has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Memory {
    Size(Size),
    Percent(f64),
}

impl Memory {
    /// In bytes, on a machine with `total` bytes.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Size(size) => size.0,
            Self::Percent(percent) => (total as f64 * percent / 100.0) as u64,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let Some(number) = text.strip_suffix('%') else {
            return Size::parse(text).map(Self::Size).map_err(|why| format!("{why}, or a share of memory such as \"70%\""));
        };
        match decimal(number) {
            Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Percent(percent)),
            _ => Err(format!("`{text}` is not a share of memory: write more than 0% and at most 100%")),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A duration, written as numbers with units, largest first: `"1h30m"`, `"500ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

const SPAN_UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Longest span that may be configured; everything above is a slip of the pen.
const LONGEST_MS: u64 = 366 * 86_400_000;

impl Span {
    pub const fn seconds(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration: write numbers with ms, s, m, h or d, such as \"1h30m\" or \"500ms\"");
        let mut rest = text;
        let mut total = 0.0;
        let mut last_scale = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let (number, after) = rest.split_at(digits);
            let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, next) = after.split_at(letters);
            let (_, scale) = SPAN_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            if *scale >= last_scale {
                return Err(wrong());
            }
            total += decimal(number).ok_or_else(wrong)? * *scale as f64;
            last_scale = *scale;
            rest = next;
        }
        if last_scale == u64::MAX {
            return Err(wrong());
        }
        if total > LONGEST_MS as f64 {
            return Err(format!("`{text}` is longer than a year"));
        }
        Ok(Self(Duration::from_micros((total * 1000.0).round() as u64)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return f.write_str("0ms");
        }
        for (unit, scale) in SPAN_UNITS {
            if left >= scale {
                write!(f, "{}{unit}", left / scale)?;
                left %= scale;
            }
        }
        Ok(())
    }
}

/// Digits with at most one point; none of the other shapes that `f64::from_str` takes.
fn decimal(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| text.parse().ok()).flatten()
}

macro_rules! written_as_text {
    ($type:ty) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

written_as_text!(Size);
written_as_text!(Memory);
written_as_text!(Span);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_they_are_shown() {
        for (text, bytes) in [("0B", 0), ("512B", 512), ("1536KiB", 1536 << 10), ("2GiB", 2 << 30), ("1.5GiB", 3 << 29)] {
            let size = Size::parse(text).unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(Size::parse(&size.to_string()), Ok(size), "{text}");
        }
    }

    #[test]
    fn a_size_without_a_binary_unit_is_refused() {
        for text in ["", "12", "12GB", "GiB", "-1GiB", "1e3MiB", "1.2.3MiB", "inf B", "99999999999TiB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_of_memory_is_taken_of_the_machine() {
        assert_eq!(Memory::parse("70%").map(|m| m.of(1000)), Ok(700));
        assert_eq!(Memory::parse("1KiB").map(|m| m.of(1000)), Ok(1024));
        for text in ["0%", "101%", "%", "NaN%"] {
            assert!(Memory::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_read_back_as_they_are_shown() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("1.5s", 1_500), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0s", 0)] {
            let span = Span::parse(text).unwrap();
            assert_eq!(span.0.as_millis(), ms, "{text}");
            assert_eq!(Span::parse(&span.to_string()), Ok(span), "{text}");
        }
    }

    #[test]
    fn a_duration_without_unit_or_out_of_order_is_refused() {
        for text in ["", "30", "30 s", "s", "1m1h", "1s1s", "-1s", "1week", "400d"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }
}
