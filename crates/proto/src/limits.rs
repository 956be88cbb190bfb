//! Numbers that client and server must agree on.

use std::time::Duration;

/// Largest message in either direction, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;

/// HTTP/2 flow-control windows, in bytes. The default of 64 KiB would stall on every picture.
pub const STREAM_WINDOW_BYTES: u32 = 16 << 20;
pub const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// How often a connection is probed, and how long the answer may take before the peer counts as gone.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
