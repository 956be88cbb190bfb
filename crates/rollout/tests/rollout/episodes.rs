//! How episodes begin, go on and end when nothing breaks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use envfarm_core::command::{Op, Reset, ResetFrom, StepAction};
use envfarm_core::{Action, ActionStatus, Dialect, FailureCode, ObservationKind, ResetMode, ResetStrategy, SlotState, TruncationCause};

use crate::support::*;

fn limited(id: &str, step_limit: Option<u32>, time_limit: Option<Duration>) -> Op {
    Op::Reset(Reset { from: ResetFrom::Task(task(id, 7)), mode: None, step_limit, time_limit })
}

fn in_place(id: &str) -> Op {
    Op::Reset(Reset { from: ResetFrom::Task(task(id, 8)), mode: Some(ResetMode::InPlace), step_limit: None, time_limit: None })
}

#[tokio::test(start_paused = true)]
async fn a_reset_reports_what_it_did_and_gives_the_first_observation() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    let outcome = client.run(0, limited("short", None, Some(Duration::from_secs(9)))).await;
    assert_eq!((outcome.episode, outcome.step, outcome.state), (1, 0, SlotState::Running));
    assert_eq!(transition(&outcome).observations[0].data.as_deref(), Ok(&b"goal of short 7"[..]));
    let report = report(&outcome);
    assert_eq!((report.strategy, report.verified_clean), (ResetStrategy::Fresh, true));
    assert_eq!((report.goal.as_str(), report.task_id.as_str(), report.seed), ("goal of short 7", "short", 7));
    assert_eq!((report.step_limit, report.time_limit), (Some(3), Some(Duration::from_secs(9))));
    assert!(report.host.starts_with("mock") && report.check.contains("cookies"));
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_with_something_in_it_is_reported_as_not_clean() {
    let bench = Bench::new();
    bench.world.residue.lock().unwrap().push("cookie sid".into());
    let outcome = bench.client(1).reset(0, "open").await;
    assert!(!report(&outcome).verified_clean && report(&outcome).check.contains("cookie sid"));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_an_episode_with_its_reward_and_later_steps_are_refused() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    let first = client.run(0, say("hm")).await;
    assert_eq!((transition(&first).reward, transition(&first).raw_reward, transition(&first).terminated), (0.0, 0.25, false));
    let last = client.run(0, say("win")).await;
    let won = transition(&last);
    assert_eq!((won.reward, won.terminated, won.truncated, last.state), (1.0, true, None, SlotState::Over));
    for op in [say("more"), Op::Observe] {
        assert_eq!(failure(&client.run(0, op).await).code, FailureCode::NoEpisode);
    }
    assert_eq!(bench.world.acts(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_agent_ends_its_own_episode() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    let outcome = client.run(0, Op::Step(StepAction::Typed(Action::Finish { answer: "42".into() }))).await;
    assert!(transition(&outcome).terminated);
    assert_eq!((transition(&outcome).reward, outcome.state), (0.0, SlotState::Over));
}

#[tokio::test(start_paused = true)]
async fn the_step_limit_truncates_and_the_task_wins_on_its_last_step() {
    let bench = Bench::new();
    let mut client = bench.client(2);
    client.reset(0, "short").await;
    client.reset(1, "short").await;
    for slot in [0, 1] {
        client.run(slot, say("a")).await;
        client.run(slot, say("b")).await;
    }
    let truncated = client.run(0, say("c")).await;
    let end = transition(&truncated);
    assert_eq!((end.terminated, end.truncated, end.reward), (false, Some(TruncationCause::StepLimit), 0.0));
    assert_eq!(truncated.state, SlotState::Over);
    let won = client.run(1, say("win")).await;
    assert_eq!((transition(&won).terminated, transition(&won).truncated), (true, None));
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_truncates_and_a_step_after_it_is_not_performed() {
    let bench = Bench::new();
    let mut client = bench.client(2);
    let limit = Some(Duration::from_secs(10));
    client.run(0, limited("open", None, limit)).await;
    client.run(1, limited("open", None, limit)).await;
    bench.world.fault(At::Act, Fault::Takes(Duration::from_secs(11)));
    let during = client.run(0, say("slow")).await;
    assert_eq!(transition(&during).truncated, Some(TruncationCause::TimeLimit));
    let after = client.run(1, say("win")).await;
    let end = transition(&after);
    assert_eq!((end.truncated, end.terminated, end.reward), (Some(TruncationCause::TimeLimit), false, 0.0));
    assert_eq!(end.action_result.as_ref().unwrap().status, ActionStatus::Refused);
    assert_eq!((after.step, after.state, bench.world.acts()), (1, SlotState::Over, 1));
}

#[tokio::test(start_paused = true)]
async fn text_that_does_not_parse_is_a_step_that_performs_nothing() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "short").await;
    let nonsense = Op::Step(StepAction::Text { text: "jump(!".into(), dialect: Dialect::Browsergym });
    let outcome = client.run(0, nonsense).await;
    let done = transition(&outcome);
    let result = done.action_result.as_ref().unwrap();
    assert_eq!((result.status, outcome.step, bench.world.acts()), (ActionStatus::ParseError, 1, 0));
    assert!(!result.error.is_empty() && done.observations.len() == 1);
    let context = bench.world.context.lock().unwrap().clone();
    assert_eq!((context.last_action.as_str(), &context.last_action_error), ("jump(!", &result.error));
}

#[tokio::test(start_paused = true)]
async fn observations_repeat_what_the_episode_knows() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    for n in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let text = format!("send_msg_to_user('{n}')");
        client.run(0, Op::Step(StepAction::Text { text, dialect: Dialect::Browsergym })).await;
    }
    let context = bench.world.context.lock().unwrap().clone();
    assert_eq!((context.goal.as_str(), context.last_action.as_str()), ("goal of open 7", "send_msg_to_user('9')"));
    assert_eq!((context.previous_actions.len(), context.previous_actions[0].as_str()), (8, "send_msg_to_user('2')"));
    assert_eq!((context.chat[0].clone(), context.chat.len()), (("user", "goal of open 7".into()), 11));
    assert_eq!(context.chat[10], ("assistant", "9".into()));
    assert!((10.0..10.5).contains(&context.elapsed_s), "{}", context.elapsed_s);
}

#[tokio::test(start_paused = true)]
async fn a_typed_action_is_repeated_in_the_words_of_an_agent() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    client.run(0, say("it's 9")).await;
    client.run(0, Op::Step(StepAction::Typed(Action::Goto { url: "http://a/".into(), new_tab: true }))).await;
    let context = bench.world.context.lock().unwrap().clone();
    assert_eq!(context.previous_actions, [r"send_msg_to_user('it\'s 9')", "jump_to('http://a/', True)"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_may_choose_its_own_observations_or_none() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.reset(0, "open").await;
    let mut command = client.command(0, Op::Observe);
    command.observations = Some([spec(ObservationKind::Url), spec(ObservationKind::Goal)].into());
    let both = client.run_command(command).await;
    let kinds: Vec<_> = transition(&both).observations.iter().map(|o| o.kind).collect();
    assert_eq!(kinds, [ObservationKind::Url, ObservationKind::Goal]);
    let taken = bench.world.observed.load(Ordering::SeqCst);
    let mut command = client.command(0, say("blind"));
    command.observations = Some([].into());
    assert!(transition(&client.run_command(command).await).observations.is_empty());
    assert_eq!(bench.world.observed.load(Ordering::SeqCst), taken);
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_place_keeps_the_sandbox_only_for_the_same_task_and_a_clean_one() {
    let bench = Setting { in_place: true, ..Setting::default() }.build();
    let mut client = bench.client(1);
    assert_eq!(report(&client.run(0, in_place("open")).await).strategy, ResetStrategy::Fresh);
    client.run(0, say("win")).await;
    let again = client.run(0, in_place("open")).await;
    assert_eq!((report(&again).strategy, report(&again).verified_clean), (ResetStrategy::InPlace, true));
    assert_eq!(client.run(0, say("a")).await.step, 1);
    assert_eq!(report(&client.run(0, in_place("open")).await).strategy, ResetStrategy::InPlace);
    assert_eq!(report(&client.run(0, in_place("short")).await).strategy, ResetStrategy::Fresh);
    bench.world.residue.lock().unwrap().push("cookie".into());
    assert_eq!(report(&client.run(0, in_place("short")).await).strategy, ResetStrategy::Fresh);
    bench.world.residue.lock().unwrap().clear();
    bench.world.fault(At::SetUp, Fault::Fails(envfarm_core::BackendError::SandboxLost("x".into())));
    assert_eq!(report(&client.run(0, in_place("short")).await).strategy, ResetStrategy::Fresh);
    let modes: Vec<_> = bench.world.set_ups.lock().unwrap().iter().map(|(_, mode)| *mode).collect();
    use ResetMode::{Fresh, InPlace};
    assert_eq!(modes, [Fresh, InPlace, InPlace, Fresh, Fresh, InPlace, Fresh]);
}

#[tokio::test(start_paused = true)]
async fn a_suite_that_cannot_reset_in_place_always_gets_a_fresh_sandbox() {
    let bench = Bench::new();
    let mut client = bench.client(1);
    client.run(0, in_place("open")).await;
    assert_eq!(report(&client.run(0, in_place("open")).await).strategy, ResetStrategy::Fresh);
}
