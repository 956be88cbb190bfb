//! Leases: bounded, idempotent, and given back when their client vanishes.

use std::time::Duration;

use envfarm_core::FailureCode;
use envfarm_core::command::Op;
use envfarm_rollout::{AcquireError, FarmOptions, LeaseError, LeaseId, SessionEnd};

use crate::support::*;

fn short_lived() -> Bench {
    let options = FarmOptions { default_ttl: Duration::from_secs(10), ..FarmOptions::default() };
    Setting { options, ..Setting::default() }.build()
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_lease_is_named() {
    let bench = Bench::new();
    let field = |token: &str, environment: &str, slots| bench.farm.acquire(token, environment, slots, None).unwrap_err().field();
    assert_eq!(field("", "mock", 1), Some("client_token"));
    assert_eq!(field("t", "none", 1), Some("environment"));
    assert_eq!(field("t", "mock", 0), Some("slots"));
    assert_eq!(field("t", "mock", 1_000_000_000), Some("slots"));
    let ttl = bench.farm.acquire("t", "mock", 1, Some(Duration::from_millis(1))).unwrap_err();
    assert_eq!(ttl.field(), Some("ttl_ms"));
    assert_eq!(bench.farm.status().leases, 0);
}

#[tokio::test(start_paused = true)]
async fn the_same_token_is_the_same_lease_and_slots_are_counted_once() {
    let bench = Bench::new();
    let first = bench.farm.acquire("a", "mock", 40, None).unwrap();
    assert_eq!(bench.farm.acquire("a", "mock", 40, None).unwrap().id, first.id);
    let full = bench.farm.acquire("b", "mock", 40, None).unwrap_err();
    assert!(matches!(full, AcquireError::Lease(LeaseError::NoCapacity { free: 24, .. })), "{full:?}");
    assert_eq!(bench.farm.status().environments[0].leased_slots, 40);
    let id = LeaseId(first.id);
    bench.farm.release(&id);
    bench.farm.release(&id);
    assert_eq!(bench.farm.status().environments[0].leased_slots, 0);
    assert!(bench.farm.lease(&id).is_none());
    bench.farm.acquire("b", "mock", 64, None).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_vanished_loses_its_slots_and_their_sandboxes_when_the_lease_expires() {
    let bench = short_lived();
    let lease = bench.lease(4);
    let mut client = bench.attach(&lease);
    for slot in 0..4 {
        client.reset(slot, "open").await;
    }
    let step = client.command(0, say("stuck"));
    bench.world.fault(At::Act, Fault::Hangs);
    client.send(step).await;
    drop(client);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.pool.view().busy, 4);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!((bench.pool.view().busy, bench.pool.view().leased, bench.farm.status().leases), (0, 0, 0));
    assert!(bench.farm.attach(&lease, [].into()).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_attached_client_keeps_its_lease_without_saying_so() {
    let bench = short_lived();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(client.run(0, say("still here")).await.step, 1);
}

#[tokio::test(start_paused = true)]
async fn renewing_moves_the_expiry_of_a_lease_without_a_client() {
    let bench = short_lived();
    let lease = bench.lease(1);
    let renewed = bench.farm.renew(&lease, Some(Duration::from_secs(100))).unwrap();
    assert_eq!(renewed.expires_in, Duration::from_secs(100));
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(bench.farm.lease(&lease).is_some());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(bench.farm.renew(&lease, None), Err(LeaseError::UnknownLease));
}

#[tokio::test(start_paused = true)]
async fn releasing_ends_the_session_and_gives_the_sandboxes_back() {
    let bench = Bench::new();
    let lease = bench.lease(2);
    let mut client = bench.attach(&lease);
    client.reset(0, "open").await;
    bench.farm.release(&lease);
    while client.outcomes.recv().await.is_some() {}
    assert_eq!(client.outcomes.ended(), Some(SessionEnd::LeaseEnded));
    let command = client.command(0, Op::Observe);
    assert_eq!(client.session.submit(vec![command]).await, Err(SessionEnd::LeaseEnded));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.pool.view().busy, 0);
}

#[tokio::test(start_paused = true)]
async fn slots_that_are_not_used_start_nothing() {
    let bench = Setting { max_slots: 10_000, ..Setting::default() }.build();
    let mut client = bench.client(10_000);
    assert_eq!(client.session.positions().len(), 10_000);
    let outcome = client.run(9_999, say("x")).await;
    assert_eq!((failure(&outcome).code, outcome.slot), (FailureCode::NoEpisode, 9_999));
}
