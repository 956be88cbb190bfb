//! Hosts are replaced when worn, one at a time, and without a gap where memory allows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use envfarm_core::HostId;
use tokio::time::{Instant, sleep};

use super::mock::{Mock, Mood, hosts, spec, until};
use crate::{HostState, MemoryBudget, Pool, PoolSpec};

const SOON: Duration = Duration::from_secs(5);

fn ids(pool: &Pool) -> BTreeSet<HostId> {
    pool.view().hosts.into_iter().map(|h| h.id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_host_is_recycled_after_what_it_served_without_a_cold_take() {
    let mock = Mock::default();
    mock.world().launch = Mood::Takes(Duration::from_millis(300));
    mock.world().open = Mood::Takes(Duration::from_millis(20));
    let pool = mock.start(PoolSpec { max_hosts: 1, recycle_after_served: 50, ..spec() });
    pool.set_leased_slots(2);
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    for _ in 0..400 {
        let begun = Instant::now();
        let lent = pool.take(SOON).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        sleep(Duration::from_millis(50)).await;
        drop(lent);
        let view = pool.view();
        assert!(view.hosts.len() <= 2, "{view:?}");
    }
    let launches = mock.world().launches.len();
    assert!((6..=9).contains(&launches), "{launches}");
}

#[tokio::test(start_paused = true)]
async fn hosts_of_one_age_are_recycled_one_at_a_time() {
    let mock = Mock::default();
    mock.world().launch = Mood::Takes(Duration::from_millis(300));
    let pool = mock.start(PoolSpec { min_hosts: 2, recycle_after: Duration::from_secs(60), ..spec() });
    until(&pool, SOON, "warm", |v| v.warm == 4 && hosts(v, HostState::Ready) == 2).await;
    let old = ids(&pool);
    let begun = Instant::now();
    while !ids(&pool).is_disjoint(&old) {
        assert!(begun.elapsed() < Duration::from_secs(70), "{:?}", pool.view());
        let view = pool.view();
        assert!(hosts(&view, HostState::Ready) >= 2, "{view:?}");
        assert!(hosts(&view, HostState::Retiring) <= 1 && view.hosts.len() <= 3, "{view:?}");
        assert!(view.warm >= 3, "{view:?}");
        sleep(Duration::from_millis(1)).await;
    }
    assert!(begun.elapsed() > Duration::from_secs(55));
    until(&pool, SOON, "settled", |v| v.warm == 4 && v.hosts.len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_measured_too_big_is_recycled() {
    let mock = Mock::default();
    mock.world().bytes = 300;
    let pool = mock.start(PoolSpec { min_hosts: 2, recycle_above_bytes: 1000, ..spec() });
    until(&pool, SOON, "warm", |v| v.warm == 4 && hosts(v, HostState::Ready) == 2).await;
    until(&pool, Duration::from_secs(15), "measured", |v| v.hosts.iter().all(|h| h.bytes == 300)).await;
    let big = ids(&pool).pop_first().unwrap();
    mock.world().bytes_of.insert(big.clone(), 1001);
    until(&pool, Duration::from_secs(15), "replaced", |v| v.hosts.iter().all(|h| h.id != big) && v.hosts.len() == 2).await;
    assert_eq!(mock.world().most_measuring, 1);
}

#[tokio::test(start_paused = true)]
async fn a_retiring_host_gets_nothing_new_and_ends_with_its_last_sandbox() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { max_hosts: 1, recycle_after: Duration::from_secs(30), ..spec() });
    let lent = pool.take(SOON).await.unwrap();
    let old = lent.host().clone();
    until(&pool, Duration::from_secs(40), "retiring", |v| hosts(v, HostState::Retiring) == 1 && v.warm == 4).await;
    for _ in 0..20 {
        let other = pool.take(SOON).await.unwrap();
        assert_ne!(*other.host(), old);
    }
    sleep(Duration::from_secs(5)).await;
    let view = pool.view();
    assert!(view.hosts.iter().any(|h| h.id == old && h.sandboxes == 1), "{view:?}");
    drop(lent);
    until(&pool, SOON, "gone", |v| v.hosts.iter().all(|h| h.id != old)).await;
}

#[tokio::test(start_paused = true)]
async fn without_memory_for_both_the_worn_host_goes_first() {
    let mock = Mock::default();
    mock.world().bytes = 140;
    let budget = MemoryBudget::new(200);
    let pool = mock.start_within(PoolSpec { max_hosts: 1, recycle_after: Duration::from_secs(30), ..spec() }, Arc::clone(&budget));
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    let old = ids(&pool);
    until(&pool, Duration::from_secs(40), "replaced", |v| v.warm == 4 && v.hosts.iter().all(|h| !old.contains(&h.id))).await;
    assert!(budget.used() <= 200);
    assert_eq!(mock.world().launches.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn worn_hosts_stay_while_new_ones_cannot_be_launched() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { recycle_after: Duration::from_secs(30), ..spec() });
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    mock.world().launch = Mood::Fails("image is gone");
    sleep(Duration::from_secs(120)).await;
    pool.take(SOON).await.unwrap();
    assert!(mock.world().launches.len() < 15);
    mock.world().launch = Mood::Works;
    let old = ids(&pool);
    until(&pool, Duration::from_secs(60), "replaced", |v| v.warm == 4 && v.hosts.iter().all(|h| !old.contains(&h.id))).await;
}

#[tokio::test(start_paused = true)]
async fn over_budget_the_largest_idle_host_of_all_pools_goes() {
    let mock = Mock::default();
    let budget = MemoryBudget::new(1000);
    let busy = mock.start_within(PoolSpec { warm: 0, ..spec() }, Arc::clone(&budget));
    let small = mock.start_within(PoolSpec { warm: 0, ..spec() }, Arc::clone(&budget));
    let large = mock.start_within(PoolSpec { warm: 0, ..spec() }, Arc::clone(&budget));
    let _lent = busy.take(SOON).await.unwrap();
    for pool in [&busy, &small, &large] {
        until(pool, SOON, "ready", |v| hosts(v, HostState::Ready) == 1).await;
    }
    let of = |pool: &Pool| ids(pool).pop_first().unwrap();
    let (busy_host, small_host, large_host) = (of(&busy), of(&small), of(&large));
    mock.world().bytes = 120;
    for (id, bytes) in [(&busy_host, 600), (&small_host, 150), (&large_host, 300)] {
        mock.world().bytes_of.insert(id.clone(), bytes);
    }
    until(&large, Duration::from_secs(15), "replaced", |v| v.hosts.iter().all(|h| h.id != large_host)).await;
    sleep(Duration::from_secs(30)).await;
    assert_eq!((of(&busy), of(&small)), (busy_host, small_host));
    assert!(budget.used() <= 1000, "{}", budget.used());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_waits_long_for_its_last_sandbox_does_not_keep_others_from_being_recycled() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { min_hosts: 3, max_hosts: 3, recycle_after: Duration::from_secs(600), ..spec() });
    until(&pool, SOON, "warm", |v| v.warm == 4 && hosts(v, HostState::Ready) == 3).await;
    let old = ids(&pool);
    let idle: Vec<_> = futures::future::join_all((0..12).map(|_| pool.take(SOON))).await;
    let on: BTreeSet<_> = idle.iter().map(|lent| lent.as_ref().unwrap().host().clone()).collect();
    assert_eq!(on, old, "every host has a sandbox that never ends");
    let ready = |v: &crate::PoolView| v.hosts.iter().filter(|h| h.state == HostState::Ready && !old.contains(&h.id)).count();
    until(&pool, Duration::from_secs(800), "all replaced", |v| {
        assert!(v.hosts.len() <= 6 && hosts(v, HostState::Ready) >= 3, "{v:?}");
        ready(v) == 3
    })
    .await;
    // Three of them are enough: the next ones stay until one of these has gone.
    until(&pool, Duration::from_secs(1500), "worn again", |v| v.hosts.iter().all(|h| h.age > Duration::from_secs(900))).await;
    drop(idle);
    until(&pool, Duration::from_secs(300), "replaced again", |v| v.hosts.iter().all(|h| h.age < Duration::from_secs(300))).await;
}

#[tokio::test(start_paused = true)]
async fn over_budget_a_host_that_lingers_does_not_stand_in_for_one_that_goes() {
    let mock = Mock::default();
    let budget = MemoryBudget::new(1000);
    let first = mock.start_within(PoolSpec { warm: 0, ..spec() }, Arc::clone(&budget));
    let second = mock.start_within(PoolSpec { warm: 0, ..spec() }, Arc::clone(&budget));
    let idle = [first.take(SOON).await.unwrap(), second.take(SOON).await.unwrap()];
    for (lent, bytes) in idle.iter().zip([600, 550]) {
        mock.world().bytes_of.insert(lent.host().clone(), bytes);
    }
    until(&first, Duration::from_secs(15), "retiring", |v| hosts(v, HostState::Retiring) == 1).await;
    assert_eq!(hosts(&second.view(), HostState::Retiring), 0);
    until(&second, Duration::from_secs(120), "retiring too", |v| hosts(v, HostState::Retiring) == 1).await;
}
