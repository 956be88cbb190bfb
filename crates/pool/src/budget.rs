//! The memory that all pools share. Each host holds a [`Charge`]: what it was measured at plus what is expected of it since.
//!
//! Admission is checked and taken in one go, so two pools cannot both get the last free bytes. When measurements push the
//! sum over the total, the budget names the one host that should go; its pool retires it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that all hosts of all pools may use together.
#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    next: u64,
    used: u64,
    charges: BTreeMap<u64, (u64, Standing)>,
}

/// Whether a host can be asked to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Not ready yet: cannot be retired.
    Launching,
    /// On its way out: its bytes are as good as freed.
    Leaving,
    /// On its way out for long: nobody knows when its bytes are freed.
    Lingering,
    /// Serves episodes: asked to go only if no idle host can.
    Busy,
    Idle,
}

impl MemoryBudget {
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { total: bytes, ledger: Mutex::default() })
    }

    /// Bytes charged now: measured, plus expected of what was not measured yet.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that can still be charged.
    pub fn free(&self) -> u64 {
        self.total.saturating_sub(self.used())
    }

    /// Charges a host that is about to be launched, if it fits.
    pub(crate) fn admit(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let mut ledger = self.lock();
        if bytes > 0 && ledger.used.saturating_add(bytes) > self.total {
            return None;
        }
        let key = ledger.next;
        ledger.next += 1;
        ledger.used += bytes;
        ledger.charges.insert(key, (bytes, Standing::Launching));
        Some(Charge { budget: Arc::clone(self), key, bytes, standing: Standing::Launching })
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn put(&mut self, key: u64, bytes: u64, standing: Standing) {
        let before = self.charges.insert(key, (bytes, standing)).map_or(0, |(bytes, _)| bytes);
        self.used = self.used - before + bytes;
    }

    /// The largest idle host, else the largest busy one, if what stays is more than `total`.
    fn must_go(&self, total: u64) -> Option<u64> {
        if self.used <= total {
            return None;
        }
        let leaving: u64 = self.charges.values().filter(|(_, s)| *s == Standing::Leaving).map(|(bytes, _)| bytes).sum();
        if self.used - leaving <= total {
            return None;
        }
        let retirable = self.charges.iter().filter(|(_, (bytes, s))| *s >= Standing::Busy && *bytes > 0);
        retirable.max_by_key(|(_, (bytes, standing))| (*standing, *bytes)).map(|(key, _)| *key)
    }
}

/// One host's part of the budget, given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<MemoryBudget>,
    key: u64,
    bytes: u64,
    standing: Standing,
}

impl Charge {
    /// Sets what the host uses, whether it fits or not: for measurements.
    pub(crate) fn set(&mut self, bytes: u64, standing: Standing) {
        if (bytes, standing) != (self.bytes, self.standing) {
            self.budget.lock().put(self.key, bytes, standing);
            (self.bytes, self.standing) = (bytes, standing);
        }
    }

    /// Charges `bytes` more if they fit.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        if bytes > 0 {
            let mut ledger = self.budget.lock();
            if ledger.used.saturating_add(bytes) > self.budget.total {
                return false;
            }
            self.bytes += bytes;
            ledger.put(self.key, self.bytes, self.standing);
        }
        true
    }

    /// Whether the budget is overdrawn and this is the host to retire for it.
    pub(crate) fn must_go(&self) -> bool {
        self.budget.lock().must_go(self.budget.total) == Some(self.key)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut ledger = self.budget.lock();
        if let Some((bytes, _)) = ledger.charges.remove(&self.key) {
            ledger.used -= bytes;
        }
    }
}
