//! A farm that does nothing, served on free ports, and the commands that tests send to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envfarm_core::command::{Command, Done, Op, Outcome, Reset, ResetFrom, StepAction};
use envfarm_core::{Action, Backend, Encoding, Failure, ObservationKind, ObservationSpec, ResetMode, Suite, TaskRef, Transition};
use envfarm_pool::{Gate, MemoryBudget, Pool, PoolSpec};
use envfarm_proto::{Client, Rollout};
use envfarm_rollout::{Environment, Farm, FarmOptions};
use envfarm_server::{Server, ServerOptions, Token};
use envfarm_suites::null::{NOOP, NullBackend, NullProvider, NullSuite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);
pub const GOAL: ObservationSpec =
    ObservationSpec { kind: ObservationKind::Goal, encoding: Encoding::Text, quality: ObservationSpec::DEFAULT_QUALITY, scale: 1.0 };

pub fn options() -> ServerOptions {
    ServerOptions { listen: ANY, token: None, tls: None, http_listen: Some(ANY), memory_budget_bytes: 1 << 30 }
}

pub fn with_token(secret: &str) -> ServerOptions {
    ServerOptions { token: Some(Token::new(secret).unwrap()), ..options() }
}

/// Environment `null` with 64 slots.
pub fn null_farm() -> Arc<Farm> {
    envfarm_server::install_metrics();
    let (backend, suite) = (Arc::new(NullBackend), Arc::new(NullSuite::default()));
    let spec = PoolSpec { environment: "null".to_owned(), max_sandboxes: 256, sandboxes_per_host: 256, ..PoolSpec::default() };
    let gate = Gate::new(4, 64);
    let pool = Pool::start(spec, Arc::new(NullProvider), backend.clone(), suite.sandbox_spec(), MemoryBudget::new(4 << 30), gate.clone());
    let environment = Environment {
        name: "null".to_owned(),
        backend: "null".to_owned(),
        suite_name: "null".to_owned(),
        provider: "null".to_owned(),
        observations: backend.observations(),
        snapshot_levels: backend.snapshot_levels().to_vec(),
        suite,
        pool,
        gate,
        max_slots: 64,
        default_mode: ResetMode::Fresh,
        time_limit: None,
        viewport: (0, 0),
    };
    Farm::new(vec![environment], FarmOptions::default())
}

/// A server that stops when it is dropped.
pub struct Served {
    pub farm: Arc<Farm>,
    pub addr: SocketAddr,
    pub http: SocketAddr,
    pub shutdown: CancellationToken,
    pub running: AbortOnDropHandle<()>,
}

impl Served {
    pub async fn start(options: ServerOptions) -> Self {
        let farm = null_farm();
        let server = Server::bind(farm.clone(), options).await.unwrap();
        let (addr, http, shutdown) = (server.addr(), server.http_addr().unwrap(), CancellationToken::new());
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { server.run(shutdown).await.unwrap() }
        });
        Self { farm, addr, http, shutdown, running: AbortOnDropHandle::new(running) }
    }

    pub async fn client(&self) -> Client {
        Client::connect(&format!("http://{}", self.addr), None, None).await.unwrap()
    }

    /// A server, and a stream on a lease of `slots` slots.
    pub async fn attached(slots: u32) -> (Self, Client, Rollout) {
        let served = Self::start(options()).await;
        let client = served.client().await;
        let lease = client.acquire("test", "null", slots, Duration::ZERO).await.unwrap();
        let rollout = client.rollout(&lease.id, &[]).await.unwrap();
        (served, client, rollout)
    }
}

pub fn command(request_id: u64, slot: u32, episode: u64, step: u32, op: Op) -> Command {
    let timeout = Duration::from_secs(20);
    Command { request_id, slot, expected_episode: episode, expected_step: step, timeout, observations: None, op }
}

pub fn reset(task: &str) -> Op {
    let from = ResetFrom::Task(TaskRef { id: task.to_owned(), seed: 1 });
    Op::Reset(Reset { from, mode: None, step_limit: None, time_limit: None })
}

pub fn noop() -> Op {
    Op::Step(StepAction::Typed(Action::NOOP))
}

/// Sends one command and waits for its outcome.
pub async fn run(rollout: &mut Rollout, command: Command) -> Outcome {
    rollout.send(vec![command]).await.unwrap();
    next(rollout).await
}

/// The one outcome that is due.
pub async fn next(rollout: &mut Rollout) -> Outcome {
    let mut outcomes = Vec::new();
    let received = tokio::time::timeout(Duration::from_secs(20), rollout.recv_many(&mut outcomes)).await;
    received.expect("an outcome in time").unwrap();
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    outcomes.remove(0)
}

/// Begins episode 1 of task `noop` in slot 0.
pub async fn begin(rollout: &mut Rollout) {
    transition(run(rollout, command(1, 0, 0, 0, reset(NOOP))).await);
}

pub fn transition(outcome: Outcome) -> Transition {
    match outcome.result {
        Ok(Done::Transition(transition)) => *transition,
        other => panic!("not a transition: {other:?}"),
    }
}

pub fn failure(outcome: Outcome) -> Failure {
    outcome.result.expect_err("a failure")
}
