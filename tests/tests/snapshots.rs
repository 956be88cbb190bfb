//! Snapshots: one reset many slots, and a replay that comes out differently says so.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeSet;

use envfarm_core::command::{Done, Op, Outcome, SnapshotInfo};
use envfarm_core::{FailureCode, ObservationKind, ResetStrategy, SlotState, SnapshotLevel};
use envfarm_tests::session::restore_op;
use envfarm_tests::{Farm, Session, Site, Web, bid, done, failure, report, text};

const TREE: ObservationKind = ObservationKind::AxtreeTxt;

fn snapshot(outcome: Outcome) -> SnapshotInfo {
    match outcome.result {
        Ok(Done::Snapshot(info)) => info,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_snapshot_forks_an_episode_into_many_slots() {
    const FORKS: u32 = 8;
    let farm = Farm::start(&Web { slots: FORKS + 1, warm: 2, hosts: (1, 2, 12), ..Web::default() }.miniwob()).await;
    let client = farm.client().await;
    let mut session = Session::open(&client, "web", FORKS + 1, &[TREE]).await;
    let start = session.reset(0, "login-user", 11).await;
    session.act(0, &format!("fill('{}', 'somebody')", bid(&start, "textbox"))).await;
    let before = session.act(0, "keyboard_press('Tab')").await;
    let taken = session.run(0, Op::Snapshot(SnapshotLevel::Replay)).await;
    assert_eq!((taken.step, taken.state), (2, SlotState::Running));
    let info = snapshot(taken);
    assert_eq!((info.level, info.task.id.as_str(), info.task.seed, info.step), (SnapshotLevel::Replay, "login-user", 11, 2));
    assert!(!info.fingerprint.is_empty());

    let forks = session.all((1..=FORKS).map(|slot| (slot, restore_op(&info.id)))).await;
    for fork in forks {
        assert_eq!((fork.episode, fork.step), (1, 0));
        let fork = done(fork);
        assert_eq!(report(&fork).strategy, ResetStrategy::Replay);
        assert!(report(&fork).verified_clean);
        assert_eq!((&report(&fork).goal, report(&fork).seed), (&report(&start).goal, 11));
        assert_eq!(text(&fork, TREE), text(&before, TREE));
    }
    // They go their own ways from there.
    let first = session.act(1, &format!("fill('{}', 'else')", bid(&start, "textbox"))).await;
    assert_ne!(text(&first, TREE), text(&before, TREE));
    assert_eq!(text(&session.observe(2).await, TREE), text(&before, TREE));
    assert_eq!(client.snapshots("web").await.unwrap().len(), 1);
    client.delete_snapshot(&info.id.0).await.unwrap();
    assert!(client.snapshots("").await.unwrap().is_empty());
    let gone = failure(session.run(3, restore_op(&info.id)).await);
    assert_eq!((gone.code, gone.field.as_deref()), (FailureCode::UnknownSnapshot, Some("reset.snapshot_id")));
    session.act(3, "noop(0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_comes_out_differently_is_a_failure_and_no_episode() {
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: 2, ..Web::default() }.pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[TREE]).await;
    session.reset(0, "visits", 1).await;
    session.act(0, "noop(0)").await;
    let info = snapshot(session.run(0, Op::Snapshot(SnapshotLevel::Replay)).await);
    let outcome = session.run(1, restore_op(&info.id)).await;
    assert_eq!(outcome.state, SlotState::Lost);
    let diverged = failure(outcome);
    assert_eq!(diverged.code, FailureCode::SnapshotDiverged, "{diverged}");
    assert!(diverged.reason.contains(&info.fingerprint), "{diverged}");
    session.reset(1, "visits", 1).await;
    // The one that it was made of goes on.
    session.act(0, "noop(0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_state_starts_another_slot_where_this_one_is() {
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: 3, ..Web::default() }.pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 3, &[TREE, ObservationKind::Tabs, ObservationKind::Url]).await;
    let start = session.reset(0, "store", 1).await;
    assert!(text(&start, TREE).contains("local undefined"));
    session.act(0, &format!("click('{}')", bid(&start, "'keep'"))).await;
    session.act(0, "new_tab()").await;
    session.act(0, &format!("goto('{}')", site.url("form"))).await;
    let kept = session.act(0, "tab_focus(0)").await;
    assert!(text(&kept, TREE).contains("local kept, c=kept"), "{}", text(&kept, TREE));
    let info = snapshot(session.run(0, Op::Snapshot(SnapshotLevel::Storage)).await);
    assert!(info.size_bytes > 0);

    // Cookies and storage of one slot are not another's, unless they are put there.
    assert!(text(&session.reset(1, "store", 1).await, TREE).contains("local undefined"));
    let restored = done(session.run(1, restore_op(&info.id)).await);
    assert_eq!(report(&restored).strategy, ResetStrategy::Storage);
    // Focus is no part of what is stored.
    assert_eq!(text(&restored, TREE), text(&kept, TREE).replace("'keep', focused", "'keep'"));
    assert_eq!(text(&restored, ObservationKind::Url), site.url("store"));
    let tabs = |transition| serde_json::from_str::<serde_json::Value>(&text(transition, ObservationKind::Tabs)).unwrap();
    let (one, other) = (tabs(&kept), tabs(&restored));
    assert_eq!(one, other);
    assert_eq!(one["tabs"].as_array().unwrap().len(), 2);
    session.act(1, "tab_focus(1)").await;
    assert!(text(&session.reset(2, "store", 1).await, TREE).contains("local undefined"));
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_one_farm_share_nothing() {
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: 6, hosts: (1, 1, 8), ..Web::default() }.pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 6, &[TREE]).await;
    let mut hosts = BTreeSet::new();
    for round in 0..2 {
        for slot in 0..6 {
            let start = session.reset(slot, "store", round).await;
            assert!(report(&start).verified_clean);
            assert!(text(&start, TREE).contains("local undefined"), "slot {slot} saw another's storage");
            hosts.insert(report(&start).host.clone());
            session.act(slot, &format!("click('{}')", bid(&start, "'keep'"))).await;
        }
    }
    assert_eq!(hosts.len(), 1, "one browser carries them all: {hosts:?}");
}
