//! The queue of outcomes that a client has not read yet, bounded in number and in bytes.
//!
//! An outcome counts from when it is queued until whoever took it from the queue is done with it and drops the [`Unread`].
//! One that is larger than the whole bound still goes through, alone.

use std::ops::Deref;
use std::sync::Arc;

use envfarm_core::command::Outcome;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Permit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An outcome and the room that it takes.
#[derive(Debug)]
pub struct Unread {
    outcome: Arc<Outcome>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Unread {
    /// The outcome alone: its room is free again.
    pub fn into_outcome(self) -> Arc<Outcome> {
        self.outcome
    }
}

impl Deref for Unread {
    type Target = Outcome;

    fn deref(&self) -> &Outcome {
        &self.outcome
    }
}

impl From<Arc<Outcome>> for Unread {
    /// One that takes no room.
    fn from(outcome: Arc<Outcome>) -> Self {
        Self { outcome, _room: None }
    }
}

/// The way into the queue.
#[derive(Clone)]
pub(crate) struct UnreadSender {
    queue: mpsc::Sender<Unread>,
    room: Arc<Semaphore>,
    bytes: u32,
}

/// A queue of at most `count` outcomes that take at most `bytes`.
pub(crate) fn queue(count: usize, bytes: u32) -> (UnreadSender, mpsc::Receiver<Unread>) {
    let (queue, receiver) = mpsc::channel(count);
    (UnreadSender { queue, room: Arc::new(Semaphore::new(bytes as usize)), bytes }, receiver)
}

/// A place in the queue and the room for one outcome.
pub(crate) struct Place<'a> {
    place: Permit<'a, Unread>,
    room: Option<OwnedSemaphorePermit>,
}

impl Place<'_> {
    pub fn send(self, outcome: Arc<Outcome>) {
        self.place.send(Unread { outcome, _room: self.room });
    }
}

impl UnreadSender {
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    pub fn try_send(&self, outcome: Arc<Outcome>) -> Result<(), TrySendError<Arc<Outcome>>> {
        let place = match self.queue.try_reserve() {
            Ok(place) => place,
            Err(TrySendError::Full(())) => return Err(TrySendError::Full(outcome)),
            Err(TrySendError::Closed(())) => return Err(TrySendError::Closed(outcome)),
        };
        let room = match self.size(&outcome) {
            0 => None,
            size => match Arc::clone(&self.room).try_acquire_many_owned(size) {
                Ok(room) => Some(room),
                Err(_) => return Err(TrySendError::Full(outcome)),
            },
        };
        Place { place, room }.send(outcome);
        Ok(())
    }

    /// Waits until `outcome` fits. `None` when nobody reads any more. Cancel-safe.
    pub async fn reserve(&self, outcome: &Outcome) -> Option<Place<'_>> {
        let room = match self.size(outcome) {
            0 => None,
            // Never closed; what is queued gives its room back also when its reader goes away.
            size => Arc::clone(&self.room).acquire_many_owned(size).await.ok(),
        };
        let place = self.queue.reserve().await.ok()?;
        Some(Place { place, room })
    }

    fn size(&self, outcome: &Outcome) -> u32 {
        u32::try_from(outcome.data_bytes()).unwrap_or(u32::MAX).min(self.bytes)
    }
}
