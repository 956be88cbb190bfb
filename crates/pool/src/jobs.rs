//! The awaits on the outside world, each with a deadline and a net for panics: launch, open, close, measure, destroy.
//!
//! A job decides nothing. It ends in a [`Done`] that the owner task reads; a job that hangs or panics ends as well.

use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use envfarm_core::{Backend, BackendError, Endpoints, Host, HostId, HostSpec, Provider, ProviderError, Sandbox, SandboxSpec, Usage};
use futures::FutureExt;
use thiserror::Error;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;
use crate::lent::{Carrier, Placed};

/// For ending one host at its provider.
pub(crate) const DESTROY_TIMEOUT: Duration = Duration::from_secs(10);
/// For one measurement.
const USAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// A provider honours its own launch timeout; this is what it may be late by.
const LAUNCH_GRACE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Error)]
pub(crate) enum JobError {
    #[error("{0}")]
    Failed(String),
    #[error("{what} took longer than {limit:?}")]
    TimedOut { what: &'static str, limit: Duration },
    #[error("the job panicked")]
    Panicked,
}

/// How a job ended.
pub(crate) enum Done {
    Launched { id: HostId, result: Result<(Endpoints, Arc<dyn Host>), JobError> },
    HostClosed { id: HostId },
    Opened { carrier: Arc<Carrier>, spec: Arc<SandboxSpec>, took: Duration, result: Result<Box<dyn Sandbox>, JobError> },
    Closed { id: HostId, result: Result<(), JobError> },
    Measured { id: HostId, result: Result<Usage, JobError> },
    Destroyed { id: HostId, result: Result<(), JobError> },
}

/// The one deadline helper: the future's own error, or that it was late, or that it panicked.
async fn within<T, E: Display>(what: &'static str, limit: Duration, work: impl Future<Output = Result<T, E>>) -> Result<T, JobError> {
    match AssertUnwindSafe(timeout(limit, work)).catch_unwind().await {
        Ok(Ok(result)) => result.map_err(|error| JobError::Failed(error.to_string())),
        Ok(Err(_)) => Err(JobError::TimedOut { what, limit }),
        Err(_) => Err(JobError::Panicked),
    }
}

/// Longest that [`launch`] takes once it passed the gate.
pub(crate) fn launch_limit(spec: &HostSpec, connect_timeout: Duration) -> Duration {
    spec.launch_timeout + LAUNCH_GRACE + connect_timeout
}

pub(crate) async fn launch(
    id: HostId,
    spec: Arc<HostSpec>,
    provider: Arc<dyn Provider>,
    backend: Arc<dyn Backend>,
    connect_timeout: Duration,
    gate: Gate,
    cancel: CancellationToken,
) -> Done {
    let start = async |id: &HostId| {
        let limit = spec.launch_timeout + LAUNCH_GRACE;
        let endpoints = within("launch", limit, provider.launch(id, &spec, &cancel)).await?;
        let host = within("connect", connect_timeout, backend.connect(&endpoints, &cancel)).await?;
        Ok((endpoints, host))
    };
    let result = match cancel.run_until_cancelled(gate.load()).await {
        Some(permit) => permit.cover(start(&id)).await,
        None => Err(JobError::Failed(ProviderError::Cancelled.to_string())),
    };
    Done::Launched { id, result }
}

/// Waits for a host to die; `None` when the pool let it go first.
pub(crate) async fn watch(carrier: Arc<Carrier>) -> Option<Done> {
    let closed = carrier.host.closed();
    tokio::select! {
        () = carrier.gone.cancelled() => None,
        () = closed => Some(Done::HostClosed { id: carrier.id.clone() }),
    }
}

pub(crate) async fn open(carrier: Arc<Carrier>, spec: Arc<SandboxSpec>, limit: Duration, gate: Gate) -> Done {
    let permit = gate.load().await;
    let begun = Instant::now();
    let opened = async {
        tokio::select! {
            biased;
            opened = carrier.host.open(&spec) => opened,
            () = carrier.host.closed() => Err(BackendError::HostLost("it died".into())),
            () = carrier.gone.cancelled() => Err(BackendError::HostLost("it was given up".into())),
        }
    };
    let result = permit.cover(within("open sandbox", limit, opened)).await;
    Done::Opened { carrier, spec, took: begun.elapsed(), result }
}

pub(crate) async fn close(placed: Placed, limit: Duration) -> Done {
    let Placed { carrier, sandbox, .. } = placed;
    let result = tokio::select! {
        biased;
        result = within("close sandbox", limit, async { sandbox.close().await; Ok::<_, ProviderError>(()) }) => result,
        () = carrier.gone.cancelled() => Ok(()),
    };
    Done::Closed { id: carrier.id.clone(), result }
}

pub(crate) async fn measure(id: HostId, provider: Arc<dyn Provider>) -> Done {
    let result = within("measure host", USAGE_TIMEOUT, provider.usage(&id)).await;
    Done::Measured { id, result }
}

pub(crate) async fn destroy(id: HostId, provider: Arc<dyn Provider>) -> Done {
    let gone = async {
        match provider.destroy(&id).await {
            Err(ProviderError::UnknownHost(_)) => Ok(()),
            result => result,
        }
    };
    let result = within("destroy host", DESTROY_TIMEOUT, gone).await;
    Done::Destroyed { id, result }
}
