//! `Prepare`: the next episode is ready when its reset comes, and never stands in for another.

use std::sync::atomic::Ordering;
use std::time::Duration;

use envfarm_core::command::{Done, Op};
use envfarm_core::{BackendError, ObservationKind, ResetMode, ResetStrategy, SlotState};

use crate::support::*;

async fn prepare(client: &mut Client, id: &str, seed: u64) {
    let outcome = client.run(0, Op::Prepare(task(id, seed))).await;
    assert!(matches!(outcome.result, Ok(Done::Prepared)), "{:?}", outcome.result);
}

/// Lets background work that needs no time happen.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test(start_paused = true)]
async fn the_reset_it_was_made_for_takes_it_with_its_observation() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    prepare(&mut client, "short", 3).await;
    assert_eq!(client.run(0, say("meanwhile")).await.step, 1);
    settle().await;
    let (set_ups, observed) = (bench.world.set_ups(), bench.world.observed.load(Ordering::SeqCst));
    let outcome = client.run(0, reset_to("short", 3)).await;
    assert_eq!(report(&outcome).strategy, ResetStrategy::Prepared);
    assert!(report(&outcome).verified_clean && report(&outcome).duration < Duration::from_millis(1));
    assert_eq!(report(&outcome).step_limit, Some(3));
    assert_eq!(transition(&outcome).observations[0].data.as_deref(), Ok(&b"goal of short 3"[..]));
    assert_eq!((bench.world.set_ups(), bench.world.observed.load(Ordering::SeqCst)), (set_ups, observed));
    assert_eq!(report(&client.run(0, reset_to("short", 3)).await).strategy, ResetStrategy::Fresh, "it is taken once");
}

#[tokio::test(start_paused = true)]
async fn a_reset_waits_for_one_that_is_not_ready_yet() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    bench.world.fault(At::SetUp, Fault::Takes(Duration::from_secs(5)));
    prepare(&mut client, "open", 3).await;
    settle().await;
    let outcome = client.run(0, reset_to("open", 3)).await;
    assert_eq!((report(&outcome).strategy, bench.world.set_ups()), (ResetStrategy::Prepared, 1));
    assert!(outcome.timing.queue > Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn it_may_be_asked_for_while_a_step_runs() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    bench.world.fault(At::Act, Fault::Takes(Duration::from_secs(5)));
    let step = client.command(0, say("slow"));
    client.send(step.clone()).await;
    prepare(&mut client, "open", 3).await;
    assert_eq!(client.next().await.request_id, step.request_id);
    assert_eq!(client.session.positions()[0].last_request_id, step.request_id, "the step's outcome stays recorded");
    assert_eq!(report(&client.run(0, reset_to("open", 3)).await).strategy, ResetStrategy::Prepared);
}

#[tokio::test(start_paused = true)]
async fn other_observations_are_taken_anew() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    prepare(&mut client, "open", 3).await;
    settle().await;
    let mut command = client.command(0, reset_to("open", 3));
    command.observations = Some([spec(ObservationKind::Url)].into());
    let outcome = client.run_command(command).await;
    assert_eq!(report(&outcome).strategy, ResetStrategy::Prepared);
    assert_eq!(transition(&outcome).observations[0].kind, ObservationKind::Url);
}

#[tokio::test(start_paused = true)]
async fn another_reset_discards_it_and_another_prepare_replaces_it() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    prepare(&mut client, "open", 1).await;
    settle().await;
    prepare(&mut client, "open", 2).await;
    settle().await;
    assert_eq!(bench.pool.view().busy, 1, "the first gave its sandbox back");
    let other = client.run(0, reset_to("open", 1)).await;
    assert_eq!(report(&other).strategy, ResetStrategy::Fresh);
    settle().await;
    assert_eq!(bench.pool.view().busy, 1);
    assert_eq!(report(&client.run(0, reset_to("open", 2)).await).strategy, ResetStrategy::Fresh);
}

#[tokio::test(start_paused = true)]
async fn a_prepared_episode_that_broke_falls_back_to_a_fresh_one() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    prepare(&mut client, "open", 1).await;
    settle().await;
    bench.world.kill_hosts();
    let outcome = client.run(0, reset_to("open", 1)).await;
    assert_eq!((report(&outcome).strategy, outcome.state), (ResetStrategy::Fresh, SlotState::Running));

    let unsupported = || Fault::Fails(BackendError::Unsupported("that page"));
    bench.world.fault(At::SetUp, unsupported());
    prepare(&mut client, "open", 2).await;
    // Until there is a host again.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(report(&client.run(0, reset_to("open", 2)).await).strategy, ResetStrategy::Fresh);
}

#[tokio::test(start_paused = true)]
async fn its_time_limit_counts_from_the_reset() {
    let bench = Setting { time_limit: Some(Duration::from_secs(10)), ..Setting::default() }.build();
    let mut client = bench.client(1);
    prepare(&mut client, "open", 1).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let outcome = client.run(0, reset_to("open", 1)).await;
    assert_eq!(report(&outcome).strategy, ResetStrategy::Prepared);
    assert_eq!(transition(&client.run(0, say("in time")).await).truncated, None);
}

#[tokio::test(start_paused = true)]
async fn where_resets_are_in_place_it_is_taken_all_the_same() {
    let bench = Setting { in_place: true, default_mode: ResetMode::InPlace, ..Setting::default() }.build();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    prepare(&mut client, "open", 9).await;
    settle().await;
    assert_eq!(report(&client.run(0, reset_to("open", 9)).await).strategy, ResetStrategy::Prepared);
    settle().await;
    assert_eq!(bench.pool.view().busy, 1, "the episode before gave its sandbox back");

    prepare(&mut client, "open", 10).await;
    settle().await;
    assert_eq!(report(&client.run(0, reset_to("open", 11)).await).strategy, ResetStrategy::InPlace, "it was made for another");
    settle().await;
    assert_eq!(bench.pool.view().busy, 1);

    bench.world.fault(At::SetUp, Fault::Fails(BackendError::Unsupported("that page")));
    prepare(&mut client, "open", 12).await;
    settle().await;
    assert_eq!(report(&client.run(0, reset_to("open", 12)).await).strategy, ResetStrategy::InPlace, "it came to nothing");
}
