//! Snapshots: forked into many slots, compared after replay, bounded in store.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use envfarm_core::command::{Op, Reset, ResetFrom};
use envfarm_core::{FailureCode, ResetStrategy, SlotState, SnapshotLevel, TruncationCause};
use envfarm_rollout::FarmOptions;

use crate::support::*;

async fn snapshot(client: &mut Client, slot: u32, level: SnapshotLevel) -> envfarm_core::command::SnapshotInfo {
    snapshot_of(&client.run(slot, Op::Snapshot(level)).await).clone()
}

#[tokio::test(start_paused = true)]
async fn one_snapshot_forks_into_sixteen_slots_at_once() {
    let bench = Bench::new();
    let mut client = bench.client(17);
    client.reset(0, "open").await;
    client.run(0, say("a")).await;
    client.run(0, say("b")).await;
    for level in [SnapshotLevel::Replay, SnapshotLevel::Storage] {
        let info = snapshot(&mut client, 0, level).await;
        assert_eq!((info.step, info.task.clone(), info.environment.as_str()), (2, task("open", 7), "mock"));
        let commands: Vec<_> = (1..17).map(|slot| client.command(slot, from_snapshot(&info.id))).collect();
        client.session.submit(commands).await.unwrap();
        let mut forked = HashSet::new();
        while forked.len() < 16 {
            let outcome = client.next().await;
            let strategy = report(&outcome).strategy;
            let expected = if level == SnapshotLevel::Replay { ResetStrategy::Replay } else { ResetStrategy::Storage };
            assert_eq!((strategy, outcome.step, outcome.state), (expected, 0, SlotState::Running));
            assert_eq!(report(&outcome).seed, 7);
            forked.insert(outcome.slot);
        }
        let context = bench.world.context.lock().unwrap().clone();
        assert_eq!(context.previous_actions.len(), 2, "the fork is told what was done before it");
    }
    assert_eq!(bench.world.restored.lock().unwrap().len(), 16);
    // The original goes on, and so does a fork.
    assert_eq!(client.run(0, say("c")).await.step, 3);
    assert_eq!(transition(&client.run(9, say("win")).await).reward, 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_ends_elsewhere_is_a_typed_failure() {
    let bench = Bench::new();
    let mut client = bench.client(2);
    client.reset(0, "open").await;
    client.run(0, say("a")).await;
    let info = snapshot(&mut client, 0, SnapshotLevel::Replay).await;
    bench.world.drift.store(1, Ordering::SeqCst);
    let outcome = client.run(1, from_snapshot(&info.id)).await;
    assert_eq!((failure(&outcome).code, outcome.state), (FailureCode::SnapshotDiverged, SlotState::Lost));
    bench.world.drift.store(0, Ordering::SeqCst);
    assert_eq!(report(&client.run(1, from_snapshot(&info.id)).await).strategy, ResetStrategy::Replay);
}

#[tokio::test(start_paused = true)]
async fn a_fork_of_a_fork_replays_everything_and_its_limit_counts_everything() {
    let bench = Bench::new();
    let mut client = bench.client(3);
    client.reset(0, "open").await;
    client.run(0, say("a")).await;
    let first = snapshot(&mut client, 0, SnapshotLevel::Replay).await;
    client.run(1, from_snapshot(&first.id)).await;
    client.run(1, say("b")).await;
    let second = snapshot(&mut client, 1, SnapshotLevel::Replay).await;
    assert_eq!(second.step, 2);
    let acts = bench.world.acts();
    let from = ResetFrom::Snapshot(second.id);
    client.run(2, Op::Reset(Reset { from, mode: None, step_limit: Some(3), time_limit: None })).await;
    assert_eq!(bench.world.acts(), acts + 2);
    let outcome = client.run(2, say("c")).await;
    assert_eq!((outcome.step, transition(&outcome).truncated), (1, Some(TruncationCause::StepLimit)));
}

#[tokio::test(start_paused = true)]
async fn a_full_store_refuses_and_keeps_what_it_has() {
    let options = FarmOptions { max_snapshots: 2, ..FarmOptions::default() };
    let bench = Setting { options, ..Setting::default() }.build();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    let first = snapshot(&mut client, 0, SnapshotLevel::Replay).await;
    snapshot(&mut client, 0, SnapshotLevel::Replay).await;
    let full = client.run(0, Op::Snapshot(SnapshotLevel::Replay)).await;
    assert_eq!((failure(&full).code, full.state), (FailureCode::NoCapacity, SlotState::Running));
    assert_eq!(bench.farm.snapshots(Some("mock")).len(), 2);
    assert!(bench.farm.snapshots(Some("other")).is_empty());
    assert!(bench.farm.delete_snapshot(&first.id) && !bench.farm.delete_snapshot(&first.id));
    let gone = client.run(0, from_snapshot(&first.id)).await;
    assert_eq!((failure(&gone).code, gone.state), (FailureCode::UnknownSnapshot, SlotState::Running));
    snapshot(&mut client, 0, SnapshotLevel::Replay).await;
}

#[tokio::test(start_paused = true)]
async fn the_bytes_of_all_snapshots_are_bounded() {
    let options = FarmOptions { max_snapshot_bytes: 150, ..FarmOptions::default() };
    let bench = Setting { options, ..Setting::default() }.build();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    let info = snapshot(&mut client, 0, SnapshotLevel::Storage).await;
    assert_eq!(info.size_bytes, 100);
    let full = client.run(0, Op::Snapshot(SnapshotLevel::Storage)).await;
    assert_eq!(failure(&full).code, FailureCode::NoCapacity);
    assert!(failure(&full).reason.contains("50 left of 150"), "{}", failure(&full).reason);
}

#[tokio::test(start_paused = true)]
async fn an_episode_too_long_to_be_played_again_can_still_be_stored() {
    let bench = Bench::new();
    let mut client = bench.client(2);
    client.reset(0, "open").await;
    for _ in 0..3 {
        client.run(0, say(&"a".repeat(500_000))).await;
    }
    let refused = client.run(0, Op::Snapshot(SnapshotLevel::Replay)).await;
    assert_eq!((failure(&refused).code, refused.state), (FailureCode::Unsupported, SlotState::Running));
    let info = snapshot(&mut client, 0, SnapshotLevel::Storage).await;
    let fork = client.run(1, from_snapshot(&info.id)).await;
    assert_eq!(report(&fork).strategy, ResetStrategy::Storage);
    let refused = client.run(1, Op::Snapshot(SnapshotLevel::Replay)).await;
    assert_eq!(failure(&refused).code, FailureCode::Unsupported, "nor can what goes on from it");
}

#[tokio::test(start_paused = true)]
async fn a_fork_has_the_limits_of_its_origin_unless_it_is_given_others() {
    let bench = Bench::new();
    let mut client = bench.client(3);
    let reset = |from, step_limit| Op::Reset(Reset { from, mode: None, step_limit, time_limit: None });
    client.run(0, reset(ResetFrom::Task(task("open", 7)), Some(2))).await;
    client.run(0, say("a")).await;
    let info = snapshot(&mut client, 0, SnapshotLevel::Replay).await;
    let fork = client.run(1, reset(ResetFrom::Snapshot(info.id.clone()), None)).await;
    assert_eq!(report(&fork).step_limit, Some(2));
    assert_eq!(transition(&client.run(1, say("b")).await).truncated, Some(TruncationCause::StepLimit));
    let fork = client.run(2, reset(ResetFrom::Snapshot(info.id), Some(9))).await;
    assert_eq!(report(&fork).step_limit, Some(9));
}
