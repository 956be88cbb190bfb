//! The `null` environment: a provider, a backend and a suite that do nothing, at once.
//!
//! With it the way of a command through the farm can be tested and loaded without a browser. Its sandboxes count the
//! actions they get, and show the goal and the last action's error as text.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use envfarm_core::action::Ending;
use envfarm_core::{
    Action, ActionResult, Backend, BackendError, Capabilities, Encoding, Endpoints, Goal, Host, HostId, HostSpec, Observation,
    ObservationKind, ObservationRequest, ObservationSpec, ObservedHost, Provider, ProviderError, ResetMode, Sandbox, SandboxSpec, Score,
    SnapshotLevel, Suite, SuiteError, TaskInfo, TaskRef, Usage,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Never ends by itself.
pub const NOOP: &str = "noop";
/// Ends after ten actions with reward 1.
pub const TEN_STEPS: &str = "ten-steps";

/// Launches nothing; every host is ready at once and uses no memory.
#[derive(Debug, Default)]
pub struct NullProvider;

#[async_trait]
impl Provider for NullProvider {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn launch(&self, _id: &HostId, _spec: &HostSpec, _cancel: &CancellationToken) -> Result<Endpoints, ProviderError> {
        Ok(Endpoints::default())
    }

    async fn usage(&self, _id: &HostId) -> Result<Usage, ProviderError> {
        Ok(Usage::default())
    }

    async fn destroy(&self, _id: &HostId) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn list_owned(&self) -> Result<Vec<ObservedHost>, ProviderError> {
        Ok(Vec::new())
    }
}

/// Connects to nothing.
#[derive(Debug, Default)]
pub struct NullBackend;

#[async_trait]
impl Backend for NullBackend {
    fn host_spec(&self, environment: &str) -> HostSpec {
        let launch_timeout = Duration::from_secs(1);
        HostSpec { environment: environment.to_owned(), program: "null".into(), launch_timeout, ..HostSpec::default() }
    }

    async fn connect(&self, _endpoints: &Endpoints, _cancel: &CancellationToken) -> Result<Arc<dyn Host>, BackendError> {
        Ok(Arc::new(NullHost::default()))
    }

    fn observations(&self) -> Vec<ObservationSpec> {
        [ObservationKind::Goal, ObservationKind::LastActionError].into_iter().filter_map(|kind| ObservationSpec::new(kind, None)).collect()
    }

    fn snapshot_levels(&self) -> &'static [SnapshotLevel] {
        &[SnapshotLevel::Storage, SnapshotLevel::Replay]
    }
}

/// Lives until it is dropped.
#[derive(Debug, Default)]
pub struct NullHost {
    closed: CancellationToken,
}

#[async_trait]
impl Host for NullHost {
    async fn open(&self, _spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, BackendError> {
        Ok(Box::new(NullSandbox::default()))
    }

    fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }
}

/// Counts actions; the count is its whole state, its fingerprint and what it saves.
#[derive(Debug, Default)]
pub struct NullSandbox {
    actions: u64,
}

#[async_trait]
impl Sandbox for NullSandbox {
    async fn act(&mut self, action: &Action) -> Result<ActionResult, BackendError> {
        self.actions += 1;
        let mut result = ActionResult::ok();
        match action {
            Action::Answer { text } => result.answer = Some(text.clone()),
            Action::Finish { answer } => result.ending = Some(Ending::Finished(answer.clone())),
            Action::Infeasible { reason } => result.ending = Some(Ending::Infeasible(reason.clone())),
            _ => {}
        }
        Ok(result)
    }

    async fn observe(&mut self, want: &ObservationRequest) -> Result<Vec<Observation>, BackendError> {
        let captured_unix_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        let one = |spec: &ObservationSpec| {
            let data = match spec.kind {
                ObservationKind::Goal => Ok(Bytes::copy_from_slice(want.context.goal.as_bytes())),
                ObservationKind::LastActionError => Ok(Bytes::copy_from_slice(want.context.last_action_error.as_bytes())),
                other => Err(format!("the null environment has no {other:?}")),
            };
            Observation { kind: spec.kind, encoding: Encoding::Text, data, captured_unix_us }
        };
        Ok(want.specs.iter().map(one).collect())
    }

    async fn save_state(&mut self) -> Result<Bytes, BackendError> {
        Ok(Bytes::copy_from_slice(&self.actions.to_le_bytes()))
    }

    async fn restore_state(&mut self, state: &[u8]) -> Result<(), BackendError> {
        let state = state.try_into().map_err(|_| BackendError::Protocol(format!("a null state has 8 bytes, not {}", state.len())))?;
        self.actions = u64::from_le_bytes(state);
        Ok(())
    }

    async fn fingerprint(&mut self) -> Result<String, BackendError> {
        Ok(format!("{:016x}", self.actions))
    }

    async fn residue(&mut self) -> Result<Vec<String>, BackendError> {
        Ok(Vec::new())
    }

    async fn close(self: Box<Self>) {}
}

/// Two tasks: [`NOOP`] and [`TEN_STEPS`].
#[derive(Debug)]
pub struct NullSuite {
    tasks: Vec<TaskInfo>,
}

impl Default for NullSuite {
    fn default() -> Self {
        let task = |id: &str, description: &str| TaskInfo {
            id: id.to_owned(),
            description: description.to_owned(),
            step_limit: None,
            time_limit: None,
        };
        Self { tasks: vec![task(NOOP, "Never ends by itself."), task(TEN_STEPS, "Ends after ten actions with reward 1.")] }
    }
}

#[async_trait]
impl Suite for NullSuite {
    fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    fn sandbox_spec(&self) -> SandboxSpec {
        SandboxSpec::default()
    }

    async fn set_up(&self, _sandbox: &mut dyn Sandbox, task: &TaskRef, _mode: ResetMode) -> Result<Goal, SuiteError> {
        match self.tasks.iter().find(|info| info.id == task.id) {
            Some(info) => Ok(Goal { text: info.description.clone() }),
            None => Err(SuiteError::UnknownTask(task.id.clone())),
        }
    }

    async fn score(&self, sandbox: &mut dyn Sandbox, task: &TaskRef, _last: &ActionResult) -> Result<Score, SuiteError> {
        if task.id != TEN_STEPS {
            return Ok(Score::default());
        }
        let count = sandbox.fingerprint().await?;
        let done = u64::from_str_radix(&count, 16).is_ok_and(|actions| actions >= 10);
        let reward = if done { 1.0 } else { 0.0 };
        Ok(Score { reward, raw_reward: reward, done })
    }
}
