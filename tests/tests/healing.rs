//! A browser that dies under load, and how soon all is well again. By the clock, so it has a file of its own: both test
//! runners can run it alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use envfarm_core::command::Done;
use envfarm_core::{FailureCode, ObservationKind, SlotState};
use envfarm_tests::session::{on, reset_op};
use envfarm_tests::{Farm, Session, Web, eventually, process, report, step_op};
use rustix::process::Signal;
use tokio::time::Instant;

/// How soon the pool must be whole again after a browser died.
const HEAL: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_browser_under_load_costs_its_own_slots_and_nothing_else() {
    const SLOTS: u32 = 8;
    let farm = Farm::start(&Web { slots: SLOTS, warm: 2, hosts: (2, 3, 8), ..Web::default() }.miniwob()).await;
    let hosts = farm.until_ready(2).await;
    let mut session = Session::open(&farm.client().await, "web", SLOTS, &[ObservationKind::Title]).await;
    let placed = session.place("click-test-2", SLOTS).await;
    let (dead, browser) = (hosts[0].id.clone(), process::browser(hosts[0].pid));
    let (lost, kept) = (on(&placed, &dead), on(&placed, &hosts[1].id));
    assert!(lost.len() >= 2 && kept.len() >= 2, "not spread: {placed:?}");

    // Everything steps all the time; the browser dies in the midst of it.
    let mut steps: BTreeMap<u32, u64> = BTreeMap::new();
    let mut failed = BTreeSet::new();
    let mut killed_at: Option<Instant> = None;
    let mut healed_after = None;
    let mut running: BTreeSet<u32> = (0..SLOTS).collect();
    let mut longest_gap = Duration::ZERO;
    let mut last = Instant::now();
    for slot in 0..SLOTS {
        session.send(slot, step_op("noop(0)")).await;
    }
    let enough = |steps: &BTreeMap<u32, u64>| (0..SLOTS).all(|slot| steps.get(&slot).is_some_and(|steps| *steps >= 8));
    while killed_at.is_none() || !failed.is_superset(&lost) || healed_after.is_none() || !enough(&steps) {
        let outcome = session.next().await;
        let slot = outcome.slot;
        if kept.contains(&slot) {
            longest_gap = longest_gap.max(last.elapsed());
            last = Instant::now();
        }
        match outcome.result {
            Ok(Done::Transition(transition)) => {
                // It does nothing and wins nothing.
                assert!(!transition.terminated && transition.truncated.is_none() && transition.reward == 0.0, "{transition:?}");
                let reset = transition.reset_report.is_some();
                if reset {
                    assert_ne!(report(&transition).host, dead, "a new episode on the dead browser");
                    running.insert(slot);
                    healed_after = killed_at.map(|at| at.elapsed()).filter(|_| running.len() == SLOTS as usize);
                } else {
                    *steps.entry(slot).or_default() += 1;
                }
                session.send(slot, step_op("noop(0)")).await;
            }
            Err(failure) => {
                assert_eq!(failure.code, FailureCode::HostLost, "{failure:?}");
                assert_eq!(outcome.state, SlotState::Lost);
                assert!(lost.contains(&slot) && failed.insert(slot), "slot {slot} failed: {failure}");
                running.remove(&slot);
                session.send(slot, reset_op("click-test-2", 8)).await;
            }
            other => panic!("{other:?}"),
        }
        if killed_at.is_none() && steps.values().sum::<u64>() >= u64::from(SLOTS) * 3 {
            process::signal(browser, Signal::KILL);
            killed_at = Some(Instant::now());
        }
    }
    assert_eq!(failed, lost);
    assert!(healed_after.unwrap() <= HEAL, "lost slots ran again after {healed_after:?}");
    assert!(longest_gap < Duration::from_secs(3), "the other slots stood still for {longest_gap:?}");
    let left = HEAL.saturating_sub(killed_at.unwrap().elapsed()).max(Duration::from_secs(1));
    eventually("two hosts are ready again", left, async || {
        let ready = farm.ready_hosts().await;
        (ready.len() >= 2 && ready.iter().all(|host| host.id != dead)).then_some(())
    })
    .await;
}
