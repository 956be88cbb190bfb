//! What a pool is at one moment, as [`plan`](crate::plan) looks at it: levels, and what is already under way.

use std::collections::BTreeMap;
use std::time::Duration;

use envfarm_core::HostId;
use tokio::time::Instant;

use crate::plan::RETIRE_GRACE;
use crate::spec::PoolSpec;

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
    /// Of the lent ones, those that their holders could do without and were not asked for yet.
    pub spare: usize,
    /// Of the lent ones, those that were asked for and are on their way back.
    pub asked_back: usize,
    pub closing: usize,
    /// Episodes it was used for: sandboxes opened since launch, and restarts in place.
    pub served: u64,
    /// Last measured; 0 before.
    pub bytes: u64,
    pub ready_at: Instant,
    pub retired_at: Option<Instant>,
    pub measured_at: Option<Instant>,
    /// Live sandboxes when it was last measured: up to as many are in `bytes`.
    pub measured_live: usize,
    /// Opens that failed since one last succeeded.
    pub failed_opens: u32,
    /// Closes that failed since one last succeeded: what they should have freed is still there.
    pub failed_closes: u32,
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

    /// What one more sandbox is charged: nothing where the last measurement saw one that is gone.
    pub fn open_cost(&self, spec: &PoolSpec) -> u64 {
        open_cost(spec, self.live(), self.measured_live)
    }

    /// Whether it retires and its last sandboxes take longer than [`RETIRE_GRACE`] to end.
    pub fn lingers(&self, now: Instant) -> bool {
        self.phase == Phase::Retiring && self.retired_at.is_some_and(|at| now - at >= RETIRE_GRACE)
    }
}

/// One pool as it is now.
#[derive(Clone, Debug, Default)]
pub struct PoolSeen {
    pub hosts: Vec<HostSeen>,
    /// Takes that wait, for resets.
    pub waiting: usize,
    /// Takes that wait, for work ahead of resets.
    pub waiting_ahead: usize,
    /// Slots that leases hold.
    pub leased: usize,
    /// Takes a second, of late.
    pub take_rate: f64,
    /// Mean time of an open, of late.
    pub open_time: Duration,
    /// Bytes that the shared budget still has.
    pub budget_free: u64,
    /// Since when there is more than is wanted; see [`surplus`](crate::plan::surplus).
    pub surplus_since: Option<Instant>,
    /// Since when resets have been under way that someone waits for; see [`holds_back`](crate::plan::holds_back).
    pub foreground_since: Option<Instant>,
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

/// See [`HostSeen::open_cost`].
pub fn open_cost(spec: &PoolSpec, live: usize, measured_live: usize) -> u64 {
    if live < measured_live { 0 } else { spec.expected_sandbox_bytes }
}
