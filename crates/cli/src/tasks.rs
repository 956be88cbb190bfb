//! `envfarm tasks`: the tasks of one environment, without a farm.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::Config;
use crate::suite;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of an environment in the configuration.
    environment: String,
    /// Configuration file; without it, the built-in configuration.
    #[arg(long)]
    config: Option<PathBuf>,
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.config.as_deref())?;
    let environment = config.environments.get(&args.environment).with_context(|| {
        let names: Vec<&str> = config.environments.keys().map(String::as_str).collect();
        format!("there is no environment `{}`, only: {}", args.environment, names.join(", "))
    })?;
    let suite = suite::build(environment).await?;
    let width = suite.tasks().iter().map(|task| task.id.len()).max().unwrap_or(0);
    let mut out = std::io::stdout().lock();
    for task in suite.tasks() {
        let line = format!("{:width$}  {}", task.id, task.description);
        match writeln!(out, "{}", line.trim_end()) {
            // Whoever reads has seen enough, as `head` has.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written.context("write the list")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
