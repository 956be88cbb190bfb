//! Where a key stands in the text: turns a path or a byte offset into `file:line: path: what is wrong`.
//!
//! The typed configuration carries no positions; it is only when something is wrong that the text is walked once more.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Everything that is wrong with one configuration.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// 1 for the first; 0 if the text itself could not be had.
    line: usize,
    /// `environments.miniwob.hosts.max`; empty where no key is to blame.
    path: String,
    what: String,
}

impl ConfigError {
    /// The file cannot be read at all.
    pub fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        Self { file: file.to_owned(), problems: vec![Problem { line: 0, path: String::new(), what: format!("read it: {error}") }] }
    }

    /// What the parser or serde refused.
    pub fn refused(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        let line = line_at(text, offset);
        let path = match DeTable::parse(text) {
            Ok(table) => path_at(table.get_ref(), offset),
            // Text that is no TOML has no paths: show the line itself.
            Err(_) => text.lines().nth(line - 1).map(|line| format!("`{}`", line.trim())).unwrap_or_default(),
        };
        let problem = Problem { line, path, what: error.message().replace('\n', ", ") };
        Self { file: file.to_owned(), problems: vec![problem] }
    }

    /// What the semantic checks found, each with the path of its key.
    pub fn unsound(file: &Path, text: &str, found: Vec<(String, String)>) -> Self {
        let table = DeTable::parse(text);
        let line = |path: &str| table.as_ref().map_or(1, |table| line_at(text, offset_of(table.get_ref(), path)));
        let problems = found.into_iter().map(|(path, what)| Problem { line: line(&path), path, what }).collect();
        Self { file: file.to_owned(), problems }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let Problem { line, path, what } = problem;
            write!(f, "{}{}", if i == 0 { "" } else { "\n" }, self.file.display())?;
            if *line > 0 {
                write!(f, ":{line}")?;
            }
            if !path.is_empty() {
                write!(f, ": {path}")?;
            }
            write!(f, ": {what}")?;
        }
        Ok(())
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count()
}

/// The deepest key whose own text or value covers `offset`.
fn path_at(table: &DeTable<'_>, offset: usize) -> String {
    fn in_value(value: &Spanned<DeValue<'_>>, path: &str, offset: usize, best: &mut String) {
        if value.span().contains(&offset) && path.len() > best.len() {
            path.clone_into(best);
        }
        match value.get_ref() {
            DeValue::Table(table) => in_table(table, path, offset, best),
            DeValue::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| in_value(item, &format!("{path}[{i}]"), offset, best));
            }
            _ => {}
        }
    }
    fn in_table(table: &DeTable<'_>, path: &str, offset: usize, best: &mut String) {
        for (key, value) in table {
            let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
            if key.span().contains(&offset) && path.len() > best.len() {
                path.clone_into(best);
            }
            in_value(value, &path, offset, best);
        }
    }
    let mut best = String::new();
    in_table(table, "", offset, &mut best);
    best
}

/// Where the key of `path` stands, or the nearest of its parents that is written down. Names that contain dots or
/// brackets end at their parent, which is near enough.
fn offset_of(table: &DeTable<'_>, path: &str) -> usize {
    let mut offset = 0;
    let mut table = table;
    for part in path.split('.') {
        let (name, index) = match part.strip_suffix(']').and_then(|part| part.split_once('[')) {
            Some((name, index)) => (name, index.parse::<usize>().ok()),
            None => (part, None),
        };
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
        offset = key.span().start;
        let item = index.and_then(|index| value.get_ref().get(index));
        if let Some(item) = item {
            offset = item.span().start;
        }
        let Some(next) = item.unwrap_or(value).get_ref().as_table() else { break };
        table = next;
    }
    offset
}
