//! A sandbox on its way to a taker ([`Parcel`]) and in its hands ([`Lent`]).
//!
//! Both give back on drop, differently: a parcel that nobody accepted was never used, so it returns to the shelf; a lent
//! sandbox served an episode, so it is closed in the background and never seen again.

use std::sync::Arc;

use envfarm_core::{Host, HostId, Sandbox, SandboxSpec};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::table::Shared;

/// A host that sandboxes live on.
pub(crate) struct Carrier {
    pub(crate) id: HostId,
    pub(crate) host: Arc<dyn Host>,
    /// Cancelled when the pool gave the host up, so that its watcher ends.
    pub(crate) gone: CancellationToken,
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
        Lent { shared: Arc::clone(&self.shared), placed: self.placed.take() }
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

    fn carrier(&self) -> &Carrier {
        &self.placed.as_ref().expect("a lent sandbox is there until drop").carrier
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(placed) = self.placed.take() {
            self.shared.end(placed);
        }
    }
}
