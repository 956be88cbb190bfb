//! What a pool tells Prometheus. Labels are the environment and fixed words, never an id.

use std::time::Duration;

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::jobs::JobError;
use crate::plan::Phase;

/// Handles of one pool's metrics, resolved once.
pub(crate) struct Metrics {
    hosts: [(Option<Phase>, Gauge); 4],
    pub(crate) warm: Gauge,
    pub(crate) busy: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) memory: Gauge,
    pub(crate) takes_warm: Counter,
    pub(crate) takes_miss: Counter,
    take_wait: Histogram,
    pub(crate) launches: Outcomes,
    pub(crate) opens: Outcomes,
    pub(crate) closes: Outcomes,
    pub(crate) host_deaths: Counter,
}

/// One counter for each way in which a job ends.
pub(crate) struct Outcomes {
    ok: Counter,
    failed: Counter,
    timed_out: Counter,
    panicked: Counter,
}

impl Outcomes {
    fn new(name: &'static str, environment: &str) -> Self {
        let of = |outcome: &'static str| counter!(name, "environment" => environment.to_owned(), "outcome" => outcome);
        Self { ok: of("ok"), failed: of("failed"), timed_out: of("timeout"), panicked: of("panic") }
    }

    pub(crate) fn count<T>(&self, result: &Result<T, JobError>) {
        match result {
            Ok(_) => &self.ok,
            Err(JobError::Failed(_)) => &self.failed,
            Err(JobError::TimedOut { .. }) => &self.timed_out,
            Err(JobError::Panicked) => &self.panicked,
        }
        .increment(1);
    }
}

impl Metrics {
    pub(crate) fn new(environment: &str) -> Self {
        let env = || environment.to_owned();
        let hosts = |state: &'static str| gauge!("envfarm_pool_hosts", "environment" => env(), "state" => state);
        let takes = |source: &'static str| counter!("envfarm_pool_takes_total", "environment" => env(), "source" => source);
        Self {
            hosts: [
                (None, hosts("launching")),
                (Some(Phase::Ready), hosts("ready")),
                (Some(Phase::Retiring), hosts("retiring")),
                (Some(Phase::Gone), hosts("gone")),
            ],
            warm: gauge!("envfarm_pool_warm_sandboxes", "environment" => env()),
            busy: gauge!("envfarm_pool_busy_sandboxes", "environment" => env()),
            waiting: gauge!("envfarm_pool_waiting_takes", "environment" => env()),
            memory: gauge!("envfarm_pool_memory_bytes", "environment" => env()),
            takes_warm: takes("warm"),
            takes_miss: takes("miss"),
            take_wait: histogram!("envfarm_pool_take_wait_seconds", "environment" => env()),
            launches: Outcomes::new("envfarm_pool_launches_total", environment),
            opens: Outcomes::new("envfarm_pool_opens_total", environment),
            closes: Outcomes::new("envfarm_pool_closes_total", environment),
            host_deaths: counter!("envfarm_pool_host_deaths_total", "environment" => env()),
        }
    }

    pub(crate) fn took(&self, waited: Duration) {
        self.take_wait.record(waited.as_secs_f64());
    }

    /// Sets the gauge of a phase; `None` is launching.
    pub(crate) fn hosts(&self, phase: Option<Phase>, count: usize) {
        if let Some((_, gauge)) = self.hosts.iter().find(|(of, _)| *of == phase) {
            gauge.set(count as f64);
        }
    }
}
