//! MiniWoB++ through the API: the same seed is the same task, episodes end for the right reason, and every task starts.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use envfarm_core::command::{Op, StepAction};
use envfarm_core::{
    Action, FailureCode, ObservationKind, ResetMode, ResetStrategy, SlotState, Target, TaskRef, Transition, TruncationCause,
};
use envfarm_tests::session::{reset_op, reset_to};
use envfarm_tests::{Farm, PATIENCE, Session, Web, bid, done, eventually, failure, report, step_op, text};
use tokio::time::Instant;

const TREE: ObservationKind = ObservationKind::AxtreeTxt;

/// Of many kinds: buttons, forms, lists, text, drawing, several pages, flights.
const TASKS: [&str; 10] = [
    "click-button",
    "click-checkboxes",
    "choose-list",
    "enter-text",
    "email-inbox",
    "grid-coordinate",
    "login-user",
    "search-engine",
    "use-autocomplete",
    "flight.Alaska",
];

fn goal_and_tree(reset: &Transition) -> (String, String) {
    (report(reset).goal.clone(), text(reset, TREE))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_gives_the_same_task_in_every_slot_and_another_seed_another() {
    let farm = Farm::start(&Web { slots: 4, warm: 2, ..Web::default() }.miniwob()).await;
    let mut session = Session::open(&farm.client().await, "web", 4, &[TREE]).await;
    for task in TASKS {
        let resets = session.all([(0, 7), (1, 7), (2, 3), (3, 4)].map(|(slot, seed)| (slot, reset_op(task, seed)))).await;
        let resets: Vec<_> = resets.into_iter().map(done).collect();
        for (reset, seed) in resets.iter().zip([7, 7, 3, 4]) {
            let report = report(reset);
            assert_eq!((report.strategy, report.verified_clean, report.seed), (ResetStrategy::Fresh, true, seed), "{task}: {report:?}");
            assert_eq!(report.task_id, task);
            assert!(!report.goal.is_empty(), "{task}");
        }
        let seen: Vec<_> = resets.iter().map(goal_and_tree).collect();
        assert_eq!(seen[0], seen[1], "{task}");
        assert!(seen[0] != seen[2] || seen[0] != seen[3], "{task}: three seeds, one task: {:?}", seen[0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_place_gives_what_a_fresh_one_gives() {
    let farm = Farm::start(&Web { slots: 2, ..Web::default() }.miniwob()).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[TREE]).await;
    // Flights keep things in the browser's storage, so that they always start afresh.
    let tasks = TASKS.into_iter().filter(|task| !task.starts_with("flight."));
    for task in tasks.chain(["scroll-text", "choose-date", "drag-cube"]) {
        session.reset(0, task, 5).await;
        // Something happened in the first episode; none of it may reach the next.
        for action in ["mouse_click(80, 100)", "keyboard_type('leftover')", "keyboard_down('Control')", "mouse_down(80, 120)"] {
            if session.act(0, action).await.terminated {
                break;
            }
        }
        let mut in_place = reset_to(task, 7);
        in_place.mode = Some(ResetMode::InPlace);
        let again = done(session.run(0, Op::Reset(in_place)).await);
        assert_eq!(report(&again).strategy, ResetStrategy::InPlace, "{task}: {:?}", report(&again));
        assert!(report(&again).verified_clean, "{task}");
        let fresh = session.reset(1, task, 7).await;
        assert_eq!(goal_and_tree(&again), goal_and_tree(&fresh), "{task}");
    }
    // Where the sandbox shows another task, there is nothing to restart.
    let mut other = reset_to("click-test", 1);
    other.mode = Some(ResetMode::InPlace);
    assert_eq!(report(&done(session.run(0, Op::Reset(other)).await)).strategy, ResetStrategy::Fresh);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_click_wins_and_the_wrong_one_does_not() {
    let farm = Farm::start(&Web { slots: 2, ..Web::default() }.miniwob()).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[TREE]).await;
    let start = session.reset(0, "click-test", 1).await;
    let idle = session.act(0, "noop(0)").await;
    assert_eq!((idle.reward, idle.terminated, idle.truncated), (0.0, false, None));
    let won = session.act(0, &format!("click('{}')", bid(&start, "button"))).await;
    assert_eq!((won.reward, won.terminated, won.truncated), (1.0, true, None));
    assert!(won.raw_reward > 0.0);
    let over = session.run(0, step_op("noop(0)")).await;
    assert_eq!(over.state, SlotState::Over);
    assert_eq!(failure(over).code, FailureCode::NoEpisode);

    // Two buttons, of which the goal names one.
    let start = session.reset(1, "click-test-2", 3).await;
    let goal = report(&start).goal.clone();
    let wrong = if goal.contains("ONE") { "'TWO'" } else { "'ONE'" };
    let lost = session.act(1, &format!("click('{}')", bid(&start, wrong))).await;
    assert_eq!((lost.reward, lost.terminated, lost.truncated), (0.0, true, None), "{goal}");
    assert!(lost.raw_reward < 0.0);

    // Leaving the page for good ends it, too, and wins nothing.
    session.reset(1, "click-test-2", 3).await;
    let left = session.act(1, "goto('about:blank')").await;
    assert_eq!((left.reward, left.terminated), (0.0, true));
    // As does a page that says itself that it was won.
    session.reset(1, "click-test-2", 3).await;
    let claimed = session.act(1, "goto('data:text/html,<script>var WOB_DONE_GLOBAL=true,WOB_RAW_REWARD_GLOBAL=1</script>')").await;
    assert_eq!((claimed.reward, claimed.terminated), (0.0, true));
    // So does an agent that gives up.
    session.reset(1, "click-test-2", 3).await;
    let gave_up = session.act(1, "report_infeasible('no')").await;
    assert_eq!((gave_up.reward, gave_up.terminated), (0.0, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_truncate_and_say_which() {
    let farm = Farm::start(&Web { slots: 2, ..Web::default() }.miniwob()).await;
    let mut session = Session::open(&farm.client().await, "web", 2, &[]).await;
    let mut short = reset_to("click-test-2", 1);
    short.step_limit = Some(3);
    let start = done(session.run(0, Op::Reset(short)).await);
    assert_eq!(report(&start).step_limit, Some(3));
    for step in 1..=3 {
        let transition = session.act(0, "noop(0)").await;
        let expected = (step == 3).then_some(TruncationCause::StepLimit);
        assert_eq!((transition.terminated, transition.truncated, transition.reward), (false, expected, 0.0), "step {step}");
    }
    assert_eq!(failure(session.run(0, step_op("noop(0)")).await).code, FailureCode::NoEpisode);

    let mut brief = reset_to("click-test-2", 1);
    brief.time_limit = Some(Duration::from_millis(1500));
    done(session.run(1, Op::Reset(brief)).await);
    let began = Instant::now();
    let truncated = loop {
        let transition = session.step(1, "noop(100)").await;
        if transition.truncated.is_some() {
            break transition;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "never truncated");
    };
    assert_eq!((truncated.truncated, truncated.terminated, truncated.reward), (Some(TruncationCause::TimeLimit), false, 0.0));
    assert!(began.elapsed() >= Duration::from_millis(1300), "truncated after {:?}", began.elapsed());

    // To win with the last step is to win.
    let mut last = reset_to("click-test", 1);
    last.step_limit = Some(1);
    session.run(0, Op::Reset(last)).await;
    let action = Action::click(Target::Element(bid(&observe_tree(&mut session, 0).await, "button")));
    let won = done(session.run(0, Op::Step(StepAction::Typed(action))).await);
    assert_eq!((won.reward, won.terminated, won.truncated), (1.0, true, None));
}

async fn observe_tree(session: &mut Session, slot: u32) -> Transition {
    let mut command = session.command(slot, Op::Observe);
    command.observations = Some([envfarm_core::ObservationSpec::new(TREE, None).unwrap()].into());
    done(session.run_command(command).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_task_of_the_package_starts_clean_and_takes_a_step() {
    const SLOTS: u32 = 8;
    let farm = Farm::start(&Web { slots: SLOTS, warm: 4, hosts: (2, 2, 12), ..Web::default() }.miniwob()).await;
    let client = farm.client().await;
    let (tasks, rest) = client.tasks("web", 1000, "").await.unwrap();
    assert!(tasks.len() >= 120 && rest.is_empty(), "{} tasks", tasks.len());
    assert!(tasks.iter().any(|task| task.id.starts_with("flight.")));
    let mut session = Session::open(&client, "web", SLOTS, &[TREE, ObservationKind::Screenshot]).await;
    let mut left = tasks.iter().map(|task| task.id.as_str()).collect::<Vec<_>>();
    let mut running = BTreeMap::new();
    for slot in 0..SLOTS {
        let task = left.pop().unwrap();
        session.send(slot, reset_op(task, 3)).await;
        running.insert(slot, task);
    }
    let mut started = BTreeSet::new();
    let mut troubles = Vec::new();
    while !running.is_empty() {
        let outcome = session.next().await;
        let (slot, task) = (outcome.slot, running[&outcome.slot]);
        let mut finished = true;
        match outcome.result {
            Ok(envfarm_core::command::Done::Transition(transition)) => {
                for observation in &transition.observations {
                    if observation.data.as_ref().map_or(true, |data| data.is_empty()) {
                        troubles.push(format!("{task}: {:?}: {:?}", observation.kind, observation.data));
                    }
                }
                if let Some(report) = &transition.reset_report {
                    if !report.verified_clean || report.goal.is_empty() || report.strategy != ResetStrategy::Fresh {
                        troubles.push(format!("{task}: {report:?}"));
                    }
                    started.insert(task);
                    session.send(slot, step_op("noop(0)")).await;
                    finished = false;
                } else if transition.terminated || transition.truncated.is_some() || transition.reward != 0.0 {
                    troubles.push(format!("{task}: ended by doing nothing: {:?}", transition.action_result));
                }
            }
            other => troubles.push(format!("{task}: {other:?}")),
        }
        if finished {
            match left.pop() {
                Some(next) => {
                    session.send(slot, reset_op(next, 3)).await;
                    running.insert(slot, next);
                }
                None => drop(running.remove(&slot)),
            }
        }
    }
    assert!(troubles.is_empty(), "{} troubles:\n{}", troubles.len(), troubles.join("\n"));
    assert_eq!(started.len(), tasks.len());
    assert_eq!(farm.pool().await.failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_goes_on_by_itself_begins_at_its_reset_and_not_before() {
    let farm = Farm::start(&Web { slots: 1, warm: 2, ..Web::default() }.miniwob()).await;
    let mut session = Session::open(&farm.client().await, "web", 1, &[TREE]).await;
    session.reset(0, "click-test", 1).await;
    let busy = farm.pool().await.busy;
    for (task, strategy) in [("click-test", ResetStrategy::Prepared), ("chase-circle", ResetStrategy::Fresh)] {
        let prepared = session.run(0, Op::Prepare(TaskRef { id: task.to_owned(), seed: 3 })).await;
        assert!(prepared.result.is_ok(), "{task}: {prepared:?}");
        if strategy == ResetStrategy::Prepared {
            eventually("the episode has its sandbox", PATIENCE, async || (farm.pool().await.busy > busy).then_some(())).await;
        }
        session.act(0, "noop(500)").await;
        assert_eq!(report(&session.reset(0, task, 3).await).strategy, strategy, "{task}");
    }
}
