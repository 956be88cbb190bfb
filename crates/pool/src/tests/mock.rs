//! A world of hosts and sandboxes that do nothing but can be slow, hang, fail, panic or die on command, and count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use envfarm_core::{
    Action, ActionResult, Backend, BackendError, Capabilities, Endpoints, Host, HostId, HostSpec, Observation, ObservationRequest,
    ObservationSpec, ObservedHost, Provider, ProviderError, Sandbox, SandboxSpec, SnapshotLevel, Usage,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{Gate, HostState, MemoryBudget, Pool, PoolSpec, PoolView};

/// How a kind of call behaves.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    #[default]
    Works,
    Takes(Duration),
    Fails(&'static str),
    Hangs,
    Panics,
}

impl Mood {
    async fn act(self) -> Result<(), String> {
        match self {
            Self::Works => Ok(()),
            Self::Takes(time) => {
                sleep(time).await;
                Ok(())
            }
            Self::Fails(error) => Err(error.to_owned()),
            Self::Hangs => std::future::pending().await,
            Self::Panics => panic!("the mock was told to panic"),
        }
    }
}

#[derive(Default)]
pub struct World {
    pub launch: Mood,
    pub open: Mood,
    pub close: Mood,
    pub destroy: Mood,
    /// Hosts that run, with the switch that kills them.
    pub alive: BTreeMap<HostId, CancellationToken>,
    /// When each launch began.
    pub launches: Vec<Instant>,
    pub opened: u64,
    /// Sandboxes that exist: opened, and neither closed nor dropped.
    pub live: usize,
    pub most_live: usize,
    /// What every host is measured at, unless named in `bytes_of`.
    pub bytes: u64,
    pub bytes_of: BTreeMap<HostId, u64>,
    pub measuring: usize,
    pub most_measuring: usize,
}

#[derive(Clone, Default)]
pub struct Mock(Arc<Mutex<World>>);

impl Mock {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub fn start(&self, spec: PoolSpec) -> Arc<Pool> {
        self.start_within(spec, MemoryBudget::new(u64::MAX / 2))
    }

    pub fn start_within(&self, spec: PoolSpec, budget: Arc<MemoryBudget>) -> Arc<Pool> {
        let me = Arc::new(self.clone());
        Pool::start(spec, me.clone(), me, SandboxSpec::default(), budget, Gate::new(2, 2))
    }

    pub fn kill(&self, id: &HostId) {
        self.world().alive.remove(id).expect("host to kill runs").cancel();
    }
}

/// Small sizes; tests change what they are about.
pub fn spec() -> PoolSpec {
    PoolSpec {
        environment: "mock".into(),
        max_sandboxes: 16,
        sandboxes_per_host: 8,
        min_hosts: 1,
        max_hosts: 2,
        warm: 4,
        recycle_after_served: u64::MAX,
        recycle_after: Duration::MAX,
        recycle_above_bytes: u64::MAX,
        expected_host_bytes: 100,
        expected_sandbox_bytes: 10,
        open_timeout: Duration::from_secs(5),
        close_timeout: Duration::from_secs(5),
        usage_interval: Duration::from_secs(5),
        ..PoolSpec::default()
    }
}

/// Waits on the paused clock until the pool looks as wanted.
pub async fn until(pool: &Pool, limit: Duration, what: &str, wanted: impl Fn(&PoolView) -> bool) -> Duration {
    let begun = Instant::now();
    while !wanted(&pool.view()) {
        assert!(begun.elapsed() < limit, "not within {limit:?}: {what}: {:#?}", pool.view());
        sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

pub fn hosts(view: &PoolView, state: HostState) -> usize {
    view.hosts.iter().filter(|h| h.state == state).count()
}

#[async_trait]
impl Provider for Mock {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn launch(&self, id: &HostId, _: &HostSpec, cancel: &CancellationToken) -> Result<Endpoints, ProviderError> {
        self.world().launches.push(Instant::now());
        let mood = self.world().launch.clone();
        match cancel.run_until_cancelled(mood.act()).await {
            None => return Err(ProviderError::Cancelled),
            Some(result) => result.map_err(ProviderError::Missing)?,
        }
        self.world().alive.insert(id.clone(), CancellationToken::new());
        Ok(Endpoints { urls: [("mock".to_owned(), id.0.clone())].into(), pid: Some(7) })
    }

    async fn usage(&self, id: &HostId) -> Result<Usage, ProviderError> {
        {
            let mut world = self.world();
            world.measuring += 1;
            world.most_measuring = world.most_measuring.max(world.measuring);
        }
        sleep(Duration::from_millis(20)).await;
        let mut world = self.world();
        world.measuring -= 1;
        let memory_bytes = world.bytes_of.get(id).copied().unwrap_or(world.bytes);
        Ok(Usage { memory_bytes, cpu_seconds: 0.0 })
    }

    async fn destroy(&self, id: &HostId) -> Result<(), ProviderError> {
        let mood = self.world().destroy.clone();
        mood.act().await.map_err(ProviderError::Io)?;
        if let Some(alive) = self.world().alive.remove(id) {
            alive.cancel();
        }
        Ok(())
    }

    async fn list_owned(&self) -> Result<Vec<ObservedHost>, ProviderError> {
        Ok(self.world().alive.keys().map(|id| ObservedHost { id: id.clone(), pid: None, orphaned: false }).collect())
    }
}

#[async_trait]
impl Backend for Mock {
    fn host_spec(&self, environment: &str) -> HostSpec {
        HostSpec { environment: environment.into(), launch_timeout: Duration::from_secs(10), ..HostSpec::default() }
    }

    async fn connect(&self, endpoints: &Endpoints, _: &CancellationToken) -> Result<Arc<dyn Host>, BackendError> {
        let id = HostId(endpoints.urls["mock"].clone());
        let alive = self.world().alive.get(&id).cloned().ok_or(BackendError::HostLost("gone".into()))?;
        Ok(Arc::new(MockHost { mock: self.clone(), alive }))
    }

    fn observations(&self) -> Vec<ObservationSpec> {
        Vec::new()
    }

    fn snapshot_levels(&self) -> &'static [SnapshotLevel] {
        &[]
    }
}

struct MockHost {
    mock: Mock,
    alive: CancellationToken,
}

#[async_trait]
impl Host for MockHost {
    async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, BackendError> {
        let mood = self.mock.world().open.clone();
        mood.act().await.map_err(BackendError::Protocol)?;
        if self.alive.is_cancelled() {
            return Err(BackendError::HostLost("dead".into()));
        }
        let mut world = self.mock.world();
        world.opened += 1;
        world.live += 1;
        world.most_live = world.most_live.max(world.live);
        Ok(Box::new(MockSandbox { mock: self.mock.clone(), serial: world.opened }))
    }

    fn closed(&self) -> WaitForCancellationFutureOwned {
        self.alive.clone().cancelled_owned()
    }
}

struct MockSandbox {
    mock: Mock,
    serial: u64,
}

impl Drop for MockSandbox {
    fn drop(&mut self) {
        self.mock.world().live -= 1;
    }
}

#[async_trait]
impl Sandbox for MockSandbox {
    async fn act(&mut self, _: &Action) -> Result<ActionResult, BackendError> {
        Ok(ActionResult::ok())
    }

    async fn observe(&mut self, _: &ObservationRequest) -> Result<Vec<Observation>, BackendError> {
        Ok(Vec::new())
    }

    async fn save_state(&mut self) -> Result<bytes::Bytes, BackendError> {
        Ok(bytes::Bytes::new())
    }

    async fn restore_state(&mut self, _: &[u8]) -> Result<(), BackendError> {
        Ok(())
    }

    /// Its serial number: no two sandboxes share one.
    async fn fingerprint(&mut self) -> Result<String, BackendError> {
        Ok(self.serial.to_string())
    }

    async fn residue(&mut self) -> Result<Vec<String>, BackendError> {
        Ok(Vec::new())
    }

    async fn close(self: Box<Self>) {
        let mood = self.mock.world().close.clone();
        let _ = mood.act().await;
    }
}
