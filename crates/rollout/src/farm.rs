//! The farm: environments, leases on their slots, snapshots, and its own end.
//!
//! Everything that a client asks for outside a session is answered here. Leases run out by a reaper task; a client that is
//! attached and reads renews its lease by that. [`Farm::drain`] takes no new episodes, gives running ones until a deadline,
//! then ends slots, sessions and pools in that order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dashmap::DashMap;
use envfarm_core::command::SnapshotInfo;
use envfarm_core::{Failure, ObservationSpec, SnapshotId, TaskInfo};
use envfarm_pool::{LeaseError, LeaseId, LeaseLimits, LeaseTable, PoolView};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::environment::{Env, Environment};
use crate::lease::{Lease, LeaseInfo};
use crate::metrics::EnvironmentTotals;
use crate::session::{Outcomes, Session, SessionEnd};
use crate::snapshots::SnapshotStore;
use crate::work::{Drain, SlotContext};

/// How long slots may take to end once told to; they only drop what they hold.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Bounds of the farm as a whole.
#[derive(Clone, Debug)]
pub struct FarmOptions {
    /// Leases at once, of all environments.
    pub max_leases: usize,
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// Of leases that name none.
    pub default_ttl: Duration,
    /// Outcomes that wait for a session's client to read. A lease of more slots has room for one of each, which costs little:
    /// a slot keeps its last outcome anyway.
    pub outcome_queue: usize,
    /// What these may take together.
    pub outcome_bytes: u32,
    /// For making an episode ready after `Prepare`.
    pub prepare_timeout: Duration,
    pub max_snapshots: usize,
    /// Sum of all snapshots' sizes.
    pub max_snapshot_bytes: u64,
}

impl Default for FarmOptions {
    fn default() -> Self {
        Self {
            max_leases: 1024,
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(24 * 3600),
            default_ttl: Duration::from_secs(60),
            outcome_queue: 64,
            outcome_bytes: 64 << 20,
            prepare_timeout: Duration::from_secs(120),
            max_snapshots: 256,
            max_snapshot_bytes: 256 << 20,
        }
    }
}

/// Why no lease was given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AcquireError {
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("the farm drains: no new leases")]
    ShuttingDown,
}

impl AcquireError {
    /// The field of the request that is at fault, where one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Lease(error) => error.field(),
            Self::ShuttingDown => None,
        }
    }
}

/// Why no session was given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AttachError {
    #[error("no such lease, or it expired")]
    UnknownLease,
    /// The environment does not offer one of them; the failure names its field.
    #[error("{}", .0.reason)]
    Observations(Failure),
}

/// The farm now.
#[derive(Debug)]
pub struct FarmStatus {
    pub uptime: Duration,
    pub draining: bool,
    pub leases: usize,
    pub environments: Vec<EnvironmentStatus>,
}

#[derive(Debug)]
pub struct EnvironmentStatus {
    pub name: String,
    pub leased_slots: u32,
    pub pool: PoolView,
    pub totals: EnvironmentTotals,
}

/// Shared by the server's calls; lives until it is drained or dropped.
pub struct Farm {
    environments: Vec<Arc<SlotContext>>,
    table: Mutex<LeaseTable>,
    leases: DashMap<LeaseId, Arc<Leased>>,
    snapshots: Arc<SnapshotStore>,
    drain: Arc<Drain>,
    tasks: TaskTracker,
    options: FarmOptions,
    started: Instant,
}

/// A lease, and by how much its session renews it.
struct Leased {
    lease: Arc<Lease>,
    ttl: Mutex<Option<Duration>>,
}

impl Leased {
    fn set_ttl(&self, ttl: Option<Duration>) {
        *self.ttl.lock().unwrap_or_else(PoisonError::into_inner) = ttl;
    }
}

impl Farm {
    /// Starts the farm's own tasks, so it must be called in a tokio runtime, after the metrics recorder was installed.
    pub fn new(environments: Vec<Environment>, options: FarmOptions) -> Arc<Self> {
        let limits = LeaseLimits {
            max_leases: options.max_leases,
            min_ttl: options.min_ttl,
            max_ttl: options.max_ttl,
            default_ttl: options.default_ttl,
            capacity: environments.iter().map(|e| (e.name.clone(), e.max_slots as usize)).collect(),
        };
        let snapshots = Arc::new(SnapshotStore::new(options.max_snapshots, options.max_snapshot_bytes));
        let drain = Arc::new(Drain::default());
        let context = |spec| {
            let env = Env::new(spec);
            Arc::new(SlotContext { env, snapshots: snapshots.clone(), drain: drain.clone(), prepare_timeout: options.prepare_timeout })
        };
        let farm = Arc::new(Self {
            environments: environments.into_iter().map(context).collect(),
            table: Mutex::new(LeaseTable::new(limits)),
            leases: DashMap::new(),
            snapshots,
            drain,
            tasks: TaskTracker::new(),
            options,
            started: Instant::now(),
        });
        farm.tasks.spawn(reap(Arc::downgrade(&farm)));
        farm
    }

    pub fn environments(&self) -> impl Iterator<Item = &Environment> {
        self.environments.iter().map(|context| &context.env.spec)
    }

    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments().find(|environment| environment.name == name)
    }

    /// `None` if there is no such environment.
    pub fn tasks(&self, environment: &str) -> Option<&[TaskInfo]> {
        self.environment(environment).map(|environment| environment.suite.tasks())
    }

    /// A lease on `slots` slots; the same client token gives the same lease again. `ttl: None` is the default. Slots start
    /// when first used.
    pub fn acquire(&self, client_token: &str, environment: &str, slots: u32, ttl: Option<Duration>) -> Result<LeaseInfo, AcquireError> {
        if self.drain.refuse_new().is_err() {
            return Err(AcquireError::ShuttingDown);
        }
        let now = Instant::now();
        let mut table = self.table();
        let granted = table.acquire(client_token, environment, slots as usize, ttl, now)?;
        if let Some(leased) = self.leases.get(&granted.id) {
            leased.set_ttl(ttl);
        } else {
            let context = self.context(environment).ok_or_else(|| LeaseError::UnknownEnvironment(environment.to_owned()))?;
            let lease = Arc::new(Lease::new(granted.id.clone(), slots, context.clone(), self.tasks.clone()));
            self.leases.insert(granted.id.clone(), Arc::new(Leased { lease, ttl: Mutex::new(ttl) }));
            self.tell_pool(&table, environment);
            tracing::info!(environment, slots, "lease acquired");
        }
        Ok(LeaseInfo::new(&granted, now))
    }

    /// Moves the expiry to `ttl` from now; that is also by how much an attached session renews it from here on.
    pub fn renew(&self, lease: &LeaseId, ttl: Option<Duration>) -> Result<LeaseInfo, LeaseError> {
        let now = Instant::now();
        let renewed = self.table().renew(lease, ttl, now)?;
        if let Some(leased) = self.leases.get(lease) {
            leased.set_ttl(ttl);
        }
        Ok(LeaseInfo::new(&renewed, now))
    }

    /// Ends a lease with its session and its episodes; an unknown one is no error.
    pub fn release(&self, lease: &LeaseId) {
        let mut table = self.table();
        if let Some(released) = table.release(lease) {
            self.end(&table, &released);
        }
    }

    /// The lease as it stands; `None` if there is no such lease.
    pub fn lease(&self, lease: &LeaseId) -> Option<LeaseInfo> {
        self.table().get(lease).map(|lease| LeaseInfo::new(lease, Instant::now()))
    }

    /// Attaches a client to its lease, in place of one that is attached already. `observations` are taken for every
    /// command that does not say otherwise.
    pub fn attach(&self, lease: &LeaseId, observations: Arc<[ObservationSpec]>) -> Result<(Session, Outcomes), AttachError> {
        let leased = self.leases.get(lease).ok_or(AttachError::UnknownLease)?.clone();
        leased.lease.environment().check_observations(&observations).map_err(AttachError::Observations)?;
        // The client may have been away for almost as long as its lease lasts.
        self.extend(&leased);
        let queue = self.options.outcome_queue.max(leased.lease.slots() as usize);
        Ok(leased.lease.clone().attach(observations, queue, self.options.outcome_bytes))
    }

    /// Of one environment or of all, oldest first.
    pub fn snapshots(&self, environment: Option<&str>) -> Vec<SnapshotInfo> {
        self.snapshots.list(environment)
    }

    /// Whether there was such a snapshot.
    pub fn delete_snapshot(&self, id: &SnapshotId) -> bool {
        self.snapshots.delete(id)
    }

    pub fn status(&self) -> FarmStatus {
        let table = self.table();
        let environment = |context: &Arc<SlotContext>| {
            let env = &context.env;
            EnvironmentStatus {
                name: env.spec.name.clone(),
                leased_slots: table.slots_held(&env.spec.name) as u32,
                pool: env.spec.pool.view(),
                totals: env.metrics.totals(),
            }
        };
        FarmStatus {
            uptime: self.started.elapsed(),
            draining: self.drain.running.is_closed(),
            leases: table.len(),
            environments: self.environments.iter().map(environment).collect(),
        }
    }

    /// Tells when a drain begins, and its deadline.
    pub fn draining(&self) -> watch::Receiver<Option<Instant>> {
        self.drain.deadline.subscribe()
    }

    /// Ends the farm: no new leases and episodes from now on; running episodes go on until they end or `patience` is over,
    /// then their commands fail with `ShuttingDown`; then slots, sessions and pools end. Called again with less patience,
    /// it hurries.
    pub async fn drain(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.drain.deadline.send_replace(Some(deadline));
        self.drain.running.close();
        tracing::info!(running = self.drain.running.len(), ?patience, "farm drains");
        let rest = timeout_at(deadline, self.drain.running.wait()).await;
        if rest.is_err() {
            tracing::warn!(running = self.drain.running.len(), "episodes still run at the drain's deadline; ending them");
        }
        self.drain.stop.cancel();
        self.tasks.close();
        if timeout(STOP_GRACE, self.tasks.wait()).await.is_err() {
            tracing::error!(tasks = self.tasks.len(), "slots did not end in time");
        }
        for leased in &self.leases {
            leased.lease.detach(SessionEnd::ShuttingDown);
        }
        let mut pools = JoinSet::new();
        for environment in self.environments() {
            let pool = environment.pool.clone();
            pools.spawn(async move { pool.shutdown().await });
        }
        pools.join_all().await;
        tracing::info!("farm has ended");
    }

    /// Ends a lease that the table gave up. Under the table's lock, so that the pool's count is never an older one.
    fn end(&self, table: &LeaseTable, given_up: &envfarm_pool::Lease) {
        if let Some((_, leased)) = self.leases.remove(&given_up.id) {
            leased.lease.stop();
            leased.lease.detach(SessionEnd::LeaseEnded);
        }
        self.tell_pool(table, &given_up.environment);
        tracing::info!(environment = given_up.environment, slots = given_up.slots, "lease ended");
    }

    fn tell_pool(&self, table: &LeaseTable, environment: &str) {
        if let Some(context) = self.context(environment) {
            context.env.spec.pool.set_leased_slots(table.slots_held(environment));
        }
    }

    fn context(&self, environment: &str) -> Option<&Arc<SlotContext>> {
        self.environments.iter().find(|context| context.env.spec.name == environment)
    }

    /// Renews a lease by its own measure.
    fn extend(&self, leased: &Leased) {
        let ttl = *leased.ttl.lock().unwrap_or_else(PoisonError::into_inner);
        // The only error left is that the lease ended meanwhile.
        let _ = self.table().renew(&leased.lease.id, ttl, Instant::now());
    }

    fn reap(&self) {
        let attached: Vec<_> = self.leases.iter().filter(|leased| leased.lease.is_attached()).map(|leased| leased.clone()).collect();
        for leased in attached {
            self.extend(&leased);
        }
        let mut table = self.table();
        for lease in table.expired(Instant::now()) {
            self.end(&table, &lease);
        }
    }

    fn table(&self) -> MutexGuard<'_, LeaseTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        self.drain.stop.cancel();
    }
}

/// Ends leases as they run out, until the farm stops or is dropped.
async fn reap(farm: Weak<Farm>) {
    let Some((stop, every)) = farm.upgrade().map(|farm| {
        let every = (farm.options.min_ttl / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
        (farm.drain.stop.clone(), every)
    }) else {
        return;
    };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(farm) = farm.upgrade() else { return };
        farm.reap();
    }
}
