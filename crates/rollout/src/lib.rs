//! Sessions, slot actors, admission and outcomes: from a client's commands to episodes in sandboxes.
//!
//! A [`Farm`] leases slots of its environments. A client attaches to its lease with a [`Session`] and its [`Outcomes`];
//! each slot is one task that owns its episode and runs one command at a time. Nothing here knows of protobuf, hosts or
//! pages: it sees suites, sandboxes and pools through core's traits.

pub mod admission;
mod environment;
mod episode;
mod farm;
mod lease;
mod metrics;
mod outlet;
mod reset;
mod session;
mod slot;
mod snapshots;
mod unread;
mod work;

pub use envfarm_pool::{LeaseError, LeaseId};
pub use environment::Environment;
pub use farm::{AcquireError, AttachError, EnvironmentStatus, Farm, FarmOptions, FarmStatus};
pub use lease::LeaseInfo;
pub use metrics::EnvironmentTotals;
pub use session::{Outcomes, Session, SessionEnd};
pub use snapshots::{SnapshotStore, Stored};
pub use unread::Unread;
