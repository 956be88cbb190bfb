//! The gate that work which eats a core passes, so that page loads and steps of all pools never oversubscribe the cores.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Two fair queues, one for loads (page loads, boots, opening sandboxes) and one for steps. Clones share them.
#[derive(Clone, Debug)]
pub struct Gate {
    loads: Arc<Semaphore>,
    steps: Arc<Semaphore>,
}

/// The right to work; given back on drop.
#[derive(Debug)]
pub struct GatePermit {
    _permit: OwnedSemaphorePermit,
}

impl Gate {
    /// How many loads and how many steps may work at once; at least one each.
    pub fn new(loads: usize, steps: usize) -> Self {
        let queue = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self { loads: queue(loads), steps: queue(steps) }
    }

    /// Waits for a turn to load, first come first served. Dropping the future gives up the place.
    pub async fn load(&self) -> GatePermit {
        Self::pass(&self.loads).await
    }

    /// Waits for a turn to step, first come first served. Dropping the future gives up the place.
    pub async fn step(&self) -> GatePermit {
        Self::pass(&self.steps).await
    }

    async fn pass(queue: &Arc<Semaphore>) -> GatePermit {
        let permit = Arc::clone(queue).acquire_owned().await.expect("the gate's queues are never closed");
        GatePermit { _permit: permit }
    }
}
