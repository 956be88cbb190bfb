//! The way of a slot's outcomes to whoever is attached to the lease.
//!
//! A slot never waits here: an outcome that does not fit stays in the outlet, and the slot takes no further command until
//! it has gone. That bounds the memory that a client can hold by not reading to its outcome queue and two outcomes a slot.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;

use envfarm_core::command::Outcome;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use crate::unread::UnreadSender;

/// Where outcomes go now; `None` while nobody is attached.
pub(crate) type Sink = Option<UnreadSender>;

pub(crate) struct Outlet {
    sinks: watch::Receiver<Sink>,
    sink: Sink,
    held: VecDeque<Arc<Outcome>>,
}

impl Outlet {
    pub fn new(mut sinks: watch::Receiver<Sink>) -> Self {
        let sink = sinks.borrow_and_update().clone();
        Self { sinks, sink, held: VecDeque::new() }
    }

    /// Sends, or holds what does not fit. With nobody attached the outcome is dropped: the slot has recorded it.
    pub fn send(&mut self, outcome: Arc<Outcome>) {
        self.held.push_back(outcome);
        self.flush();
    }

    pub fn is_blocked(&self) -> bool {
        !self.held.is_empty()
    }

    fn flush(&mut self) {
        if self.sinks.has_changed().unwrap_or(false) {
            self.sink = self.sinks.borrow_and_update().clone();
        }
        let Some(sink) = &self.sink else { return self.held.clear() };
        while let Some(outcome) = self.held.pop_front() {
            match sink.try_send(outcome) {
                Ok(()) => {}
                Err(TrySendError::Full(outcome)) => return self.held.push_front(outcome),
                Err(TrySendError::Closed(_)) => {
                    self.sink = None;
                    return self.held.clear();
                }
            }
        }
    }

    /// Makes progress with what is held: waits for room, or for another client to attach. Cancel-safe.
    pub async fn unblock(&mut self) {
        let (Some(sink), Some(first)) = (&self.sink, self.held.front()) else { return pending().await };
        let changed = tokio::select! {
            biased;
            changed = self.sinks.changed() => changed,
            place = sink.reserve(first) => {
                if let (Some(place), Some(outcome)) = (place, self.held.pop_front()) {
                    place.send(outcome);
                }
                Ok(())
            }
        };
        // `changed` has marked the new sink as seen. An error means that the lease is gone: nobody will attach.
        self.sink = changed.ok().and_then(|()| self.sinks.borrow_and_update().clone());
        self.flush();
    }
}
