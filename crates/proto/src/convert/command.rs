//! Commands. One that the API forbids becomes a [`Rejection`], which answers only itself: the rest of its batch goes on.

use std::sync::Arc;

use envfarm_core::action::MAX_TEXT_BYTES;
use envfarm_core::command::{Command, Op, Reset, ResetFrom, StepAction};
use envfarm_core::{Action, Dialect, Failure, FailureCode, ObservationSpec, ResetMode, SnapshotId, SnapshotLevel, TaskRef};

use super::{At, ConvertError, Twin, fault, millis, name, optional_millis, required, text};
use crate::v1;

/// Longest task, snapshot or lease id, in bytes.
pub const MAX_ID_BYTES: usize = 256;

/// A command that was refused for its form, with what is needed to answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub request_id: u64,
    pub slot: u32,
    /// [`FailureCode::InvalidArgument`] with the path of the field.
    pub failure: Failure,
}

/// Checks one command, the `index`th of its batch.
pub fn command(index: usize, wire: v1::Command) -> Result<Command, Rejection> {
    let (request_id, slot) = (wire.request_id, wire.slot);
    Command::try_from(wire).at_index("commands", index).map_err(|ConvertError { field, reason }| Rejection {
        request_id,
        slot,
        failure: Failure::field(FailureCode::InvalidArgument, field, reason),
    })
}

/// Checks the first message of a stream: lease id, and the observations that its commands get unless they say otherwise.
pub fn attach(wire: v1::Attach) -> Result<(String, Arc<[ObservationSpec]>), ConvertError> {
    let lease = name(wire.lease_id, MAX_ID_BYTES).at("lease_id").at("attach")?;
    Ok((lease, wire.observations.unwrap_or_default().try_into().at("observations").at("attach")?))
}

impl TryFrom<v1::Command> for Command {
    type Error = ConvertError;

    fn try_from(wire: v1::Command) -> Result<Self, ConvertError> {
        use v1::command::Op as Wire;
        if wire.request_id == 0 {
            return fault("must not be 0").at("request_id");
        }
        let Some(timeout) = optional_millis(wire.timeout_ms) else { return fault("must not be 0").at("timeout_ms") };
        Ok(Self {
            request_id: wire.request_id,
            slot: wire.slot,
            expected_episode: wire.expected_episode,
            expected_step: wire.expected_step,
            timeout,
            observations: wire.observations.map(TryInto::try_into).transpose().at("observations")?,
            op: match required(wire.op).at("op")? {
                Wire::Reset(reset) => Op::Reset(reset.try_into().at("reset")?),
                Wire::Step(step) => Op::Step(step.try_into().at("step")?),
                Wire::Observe(v1::Observe {}) => Op::Observe,
                Wire::Snapshot(snapshot) => Op::Snapshot(SnapshotLevel::required(snapshot.level).at("level").at("snapshot")?),
                Wire::Prepare(prepare) => Op::Prepare(required(prepare.task).and_then(TaskRef::try_from).at("task").at("prepare")?),
            },
        })
    }
}

impl From<Command> for v1::Command {
    fn from(command: Command) -> Self {
        use v1::command::Op as Wire;
        Self {
            request_id: command.request_id,
            slot: command.slot,
            expected_episode: command.expected_episode,
            expected_step: command.expected_step,
            timeout_ms: millis(command.timeout),
            observations: command.observations.map(|specs| (&*specs).into()),
            op: Some(match command.op {
                Op::Reset(reset) => Wire::Reset(reset.into()),
                Op::Step(action) => Wire::Step(action.into()),
                Op::Observe => Wire::Observe(v1::Observe {}),
                Op::Snapshot(level) => Wire::Snapshot(v1::Snapshot { level: level.to_wire() }),
                Op::Prepare(task) => Wire::Prepare(v1::Prepare { task: Some(task.into()) }),
            }),
        }
    }
}

impl TryFrom<v1::Reset> for Reset {
    type Error = ConvertError;

    fn try_from(wire: v1::Reset) -> Result<Self, ConvertError> {
        use v1::reset::From as Wire;
        Ok(Self {
            from: match required(wire.from).at("from")? {
                Wire::Task(task) => ResetFrom::Task(task.try_into().at("task")?),
                Wire::SnapshotId(id) => ResetFrom::Snapshot(SnapshotId(name(id, MAX_ID_BYTES).at("snapshot_id")?)),
            },
            mode: ResetMode::from_wire(wire.mode).at("mode")?,
            step_limit: (wire.step_limit != 0).then_some(wire.step_limit),
            time_limit: optional_millis(wire.time_limit_ms),
        })
    }
}

impl From<Reset> for v1::Reset {
    fn from(reset: Reset) -> Self {
        use v1::reset::From as Wire;
        Self {
            from: Some(match reset.from {
                ResetFrom::Task(task) => Wire::Task(task.into()),
                ResetFrom::Snapshot(SnapshotId(id)) => Wire::SnapshotId(id),
            }),
            mode: reset.mode.map_or(0, Twin::to_wire),
            step_limit: reset.step_limit.unwrap_or(0),
            time_limit_ms: reset.time_limit.map_or(0, millis),
        }
    }
}

impl TryFrom<v1::TaskSeed> for TaskRef {
    type Error = ConvertError;

    fn try_from(wire: v1::TaskSeed) -> Result<Self, ConvertError> {
        Ok(Self { id: name(wire.task_id, MAX_ID_BYTES).at("task_id")?, seed: wire.seed })
    }
}

impl From<TaskRef> for v1::TaskSeed {
    fn from(task: TaskRef) -> Self {
        Self { task_id: task.id, seed: task.seed }
    }
}

impl TryFrom<v1::Step> for StepAction {
    type Error = ConvertError;

    fn try_from(wire: v1::Step) -> Result<Self, ConvertError> {
        use v1::step::Action as Wire;
        Ok(match required(wire.action).at("action")? {
            Wire::Text(wire) => Self::Text {
                text: text(wire.text, MAX_TEXT_BYTES).at("text").at("text")?,
                dialect: Dialect::from_wire(wire.dialect).at("dialect").at("text")?.unwrap_or_default(),
            },
            Wire::Typed(wire) => Self::Typed(Action::try_from(wire).at("typed")?),
        })
    }
}

impl From<StepAction> for v1::Step {
    fn from(action: StepAction) -> Self {
        use v1::step::Action as Wire;
        let action = match action {
            StepAction::Text { text, dialect } => Wire::Text(v1::ActionText { text, dialect: dialect.to_wire() }),
            StepAction::Typed(action) => Wire::Typed(action.into()),
        };
        Self { action: Some(action) }
    }
}
