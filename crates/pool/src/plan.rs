//! What a pool should do next, decided from what is there and what is already under way. No clock, no I/O.
//!
//! `plan` compares levels: it may be called at any time and as often as wanted, and proposes nothing that is already in
//! flight. Hosts move launching → ready → retiring → gone; launches in flight are known only from [`Expectations`].

use std::time::Duration;

use envfarm_core::HostId;
use tokio::time::Instant;

use crate::gate::BACKGROUND_PATIENCE;
use crate::seen::open_cost;
pub use crate::seen::{Expectations, HostSeen, Phase, PoolSeen, Trouble};
use crate::spec::PoolSpec;

/// Opens in a row, or closes in a row, that a host may fail before it is replaced.
pub const MAX_FAILURES: u32 = 3;
/// How long more must be there than is wanted before it is given up: demand comes in bursts.
pub const SHRINK_AFTER: Duration = Duration::from_secs(30);
/// How long a retiring host holds up the next one. After that its last sandboxes may end whenever they do.
pub const RETIRE_GRACE: Duration = Duration::from_secs(60);
/// Retiring hosts at which no worn one follows: each holds memory that its successor needs too.
pub const MAX_RETIRING: usize = 3;
/// Launches in flight at once.
const MAX_LAUNCHES: usize = 4;
/// How far the rate of takes may raise [`PoolSpec::warm`].
const MAX_WARM_FACTOR: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetireReason {
    Served,
    Age,
    /// Above its own limit.
    Memory,
    /// Its sandboxes do not close any more.
    Leaking,
    /// The budget of all pools is overdrawn.
    Budget,
    /// Its sandboxes do not open any more.
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
    /// Ask for one of its spare sandboxes.
    AskBack {
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
    seen.leased.max(lent + seen.waiting + seen.waiting_ahead)
}

/// Whether more is there than is wanted. Acted on once it has lasted for [`SHRINK_AFTER`].
pub fn surplus(spec: &PoolSpec, seen: &PoolSeen) -> bool {
    let ready = seen.hosts.iter().filter(|h| h.phase == Phase::Ready);
    let warm: usize = ready.clone().map(|h| h.warm).sum();
    ready.count() > wanted_hosts(spec, seen) || warm > warm_target(spec, seen)
}

/// Whether work ahead of demand lets resets go first: on few cores the sandbox that replaces the one just taken would cost the
/// very reset that took it half of its speed.
pub fn holds_back(seen: &PoolSeen, now: Instant) -> bool {
    seen.foreground_since.is_some_and(|since| now - since < BACKGROUND_PATIENCE)
}

/// What to do now. Every operation may be carried out at once, in order.
pub fn plan(spec: &PoolSpec, seen: &PoolSeen, pending: &Expectations, now: Instant) -> Vec<PoolOp> {
    let (free, leaving, ops) = (seen.budget_free, Vec::new(), Vec::new());
    let mut plan = Plan { spec, seen, pending, now, free, full: false, leaving, ops };
    plan.destroy();
    plan.retire_at_once();
    let successor_needed = plan.hand_over();
    plan.launch(successor_needed);
    plan.ask_back();
    plan.discard();
    plan.measure();
    plan.ops
}

struct Plan<'a> {
    spec: &'a PoolSpec,
    seen: &'a PoolSeen,
    pending: &'a Expectations,
    now: Instant,
    /// Of the budget, after what is planned so far.
    free: u64,
    /// No host has room for all that is to be opened.
    full: bool,
    /// Ready hosts that get nothing new: retired by this plan, or about to be.
    leaving: Vec<&'a HostId>,
    ops: Vec<PoolOp>,
}

impl<'a> Plan<'a> {
    fn in_phase(&self, phase: Phase) -> impl Iterator<Item = &'a HostSeen> + Clone + use<'a> {
        self.seen.hosts.iter().filter(move |h| h.phase == phase)
    }

    /// Ready hosts that stay.
    fn staying(&self) -> impl Iterator<Item = &'a HostSeen> + Clone + use<'_, 'a> {
        self.in_phase(Phase::Ready).filter(|h| !self.leaving.contains(&&h.id))
    }

    fn destroy(&mut self) {
        let now = self.now;
        let ended = self.in_phase(Phase::Retiring).filter(|h| h.lent == 0);
        let gone = self.in_phase(Phase::Gone).filter(|h| h.destroy_at.is_some_and(|at| at <= now));
        self.ops.extend(ended.chain(gone).map(|h| PoolOp::Destroy { host: h.id.clone() }));
    }

    fn retire(&mut self, host: &'a HostSeen, why: RetireReason) {
        self.leaving.push(&host.id);
        self.ops.push(PoolOp::Retire { host: host.id.clone(), why });
    }

    fn retire_at_once(&mut self) {
        for host in self.in_phase(Phase::Ready) {
            if host.must_go {
                self.retire(host, RetireReason::Budget);
            } else if host.failed_opens >= MAX_FAILURES {
                self.retire(host, RetireReason::Failing);
            }
        }
    }

    fn retiring(&self) -> usize {
        let now_retired = self.ops.iter().filter(|op| matches!(op, PoolOp::Retire { .. })).count();
        self.in_phase(Phase::Retiring).count() + now_retired
    }

    fn lingering(&self) -> usize {
        self.in_phase(Phase::Retiring).filter(|h| h.lingers(self.now)).count()
    }

    /// Whether one more may retire: no other is about to, and few linger.
    fn may_retire(&self) -> bool {
        self.retiring() == self.lingering() && self.retiring() < MAX_RETIRING
    }

    /// Opens sandboxes, and lets one host a time go that is worn or too many, if memory allows only after a successor
    /// took over. Says whether a successor must be launched for that.
    fn hand_over(&mut self) -> bool {
        let (wanted, ready) = (wanted_hosts(self.spec, self.seen), self.staying().count());
        let launching = self.pending.launching(self.now);
        let worn = self.staying().filter_map(|h| Some((h, worn(self.spec, h, self.now)?)));
        // The oldest first, but before all what grows.
        let worn = worn.max_by_key(|(h, why)| (*why == RetireReason::Memory, h.served, std::cmp::Reverse(h.ready_at)));
        let shrink = self.seen.surplus_since.is_some_and(|since| self.now - since >= SHRINK_AFTER);
        let emptiest = self.staying().min_by_key(|h| h.lent).filter(|_| shrink).map(|h| (h, RetireReason::Surplus));
        let Some((host, why)) = worn.or(emptiest).filter(|_| self.may_retire()) else {
            self.open();
            return false;
        };
        if ready > wanted {
            self.leaving.push(&host.id);
            let opens = self.open();
            let others = self.staying();
            let (opening, warm) = others.fold((0, 0), |(opening, warm), h| (opening + h.opening, warm + h.warm));
            let no_more_to_come = opens + opening == 0 && !holds_back(self.seen, self.now);
            let taken_over = warm >= warm_target(self.spec, self.seen) || no_more_to_come;
            if taken_over || host.warm + host.opening == 0 {
                self.ops.push(PoolOp::Retire { host: host.id.clone(), why });
            }
            return false;
        }
        let affordable = self.free >= self.host_cost();
        // Those that linger may hold the memory that is missing: the last host that serves waits for them.
        let others_serve = self.retiring() == 0 || ready > 1;
        if why != RetireReason::Surplus && launching == 0 && self.may_launch() && !affordable && others_serve {
            self.retire(host, why);
        }
        self.open();
        why != RetireReason::Surplus && launching == 0 && affordable
    }

    fn launch(&mut self, successor_needed: bool) {
        if !self.may_launch() {
            return;
        }
        let (spec, retiring, launching) = (self.spec, self.retiring(), self.pending.launching(self.now));
        let here = self.in_phase(Phase::Ready).chain(self.in_phase(Phase::Retiring)).count() + launching;
        let serving = here - retiring;
        let lingering = self.lingering();
        let beside = lingering.min(MAX_RETIRING) + usize::from(successor_needed || retiring > lingering);
        let room = spec.max_hosts.max(1) + beside;
        let missing = wanted_hosts(spec, self.seen) + usize::from(successor_needed);
        // After a failure one host shows whether it works again.
        let at_once = if self.pending.trouble.is_some() { 1 } else { MAX_LAUNCHES };
        let most = missing.saturating_sub(serving).min(room.saturating_sub(here)).min(at_once.saturating_sub(launching));
        for _ in 0..most {
            if self.free < self.host_cost() {
                return;
            }
            self.free -= self.host_cost();
            self.ops.push(PoolOp::Launch);
        }
    }

    fn may_launch(&self) -> bool {
        self.pending.trouble.as_ref().is_none_or(|t| t.retry_at <= self.now)
    }

    /// A host is no use without at least one sandbox.
    fn host_cost(&self) -> u64 {
        self.spec.expected_host_bytes + self.spec.expected_sandbox_bytes
    }

    /// Opens what waiting takes and the warm set lack, each on the staying host with the fewest live sandboxes, worn ones
    /// last. Returns how many.
    fn open(&mut self) -> usize {
        let spec = self.spec;
        let sum = |count: fn(&HostSeen) -> usize| self.seen.hosts.iter().filter(|h| h.phase != Phase::Gone).map(count).sum();
        let (mut active, mut live): (usize, usize) = (sum(HostSeen::active), sum(HostSeen::live));
        let mut places: Vec<Room> = self.staying().map(|h| Room::of(h, worn(spec, h, self.now).is_some())).collect();
        let (opening, warm) = self.staying().fold((0, 0), |(opening, warm), h| (opening + h.opening, warm + h.warm));

        let (most, per_host) = (spec.max_sandboxes.max(1), spec.sandboxes_per_host.max(1));
        let (margin, host_margin) = (PoolSpec::closing_margin(most), PoolSpec::closing_margin(per_host));
        let ahead = if holds_back(self.seen, self.now) { 0 } else { self.seen.waiting_ahead + warm_target(spec, self.seen) };
        let wanted = (self.seen.waiting + ahead).saturating_sub(opening + warm);
        for opened in 0..wanted.min(spec.open_concurrency.max(1).saturating_sub(opening)) {
            let room = active < most && live < most + margin;
            let free = self.free;
            let fits = places.iter_mut().filter(|p| p.active < per_host && p.live < per_host + host_margin && p.cost(spec) <= free);
            let Some(place) = fits.min_by_key(|p| (p.worn, p.live)).filter(|_| room) else {
                self.full = true;
                return opened;
            };
            self.free -= place.cost(spec);
            (place.active, place.live) = (place.active + 1, place.live + 1);
            (active, live) = (active + 1, live + 1);
            self.ops.push(PoolOp::Open { host: place.host.clone() });
        }
        wanted.min(spec.open_concurrency.max(1).saturating_sub(opening))
    }

    /// Asks for spare sandboxes: all those on retiring hosts, which wait for them, and as many as resets wait for without one
    /// on its way to them.
    fn ask_back(&mut self) {
        let retiring = self.in_phase(Phase::Retiring).flat_map(|h| std::iter::repeat_n(&h.id, h.spare));
        let before = self.ops.len();
        self.ops.extend(retiring.map(|host| PoolOp::AskBack { host: host.clone() }));
        let asked = self.ops.len() - before;
        if !self.full {
            return;
        }
        let on_the_way = |h: &HostSeen| h.opening + h.warm + h.asked_back + h.closing;
        let here = self.seen.hosts.iter().filter(|h| h.phase != Phase::Gone).map(on_the_way).sum::<usize>();
        let opens = self.ops.iter().filter(|op| matches!(op, PoolOp::Open { .. })).count();
        let launches = self.ops.iter().filter(|op| **op == PoolOp::Launch).count() + self.pending.launching(self.now);
        let coming = here + asked + opens + launches * self.spec.sandboxes_per_host.max(1);
        let mut places: Vec<(usize, &HostId)> = self.staying().map(|h| (h.spare, &h.id)).collect();
        for _ in coming..self.seen.waiting {
            let Some(place) = places.iter_mut().max_by_key(|(spare, _)| *spare).filter(|(spare, _)| *spare > 0) else { return };
            place.0 -= 1;
            self.ops.push(PoolOp::AskBack { host: place.1.clone() });
        }
    }

    fn discard(&mut self) {
        if self.seen.surplus_since.is_none_or(|since| self.now - since < SHRINK_AFTER) {
            return;
        }
        let mut places: Vec<(usize, &HostId)> = self.staying().map(|h| (h.warm, &h.id)).collect();
        let warm: usize = places.iter().map(|(warm, _)| warm).sum();
        for _ in warm_target(self.spec, self.seen)..warm {
            let Some(fullest) = places.iter_mut().max_by_key(|(warm, _)| *warm) else { return };
            fullest.0 -= 1;
            self.ops.push(PoolOp::Discard { host: fullest.1.clone() });
        }
    }

    /// One host at a time, evenly over the interval: measuring costs CPU.
    fn measure(&mut self) {
        let measured = self.in_phase(Phase::Ready).chain(self.in_phase(Phase::Retiring)).filter(|h| h.lent > 0 || h.phase == Phase::Ready);
        let interval = self.spec.usage_interval;
        let spacing = interval / u32::try_from(measured.clone().count().max(1)).unwrap_or(u32::MAX);
        if self.seen.measuring || self.seen.measure_began.is_some_and(|began| self.now - began < spacing) {
            return;
        }
        let due = measured.filter(|h| h.measured_at.is_none_or(|at| self.now - at >= interval)).min_by_key(|h| h.measured_at);
        self.ops.extend(due.map(|h| PoolOp::Measure { host: h.id.clone() }));
    }
}

/// A host that can take sandboxes, as the plan fills it.
struct Room<'a> {
    host: &'a HostId,
    worn: bool,
    live: usize,
    active: usize,
    measured_live: usize,
}

impl<'a> Room<'a> {
    fn of(host: &'a HostSeen, worn: bool) -> Self {
        Self { host: &host.id, worn, live: host.live(), active: host.active(), measured_live: host.measured_live }
    }

    fn cost(&self, spec: &PoolSpec) -> u64 {
        open_cost(spec, self.live, self.measured_live)
    }
}

/// Why a host should be replaced, if it should.
fn worn(spec: &PoolSpec, host: &HostSeen, now: Instant) -> Option<RetireReason> {
    if host.bytes > spec.recycle_above_bytes {
        Some(RetireReason::Memory)
    } else if host.failed_closes >= MAX_FAILURES {
        Some(RetireReason::Leaking)
    } else if host.served >= spec.recycle_after_served {
        Some(RetireReason::Served)
    } else if now - host.ready_at >= spec.recycle_after {
        Some(RetireReason::Age)
    } else {
        None
    }
}

/// Why a take has to wait, in words for its error.
pub fn obstacle(spec: &PoolSpec, seen: &PoolSeen, pending: &Expectations, now: Instant) -> String {
    let ready = seen.hosts.iter().filter(|h| h.phase == Phase::Ready);
    let (opening, active): (usize, usize) = ready.clone().fold((0, 0), |(o, a), h| (o + h.opening, a + h.active()));
    let hosts = ready.count();
    let launching = pending.launching(now);
    let state = if active >= spec.max_sandboxes.max(1) {
        format!("all {active} sandboxes are in use")
    } else if opening > 0 {
        format!("{opening} sandboxes are opening for {} takes", seen.waiting + seen.waiting_ahead)
    } else if launching > 0 {
        format!("{launching} hosts are launching")
    } else if seen.budget_free < spec.expected_host_bytes + spec.expected_sandbox_bytes {
        format!("the memory budget has {} MiB left", seen.budget_free >> 20)
    } else {
        format!("{active} sandboxes on {hosts} hosts are in use")
    };
    match &pending.trouble {
        Some(Trouble { failures, last_error, .. }) => format!("{last_error} ({failures} failures in a row); {state}"),
        None => state,
    }
}
