//! The task that owns a pool's hosts: it looks at levels, asks [`plan`], carries out the operations as jobs, and reads how
//! they ended.
//!
//! ```text
//!              launched                  worn, failing,            last lent sandbox
//!  launching ────────────> ready ─────── over budget, ──> retiring ─────── ended ───────> gone ──destroyed──> (forgotten)
//!      │                     │           surplus              │                            ^  │ retried with backoff
//!      └── failed ───────────┴────────── died ────────────────┴────────────────────────────┘  │
//!                                                                                     ^───────┘
//! ```
//!
//! - *launching* is a job in flight and an entry in [`Expectations`](plan::Expectations), which expires.
//! - *ready* takes new sandboxes. *retiring* takes none, its warm ones are closed, its lent ones go on but for those that can
//!   be spared.
//! - *gone* has no sandboxes any more; its memory stays charged until the provider has destroyed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use envfarm_core::{Backend, Endpoints, Host, HostId, HostSpec, Provider, SandboxSpec};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::jobs::{self, DESTROY_TIMEOUT, Done, JobError};
use crate::lent::{Carrier, Placed};
use crate::plan::{self, HostSeen, Phase, PoolOp, PoolSeen, RetireReason, Trouble};
use crate::table::{HostEntry, Launch, Shared, Table};

/// How often the levels are looked at if nothing happens: for ages, retries and memory that other pools gave back.
const TICK: Duration = Duration::from_millis(250);
/// A host that dies younger counts as a failed launch.
const STABLE_AFTER: Duration = Duration::from_secs(10);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// Trouble of that age is over if nothing is missing any more.
const FORGET_AFTER: Duration = Duration::from_secs(60);
/// A launch may have to wait this long at the gate before it is no longer believed in.
const GATE_ALLOWANCE: Duration = Duration::from_secs(60);
/// On shutdown, how long launches may take to stop by themselves.
const LAUNCH_STOP: Duration = Duration::from_secs(6);
/// Longest that [`crate::Pool::shutdown`] takes.
pub(crate) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Owner {
    shared: Arc<Shared>,
    provider: Arc<dyn Provider>,
    backend: Arc<dyn Backend>,
    host: Arc<HostSpec>,
    sandbox: Arc<SandboxSpec>,
    gate: Gate,
    /// Resets that someone waits for, of all pools.
    foreground: watch::Receiver<usize>,
    jobs: JoinSet<Option<Done>>,
    closes: usize,
    /// Sandboxes to drop once the lock is free.
    dead: Vec<Placed>,
    /// Last launch error logged, so that each is logged once.
    logged: Option<String>,
}

impl Owner {
    pub(crate) fn new(
        shared: Arc<Shared>,
        provider: Arc<dyn Provider>,
        backend: Arc<dyn Backend>,
        sandbox: SandboxSpec,
        gate: Gate,
    ) -> Self {
        let host = Arc::new(backend.host_spec(&shared.spec.environment));
        let sandbox = Arc::new(sandbox);
        let foreground = gate.watch_foreground();
        let (jobs, dead) = (JoinSet::new(), Vec::new());
        Self { shared, provider, backend, host, sandbox, gate, foreground, jobs, closes: 0, dead, logged: None }
    }

    pub(crate) async fn run(mut self) {
        // Whatever ends this task, waiting takes and `shutdown` must not hang on it.
        let shared = Arc::clone(&self.shared);
        let _ended = scope_end(move || {
            let left = shared.lock().stop();
            drop(left);
            shared.finished.cancel();
        });
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.shared.stop.cancelled() => break,
                () = self.shared.wake.notified() => {}
                Ok(()) = self.foreground.changed() => {}
                Some(done) = self.jobs.join_next() => self.note(done.ok().flatten()),
                _ = tick.tick() => self.shared.publish(),
            }
            while let Some(done) = self.jobs.try_join_next() {
                self.note(done.ok().flatten());
            }
            self.reconcile(Instant::now());
        }
        self.end().await;
    }

    /// Brings the pool one step nearer to what it should be.
    fn reconcile(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let mut table = shared.lock();
        self.give_up_launches(&mut table, now);
        let resetting = *self.foreground.borrow_and_update() > 0;
        table.foreground_since = resetting.then(|| table.foreground_since.unwrap_or(now));
        let seen = table.see(&shared, now);
        self.forget_trouble(&mut table, &seen, now);
        table.surplus_since = plan::surplus(&shared.spec, &seen).then(|| table.surplus_since.unwrap_or(now));
        for op in plan::plan(&shared.spec, &seen, &table.pending, now) {
            self.carry_out(op, &mut table, now);
        }
        let may_close = seen.waiting > 0 || !plan::holds_back(&seen, now);
        while may_close
            && self.closes < shared.spec.close_concurrency.max(1)
            && let Some(placed) = table.closing.pop_front()
        {
            self.closes += 1;
            let limit = shared.spec.close_timeout;
            self.jobs.spawn(async move { Some(jobs::close(placed, limit).await) });
        }
        drop(table);
        self.dead.clear();
    }

    fn carry_out(&mut self, op: PoolOp, table: &mut Table, now: Instant) {
        match op {
            PoolOp::Launch => self.launch(table, now),
            PoolOp::Open { host } => self.open(&host, table),
            PoolOp::Discard { host } => {
                let off = table.unshelve(&host, 1);
                self.dead.extend(off.into_iter().filter_map(|placed| table.retire_sandbox(placed)));
            }
            PoolOp::AskBack { host } => table.ask_back(&host),
            PoolOp::Retire { host, why } => self.retire(&host, why, table, now),
            PoolOp::Destroy { host } => self.destroy(&host, table),
            PoolOp::Measure { host } => {
                (table.measuring, table.measure_began) = (true, Some(now));
                let provider = Arc::clone(&self.provider);
                self.jobs.spawn(async move { Some(jobs::measure(host, provider).await) });
            }
        }
    }

    fn launch(&mut self, table: &mut Table, now: Instant) {
        let spec = &self.shared.spec;
        let Some(charge) = self.shared.budget.admit(spec.expected_host_bytes) else { return };
        let (id, cancel) = (next_id(&spec.environment), CancellationToken::new());
        let limit = GATE_ALLOWANCE + jobs::launch_limit(&self.host, spec.open_timeout);
        table.pending.launches.insert(id.clone(), now + limit);
        table.launching.insert(id.clone(), Launch { began: now, cancel: cancel.clone(), charge });
        tracing::debug!(host = %id, "launching host");
        let (host, connect_timeout) = (Arc::clone(&self.host), spec.open_timeout);
        let (provider, backend, gate) = (Arc::clone(&self.provider), Arc::clone(&self.backend), self.gate.clone());
        self.jobs.spawn(async move { Some(jobs::launch(id, host, provider, backend, connect_timeout, gate, cancel).await) });
    }

    fn open(&mut self, id: &HostId, table: &mut Table) {
        let spec = &self.shared.spec;
        let Some(entry) = table.hosts.get_mut(id) else { return };
        let Some(carrier) = entry.carrier.clone() else { return };
        if !entry.charge.grow(entry.seen.open_cost(spec)) {
            return;
        }
        entry.seen.opening += 1;
        let sandbox = table.wishes.next().unwrap_or_else(|| Arc::clone(&self.sandbox));
        let (limit, gate) = (spec.open_timeout, self.gate.clone());
        self.jobs.spawn(async move { Some(jobs::open(carrier, sandbox, limit, gate).await) });
    }

    fn retire(&mut self, id: &HostId, why: RetireReason, table: &mut Table, now: Instant) {
        let Some(entry) = table.hosts.get_mut(id) else { return };
        (entry.seen.phase, entry.seen.retired_at) = (Phase::Retiring, Some(now));
        entry.settle_charge(&self.shared.spec, now);
        if let Some(carrier) = &entry.carrier {
            carrier.retiring.store(true, Ordering::Relaxed);
        }
        let HostSeen { served, bytes, .. } = entry.seen;
        tracing::info!(host = %id, ?why, served, bytes, "retiring host");
        let warm = table.unshelve(id, usize::MAX);
        self.dead.extend(warm.into_iter().filter_map(|placed| table.retire_sandbox(placed)));
        if why == RetireReason::Failing {
            let error = table.open_error.clone().unwrap_or_default();
            self.trouble(format!("sandboxes do not open: {error}"), table, now);
        }
    }

    fn destroy(&mut self, id: &HostId, table: &mut Table) {
        self.give_up(id, table);
        table.count(id, |h| h.destroy_at = None);
        let (id, provider) = (id.clone(), Arc::clone(&self.provider));
        self.jobs.spawn(async move { Some(jobs::destroy(id, provider).await) });
    }

    /// Whatever was on the host is lost to the pool from here on.
    fn give_up(&mut self, id: &HostId, table: &mut Table) {
        self.dead.extend(table.forget_sandboxes(id));
        let Some(entry) = table.hosts.get_mut(id) else { return };
        entry.seen.phase = Phase::Gone;
        (entry.seen.opening, entry.seen.closing) = (0, 0);
        if let Some(carrier) = &entry.carrier {
            carrier.gone.cancel();
        }
    }

    /// Takes in how a job ended.
    fn note(&mut self, done: Option<Done>) {
        let Some(done) = done else { return };
        let shared = Arc::clone(&self.shared);
        let now = Instant::now();
        let mut table = shared.lock();
        match done {
            Done::Launched { id, result } => {
                shared.metrics.launches.count(&result);
                self.launched(id, result, &mut table, now);
            }
            Done::HostClosed { id } => self.host_closed(&id, &mut table, now),
            Done::Opened { carrier, spec, took, result } => {
                shared.metrics.opens.count(&result);
                self.opened(carrier, spec, took, result, &mut table);
            }
            Done::Closed { id, result } => {
                shared.metrics.closes.count(&result);
                self.closes -= 1;
                table.count(&id, |h| {
                    h.closing = h.closing.saturating_sub(1);
                    h.failed_closes = if result.is_ok() { 0 } else { h.failed_closes.saturating_add(1) };
                });
            }
            Done::Measured { id, result } => {
                table.measuring = false;
                let bytes = result.inspect_err(|error| tracing::debug!(host = %id, %error, "host could not be measured"));
                if let Some(entry) = table.hosts.get_mut(&id) {
                    entry.seen.measured_at = Some(now);
                    if let Ok(usage) = bytes {
                        (entry.seen.bytes, entry.seen.measured_live) = (usage.memory_bytes, entry.seen.live());
                    }
                }
            }
            Done::Destroyed { id, result } => destroyed(&id, result, &mut table, now),
        }
        drop(table);
        self.dead.clear();
    }

    fn launched(&mut self, id: HostId, result: Result<(Endpoints, Arc<dyn Host>), JobError>, table: &mut Table, now: Instant) {
        let expected = table.pending.launches.remove(&id).is_some();
        let Some(launch) = table.launching.remove(&id) else { return };
        let (carrier, pid) = match result {
            Ok((endpoints, host)) => {
                let carrier = Arc::new(Carrier { id: id.clone(), host, gone: CancellationToken::new(), retiring: AtomicBool::new(false) });
                (Some(carrier), endpoints.pid)
            }
            Err(error) => {
                self.trouble(error.to_string(), table, now);
                (None, None)
            }
        };
        // A launch that failed may have left something behind, and one that came too late is not wanted any more.
        let ready = expected && carrier.is_some();
        let seen = HostSeen {
            id: id.clone(),
            phase: if ready { Phase::Ready } else { Phase::Gone },
            opening: 0,
            warm: 0,
            lent: 0,
            spare: 0,
            asked_back: 0,
            closing: 0,
            served: 0,
            bytes: 0,
            ready_at: now,
            retired_at: None,
            measured_at: None,
            measured_live: 0,
            failed_opens: 0,
            failed_closes: 0,
            must_go: false,
            destroy_at: Some(now),
        };
        if ready && let Some(carrier) = &carrier {
            tracing::info!(host = %id, pid, took_ms = (now - launch.began).as_millis() as u64, "host is ready");
            self.jobs.spawn(jobs::watch(Arc::clone(carrier)));
        }
        let entry = HostEntry { seen, carrier, charge: launch.charge, pid, destroy_failures: 0 };
        table.hosts.insert(id, entry);
    }

    fn host_closed(&mut self, id: &HostId, table: &mut Table, now: Instant) {
        let Some(entry) = table.hosts.get_mut(id).filter(|entry| entry.seen.phase != Phase::Gone) else { return };
        let (lent, warm, age) = (entry.seen.lent, entry.seen.warm, now - entry.seen.ready_at);
        entry.seen.destroy_at = Some(now);
        self.shared.metrics.host_deaths.increment(1);
        tracing::warn!(host = %id, lent, warm, age_s = age.as_secs(), "host died");
        self.give_up(id, table);
        if age < STABLE_AFTER {
            self.trouble(format!("host died {} ms after it was ready", age.as_millis()), table, now);
        }
    }

    fn opened(
        &mut self,
        carrier: Arc<Carrier>,
        spec: Arc<SandboxSpec>,
        took: Duration,
        result: Result<Box<dyn envfarm_core::Sandbox>, JobError>,
        table: &mut Table,
    ) {
        table.count(&carrier.id, |h| {
            h.opening = h.opening.saturating_sub(1);
            h.served += u64::from(result.is_ok());
            h.failed_opens = if result.is_ok() { 0 } else { h.failed_opens.saturating_add(1) };
        });
        match result {
            Ok(sandbox) => {
                table.open_time = if table.open_time.is_zero() { took } else { (table.open_time * 7 + took) / 8 };
                self.dead.extend(table.shelve(&self.shared, Placed { carrier, sandbox, spec }));
            }
            Err(error) if carrier.gone.is_cancelled() => tracing::debug!(host = %carrier.id, %error, "open ended with its host"),
            Err(error) => {
                tracing::warn!(host = %carrier.id, %error, "sandbox did not open");
                table.open_error = Some(error.to_string());
            }
        }
    }

    /// A launch failed, or a host is no good: the next launch waits, twice as long every time.
    fn trouble(&mut self, error: String, table: &mut Table, now: Instant) {
        let failures = table.pending.trouble.as_ref().map_or(0, |t| t.failures).saturating_add(1);
        let wait = backoff(failures);
        if self.logged.as_ref() != Some(&error) {
            let environment = &self.shared.spec.environment;
            tracing::warn!(%environment, %error, failures, retry_ms = wait.as_millis() as u64, "hosts fail");
            self.logged = Some(error.clone());
        }
        table.pending.trouble = Some(Trouble { failures, last_error: error, failed_at: now, retry_at: now + wait });
    }

    /// Launches that should have ended long ago are not counted on any more; should one still come, it is destroyed.
    fn give_up_launches(&mut self, table: &mut Table, now: Instant) {
        let overdue: Vec<_> = table.pending.launches.extract_if(.., |_, expires| *expires <= now).collect();
        for (id, _) in overdue {
            if let Some(launch) = table.launching.get(&id) {
                launch.cancel.cancel();
            }
            self.trouble("a launch did not end in time".into(), table, now);
        }
    }

    /// Trouble is over once a host that came after it has lived for a while, or once it is old and no host is missing.
    fn forget_trouble(&mut self, table: &mut Table, seen: &PoolSeen, now: Instant) {
        let Some(Trouble { failed_at, .. }) = table.pending.trouble else { return };
        let stable = |h: &HostSeen| h.phase == Phase::Ready && h.ready_at > failed_at && now >= h.ready_at + STABLE_AFTER;
        let ready = seen.hosts.iter().filter(|h| h.phase == Phase::Ready).count();
        let none_missing = table.launching.is_empty() && ready >= plan::wanted_hosts(&self.shared.spec, seen);
        if seen.hosts.iter().any(stable) || (none_missing && now >= failed_at + FORGET_AFTER) {
            table.pending.trouble = None;
            self.logged = None;
            tracing::info!(environment = %self.shared.spec.environment, "hosts are stable again");
        }
    }

    /// Ends every host, all at once, each within a deadline.
    async fn end(mut self) {
        let (left, hosts) = {
            let mut table = self.shared.lock();
            for launch in table.launching.values() {
                launch.cancel.cancel();
            }
            for carrier in table.hosts.values().filter_map(|entry| entry.carrier.as_ref()) {
                carrier.gone.cancel();
            }
            let hosts: Vec<HostId> = table.hosts.keys().chain(table.launching.keys()).cloned().collect();
            (table.stop(), hosts)
        };
        drop(left);
        // A cancelled launch cleans up after itself, if it is given the time.
        let launches_end = async {
            while !self.shared.lock().launching.is_empty()
                && let Some(done) = self.jobs.join_next().await
            {
                if let Ok(Some(Done::Launched { id, .. })) = done {
                    self.shared.lock().launching.remove(&id);
                }
            }
        };
        if timeout(LAUNCH_STOP, launches_end).await.is_err() {
            tracing::warn!(environment = %self.shared.spec.environment, "launches did not stop in time");
        }
        self.jobs.shutdown().await;
        for id in hosts {
            let provider = Arc::clone(&self.provider);
            self.jobs.spawn(async move { Some(jobs::destroy(id, provider).await) });
        }
        while let Some(done) = self.jobs.join_next().await {
            if let Ok(Some(Done::Destroyed { id, result: Err(error) })) = done {
                tracing::error!(host = %id, %error, "host could not be destroyed");
            }
        }
        let (hosts, launching) = {
            let mut table = self.shared.lock();
            (std::mem::take(&mut table.hosts), std::mem::take(&mut table.launching))
        };
        drop((hosts, launching));
        self.shared.publish();
    }
}

fn destroyed(id: &HostId, result: Result<(), JobError>, table: &mut Table, now: Instant) {
    match result {
        Ok(()) => {
            tracing::debug!(host = %id, "host is destroyed");
            table.hosts.remove(id);
        }
        Err(error) => {
            let Some(entry) = table.hosts.get_mut(id) else { return };
            entry.destroy_failures += 1;
            entry.seen.destroy_at = Some(now + backoff(entry.destroy_failures));
            tracing::error!(host = %id, %error, failures = entry.destroy_failures, "host could not be destroyed, will retry");
        }
    }
}

/// Doubles with each failure up to a limit, give or take a quarter so that pools do not retry in step.
fn backoff(failures: u32) -> Duration {
    let wait = FIRST_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_BACKOFF);
    wait.mul_f64(0.75 + fastrand::f64() / 2.0)
}

/// `<environment>-<farm start>-<counter>`.
fn next_id(environment: &str) -> HostId {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::LazyLock<u128> =
        std::sync::LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis()));
    HostId(format!("{environment}-{:x}-{}", *START, COUNTER.fetch_add(1, Ordering::Relaxed)))
}

/// Runs `end` when it is dropped.
fn scope_end(end: impl FnOnce()) -> impl Drop {
    struct ScopeEnd<F: FnOnce()>(Option<F>);
    impl<F: FnOnce()> Drop for ScopeEnd<F> {
        fn drop(&mut self) {
            if let Some(end) = self.0.take() {
                end();
            }
        }
    }
    ScopeEnd(Some(end))
}

const _: () = assert!(LAUNCH_STOP.as_secs() + DESTROY_TIMEOUT.as_secs() < SHUTDOWN_LIMIT.as_secs());
