//! What a client is told when the farm breaks: a typed failure, never a reward, and whether its action may have applied.

use std::time::Duration;

use envfarm_core::command::Op;
use envfarm_core::{BackendError, FailureCode, ResetStrategy, SlotState, SnapshotLevel};

use crate::support::*;

fn lost() -> Fault {
    Fault::Fails(BackendError::SandboxLost("renderer crashed".into()))
}

#[tokio::test(start_paused = true)]
async fn every_way_to_break_a_step_is_a_failure_without_reward_and_the_slot_recovers() {
    let timeout = || Fault::Fails(BackendError::Timeout { what: "click", limit: Duration::from_secs(1) });
    let cases = [
        (At::Act, lost(), FailureCode::SandboxLost),
        (At::Act, Fault::Fails(BackendError::HostLost("gone".into())), FailureCode::HostLost),
        (At::Act, timeout(), FailureCode::Backend),
        (At::Act, Fault::HostDies, FailureCode::HostLost),
        (At::Act, Fault::Hangs, FailureCode::DeadlineExceeded),
        (At::Score, lost(), FailureCode::SandboxLost),
        (At::Score, timeout(), FailureCode::ScoreFailed),
        (At::Observe, lost(), FailureCode::SandboxLost),
        (At::Observe, Fault::HostDies, FailureCode::HostLost),
    ];
    let bench = Bench::new();
    let mut client = bench.client(1);
    for (at, fault, code) in cases {
        client.reset(0, "open").await;
        bench.world.fault(at, fault.clone());
        // Would have won.
        let command = client.command(0, say("win"));
        let outcome = client.run_command(command.clone()).await;
        let told = failure(&outcome);
        assert_eq!((told.code, outcome.state), (code, SlotState::Lost), "{at:?} {fault:?}");
        assert!(told.action_may_have_applied, "{at:?} {fault:?}");
        let again = client.run_command(command).await;
        assert_eq!((failure(&again).code, again.replayed), (code, true));
        assert_eq!(failure(&client.run(0, say("win")).await).code, FailureCode::NoEpisode);
    }
    client.reset(0, "open").await;
}

#[tokio::test(start_paused = true)]
async fn a_broken_observation_or_snapshot_loses_the_sandbox_but_applied_nothing() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    for (at, op) in [(At::Observe, Op::Observe), (At::Save, Op::Snapshot(SnapshotLevel::Storage))] {
        client.reset(0, "open").await;
        bench.world.fault(at, lost());
        let outcome = client.run(0, op).await;
        assert_eq!((failure(&outcome).code, outcome.state), (FailureCode::SandboxLost, SlotState::Lost));
        assert!(!failure(&outcome).action_may_have_applied);
    }
    client.reset(0, "open").await;
    bench.world.fault(At::Save, Fault::Fails(BackendError::Unsupported("saving")));
    let outcome = client.run(0, Op::Snapshot(SnapshotLevel::Storage)).await;
    assert_eq!((failure(&outcome).code, outcome.state), (FailureCode::Unsupported, SlotState::Running));
    client.run(0, say("x")).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_died_while_the_slot_was_idle_fails_the_next_step_untouched() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    bench.world.kill_hosts();
    let outcome = client.run(0, say("x")).await;
    assert_eq!((failure(&outcome).code, outcome.state), (FailureCode::HostLost, SlotState::Lost));
    assert!(!failure(&outcome).action_may_have_applied);
    assert_eq!(bench.world.acts(), 0);
    client.reset(0, "open").await;
}

#[tokio::test(start_paused = true)]
async fn a_reset_tries_other_sandboxes_while_set_ups_lose_theirs() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    bench.world.fault(At::SetUp, lost());
    bench.world.fault(At::Observe, Fault::HostDies);
    assert_eq!(report(&client.reset(0, "open").await).strategy, ResetStrategy::Fresh);
    assert_eq!(bench.world.set_ups(), 3);

    for _ in 0..3 {
        bench.world.fault(At::SetUp, lost());
    }
    let outcome = client.run(0, reset_to("open", 1)).await;
    assert_eq!((failure(&outcome).code, outcome.state, outcome.episode), (FailureCode::SandboxLost, SlotState::Lost, 2));
    assert!(!failure(&outcome).action_may_have_applied);
    assert_eq!(bench.world.set_ups(), 6, "the tries are bounded");
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_hangs_ends_at_its_deadline_and_the_next_one_works() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    bench.world.fault(At::SetUp, Fault::Hangs);
    let began = tokio::time::Instant::now();
    let outcome = client.run(0, reset_to("open", 1)).await;
    assert_eq!((failure(&outcome).code, outcome.state), (FailureCode::DeadlineExceeded, SlotState::Lost));
    assert!((TIMEOUT..TIMEOUT * 2).contains(&began.elapsed()));
    client.reset(0, "open").await;
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_named_as_the_cause_and_a_released_sandbox_is_used_again() {
    let bench = Setting { max_sandboxes: 1, ..Setting::default() }.build();
    let mut client = bench.client(2);
    client.reset(0, "open").await;
    let outcome = client.run(1, reset_to("open", 1)).await;
    assert_eq!(failure(&outcome).code, FailureCode::NoCapacity);
    // The slot's own sandbox goes before another is asked for.
    client.reset(0, "open").await;
    client.run(0, say("win")).await;
    client.reset(1, "open").await;
}
