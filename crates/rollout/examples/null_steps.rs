//! How many steps a second the slots themselves manage: the null environment, one client, no network.
//!
//! `cargo run --release -p envfarm-rollout --example null_steps -- [slots] [seconds]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use envfarm_core::command::{Command, Op, Reset, ResetFrom, StepAction};
use envfarm_core::{Action, Backend, ObservationKind, ObservationSpec, ResetMode, SandboxSpec, TaskRef};
use envfarm_pool::{Gate, MemoryBudget, Pool, PoolSpec};
use envfarm_rollout::{Environment, Farm, FarmOptions, LeaseId, Session, Unread};
use envfarm_suites::null::{NOOP, NullBackend, NullProvider, NullSuite};

/// Commands and outcomes that travel together.
const BATCH: usize = 512;

fn farm(slots: u32) -> Arc<Farm> {
    let gate = Gate::new(64, 4096);
    let spec = PoolSpec {
        environment: "null".into(),
        max_sandboxes: 2 * slots as usize,
        sandboxes_per_host: 2 * slots as usize,
        recycle_after_served: u64::MAX,
        open_concurrency: 256,
        close_concurrency: 256,
        expected_sandbox_bytes: 0,
        ..PoolSpec::default()
    };
    let budget = MemoryBudget::new(1 << 40);
    let pool = Pool::start(spec, Arc::new(NullProvider), Arc::new(NullBackend), SandboxSpec::default(), budget, gate.clone());
    let environment = Environment {
        name: "null".into(),
        backend: "null".into(),
        suite_name: "null".into(),
        provider: "null".into(),
        suite: Arc::new(NullSuite::default()),
        pool,
        gate,
        max_slots: slots,
        default_mode: ResetMode::Fresh,
        time_limit: None,
        observations: NullBackend.observations(),
        snapshot_levels: Vec::new(),
        viewport: (0, 0),
    };
    Farm::new(vec![environment], FarmOptions::default())
}

fn command(request_id: u64, slot: u32, episode: u64, step: u32, op: Op) -> Command {
    let timeout = Duration::from_secs(60);
    Command { request_id, slot, expected_episode: episode, expected_step: step, timeout, observations: None, op }
}

/// The next step of every slot that has finished one.
async fn go_on(session: &Session, outcomes: &mut Vec<Unread>) -> anyhow::Result<()> {
    let next = |outcome: Unread| -> anyhow::Result<Command> {
        if let Err(failure) = &outcome.result {
            anyhow::bail!("slot {}: {failure}", outcome.slot);
        }
        let step = Op::Step(StepAction::Typed(Action::NOOP));
        Ok(command(outcome.request_id + 1, outcome.slot, outcome.episode, outcome.step, step))
    };
    let commands = outcomes.drain(..).map(next).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(session.submit(commands).await?)
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let slots: u32 = args.next().as_deref().unwrap_or("1000").parse().context("slots")?;
    let seconds: u64 = args.next().as_deref().unwrap_or("5").parse().context("seconds")?;
    let farm = farm(slots);
    let lease = LeaseId(farm.acquire("null-steps", "null", slots, None)?.id);
    let goal = ObservationSpec::new(ObservationKind::Goal, None).context("the goal has a default encoding")?;
    let (session, mut outcomes) = farm.attach(&lease, [goal].into())?;

    let began = Instant::now();
    let from = ResetFrom::Task(TaskRef { id: NOOP.into(), seed: 0 });
    let reset = Op::Reset(Reset { from, mode: None, step_limit: None, time_limit: None });
    session.submit((0..slots).map(|slot| command(1, slot, 0, 0, reset.clone())).collect()).await?;
    let mut started = Vec::new();
    while started.len() < slots as usize {
        outcomes.recv_many(&mut started, BATCH).await;
    }
    println!("{slots} resets in {:?}", began.elapsed());

    let began = Instant::now();
    let mut steps = 0;
    go_on(&session, &mut started).await?;
    let mut taken = Vec::with_capacity(BATCH);
    while began.elapsed() < Duration::from_secs(seconds) {
        steps += outcomes.recv_many(&mut taken, BATCH).await;
        go_on(&session, &mut taken).await?;
    }
    println!("{slots} slots: {:.0} steps/s", steps as f64 / began.elapsed().as_secs_f64());
    farm.drain(Duration::ZERO).await;
    Ok(())
}
