//! The farm's snapshots: bounded in count and bytes, in memory, shared by all slots of an environment.
//!
//! A full store refuses: a trainer that forks rollouts must never find that a snapshot it holds the id of was dropped
//! behind its back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use envfarm_core::command::SnapshotInfo;
use envfarm_core::observation::EpisodeContext;
use envfarm_core::{Failure, FailureCode, Snapshot, SnapshotId};

/// One stored snapshot: what is told of it, and what a reset needs.
#[derive(Debug)]
pub struct Stored {
    pub info: SnapshotInfo,
    pub snapshot: Snapshot,
    /// What the episode had told its agent so far; observations of a fork repeat it.
    pub context: EpisodeContext,
    /// Limits of the episode, which a fork has too unless its reset sets others.
    pub step_limit: Option<u32>,
    pub time_limit: Option<Duration>,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<SnapshotId, Arc<Stored>>,
    bytes: u64,
}

/// Snapshots by id, under a bound on their count and on the sum of their sizes.
#[derive(Debug)]
pub struct SnapshotStore {
    inner: Mutex<Inner>,
    max_count: usize,
    max_bytes: u64,
}

impl SnapshotStore {
    pub fn new(max_count: usize, max_bytes: u64) -> Self {
        Self { inner: Mutex::default(), max_count, max_bytes }
    }

    /// Keeps a snapshot, or says which bound refuses it ([`FailureCode::NoCapacity`]).
    pub fn insert(&self, stored: Stored) -> Result<(), Failure> {
        let mut inner = self.lock();
        if inner.by_id.len() >= self.max_count {
            let reason = format!("the farm keeps at most {} snapshots; delete some", self.max_count);
            return Err(Failure::new(FailureCode::NoCapacity, reason));
        }
        let size = stored.info.size_bytes;
        if inner.bytes.saturating_add(size) > self.max_bytes {
            let reason = format!(
                "the snapshot has {size} bytes and the farm has {} left of {} for snapshots; delete some",
                self.max_bytes - inner.bytes,
                self.max_bytes
            );
            return Err(Failure::new(FailureCode::NoCapacity, reason));
        }
        inner.bytes += size;
        inner.by_id.insert(stored.info.id.clone(), Arc::new(stored));
        Ok(())
    }

    pub fn get(&self, id: &SnapshotId) -> Option<Arc<Stored>> {
        self.lock().by_id.get(id).cloned()
    }

    /// Of one environment or of all, oldest first.
    pub fn list(&self, environment: Option<&str>) -> Vec<SnapshotInfo> {
        let wanted = |stored: &&Arc<Stored>| environment.is_none_or(|name| stored.info.environment == name);
        let mut found: Vec<_> = self.lock().by_id.values().filter(wanted).map(|stored| stored.info.clone()).collect();
        found.sort_by(|a, b| (a.created_unix_ms, &a.id.0).cmp(&(b.created_unix_ms, &b.id.0)));
        found
    }

    /// Whether there was such a snapshot. Resets that read it already are not disturbed.
    pub fn delete(&self, id: &SnapshotId) -> bool {
        let mut inner = self.lock();
        let Some(stored) = inner.by_id.remove(id) else { return false };
        inner.bytes -= stored.info.size_bytes;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code panics between two writes under this lock, so a poisoned one is still consistent.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
