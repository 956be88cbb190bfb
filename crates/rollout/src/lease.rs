//! A lease: a client's slots, started when first used, and who is attached to them.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use envfarm_core::command::Position;
use envfarm_core::{Failure, FailureCode, ObservationSpec};
use envfarm_pool::LeaseId;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::environment::Environment;
use crate::outlet::Sink;
use crate::session::{Link, Outcomes, Session, SessionEnd};
use crate::slot::SlotHandle;
use crate::unread;
use crate::work::SlotContext;

/// A lease as told to its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    pub id: String,
    pub environment: String,
    pub slots: u32,
    /// Until it expires, unless renewed.
    pub expires_in: Duration,
}

impl LeaseInfo {
    pub(crate) fn new(lease: &envfarm_pool::Lease, now: Instant) -> Self {
        Self {
            id: lease.id.0.clone(),
            environment: lease.environment.clone(),
            // Bounded by an environment's `max_slots`.
            slots: lease.slots as u32,
            expires_in: lease.expires_at.saturating_duration_since(now),
        }
    }
}

/// The slots of a lease. How long it lasts is kept by the farm's lease table.
pub(crate) struct Lease {
    pub id: LeaseId,
    pub context: Arc<SlotContext>,
    slots: Box<[OnceLock<SlotHandle>]>,
    sinks: watch::Sender<Sink>,
    link: Mutex<Option<Arc<Link>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Lease {
    /// Slots end with `stop`; their tasks are counted by `tasks`.
    pub fn new(id: LeaseId, slots: u32, context: Arc<SlotContext>, tasks: TaskTracker) -> Self {
        Self {
            id,
            slots: (0..slots).map(|_| OnceLock::new()).collect(),
            sinks: watch::Sender::new(None),
            link: Mutex::new(None),
            stop: context.drain.stop.child_token(),
            tasks,
            context,
        }
    }

    pub fn environment(&self) -> &Environment {
        &self.context.env.spec
    }

    pub fn slots(&self) -> u32 {
        // Built from a u32.
        self.slots.len() as u32
    }

    /// The slot, started if it was not. The index must be in range.
    pub fn slot(&self, index: u32) -> &SlotHandle {
        self.slots[index as usize]
            .get_or_init(|| SlotHandle::start(index, self.context.clone(), self.sinks.subscribe(), &self.stop, &self.tasks))
    }

    /// The slot, if it has ever been used.
    pub fn started(&self, index: u32) -> Option<&SlotHandle> {
        self.slots.get(index as usize)?.get()
    }

    pub fn position(&self, index: u32) -> Position {
        self.started(index).map_or_else(|| Position { slot: index, ..Position::default() }, SlotHandle::position)
    }

    pub fn positions(&self) -> Vec<Position> {
        (0..self.slots()).map(|index| self.position(index)).collect()
    }

    /// Why a slot of this lease takes nothing any more.
    pub fn stopped(&self) -> Failure {
        if self.context.drain.stop.is_cancelled() {
            Failure::new(FailureCode::ShuttingDown, "the farm shuts down")
        } else {
            Failure::new(FailureCode::Cancelled, "the lease has ended")
        }
    }

    /// Attaches a client, in place of the one before; `count` and `bytes` bound the outcomes that it has not read.
    pub fn attach(self: Arc<Self>, observations: Arc<[ObservationSpec]>, count: usize, bytes: u32) -> (Session, Outcomes) {
        let (sink, outcomes) = unread::queue(count, bytes);
        let link = Arc::new(Link::new(sink.clone()));
        let mut attached = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let before = attached.replace(link.clone());
        // Under the lock, so that the last to attach is the one that outcomes go to.
        self.sinks.send_replace(Some(sink));
        drop(attached);
        if let Some(before) = before {
            before.end(SessionEnd::TakenOver);
        }
        if self.stop.is_cancelled() {
            // It ended meanwhile.
            let farm_ended = self.context.drain.stop.is_cancelled();
            link.end(if farm_ended { SessionEnd::ShuttingDown } else { SessionEnd::LeaseEnded });
        }
        let outcomes = Outcomes { outcomes, link: link.clone() };
        (Session { lease: self, link, observations }, outcomes)
    }

    /// Whether a client is attached and still reads.
    pub fn is_attached(&self) -> bool {
        self.link.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(|link| link.is_live())
    }

    /// Stops the slots; their sandboxes are given back as their tasks end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends the session, if any, and keeps slots from sending to it.
    pub fn detach(&self, why: SessionEnd) {
        self.sinks.send_replace(None);
        if let Some(link) = self.link.lock().unwrap_or_else(PoisonError::into_inner).take() {
            link.end(why);
        }
    }
}
