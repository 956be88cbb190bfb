//! Leases: idempotent, bounded, unguessable, and gone when their time has come.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::lease::{LeaseError, LeaseId, LeaseLimits, LeaseTable};

const MINUTE: Duration = Duration::from_secs(60);

fn table() -> LeaseTable {
    LeaseTable::new(LeaseLimits {
        max_leases: 4,
        min_ttl: Duration::from_secs(1),
        max_ttl: Duration::from_secs(3600),
        default_ttl: MINUTE,
        capacity: [("miniwob".into(), 10), ("null".into(), 1000)].into(),
    })
}

#[test]
fn the_same_token_gives_the_same_lease() {
    let (mut table, now) = (table(), Instant::now());
    let first = table.acquire("me", "miniwob", 10, None, now).unwrap();
    let again = table.acquire("me", "miniwob", 10, None, now + MINUTE / 2).unwrap();
    assert_eq!(first.id, again.id);
    assert_eq!(again.expires_at, now + MINUTE * 3 / 2);
    assert_eq!((table.len(), table.slots_held("miniwob")), (1, 10));
}

#[test]
fn a_token_does_not_change_what_it_names() {
    let (mut table, now) = (table(), Instant::now());
    table.acquire("me", "miniwob", 5, None, now).unwrap();
    let taken = LeaseError::TokenTaken { environment: "miniwob".into(), slots: 5 };
    assert_eq!(table.acquire("me", "miniwob", 6, None, now), Err(taken.clone()));
    assert_eq!(table.acquire("me", "null", 5, None, now), Err(taken));
}

#[test]
fn bad_requests_name_their_field() {
    let (mut table, now) = (table(), Instant::now());
    let mut field = |token: &str, environment: &str, slots, ttl| table.acquire(token, environment, slots, ttl, now).unwrap_err().field();
    assert_eq!(field("", "miniwob", 1, None), Some("client_token"));
    assert_eq!(field(&"x".repeat(129), "miniwob", 1, None), Some("client_token"));
    assert_eq!(field("me", "nowhere", 1, None), Some("environment"));
    assert_eq!(field("me", "miniwob", 0, None), Some("slots"));
    assert_eq!(field("me", "miniwob", 1_000_000_000, None), Some("slots"));
    assert_eq!(field("me", "miniwob", usize::MAX, None), Some("slots"));
    assert_eq!(field("me", "miniwob", 1, Some(Duration::ZERO)), Some("ttl_ms"));
    assert_eq!(field("me", "miniwob", 1, Some(Duration::MAX)), Some("ttl_ms"));
    assert_eq!(table.renew(&LeaseId("?".into()), None, now).unwrap_err().field(), Some("lease_id"));
    assert!(table.is_empty());
}

#[test]
fn capacity_is_shared_by_all_leases_of_an_environment_and_comes_back() {
    let (mut table, now) = (table(), Instant::now());
    let first = table.acquire("a", "miniwob", 7, None, now).unwrap();
    let full = LeaseError::NoCapacity { environment: "miniwob".into(), free: 3, capacity: 10 };
    assert_eq!(table.acquire("b", "miniwob", 4, None, now), Err(full));
    table.acquire("c", "null", 1000, None, now).unwrap();
    assert_eq!(table.release(&first.id), Some(first.clone()));
    assert_eq!(table.release(&first.id), None);
    table.acquire("b", "miniwob", 10, None, now).unwrap();
}

#[test]
fn the_number_of_leases_is_bounded() {
    let (mut table, now) = (table(), Instant::now());
    for i in 0..4 {
        table.acquire(&format!("c{i}"), "null", 1, None, now).unwrap();
    }
    assert_eq!(table.acquire("one more", "null", 1, None, now), Err(LeaseError::TooManyLeases(4)));
    table.acquire("c1", "null", 1, None, now).unwrap();
}

#[test]
fn an_expired_lease_is_handed_out_once_and_renewing_prevents_it() {
    let (mut table, now) = (table(), Instant::now());
    let lost = table.acquire("lost", "miniwob", 5, Some(MINUTE), now).unwrap();
    let kept = table.acquire("kept", "miniwob", 5, Some(MINUTE), now).unwrap();
    assert_eq!(table.expired(now + MINUTE - Duration::from_millis(1)), []);
    table.renew(&kept.id, Some(2 * MINUTE), now).unwrap();
    assert_eq!(table.expired(now + MINUTE), std::slice::from_ref(&lost));
    assert_eq!(table.expired(now + MINUTE), []);
    assert_eq!(table.get(&lost.id), None);
    assert_eq!(table.slots_held("miniwob"), 5);
    // Its token may be used again, for another lease.
    assert_ne!(table.acquire("lost", "miniwob", 4, None, now).unwrap().id, lost.id);
}

#[test]
fn ids_are_128_bits_in_hex_and_never_repeat() {
    let (mut table, now) = (table(), Instant::now());
    let mut seen = BTreeSet::new();
    for _ in 0..1000 {
        let lease = table.acquire("me", "null", 1, None, now).unwrap();
        assert!(lease.id.0.len() == 32 && lease.id.0.bytes().all(|b| b.is_ascii_hexdigit()), "{}", lease.id);
        assert!(seen.insert(table.release(&lease.id).unwrap().id));
    }
}

proptest! {
    #[test]
    fn held_slots_are_those_of_the_leases_and_within_capacity(ops in prop::collection::vec((0..4u8, 0..6u8, 0..12usize, 0..200u64), 0..100)) {
        let (mut table, begun) = (table(), Instant::now());
        let mut now = begun;
        let mut known = Vec::new();
        for (op, who, slots, secs) in ops {
            match op {
                0 => known.extend(table.acquire(&format!("c{who}"), "miniwob", slots, Some(Duration::from_secs(secs)), now)),
                1 => drop(known.get(usize::from(who)).map(|l| table.release(&l.id))),
                2 => drop(known.get(usize::from(who)).map(|l| table.renew(&l.id, None, now))),
                _ => {
                    now += Duration::from_secs(secs);
                    let over = table.expired(now);
                    prop_assert!(over.iter().all(|l| l.expires_at <= now));
                }
            }
            let ids: BTreeSet<_> = known.iter().map(|l| l.id.clone()).collect();
            let held: usize = ids.iter().filter_map(|id| table.get(id)).map(|l| l.slots).sum();
            prop_assert_eq!(held, table.slots_held("miniwob"));
            prop_assert!(held <= 10 && table.len() <= 4);
        }
    }
}
