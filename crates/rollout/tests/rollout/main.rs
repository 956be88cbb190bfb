//! What slots, sessions and the farm promise to a client, held against a world that breaks on demand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod admission;
mod drain;
mod episodes;
mod faults;
mod leases;
mod null;
mod prepare;
mod room;
mod sessions;
mod snapshots;
mod support;
