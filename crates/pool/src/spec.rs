//! What one pool is told: its sizes, when hosts are recycled, what things are expected to cost, and deadlines.

use std::time::Duration;

/// Sizes and limits of one environment's pool. Zeroes where at least one is needed count as one.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolSpec {
    /// Name of the environment; the only id in the pool's metrics.
    pub environment: String,
    /// Sandboxes that may live at once: opening, warm and lent. Those being closed may come on top of it up to
    /// [`PoolSpec::closing_margin`]. A slot that takes its next sandbox before it gives the last one back needs two.
    pub max_sandboxes: usize,
    pub sandboxes_per_host: usize,
    /// Hosts kept even while nobody holds a lease.
    pub min_hosts: usize,
    /// Hosts at once. While one is recycled, its replacement may run beside it: one more, and one for each of the few that wait
    /// long for their last sandboxes.
    pub max_hosts: usize,
    /// Sandboxes to keep ready. Grows with the rate of takes, up to four times this; 0 opens only on demand.
    pub warm: usize,
    /// Opens in flight at once; each also passes [`crate::Gate::load`].
    pub open_concurrency: usize,
    /// Closes in flight at once.
    pub close_concurrency: usize,
    /// A host that opened so many sandboxes is replaced.
    pub recycle_after_served: u64,
    /// A host of that age is replaced.
    pub recycle_after: Duration,
    /// A host that was measured above this is replaced.
    pub recycle_above_bytes: u64,
    /// What an empty host is charged before it was measured.
    pub expected_host_bytes: u64,
    /// What a sandbox is charged before its host was measured again.
    pub expected_sandbox_bytes: u64,
    /// For connecting to a host, and for opening one sandbox.
    pub open_timeout: Duration,
    /// For closing one sandbox.
    pub close_timeout: Duration,
    /// Between two measurements of the same host.
    pub usage_interval: Duration,
}

impl PoolSpec {
    /// How many sandboxes may live beyond a `limit` because slow closes still hold them. None where the limit is one:
    /// such a host (a device) cannot carry the next sandbox before it is rid of the last.
    pub fn closing_margin(limit: usize) -> usize {
        if limit <= 1 { 0 } else { limit.div_ceil(8) }
    }
}

impl Default for PoolSpec {
    fn default() -> Self {
        Self {
            environment: String::new(),
            max_sandboxes: 64,
            sandboxes_per_host: 32,
            min_hosts: 1,
            max_hosts: 4,
            warm: 4,
            open_concurrency: 4,
            close_concurrency: 4,
            recycle_after_served: 2_000,
            recycle_after: Duration::from_secs(3600),
            recycle_above_bytes: 2 << 30,
            expected_host_bytes: 128 << 20,
            expected_sandbox_bytes: 24 << 20,
            open_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(5),
            usage_interval: Duration::from_secs(10),
        }
    }
}
