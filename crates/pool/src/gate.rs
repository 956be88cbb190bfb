//! The gate that work which eats a core passes, so that page loads and steps of all pools never oversubscribe the cores; and
//! what work ahead of demand looks at, so that it does not compete with a reset that someone waits for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

/// How long a load and a step may keep others waiting; see [`GatePermit::cover`].
const LOAD_HOLD: Duration = Duration::from_secs(5);
const STEP_HOLD: Duration = Duration::from_secs(1);
/// How long work ahead of demand lets resets go first. Where resets never pause it has to go on beside them.
pub const BACKGROUND_PATIENCE: Duration = Duration::from_millis(250);

/// Two fair queues, one for loads (page loads, boots, opening sandboxes) and one for steps. Clones share them.
#[derive(Clone, Debug)]
pub struct Gate {
    loads: Arc<Semaphore>,
    steps: Arc<Semaphore>,
    /// Resets under way that someone waits for.
    foreground: watch::Sender<usize>,
}

/// A reset that someone waits for; over on drop.
#[derive(Debug)]
pub struct Foreground(watch::Sender<usize>);

impl Drop for Foreground {
    fn drop(&mut self) {
        self.0.send_if_modified(|resets| {
            *resets -= 1;
            *resets == 0
        });
    }
}

/// The right to work; given back on drop.
#[derive(Debug)]
pub struct GatePermit {
    permit: OwnedSemaphorePermit,
    hold: Duration,
}

impl GatePermit {
    /// Works under this permit. Work that takes long waits more than it computes: it goes on without the permit, so that an
    /// agent that waits, a site that does not answer or a host that hangs cannot shut the gate for everyone.
    pub async fn cover<T>(self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        match timeout(self.hold, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                drop(self.permit);
                work.await
            }
        }
    }
}

impl Gate {
    /// How many loads and how many steps may work at once; at least one each.
    pub fn new(loads: usize, steps: usize) -> Self {
        let queue = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self { loads: queue(loads), steps: queue(steps), foreground: watch::Sender::new(0) }
    }

    /// Says that a reset begins that someone waits for.
    pub fn foreground(&self) -> Foreground {
        self.foreground.send_if_modified(|resets| {
            *resets += 1;
            *resets == 1
        });
        Foreground(self.foreground.clone())
    }

    /// How many resets someone waits for; tells when the first begins and the last ends.
    pub fn watch_foreground(&self) -> watch::Receiver<usize> {
        self.foreground.subscribe()
    }

    /// Waits until no reset is under way that someone waits for, but no longer than [`BACKGROUND_PATIENCE`].
    pub async fn calm(&self) {
        let mut foreground = self.watch_foreground();
        // Late, or (which cannot be: `self` holds a sender) closed: either way it is time to go on.
        let _ = timeout(BACKGROUND_PATIENCE, foreground.wait_for(|resets| *resets == 0)).await;
    }

    /// Waits for a turn to load, first come first served. Dropping the future gives up the place.
    pub async fn load(&self) -> GatePermit {
        Self::pass(&self.loads, LOAD_HOLD).await
    }

    /// Waits for a turn to step, first come first served. Dropping the future gives up the place.
    pub async fn step(&self) -> GatePermit {
        Self::pass(&self.steps, STEP_HOLD).await
    }

    async fn pass(queue: &Arc<Semaphore>, hold: Duration) -> GatePermit {
        let permit = Arc::clone(queue).acquire_owned().await.expect("the gate's queues are never closed");
        GatePermit { permit, hold }
    }
}
