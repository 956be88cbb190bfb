//! The DevTools protocol's edge: one WebSocket to a browser, many sessions over it.
//!
//! chromiumoxide's generated types name the commands; connection, routing and flow control are our own, since one browser
//! carries dozens of sandboxes and a step is a handful of calls whose latency adds up. Events are not queued: each session's
//! [`EventSink`] updates its state as they arrive, so a page that floods its session with events grows no queue.

mod connection;
mod session;

pub use connection::{Connection, EventSink};
pub use session::Session;

use std::time::Duration;

use envfarm_core::BackendError;
use thiserror::Error;

#[derive(Clone, Debug, Error)]
pub enum CdpError {
    /// The WebSocket is gone, and with it every sandbox of the browser.
    #[error("connection to the browser lost: {0}")]
    Closed(String),
    #[error("{method} got no answer within {limit:?}")]
    Timeout { method: &'static str, limit: Duration },
    /// The browser refused the command.
    #[error("{method}: {message}")]
    Refused { method: &'static str, message: String },
    #[error("{method}: unexpected answer: {reason}")]
    Malformed { method: &'static str, reason: String },
}

impl CdpError {
    /// Whether the document, frame or script context that the call was about went away: a navigation is under way, and the
    /// same call against the new document may well succeed.
    pub fn is_gone(&self) -> bool {
        let Self::Refused { message, .. } = self else { return false };
        const SIGNS: [&str; 9] = [
            "Cannot find context",
            "context was destroyed",
            "context with specified id",
            "navigated or closed",
            "No frame for given id",
            "Frame with the given",
            "Could not find node",
            "No node with given id",
            "uniqueContextId not found",
        ];
        SIGNS.iter().any(|sign| message.contains(sign))
    }

    /// Whether the target itself is gone: its session no longer exists.
    pub fn is_target_gone(&self) -> bool {
        let Self::Refused { message, .. } = self else { return false };
        ["Session with given id not found", "No target with given id", "Target crashed", "Target closed", "Not attached"]
            .iter()
            .any(|sign| message.contains(sign))
    }
}

impl From<CdpError> for BackendError {
    fn from(error: CdpError) -> Self {
        match error {
            CdpError::Closed(why) => Self::HostLost(why),
            CdpError::Timeout { method, limit } => Self::Timeout { what: method, limit },
            _ if error.is_target_gone() => Self::SandboxLost(error.to_string()),
            _ => Self::Protocol(error.to_string()),
        }
    }
}
