//! Counts and latencies of one environment's slots, with handles looked up once.
//!
//! The recorder must be installed before the farm is made. Labels are the environment and fixed sets of words, never an id.

use std::sync::atomic::{AtomicU64, Ordering};

use envfarm_core::command::Outcome;
use envfarm_core::{FailureCode, Transition};
use metrics::{Counter, Histogram, counter, histogram};

pub(crate) struct EnvironmentMetrics {
    environment: String,
    steps: Counter,
    terminated: Counter,
    truncated: Counter,
    failed: Counter,
    step_seconds: Histogram,
    reset_seconds: Histogram,
    queue_seconds: Histogram,
    totals: Totals,
}

#[derive(Default)]
struct Totals {
    episodes: AtomicU64,
    steps: AtomicU64,
    failures: AtomicU64,
}

/// Since the farm started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentTotals {
    /// Started.
    pub episodes: u64,
    pub steps: u64,
    /// Failures of the farm; refused commands are not among them.
    pub failures: u64,
}

impl EnvironmentMetrics {
    pub fn new(environment: &str) -> Self {
        let name = || environment.to_owned();
        let ended = |end: &'static str| counter!("envfarm_episodes_total", "environment" => name(), "end" => end);
        Self {
            environment: name(),
            steps: counter!("envfarm_steps_total", "environment" => name()),
            terminated: ended("terminated"),
            truncated: ended("truncated"),
            failed: ended("failed"),
            step_seconds: histogram!("envfarm_step_seconds", "environment" => name()),
            reset_seconds: histogram!("envfarm_reset_seconds", "environment" => name()),
            queue_seconds: histogram!("envfarm_queue_seconds", "environment" => name()),
            totals: Totals::default(),
        }
    }

    pub fn reset(&self, outcome: &Outcome) {
        self.totals.episodes.fetch_add(1, Ordering::Relaxed);
        self.reset_seconds.record(outcome.timing.total);
        self.queue_seconds.record(outcome.timing.queue);
    }

    pub fn step(&self, outcome: &Outcome, transition: &Transition) {
        self.totals.steps.fetch_add(1, Ordering::Relaxed);
        self.steps.increment(1);
        self.step_seconds.record(outcome.timing.total);
        self.queue_seconds.record(outcome.timing.queue);
        if transition.terminated {
            self.terminated.increment(1);
        } else if transition.truncated.is_some() {
            self.truncated.increment(1);
        }
    }

    /// A failure or a refusal. Rare, so its handle is looked up.
    pub fn failure(&self, code: FailureCode) {
        if !code.is_refusal() {
            self.totals.failures.fetch_add(1, Ordering::Relaxed);
        }
        counter!("envfarm_failures_total", "environment" => self.environment.clone(), "code" => code.label()).increment(1);
    }

    /// An episode, or the reset that should have begun one, lost its sandbox.
    pub fn lost(&self) {
        self.failed.increment(1);
    }

    pub fn totals(&self) -> EnvironmentTotals {
        let Totals { episodes, steps, failures } = &self.totals;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        EnvironmentTotals { episodes: read(episodes), steps: read(steps), failures: read(failures) }
    }
}
