//! Warm sandboxes ahead of demand.
//!
//! A [`Pool`] keeps the hosts of one environment: it launches them under a memory budget shared by all pools, opens
//! sandboxes before they are asked for, recycles hosts by age, service and measured memory, and replaces those that die.
//! What to do is decided by the pure [`plan::plan`]; one owner task carries it out.
