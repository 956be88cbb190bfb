//! The pool's state behind one short-held lock: hosts, the shelf of warm sandboxes, and the queue of takes.
//!
//! Takes and returns touch only the shelf, the queue and counts, so a warm take needs no round trip to the owner task.
//! Host states change in the owner alone. No sandbox is dropped and nothing is awaited under the lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envfarm_core::{HostId, SandboxSpec};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::budget::{Charge, MemoryBudget, Standing};
use crate::lent::{Carrier, Parcel, Placed};
use crate::metrics::Metrics;
use crate::plan::{self, Expectations, HostSeen, Phase, PoolSeen};
use crate::pool::{HostState, HostView, PoolView};
use crate::spec::PoolSpec;
use crate::wishes::Wishes;

/// Over how long the rate of takes is averaged.
const RATE_WINDOW: Duration = Duration::from_secs(10);

pub(crate) struct Shared {
    pub(crate) spec: PoolSpec,
    pub(crate) budget: Arc<MemoryBudget>,
    pub(crate) metrics: Metrics,
    table: Mutex<Table>,
    /// Wakes the owner; it looks at levels, so many calls may become one.
    pub(crate) wake: Notify,
    pub(crate) stop: CancellationToken,
    /// The owner has ended.
    pub(crate) finished: CancellationToken,
}

#[derive(Default)]
pub(crate) struct Table {
    pub(crate) hosts: BTreeMap<HostId, HostEntry>,
    pub(crate) launching: BTreeMap<HostId, Launch>,
    pub(crate) pending: Expectations,
    warm: VecDeque<Placed>,
    /// Waiting to be closed.
    pub(crate) closing: VecDeque<Placed>,
    /// Served in this order: first come first served within an urgency.
    waiters: BTreeMap<(Urgency, u64), oneshot::Sender<Parcel>>,
    /// Lent sandboxes that their holders could do without, and how to ask for them.
    spares: BTreeMap<u64, (HostId, CancellationToken)>,
    /// Numbers waiters and spares.
    next_number: u64,
    leased: usize,
    busy: usize,
    takes: Rate,
    /// What recent takes would have liked their sandbox to be opened for.
    pub(crate) wishes: Wishes,
    pub(crate) open_time: Duration,
    /// What the last open that failed said.
    pub(crate) open_error: Option<String>,
    pub(crate) surplus_since: Option<Instant>,
    pub(crate) foreground_since: Option<Instant>,
    pub(crate) measure_began: Option<Instant>,
    pub(crate) measuring: bool,
    pub(crate) stopping: bool,
}

/// A launch in flight. Holds its charge until the job ends, believed in or not.
pub(crate) struct Launch {
    pub(crate) began: Instant,
    pub(crate) cancel: CancellationToken,
    pub(crate) charge: Charge,
}

/// A host that was launched. `carrier` is there unless the launch failed.
pub(crate) struct HostEntry {
    pub(crate) seen: HostSeen,
    pub(crate) carrier: Option<Arc<Carrier>>,
    pub(crate) charge: Charge,
    pub(crate) pid: Option<u32>,
    pub(crate) destroy_failures: u32,
}

impl HostEntry {
    pub(crate) fn settle_charge(&mut self, spec: &PoolSpec, now: Instant) {
        let base = if self.seen.measured_at.is_some() { self.seen.bytes } else { spec.expected_host_bytes };
        let since = self.seen.live().saturating_sub(self.seen.measured_live) as u64;
        let standing = match self.seen.phase {
            Phase::Ready if self.seen.lent + self.seen.opening == 0 => Standing::Idle,
            Phase::Ready => Standing::Busy,
            Phase::Retiring if self.seen.lingers(now) => Standing::Lingering,
            Phase::Retiring | Phase::Gone => Standing::Leaving,
        };
        self.charge.set(base + since * spec.expected_sandbox_bytes, standing);
    }
}

/// Whether someone waits for what a take is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    Now,
    Ahead,
}

/// What a take met.
pub(crate) enum Taken<'a> {
    Warm(Placed),
    Queued(Place<'a>, oneshot::Receiver<Parcel>),
    Stopping,
}

/// A place in the queue, given up on drop.
pub(crate) struct Place<'a> {
    shared: &'a Shared,
    number: (Urgency, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.lock().waiters.remove(&self.number);
    }
}

impl Shared {
    pub(crate) fn new(spec: PoolSpec, budget: Arc<MemoryBudget>) -> Self {
        let metrics = Metrics::new(&spec.environment);
        let (stop, finished) = (CancellationToken::new(), CancellationToken::new());
        Self { spec, budget, metrics, table: Mutex::default(), wake: Notify::new(), stop, finished }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        // Every section leaves the table whole; a panic in one says nothing about the next.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(&self, wish: Option<&Arc<SandboxSpec>>, urgency: Urgency) -> Taken<'_> {
        let mut table = self.lock();
        if table.stopping || self.stop.is_cancelled() {
            return Taken::Stopping;
        }
        table.takes.hit(Instant::now());
        if let Some(wish) = wish {
            table.wishes.remember(wish);
        }
        let first = table.waiters.range(..=(urgency, u64::MAX)).next().is_none();
        let taken = match first.then(|| table.unshelve_for(wish)).flatten() {
            Some(placed) => {
                table.lend(&placed.carrier.id);
                Taken::Warm(placed)
            }
            None => {
                let (give, parcel) = oneshot::channel();
                let number = (urgency, table.number());
                table.waiters.insert(number, give);
                Taken::Queued(Place { shared: self, number }, parcel)
            }
        };
        drop(table);
        self.wake.notify_one();
        taken
    }

    /// A sandbox that served: closes it in the background, unless its host is gone and it with it.
    pub(crate) fn end(&self, placed: Placed, spare: Option<u64>) {
        let mut table = self.lock();
        if let Some(number) = spare {
            table.keep(number);
        }
        table.unlend(&placed.carrier.id);
        let dead = table.retire_sandbox(placed);
        drop(table);
        drop(dead);
        self.wake.notify_one();
    }

    /// A lent sandbox that could be done without: its number, and what tells that it is wanted back.
    pub(crate) fn spare(&self, id: &HostId) -> (u64, CancellationToken) {
        let mut table = self.lock();
        let (number, wanted) = (table.number(), CancellationToken::new());
        table.spares.insert(number, (id.clone(), wanted.clone()));
        table.count(id, |h| h.spare += 1);
        drop(table);
        self.wake.notify_one();
        (number, wanted)
    }

    /// A spare sandbox that is in use again.
    pub(crate) fn keep(&self, number: u64) {
        self.lock().keep(number);
        self.wake.notify_one();
    }

    pub(crate) fn serves_again(&self, id: &HostId) {
        self.lock().count(id, |h| h.served += 1);
        self.wake.notify_one();
    }

    /// A sandbox that was handed out and never reached its taker.
    pub(crate) fn take_back(self: &Arc<Self>, placed: Placed) {
        let mut table = self.lock();
        table.unlend(&placed.carrier.id);
        let dead = table.shelve(self, placed);
        drop(table);
        drop(dead);
        self.wake.notify_one();
    }

    pub(crate) fn set_leased(&self, slots: usize) {
        self.lock().leased = slots;
        self.wake.notify_one();
    }

    pub(crate) fn obstacle(&self) -> String {
        let now = Instant::now();
        let mut table = self.lock();
        let seen = table.see(self, now);
        plan::obstacle(&self.spec, &seen, &table.pending, now)
    }

    pub(crate) fn view(&self) -> PoolView {
        let now = Instant::now();
        let table = self.lock();
        let launching = table.launching.iter().map(|(id, launch)| HostView {
            id: id.clone(),
            state: HostState::Launching,
            sandboxes: 0,
            served: 0,
            bytes: 0,
            age: now - launch.began,
            pid: None,
        });
        let hosts = table.hosts.values().map(|entry| HostView {
            id: entry.seen.id.clone(),
            state: match entry.seen.phase {
                Phase::Ready => HostState::Ready,
                Phase::Retiring => HostState::Retiring,
                Phase::Gone => HostState::Gone,
            },
            sandboxes: entry.seen.live(),
            served: entry.seen.served,
            bytes: entry.seen.bytes,
            age: now - entry.seen.ready_at,
            pid: entry.pid,
        });
        PoolView {
            environment: self.spec.environment.clone(),
            hosts: launching.chain(hosts).collect(),
            warm: table.warm.len(),
            busy: table.busy,
            leased: table.leased,
            waiting: table.waiters.len(),
            trouble: table.pending.trouble.as_ref().map(|t| t.last_error.clone()),
        }
    }

    pub(crate) fn publish(&self) {
        let table = self.lock();
        self.metrics.warm.set(table.warm.len() as f64);
        self.metrics.busy.set(table.busy as f64);
        self.metrics.waiting.set(table.waiters.len() as f64);
        self.metrics.memory.set(table.hosts.values().map(|h| h.seen.bytes).sum::<u64>() as f64);
        self.metrics.hosts(None, table.launching.len());
        for phase in [Phase::Ready, Phase::Retiring, Phase::Gone] {
            self.metrics.hosts(Some(phase), table.hosts.values().filter(|h| h.seen.phase == phase).count());
        }
    }
}

impl Table {
    /// The levels that the plan looks at.
    pub(crate) fn see(&mut self, shared: &Shared, now: Instant) -> PoolSeen {
        let mut hosts = Vec::with_capacity(self.hosts.len());
        for entry in self.hosts.values_mut() {
            entry.settle_charge(&shared.spec, now);
            entry.seen.must_go = entry.seen.phase == Phase::Ready && entry.charge.must_go();
            hosts.push(entry.seen.clone());
        }
        PoolSeen {
            hosts,
            waiting: self.waiters.range(..(Urgency::Ahead, 0)).count(),
            waiting_ahead: self.waiters.range((Urgency::Ahead, 0)..).count(),
            leased: self.leased,
            take_rate: self.takes.at(now),
            open_time: self.open_time,
            budget_free: shared.budget.free(),
            surplus_since: self.surplus_since,
            foreground_since: self.foreground_since,
            measure_began: self.measure_began,
            measuring: self.measuring,
        }
    }

    /// Puts a fresh sandbox where it is wanted: to the first take in the queue, else on the shelf. Gives it back if its
    /// host is gone, to be dropped outside the lock.
    #[must_use]
    pub(crate) fn shelve(&mut self, shared: &Arc<Shared>, placed: Placed) -> Option<Placed> {
        if self.stopping || self.phase(&placed) != Some(Phase::Ready) {
            return self.retire_sandbox(placed);
        }
        let id = placed.carrier.id.clone();
        let mut parcel = Parcel { shared: Arc::clone(shared), placed: Some(placed) };
        while let Some((_, waiter)) = self.waiters.pop_first() {
            match waiter.send(parcel) {
                Ok(()) => {
                    self.busy += 1;
                    self.count(&id, |h| h.lent += 1);
                    return None;
                }
                Err(back) => parcel = back,
            }
        }
        if let Some(placed) = parcel.placed.take() {
            self.count(&id, |h| h.warm += 1);
            self.warm.push_back(placed);
        }
        None
    }

    /// Asks for the spare sandbox of a host that became one last: the least work has gone into it.
    pub(crate) fn ask_back(&mut self, id: &HostId) {
        let asked = self.spares.values().rev().find(|(host, wanted)| host == id && !wanted.is_cancelled());
        if let Some((_, wanted)) = asked {
            wanted.cancel();
            self.count(id, |h| (h.spare, h.asked_back) = (h.spare - 1, h.asked_back + 1));
        }
    }

    fn keep(&mut self, number: u64) {
        let Some((id, wanted)) = self.spares.remove(&number) else { return };
        let asked = wanted.is_cancelled();
        self.count(&id, |h| if asked { h.asked_back -= 1 } else { h.spare -= 1 });
    }

    /// Of a new waiter or spare.
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Queues a sandbox to be closed; gives it back if there is no host to close it on.
    #[must_use]
    pub(crate) fn retire_sandbox(&mut self, placed: Placed) -> Option<Placed> {
        if self.stopping || !matches!(self.phase(&placed), Some(Phase::Ready | Phase::Retiring)) {
            return Some(placed);
        }
        self.count(&placed.carrier.id, |h| h.closing += 1);
        self.closing.push_back(placed);
        None
    }

    /// Takes the oldest warm sandbox off the shelf, one that was opened for `wish` before any other.
    fn unshelve_for(&mut self, wish: Option<&Arc<SandboxSpec>>) -> Option<Placed> {
        let fitting = wish.and_then(|wish| self.warm.iter().position(|placed| placed.spec == *wish));
        self.warm.remove(fitting.unwrap_or(0))
    }

    /// Takes warm sandboxes of one host off the shelf, at most `most`.
    pub(crate) fn unshelve(&mut self, id: &HostId, most: usize) -> Vec<Placed> {
        let mut off = Vec::new();
        let mut at = 0;
        while at < self.warm.len() && off.len() < most {
            if self.warm[at].carrier.id == *id {
                off.extend(self.warm.remove(at));
            } else {
                at += 1;
            }
        }
        self.count(id, |h| h.warm -= off.len());
        off
    }

    /// Takes the sandboxes of a dead host out of everything; to be dropped outside the lock.
    pub(crate) fn forget_sandboxes(&mut self, id: &HostId) -> Vec<Placed> {
        let mut dead = self.unshelve(id, usize::MAX);
        let (of_host, others): (VecDeque<_>, _) = self.closing.drain(..).partition(|placed| placed.carrier.id == *id);
        self.closing = others;
        dead.extend(of_host);
        dead
    }

    /// Ends the shelf and the queue for good: waiting takes fail. What it returns is to be dropped outside the lock.
    pub(crate) fn stop(&mut self) -> (Vec<Placed>, Vec<oneshot::Sender<Parcel>>) {
        self.stopping = true;
        let sandboxes = self.warm.drain(..).chain(self.closing.drain(..)).collect();
        (sandboxes, std::mem::take(&mut self.waiters).into_values().collect())
    }

    /// Changes the counts of a host, if it is still there.
    pub(crate) fn count(&mut self, id: &HostId, change: impl FnOnce(&mut HostSeen)) {
        if let Some(entry) = self.hosts.get_mut(id) {
            change(&mut entry.seen);
        }
    }

    fn phase(&self, placed: &Placed) -> Option<Phase> {
        self.hosts.get(&placed.carrier.id).map(|entry| entry.seen.phase)
    }

    fn lend(&mut self, id: &HostId) {
        self.busy += 1;
        self.count(id, |h| (h.warm, h.lent) = (h.warm - 1, h.lent + 1));
    }

    fn unlend(&mut self, id: &HostId) {
        self.busy -= 1;
        self.count(id, |h| h.lent -= 1);
    }
}

/// Events a second, each event fading over [`RATE_WINDOW`].
#[derive(Default)]
struct Rate {
    value: f64,
    last: Option<Instant>,
}

impl Rate {
    fn at(&self, now: Instant) -> f64 {
        let age = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.value * (-age.as_secs_f64() / RATE_WINDOW.as_secs_f64()).exp()
    }

    fn hit(&mut self, now: Instant) {
        self.value = self.at(now) + 1.0 / RATE_WINDOW.as_secs_f64();
        self.last = Some(now);
    }
}
