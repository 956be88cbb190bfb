//! The public API in Rust: generated types, checked conversions into core's strict types, and a lean client.
//!
//! The types of [`v1`] are what travels; nothing past [`convert`] sees them, except the server's unary calls. The file
//! descriptor set is embedded for gRPC reflection.

pub mod client;
pub mod convert;
pub mod limits;

pub use client::{Client, ClientError, Rollout, RolloutReceiver, RolloutSender};

/// Types and stubs of package `envfarm.v1`, generated at build time.
#[allow(clippy::all, clippy::unwrap_used, missing_docs)]
pub mod v1 {
    tonic::include_proto!("envfarm.v1");
}

/// Descriptor of package `envfarm.v1` with its comments, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envfarm.v1.bin"));
