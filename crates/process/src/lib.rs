//! Provider: hosts as child processes of the farm, on the same machine.
//!
//! Children outlive a parent that is killed, and Chromium's children outlive Chromium's group. So every host gets a folder
//! of its own, whose path its processes carry in their environment, and a record of who it is: whatever still runs can be
//! found again, by this farm or by the next. Linux only: it reads `/proc` and signals by process descriptors.

mod cleanup;
mod farm;
mod host;
mod log;
mod procfs;
mod state;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use envfarm_core::{Capabilities, Endpoints, HostId, HostSpec, ObservedHost, Provider, ProviderError, Usage};
use tokio_util::sync::CancellationToken;

use crate::farm::{DeadFarm, Farm};
use crate::host::Host;

/// How long a caller waits for a host to be gone: longer than the clean-up itself takes at worst.
const DESTROY_LIMIT: Duration = Duration::from_secs(30);

/// Runs hosts as local processes. What Chromium orphans when it dies is for process 1 to reap: in a container, run an init
/// there. Dropping the provider ends its hosts in the background; [`Provider::destroy`] waits for that.
pub struct ProcessProvider {
    state: PathBuf,
    shared: Arc<Shared>,
    /// Parent of every host's token.
    stop: CancellationToken,
}

struct Shared {
    farm: Farm,
    hosts: Mutex<HashMap<HostId, Arc<Host>>>,
}

impl Shared {
    fn hosts(&self) -> MutexGuard<'_, HashMap<HostId, Arc<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProcessProvider {
    /// Keeps what it runs under `state_dir`, which several farms of one user may share. Makes it if need be; one in which
    /// somebody else may write, or a link, is refused.
    pub fn new(state_dir: PathBuf) -> io::Result<Self> {
        let state = state::open(&state_dir)?;
        let shared = Shared { farm: Farm::new(&state)?, hosts: Mutex::default() };
        Ok(Self { state, shared: Arc::new(shared), stop: CancellationToken::new() })
    }

    /// Ends what farms that died left in the state folder, and removes it. Hosts of living farms are not touched; what cannot
    /// be ended or removed is logged and stays for the next time.
    pub async fn collect_orphans(&self) -> Result<Vec<HostId>, ProviderError> {
        let state = self.state.clone();
        blocking(move || Ok(DeadFarm::all(&state)?.iter().flat_map(DeadFarm::collect).collect())).await
    }

    /// Ends a host of a dead farm, if there is one of that name.
    async fn collect_orphan(&self, id: &HostId) -> Result<(), ProviderError> {
        let (state, id) = (self.state.clone(), id.clone());
        blocking(move || DeadFarm::with_host(&state, &id)?.iter().try_for_each(|farm| farm.collect_host(&id))).await
    }

    fn host(&self, id: &HostId) -> Option<Arc<Host>> {
        self.shared.hosts().get(id).cloned()
    }
}

impl Drop for ProcessProvider {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Provider for ProcessProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn launch(&self, id: &HostId, spec: &HostSpec, cancel: &CancellationToken) -> Result<Endpoints, ProviderError> {
        if cancel.is_cancelled() {
            return Err(ProviderError::Cancelled);
        }
        // No await between the start and the guard: a caller that goes away leaves nothing behind.
        let place = self.shared.farm.place(id)?;
        let (host, running) = Host::start(&place, spec, self.stop.child_token()).inspect_err(|_| {
            if let Err(error) = place.clean_up() {
                tracing::warn!(host = %id, %error, "a host that did not start leaves something behind");
            }
        })?;
        let guard = host.stop.clone().drop_guard();
        self.shared.hosts().insert(id.clone(), host.clone());
        tokio::spawn({
            let (shared, host, id) = (self.shared.clone(), host.clone(), id.clone());
            async move {
                running.until_gone(&host).await;
                if host.is_clean() {
                    shared.hosts().remove(&id);
                }
                host.gone.cancel();
            }
        });
        match host.ready(spec, cancel).await {
            Ok(endpoints) => {
                guard.disarm();
                Ok(endpoints)
            }
            Err(error) => {
                drop(guard);
                host.gone.cancelled().await;
                Err(error)
            }
        }
    }

    async fn usage(&self, id: &HostId) -> Result<Usage, ProviderError> {
        let host = self.host(id).ok_or_else(|| ProviderError::UnknownHost(id.to_string()))?;
        blocking(move || Ok(host.usage())).await
    }

    async fn destroy(&self, id: &HostId) -> Result<(), ProviderError> {
        let Some(host) = self.host(id) else {
            return self.collect_orphan(id).await;
        };
        host.stop.cancel();
        if tokio::time::timeout(DESTROY_LIMIT, host.gone.cancelled()).await.is_err() {
            return Err(ProviderError::Io(format!("host {id} did not end within {DESTROY_LIMIT:?}")));
        }
        if !host.is_clean() {
            blocking(move || host.place.clean_up().map_err(io_error)).await?;
            self.shared.hosts().remove(id);
        }
        Ok(())
    }

    async fn list_owned(&self) -> Result<Vec<ObservedHost>, ProviderError> {
        let mut found: Vec<_> = self
            .shared
            .hosts()
            .iter()
            .map(|(id, host)| ObservedHost { id: id.clone(), pid: Some(host.place.identity().pid), orphaned: false })
            .collect();
        let state = self.state.clone();
        found.extend(blocking(move || Ok(DeadFarm::all(&state)?.iter().flat_map(DeadFarm::observed).collect::<Vec<_>>())).await?);
        Ok(found)
    }
}

/// Runs file work off the runtime's threads. Bounded by what it does: every loop in this crate has a deadline.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ProviderError> + Send + 'static) -> Result<T, ProviderError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ProviderError::Io(format!("file work: {error}"))),
    }
}

fn io_error(error: io::Error) -> ProviderError {
    ProviderError::Io(error.to_string())
}

/// An error that says which file it is about.
fn at(path: &Path) -> impl FnOnce(io::Error) -> ProviderError + '_ {
    move |error| ProviderError::Io(format!("{}: {error}", path.display()))
}
