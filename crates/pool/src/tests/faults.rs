//! What breaks costs only itself: hosts die, launches fail, calls hang or panic.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::mock::{Mock, Mood, hosts, spec, until};
use crate::{HostState, PoolSpec, TakeError};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_dead_host_is_replaced_within_seconds_and_others_go_on() {
    let mock = Mock::default();
    mock.world().launch = Mood::Takes(Duration::from_millis(500));
    let pool = mock.start(PoolSpec { min_hosts: 2, ..spec() });
    pool.set_leased_slots(8);
    until(&pool, SOON, "warm", |v| hosts(v, HostState::Ready) == 2 && v.warm == 4).await;
    let lent = join_all((0..8).map(|_| pool.take(SOON))).await;
    let lent: Vec<_> = lent.into_iter().map(Result::unwrap).collect();
    until(&pool, SOON, "warm", |v| v.warm == 4).await;

    let victim = lent[0].host().clone();
    mock.kill(&victim);
    let healed = until(&pool, SOON, "healed", |v| hosts(v, HostState::Ready) == 2 && v.warm == 4 && v.hosts.iter().all(|h| h.id != victim));
    assert!(healed.await < SOON);
    for lent in &lent {
        let closed = futures::poll!(std::pin::pin!(lent.host_closed())).is_ready();
        assert_eq!(closed, *lent.host() == victim);
    }
    // What is given back to a dead host counts nowhere.
    drop(lent);
    until(&pool, SOON, "settled", |v| v.busy == 0 && v.hosts.iter().map(|h| h.sandboxes).sum::<usize>() == v.warm).await;
    assert_eq!(mock.world().live, pool.view().warm);
    assert_eq!(mock.world().alive.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn takes_wait_through_the_death_of_the_only_host() {
    let mock = Mock::default();
    mock.world().open = Mood::Takes(Duration::from_secs(1));
    let pool = mock.start(PoolSpec { warm: 0, ..spec() });
    until(&pool, SOON, "ready", |v| hosts(v, HostState::Ready) == 1).await;
    sleep(Duration::from_secs(30)).await;
    let begun = Instant::now();
    let kill = async {
        sleep(Duration::from_millis(500)).await;
        let id = pool.view().hosts[0].id.clone();
        mock.kill(&id);
    };
    let (take, ()) = tokio::join!(pool.take(SOON), kill);
    take.unwrap();
    // Half of the first open, a launch, and a whole open: no deadline was waited for.
    assert!(begun.elapsed() < Duration::from_millis(2000), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn failing_launches_back_off_and_takes_say_why() {
    let mock = Mock::default();
    mock.world().launch = Mood::Fails("chromium-headless-shell not found");
    let pool = mock.start(spec());
    let Err(TakeError::Timeout { why, .. }) = pool.take(Duration::from_secs(10)).await else { panic!("taken") };
    assert!(why.contains("chromium-headless-shell not found"), "{why}");
    sleep(Duration::from_secs(290)).await;
    let launches = mock.world().launches.clone();
    // 0.25, 0.5, 1, … 30 s, give or take a quarter: far from one a tick, and not given up.
    assert!((10..40).contains(&launches.len()), "{}", launches.len());
    assert!(launches[1] - launches[0] < Duration::from_secs(1));
    assert!(launches[launches.len() - 1] - launches[launches.len() - 2] > Duration::from_secs(20));
    assert_eq!(pool.view().trouble.as_deref(), Some("chromium-headless-shell not found"));

    mock.world().launch = Mood::Works;
    pool.take(Duration::from_secs(45)).await.unwrap();
    until(&pool, Duration::from_secs(15), "no trouble", |v| v.trouble.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn trouble_is_forgotten_once_no_new_host_is_needed() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    mock.world().launch = Mood::Fails("no such image");
    pool.set_leased_slots(12);
    until(&pool, SOON, "trouble", |v| v.trouble.is_some()).await;
    sleep(Duration::from_secs(90)).await;
    assert!(pool.view().trouble.is_some(), "a host is missing still");
    pool.set_leased_slots(0);
    until(&pool, Duration::from_secs(90), "no trouble", |v| v.trouble.is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_always_dies_young_is_not_launched_in_a_storm() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        let ready = pool.view().hosts.iter().find(|h| h.state == HostState::Ready).map(|h| h.id.clone());
        if let Some(id) = ready {
            mock.kill(&id);
        }
        sleep(Duration::from_millis(20)).await;
    }
    let launches = mock.world().launches.len();
    assert!(launches < 20, "{launches}");
    assert!(pool.view().trouble.unwrap().contains("host died"));
}

#[tokio::test(start_paused = true)]
async fn an_open_that_hangs_is_timed_out_and_its_host_replaced() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    let first = pool.view().hosts[0].id.clone();
    mock.world().open = Mood::Hangs;
    let held = join_all((0..4).map(|_| pool.take(SOON))).await;
    assert!(held.iter().all(Result::is_ok));
    let Err(TakeError::Timeout { why, .. }) = pool.take(Duration::from_secs(12)).await else { panic!("taken") };
    assert!(why.contains("open sandbox took longer than 5s"), "{why}");
    mock.world().open = Mood::Works;
    pool.take(Duration::from_secs(20)).await.unwrap();
    drop(held);
    until(&pool, SOON, "the host is gone", |v| v.hosts.iter().all(|h| h.id != first)).await;
}

#[tokio::test(start_paused = true)]
async fn closes_that_hang_do_not_keep_takes_waiting() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { max_sandboxes: 64, sandboxes_per_host: 64, ..spec() });
    pool.set_leased_slots(4);
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    mock.world().close = Mood::Hangs;
    let begun = Instant::now();
    for _ in 0..40 {
        drop(pool.take(SOON).await.unwrap());
    }
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    // A host whose sandboxes never close is replaced, and they die with it.
    let first = pool.view().hosts[0].id.clone();
    until(&pool, Duration::from_secs(60), "replaced", |v| v.hosts.iter().all(|h| h.id != first) && v.warm == 4).await;
    assert_eq!(mock.world().live, 4);
}

#[tokio::test(start_paused = true)]
async fn panics_in_jobs_do_not_wedge_the_pool() {
    let mock = Mock::default();
    mock.world().launch = Mood::Panics;
    let pool = mock.start(spec());
    let Err(TakeError::Timeout { why, .. }) = pool.take(SOON).await else { panic!("taken") };
    assert!(why.contains("panicked"), "{why}");
    mock.world().launch = Mood::Works;
    mock.world().open = Mood::Panics;
    assert!(pool.take(Duration::from_secs(20)).await.is_err());
    mock.world().open = Mood::Works;
    mock.world().close = Mood::Panics;
    for _ in 0..40 {
        drop(pool.take(Duration::from_secs(60)).await.unwrap());
    }
    mock.world().close = Mood::Works;
    until(&pool, Duration::from_secs(60), "healthy", |v| v.warm == 4 && v.busy == 0 && v.trouble.is_none()).await;
    assert_eq!(mock.world().live, 4);
    pool.shutdown().await;
    assert_eq!(mock.world().live, 0);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_destroyed_is_tried_again_and_replaced_meanwhile() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    sleep(Duration::from_secs(20)).await;
    mock.world().destroy = Mood::Fails("device busy");
    let first = pool.view().hosts[0].id.clone();
    mock.kill(&first);
    until(&pool, SOON, "replaced", |v| v.warm == 4 && hosts(v, HostState::Gone) == 1).await;
    mock.world().destroy = Mood::Works;
    until(&pool, SOON, "destroyed", |v| hosts(v, HostState::Gone) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_every_host_and_every_take() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    pool.set_leased_slots(12);
    until(&pool, SOON, "two hosts", |v| hosts(v, HostState::Ready) == 2 && v.warm == 4).await;
    let held = join_all((0..16).map(|_| pool.take(SOON))).await;
    assert!(held.iter().all(Result::is_ok));
    let (waiting, ()) = tokio::join!(pool.take(Duration::from_secs(60)), pool.shutdown());
    assert_eq!(waiting.err(), Some(TakeError::ShuttingDown));
    assert!(mock.world().alive.is_empty());
    assert_eq!(pool.take(SOON).await.err(), Some(TakeError::ShuttingDown));
    drop(held);
    assert_eq!(mock.world().live, 0);
    let view = pool.view();
    assert_eq!((view.busy, view.warm, view.hosts.len()), (0, 0, 0));
    pool.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_bounded_whatever_hangs() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { min_hosts: 2, ..spec() });
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    mock.world().launch = Mood::Hangs;
    mock.world().close = Mood::Hangs;
    mock.world().destroy = Mood::Hangs;
    let lent = pool.take(SOON).await.unwrap();
    mock.kill(&lent.host().clone());
    drop(lent);
    let begun = Instant::now();
    pool.shutdown().await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_pool_ends_its_hosts() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    let lent = pool.take(SOON).await.unwrap();
    drop(pool);
    sleep(SOON).await;
    assert!(mock.world().alive.is_empty());
    drop(lent);
    assert_eq!(mock.world().live, 0);
}
