//! Properties of the plan, over worlds that obey it and change behind its back.

use std::collections::BTreeMap;
use std::time::Duration;

use envfarm_core::HostId;
use proptest::prelude::*;
use tokio::time::Instant;

use crate::PoolSpec;
use crate::plan::{
    Expectations, HostSeen, MAX_RETIRING, Phase, PoolOp, PoolSeen, RETIRE_GRACE, Trouble, plan, surplus, wanted_hosts, warm_target,
};

/// A pool reduced to what the plan sees. Jobs end only when told.
#[derive(Debug)]
struct Model {
    spec: PoolSpec,
    seen: PoolSeen,
    pending: Expectations,
    now: Instant,
    budget: u64,
    next: u64,
    closed: usize,
}

/// What happens to the pool.
#[derive(Clone, Debug)]
enum Event {
    Lease(usize),
    Take,
    TakeAhead,
    /// A holder could do without its sandbox, needs it after all, gives back what it was asked for.
    Spare(usize),
    Keep(usize),
    GiveBack(usize),
    Return(usize),
    LaunchEnds(bool),
    OpenEnds(usize, bool),
    CloseEnds(usize, bool),
    DestroyEnds,
    Measured(usize, u64),
    Resetting(bool),
    Dies(usize),
    Pass(u64),
}

impl Model {
    fn new(spec: PoolSpec, budget: u64) -> Self {
        let (seen, pending) = (PoolSeen::default(), Expectations::default());
        Self { spec, seen, pending, now: Instant::now(), budget, next: 0, closed: 0 }
    }

    /// What is charged: expected costs until measured.
    fn used(&self) -> u64 {
        let spec = &self.spec;
        let of = |h: &HostSeen| {
            let since = h.live().saturating_sub(h.measured_live) as u64;
            h.bytes.max(spec.expected_host_bytes) + since * spec.expected_sandbox_bytes
        };
        self.seen.hosts.iter().map(of).sum::<u64>() + self.pending.launches.len() as u64 * spec.expected_host_bytes
    }

    fn plan(&mut self) -> Vec<PoolOp> {
        self.seen.budget_free = self.budget.saturating_sub(self.used());
        let since = self.seen.surplus_since.unwrap_or(self.now);
        self.seen.surplus_since = surplus(&self.spec, &self.seen).then_some(since);
        plan(&self.spec, &self.seen, &self.pending, self.now)
    }

    fn host(&mut self, id: &HostId) -> &mut HostSeen {
        self.seen.hosts.iter_mut().find(|h| h.id == *id).expect("the plan names only hosts that are there")
    }

    fn apply(&mut self, op: &PoolOp) {
        let now = self.now;
        match op {
            PoolOp::Launch => {
                self.next += 1;
                self.pending.launches.insert(HostId(format!("h{:04}", self.next)), now + Duration::from_secs(60));
            }
            PoolOp::Open { host } => {
                let host = self.host(host);
                assert_eq!(host.phase, Phase::Ready, "opens only where sandboxes are taken");
                host.opening += 1;
            }
            PoolOp::Discard { host } => {
                let host = self.host(host);
                (host.warm, host.closing) = (host.warm - 1, host.closing + 1);
            }
            PoolOp::AskBack { host } => {
                let host = self.host(host);
                (host.spare, host.asked_back) = (host.spare - 1, host.asked_back + 1);
            }
            PoolOp::Retire { host, .. } => {
                let host = self.host(host);
                assert_eq!(host.phase, Phase::Ready, "retires only what serves");
                (host.phase, host.retired_at) = (Phase::Retiring, Some(now));
                (host.warm, host.closing) = (0, host.closing + host.warm);
            }
            PoolOp::Destroy { host } => {
                let host = self.host(host);
                assert!(host.phase == Phase::Gone || host.lent == 0, "a host is not destroyed under its sandboxes");
                (host.phase, host.destroy_at) = (Phase::Gone, None);
                (host.opening, host.warm, host.closing) = (0, 0, 0);
            }
            PoolOp::Measure { host } => {
                self.host(host);
                (self.seen.measuring, self.seen.measure_began) = (true, Some(now));
            }
        }
    }

    /// Gives a new sandbox, or one given back, to whom it is for.
    fn settle(&mut self) {
        while self.seen.waiting + self.seen.waiting_ahead > 0
            && let Some(host) = self.seen.hosts.iter_mut().find(|h| h.phase == Phase::Ready && h.warm > 0)
        {
            (host.warm, host.lent) = (host.warm - 1, host.lent + 1);
            let waiting = if self.seen.waiting > 0 { &mut self.seen.waiting } else { &mut self.seen.waiting_ahead };
            *waiting -= 1;
        }
    }

    fn happen(&mut self, event: &Event) {
        let now = self.now;
        let pick = |hosts: &mut Vec<HostSeen>, n: usize, with: fn(&HostSeen) -> bool| {
            let fitting: Vec<usize> = hosts.iter().enumerate().filter(|(_, h)| with(h)).map(|(i, _)| i).collect();
            fitting.get(n % fitting.len().max(1)).copied()
        };
        let hosts = &mut self.seen.hosts;
        match *event {
            Event::Lease(slots) => self.seen.leased = slots,
            Event::Take => self.seen.waiting += 1,
            Event::TakeAhead => self.seen.waiting_ahead += 1,
            Event::Spare(n) => {
                if let Some(i) = pick(hosts, n, |h| h.lent > h.spare + h.asked_back) {
                    hosts[i].spare += 1;
                }
            }
            Event::Keep(n) => {
                if let Some(i) = pick(hosts, n, |h| h.spare + h.asked_back > 0) {
                    let host = &mut hosts[i];
                    *(if host.asked_back > 0 { &mut host.asked_back } else { &mut host.spare }) -= 1;
                }
            }
            Event::GiveBack(n) => {
                if let Some(i) = pick(hosts, n, |h| h.asked_back > 0) {
                    (hosts[i].lent, hosts[i].asked_back) = (hosts[i].lent - 1, hosts[i].asked_back - 1);
                    hosts[i].closing += usize::from(hosts[i].phase != Phase::Gone);
                }
            }
            Event::Return(n) => {
                if let Some(i) = pick(hosts, n, |h| h.lent > h.spare + h.asked_back) {
                    hosts[i].lent -= 1;
                    hosts[i].closing += usize::from(hosts[i].phase != Phase::Gone);
                }
            }
            Event::LaunchEnds(ok) => {
                let Some((id, expires)) = self.pending.launches.pop_first() else { return };
                // A host that nobody counts on any more is not taken in.
                let phase = if ok && expires > now { Phase::Ready } else { Phase::Gone };
                if !ok {
                    let failures = self.pending.trouble.as_ref().map_or(1, |t| t.failures + 1);
                    let retry_at = now + Duration::from_secs(1);
                    self.pending.trouble = Some(Trouble { failures, last_error: "no".into(), failed_at: now, retry_at });
                }
                hosts.push(HostSeen {
                    id,
                    phase,
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
                });
            }
            Event::OpenEnds(n, ok) => {
                let Some(i) = pick(hosts, n, |h| h.opening > 0) else { return };
                hosts[i].opening -= 1;
                hosts[i].failed_opens = if ok { 0 } else { hosts[i].failed_opens + 1 };
                match hosts[i].phase {
                    _ if !ok => {}
                    Phase::Ready => (hosts[i].warm, hosts[i].served) = (hosts[i].warm + 1, hosts[i].served + 1),
                    _ => hosts[i].closing += 1,
                }
            }
            Event::CloseEnds(n, ok) => {
                let Some(i) = pick(hosts, n, |h| h.closing > 0) else { return };
                hosts[i].closing -= 1;
                hosts[i].failed_closes = if ok { 0 } else { hosts[i].failed_closes + 1 };
                self.closed += 1;
            }
            Event::DestroyEnds => hosts.retain(|h| h.phase != Phase::Gone || h.destroy_at.is_some()),
            Event::Measured(n, bytes) => {
                if let Some(i) = pick(hosts, n, |h| h.phase != Phase::Gone) {
                    (hosts[i].bytes, hosts[i].measured_at, hosts[i].measured_live) = (bytes, Some(now), hosts[i].live());
                }
                self.seen.measuring = false;
            }
            Event::Dies(n) => {
                if let Some(i) = pick(hosts, n, |h| h.phase != Phase::Gone) {
                    let host = &mut hosts[i];
                    (host.phase, host.destroy_at) = (Phase::Gone, Some(now));
                    (host.opening, host.warm, host.closing) = (0, 0, 0);
                }
            }
            Event::Resetting(busy) => self.seen.foreground_since = busy.then(|| self.seen.foreground_since.unwrap_or(now)),
            Event::Pass(ms) => self.now += Duration::from_millis(ms),
        }
        self.settle();
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let spec = &self.spec;
        let here: Vec<&HostSeen> = self.seen.hosts.iter().filter(|h| h.phase != Phase::Gone).collect();
        let hosts = here.len() + self.pending.launching(self.now);
        let lingering = here.iter().filter(|h| h.lingers(self.now)).count();
        prop_assert!(hosts <= spec.max_hosts + 1 + lingering.min(MAX_RETIRING), "{hosts} hosts");
        let active: usize = here.iter().map(|h| h.active()).sum();
        let live: usize = here.iter().map(|h| h.live()).sum();
        prop_assert!(active <= spec.max_sandboxes, "{active} active");
        prop_assert!(live <= spec.max_sandboxes + PoolSpec::closing_margin(spec.max_sandboxes), "{live} live");
        for host in here {
            prop_assert!(host.active() <= spec.sandboxes_per_host, "{host:?}");
            let limit = spec.sandboxes_per_host + PoolSpec::closing_margin(spec.sandboxes_per_host);
            prop_assert!(host.live() <= limit, "{host:?}");
        }
        Ok(())
    }

    /// Lets every job end well until the plan has no more wishes; says how often it was asked.
    fn converge(&mut self) -> Result<usize, TestCaseError> {
        for round in 0..10_000 {
            let ops = self.plan();
            for op in &ops {
                self.apply(op);
            }
            self.check()?;
            let idle = ops.is_empty();
            let jobs =
                |m: &Self| m.pending.launches.len() + m.seen.hosts.iter().map(|h| h.opening + h.closing + h.asked_back).sum::<usize>();
            if idle && jobs(self) == 0 && self.seen.hosts.iter().all(|h| h.phase != Phase::Gone) {
                return Ok(round);
            }
            for event in [
                Event::LaunchEnds(true),
                Event::OpenEnds(round, true),
                Event::CloseEnds(round, true),
                Event::GiveBack(round),
                Event::Measured(round, 0),
                Event::DestroyEnds,
                Event::Pass(100),
            ] {
                self.happen(&event);
            }
        }
        Err(TestCaseError::fail(format!("no fixed point: {self:#?}")))
    }
}

fn specs() -> impl Strategy<Value = PoolSpec> {
    (1..24usize, 1..9usize, 0..3usize, 1..5usize, 0..9usize, 1..6usize, 5..60u64).prop_map(
        |(max_sandboxes, sandboxes_per_host, min_hosts, max_hosts, warm, open_concurrency, served)| PoolSpec {
            max_sandboxes,
            sandboxes_per_host,
            min_hosts,
            max_hosts,
            warm,
            open_concurrency,
            recycle_after_served: served,
            recycle_after: Duration::from_secs(600),
            recycle_above_bytes: 900,
            expected_host_bytes: 100,
            expected_sandbox_bytes: 10,
            usage_interval: Duration::from_secs(3600),
            ..PoolSpec::default()
        },
    )
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        1 => (0..30usize).prop_map(Event::Lease),
        4 => Just(Event::Take),
        2 => Just(Event::TakeAhead),
        3 => any::<usize>().prop_map(Event::Spare),
        1 => any::<usize>().prop_map(Event::Keep),
        2 => any::<usize>().prop_map(Event::GiveBack),
        4 => any::<usize>().prop_map(Event::Return),
        3 => prop::bool::weighted(0.8).prop_map(Event::LaunchEnds),
        6 => (any::<usize>(), prop::bool::weighted(0.9)).prop_map(|(n, ok)| Event::OpenEnds(n, ok)),
        6 => (any::<usize>(), prop::bool::weighted(0.9)).prop_map(|(n, ok)| Event::CloseEnds(n, ok)),
        2 => Just(Event::DestroyEnds),
        1 => (any::<usize>(), 0..1000u64).prop_map(|(n, bytes)| Event::Measured(n, bytes)),
        2 => any::<bool>().prop_map(Event::Resetting),
        1 => any::<usize>().prop_map(Event::Dies),
        3 => (0..40_000u64).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 0..150)
}

proptest! {
    #[test]
    fn no_limit_is_exceeded_whatever_happens(spec in specs(), budget in 0..1200u64, events in events()) {
        let mut model = Model::new(spec, budget);
        for event in events {
            let before = model.used();
            let ops = model.plan();
            for op in &ops {
                model.apply(op);
            }
            // Only measurements may overdraw the budget; the plan never does.
            prop_assert!(model.used() <= budget.max(before), "{} of {budget} used", model.used());
            model.check()?;
            model.happen(&event);
        }
    }

    #[test]
    fn the_same_levels_get_no_second_helping(spec in specs(), events in events()) {
        let mut model = Model::new(spec, u64::MAX / 2);
        for event in events {
            // Launches and opens in flight count: asked again and again, the plan soon wishes for nothing more. Only hosts
            // that are too many go one by one, each retired and then destroyed.
            let (mut asked, mut launched) = (0, 0);
            let most = 4 + 2 * model.seen.hosts.len();
            loop {
                let ops = model.plan();
                if ops.is_empty() {
                    break;
                }
                asked += 1;
                launched += ops.iter().filter(|op| **op == PoolOp::Launch).count();
                prop_assert!(asked <= most, "still asks for {ops:?}");
                prop_assert!(launched <= wanted_hosts(&model.spec, &model.seen) + 1, "launches {launched}");
                for op in &ops {
                    model.apply(op);
                }
            }
            model.happen(&event);
        }
    }

    #[test]
    fn an_undisturbed_pool_settles_with_what_is_demanded(spec in specs(), leased in 0..30usize, events in events()) {
        let mut model = Model::new(PoolSpec { recycle_after_served: u64::MAX, ..spec }, u64::MAX / 2);
        for event in events {
            for op in model.plan() {
                model.apply(&op);
            }
            model.happen(&event);
        }
        model.happen(&Event::Lease(leased));
        model.pending.trouble = None;
        model.seen.hosts.iter_mut().for_each(|h| h.failed_closes = 0);
        model.converge()?;
        model.now += Duration::from_secs(31);
        model.converge()?;
        let (spec, seen) = (&model.spec, &model.seen);
        let ready = || seen.hosts.iter().filter(|h| h.phase == Phase::Ready);
        let all = || seen.hosts.iter().filter(|h| h.phase != Phase::Gone);
        let retiring = all().count() - ready().count();
        prop_assert!(ready().count() == wanted_hosts(spec, seen) || retiring > 0, "{seen:#?}");
        let warm: usize = ready().map(|h| h.warm).sum();
        let full = all().map(HostSeen::active).sum::<usize>() >= spec.max_sandboxes
            || ready().all(|h| h.active() >= spec.sandboxes_per_host);
        if full {
            prop_assert!(warm <= warm_target(spec, seen));
            let spare: usize = all().map(|h| h.spare).sum();
            prop_assert!(seen.waiting == 0 || spare == 0, "resets wait and others could do without: {seen:#?}");
        } else {
            prop_assert_eq!((warm, seen.waiting, seen.waiting_ahead), (warm_target(spec, seen), 0, 0));
        }
    }

    #[test]
    fn nothing_is_asked_back_while_no_reset_waits_and_no_more_than_wait(spec in specs(), budget in 0..1200u64, events in events()) {
        let mut model = Model::new(spec, budget);
        for event in events {
            let retiring = |h: &&HostSeen| h.phase == Phase::Retiring;
            let leaving: usize = model.seen.hosts.iter().filter(retiring).map(|h| h.spare).sum();
            let ops = model.plan();
            let asked = ops.iter().filter(|op| matches!(op, PoolOp::AskBack { .. })).count();
            let opens = ops.iter().filter(|op| matches!(op, PoolOp::Open { .. })).count();
            prop_assert!(asked >= leaving, "a host that retires waits for what could be done without");
            let on_the_way: usize = model.seen.hosts.iter().filter(|h| h.phase != Phase::Gone).map(|h| h.asked_back + h.opening).sum();
            let short = model.seen.waiting.saturating_sub(on_the_way + opens);
            prop_assert!(asked <= leaving + short, "{asked} asked for {short}");
            for op in &ops {
                model.apply(op);
            }
            model.happen(&event);
        }
    }
}

#[test]
fn a_lingering_host_lets_the_next_one_retire_until_too_many_do() {
    let spec = PoolSpec { min_hosts: 1, max_hosts: 1, warm: 0, recycle_after: Duration::from_secs(600), ..PoolSpec::default() };
    let mut model = Model::new(spec, u64::MAX / 2);
    for retired in 1..=MAX_RETIRING {
        model.converge().unwrap();
        let host = model.seen.hosts.iter_mut().find(|h| h.phase == Phase::Ready).unwrap();
        host.lent = 1;
        model.now += Duration::from_secs(600);
        model.converge().unwrap();
        let retiring = model.seen.hosts.iter().filter(|h| h.phase == Phase::Retiring).count();
        assert_eq!((retiring, model.seen.hosts.len()), (retired, retired + 1));
    }
    model.seen.hosts.iter_mut().for_each(|h| h.lent = 1);
    model.now += Duration::from_secs(600);
    model.converge().unwrap();
    assert_eq!(model.seen.hosts.iter().filter(|h| h.phase == Phase::Ready).count(), 1, "so many linger already");
    model.seen.hosts[0].lent = 0;
    model.converge().unwrap();
    assert_eq!(model.seen.hosts.iter().filter(|h| h.phase == Phase::Retiring).count(), MAX_RETIRING);
    assert!(model.seen.hosts.iter().filter(|h| h.lingers(model.now)).count() < MAX_RETIRING);
}

#[test]
fn the_last_host_that_serves_does_not_retire_for_memory_that_a_lingering_one_holds() {
    let spec = PoolSpec { min_hosts: 1, max_hosts: 2, warm: 0, recycle_after: Duration::from_secs(600), ..PoolSpec::default() };
    let one = spec.expected_host_bytes + 2 * spec.expected_sandbox_bytes;
    let mut model = Model::new(spec, 2 * one);
    model.converge().unwrap();
    model.seen.hosts[0].lent = 1;
    model.now += Duration::from_secs(600);
    model.converge().unwrap();
    let phases = |model: &Model| model.seen.hosts.iter().map(|h| h.phase).collect::<Vec<_>>();
    assert_eq!(phases(&model), [Phase::Retiring, Phase::Ready]);
    model.now += Duration::from_secs(600) + RETIRE_GRACE;
    model.seen.hosts[1].lent = 1;
    model.converge().unwrap();
    assert_eq!(phases(&model), [Phase::Retiring, Phase::Ready]);
}

#[test]
fn what_someone_waits_for_is_opened_at_once_and_what_nobody_does_after_resets_or_after_a_while() {
    let spec = PoolSpec { min_hosts: 1, warm: 3, open_concurrency: 8, ..PoolSpec::default() };
    let mut model = Model::new(spec, u64::MAX / 2);
    for op in model.plan() {
        model.apply(&op);
    }
    model.happen(&Event::LaunchEnds(true));
    model.happen(&Event::Lease(8));
    model.seen.waiting = 2;
    model.happen(&Event::Resetting(true));
    let opens = |model: &mut Model| model.plan().iter().filter(|op| matches!(op, PoolOp::Open { .. })).count();
    assert_eq!(opens(&mut model), 2);
    model.now += Duration::from_secs(1);
    assert_eq!(opens(&mut model), 5, "resets that never pause do not keep the shelf empty");
    model.happen(&Event::Resetting(false));
    model.happen(&Event::Resetting(true));
    assert_eq!(opens(&mut model), 2);
    model.happen(&Event::Resetting(false));
    assert_eq!(opens(&mut model), 5);
}

#[test]
fn an_overdue_launch_is_no_longer_counted_on() {
    let mut model = Model::new(PoolSpec { min_hosts: 1, ..PoolSpec::default() }, u64::MAX / 2);
    let ops = model.plan();
    assert_eq!(ops, [PoolOp::Launch]);
    model.apply(&ops[0]);
    assert_eq!(model.plan(), []);
    model.now += Duration::from_secs(61);
    assert_eq!(model.plan(), [PoolOp::Launch]);
}

#[test]
fn many_takes_open_no_more_at_once_than_allowed_and_on_the_emptiest_hosts() {
    let spec = PoolSpec { min_hosts: 2, open_concurrency: 6, warm: 0, ..PoolSpec::default() };
    let mut model = Model::new(spec, u64::MAX / 2);
    for op in model.plan() {
        model.apply(&op);
    }
    model.happen(&Event::LaunchEnds(true));
    model.happen(&Event::LaunchEnds(true));
    model.seen.hosts[0].lent = 4;
    model.seen.waiting = 50;
    let mut opens: BTreeMap<HostId, usize> = BTreeMap::new();
    for op in model.plan() {
        if let PoolOp::Open { host } = op {
            *opens.entry(host).or_default() += 1;
        }
    }
    assert_eq!(opens.into_values().collect::<Vec<_>>(), [1, 5]);
}
