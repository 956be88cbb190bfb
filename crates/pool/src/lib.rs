//! Warm sandboxes ahead of demand.
//!
//! A [`Pool`] keeps the hosts of one environment: it launches them under a memory budget shared by all pools, opens
//! sandboxes before they are asked for, recycles hosts by age, service and measured memory, and replaces those that die.
//! What to do is decided by the pure [`plan::plan`]; one owner task carries it out. [`lease`] counts who may hold how many
//! slots; it knows nothing of pools.

mod budget;
mod gate;
mod jobs;
pub mod lease;
mod lent;
mod metrics;
mod owner;
pub mod plan;
mod pool;
mod seen;
mod spec;
mod table;
#[cfg(test)]
mod tests;
mod wishes;

pub use budget::MemoryBudget;
pub use gate::{Foreground, Gate, GatePermit};
pub use lease::{Lease, LeaseError, LeaseId, LeaseLimits, LeaseTable};
pub use lent::{Lent, Spare};
pub use pool::{HostState, HostView, Pool, PoolView, TakeError};
pub use spec::PoolSpec;
