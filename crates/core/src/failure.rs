//! What the farm says when *it* failed, or when it refused a command. Never a reward, never a truncation.

use std::borrow::Cow;

use thiserror::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    InvalidArgument,
    UnknownTask,
    SlotOutOfRange,
    WrongEpisode,
    WrongStep,
    SlotBusy,
    NoEpisode,
    DeadlineExceeded,
    Cancelled,
    HostLost,
    SandboxLost,
    NoCapacity,
    SetupFailed,
    ScoreFailed,
    UnknownSnapshot,
    SnapshotDiverged,
    Unsupported,
    ShuttingDown,
    Backend,
}

impl FailureCode {
    /// Whether the fault lies in the command, so that sending it again as it is cannot help.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::InvalidArgument
                | Self::UnknownTask
                | Self::SlotOutOfRange
                | Self::WrongEpisode
                | Self::WrongStep
                | Self::SlotBusy
                | Self::NoEpisode
                | Self::UnknownSnapshot
                | Self::Unsupported
        )
    }

    /// Label for metrics; a fixed set.
    pub fn label(self) -> &'static str {
        match self {
            Self::InvalidArgument => "invalid_argument",
            Self::UnknownTask => "unknown_task",
            Self::SlotOutOfRange => "slot_out_of_range",
            Self::WrongEpisode => "wrong_episode",
            Self::WrongStep => "wrong_step",
            Self::SlotBusy => "slot_busy",
            Self::NoEpisode => "no_episode",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::Cancelled => "cancelled",
            Self::HostLost => "host_lost",
            Self::SandboxLost => "sandbox_lost",
            Self::NoCapacity => "no_capacity",
            Self::SetupFailed => "setup_failed",
            Self::ScoreFailed => "score_failed",
            Self::UnknownSnapshot => "unknown_snapshot",
            Self::SnapshotDiverged => "snapshot_diverged",
            Self::Unsupported => "unsupported",
            Self::ShuttingDown => "shutting_down",
            Self::Backend => "backend",
        }
    }
}

/// Where a slot stands between commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SlotState {
    /// No episode yet.
    #[default]
    Empty,
    /// An episode that takes steps.
    Running,
    /// Terminated or truncated; wants a reset.
    Over,
    /// Its sandbox is gone; wants a reset.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {reason}", code.label())]
pub struct Failure {
    pub code: FailureCode,
    pub reason: String,
    /// Of the command, where it was refused for its content.
    pub field: Option<Cow<'static, str>>,
    pub action_may_have_applied: bool,
}

impl Failure {
    pub fn new(code: FailureCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into(), field: None, action_may_have_applied: false }
    }

    /// A command refused because of one of its fields.
    pub fn field(code: FailureCode, field: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(code, reason) }
    }

    #[must_use]
    pub fn after_action(mut self) -> Self {
        self.action_may_have_applied = true;
        self
    }
}
