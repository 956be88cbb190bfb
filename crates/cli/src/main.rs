//! The binary `envfarm`: the only place that picks implementations and puts them together.

mod bench;
mod browser;
mod config;
mod doctor;
mod machine;
mod serve;
mod suite;
mod tasks;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// A farm of environments for online RL of GUI agents.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a farm until it is told to stop.
    Serve(serve::Args),
    /// Put a running farm under load and measure it, or a bare loop to compare with.
    Bench(bench::Args),
    /// Say what is there, what is missing, and the command that mends it.
    Doctor(doctor::Args),
    /// List the tasks of an environment.
    Tasks(tasks::Args),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::anyhow!(error).context("start the runtime")),
    };
    let done = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::run(args).await,
            Command::Bench(args) => bench::run(args).await,
            Command::Doctor(args) => doctor::run(args).await,
            Command::Tasks(args) => tasks::run(args).await,
        }
    });
    // What blocks, such as a read of standard input, must not hold the exit up.
    runtime.shutdown_background();
    done.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &anyhow::Error) -> ExitCode {
    // Not `eprintln`, which panics when nobody listens any more.
    let _ = writeln!(std::io::stderr(), "envfarm: {error:#}");
    ExitCode::FAILURE
}

/// Logs go to standard error, at `info` unless `RUST_LOG` says otherwise: standard output is for answers. A line that cannot be
/// written is lost, and nothing else: by default the subscriber complains of it by `eprintln`, which panics in whoever logs.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    logs.log_internal_errors(false).init();
}
