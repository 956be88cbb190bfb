//! What a pool should do next, decided from what is there and what is already under way. No clock, no I/O.
//!
//! `plan` compares levels: it may be called at any time and as often as wanted, and proposes nothing that is already in
//! flight. Hosts move launching → ready → retiring → gone; launches in flight are known only from [`Expectations`].

use std::collections::BTreeMap;
use std::time::Duration;

use envfarm_core::HostId;
use tokio::time::Instant;

use crate::spec::PoolSpec;

/// Opens or closes in a row that a host may fail before it is replaced.
pub const MAX_FAILURES: u32 = 3;
/// How long more must be there than is wanted before it is given up: demand comes in bursts.
pub const SHRINK_AFTER: Duration = Duration::from_secs(30);
/// Launches in flight at once.
const MAX_LAUNCHES: usize = 4;
/// How far the rate of takes may raise [`PoolSpec::warm`].
const MAX_WARM_FACTOR: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Takes new sandboxes.
    Ready,
    /// Takes no new ones and waits for its lent ones to end.
    Retiring,
    /// Dead or done: to be destroyed at the provider.
    Gone,
}

/// One host as it is now.
#[derive(Clone, Debug)]
pub struct HostSeen {
    pub id: HostId,
    pub phase: Phase,
    pub opening: usize,
    pub warm: usize,
    pub lent: usize,
    pub closing: usize,
    /// Sandboxes opened since launch.
    pub served: u64,
    /// Last measured; 0 before.
    pub bytes: u64,
    pub ready_at: Instant,
    pub measured_at: Option<Instant>,
    /// Opens and closes that failed since one last succeeded.
    pub failures: u32,
    /// The budget is overdrawn, and this is the host to go.
    pub must_go: bool,
    /// Of a gone host: when to try to destroy it; `None` while that is in flight.
    pub destroy_at: Option<Instant>,
}

impl HostSeen {
    /// Sandboxes that hold memory on the host.
    pub fn live(&self) -> usize {
        self.active() + self.closing
    }

    /// Sandboxes that serve or are about to.
    pub fn active(&self) -> usize {
        self.opening + self.warm + self.lent
    }
}

/// One pool as it is now.
#[derive(Clone, Debug, Default)]
pub struct PoolSeen {
    pub hosts: Vec<HostSeen>,
    /// Takes that wait.
    pub waiting: usize,
    /// Slots that leases hold.
    pub leased: usize,
    /// Takes a second, of late.
    pub take_rate: f64,
    /// Mean time of an open, of late.
    pub open_time: Duration,
    /// Bytes that the shared budget still has.
    pub budget_free: u64,
    /// Since when there is more than is wanted; see [`surplus`].
    pub surplus_since: Option<Instant>,
    /// When a measurement last began.
    pub measure_began: Option<Instant>,
    pub measuring: bool,
}

/// What is under way and what failed of late.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// Launches in flight, each until it is no longer believed in.
    pub launches: BTreeMap<HostId, Instant>,
    pub trouble: Option<Trouble>,
}

/// Launches fail, or hosts die as soon as they are there.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// In a row.
    pub failures: u32,
    pub last_error: String,
    pub failed_at: Instant,
    /// No launch before this.
    pub retry_at: Instant,
}

impl Expectations {
    /// Launches that are still believed in.
    pub fn launching(&self, now: Instant) -> usize {
        self.launches.values().filter(|expires| **expires > now).count()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetireReason {
    Served,
    Age,
    /// Above its own limit.
    Memory,
    /// The budget of all pools is overdrawn.
    Budget,
    /// Its sandboxes do not open or close any more.
    Failing,
    /// More hosts than wanted.
    Surplus,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PoolOp {
    /// Launch one more host.
    Launch,
    /// Open one sandbox there.
    Open {
        host: HostId,
    },
    /// Close one of its warm sandboxes.
    Discard {
        host: HostId,
    },
    Retire {
        host: HostId,
        why: RetireReason,
    },
    Destroy {
        host: HostId,
    },
    /// Measure its memory.
    Measure {
        host: HostId,
    },
}

/// Sandboxes to keep ready.
pub fn warm_target(spec: &PoolSpec, seen: &PoolSeen) -> usize {
    if demand(seen) == 0 {
        return spec.warm.min(spec.min_hosts * spec.sandboxes_per_host.max(1));
    }
    // Takes that arrive while one sandbox opens, with as much again for bursts; no slot needs two.
    let arriving = (2.0 * seen.take_rate * seen.open_time.as_secs_f64()).ceil() as usize;
    spec.warm.max(arriving.min(demand(seen)).min(spec.warm * MAX_WARM_FACTOR))
}

/// Hosts to have.
pub fn wanted_hosts(spec: &PoolSpec, seen: &PoolSeen) -> usize {
    let at_least = spec.min_hosts.min(spec.max_hosts.max(1));
    if demand(seen) == 0 {
        return at_least;
    }
    let sandboxes = (demand(seen) + warm_target(spec, seen)).min(spec.max_sandboxes.max(1));
    sandboxes.div_ceil(spec.sandboxes_per_host.max(1)).clamp(at_least.max(1), spec.max_hosts.max(1))
}

/// Sandboxes that takers have, wait for or may soon ask for.
fn demand(seen: &PoolSeen) -> usize {
    let lent: usize = seen.hosts.iter().filter(|h| h.phase != Phase::Gone).map(|h| h.lent).sum();
    seen.leased.max(lent + seen.waiting)
}

/// Whether more is there than is wanted. Acted on once it has lasted for [`SHRINK_AFTER`].
pub fn surplus(spec: &PoolSpec, seen: &PoolSeen) -> bool {
    let ready = seen.hosts.iter().filter(|h| h.phase == Phase::Ready);
    let warm: usize = ready.clone().map(|h| h.warm).sum();
    ready.count() > wanted_hosts(spec, seen) || warm > warm_target(spec, seen)
}

/// What to do now. Every operation may be carried out at once, in order.
pub fn plan(spec: &PoolSpec, seen: &PoolSeen, pending: &Expectations, now: Instant) -> Vec<PoolOp> {
    let mut plan = Plan { spec, seen, pending, now, free: seen.budget_free, ops: Vec::new() };
    plan.destroy();
    let retired = plan.retire_and_launch();
    plan.open(&retired);
    plan.discard(&retired);
    plan.measure(&retired);
    plan.ops
}

struct Plan<'a> {
    spec: &'a PoolSpec,
    seen: &'a PoolSeen,
    pending: &'a Expectations,
    now: Instant,
    /// Of the budget, after what is planned so far.
    free: u64,
    ops: Vec<PoolOp>,
}

impl<'a> Plan<'a> {
    fn in_phase(&self, phase: Phase) -> impl Iterator<Item = &'a HostSeen> + Clone + use<'a> {
        self.seen.hosts.iter().filter(move |h| h.phase == phase)
    }

    fn destroy(&mut self) {
        let ended = self.in_phase(Phase::Retiring).filter(|h| h.lent == 0);
        let now = self.now;
        let gone = self.in_phase(Phase::Gone).filter(|h| h.destroy_at.is_some_and(|at| at <= now));
        self.ops.extend(ended.chain(gone).map(|h| PoolOp::Destroy { host: h.id.clone() }));
    }

    /// Which hosts go and how many come. The two are one decision: a host that is only worn goes after its replacement
    /// came, where memory allows both.
    fn retire_and_launch(&mut self) -> Vec<&'a HostId> {
        let (spec, now) = (self.spec, self.now);
        let mut retired: Vec<&HostId> = Vec::new();
        for host in self.in_phase(Phase::Ready) {
            let why = match host {
                HostSeen { must_go: true, .. } => RetireReason::Budget,
                HostSeen { failures, .. } if *failures >= MAX_FAILURES => RetireReason::Failing,
                _ => continue,
            };
            retired.push(&host.id);
            self.ops.push(PoolOp::Retire { host: host.id.clone(), why });
        }

        let wanted = wanted_hosts(spec, self.seen);
        let launching = self.pending.launching(now);
        let mut ready = self.in_phase(Phase::Ready).count() - retired.len();
        let mut retiring = self.in_phase(Phase::Retiring).count() + retired.len();

        let stays = |h: &&HostSeen| !retired.contains(&&h.id);
        let worn = self.in_phase(Phase::Ready).filter(stays).filter_map(|h| Some((h, worn(spec, h, now)?)));
        let worn = worn.max_by_key(|(h, why)| (*why == RetireReason::Memory, h.served, std::cmp::Reverse(h.ready_at)));
        let shrink = self.seen.surplus_since.is_some_and(|since| now >= since + SHRINK_AFTER);
        let mut replace = false;
        if retiring == 0 {
            let leaves = match worn {
                Some((host, why)) if ready > wanted => Some((host, why)),
                // Its replacement is on its way, or comes with this plan, or cannot come yet because launches fail.
                Some(_) if launching > 0 || !self.may_launch() => None,
                Some((host, why)) => {
                    replace = self.free >= self.host_cost() && ready + launching <= spec.max_hosts.max(1);
                    (!replace).then_some((host, why))
                }
                None if shrink && ready > wanted => {
                    let emptiest = self.in_phase(Phase::Ready).filter(stays).min_by_key(|h| h.lent);
                    emptiest.map(|host| (host, RetireReason::Surplus))
                }
                None => None,
            };
            if let Some((host, why)) = leaves {
                retired.push(&host.id);
                self.ops.push(PoolOp::Retire { host: host.id.clone(), why });
                ready -= 1;
                retiring += 1;
            }
        }

        if self.may_launch() {
            let surge = usize::from(replace || retiring > 0);
            let room = (spec.max_hosts.max(1) + surge).saturating_sub(ready + launching + retiring);
            let missing = (wanted + usize::from(replace)).saturating_sub(ready + launching);
            // After a failure one host shows whether it works again.
            let at_once = if self.pending.trouble.is_some() { 1 } else { MAX_LAUNCHES };
            for _ in 0..missing.min(room).min(at_once.saturating_sub(launching)) {
                if self.free < self.host_cost() {
                    break;
                }
                self.free -= self.host_cost();
                self.ops.push(PoolOp::Launch);
            }
        }
        retired
    }

    fn may_launch(&self) -> bool {
        self.pending.trouble.as_ref().is_none_or(|t| t.retry_at <= self.now)
    }

    /// A host is no use without at least one sandbox.
    fn host_cost(&self) -> u64 {
        self.spec.expected_host_bytes + self.spec.expected_sandbox_bytes
    }

    /// Opens what waiting takes and the warm set lack, each on the host with the fewest live sandboxes.
    fn open(&mut self, retired: &[&HostId]) {
        let spec = self.spec;
        let sum = |count: fn(&HostSeen) -> usize| self.seen.hosts.iter().filter(|h| h.phase != Phase::Gone).map(count).sum();
        let (mut active, mut live): (usize, usize) = (sum(HostSeen::active), sum(HostSeen::live));
        let ready = self.in_phase(Phase::Ready).filter(|h| !retired.contains(&&h.id));
        let mut places: Vec<(bool, usize, usize, &HostId)> =
            ready.clone().map(|h| (worn(spec, h, self.now).is_some(), h.live(), h.active(), &h.id)).collect();
        let (opening, warm) = ready.fold((0, 0), |(opening, warm), h| (opening + h.opening, warm + h.warm));

        let most = spec.max_sandboxes.max(1);
        let per_host = spec.sandboxes_per_host.max(1);
        let wanted = (self.seen.waiting + warm_target(spec, self.seen)).saturating_sub(opening + warm);
        for _ in 0..wanted.min(spec.open_concurrency.max(1).saturating_sub(opening)) {
            if active >= most || live >= most + PoolSpec::closing_margin(most) || self.free < spec.expected_sandbox_bytes {
                return;
            }
            let fits = |(_, live, active, _): &&mut (bool, usize, usize, &HostId)| {
                *active < per_host && *live < per_host + PoolSpec::closing_margin(per_host)
            };
            let Some(place) = places.iter_mut().filter(fits).min_by_key(|(worn, live, ..)| (*worn, *live)) else { return };
            place.1 += 1;
            place.2 += 1;
            active += 1;
            live += 1;
            self.free -= spec.expected_sandbox_bytes;
            self.ops.push(PoolOp::Open { host: place.3.clone() });
        }
    }

    fn discard(&mut self, retired: &[&HostId]) {
        if self.seen.surplus_since.is_none_or(|since| self.now < since + SHRINK_AFTER) {
            return;
        }
        let ready = self.in_phase(Phase::Ready).filter(|h| !retired.contains(&&h.id));
        let mut places: Vec<(usize, &HostId)> = ready.map(|h| (h.warm, &h.id)).collect();
        let warm: usize = places.iter().map(|(warm, _)| warm).sum();
        for _ in warm_target(self.spec, self.seen)..warm {
            let Some(fullest) = places.iter_mut().max_by_key(|(warm, _)| *warm) else { return };
            fullest.0 -= 1;
            self.ops.push(PoolOp::Discard { host: fullest.1.clone() });
        }
    }

    /// One host at a time, evenly over the interval: measuring costs CPU.
    fn measure(&mut self, retired: &[&HostId]) {
        let measured = self.in_phase(Phase::Ready).chain(self.in_phase(Phase::Retiring)).filter(|h| !retired.contains(&&h.id));
        let interval = self.spec.usage_interval;
        let spacing = interval / u32::try_from(measured.clone().count().max(1)).unwrap_or(u32::MAX);
        if self.seen.measuring || self.seen.measure_began.is_some_and(|began| self.now < began + spacing) {
            return;
        }
        let due = measured.filter(|h| h.measured_at.is_none_or(|at| self.now >= at + interval)).min_by_key(|h| h.measured_at);
        self.ops.extend(due.map(|h| PoolOp::Measure { host: h.id.clone() }));
    }
}

/// Why a host should be replaced, if it should.
fn worn(spec: &PoolSpec, host: &HostSeen, now: Instant) -> Option<RetireReason> {
    if host.bytes > spec.recycle_above_bytes {
        Some(RetireReason::Memory)
    } else if host.served >= spec.recycle_after_served {
        Some(RetireReason::Served)
    } else if now >= host.ready_at + spec.recycle_after {
        Some(RetireReason::Age)
    } else {
        None
    }
}

/// Why a take has to wait, in words for its error.
pub fn obstacle(spec: &PoolSpec, seen: &PoolSeen, pending: &Expectations, now: Instant) -> String {
    if let Some(trouble) = &pending.trouble {
        let Trouble { failures, last_error, .. } = trouble;
        return format!("hosts fail ({failures} in a row): {last_error}");
    }
    let ready = seen.hosts.iter().filter(|h| h.phase == Phase::Ready);
    let (opening, active): (usize, usize) = ready.clone().fold((0, 0), |(o, a), h| (o + h.opening, a + h.active()));
    if active >= spec.max_sandboxes.max(1) {
        return format!("all {} sandboxes are in use", spec.max_sandboxes);
    }
    if opening > 0 {
        return format!("{opening} sandboxes are opening, {} takes wait", seen.waiting);
    }
    match pending.launching(now) {
        0 if seen.budget_free < spec.expected_host_bytes + spec.expected_sandbox_bytes => {
            format!("the memory budget has {} MiB left", seen.budget_free >> 20)
        }
        0 => format!("{active} sandboxes on {} hosts are in use", ready.count()),
        launching => format!("{launching} hosts are launching"),
    }
}
