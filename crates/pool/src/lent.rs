//! A sandbox on its way to a taker ([`Parcel`]) and in its hands ([`Lent`]).
//!
//! Both give back on drop, differently: a parcel that nobody accepted was never used, so it returns to the shelf; a lent
//! sandbox served an episode, so it is closed in the background and never seen again.
//!
//! A lent sandbox that only waits for its next use is [`Spare`]: the pool may want it back, where a take waits in vain or its
//! host retires. Whoever holds it drops it then, or keeps it because its use has come.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use envfarm_core::{Host, HostId, Sandbox, SandboxSpec};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::table::Shared;

/// A host that sandboxes live on.
pub(crate) struct Carrier {
    pub(crate) id: HostId,
    pub(crate) host: Arc<dyn Host>,
    /// Cancelled when the pool gave the host up, so that its watcher ends.
    pub(crate) gone: CancellationToken,
    pub(crate) retiring: AtomicBool,
}

/// A sandbox and where it lives.
pub(crate) struct Placed {
    pub(crate) carrier: Arc<Carrier>,
    pub(crate) sandbox: Box<dyn Sandbox>,
    /// What it was opened for.
    pub(crate) spec: Arc<SandboxSpec>,
}

/// A sandbox handed to a waiting take, which may have gone away meanwhile.
pub(crate) struct Parcel {
    pub(crate) shared: Arc<Shared>,
    pub(crate) placed: Option<Placed>,
}

impl Parcel {
    pub(crate) fn accept(mut self) -> Lent {
        Lent { shared: Arc::clone(&self.shared), placed: self.placed.take(), spare: None }
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if let Some(placed) = self.placed.take() {
            self.shared.take_back(placed);
        }
    }
}

/// A sandbox in use. Dropping it hands the sandbox to a background close.
pub struct Lent {
    pub(crate) shared: Arc<Shared>,
    pub(crate) placed: Option<Placed>,
    pub(crate) spare: Option<Spare>,
}

/// Says of a lent sandbox that its holder could do without it. Clones are of the same sandbox.
#[derive(Clone)]
pub struct Spare {
    shared: Arc<Shared>,
    number: u64,
    wanted: CancellationToken,
}

impl Spare {
    /// Resolves when the pool wants the sandbox back.
    pub async fn wanted_back(&self) {
        self.wanted.cancelled().await;
    }

    /// Takes back that it could be done without, whether it was wanted or not.
    pub fn keep(&self) {
        self.shared.keep(self.number);
    }
}

impl Lent {
    pub fn sandbox(&mut self) -> &mut dyn Sandbox {
        self.placed.as_mut().expect("a lent sandbox is there until drop").sandbox.as_mut()
    }

    pub fn host(&self) -> &HostId {
        &self.carrier().id
    }

    /// Resolves when the host of this sandbox died or was lost.
    pub fn host_closed(&self) -> WaitForCancellationFutureOwned {
        self.carrier().host.closed()
    }

    /// Whether its host takes no new sandboxes any more and waits for this one to end.
    pub fn host_is_retiring(&self) -> bool {
        self.carrier().retiring.load(Ordering::Relaxed)
    }

    /// Counts one more episode in this sandbox: it wears its host as a new one would.
    pub fn serves_again(&self) {
        self.shared.serves_again(self.host());
    }

    /// Says that its holder could do without it, until it is kept.
    pub fn spare(&mut self) -> Spare {
        if self.spare.is_none() {
            let (number, wanted) = self.shared.spare(self.host());
            self.spare = Some(Spare { shared: Arc::clone(&self.shared), number, wanted });
        }
        self.spare.clone().expect("just put there")
    }

    /// Takes [`Lent::spare`] back: it is in use again.
    pub fn keep(&mut self) {
        if let Some(spare) = self.spare.take() {
            spare.keep();
        }
    }

    /// Resolves when the pool wants this back; never while it is not spare.
    pub fn wanted_back(&self) -> impl Future<Output = ()> + Send + use<> {
        let wanted = self.spare.as_ref().map(|spare| spare.wanted.clone());
        async move {
            match wanted {
                Some(wanted) => wanted.cancelled().await,
                None => std::future::pending().await,
            }
        }
    }

    fn carrier(&self) -> &Carrier {
        &self.placed.as_ref().expect("a lent sandbox is there until drop").carrier
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(placed) = self.placed.take() {
            self.shared.end(placed, self.spare.take().map(|spare| spare.number));
        }
    }
}
