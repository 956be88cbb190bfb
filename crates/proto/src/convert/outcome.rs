//! Outcomes, and what unary calls list: positions, snapshots, tasks.
//!
//! Durations travel as whole microseconds or milliseconds and saturate at what 32 bits hold. The part of an action's time
//! that went into settling travels in [`Timing`] only.

use envfarm_core::action::Ending;
use envfarm_core::command::{Done, Outcome, Position, SnapshotInfo};
use envfarm_core::{
    ActionResult, ActionStatus, Failure, FailureCode, Observation, ResetReport, ResetStrategy, SlotState, SnapshotId, SnapshotLevel,
    TaskInfo, TaskRef, Timing, Transition, TruncationCause,
};

use super::{At, ConvertError, Twin, fault, from_micros, micros, millis, optional_millis, required};
use crate::v1;

impl TryFrom<v1::Outcome> for Outcome {
    type Error = ConvertError;

    fn try_from(wire: v1::Outcome) -> Result<Self, ConvertError> {
        use v1::outcome::Result as Wire;
        Ok(Self {
            request_id: wire.request_id,
            slot: wire.slot,
            episode: wire.episode,
            step: wire.step,
            state: SlotState::required(wire.state).at("state")?,
            result: match required(wire.result).at("result")? {
                Wire::Transition(transition) => Ok(Done::Transition(Box::new(transition.try_into().at("transition")?))),
                Wire::Snapshot(snapshot) => Ok(Done::Snapshot(snapshot.try_into().at("snapshot")?)),
                Wire::Prepared(v1::Prepared {}) => Ok(Done::Prepared),
                Wire::Failure(failure) => Err(failure.try_into().at("failure")?),
            },
            timing: wire.timing.unwrap_or_default().into(),
            replayed: wire.replayed,
        })
    }
}

/// By reference, since the slot keeps every outcome for replay.
impl From<&Outcome> for v1::Outcome {
    fn from(outcome: &Outcome) -> Self {
        use v1::outcome::Result as Wire;
        Self {
            request_id: outcome.request_id,
            slot: outcome.slot,
            episode: outcome.episode,
            step: outcome.step,
            result: Some(match &outcome.result {
                Ok(Done::Transition(transition)) => Wire::Transition((&**transition).into()),
                Ok(Done::Snapshot(snapshot)) => Wire::Snapshot(snapshot.into()),
                Ok(Done::Prepared) => Wire::Prepared(v1::Prepared {}),
                Err(failure) => Wire::Failure(failure_in(failure, outcome.state)),
            }),
            timing: Some(outcome.timing.into()),
            replayed: outcome.replayed,
            state: outcome.state.to_wire(),
        }
    }
}

fn failure_in(failure: &Failure, state: SlotState) -> v1::Failure {
    v1::Failure {
        code: failure.code.to_wire(),
        retryable: !failure.code.is_refusal() && failure.code != FailureCode::ShuttingDown,
        reason: failure.reason.clone(),
        slot_state: state.to_wire(),
        action_may_have_applied: failure.action_may_have_applied,
        field: failure.field.as_deref().unwrap_or_default().to_owned(),
    }
}

impl TryFrom<v1::Failure> for Failure {
    type Error = ConvertError;

    fn try_from(wire: v1::Failure) -> Result<Self, ConvertError> {
        Ok(Self {
            code: FailureCode::required(wire.code).at("code")?,
            reason: wire.reason,
            field: (!wire.field.is_empty()).then(|| wire.field.into()),
            action_may_have_applied: wire.action_may_have_applied,
        })
    }
}

impl From<v1::Timing> for Timing {
    fn from(wire: v1::Timing) -> Self {
        Self {
            queue: from_micros(wire.queue_us),
            act: from_micros(wire.act_us),
            settle: from_micros(wire.settle_us),
            observe: from_micros(wire.observe_us),
            score: from_micros(wire.score_us),
            total: from_micros(wire.total_us),
        }
    }
}

impl From<Timing> for v1::Timing {
    fn from(timing: Timing) -> Self {
        Self {
            queue_us: micros(timing.queue),
            act_us: micros(timing.act),
            settle_us: micros(timing.settle),
            observe_us: micros(timing.observe),
            score_us: micros(timing.score),
            total_us: micros(timing.total),
        }
    }
}

impl TryFrom<v1::Transition> for Transition {
    type Error = ConvertError;

    fn try_from(wire: v1::Transition) -> Result<Self, ConvertError> {
        let cause = TruncationCause::from_wire(wire.truncation_cause).at("truncation_cause")?;
        if wire.truncated != cause.is_some() {
            return fault("truncated and truncation_cause disagree").at("truncation_cause");
        }
        let observations = wire.observations.into_iter().enumerate();
        Ok(Self {
            observations: observations
                .map(|(i, observation)| Observation::try_from(observation).at_index("observations", i))
                .collect::<Result<_, _>>()?,
            reward: wire.reward,
            raw_reward: wire.raw_reward,
            terminated: wire.terminated,
            truncated: cause,
            action_result: wire.action_result.map(TryInto::try_into).transpose().at("action_result")?,
            reset_report: wire.reset_report.map(TryInto::try_into).transpose().at("reset_report")?,
        })
    }
}

impl From<&Transition> for v1::Transition {
    fn from(transition: &Transition) -> Self {
        Self {
            observations: transition.observations.iter().map(Into::into).collect(),
            reward: transition.reward,
            raw_reward: transition.raw_reward,
            terminated: transition.terminated,
            truncated: transition.truncated.is_some(),
            truncation_cause: transition.truncated.map_or(0, Twin::to_wire),
            action_result: transition.action_result.as_ref().map(Into::into),
            reset_report: transition.reset_report.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::ActionResult> for ActionResult {
    type Error = ConvertError;

    fn try_from(wire: v1::ActionResult) -> Result<Self, ConvertError> {
        use v1::action_result::Ending as Wire;
        Ok(Self {
            status: ActionStatus::required(wire.status).at("status")?,
            error: wire.error,
            answer: wire.answer,
            ending: wire.ending.map(|ending| match ending {
                Wire::Finished(answer) => Ending::Finished(answer),
                Wire::Infeasible(reason) => Ending::Infeasible(reason),
            }),
            notes: wire.notes,
            settle_us: 0,
        })
    }
}

impl From<&ActionResult> for v1::ActionResult {
    fn from(result: &ActionResult) -> Self {
        use v1::action_result::Ending as Wire;
        Self {
            status: result.status.to_wire(),
            error: result.error.clone(),
            answer: result.answer.clone(),
            ending: result.ending.as_ref().map(|ending| match ending {
                Ending::Finished(answer) => Wire::Finished(answer.clone()),
                Ending::Infeasible(reason) => Wire::Infeasible(reason.clone()),
            }),
            notes: result.notes.clone(),
        }
    }
}

impl TryFrom<v1::ResetReport> for ResetReport {
    type Error = ConvertError;

    fn try_from(wire: v1::ResetReport) -> Result<Self, ConvertError> {
        Ok(Self {
            strategy: ResetStrategy::required(wire.strategy).at("strategy")?,
            verified_clean: wire.verified_clean,
            check: wire.check,
            duration: from_micros(wire.duration_us),
            goal: wire.goal,
            task_id: wire.task_id,
            seed: wire.seed,
            step_limit: (wire.step_limit != 0).then_some(wire.step_limit),
            time_limit: optional_millis(wire.time_limit_ms),
            host: wire.host,
        })
    }
}

impl From<&ResetReport> for v1::ResetReport {
    fn from(report: &ResetReport) -> Self {
        Self {
            strategy: report.strategy.to_wire(),
            verified_clean: report.verified_clean,
            check: report.check.clone(),
            duration_us: micros(report.duration),
            goal: report.goal.clone(),
            task_id: report.task_id.clone(),
            seed: report.seed,
            step_limit: report.step_limit.unwrap_or(0),
            time_limit_ms: report.time_limit.map_or(0, millis),
            host: report.host.clone(),
        }
    }
}

impl TryFrom<v1::SnapshotInfo> for SnapshotInfo {
    type Error = ConvertError;

    fn try_from(wire: v1::SnapshotInfo) -> Result<Self, ConvertError> {
        Ok(Self {
            id: SnapshotId(wire.id),
            environment: wire.environment,
            level: SnapshotLevel::required(wire.level).at("level")?,
            task: TaskRef { id: wire.task_id, seed: wire.seed },
            step: wire.step,
            size_bytes: wire.size_bytes,
            created_unix_ms: wire.created_unix_ms,
            fingerprint: wire.fingerprint,
        })
    }
}

impl From<&SnapshotInfo> for v1::SnapshotInfo {
    fn from(info: &SnapshotInfo) -> Self {
        Self {
            id: info.id.0.clone(),
            environment: info.environment.clone(),
            level: info.level.to_wire(),
            task_id: info.task.id.clone(),
            seed: info.task.seed,
            step: info.step,
            size_bytes: info.size_bytes,
            created_unix_ms: info.created_unix_ms,
            fingerprint: info.fingerprint.clone(),
        }
    }
}

impl TryFrom<v1::SlotPosition> for Position {
    type Error = ConvertError;

    fn try_from(wire: v1::SlotPosition) -> Result<Self, ConvertError> {
        Ok(Self {
            slot: wire.slot,
            episode: wire.episode,
            step: wire.step,
            state: SlotState::required(wire.state).at("state")?,
            in_flight_request_id: wire.in_flight_request_id,
            last_request_id: wire.last_request_id,
        })
    }
}

impl From<Position> for v1::SlotPosition {
    fn from(position: Position) -> Self {
        Self {
            slot: position.slot,
            episode: position.episode,
            step: position.step,
            state: position.state.to_wire(),
            in_flight_request_id: position.in_flight_request_id,
            last_request_id: position.last_request_id,
        }
    }
}

impl From<v1::Task> for TaskInfo {
    fn from(wire: v1::Task) -> Self {
        Self {
            id: wire.id,
            description: wire.description,
            step_limit: (wire.default_step_limit != 0).then_some(wire.default_step_limit),
            time_limit: optional_millis(wire.default_time_limit_ms),
        }
    }
}

impl From<&TaskInfo> for v1::Task {
    fn from(task: &TaskInfo) -> Self {
        Self {
            id: task.id.clone(),
            description: task.description.clone(),
            default_step_limit: task.step_limit.unwrap_or(0),
            default_time_limit_ms: task.time_limit.map_or(0, millis),
        }
    }
}
