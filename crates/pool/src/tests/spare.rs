//! Sandboxes that their holders could do without: who is asked for one, when, and who never is.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use envfarm_core::SandboxSpec;

use super::mock::{Mock, Mood, hosts, spec, until};
use crate::{HostState, Lent, MemoryBudget, Pool, PoolSpec, TakeError};

const SOON: Duration = Duration::from_secs(5);

async fn ahead(pool: &Pool) -> Result<Lent, TakeError> {
    pool.take_ahead(SandboxSpec::default(), SOON).await
}

fn wanted(lent: &Lent) -> bool {
    lent.wanted_back().now_or_never().is_some()
}

/// Room for four, each of which opens within 10 ms.
fn four() -> (Mock, Arc<Pool>) {
    let mock = Mock::default();
    mock.world().open = Mood::Takes(Duration::from_millis(10));
    let pool = mock.start(PoolSpec { max_sandboxes: 4, warm: 0, ..spec() });
    (mock, pool)
}

#[tokio::test(start_paused = true)]
async fn takes_ahead_are_served_while_no_other_take_waits() {
    let (_mock, pool) = four();
    let mut held: Vec<_> = join_all((0..4).map(|_| pool.take(SOON))).await;
    let later = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { ahead(&pool).await }
    });
    sleep(Duration::from_millis(1)).await;
    let now = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.take(SOON).await }
    });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pool.view().waiting, 2);
    drop(held.pop());
    let first = now.await.unwrap().unwrap();
    assert!(!later.is_finished());
    drop(first);
    later.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_take_that_waits_gets_the_room_of_one_that_can_be_spared() {
    let (mock, pool) = four();
    let _held = [pool.take(SOON).await.unwrap(), pool.take(SOON).await.unwrap()];
    let spare = [ahead(&pool).await.unwrap(), ahead(&pool).await.unwrap()];
    sleep(Duration::from_secs(1)).await;
    assert!(!spare.iter().any(wanted), "nobody waits");
    let [second, first] = spare;
    let begun = Instant::now();
    let giver = async move {
        first.wanted_back().await;
        drop(first);
    };
    let (taken, ()) = tokio::join!(pool.take(SOON), giver);
    assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
    sleep(Duration::from_secs(1)).await;
    assert!(!wanted(&second), "one was enough");
    assert_eq!((mock.world().opened, pool.view().busy), (5, 4), "what was given back is not lent again");
    drop(taken);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_kept_is_not_given_up_and_another_is_asked_for() {
    let (_mock, pool) = four();
    let mut spare: Vec<_> = join_all((0..4).map(|_| ahead(&pool))).await.into_iter().map(Result::unwrap).collect();
    let mut take = Box::pin(pool.take(SOON));
    assert!((&mut take).now_or_never().is_none());
    sleep(Duration::from_millis(100)).await;
    let asked = spare.iter().position(wanted).expect("one is asked for");
    assert_eq!(spare.iter().filter(|lent| wanted(lent)).count(), 1);
    spare[asked].keep();
    sleep(Duration::from_millis(100)).await;
    assert!(!wanted(&spare[asked]));
    let other = spare.iter().position(wanted).expect("another is asked for");
    drop(spare.remove(other));
    take.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_can_be_opened_is_not_asked_for() {
    let (mock, pool) = four();
    let _held = join_all((0..2).map(|_| pool.take(SOON))).await;
    let spare = ahead(&pool).await.unwrap();
    mock.world().open = Mood::Takes(Duration::from_secs(2));
    let taken = pool.take(SOON).await.unwrap();
    assert!(!wanted(&spare));
    mock.world().close = Mood::Takes(Duration::from_secs(1));
    drop(taken);
    let _taken = pool.take(SOON).await.unwrap();
    assert!(!wanted(&spare), "the room of one that closes is enough");
}

#[tokio::test(start_paused = true)]
async fn where_memory_is_short_spares_are_asked_for_one_by_one_and_their_room_is_used_at_once() {
    let mock = Mock::default();
    mock.world().bytes = 140;
    let budget = MemoryBudget::new(145);
    let pool = mock.start_within(PoolSpec { max_sandboxes: 16, warm: 0, max_hosts: 1, ..spec() }, Arc::clone(&budget));
    let mut spare: Vec<_> = join_all((0..4).map(|_| ahead(&pool))).await.into_iter().map(Result::unwrap).collect();
    until(&pool, Duration::from_secs(20), "measured", |v| v.hosts.iter().all(|h| h.bytes == 140)).await;
    for left in (0..4).rev() {
        let mut take = Box::pin(pool.take(SOON));
        assert!((&mut take).now_or_never().is_none());
        sleep(Duration::from_millis(50)).await;
        let asked = spare.iter().position(wanted).expect("one is asked for");
        drop(spare.remove(asked));
        std::mem::forget(take.await.unwrap());
        assert_eq!(spare.iter().filter(|lent| !wanted(lent)).count(), left);
    }
    assert!(budget.used() <= budget.total());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_retires_wants_back_what_can_be_spared_and_nothing_else() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { max_hosts: 1, recycle_after: Duration::from_secs(30), ..spec() });
    let held = pool.take(SOON).await.unwrap();
    let early = ahead(&pool).await.unwrap();
    let mut late = pool.take(SOON).await.unwrap();
    assert!(!early.host_is_retiring());
    until(&pool, Duration::from_secs(40), "retiring", |v| hosts(v, HostState::Retiring) == 1).await;
    sleep(Duration::from_secs(1)).await;
    assert!(wanted(&early) && held.host_is_retiring());
    late.spare();
    sleep(Duration::from_secs(1)).await;
    assert!(wanted(&late) && !wanted(&held));
    drop((early, late, held));
    until(&pool, SOON, "gone", |v| hosts(v, HostState::Retiring) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn episodes_in_place_wear_a_host_like_others() {
    let mock = Mock::default();
    let pool = mock.start(PoolSpec { max_hosts: 1, recycle_after_served: 20, ..spec() });
    let lent = pool.take(SOON).await.unwrap();
    until(&pool, SOON, "warm", |v| v.warm == 4).await;
    for _ in 0..20 {
        lent.serves_again();
    }
    until(&pool, SOON, "retiring", |v| hosts(v, HostState::Retiring) == 1).await;
    assert!(lent.host_is_retiring());
}
