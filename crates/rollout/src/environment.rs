//! One environment of the farm: the parts that make it, and the counts that its slots keep.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use envfarm_core::{Failure, FailureCode, ObservationSpec, ResetMode, SnapshotLevel, Suite, TaskInfo};
use envfarm_pool::{Gate, Pool};

use crate::metrics::EnvironmentMetrics;

/// A named recipe: backend, suite and provider behind a pool, with limits. Built by the program's wiring, one for each
/// environment of the configuration.
pub struct Environment {
    pub name: String,
    /// Names for listings: `"chromium"`, `"miniwob"`, `"process"`.
    pub backend: String,
    pub suite_name: String,
    pub provider: String,
    pub suite: Arc<dyn Suite>,
    pub pool: Arc<Pool>,
    /// Sized to the cores; may be shared between environments.
    pub gate: Gate,
    /// Slots that all leases together may hold.
    pub max_slots: u32,
    /// Of resets that do not say.
    pub default_mode: ResetMode,
    /// Of episodes where neither reset nor task says.
    pub time_limit: Option<Duration>,
    /// Every observation that a session may ask for.
    pub observations: Vec<ObservationSpec>,
    pub snapshot_levels: Vec<SnapshotLevel>,
    /// CSS pixels.
    pub viewport: (u32, u32),
}

impl Environment {
    /// Whether every kind is offered in that encoding; else the failure that names the first that is not.
    pub(crate) fn check_observations(&self, specs: &[ObservationSpec]) -> Result<(), Failure> {
        let offered = |spec: &ObservationSpec| self.observations.iter().any(|o| (o.kind, o.encoding) == (spec.kind, spec.encoding));
        match specs.iter().position(|spec| !offered(spec)) {
            None => Ok(()),
            Some(index) => {
                let ObservationSpec { kind, encoding, .. } = specs[index];
                let reason = format!("environment {} has no observation {kind:?} as {encoding:?}", self.name);
                Err(Failure::field(FailureCode::InvalidArgument, format!("observations.specs[{index}]"), reason))
            }
        }
    }
}

/// An environment at work.
pub(crate) struct Env {
    pub spec: Environment,
    pub metrics: EnvironmentMetrics,
    tasks: HashMap<String, usize>,
}

impl Env {
    pub fn new(spec: Environment) -> Self {
        let tasks = spec.suite.tasks().iter().enumerate().map(|(index, task)| (task.id.clone(), index)).collect();
        Self { metrics: EnvironmentMetrics::new(&spec.name), tasks, spec }
    }

    pub fn task(&self, id: &str) -> Option<&TaskInfo> {
        self.tasks.get(id).map(|index| &self.spec.suite.tasks()[*index])
    }
}
