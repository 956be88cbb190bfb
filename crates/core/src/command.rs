//! Commands and outcomes as the slots see them: the strict side of the API, free of protobuf.

use std::sync::Arc;
use std::time::Duration;

use crate::{Action, Dialect, Failure, ObservationSpec, ResetMode, SlotState, SnapshotId, SnapshotLevel, TaskRef, Timing, Transition};

/// One command, checked for form on receipt.
#[derive(Clone, Debug)]
pub struct Command {
    /// Chosen by the client, not 0.
    pub request_id: u64,
    pub slot: u32,
    pub expected_episode: u64,
    pub expected_step: u32,
    /// From receipt to outcome; not zero.
    pub timeout: Duration,
    /// `None`: the session's.
    pub observations: Option<Arc<[ObservationSpec]>>,
    pub op: Op,
}

#[derive(Clone, Debug)]
pub enum Op {
    Reset(Reset),
    Step(StepAction),
    Observe,
    Snapshot(SnapshotLevel),
    Prepare(TaskRef),
}

#[derive(Clone, Debug)]
pub struct Reset {
    pub from: ResetFrom,
    /// `None`: the environment's default.
    pub mode: Option<ResetMode>,
    /// `None`: the task's default.
    pub step_limit: Option<u32>,
    /// `None`: the environment's default.
    pub time_limit: Option<Duration>,
}

#[derive(Clone, Debug)]
pub enum ResetFrom {
    Task(TaskRef),
    Snapshot(SnapshotId),
}

/// The action of a step. Text that does not parse is an action result, so parsing is left to the slot.
#[derive(Clone, Debug)]
pub enum StepAction {
    Text { text: String, dialect: Dialect },
    Typed(Action),
}

/// What came of one command.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub request_id: u64,
    pub slot: u32,
    /// The slot's position after the command.
    pub episode: u64,
    pub step: u32,
    pub state: SlotState,
    pub result: Result<Done, Failure>,
    pub timing: Timing,
    /// Recorded earlier and sent again.
    pub replayed: bool,
}

impl Outcome {
    /// Bytes of its observations: nearly all that it takes in memory.
    pub fn data_bytes(&self) -> usize {
        match &self.result {
            Ok(Done::Transition(transition)) => {
                transition.observations.iter().filter_map(|o| o.data.as_ref().ok()).map(|data| data.len()).sum()
            }
            _ => 0,
        }
    }
}

#[derive(Clone, Debug)]
pub enum Done {
    Transition(Box<Transition>),
    Snapshot(SnapshotInfo),
    Prepared,
}

#[derive(Clone, Debug)]
pub struct SnapshotInfo {
    pub id: SnapshotId,
    pub environment: String,
    pub level: SnapshotLevel,
    pub task: TaskRef,
    /// Steps taken when it was made.
    pub step: u32,
    pub size_bytes: u64,
    pub created_unix_ms: u64,
    /// Hex; empty where the level has none.
    pub fingerprint: String,
}

/// Where a slot stands, as told at attach.
#[derive(Clone, Debug, Default)]
pub struct Position {
    pub slot: u32,
    pub episode: u64,
    pub step: u32,
    pub state: SlotState,
    /// 0: none.
    pub in_flight_request_id: u64,
    /// 0: none.
    pub last_request_id: u64,
}
