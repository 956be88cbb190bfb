//! What a command gives back when the farm did its part: a transition, with the time it took.

use std::time::Duration;

use crate::action::ActionResult;
use crate::observation::Observation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TruncationCause {
    StepLimit,
    TimeLimit,
    Shutdown,
}

/// How a reset reached its start state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetStrategy {
    /// A new sandbox.
    Fresh,
    /// A new sandbox, made ready ahead of time by `Prepare`.
    Prepared,
    /// The same sandbox, restarted by the suite.
    InPlace,
    /// A new sandbox with stored state put back.
    Storage,
    /// A new sandbox and the recorded actions again.
    Replay,
}

/// The proof that comes with every reset.
#[derive(Clone, Debug)]
pub struct ResetReport {
    pub strategy: ResetStrategy,
    pub verified_clean: bool,
    /// What was checked, in words.
    pub check: String,
    pub duration: Duration,
    pub goal: String,
    pub task_id: String,
    pub seed: u64,
    pub step_limit: Option<u32>,
    pub time_limit: Option<Duration>,
    pub host: String,
}

/// Where the time of a command went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timing {
    /// Waiting for a sandbox or for the gate.
    pub queue: Duration,
    /// Performing the action, or setting the task up.
    pub act: Duration,
    pub settle: Duration,
    pub observe: Duration,
    pub score: Duration,
    pub total: Duration,
}

#[derive(Clone, Debug, Default)]
pub struct Transition {
    pub observations: Vec<Observation>,
    /// Of this step.
    pub reward: f64,
    /// As the task computes it.
    pub raw_reward: f64,
    pub terminated: bool,
    pub truncated: Option<TruncationCause>,
    /// Of a step.
    pub action_result: Option<ActionResult>,
    /// Of a reset.
    pub reset_report: Option<ResetReport>,
}
