//! Load for measurements: a client that keeps many slots of a farm busy, and a bare loop over browsers to compare it with.
//!
//! Each run prints one JSON object on standard output. What to run in which order, against whom, and what counts as good is
//! left to `python -m envfarm.bench`, which `make bench` starts.

mod actions;
mod bare;
mod load;
mod memory;
mod report;
mod schedule;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use envfarm_core::{Encoding, ObservationKind, ObservationSpec, ResetMode};
use serde::de::DeserializeOwned;

use crate::config::Span;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure a loop of bare CDP over browsers of its own, without farm and gRPC
    #[arg(long)]
    bare: bool,
    /// Address of the farm
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    connect: String,
    /// Environment to lease slots of
    #[arg(long, default_value = "miniwob")]
    environment: String,
    #[arg(long, default_value = "click-test-2")]
    task: String,
    #[arg(long, default_value_t = 16)]
    slots: u32,
    /// Steps of an episode; 0 for no end
    #[arg(long, default_value_t = 10)]
    episode_steps: u32,
    #[arg(long, value_enum, default_value = "fresh")]
    mode: Mode,
    /// Observations of every step, as kind or kind:encoding; an empty one for none
    #[arg(long, value_delimiter = ',', default_value = "screenshot:jpeg,browsergym")]
    observe: Vec<String>,
    /// Have each next episode prepared while the last one runs
    #[arg(long)]
    prepare: bool,
    /// Time between the steps of one slot; 0s for as fast as they come
    #[arg(long, default_value = "0s", value_parser = word::<Span>)]
    interval: Span,
    /// Length of the measurement
    #[arg(long, default_value = "10s", value_parser = word::<Span>)]
    time: Span,
    /// Time before it that does not count, from when every slot has an episode
    #[arg(long, default_value = "3s", value_parser = word::<Span>)]
    warmup: Span,
    /// Browsers of the bare loop
    #[arg(long, default_value_t = 1)]
    hosts: usize,
    /// Page loads that the bare loop has in flight
    #[arg(long, default_value_t = 3)]
    loads: usize,
    /// Steps that the bare loop has in flight
    #[arg(long, default_value_t = 8)]
    steps: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    Fresh,
    #[value(name = "in_place")]
    InPlace,
}

impl From<Mode> for ResetMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Fresh => Self::Fresh,
            Mode::InPlace => Self::InPlace,
        }
    }
}

impl Args {
    fn observations(&self) -> anyhow::Result<Vec<ObservationSpec>> {
        self.observe.iter().filter(|text| !text.is_empty()).map(|text| spec(text)).collect()
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.slots == 0 || args.time.0 < Duration::from_millis(1) {
        bail!("nothing to measure: at least one slot and one millisecond are needed");
    }
    let report = if args.bare { bare::run(&args).await? } else { load::run(&args).await? };
    println!("{}", serde_json::to_string(&report).context("write the report")?);
    Ok(ExitCode::SUCCESS)
}

fn spec(text: &str) -> anyhow::Result<ObservationSpec> {
    let (kind, encoding) = text.split_once(':').map_or((text, None), |(kind, encoding)| (kind, Some(encoding)));
    let kind: ObservationKind = word(kind)?;
    let encoding: Option<Encoding> = encoding.map(word).transpose()?;
    ObservationSpec::new(kind, encoding).with_context(|| format!("no such encoding of this observation: {text}"))
}

/// Reads what the configuration writes as a word.
fn word<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    Ok(serde_json::from_value(serde_json::Value::String(text.to_owned()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_are_named_as_in_the_clients() {
        let jpeg = spec("screenshot:jpeg").unwrap();
        assert_eq!((jpeg.kind, jpeg.encoding), (ObservationKind::Screenshot, Encoding::Jpeg));
        assert_eq!(spec("browsergym").unwrap().encoding, Encoding::Json);
        assert!(spec("browsergym:jpeg").is_err());
        assert!(spec("smell").is_err());
    }
}
