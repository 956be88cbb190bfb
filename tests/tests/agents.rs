//! What an agent and its trainer rely on: prepared episodes, four languages for one click, observations that agree.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::time::Duration;

use envfarm_core::command::{Command, Done, Op, StepAction};
use envfarm_core::{Dialect, FailureCode, ObservationKind, ResetStrategy, TaskRef};
use envfarm_tests::{Farm, PATIENCE, Session, Site, Web, bid, done, eventually, failure, report, text};
use tokio::time::Instant;

const TREE: ObservationKind = ObservationKind::AxtreeTxt;

fn prepare(task: &str, seed: u64) -> Op {
    Op::Prepare(TaskRef { id: task.to_owned(), seed })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_episode_is_taken_by_its_reset_and_by_no_other() {
    let farm = Farm::start(&Web { slots: 2, warm: 2, ..Web::default() }.miniwob()).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[TREE]).await;
    let plain = session.reset(1, "click-test-2", 5).await;
    session.reset(0, "click-test-2", 4).await;
    let busy = farm.pool().await.busy;
    let prepared = session.run(0, prepare("click-test-2", 5)).await;
    assert!(matches!(prepared.result, Ok(Done::Prepared)), "{prepared:?}");
    // It is made ready beside the episode that runs.
    let mut fastest = Duration::MAX;
    for seed in 5..10 {
        eventually("the next episode has its sandbox", PATIENCE, async || (farm.pool().await.busy > busy).then_some(())).await;
        // Ready once nothing works any more; what a reset costs then is what a trainer waits.
        session.act(0, "noop(500)").await;
        let began = Instant::now();
        let outcome = session.run(0, envfarm_tests::session::reset_op("click-test-2", seed)).await;
        fastest = fastest.min(began.elapsed());
        let reset = done(outcome);
        assert_eq!(report(&reset).strategy, ResetStrategy::Prepared, "{:?}", report(&reset));
        assert!(report(&reset).verified_clean);
        if seed == 5 {
            assert_eq!((&report(&reset).goal, text(&reset, TREE)), (&report(&plain).goal, text(&plain, TREE)));
        }
        session.run(0, prepare("click-test-2", seed + 1)).await;
    }
    assert!(fastest < Duration::from_millis(100), "the fastest reset took {fastest:?}");
    // Another seed than the one that was prepared starts afresh.
    let other = session.reset(0, "click-test-2", 99).await;
    assert_eq!((report(&other).strategy, report(&other).seed), (ResetStrategy::Fresh, 99));
    let unknown = failure(session.run(0, prepare("no-such-task", 1)).await);
    assert_eq!(unknown.code, FailureCode::UnknownTask);
}

/// The id that a WebArena text shows for the line that contains `needle`: `[12] button 'go'`.
fn webarena_id(tree: &str, needle: &str) -> String {
    let line = tree.lines().map(str::trim_start).find(|line| line.contains(needle)).unwrap_or_else(|| panic!("no {needle:?} in\n{tree}"));
    line.trim_start_matches('[').split(']').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_element_is_clicked_in_four_languages() {
    let site = Site::start().await;
    let farm = Farm::start(&Web::default().pages(&site)).await;
    let kinds = [TREE, ObservationKind::WebarenaTxt, ObservationKind::Html];
    let mut session = Session::open(&farm.client().await, "web", 1, &kinds).await;
    let page = session.reset(0, "counter", 1).await;
    let id = bid(&page, "'go'");
    assert_eq!(webarena_id(&text(&page, ObservationKind::WebarenaTxt), "go"), id, "{}", text(&page, ObservationKind::WebarenaTxt));
    let html = text(&page, ObservationKind::Html);
    assert!(html.contains(&id), "{id} in {html}");
    let words = [
        (Dialect::Browsergym, format!("click('{id}')")),
        (Dialect::Webarena, format!("click [{id}]")),
        (Dialect::Autowebglm, format!("click({id})")),
        (Dialect::Webrl, format!("do(action=\"Click\", element=\"{id}\")")),
    ];
    for (count, (dialect, action)) in words.into_iter().enumerate() {
        let step = done(session.run(0, Op::Step(StepAction::Text { text: action, dialect })).await);
        assert!(step.action_result.as_ref().unwrap().is_ok(), "{dialect:?}: {:?}", step.action_result);
        assert!(text(&step, TREE).contains(&format!("clicked {}", count + 1)), "{dialect:?}:\n{}", text(&step, TREE));
    }
    eventually("the site heard of four clicks", PATIENCE, async || (site.hits("clicked") == 4).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_come_as_slots_are_ready_and_not_in_the_order_of_commands() {
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: 3, ..Web::default() }.pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 3, &[]).await;
    session.all((0..3).map(|slot| (slot, envfarm_tests::session::reset_op("plain", 1)))).await.into_iter().for_each(|o| drop(done(o)));
    let commands: Vec<Command> = ["noop(4000)", "noop(0)", "noop(1)"]
        .iter()
        .zip(0..)
        .map(|(act, slot)| session.command(slot, envfarm_tests::step_op(act)))
        .collect();
    session.rollout.send(commands).await.unwrap();
    let mut order = Vec::new();
    for _ in 0..3 {
        let outcome = session.next().await;
        order.push(outcome.slot);
        done(outcome);
    }
    assert_eq!(order[2], 0, "{order:?}");
}
