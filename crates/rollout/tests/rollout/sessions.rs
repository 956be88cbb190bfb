//! Fences, replay, cancel, takeover and bounds, as a client meets them.

use std::sync::Arc;
use std::time::Duration;

use envfarm_core::command::{Op, StepAction};
use envfarm_core::{Dialect, FailureCode, ObservationKind, SlotState, SnapshotLevel};
use envfarm_pool::Gate;
use envfarm_rollout::{AttachError, FarmOptions, LeaseId, SessionEnd};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn every_fence_refuses_and_the_stream_goes_on() {
    let bench = Bench::new();
    let mut client = bench.client(2);
    let step = client.run(0, say("hi")).await;
    assert_eq!(failure(&step).code, FailureCode::NoEpisode);
    client.reset(0, "open").await;

    let mut refused = async |op: Op, change: &dyn Fn(&mut envfarm_core::command::Command)| {
        let mut command = client.command(0, op);
        change(&mut command);
        let outcome = client.run_command(command).await;
        assert_eq!((outcome.episode, outcome.step, outcome.state), (1, 0, SlotState::Running), "a refusal changes nothing");
        let failure = failure(&outcome);
        assert!(failure.code.is_refusal() && !failure.action_may_have_applied);
        (failure.code, failure.field.clone().unwrap_or_default().into_owned())
    };
    let ops = || [say("x"), Op::Observe, Op::Snapshot(SnapshotLevel::Replay)];
    for op in ops() {
        assert_eq!(refused(op, &|c| c.expected_step = 1).await, (FailureCode::WrongStep, "expected_step".into()));
    }
    for op in ops().into_iter().chain([reset_to("open", 1), Op::Prepare(task("open", 1))]) {
        assert_eq!(refused(op.clone(), &|c| c.expected_episode = 2).await, (FailureCode::WrongEpisode, "expected_episode".into()));
        assert_eq!(refused(op.clone(), &|c| c.timeout = Duration::ZERO).await, (FailureCode::InvalidArgument, "timeout_ms".into()));
        assert_eq!(refused(op, &|c| c.request_id = 0).await, (FailureCode::InvalidArgument, "request_id".into()));
    }
    assert_eq!(refused(reset_to("none", 1), &|_| ()).await, (FailureCode::UnknownTask, "reset.task.task_id".into()));
    assert_eq!(refused(Op::Prepare(task("none", 1)), &|_| ()).await, (FailureCode::UnknownTask, "prepare.task.task_id".into()));
    let nowhere = from_snapshot(&envfarm_core::SnapshotId("no".into()));
    assert_eq!(refused(nowhere, &|_| ()).await, (FailureCode::UnknownSnapshot, "reset.snapshot_id".into()));
    let long = Op::Step(StepAction::Text { text: "x".repeat(50 << 20), dialect: Dialect::Browsergym });
    assert_eq!(refused(long, &|_| ()).await, (FailureCode::InvalidArgument, "step.text.text".into()));
    let odd = |c: &mut envfarm_core::command::Command| c.observations = Some([spec(ObservationKind::Html)].into());
    assert_eq!(refused(Op::Observe, &odd).await, (FailureCode::InvalidArgument, "observations.specs[0]".into()));
    assert_eq!(bench.world.acts(), 0, "nothing ran");

    let mut command = client.command(0, say("x"));
    command.slot = 1_000_000_000;
    let outcome = client.run_command(command).await;
    assert_eq!((failure(&outcome).code, outcome.slot), (FailureCode::SlotOutOfRange, 1_000_000_000));
    assert_eq!(transition(&client.run(0, say("x")).await).reward, 0.0);
}

#[tokio::test(start_paused = true)]
async fn the_same_request_id_gets_the_recorded_outcome_and_runs_nothing() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    let command = client.command(0, say("once"));
    let first = client.run_command(command.clone()).await;
    let again = client.run_command(command).await;
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!((first.step, again.step, bench.world.acts()), (1, 1, 1));
    // A refusal is not recorded: it must not push out what a client may still need.
    let mut stale = client.command(0, say("late"));
    stale.expected_step = 0;
    client.run_command(stale).await;
    assert_eq!(client.session.positions()[0].last_request_id, first.request_id);
}

#[tokio::test(start_paused = true)]
async fn a_command_in_flight_is_not_run_twice_and_others_find_the_slot_busy() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    bench.world.fault(At::Act, Fault::Takes(Duration::from_secs(5)));
    let command = client.command(0, say("slow"));
    client.send(command.clone()).await;
    client.send(command.clone()).await;
    let other = client.run(0, Op::Observe).await;
    assert_eq!(failure(&other).code, FailureCode::SlotBusy);
    assert_eq!(client.session.positions()[0].in_flight_request_id, command.request_id);
    assert_eq!(transition(&client.next().await).action_result.as_ref().unwrap().answer.as_deref(), Some("slow"));
    client.nothing_more().await;
    assert_eq!(bench.world.acts(), 1);
}

#[tokio::test(start_paused = true)]
async fn cancel_ends_a_step_and_says_that_it_may_have_applied() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    bench.world.fault(At::Act, Fault::Hangs);
    let command = client.command(0, say("stuck"));
    client.send(command.clone()).await;
    client.session.cancel(0, command.request_id + 1).await;
    client.session.cancel(0, command.request_id).await;
    let outcome = client.next().await;
    assert_eq!((failure(&outcome).code, outcome.state), (FailureCode::Cancelled, SlotState::Lost));
    assert!(failure(&outcome).action_may_have_applied);
    client.session.cancel(0, command.request_id).await;
    client.nothing_more().await;
    client.reset(0, "open").await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_still_waits_for_the_gate_harms_nothing_when_it_ends() {
    let gate = Gate::new(8, 1);
    let bench = Setting { gate: gate.clone(), ..Setting::default() }.build();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    let held = gate.step().await;
    let late = client.run(0, say("late")).await;
    assert_eq!((failure(&late).code, late.state), (FailureCode::DeadlineExceeded, SlotState::Running));
    assert!(!failure(&late).action_may_have_applied);
    let command = client.command(0, say("cancelled"));
    client.send(command.clone()).await;
    client.session.cancel(0, command.request_id).await;
    assert_eq!(client.next().await.state, SlotState::Running);
    drop(held);
    assert_eq!(client.run(0, say("now")).await.step, 1);
    assert_eq!(bench.world.acts(), 1);
}

#[tokio::test(start_paused = true)]
async fn attaching_again_takes_over_with_positions_and_outcomes_in_flight() {
    let bench = Bench::new();
    let lease = bench.lease(2);
    let mut first = bench.attach(&lease);
    first.reset(0, "open").await;
    bench.world.fault(At::Act, Fault::Takes(Duration::from_secs(5)));
    let command = first.command(0, say("slow"));
    first.send(command.clone()).await;
    tokio::task::yield_now().await;

    let mut second = bench.attach(&lease);
    assert!(first.outcomes.recv().await.is_none());
    assert_eq!(first.outcomes.ended(), Some(SessionEnd::TakenOver));
    assert_eq!(first.session.submit(vec![command.clone()]).await, Err(SessionEnd::TakenOver));
    let positions = second.session.positions();
    assert_eq!((positions[0].episode, positions[0].in_flight_request_id), (1, command.request_id));
    assert_eq!(positions[1].state, SlotState::Empty);
    assert_eq!(second.next().await.request_id, command.request_id);
    assert_eq!(bench.world.acts(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_nobody_read_is_had_again_after_attaching() {
    let bench = Bench::new();
    let lease = bench.lease(1);
    let mut first = bench.attach(&lease);
    first.reset(0, "open").await;
    bench.world.fault(At::Act, Fault::Takes(Duration::from_secs(5)));
    let command = first.command(0, say("slow"));
    first.send(command.clone()).await;
    drop(first);
    tokio::time::sleep(Duration::from_secs(10)).await;

    let mut second = bench.attach(&lease);
    assert_eq!(second.session.positions()[0].last_request_id, command.request_id);
    let replayed = second.run_command(command).await;
    assert!(replayed.replayed);
    assert_eq!((replayed.step, bench.world.acts()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_held_and_bounded_and_a_second_one_still_gets_in() {
    let options = FarmOptions { outcome_queue: 2, ..FarmOptions::default() };
    let bench = Setting { options, ..Setting::default() }.build();
    let lease = bench.lease(1);
    let mut client = bench.attach(&lease);
    // Every command is refused at once, so outcomes pile up until the slot stops taking commands.
    let flood: Vec<_> = (0..1000).map(|_| client.command(0, Op::Observe)).collect();
    let held = tokio::time::timeout(Duration::from_secs(60), client.session.submit(flood)).await;
    assert!(held.is_err(), "submit must wait while nobody reads");
    let mut read = Vec::new();
    let second = bench.attach(&lease);
    while client.outcomes.recv_many(&mut read, 100).await > 0 {}
    assert!(read.len() <= 2, "{} outcomes were kept", read.len());
    drop(client);

    let mut second = second;
    while let Ok(1..) = tokio::time::timeout(Duration::from_secs(1), second.outcomes.recv_many(&mut read, 100)).await {}
    assert!(read.len() < 20, "the mailbox is bounded, not {}", read.len());
    second.reset(0, "open").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_read_is_bounded_in_bytes_and_nothing_is_lost() {
    // One observation is the goal, 14 bytes.
    let options = FarmOptions { outcome_bytes: 30, ..FarmOptions::default() };
    let bench = Setting { options, ..Setting::default() }.build();
    let mut client = bench.client(4);
    for slot in 0..4 {
        let command = client.command(slot, reset_to("open", 7));
        client.send(command).await;
    }
    let (mut taken, mut read) = (Vec::new(), 0);
    while read < 4 {
        let more = tokio::time::timeout(Duration::from_secs(1), client.outcomes.recv_many(&mut taken, 100)).await;
        match more {
            Ok(count) => {
                assert!(count > 0, "the session goes on");
                assert!(taken.len() <= 2, "{} outcomes of 14 bytes in 30", taken.len());
            }
            // Whoever took them has them still.
            Err(_) => read += taken.drain(..).filter(|outcome| outcome.result.is_ok()).count(),
        }
    }
    assert!(taken.is_empty() && read == 4);
}

#[tokio::test(start_paused = true)]
async fn attaching_to_nothing_or_for_what_is_not_offered_is_refused() {
    let bench = Bench::new();
    let nothing = bench.farm.attach(&LeaseId("no".into()), Arc::default()).map(|_| ()).unwrap_err();
    assert_eq!(nothing, AttachError::UnknownLease);
    let lease = bench.lease(1);
    let html = bench.farm.attach(&lease, [spec(ObservationKind::Html)].into()).map(|_| ()).unwrap_err();
    assert!(matches!(html, AttachError::Observations(f) if f.field.as_deref() == Some("observations.specs[0]")));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_waited_past_its_deadline_is_not_begun() {
    let options = FarmOptions { outcome_queue: 1, ..FarmOptions::default() };
    let bench = Setting { options, ..Setting::default() }.build();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    // Two refusals fill the queue and the slot's outlet; the step waits behind them until somebody reads.
    let mut stale = client.command(0, Op::Observe);
    stale.expected_step = 9;
    let step = client.command(0, say("late"));
    client.session.submit(vec![stale.clone(), stale, step]).await.unwrap();
    tokio::time::sleep(TIMEOUT * 2).await;
    client.next().await;
    client.next().await;
    let late = client.next().await;
    assert_eq!((failure(&late).code, late.state), (FailureCode::DeadlineExceeded, SlotState::Running));
    assert!(!failure(&late).action_may_have_applied);
    assert_eq!(bench.world.acts(), 0);
}
