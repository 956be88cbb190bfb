//! The farm's end: no new episodes, a deadline for running ones, and nothing left.

use std::sync::atomic::Ordering;
use std::time::Duration;

use envfarm_core::FailureCode;
use envfarm_core::command::Op;
use envfarm_rollout::{AcquireError, SessionEnd};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_drain_refuses_new_episodes_and_waits_for_running_ones_to_end() {
    let bench = Bench::new();
    let mut client = bench.client(2);
    client.reset(0, "open").await;
    let mut told = bench.farm.draining();
    let farm = bench.farm.clone();
    let draining = tokio::spawn(async move { farm.drain(Duration::from_secs(60)).await });
    told.changed().await.unwrap();
    assert!(told.borrow().is_some_and(|deadline| deadline > Instant::now()));

    for op in [reset_to("open", 1), Op::Prepare(task("open", 1))] {
        assert_eq!(failure(&client.run(1, op).await).code, FailureCode::ShuttingDown);
    }
    assert_eq!(bench.farm.acquire("new", "mock", 1, None), Err(AcquireError::ShuttingDown));
    let began = Instant::now();
    assert_eq!(client.run(0, say("a")).await.step, 1);
    assert_eq!(transition(&client.run(0, say("win")).await).reward, 1.0);
    draining.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "the last episode ended, so the drain need not wait");
    assert!(client.outcomes.recv().await.is_none());
    assert_eq!(client.outcomes.ended(), Some(SessionEnd::ShuttingDown));
    assert_eq!(bench.world.open.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn episodes_that_outlast_the_deadline_fail_and_their_client_is_told() {
    let bench = Bench::new();
    let mut client = bench.client(2);
    client.reset(0, "open").await;
    client.reset(1, "open").await;
    bench.world.fault(At::Act, Fault::Hangs);
    let mut stuck = client.command(0, say("stuck"));
    stuck.timeout = Duration::from_secs(3600);
    client.send(stuck.clone()).await;
    let began = Instant::now();
    bench.farm.drain(Duration::from_secs(5)).await;
    assert!((5..30).contains(&began.elapsed().as_secs()));
    let outcome = client.next().await;
    assert_eq!((outcome.request_id, failure(&outcome).code), (stuck.request_id, FailureCode::ShuttingDown));
    assert!(failure(&outcome).action_may_have_applied);
    assert!(client.outcomes.recv().await.is_none());
    assert_eq!(bench.world.open.load(Ordering::SeqCst), 0, "no sandbox outlives the farm");
}

#[tokio::test(start_paused = true)]
async fn a_second_drain_hurries_the_first() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    let began = Instant::now();
    tokio::join!(bench.farm.drain(Duration::from_secs(600)), bench.farm.drain(Duration::from_secs(1)));
    assert!(began.elapsed() < Duration::from_secs(60));
}
