//! Tasks: what a suite offers, what a reset asks for, and what scoring says.

use std::time::Duration;

/// One goal of a suite, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskInfo {
    /// Unique in its suite: `click-test-2`.
    pub id: String,
    pub description: String,
    pub step_limit: Option<u32>,
    pub time_limit: Option<Duration>,
}

/// One task with its seed: what an episode is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskRef {
    pub id: String,
    pub seed: u64,
}

/// What the agent is asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goal {
    pub text: String,
}

/// What a suite says after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// For training: 0 or 1 in MiniWoB++.
    pub reward: f64,
    /// As the task computes it.
    pub raw_reward: f64,
    pub done: bool,
}
