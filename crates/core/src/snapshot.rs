//! Saved state of a slot, from which any slot of its environment can start.

use serde::{Deserialize, Serialize};

use crate::action::Action;

/// How exact a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotLevel {
    /// Cookies, local and session storage, IndexedDB where it can be had, open tabs with url and scroll position.
    Storage,
    /// Task, seed and recorded actions; played again, then the page's fingerprint is compared.
    Replay,
}

/// An action as it was sent and as it was understood: replay needs the second, observations repeat the first.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedAction {
    pub text: String,
    pub action: Action,
}

/// State of one slot. The backend's part is opaque to everything above the backend.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub level: SnapshotLevel,
    pub task_id: String,
    pub seed: u64,
    /// Actions since the reset, in order; `None` where they were too many to be recorded, which only a replay minds.
    pub actions: Option<Vec<RecordedAction>>,
    /// Fingerprint of the page (hex) when the snapshot was made; compared after a replay.
    pub fingerprint: String,
    /// The backend's state, for [`SnapshotLevel::Storage`].
    pub state: bytes::Bytes,
}
