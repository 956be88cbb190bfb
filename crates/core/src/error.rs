//! Errors of the three seams, by what their callers decide on.

use std::time::Duration;

use thiserror::Error;

/// A provider could not run or end a host.
#[derive(Clone, Debug, Error)]
pub enum ProviderError {
    /// Something that the provider needs is not installed; the text names it and what mends it.
    #[error("{0}")]
    Missing(String),
    #[error("launch host: {0}")]
    Launch(String),
    #[error("host did not become ready within {0:?}")]
    NotReady(Duration),
    #[error("no such host: {0}")]
    UnknownHost(String),
    #[error("cancelled")]
    Cancelled,
    #[error("{0}")]
    Io(String),
}

/// A backend could not do its part. Everything here is the farm's fault, not the agent's.
#[derive(Clone, Debug, Error)]
pub enum BackendError {
    /// The host is gone: every sandbox on it is lost.
    #[error("host lost: {0}")]
    HostLost(String),
    /// Only this sandbox is gone (its renderer crashed, its last page vanished).
    #[error("sandbox lost: {0}")]
    SandboxLost(String),
    #[error("{what} took longer than {limit:?}")]
    Timeout { what: &'static str, limit: Duration },
    #[error("unsupported: {0}")]
    Unsupported(&'static str),
    /// Replayed, and the page is not the one that was recorded.
    #[error("snapshot diverged: {0}")]
    Diverged(String),
    #[error("cancelled")]
    Cancelled,
    /// The peer said something that the protocol does not allow, or refused a command that must work.
    #[error("protocol: {0}")]
    Protocol(String),
}

/// A suite could not set a task up or score it.
#[derive(Clone, Debug, Error)]
pub enum SuiteError {
    #[error("no such task: {0}")]
    UnknownTask(String),
    #[error("set up {task}: {reason}")]
    SetUp { task: String, reason: String },
    #[error("score {task}: {reason}")]
    Score { task: String, reason: String },
    #[error(transparent)]
    Backend(#[from] BackendError),
}
