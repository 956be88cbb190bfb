//! A client attached to its lease: commands in, outcomes out.
//!
//! [`Session`] takes commands and [`Outcomes`] gives what came of them, so that the two directions of a stream can live in
//! two tasks. At most one pair is attached to a lease; attaching again takes over, and the first pair ends. A client may
//! be gone at any time: its slots go on with what they run and record the outcome.

use std::sync::{Arc, OnceLock};

use envfarm_core::command::{Command, Outcome, Position};
use envfarm_core::{Failure, FailureCode, ObservationSpec, Timing};
use envfarm_pool::LeaseId;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::environment::Environment;
use crate::lease::Lease;
use crate::slot::{Message, Received};
use crate::unread::{Unread, UnreadSender};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SessionEnd {
    #[error("another stream attached to the lease")]
    TakenOver,
    #[error("the lease was released or has expired")]
    LeaseEnded,
    #[error("the farm shuts down")]
    ShuttingDown,
}

/// What both halves of a session and its lease know of it.
pub(crate) struct Link {
    pub sink: UnreadSender,
    end: OnceLock<SessionEnd>,
    ended: CancellationToken,
}

impl Link {
    pub fn new(sink: UnreadSender) -> Self {
        Self { sink, end: OnceLock::new(), ended: CancellationToken::new() }
    }

    /// The first reason stays.
    pub fn end(&self, why: SessionEnd) {
        self.end.get_or_init(|| why);
        self.ended.cancel();
    }

    /// Whether somebody still reads.
    pub fn is_live(&self) -> bool {
        self.end.get().is_none() && !self.sink.is_closed()
    }
}

/// The way in. Dropped together with its [`Outcomes`] when the client's stream ends.
pub struct Session {
    pub(crate) lease: Arc<Lease>,
    pub(crate) link: Arc<Link>,
    pub(crate) observations: Arc<[ObservationSpec]>,
}

impl Session {
    pub fn lease_id(&self) -> &LeaseId {
        &self.lease.id
    }

    pub fn environment(&self) -> &Environment {
        self.lease.environment()
    }

    /// Where every slot stands, in order. Outcomes of commands in flight here come to this session.
    pub fn positions(&self) -> Vec<Position> {
        self.lease.positions()
    }

    /// Commands that may be in flight: one a slot.
    pub fn max_in_flight(&self) -> u32 {
        self.lease.slots()
    }

    /// Hands commands to their slots. Waits while a slot that is addressed cannot take more, because this session's
    /// outcomes are not read or because it is flooded. What is wrong with one command becomes its outcome.
    ///
    /// # Errors
    /// The session has ended; commands not handed over by then are dropped.
    pub async fn submit(&self, commands: Vec<Command>) -> Result<(), SessionEnd> {
        let at = Instant::now();
        for mut command in commands {
            if let Err(failure) = self.check(&mut command) {
                self.refuse(command.request_id, command.slot, failure).await?;
                continue;
            }
            let slot = self.lease.slot(command.slot);
            let message = Message::Command(Box::new(Received { command, at }));
            let unsent = match slot.mailbox.try_send(message) {
                Ok(()) => continue,
                Err(mpsc::error::TrySendError::Full(message)) => {
                    let sent = self.link.ended.run_until_cancelled(slot.mailbox.send(message)).await;
                    match sent {
                        None => return Err(self.end()),
                        Some(Ok(())) => continue,
                        Some(Err(mpsc::error::SendError(message))) => message,
                    }
                }
                Err(mpsc::error::TrySendError::Closed(message)) => message,
            };
            // The slot has stopped: the lease has ended, or the farm.
            if let Message::Command(received) = unsent {
                self.refuse(received.command.request_id, received.command.slot, self.lease.stopped()).await?;
            }
        }
        self.ended().map_or(Ok(()), Err)
    }

    /// Ends a command in flight; its outcome says so. Does nothing if that command is not in flight.
    pub async fn cancel(&self, slot: u32, request_id: u64) {
        if let Some(slot) = self.lease.started(slot) {
            let sent = slot.mailbox.send(Message::Cancel(request_id));
            // Neither a slot that has stopped nor an ended session has anything to cancel.
            let _ = self.link.ended.run_until_cancelled(sent).await;
        }
    }

    /// Why the session ended, if it did.
    pub fn ended(&self) -> Option<SessionEnd> {
        self.link.end.get().copied()
    }

    fn end(&self) -> SessionEnd {
        self.ended().unwrap_or(SessionEnd::LeaseEnded)
    }

    /// Checks what the slot does not, and fills in the session's observations.
    fn check(&self, command: &mut Command) -> Result<(), Failure> {
        let slots = self.lease.slots();
        if command.slot >= slots {
            let reason = format!("the lease has slots 0 to {}, not {}", slots - 1, command.slot);
            return Err(Failure::field(FailureCode::SlotOutOfRange, "slot", reason));
        }
        match &command.observations {
            Some(wanted) => self.lease.environment().check_observations(wanted),
            None => {
                command.observations = Some(self.observations.clone());
                Ok(())
            }
        }
    }

    /// Answers a command that never became one, with the slot's position as it is.
    ///
    /// # Errors
    /// The session has ended.
    pub async fn refuse(&self, request_id: u64, slot: u32, failure: Failure) -> Result<(), SessionEnd> {
        self.lease.context.env.metrics.failure(failure.code);
        let Position { episode, step, state, .. } = self.lease.position(slot);
        let outcome = Outcome { request_id, slot, episode, step, state, result: Err(failure), timing: Timing::default(), replayed: false };
        match self.link.ended.run_until_cancelled(self.link.sink.reserve(&outcome)).await {
            Some(Some(place)) => {
                place.send(Arc::new(outcome));
                Ok(())
            }
            _ => Err(self.end()),
        }
    }
}

/// The way out: outcomes in the order in which slots finish.
pub struct Outcomes {
    pub(crate) outcomes: mpsc::Receiver<Unread>,
    pub(crate) link: Arc<Link>,
}

impl Outcomes {
    /// Waits for at least one outcome and takes up to `limit` that are there, so that they can travel together. 0 when the
    /// session has ended and everything was read. Cancel-safe.
    pub async fn recv_many(&mut self, into: &mut Vec<Unread>, limit: usize) -> usize {
        tokio::select! {
            biased;
            taken = self.outcomes.recv_many(into, limit) => taken,
            () = self.link.ended.cancelled() => 0,
        }
    }

    /// One outcome; `None` when the session has ended and everything was read. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Arc<Outcome>> {
        tokio::select! {
            biased;
            unread = self.outcomes.recv() => unread.map(Unread::into_outcome),
            () = self.link.ended.cancelled() => None,
        }
    }

    /// Why the session ended, if it did.
    pub fn ended(&self) -> Option<SessionEnd> {
        self.link.end.get().copied()
    }
}
