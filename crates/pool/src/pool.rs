//! The pool as its users see it: take a sandbox, hint at demand, look, shut down.

use std::sync::Arc;
use std::time::Duration;

use envfarm_core::{Backend, HostId, Provider, SandboxSpec};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::budget::MemoryBudget;
use crate::gate::Gate;
use crate::lent::{Lent, Parcel};
use crate::owner::{Owner, SHUTDOWN_LIMIT};
use crate::spec::PoolSpec;
use crate::table::{Shared, Taken, Urgency};

/// Warm sandboxes of one environment. Dropping it shuts it down in the background.
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TakeError {
    #[error("no sandbox within {waited:?}: {why}")]
    Timeout { waited: Duration, why: String },
    #[error("the pool is shutting down")]
    ShuttingDown,
}

/// Where a host is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostState {
    Launching,
    Ready,
    Retiring,
    /// Dead or done, and not yet destroyed at its provider.
    Gone,
}

impl HostState {
    /// Word for status and metrics; a fixed set.
    pub fn label(self) -> &'static str {
        match self {
            Self::Launching => "launching",
            Self::Ready => "ready",
            Self::Retiring => "retiring",
            Self::Gone => "gone",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    pub id: HostId,
    pub state: HostState,
    /// Opening, warm, lent and closing.
    pub sandboxes: usize,
    /// Episodes it was used for: sandboxes opened since launch, and restarts in place.
    pub served: u64,
    /// As last measured; 0 until then.
    pub bytes: u64,
    /// Since it became ready, or since its launch began.
    pub age: Duration,
    /// Of a local process.
    pub pid: Option<u32>,
}

/// The pool at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolView {
    pub environment: String,
    pub hosts: Vec<HostView>,
    /// Sandboxes ready to be taken.
    pub warm: usize,
    /// Sandboxes lent.
    pub busy: usize,
    /// Slots that leases hold, as last told.
    pub leased: usize,
    /// Takes that wait.
    pub waiting: usize,
    /// Why hosts fail, while they do.
    pub trouble: Option<String>,
}

impl Pool {
    /// Starts the pool's owner task; must be called in a Tokio runtime. Nothing is launched here: failures to launch show in
    /// the log, in [`Pool::view`], and in the error of takes.
    pub fn start(
        spec: PoolSpec,
        provider: Arc<dyn Provider>,
        backend: Arc<dyn Backend>,
        sandbox: SandboxSpec,
        budget: Arc<MemoryBudget>,
        gate: Gate,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared::new(spec, budget));
        tokio::spawn(Owner::new(Arc::clone(&shared), provider, backend, sandbox, gate).run());
        Arc::new(Self { shared })
    }

    /// A fresh sandbox, first come first served and before all work ahead. Dropping the future loses nothing.
    pub async fn take(&self, limit: Duration) -> Result<Lent, TakeError> {
        self.take_wishing(None, Urgency::Now, limit).await
    }

    /// A fresh sandbox, by preference one that was opened for `wish`. What takes wish for is what the pool opens sandboxes
    /// for, while their wishes are few.
    pub async fn take_for(&self, wish: SandboxSpec, limit: Duration) -> Result<Lent, TakeError> {
        self.take_wishing(Some(Arc::new(wish)), Urgency::Now, limit).await
    }

    /// As [`Pool::take_for`], for work that nobody waits for yet: served while no other take waits, and [spare](Lent::spare)
    /// from the beginning.
    pub async fn take_ahead(&self, wish: SandboxSpec, limit: Duration) -> Result<Lent, TakeError> {
        let mut lent = self.take_wishing(Some(Arc::new(wish)), Urgency::Ahead, limit).await?;
        lent.spare();
        Ok(lent)
    }

    async fn take_wishing(&self, wish: Option<Arc<SandboxSpec>>, urgency: Urgency, limit: Duration) -> Result<Lent, TakeError> {
        let begun = Instant::now();
        let lent = match self.shared.take(wish.as_ref(), urgency) {
            Taken::Warm(placed) => {
                self.shared.metrics.takes_warm.increment(1);
                Lent { shared: Arc::clone(&self.shared), placed: Some(placed), spare: None }
            }
            Taken::Queued(_place, parcel) => {
                self.shared.metrics.takes_miss.increment(1);
                match timeout(limit, parcel).await {
                    Ok(parcel) => parcel.map(Parcel::accept).map_err(|_| TakeError::ShuttingDown)?,
                    Err(_) => return Err(TakeError::Timeout { waited: begun.elapsed(), why: self.shared.obstacle() }),
                }
            }
            Taken::Stopping => return Err(TakeError::ShuttingDown),
        };
        self.shared.metrics.took(begun.elapsed());
        Ok(lent)
    }

    /// How many slots leases hold now: the demand to be ready for.
    pub fn set_leased_slots(&self, slots: usize) {
        self.shared.set_leased(slots);
    }

    pub fn view(&self) -> PoolView {
        self.shared.view()
    }

    /// Ends every host. Takes fail from now on; lent sandboxes die with their hosts. Returns when all is gone, or after a
    /// bounded time with what could not be destroyed in the log.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        if timeout(SHUTDOWN_LIMIT, self.shared.finished.cancelled()).await.is_err() {
            tracing::error!(environment = %self.shared.spec.environment, "pool did not shut down in time");
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}
