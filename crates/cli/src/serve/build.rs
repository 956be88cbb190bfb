//! From the configuration to environments that run: the one place where suites, backends, providers and pools meet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use envfarm_chromium::{ChromiumBackend, ChromiumOptions};
use envfarm_core::{Backend, Provider, ResetMode, Suite};
use envfarm_pool::{Gate, MemoryBudget, Pool, PoolSpec};
use envfarm_rollout::{Environment, FarmOptions};
use envfarm_suites::null::{NullBackend, NullProvider};

use crate::browser;
use crate::config::{self, BackendKind, Config, ProviderKind, ResetKind, Span};
use crate::machine;
use crate::suite;

/// What an environment is made of, before anything of it runs.
struct Parts {
    name: String,
    config: config::Environment,
    suite: Arc<dyn Suite>,
    backend: Arc<dyn Backend>,
    provider: Arc<dyn Provider>,
}

/// Starts every environment of `config`, or none: whatever is missing shows before the first host is launched.
pub async fn environments(config: &Config, process: &Arc<dyn Provider>, budget: &Arc<MemoryBudget>) -> anyhow::Result<Vec<Environment>> {
    let cores = machine::cores();
    let gate = Gate::new(config.farm.gates.load.unwrap_or(cores + 1), config.farm.gates.step.unwrap_or(8 * cores));
    let mut parts = Vec::new();
    for (name, environment) in &config.environments {
        parts.push(self::parts(name, environment, process).await.with_context(|| format!("environment {name}"))?);
    }
    Ok(parts.into_iter().map(|parts| start(parts, budget, &gate)).collect())
}

async fn parts(name: &str, config: &config::Environment, process: &Arc<dyn Provider>) -> anyhow::Result<Parts> {
    let (backend, provider): (Arc<dyn Backend>, Arc<dyn Provider>) = match (config.backend, config.provider) {
        // There is nothing to run, wherever.
        (BackendKind::Null, _) => (Arc::new(NullBackend), Arc::new(NullProvider)),
        (BackendKind::Chromium, ProviderKind::Process) => {
            (Arc::new(ChromiumBackend::new(chromium(config.chromium.as_ref())?)), Arc::clone(process))
        }
    };
    Ok(Parts { name: name.to_owned(), suite: suite::build(config).await?, backend, provider, config: config.clone() })
}

/// The backend's options: its own defaults where the configuration is silent.
pub fn chromium(config: Option<&config::Chromium>) -> anyhow::Result<ChromiumOptions> {
    let program = browser::find(config)?
        .into_os_string()
        .into_string()
        .map_err(|program| anyhow::anyhow!("the path of the browser, {}, is not UTF-8", program.display()))?;
    let config::Chromium { args, settle_cap, action_cap, load_cap, launch_timeout, uploads, site_isolation, .. } =
        config.cloned().unwrap_or_default();
    let default = ChromiumOptions::default();
    let or = |span: Option<Span>, default: Duration| span.map_or(default, |span| span.0);
    Ok(ChromiumOptions {
        program,
        extra_args: args,
        settle_cap: or(settle_cap, default.settle_cap),
        action_cap: or(action_cap, default.action_cap),
        load_cap: or(load_cap, default.load_cap),
        launch_timeout: or(launch_timeout, default.launch_timeout),
        uploads,
        site_isolation: site_isolation.unwrap_or(default.site_isolation),
        ..default
    })
}

fn start(parts: Parts, budget: &Arc<MemoryBudget>, gate: &Gate) -> Environment {
    let Parts { name, config, suite, backend, provider } = parts;
    let sandbox = suite.sandbox_spec();
    let viewport = sandbox.viewport;
    let (observations, snapshot_levels) = (backend.observations(), backend.snapshot_levels().to_vec());
    let spec = pool_spec(&name, &config);
    Environment {
        backend: word(&config.backend),
        suite_name: word(&config.suite),
        provider: word(&config.provider),
        pool: Pool::start(spec, provider, backend, sandbox, Arc::clone(budget), gate.clone()),
        suite,
        gate: gate.clone(),
        max_slots: config.max_slots,
        default_mode: match config.reset {
            ResetKind::Fresh => ResetMode::Fresh,
            ResetKind::InPlace => ResetMode::InPlace,
        },
        time_limit: config.time_limit.map(|span| span.0),
        observations,
        snapshot_levels,
        viewport,
        name,
    }
}

fn pool_spec(name: &str, environment: &config::Environment) -> PoolSpec {
    let config::Environment { hosts, warm, .. } = environment;
    let mut spec = PoolSpec {
        environment: name.to_owned(),
        max_sandboxes: hosts.max as usize * hosts.sandboxes as usize,
        sandboxes_per_host: hosts.sandboxes as usize,
        min_hosts: hosts.min as usize,
        max_hosts: hosts.max as usize,
        warm: *warm as usize,
        // One less than the gate lets through, so that a reset that must load a page never waits for warm ones alone.
        open_concurrency: machine::cores(),
        recycle_after_served: hosts.recycle_after_episodes,
        recycle_after: hosts.recycle_after.0,
        recycle_above_bytes: hosts.recycle_above.0,
        ..PoolSpec::default()
    };
    if environment.backend == BackendKind::Null {
        (spec.expected_host_bytes, spec.expected_sandbox_bytes) = (0, 0);
        // Opening and closing cost nothing: the bounds are there for browsers.
        (spec.open_concurrency, spec.close_concurrency) = (64, 64);
    }
    spec
}

/// The word by which the configuration names a kind.
fn word(kind: &impl serde::Serialize) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("kinds are written as words"),
    }
}

pub fn farm_options(config: &config::Farm) -> FarmOptions {
    let config::Farm { leases, snapshots, prepare_timeout, .. } = config;
    FarmOptions {
        max_leases: leases.max_count,
        min_ttl: leases.ttl_min.0,
        default_ttl: leases.ttl_default.0,
        max_ttl: leases.ttl_max.0,
        prepare_timeout: prepare_timeout.0,
        max_snapshots: snapshots.max_count,
        max_snapshot_bytes: snapshots.max_bytes.0,
        ..FarmOptions::default()
    }
}
