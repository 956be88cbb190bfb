//! The seams: provider (where hosts run), backend (how to speak to one), suite (what is asked and how it is scored).
//!
//! A provider knows nothing of leases, tasks or CDP; a backend nothing of containers; a suite sees a sandbox only through
//! the capability traits that the sandbox offers ([`WebPage`] today).

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::action::{Action, ActionResult};
use crate::error::{BackendError, ProviderError, SuiteError};
use crate::ids::HostId;
use crate::observation::{Observation, ObservationRequest, ObservationSpec};
use crate::snapshot::SnapshotLevel;
use crate::task::{Goal, Score, TaskInfo, TaskRef};

// ---- Provider ---------------------------------------------------------------------------------------------------

/// What a provider can do with a running host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    pub fork: Fork,
    pub pause: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fork {
    #[default]
    None,
    Disk,
    Memory,
}

/// What to run. The backend writes it; the provider runs it without understanding it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSpec {
    /// Environment whose pool asks, for labels and file names.
    pub environment: String,
    /// Program name or path; a container provider takes it from the image.
    pub program: String,
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Image of a container provider; unused by local processes.
    pub image: Option<String>,
    /// How the provider learns that the host is ready, and where it listens.
    pub ready: Ready,
    pub launch_timeout: Duration,
}

/// `{dir}` in [`HostSpec::args`] stands for the private folder that the provider makes for the host and removes with it.
pub const DIR_PLACEHOLDER: &str = "{dir}";

/// How a host shows that it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ready {
    /// The process runs.
    #[default]
    Started,
    /// A file in the host's folder appears, whose first line is a TCP port and whose second line, if any, a URL path.
    PortFile { name: String },
}

/// Where a host listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// `ws://`, `http://` or `tcp://` addresses by role (`"cdp"`).
    pub urls: BTreeMap<String, String>,
    /// Of a local process.
    pub pid: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Measured: PSS of a process tree, or a cgroup's charge.
    pub memory_bytes: u64,
    pub cpu_seconds: f64,
}

/// A host that a provider found, perhaps of an earlier life of the farm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedHost {
    pub id: HostId,
    pub pid: Option<u32>,
    /// Its farm is dead: nobody else will end it.
    pub orphaned: bool,
}

#[async_trait]
pub trait Provider: Send + Sync {
    fn capabilities(&self) -> Capabilities;
    /// Runs a host and waits until it is ready. On error nothing is left behind.
    async fn launch(&self, id: &HostId, spec: &HostSpec, cancel: &CancellationToken) -> Result<Endpoints, ProviderError>;
    async fn usage(&self, id: &HostId) -> Result<Usage, ProviderError>;
    /// Ends a host and everything of it. Idempotent.
    async fn destroy(&self, id: &HostId) -> Result<(), ProviderError>;
    /// Hosts of this provider's state folder, those of a dead farm included: adopt or collect.
    async fn list_owned(&self) -> Result<Vec<ObservedHost>, ProviderError>;
}

// ---- Backend ----------------------------------------------------------------------------------------------------

#[async_trait]
pub trait Backend: Send + Sync {
    /// What a provider must run to get a host of this backend.
    fn host_spec(&self, environment: &str) -> HostSpec;
    async fn connect(&self, endpoints: &Endpoints, cancel: &CancellationToken) -> Result<std::sync::Arc<dyn Host>, BackendError>;
    /// Observations that a sandbox of this backend can take.
    fn observations(&self) -> Vec<ObservationSpec>;
    fn snapshot_levels(&self) -> &'static [SnapshotLevel];
}

/// What a sandbox is opened for. Empty for a warm one of general use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Viewport in CSS pixels.
    pub viewport: (u32, u32),
    /// Page to wait on until an episode takes the sandbox; a page of the task's origin saves a process swap.
    pub start_url: Option<String>,
}

#[async_trait]
pub trait Host: Send + Sync {
    /// A sandbox that shares no state with any other.
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, BackendError>;
    /// Resolves when the host died or was lost.
    fn closed(&self) -> WaitForCancellationFutureOwned;
}

/// One isolated place. `&mut self` throughout: one command at a time.
#[async_trait]
pub trait Sandbox: Send {
    /// Performs the action and waits for the page to settle. `Err` means the farm broke, not that the action was bad.
    async fn act(&mut self, action: &Action) -> Result<ActionResult, BackendError>;
    /// Waits until what the page goes on doing after an action, as an animation of its scripts, is over; not for long where
    /// it never is. A replay has no agent whose thinking gives it that time.
    async fn rest(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
    /// All observations of one moment; element ids agree across them. In the order of the request.
    async fn observe(&mut self, want: &ObservationRequest) -> Result<Vec<Observation>, BackendError>;
    /// State at [`SnapshotLevel::Storage`], opaque to the caller.
    async fn save_state(&mut self) -> Result<bytes::Bytes, BackendError>;
    /// Puts saved state into this fresh sandbox.
    async fn restore_state(&mut self, state: &[u8]) -> Result<(), BackendError>;
    /// A hash of what the sandbox shows, for [`SnapshotLevel::Replay`]; the same for the same page, whatever the ids.
    async fn fingerprint(&mut self) -> Result<String, BackendError>;
    /// Looks for what an earlier episode could have left: cookies, storage, tabs. Names what was found.
    async fn residue(&mut self) -> Result<Vec<String>, BackendError>;
    /// The web capability, where the sandbox has it.
    fn web(&mut self) -> Option<&mut dyn WebPage> {
        None
    }
    /// Gives the sandbox back to nothing. Bounded in time, never fails: what cannot be closed dies with its host.
    async fn close(self: Box<Self>);
}

/// What suites of web tasks need of a sandbox.
#[async_trait]
pub trait WebPage: Send {
    /// Loads `url` in the first tab and waits for the document to be complete.
    async fn navigate(&mut self, url: &str) -> Result<(), BackendError>;
    /// Like `navigate`, and waits for what the page's scripts then fetch and show, as after an action.
    async fn visit(&mut self, url: &str) -> Result<(), BackendError> {
        self.navigate(url).await
    }
    /// Evaluates an expression in the page's main world and awaits a promise; the value as JSON.
    /// A thrown exception is `Ok(Err(text))`: the page's fault, for the suite to judge.
    async fn evaluate(&mut self, expression: &str) -> Result<Result<serde_json::Value, String>, BackendError>;
    /// URL of the active tab.
    async fn url(&mut self) -> Result<String, BackendError>;
    /// Closes all tabs but the first and makes that one active.
    async fn only_first_tab(&mut self) -> Result<(), BackendError>;
    /// Takes element ids back and lets go of pointer and keys, so that an episode which restarts in the same document starts
    /// as the first one did.
    async fn start_over(&mut self) -> Result<(), BackendError>;
}

// ---- Suite ------------------------------------------------------------------------------------------------------

/// How a reset treats the sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResetMode {
    #[default]
    Fresh,
    InPlace,
}

#[async_trait]
pub trait Suite: Send + Sync {
    fn tasks(&self) -> &[TaskInfo];
    /// Whether [`ResetMode::InPlace`] gives an exact start state.
    fn resets_in_place(&self) -> bool {
        false
    }
    /// Whether a task that was set up stays at its start until somebody acts. One that does not (its page has a clock of its
    /// own) is not prepared ahead of its reset.
    fn waits(&self, _task: &TaskRef) -> bool {
        true
    }
    /// What warm sandboxes of this suite should wait on.
    fn sandbox_spec(&self) -> SandboxSpec;
    /// What a warm sandbox waits on if it is to serve this task next; any sandbox of the suite can serve it all the same.
    fn sandbox_spec_for(&self, _task: &TaskRef) -> SandboxSpec {
        self.sandbox_spec()
    }
    /// Brings the sandbox to the start state of the task. With [`ResetMode::InPlace`] the sandbox comes from an earlier
    /// episode of the same task.
    async fn set_up(&self, sandbox: &mut dyn Sandbox, task: &TaskRef, mode: ResetMode) -> Result<Goal, SuiteError>;
    async fn score(&self, sandbox: &mut dyn Sandbox, task: &TaskRef, last: &ActionResult) -> Result<Score, SuiteError>;
}
