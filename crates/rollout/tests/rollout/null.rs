//! The null environment through the whole farm.

use std::sync::Arc;
use std::time::Duration;

use envfarm_core::command::{Command, Done, Op, Outcome, StepAction};
use envfarm_core::{Action, Backend, ObservationKind, ResetMode, SandboxSpec, SlotState, SnapshotLevel};
use envfarm_pool::{Gate, MemoryBudget, Pool, PoolSpec};
use envfarm_rollout::{Environment, Farm, FarmOptions, LeaseId, Outcomes, Session, Unread};
use envfarm_suites::null::{NOOP, NullBackend, NullProvider, NullSuite, TEN_STEPS};

use crate::support::{from_snapshot, reset_to, spec, transition};

fn attached(slots: u32) -> (Arc<Farm>, Session, Outcomes) {
    let gate = Gate::new(8, 64);
    let pool = PoolSpec {
        environment: "null".into(),
        max_sandboxes: 20_000,
        sandboxes_per_host: 20_000,
        recycle_after_served: u64::MAX,
        open_concurrency: 64,
        close_concurrency: 64,
        ..PoolSpec::default()
    };
    let backend = Arc::new(NullBackend);
    let observations = backend.observations();
    let snapshot_levels = backend.snapshot_levels().to_vec();
    let budget = MemoryBudget::new(u64::MAX / 2);
    let pool = Pool::start(pool, Arc::new(NullProvider), backend, SandboxSpec::default(), budget, gate.clone());
    let farm = Farm::new(
        vec![Environment {
            name: "null".into(),
            backend: "null".into(),
            suite_name: "null".into(),
            provider: "null".into(),
            suite: Arc::new(NullSuite::default()),
            pool,
            gate,
            max_slots: 10_000,
            default_mode: ResetMode::Fresh,
            time_limit: None,
            observations,
            snapshot_levels,
            viewport: (0, 0),
        }],
        FarmOptions::default(),
    );
    let lease = LeaseId(farm.acquire("null-test", "null", slots, None).unwrap().id);
    let (session, outcomes) = farm.attach(&lease, [spec(ObservationKind::Goal)].into()).unwrap();
    (farm, session, outcomes)
}

/// One command for every slot, with a fence that matches, and all of their outcomes.
async fn everywhere(session: &Session, outcomes: &mut Outcomes, request_id: u64, op: &Op) -> Vec<Arc<Outcome>> {
    let command = |position: envfarm_core::command::Position| Command {
        request_id,
        slot: position.slot,
        expected_episode: position.episode,
        expected_step: position.step,
        timeout: Duration::from_secs(60),
        observations: None,
        op: op.clone(),
    };
    let commands: Vec<_> = session.positions().into_iter().map(command).collect();
    let expected = commands.len();
    let mut taken = Vec::new();
    let sent = session.submit(commands);
    let read = async {
        while taken.len() < expected {
            assert_ne!(outcomes.recv_many(&mut taken, 256).await, 0, "the session goes on");
        }
    };
    let (sent, ()) = tokio::join!(sent, read);
    sent.unwrap();
    taken.into_iter().map(Unread::into_outcome).collect()
}

fn noop() -> Op {
    Op::Step(StepAction::Typed(Action::NOOP))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_steps_end_with_reward_one_in_every_slot_and_nothing_is_left() {
    let (farm, session, mut outcomes) = attached(300);
    everywhere(&session, &mut outcomes, 1, &reset_to(TEN_STEPS, 1)).await;
    for step in 1..=10u64 {
        for outcome in everywhere(&session, &mut outcomes, 1 + step, &noop()).await {
            let last = step == 10;
            let done = transition(&outcome);
            assert_eq!((done.terminated, done.reward), (last, if last { 1.0 } else { 0.0 }));
            assert_eq!((outcome.step, outcome.state == SlotState::Over), (step as u32, last));
        }
    }
    let totals = farm.status().environments[0].totals;
    assert_eq!((totals.episodes, totals.steps, totals.failures), (300, 3000, 0));
    farm.drain(Duration::from_secs(5)).await;
    let pool = farm.status().environments.remove(0).pool;
    assert_eq!((pool.busy, pool.hosts.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noop_never_ends_and_both_kinds_of_snapshot_go_on_where_they_were_made() {
    let (farm, session, mut outcomes) = attached(1);
    let mut id = 0;
    let mut run = async |op: Op| {
        id += 1;
        everywhere(&session, &mut outcomes, id, &op).await.remove(0)
    };
    run(reset_to(NOOP, 1)).await;
    for _ in 0..50 {
        assert!(!transition(&run(noop()).await).terminated);
    }
    for level in [SnapshotLevel::Storage, SnapshotLevel::Replay] {
        run(reset_to(TEN_STEPS, 1)).await;
        for _ in 0..9 {
            run(noop()).await;
        }
        let saved = run(Op::Snapshot(level)).await;
        let Ok(Done::Snapshot(info)) = &saved.result else { panic!("{:?}", saved.result) };
        run(from_snapshot(&info.id)).await;
        assert_eq!(transition(&run(noop()).await).reward, 1.0, "the tenth step ends it");
    }
    farm.drain(Duration::from_secs(1)).await;
}
