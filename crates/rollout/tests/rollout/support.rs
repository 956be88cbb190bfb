//! A world whose sandboxes and suite do what a test tells them, behind a real pool and a real farm.
//!
//! Faults are queued by operation and met once each, in order. Time is paused in the tests that wait.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use envfarm_core::action::Ending;
use envfarm_core::command::{Command, Done, Op, Outcome, Reset, ResetFrom, StepAction};
use envfarm_core::*;
use envfarm_pool::{Gate, MemoryBudget, Pool, PoolSpec};
use envfarm_rollout::{Environment, Farm, FarmOptions, LeaseId, Outcomes, Session};
use envfarm_suites::null::NullProvider;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What a queued fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum At {
    SetUp,
    Act,
    Score,
    Observe,
    Save,
}

#[derive(Clone, Debug)]
pub enum Fault {
    Fails(BackendError),
    Hangs,
    Takes(Duration),
    /// The host of the sandbox dies, and the operation never comes back.
    HostDies,
}

#[derive(Default)]
pub struct World {
    faults: Mutex<HashMap<At, VecDeque<Fault>>>,
    hosts: Mutex<Vec<CancellationToken>>,
    /// Actions that really reached a sandbox.
    pub acts: Mutex<Vec<Action>>,
    pub set_ups: Mutex<Vec<(TaskRef, ResetMode)>>,
    pub observed: AtomicUsize,
    pub open: AtomicUsize,
    /// What every sandbox's check finds.
    pub residue: Mutex<Vec<String>>,
    /// Mixed into fingerprints: a page that changes behind the replay's back.
    pub drift: AtomicUsize,
    /// What the last observation was told of the episode.
    pub context: Mutex<envfarm_core::observation::EpisodeContext>,
    pub restored: Mutex<Vec<Bytes>>,
}

impl World {
    pub fn fault(&self, at: At, fault: Fault) {
        self.faults.lock().unwrap().entry(at).or_default().push_back(fault);
    }

    pub fn kill_hosts(&self) {
        for host in self.hosts.lock().unwrap().drain(..) {
            host.cancel();
        }
    }

    pub fn set_ups(&self) -> usize {
        self.set_ups.lock().unwrap().len()
    }

    pub fn acts(&self) -> usize {
        self.acts.lock().unwrap().len()
    }

    async fn meet(&self, at: At, host: Option<&CancellationToken>) -> Result<(), BackendError> {
        let fault = self.faults.lock().unwrap().get_mut(&at).and_then(VecDeque::pop_front);
        match fault {
            None => Ok(()),
            Some(Fault::Fails(error)) => Err(error),
            Some(Fault::Hangs) => pending().await,
            Some(Fault::Takes(time)) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(Fault::HostDies) => {
                if let Some(host) = host {
                    host.cancel();
                }
                pending().await
            }
        }
    }
}

struct MockBackend(Arc<World>);

#[async_trait]
impl Backend for MockBackend {
    fn host_spec(&self, environment: &str) -> HostSpec {
        HostSpec { environment: environment.into(), launch_timeout: Duration::from_secs(5), ..HostSpec::default() }
    }

    async fn connect(&self, _: &Endpoints, _: &CancellationToken) -> Result<Arc<dyn Host>, BackendError> {
        let closed = CancellationToken::new();
        self.0.hosts.lock().unwrap().push(closed.clone());
        Ok(Arc::new(MockHost { world: self.0.clone(), closed }))
    }

    fn observations(&self) -> Vec<ObservationSpec> {
        vec![spec(ObservationKind::Goal), spec(ObservationKind::Url)]
    }

    fn snapshot_levels(&self) -> &'static [SnapshotLevel] {
        &[SnapshotLevel::Storage, SnapshotLevel::Replay]
    }
}

pub fn spec(kind: ObservationKind) -> ObservationSpec {
    ObservationSpec::new(kind, None).unwrap()
}

struct MockHost {
    world: Arc<World>,
    closed: CancellationToken,
}

#[async_trait]
impl Host for MockHost {
    async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, BackendError> {
        self.world.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(MockSandbox { world: self.world.clone(), host: self.closed.clone(), acts: Vec::new() }))
    }

    fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }
}

struct MockSandbox {
    world: Arc<World>,
    host: CancellationToken,
    acts: Vec<Action>,
}

impl Drop for MockSandbox {
    fn drop(&mut self) {
        self.world.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Sandbox for MockSandbox {
    async fn act(&mut self, action: &Action) -> Result<ActionResult, BackendError> {
        self.world.acts.lock().unwrap().push(action.clone());
        self.acts.push(action.clone());
        self.world.meet(At::Act, Some(&self.host)).await?;
        let mut result = ActionResult::ok();
        match action {
            Action::Answer { text } => result.answer = Some(text.clone()),
            Action::Finish { answer } => result.ending = Some(Ending::Finished(answer.clone())),
            _ => {}
        }
        Ok(result)
    }

    async fn observe(&mut self, want: &ObservationRequest) -> Result<Vec<Observation>, BackendError> {
        self.world.meet(At::Observe, Some(&self.host)).await?;
        self.world.observed.fetch_add(1, Ordering::SeqCst);
        *self.world.context.lock().unwrap() = want.context.clone();
        let one = |spec: &ObservationSpec| {
            let data = Ok(Bytes::from(want.context.goal.clone()));
            Observation { kind: spec.kind, encoding: spec.encoding, data, captured_unix_us: 0 }
        };
        Ok(want.specs.iter().map(one).collect())
    }

    async fn save_state(&mut self) -> Result<Bytes, BackendError> {
        self.world.meet(At::Save, Some(&self.host)).await?;
        Ok(Bytes::from(vec![7; 100]))
    }

    async fn restore_state(&mut self, state: &[u8]) -> Result<(), BackendError> {
        self.world.restored.lock().unwrap().push(Bytes::copy_from_slice(state));
        Ok(())
    }

    async fn fingerprint(&mut self) -> Result<String, BackendError> {
        Ok(format!("{:?}/{}", self.acts, self.world.drift.load(Ordering::SeqCst)))
    }

    async fn residue(&mut self) -> Result<Vec<String>, BackendError> {
        Ok(self.world.residue.lock().unwrap().clone())
    }

    async fn close(self: Box<Self>) {}
}

/// Tasks: `open` never ends by itself, `short` has three steps. An answer `win` or `lose` ends either.
struct MockSuite {
    world: Arc<World>,
    tasks: Vec<TaskInfo>,
    in_place: bool,
}

#[async_trait]
impl Suite for MockSuite {
    fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    fn resets_in_place(&self) -> bool {
        self.in_place
    }

    fn sandbox_spec(&self) -> SandboxSpec {
        SandboxSpec::default()
    }

    async fn set_up(&self, _: &mut dyn Sandbox, task: &TaskRef, mode: ResetMode) -> Result<Goal, SuiteError> {
        self.world.set_ups.lock().unwrap().push((task.clone(), mode));
        self.world.meet(At::SetUp, None).await?;
        Ok(Goal { text: format!("goal of {} {}", task.id, task.seed) })
    }

    async fn score(&self, _: &mut dyn Sandbox, _: &TaskRef, last: &ActionResult) -> Result<Score, SuiteError> {
        self.world.meet(At::Score, None).await?;
        let end = |reward| Score { reward, raw_reward: reward, done: true };
        Ok(match last.answer.as_deref() {
            Some("win") => end(1.0),
            Some("lose") => end(0.0),
            _ => Score { raw_reward: 0.25, ..Score::default() },
        })
    }
}

/// One farm with the environment `mock`.
pub struct Bench {
    pub world: Arc<World>,
    pub farm: Arc<Farm>,
    pub pool: Arc<Pool>,
}

pub struct Setting {
    pub options: FarmOptions,
    pub max_slots: u32,
    pub max_sandboxes: usize,
    pub in_place: bool,
    pub default_mode: ResetMode,
    pub recycle_after_served: u64,
    pub time_limit: Option<Duration>,
    pub gate: Gate,
    pub max_hosts: usize,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            options: FarmOptions::default(),
            max_slots: 64,
            max_sandboxes: 64,
            in_place: false,
            default_mode: ResetMode::Fresh,
            recycle_after_served: u64::MAX,
            time_limit: None,
            gate: Gate::new(64, 64),
            max_hosts: 4,
        }
    }
}

impl Setting {
    pub fn build(self) -> Bench {
        let world = Arc::new(World::default());
        let pool_spec = PoolSpec {
            environment: "mock".into(),
            max_sandboxes: self.max_sandboxes,
            max_hosts: self.max_hosts,
            warm: 2,
            recycle_after_served: self.recycle_after_served,
            ..PoolSpec::default()
        };
        let backend = Arc::new(MockBackend(world.clone()));
        let budget = MemoryBudget::new(u64::MAX / 2);
        let observations = backend.observations();
        let snapshot_levels = backend.snapshot_levels().to_vec();
        let pool = Pool::start(pool_spec, Arc::new(NullProvider), backend, SandboxSpec::default(), budget, Gate::new(64, 64));
        let task = |id: &str, step_limit| TaskInfo { id: id.into(), description: String::new(), step_limit, time_limit: None };
        let tasks = vec![task("open", None), task("short", Some(3))];
        let environment = Environment {
            name: "mock".into(),
            backend: "mock".into(),
            suite_name: "mock".into(),
            provider: "null".into(),
            suite: Arc::new(MockSuite { world: world.clone(), tasks, in_place: self.in_place }),
            pool: pool.clone(),
            gate: self.gate,
            max_slots: self.max_slots,
            default_mode: self.default_mode,
            time_limit: self.time_limit,
            observations,
            snapshot_levels,
            viewport: (1280, 720),
        };
        Bench { world, farm: Farm::new(vec![environment], self.options), pool }
    }
}

impl Bench {
    pub fn new() -> Self {
        Setting::default().build()
    }

    pub fn lease(&self, slots: u32) -> LeaseId {
        let token = format!("token-{}", self.farm.status().leases);
        LeaseId(self.farm.acquire(&token, "mock", slots, None).unwrap().id)
    }

    pub fn attach(&self, lease: &LeaseId) -> Client {
        let (session, outcomes) = self.farm.attach(lease, [spec(ObservationKind::Goal)].into()).unwrap();
        Client { session, outcomes, ids: 1000 }
    }

    pub fn client(&self, slots: u32) -> Client {
        self.attach(&self.lease(slots))
    }
}

/// A client that waits for each command's outcome.
pub struct Client {
    pub session: Session,
    pub outcomes: Outcomes,
    ids: u64,
}

pub fn task(id: &str, seed: u64) -> TaskRef {
    TaskRef { id: id.into(), seed }
}

pub fn reset_to(id: &str, seed: u64) -> Op {
    Op::Reset(Reset { from: ResetFrom::Task(task(id, seed)), mode: None, step_limit: None, time_limit: None })
}

pub fn from_snapshot(id: &SnapshotId) -> Op {
    Op::Reset(Reset { from: ResetFrom::Snapshot(id.clone()), mode: None, step_limit: None, time_limit: None })
}

pub fn say(text: &str) -> Op {
    Op::Step(StepAction::Typed(Action::Answer { text: text.into() }))
}

pub const TIMEOUT: Duration = Duration::from_secs(30);

impl Client {
    /// The command with a matching fence and a new request id.
    pub fn command(&mut self, slot: u32, op: Op) -> Command {
        self.ids += 1;
        let position = &self.session.positions()[slot as usize];
        Command {
            request_id: self.ids,
            slot,
            expected_episode: position.episode,
            expected_step: position.step,
            timeout: TIMEOUT,
            observations: None,
            op,
        }
    }

    pub async fn send(&mut self, command: Command) {
        self.session.submit(vec![command]).await.unwrap();
    }

    pub async fn next(&mut self) -> Arc<Outcome> {
        let outcome = tokio::time::timeout(Duration::from_secs(300), self.outcomes.recv()).await;
        outcome.expect("an outcome within five minutes").expect("the session goes on")
    }

    /// No outcome is on its way.
    pub async fn nothing_more(&mut self) {
        let more = tokio::time::timeout(Duration::from_millis(50), self.outcomes.recv()).await;
        assert!(more.is_err(), "unexpected {more:?}");
    }

    pub async fn run_command(&mut self, command: Command) -> Arc<Outcome> {
        let id = command.request_id;
        self.send(command).await;
        let outcome = self.next().await;
        assert_eq!(outcome.request_id, id);
        outcome
    }

    pub async fn run(&mut self, slot: u32, op: Op) -> Arc<Outcome> {
        let command = self.command(slot, op);
        self.run_command(command).await
    }

    pub async fn reset(&mut self, slot: u32, id: &str) -> Arc<Outcome> {
        let outcome = self.run(slot, reset_to(id, 7)).await;
        transition(&outcome);
        outcome
    }
}

#[track_caller]
pub fn transition(outcome: &Arc<Outcome>) -> &Transition {
    match &outcome.result {
        Ok(Done::Transition(transition)) => transition,
        other => panic!("expected a transition, got {other:?}"),
    }
}

#[track_caller]
pub fn report(outcome: &Arc<Outcome>) -> &ResetReport {
    transition(outcome).reset_report.as_ref().expect("a reset's report")
}

#[track_caller]
pub fn failure(outcome: &Arc<Outcome>) -> &Failure {
    match &outcome.result {
        Err(failure) => failure,
        Ok(done) => panic!("expected a failure, got {done:?}"),
    }
}

#[track_caller]
pub fn snapshot_of(outcome: &Arc<Outcome>) -> &envfarm_core::command::SnapshotInfo {
    match &outcome.result {
        Ok(Done::Snapshot(info)) => info,
        other => panic!("expected a snapshot, got {other:?}"),
    }
}
