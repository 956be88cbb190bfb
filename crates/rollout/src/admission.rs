//! What a slot may do next: fencing, replay and the slot's position, as pure decisions.
//!
//! A [`Step`](Op::Step) is not idempotent, so a client that lost its stream must be able to send a command again without it
//! running twice. [`Admission`] gives that: it keeps the outcome of the last command that ran, refuses commands whose fence
//! does not match, and knows which command runs now. It has no clock and does no I/O; the slot actor carries out what it
//! says.
//!
//! ```text
//!             begin(Reset)                finish(Started)
//!   Empty ─┐                                                 ┌─> Running ──finish(Stepped{over})──> Over
//!   Over  ─┼──────────────> (reset in flight) ───────────────┤      │
//!   Lost  ─┤                                                 └─> Lost <──finish(Lost)── any command that lost the sandbox
//!   Running┘
//! ```

use std::sync::Arc;

use envfarm_core::command::{Command, Op, Outcome, Position};
use envfarm_core::{Failure, FailureCode, SlotState};
use thiserror::Error;

/// What to do with a command.
#[derive(Clone, Debug)]
pub enum Admit {
    /// Run it: call [`Admission::begin`], then [`Admission::finish`].
    Run,
    /// Readies the next episode beside whatever runs. Idempotent, so it is neither in flight nor recorded: a lost answer is
    /// had by sending it again, and the outcome of a step is not forgotten for it.
    RunBeside,
    /// It ran already; this is what came of it.
    Replay(Arc<Outcome>),
    /// It runs now; its outcome will come.
    InFlight,
}

/// Why a command is refused. Nothing of the slot has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Deny {
    #[error("request_id must not be 0")]
    ZeroRequestId,
    #[error("timeout must not be 0")]
    ZeroTimeout,
    #[error("command {in_flight} is in flight; a slot takes one at a time")]
    Busy { in_flight: u64 },
    #[error("the slot is at episode {actual}, not {expected}")]
    WrongEpisode { expected: u64, actual: u64 },
    #[error("the slot is at step {actual} of its episode, not {expected}")]
    WrongStep { expected: u32, actual: u32 },
    #[error("{}; reset first", match state { SlotState::Over => "the episode is over", SlotState::Lost => "the episode is lost", _ => "no episode yet" })]
    NoEpisode { state: SlotState },
}

impl From<Deny> for Failure {
    fn from(deny: Deny) -> Self {
        let (code, field) = match deny {
            Deny::ZeroRequestId => (FailureCode::InvalidArgument, Some("request_id")),
            Deny::ZeroTimeout => (FailureCode::InvalidArgument, Some("timeout_ms")),
            Deny::Busy { .. } => (FailureCode::SlotBusy, None),
            Deny::WrongEpisode { .. } => (FailureCode::WrongEpisode, Some("expected_episode")),
            Deny::WrongStep { .. } => (FailureCode::WrongStep, Some("expected_step")),
            Deny::NoEpisode { .. } => (FailureCode::NoEpisode, None),
        };
        Self { field: field.map(Into::into), ..Self::new(code, deny.to_string()) }
    }
}

/// How a command left the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Where it was: an observation, a snapshot, or a failure that touched nothing.
    Unchanged,
    /// A reset reached its start state.
    Started,
    /// A step was taken; `over` if it ended the episode.
    Stepped { over: bool },
    /// The sandbox is gone.
    Lost,
}

/// Admission of one slot.
#[derive(Debug, Default)]
pub struct Admission {
    slot: u32,
    episode: u64,
    step: u32,
    state: SlotState,
    in_flight: Option<u64>,
    last: Option<Arc<Outcome>>,
}

impl Admission {
    pub fn new(slot: u32) -> Self {
        Self { slot, ..Self::default() }
    }

    /// Decides without changing anything, so that the caller may still refuse a command for its content (an unknown task)
    /// before it begins.
    pub fn admit(&self, command: &Command) -> Result<Admit, Deny> {
        if command.request_id == 0 {
            return Err(Deny::ZeroRequestId);
        }
        if command.timeout.is_zero() {
            return Err(Deny::ZeroTimeout);
        }
        if self.in_flight == Some(command.request_id) {
            return Ok(Admit::InFlight);
        }
        if let Some(last) = self.last.as_ref().filter(|last| last.request_id == command.request_id) {
            return Ok(Admit::Replay(last.clone()));
        }
        let beside = matches!(command.op, Op::Prepare(_));
        if let Some(in_flight) = self.in_flight.filter(|_| !beside) {
            return Err(Deny::Busy { in_flight });
        }
        if command.expected_episode != self.episode {
            return Err(Deny::WrongEpisode { expected: command.expected_episode, actual: self.episode });
        }
        match command.op {
            Op::Prepare(_) => return Ok(Admit::RunBeside),
            Op::Reset(_) => return Ok(Admit::Run),
            Op::Step(_) | Op::Observe | Op::Snapshot(_) => {}
        }
        if self.state != SlotState::Running {
            return Err(Deny::NoEpisode { state: self.state });
        }
        if command.expected_step != self.step {
            return Err(Deny::WrongStep { expected: command.expected_step, actual: self.step });
        }
        Ok(Admit::Run)
    }

    /// Takes a command that [`admit`](Self::admit) let run. A reset begins a new episode here, whatever comes of it.
    pub fn begin(&mut self, command: &Command) {
        debug_assert!(self.in_flight.is_none(), "one command in flight a slot");
        self.in_flight = Some(command.request_id);
        if matches!(command.op, Op::Reset(_)) {
            self.episode += 1;
            self.step = 0;
            self.state = SlotState::Empty;
        }
    }

    /// Moves the position as the command in flight left it. Its outcome, which carries that position, is given to
    /// [`record`](Self::record).
    pub fn finish(&mut self, after: After) {
        self.in_flight = None;
        match after {
            After::Unchanged => {}
            After::Started => self.state = SlotState::Running,
            After::Stepped { over } => {
                self.step += 1;
                self.state = if over { SlotState::Over } else { SlotState::Running };
            }
            After::Lost => self.state = SlotState::Lost,
        }
    }

    /// Keeps the outcome of the command that just finished, in place of the one before.
    pub fn record(&mut self, outcome: Arc<Outcome>) {
        self.last = Some(outcome);
    }

    pub fn in_flight(&self) -> Option<u64> {
        self.in_flight
    }

    pub fn episode(&self) -> u64 {
        self.episode
    }

    pub fn step(&self) -> u32 {
        self.step
    }

    pub fn state(&self) -> SlotState {
        self.state
    }

    pub fn position(&self) -> Position {
        Position {
            slot: self.slot,
            episode: self.episode,
            step: self.step,
            state: self.state,
            in_flight_request_id: self.in_flight.unwrap_or(0),
            last_request_id: self.last.as_ref().map_or(0, |last| last.request_id),
        }
    }
}
