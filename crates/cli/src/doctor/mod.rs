//! `envfarm doctor`: what is there, what is missing, and the command that mends it.
//!
//! Each check looks at the real thing, up to a browser that is started as the farm would start it. What the configuration
//! does not need is checked too but fails nothing.

mod browser_start;
mod checks;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use crate::config::{BackendKind, Config, SuiteKind};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; without it, the built-in configuration.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// Works, but not as well as it could.
    Weak,
    /// Needed, and not there.
    Missing,
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    name: &'static str,
    status: Status,
    found: String,
    /// A command, or what to change, where the status is not [`Status::Ok`].
    mend: Option<String>,
}

impl Check {
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), mend: None }
    }

    pub fn weak(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, status: Status::Weak, found: found.into(), mend: Some(mend.into()) }
    }

    pub fn missing(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, status: Status::Missing, found: found.into(), mend: Some(mend.into()) }
    }

    /// What is not needed cannot be missing.
    fn unless_needed(mut self, needed: bool) -> Self {
        if !needed && self.status == Status::Missing {
            self.status = Status::Weak;
            self.found = format!("{} (this configuration does not need it)", self.found);
        }
        self
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.as_deref())?;
    let environments = config.environments.values();
    let browser_needed = environments.clone().any(|e| e.backend == BackendKind::Chromium);
    let miniwob_needed = environments.clone().any(|e| e.suite == SuiteKind::Miniwob);

    let mut checks = vec![checks::cores(), checks::memory(&config), checks::files(&config), checks::shared_memory(), checks::namespaces()];
    // Every configuration of a browser is tried once, the default one even if no environment has it.
    let mut browsers: Vec<_> = environments.filter(|e| e.backend == BackendKind::Chromium).map(|e| e.chromium.clone()).collect();
    browsers.dedup();
    if browsers.is_empty() {
        browsers.push(None);
    }
    for options in &browsers {
        for check in browser_start::check(options.as_ref()).await {
            checks.push(check.unless_needed(browser_needed));
        }
    }
    let pages = config.environments.values().find_map(|e| e.miniwob.clone());
    checks.push(checks::miniwob(pages.as_ref()).await.unless_needed(miniwob_needed));
    checks.push(checks::python().await);

    let missing = checks.iter().any(|check| check.status == Status::Missing);
    if args.json {
        let report = serde_json::json!({ "ok": !missing, "checks": checks });
        println!("{}", serde_json::to_string_pretty(&report).context("write the report")?);
    } else {
        print!("{}", table(&checks));
    }
    Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(checks: &[Check]) -> String {
    use std::fmt::Write;
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Check { name, status, found, mend } in checks {
        let mark = match status {
            Status::Ok => "ok     ",
            Status::Weak => "weak   ",
            Status::Missing => "MISSING",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{mark}  {name:width$}  {found}");
        if let Some(mend) = mend {
            let _ = writeln!(text, "{:9}{:width$}  -> {mend}", "", "");
        }
    }
    text
}
