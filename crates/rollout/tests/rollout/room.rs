//! Sandboxes that wait for their next use never keep a reset waiting, nor a host that retires.

use std::collections::BTreeMap;
use std::time::Duration;

use envfarm_core::command::{Done, Op, Reset, ResetFrom};
use envfarm_core::{ResetMode, ResetStrategy};

use crate::support::*;

/// Lets background work that needs no time happen.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn prepare(client: &mut Client, slot: u32, seed: u64) {
    let outcome = client.run(slot, Op::Prepare(task("open", seed))).await;
    assert!(matches!(outcome.result, Ok(Done::Prepared)), "{:?}", outcome.result);
}

fn in_place(id: &str) -> Op {
    Op::Reset(Reset { from: ResetFrom::Task(task(id, 8)), mode: Some(ResetMode::InPlace), step_limit: None, time_limit: None })
}

fn crowded(slots: u32) -> Bench {
    Setting { max_slots: slots, max_sandboxes: slots as usize, ..Setting::default() }.build()
}

/// Resets all slots at once.
async fn reset_all(client: &mut Client, slots: u32, seed: u64) -> Vec<ResetStrategy> {
    let commands: Vec<_> = (0..slots).map(|slot| client.command(slot, reset_to("open", seed))).collect();
    client.session.submit(commands).await.unwrap();
    let mut strategies = Vec::new();
    for _ in 0..slots {
        let outcome = client.next().await;
        strategies.push(report(&outcome).strategy);
        assert!(outcome.timing.total < Duration::from_secs(2), "{:?}", outcome.timing);
    }
    strategies
}

#[tokio::test(start_paused = true)]
async fn prepared_episodes_give_way_to_a_reset_where_there_is_no_room_for_both() {
    let bench = crowded(4);
    let mut client = bench.client(4);
    reset_all(&mut client, 4, 0).await;
    // The last slot asks first, so that it gets what the first one gives back.
    for slot in (0..4).rev() {
        prepare(&mut client, slot, 1).await;
    }
    client.run(0, say("win")).await;
    settle().await;
    let outcome = client.run(0, reset_to("open", 1)).await;
    assert_eq!(report(&outcome).strategy, ResetStrategy::Fresh);
    assert!(outcome.timing.total < Duration::from_secs(2), "{:?}", outcome.timing);
    client.run(3, say("win")).await;
    let outcome = client.run(3, reset_to("open", 1)).await;
    assert!(outcome.timing.total < Duration::from_secs(2), "{:?}", outcome.timing);
}

#[tokio::test(start_paused = true)]
async fn a_trainer_in_lockstep_that_prepares_everything_never_waits_for_itself() {
    let bench = crowded(4);
    let mut client = bench.client(4);
    reset_all(&mut client, 4, 0).await;
    for seed in 1..30 {
        for slot in 0..4 {
            prepare(&mut client, (slot + seed as u32) % 4, seed).await;
        }
        for slot in 0..4 {
            client.run(slot, say("win")).await;
            let outcome = client.run(slot, reset_to("open", seed + u64::from(slot % 2))).await;
            assert!(outcome.timing.total < Duration::from_secs(2), "{:?}", outcome.result);
            client.run(slot, say("win")).await;
            tokio::time::sleep(Duration::from_millis((seed * 7 + u64::from(slot) * 3) % 5)).await;
        }
        // Some resets are not those that were prepared for.
        reset_all(&mut client, 4, seed + seed % 3 / 2).await;
    }
    settle().await;
    assert!(bench.pool.view().busy <= 4);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_being_made_ready_gives_way_too_but_not_once_its_reset_waits_for_it() {
    let bench = crowded(2);
    let mut client = bench.client(2);
    bench.world.fault(At::SetUp, Fault::Takes(Duration::from_secs(20)));
    prepare(&mut client, 0, 1).await;
    prepare(&mut client, 1, 1).await;
    settle().await;
    let begun = tokio::time::Instant::now();
    let slow = client.command(0, reset_to("open", 1));
    client.send(slow.clone()).await;
    let other = client.run(1, reset_to("open", 2)).await;
    assert_eq!(report(&other).strategy, ResetStrategy::Fresh);
    let slow = client.next().await;
    assert_eq!((report(&slow).strategy, begun.elapsed().as_secs()), (ResetStrategy::Prepared, 19));

    bench.world.fault(At::SetUp, Fault::Hangs);
    client.run(0, say("win")).await;
    prepare(&mut client, 1, 3).await;
    settle().await;
    assert_eq!(bench.pool.view().busy, 2);
    let outcome = client.run(0, reset_to("open", 4)).await;
    assert!(outcome.timing.total < Duration::from_secs(2), "{:?}", outcome.timing);
}

#[tokio::test(start_paused = true)]
async fn an_episode_that_is_over_gives_way_to_a_reset() {
    let bench = Setting { in_place: true, max_slots: 2, max_sandboxes: 1, ..Setting::default() }.build();
    let mut client = bench.client(2);
    client.run(0, in_place("open")).await;
    client.run(0, say("win")).await;
    assert_eq!(report(&client.run(0, in_place("open")).await).strategy, ResetStrategy::InPlace, "nobody wanted it");
    client.run(0, say("win")).await;
    let outcome = client.run(1, reset_to("open", 1)).await;
    assert!(outcome.timing.total < Duration::from_secs(2), "{:?}", outcome.timing);
    client.run(1, say("win")).await;
    assert_eq!(report(&client.run(0, in_place("open")).await).strategy, ResetStrategy::Fresh, "its sandbox went to another");
}

#[tokio::test(start_paused = true)]
async fn a_retiring_host_does_not_wait_for_episodes_that_are_over_or_prepared() {
    let bench = Setting { in_place: true, recycle_after_served: 20, max_hosts: 1, ..Setting::default() }.build();
    let mut client = bench.client(3);
    let old = report(&client.run(0, in_place("open")).await).host.clone();
    client.run(0, say("win")).await;
    prepare(&mut client, 1, 1).await;
    for _ in 0..25 {
        client.reset(2, "open").await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let hosts = bench.pool.view().hosts;
    assert!(hosts.iter().all(|host| host.id.0 != old), "{hosts:?}");
    assert_eq!(report(&client.run(0, in_place("open")).await).strategy, ResetStrategy::Fresh);
    assert_eq!(report(&client.run(1, reset_to("open", 1)).await).strategy, ResetStrategy::Fresh);
}

#[tokio::test(start_paused = true)]
async fn episodes_in_place_wear_their_host_and_leave_it_when_it_retires() {
    let bench =
        Setting { in_place: true, default_mode: ResetMode::InPlace, recycle_after_served: 20, max_hosts: 1, ..Setting::default() }.build();
    let mut client = bench.client(1);
    let mut hosts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..100 {
        let outcome = client.reset(0, "open").await;
        *hosts.entry(report(&outcome).host.clone()).or_default() += 1;
        client.run(0, say("win")).await;
        settle().await;
    }
    assert!((4..=8).contains(&hosts.len()) && hosts.values().all(|episodes| *episodes <= 25), "{hosts:?}");
    assert!(bench.pool.view().hosts.len() <= 2, "{:?}", bench.pool.view());
}
