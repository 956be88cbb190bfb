//! Taking and giving back: warm sandboxes, order, cancellation, sizes, cost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use envfarm_core::SandboxSpec;

use super::mock::{Mock, Mood, hosts, spec, until};
use crate::{Gate, HostState, MemoryBudget, Pool, PoolSpec, TakeError};

const SOON: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_warm_sandbox_is_taken_without_waiting_and_replaced() {
    let mock = Mock::default();
    mock.world().open = Mood::Takes(Duration::from_millis(30));
    let pool = mock.start(spec());
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    let begun = Instant::now();
    let lent = pool.take(SOON).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(pool.view().busy, 1);
    until(&pool, SOON, "warm again", |v| v.warm == 4).await;
    drop(lent);
    until(&pool, SOON, "closed", |v| v.busy == 0 && v.hosts[0].sandboxes == 4).await;
    assert_eq!(mock.world().live, 4);
}

#[tokio::test(start_paused = true)]
async fn no_sandbox_is_lent_twice() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    let mut serials = BTreeSet::new();
    for _ in 0..200 {
        let mut lent = pool.take(SOON).await.unwrap();
        assert!(serials.insert(lent.sandbox().fingerprint().await.unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn takes_are_served_in_the_order_they_came() {
    let mock = Mock::default();
    mock.world().open = Mood::Takes(Duration::from_millis(50));
    let pool = mock.start(PoolSpec { warm: 0, min_hosts: 0, ..spec() });
    let (served, mut order) = tokio::sync::mpsc::channel(10);
    for i in 0..10 {
        let (pool, served) = (Arc::clone(&pool), served.clone());
        tokio::spawn(async move {
            let lent = pool.take(SOON).await.unwrap();
            served.try_send((i, lent)).expect("there is room for all");
        });
    }
    drop(served);
    let (mut held, mut came) = (Vec::new(), Vec::new());
    while let Some((i, lent)) = order.recv().await {
        came.push(i);
        held.push(lent);
    }
    assert_eq!(came, (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn live_sandboxes_never_exceed_the_maximum_but_for_those_closing() {
    let mock = Mock::default();
    mock.world().open = Mood::Takes(Duration::from_millis(20));
    mock.world().close = Mood::Takes(Duration::from_millis(300));
    let pool = mock.start(spec());
    pool.set_leased_slots(12);
    join_all((0..12).map(|_| async {
        for _ in 0..30 {
            let lent = pool.take(Duration::MAX).await.unwrap();
            sleep(Duration::from_millis(fastrand::u64(1..40))).await;
            drop(lent);
        }
    }))
    .await;
    let most = mock.world().most_live;
    assert!(most <= 16 + PoolSpec::closing_margin(16), "{most}");
    // All but those in close jobs went through close.
    until(&pool, Duration::from_secs(60), "settled", |v| v.busy == 0 && v.hosts.iter().all(|h| h.sandboxes <= 8)).await;
}

#[tokio::test(start_paused = true)]
async fn a_take_past_the_maximum_says_that_all_are_in_use() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    let _held = join_all((0..16).map(|_| pool.take(SOON))).await;
    let Err(TakeError::Timeout { waited, why }) = pool.take(Duration::from_secs(1)).await else { panic!("taken") };
    assert_eq!(waited, Duration::from_secs(1));
    assert_eq!(why, "all 16 sandboxes are in use");
    assert_eq!(pool.view().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_takes_lose_no_sandbox() {
    let mock = Mock::default();
    mock.world().open = Mood::Takes(Duration::from_millis(7));
    mock.world().close = Mood::Takes(Duration::from_millis(3));
    let pool = mock.start(spec());
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..100 {
        let patience: Vec<u64> = (0..random.usize(1..24)).map(|_| random.u64(0..40)).collect();
        join_all(patience.into_iter().map(|ms| {
            let pool = Arc::clone(&pool);
            async move {
                // Dropped from outside at any point, or served and given back.
                if let Ok(Ok(lent)) = timeout(Duration::from_millis(ms), pool.take(Duration::from_secs(9))).await {
                    sleep(Duration::from_millis(ms / 2)).await;
                    drop(lent);
                }
            }
        }))
        .await;
    }
    let settled = |v: &crate::PoolView| v.busy == 0 && v.waiting == 0 && v.hosts.iter().map(|h| h.sandboxes).sum::<usize>() == v.warm;
    until(&pool, SOON, &format!("settled, seed {seed}"), settled).await;
    assert_eq!(mock.world().live, pool.view().warm, "seed {seed}");
    // All can still be had at once.
    let all = join_all((0..16).map(|_| pool.take(SOON))).await;
    assert!(all.iter().all(Result::is_ok), "seed {seed}");
    assert_eq!(mock.world().live, 16);
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_came_for_a_dropped_take_stays_warm() {
    let mock = Mock::default();
    mock.world().open = Mood::Takes(Duration::from_millis(100));
    let pool = mock.start(PoolSpec { warm: 0, ..spec() });
    until(&pool, SOON, "ready", |v| hosts(v, HostState::Ready) == 1).await;
    let take = timeout(Duration::from_millis(50), pool.take(SOON)).await;
    assert!(take.is_err());
    until(&pool, SOON, "warm", |v| v.warm == 1).await;
    assert_eq!(mock.world().opened, 1);
}

#[tokio::test(start_paused = true)]
async fn demand_brings_hosts_and_its_end_lets_them_go() {
    let mock = Mock::default();
    let pool = mock.start(spec());
    until(&pool, SOON, "idle", |v| v.warm == 4 && v.hosts.len() == 1).await;
    pool.set_leased_slots(12);
    until(&pool, SOON, "two hosts", |v| hosts(v, HostState::Ready) == 2).await;
    pool.set_leased_slots(0);
    until(&pool, Duration::from_secs(60), "one host", |v| v.hosts.len() == 1 && v.warm == 4).await;
}

#[tokio::test(start_paused = true)]
async fn sandboxes_are_spread_over_hosts() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { min_hosts: 2, warm: 8, ..spec() });
    until(&pool, SOON, "both ready", |v| hosts(v, HostState::Ready) == 2 && v.warm >= 8).await;
    let _lent = join_all((0..8).map(|_| pool.take(SOON))).await;
    until(&pool, SOON, "full", |v| v.warm == 8).await;
    let view = pool.view();
    assert!(view.hosts.iter().all(|h| h.sandboxes == 8), "{view:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_minimum_launches_only_on_demand() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { min_hosts: 0, ..spec() });
    sleep(Duration::from_secs(60)).await;
    assert_eq!(mock.world().launches.len(), 0);
    pool.take(SOON).await.unwrap();
    assert_eq!(mock.world().launches.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn memory_that_is_short_keeps_hosts_from_being_launched() {
    let mock = Mock::default();
    let budget = MemoryBudget::new(150);
    let pool = mock.start_within(PoolSpec { warm: 0, ..spec() }, Arc::clone(&budget));
    let other = mock.start_within(PoolSpec { min_hosts: 0, environment: "other".into(), ..spec() }, Arc::clone(&budget));
    until(&pool, SOON, "ready", |v| hosts(v, HostState::Ready) == 1).await;
    mock.world().bytes = 100;
    let Err(TakeError::Timeout { why, .. }) = other.take(Duration::from_secs(20)).await else { panic!("taken") };
    assert!(why.contains("memory budget"), "{why}");
    assert!(budget.used() <= budget.total());
    pool.shutdown().await;
    other.take(SOON).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_permit_of_the_gate_goes_to_the_first_who_still_waits() {
    let gate = Gate::new(1, 1);
    let held = gate.load().await;
    let mut gone = Box::pin(gate.load());
    assert!(futures::poll!(&mut gone).is_pending());
    let mut next = Box::pin(gate.load());
    assert!(futures::poll!(&mut next).is_pending());
    drop(gone);
    drop(held);
    next.await;
    gate.step().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_opened_or_closed_beside_a_reset_unless_someone_waits_for_it() {
    let mock = Mock::default();
    mock.world().open = Mood::Takes(Duration::from_millis(30));
    let gate = Gate::new(2, 2);
    let me = Arc::new(mock.clone());
    let pool = Pool::start(spec(), me.clone(), me, SandboxSpec::default(), MemoryBudget::new(u64::MAX / 2), gate.clone());
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    let resetting = gate.foreground();
    let mut lent = Vec::new();
    for _ in 0..4 {
        lent.push(pool.take(SOON).await.unwrap());
    }
    drop(lent.pop());
    sleep(Duration::from_millis(200)).await;
    assert_eq!((pool.view().warm, mock.world().live), (0, 4), "neither opened nor closed");
    // Two wait: for them it opens, and makes room.
    let begun = Instant::now();
    lent.push(pool.take(SOON).await.unwrap());
    assert_eq!(begun.elapsed(), Duration::from_millis(30));
    drop(resetting);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(pool.view().warm, 4);
    until(&pool, SOON, "closed", |v| v.hosts[0].sandboxes == 8).await;
}

/// On the real clock: the pool's own cost, with sandboxes that open at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_takes_a_second_are_cheap() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec {
        max_sandboxes: 4096,
        sandboxes_per_host: 4096,
        max_hosts: 1,
        warm: 256,
        open_concurrency: 64,
        close_concurrency: 64,
        ..spec()
    });
    pool.set_leased_slots(64);
    let begun = std::time::Instant::now();
    let takers = (0..64).map(|_| {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            for _ in 0..500 {
                drop(pool.take(Duration::from_secs(30)).await.unwrap());
            }
        })
    });
    for taker in join_all(takers).await {
        taker.unwrap();
    }
    let rate = 32_000.0 / begun.elapsed().as_secs_f64();
    println!("{rate:.0} takes/s");
    // Debug build on a busy machine; a round trip for each would be far below.
    assert!(rate > 2_000.0, "{rate:.0} takes/s");
}
