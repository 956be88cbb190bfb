//! Browsers and pages that break under the farm: whose slots fail, whose do not, and how soon all is well again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeSet;
use std::time::Duration;

use envfarm_core::command::Outcome;
use envfarm_core::{ActionStatus, FailureCode, ObservationKind, SlotState};
use envfarm_tests::cut::Between;
use envfarm_tests::farm::state_of;
use envfarm_tests::session::on;
use envfarm_tests::{Farm, Session, Site, Web, bid, done, eventually, failure, process, report, step_op, text};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_renderer_costs_its_slot_alone() {
    let site = Site::start().await;
    // None warm, so that every renderer has its slot.
    let farm = Farm::start(&Web { slots: 2, warm: 0, hosts: (1, 1, 4), ..Web::default() }.pages(&site)).await;
    let host = farm.until_ready(1).await.remove(0);
    let mut session = Session::open(&farm.client().await, "web", 2, &[ObservationKind::Title]).await;
    session.reset(0, "plain", 1).await;
    let before = process::renderers(host.pid);
    session.reset(1, "counter", 1).await;
    let new: Vec<_> = process::renderers(host.pid).into_iter().filter(|pid| !before.contains(pid)).collect();
    assert!(!new.is_empty());
    let step = session.send(1, step_op("noop(20000)")).await;
    // The step is under way once a later command of the other slot is done.
    session.step(0, "noop(0)").await;
    let began = Instant::now();
    new.into_iter().for_each(|pid| process::signal(pid, Signal::KILL));
    let outcome = session.outcome(step).await;
    assert_eq!(outcome.state, SlotState::Lost);
    let failure = failure(outcome);
    assert_eq!(failure.code, FailureCode::SandboxLost, "{failure}");
    assert!(failure.action_may_have_applied);
    assert!(began.elapsed() < Duration::from_secs(5), "told after {:?}", began.elapsed());
    session.act(0, "noop(0)").await;
    assert_eq!(report(&session.reset(1, "counter", 1).await).host, host.id, "the browser was given up for a page");
    session.act(1, "noop(0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_spins_costs_one_action() {
    let site = Site::start().await;
    let web = Web { slots: 2, chromium: "action_cap = \"2s\", settle_cap = \"2s\"".to_owned(), ..Web::default() };
    let farm = Farm::start(&web.pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[ObservationKind::AxtreeTxt, ObservationKind::Title]).await;
    session.reset(0, "plain", 1).await;
    let page = session.reset(1, "spin", 1).await;
    let (spin, other) = (bid(&page, "'spin'"), bid(&page, "'other'"));
    let spinning = session.send(1, step_op(&format!("click('{spin}')"))).await;
    let mut steps = 0;
    let spun = loop {
        let beside = session.send(0, step_op("noop(0)")).await;
        let outcome = session.next().await;
        if outcome.request_id == spinning {
            break done(outcome);
        }
        assert_eq!(outcome.request_id, beside);
        done(outcome);
        steps += 1;
    };
    assert!(steps >= 3, "the other slot made {steps} steps meanwhile");
    assert_eq!(spun.action_result.unwrap().status, ActionStatus::TimedOut);
    assert!(!spun.terminated && spun.truncated.is_none());
    let after = session.act(1, &format!("click('{other}')")).await;
    assert_eq!(text(&after, ObservationKind::Title), "alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_popups_leave_few_tabs_and_an_episode_that_goes_on() {
    let site = Site::start().await;
    // On a busy machine a hundred windows take their time.
    let web = Web { slots: 2, chromium: "action_cap = \"20s\"".to_owned(), ..Web::default() };
    let farm = Farm::start(&web.pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[ObservationKind::AxtreeTxt, ObservationKind::Tabs]).await;
    session.reset(0, "plain", 1).await;
    let page = session.reset(1, "popups", 1).await;
    let popped = session.step(1, &format!("click('{}')", bid(&page, "'popups'"))).await;
    let tabs: serde_json::Value = serde_json::from_str(&text(&popped, ObservationKind::Tabs)).unwrap();
    let count = tabs["tabs"].as_array().unwrap().len();
    assert!((2..=16).contains(&count), "{count} tabs");
    session.act(1, "tab_focus(0)").await;
    session.act(0, "noop(0)").await;
    assert!(report(&session.reset(1, "plain", 1).await).verified_clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_eats_memory_costs_its_slot_alone() {
    let site = Site::start().await;
    let web = Web { slots: 2, hosts: (1, 1, 4), chromium: "action_cap = \"35s\"".to_owned(), ..Web::default() };
    let farm = Farm::start(&web.pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[ObservationKind::AxtreeTxt]).await;
    let host = report(&session.reset(0, "plain", 1).await).host.clone();
    let page = session.reset(1, "hog", 1).await;
    let failure = failure(session.run(1, step_op(&format!("click('{}')", bid(&page, "'hog'")))).await);
    assert_eq!(failure.code, FailureCode::SandboxLost, "{failure}");
    session.act(0, "noop(0)").await;
    assert_eq!(report(&session.reset(1, "plain", 1).await).host, host, "the browser was given up for a page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_whose_socket_is_cut_costs_its_own_slots_and_is_ended() {
    const SLOTS: u32 = 4;
    let site = Site::start().await;
    let dir = TempDir::new().unwrap();
    let between = Between::start(state_of(dir.path()));
    let chromium = format!("program = \"{}\"", between.program().display());
    let farm = Farm::start_in(dir, &Web { slots: SLOTS, hosts: (2, 3, 4), chromium, ..Web::default() }.pages(&site)).await;
    let hosts = farm.until_ready(2).await;
    let mut session = Session::open(&farm.client().await, "web", SLOTS, &[ObservationKind::Title]).await;
    let placed = session.place("plain", SLOTS).await;
    let cut = &hosts[0];
    let (lost, kept) = (on(&placed, &cut.id), on(&placed, &hosts[1].id));
    assert!(!lost.is_empty() && !kept.is_empty(), "not spread: {placed:?}");

    let waiting: Vec<_> = session.all((0..SLOTS).map(|slot| (slot, step_op("noop(0)")))).await;
    waiting.into_iter().for_each(|outcome| drop(done(outcome)));
    between.cut(&cut.id);
    let outcomes = session.all((0..SLOTS).map(|slot| (slot, step_op("noop(2000)")))).await;
    let (failed, fine): (Vec<Outcome>, Vec<Outcome>) = outcomes.into_iter().partition(|outcome| outcome.result.is_err());
    assert_eq!(failed.iter().map(|outcome| outcome.slot).collect::<BTreeSet<_>>(), lost);
    assert_eq!(fine.iter().map(|outcome| outcome.slot).collect::<BTreeSet<_>>(), kept);
    for outcome in failed {
        assert_eq!(failure(outcome).code, FailureCode::HostLost);
    }
    for slot in lost {
        assert_ne!(report(&session.reset(slot, "plain", 2).await).host, cut.id);
    }
    // Nobody speaks to that browser any more, so it must not live on.
    eventually("the browser is ended", Duration::from_secs(20), async || process::renderers(cut.pid).is_empty().then_some(())).await;
    eventually("two hosts are ready again", Duration::from_secs(20), async || (farm.ready_hosts().await.len() >= 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_hangs_costs_its_own_slots_their_deadline() {
    const SLOTS: u32 = 4;
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: SLOTS, hosts: (2, 3, 4), ..Web::default() }.pages(&site)).await;
    let hosts = farm.until_ready(2).await;
    let mut session = Session::open(&farm.client().await, "web", SLOTS, &[ObservationKind::Title]).await;
    let placed = session.place("plain", SLOTS).await;
    let hung = &hosts[0];
    let (lost, kept) = (on(&placed, &hung.id), on(&placed, &hosts[1].id));
    assert!(!lost.is_empty() && !kept.is_empty(), "not spread: {placed:?}");

    process::signal(process::browser(hung.pid), Signal::STOP);
    let began = Instant::now();
    let limit = Duration::from_secs(3);
    let mut sent = BTreeSet::new();
    for slot in &lost {
        let mut command = session.command(*slot, step_op("noop(0)"));
        command.timeout = limit;
        sent.insert(session.send_command(command).await);
    }
    for slot in &kept {
        session.send(*slot, step_op("noop(0)")).await;
    }
    let mut steps = 0;
    while !sent.is_empty() {
        let outcome = session.next().await;
        if sent.remove(&outcome.request_id) {
            let failure = failure(outcome);
            assert!(matches!(failure.code, FailureCode::DeadlineExceeded | FailureCode::HostLost), "{failure}");
            let late = began.elapsed().saturating_sub(limit);
            assert!(late < Duration::from_secs(2), "{late:?} after its deadline");
        } else {
            let slot = outcome.slot;
            assert!(kept.contains(&slot));
            done(outcome);
            steps += 1;
            session.send(slot, step_op("noop(0)")).await;
        }
    }
    assert!(steps >= 10, "the other slots made {steps} steps meanwhile");
    // Slots of the hung browser find another, and so does everything that it had ready.
    for slot in lost {
        let began = Instant::now();
        assert_ne!(report(&session.reset(slot, "plain", 2).await).host, hung.id);
        assert!(began.elapsed() < Duration::from_secs(30), "a reset took {:?}", began.elapsed());
    }
    let (_, took) = eventually("the hung browser is replaced", Duration::from_secs(40), async || {
        let ready = farm.ready_hosts().await;
        (ready.len() >= 2 && ready.iter().all(|host| host.id != hung.id)).then_some(())
    })
    .await;
    eprintln!("the hung browser was replaced {took:?} after its slots ran again");
}
