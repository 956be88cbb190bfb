//! The unary calls: leases, listings, snapshots and status, from the farm's words into the API's.

use std::time::Duration;

use envfarm_core::{Dialect, SnapshotId};
use envfarm_proto::convert::{MAX_ID_BYTES, Twin};
use envfarm_proto::v1;
use envfarm_rollout::{AcquireError, Environment, EnvironmentStatus, Farm, LeaseError, LeaseId, LeaseInfo};
use tonic::Status;

/// Tasks in a page: as many as a client may ask for, and what it gets if it does not say.
const MAX_PAGE: usize = 1000;
const DEFAULT_PAGE: usize = 200;

pub(crate) fn environments(farm: &Farm) -> v1::ListEnvironmentsResponse {
    v1::ListEnvironmentsResponse { environments: farm.environments().map(environment).collect() }
}

fn environment(environment: &Environment) -> v1::Environment {
    v1::Environment {
        name: environment.name.clone(),
        backend: environment.backend.clone(),
        suite: environment.suite_name.clone(),
        provider: environment.provider.clone(),
        max_slots: environment.max_slots,
        task_count: environment.suite.tasks().len() as u32,
        observations: environment.observations.iter().map(|spec| (*spec).into()).collect(),
        dialects: Dialect::ALL.map(Twin::to_wire).to_vec(),
        snapshot_levels: environment.snapshot_levels.iter().map(|level| level.to_wire()).collect(),
        in_place_reset: environment.suite.resets_in_place(),
        viewport_width: environment.viewport.0,
        viewport_height: environment.viewport.1,
    }
}

/// A page token is the index of the page's first task: the list never changes while the farm runs.
pub(crate) fn tasks(farm: &Farm, request: &v1::ListTasksRequest) -> Result<v1::ListTasksResponse, Status> {
    let tasks = farm.tasks(&request.environment).ok_or_else(|| Status::not_found("no such environment"))?;
    let start = match request.page_token.as_str() {
        "" => 0,
        token => token.parse().ok().filter(|at| *at < tasks.len()).ok_or_else(|| invalid("page_token", "not of this list"))?,
    };
    let size = if request.page_size == 0 { DEFAULT_PAGE } else { MAX_PAGE.min(request.page_size as usize) };
    let end = tasks.len().min(start + size);
    Ok(v1::ListTasksResponse {
        tasks: tasks[start..end].iter().map(Into::into).collect(),
        next_page_token: if end < tasks.len() { end.to_string() } else { String::new() },
    })
}

pub(crate) fn acquire(farm: &Farm, request: &v1::AcquireRequest) -> Result<v1::AcquireResponse, Status> {
    let granted = farm.acquire(&request.client_token, &request.environment, request.slots, ttl(request.ttl_ms));
    let granted = granted.map_err(|error| match &error {
        AcquireError::Lease(error) => refusal(error),
        AcquireError::ShuttingDown => Status::unavailable(error.to_string()),
    })?;
    Ok(v1::AcquireResponse { lease: Some(lease(&granted)) })
}

pub(crate) fn renew(farm: &Farm, request: v1::RenewRequest) -> Result<v1::RenewResponse, Status> {
    let renewed = farm.renew(&LeaseId(request.lease_id), ttl(request.ttl_ms)).map_err(|error| refusal(&error))?;
    Ok(v1::RenewResponse { lease: Some(lease(&renewed)) })
}

pub(crate) fn snapshots(farm: &Farm, request: &v1::ListSnapshotsRequest) -> v1::ListSnapshotsResponse {
    let environment = Some(request.environment.as_str()).filter(|name| !name.is_empty());
    v1::ListSnapshotsResponse { snapshots: farm.snapshots(environment).iter().map(Into::into).collect() }
}

pub(crate) fn delete_snapshot(farm: &Farm, request: v1::DeleteSnapshotRequest) -> Result<v1::DeleteSnapshotResponse, Status> {
    if request.snapshot_id.is_empty() || request.snapshot_id.len() > MAX_ID_BYTES {
        return Err(invalid("snapshot_id", "must have 1 to 256 bytes"));
    }
    farm.delete_snapshot(&SnapshotId(request.snapshot_id));
    Ok(v1::DeleteSnapshotResponse {})
}

pub(crate) fn status(farm: &Farm, memory_budget_bytes: u64) -> v1::GetStatusResponse {
    let status = farm.status();
    let pools: Vec<_> = status.environments.iter().map(pool).collect();
    v1::GetStatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: status.uptime.as_millis() as u64,
        draining: status.draining,
        memory_bytes: pools.iter().flat_map(|pool| &pool.hosts).map(|host| host.memory_bytes).sum(),
        pools,
        leases: status.leases as u32,
        memory_budget_bytes,
    }
}

fn pool(status: &EnvironmentStatus) -> v1::PoolStatus {
    let hosts = status.pool.hosts.iter().map(|host| v1::HostStatus {
        id: host.id.to_string(),
        state: host.state.label().to_owned(),
        sandboxes: host.sandboxes as u32,
        served: host.served,
        memory_bytes: host.bytes,
        age_ms: host.age.as_millis() as u64,
        pid: host.pid.unwrap_or(0),
    });
    v1::PoolStatus {
        environment: status.name.clone(),
        hosts: hosts.collect(),
        warm: status.pool.warm as u32,
        busy: status.pool.busy as u32,
        leased_slots: status.leased_slots,
        episodes: status.totals.episodes,
        steps: status.totals.steps,
        failures: status.totals.failures,
        waiting: status.pool.waiting as u32,
        trouble: status.pool.trouble.clone().unwrap_or_default(),
    }
}

pub(crate) fn lease(lease: &LeaseInfo) -> v1::Lease {
    v1::Lease {
        id: lease.id.to_string(),
        environment: lease.environment.clone(),
        slots: lease.slots,
        expires_in_ms: lease.expires_in.as_millis() as u64,
    }
}

fn ttl(ms: u32) -> Option<Duration> {
    (ms != 0).then(|| Duration::from_millis(ms.into()))
}

fn invalid(field: &str, reason: &str) -> Status {
    Status::invalid_argument(format!("{field}: {reason}"))
}

fn refusal(error: &LeaseError) -> Status {
    let reason = error.to_string();
    match error {
        LeaseError::Token(_) | LeaseError::Slots { .. } | LeaseError::Ttl { .. } => invalid(error.field().unwrap_or_default(), &reason),
        LeaseError::TokenTaken { .. } => Status::already_exists(reason),
        LeaseError::UnknownEnvironment(_) | LeaseError::UnknownLease => Status::not_found(reason),
        LeaseError::NoCapacity { .. } | LeaseError::TooManyLeases(_) => Status::resource_exhausted(reason),
        LeaseError::Randomness(_) => Status::internal(reason),
    }
}
