//! What a run found: counts and times inside the window that counts, as one JSON object.

use std::collections::BTreeMap;
use std::time::Duration;

use envfarm_core::Timing;
use serde::Serialize;

use super::memory::Memory;

/// Times of many operations of one kind, in milliseconds.
#[derive(Debug, Default)]
pub struct Times(Vec<f32>);

#[derive(Debug, Serialize)]
pub struct Summary {
    pub count: usize,
    pub p50: f32,
    pub p90: f32,
    pub p99: f32,
    pub max: f32,
}

impl Times {
    pub fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f32() * 1e3);
    }

    /// Percentiles by nearest rank; `None` of nothing.
    pub fn summary(&mut self) -> Option<Summary> {
        self.0.sort_unstable_by(f32::total_cmp);
        let last = self.0.len().checked_sub(1)?;
        let rank = |share: f64| self.0[((self.0.len() as f64 * share).ceil() as usize).clamp(1, last + 1) - 1];
        Some(Summary { count: last + 1, p50: rank(0.5), p90: rank(0.9), p99: rank(0.99), max: self.0[last] })
    }
}

/// Where the time of commands went, on average, in milliseconds.
#[derive(Debug, Default)]
pub struct Parts {
    sum: Timing,
    count: u32,
}

#[derive(Debug, Serialize)]
pub struct MeanParts {
    queue: f64,
    act: f64,
    settle: f64,
    observe: f64,
    score: f64,
    total: f64,
}

impl Parts {
    pub fn add(&mut self, timing: &Timing) {
        let Timing { queue, act, settle, observe, score, total } = &mut self.sum;
        *queue += timing.queue;
        *act += timing.act;
        *settle += timing.settle;
        *observe += timing.observe;
        *score += timing.score;
        *total += timing.total;
        self.count += 1;
    }

    pub fn mean(&self) -> Option<MeanParts> {
        let count = f64::from(self.count);
        let mean = |sum: Duration| sum.as_secs_f64() * 1e3 / count;
        let Timing { queue, act, settle, observe, score, total } = self.sum;
        (self.count > 0).then(|| MeanParts {
            queue: mean(queue),
            act: mean(act),
            settle: mean(settle),
            observe: mean(observe),
            score: mean(score),
            total: mean(total),
        })
    }
}

/// What is counted while a run goes on.
#[derive(Debug, Default)]
pub struct Tally {
    pub steps: u64,
    /// Started.
    pub episodes: u64,
    pub step_times: Times,
    pub reset_times: Times,
    pub step_parts: Parts,
    pub reset_parts: Parts,
    /// By code.
    pub failures: BTreeMap<String, u64>,
    /// Resets by strategy.
    pub strategies: BTreeMap<String, u64>,
    /// Resets whose check found something.
    pub unclean: u64,
    /// Steps whose action could not be performed as asked.
    pub action_errors: u64,
    /// Observations that came as an error.
    pub observation_errors: u64,
    /// Of observations.
    pub bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct Report {
    pub slots: u32,
    pub seconds: f64,
    pub steps: u64,
    pub steps_per_s: f64,
    pub episodes: u64,
    pub failures: BTreeMap<String, u64>,
    pub strategies: BTreeMap<String, u64>,
    pub unclean: u64,
    pub action_errors: u64,
    pub observation_errors: u64,
    pub bytes_per_step: u64,
    /// Milliseconds, as a client sees them.
    pub step_ms: Option<Summary>,
    pub reset_ms: Option<Summary>,
    /// Milliseconds, as the farm tells.
    pub step_parts_ms: Option<MeanParts>,
    pub reset_parts_ms: Option<MeanParts>,
    pub memory: Option<Memory>,
}

impl Tally {
    pub fn report(mut self, slots: u32, window: Duration, memory: Option<Memory>) -> Report {
        let seconds = window.as_secs_f64();
        Report {
            slots,
            seconds,
            steps: self.steps,
            steps_per_s: self.steps as f64 / seconds,
            episodes: self.episodes,
            failures: self.failures,
            strategies: self.strategies,
            unclean: self.unclean,
            action_errors: self.action_errors,
            observation_errors: self.observation_errors,
            bytes_per_step: self.bytes / self.steps.max(1),
            step_ms: self.step_times.summary(),
            reset_ms: self.reset_times.summary(),
            step_parts_ms: self.step_parts.mean(),
            reset_parts_ms: self.reset_parts.mean(),
            memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let mut times = Times::default();
        assert!(times.summary().is_none());
        for ms in (1..=100).rev() {
            times.add(Duration::from_millis(ms));
        }
        let summary = times.summary().unwrap();
        assert_eq!((summary.p50.round(), summary.p99.round(), summary.max.round()), (50.0, 99.0, 100.0));
    }
}
