//! Random sequences of commands against the pure admission: no step twice, none past its fence, exact replay.

use std::sync::Arc;
use std::time::Duration;

use envfarm_core::command::{Command, Done, Op, Outcome, Reset, ResetFrom, StepAction};
use envfarm_core::{Action, SlotState, SnapshotLevel, TaskRef, Timing};
use envfarm_rollout::admission::{Admission, Admit, After, Deny};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Command { id: u64, op: u8, episode: i64, step: i64, timeout: u64 },
    Finish { outcome: u8 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Fences are offsets from the true position, mostly right; ids come from a small set so that they repeat.
    let offset = || prop_oneof![6 => Just(0i64), 1 => Just(-1i64), 1 => Just(1i64)];
    let timeout = prop_oneof![19 => Just(1u64), 1 => Just(0u64)];
    let command = (0u64..12, 0u8..5, offset(), offset(), timeout).prop_map(|(id, op, episode, step, timeout)| Event::Command {
        id,
        op,
        episode,
        step,
        timeout,
    });
    let finish = (0u8..4).prop_map(|outcome| Event::Finish { outcome });
    prop::collection::vec(prop_oneof![3 => command, 2 => finish], 1..120)
}

fn op(kind: u8) -> Op {
    let task = TaskRef { id: "t".into(), seed: 1 };
    match kind {
        0 => Op::Reset(Reset { from: ResetFrom::Task(task), mode: None, step_limit: None, time_limit: None }),
        1 => Op::Step(StepAction::Typed(Action::NOOP)),
        2 => Op::Observe,
        3 => Op::Snapshot(SnapshotLevel::Replay),
        _ => Op::Prepare(task),
    }
}

proptest! {
    #[test]
    fn no_command_runs_twice_or_past_its_fence(events in events()) {
        let mut admission = Admission::new(3);
        let mut running: Option<Command> = None;
        let mut last: Option<Arc<Outcome>> = None;
        // Positions at which a step was taken.
        let mut stepped: Vec<(u64, u32)> = Vec::new();
        for event in events {
            let before = admission.position();
            match event {
                Event::Command { id, op: kind, episode, step, timeout } => {
                    let command = Command {
                        request_id: id,
                        slot: 3,
                        expected_episode: before.episode.saturating_add_signed(episode),
                        expected_step: before.step.saturating_add_signed(step as i32),
                        timeout: Duration::from_secs(timeout),
                        observations: None,
                        op: op(kind),
                    };
                    let admitted = admission.admit(&command);
                    let repeated = last.as_ref().is_some_and(|last| last.request_id == id);
                    match admitted {
                        Ok(Admit::Run) => {
                            prop_assert!(running.is_none() && !repeated && id != 0 && timeout != 0);
                            prop_assert_eq!(command.expected_episode, before.episode);
                            if !matches!(command.op, Op::Reset(_)) {
                                prop_assert_eq!(before.state, SlotState::Running);
                                prop_assert_eq!(command.expected_step, before.step);
                            }
                            admission.begin(&command);
                            prop_assert_eq!(admission.in_flight(), Some(id));
                            running = Some(command);
                        }
                        Ok(Admit::RunBeside) => {
                            prop_assert!(matches!(command.op, Op::Prepare(_)));
                            prop_assert_eq!(command.expected_episode, before.episode);
                        }
                        Ok(Admit::Replay(outcome)) => {
                            prop_assert!(Arc::ptr_eq(&outcome, last.as_ref().expect("something to replay")));
                            prop_assert_eq!(outcome.request_id, id);
                        }
                        Ok(Admit::InFlight) => prop_assert_eq!(running.as_ref().map(|c| c.request_id), Some(id)),
                        Err(deny) => {
                            let Command { expected_episode, expected_step, .. } = command;
                            let holds = match deny {
                                Deny::ZeroRequestId => id == 0,
                                Deny::ZeroTimeout => timeout == 0,
                                Deny::Busy { in_flight } => running.as_ref().is_some_and(|c| c.request_id == in_flight),
                                Deny::WrongEpisode { actual, .. } => actual == before.episode && expected_episode != actual,
                                Deny::WrongStep { actual, .. } => actual == before.step && expected_step != actual,
                                Deny::NoEpisode { state } => state == before.state && state != SlotState::Running,
                            };
                            prop_assert!(holds, "{deny:?}");
                        }
                    }
                }
                Event::Finish { outcome } => {
                    let Some(command) = running.take() else { continue };
                    let after = match (&command.op, outcome) {
                        (_, 0) => After::Lost,
                        (Op::Reset(_), _) => After::Started,
                        (Op::Step(_), 1) => After::Unchanged,
                        (Op::Step(_), n) => {
                            let at = (command.expected_episode, command.expected_step);
                            prop_assert!(!stepped.contains(&at), "step {at:?} was taken twice");
                            stepped.push(at);
                            After::Stepped { over: n == 3 }
                        }
                        _ => After::Unchanged,
                    };
                    admission.finish(after);
                    let recorded = Arc::new(Outcome {
                        request_id: command.request_id,
                        slot: 3,
                        episode: admission.episode(),
                        step: admission.step(),
                        state: admission.state(),
                        result: Ok(Done::Prepared),
                        timing: Timing::default(),
                        replayed: false,
                    });
                    admission.record(recorded.clone());
                    last = Some(recorded);
                }
            }
            let now = admission.position();
            prop_assert!((now.episode, now.step) >= (before.episode, before.step), "the position went back");
            prop_assert!(now.episode - before.episode <= 1);
        }
    }
}
