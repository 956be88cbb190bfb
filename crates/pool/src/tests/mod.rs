//! What must hold for the pool, its plan and its leases, against a mock world and a paused clock.

mod faults;
mod leases;
mod mock;
mod plan;
mod recycling;
mod spare;
mod taking;
