//! What must hold of the conversions: nothing is lost there and back, whatever the API forbids is refused by the name of its
//! field, and no input panics.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use envfarm_core::action::{Action, Ending, MAX_SEQUENCE, MAX_TEXT_BYTES, MAX_WAIT_MS, Modifier, MouseButton, Target};
use envfarm_core::command::{Command, Done, Op, Outcome, Position, Reset, ResetFrom, SnapshotInfo, StepAction};
use envfarm_core::{
    ActionResult, ActionStatus, Dialect, Failure, FailureCode, Observation, ObservationKind, ObservationSpec, ResetMode, ResetReport,
    ResetStrategy, SlotState, SnapshotId, SnapshotLevel, TaskRef, Timing, Transition, TruncationCause,
};
use envfarm_proto::convert::{self, MAX_ID_BYTES, MAX_SPECS};
use envfarm_proto::v1;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9 äé-]{1,24}"
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,40}"
}

fn number() -> impl Strategy<Value = f64> {
    -1e9..1e9
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        name().prop_map(Target::Element),
        (number(), number()).prop_map(|(x, y)| Target::Pixel { x, y }),
        (0.0..=1.0, 0.0..=1.0).prop_map(|(x, y)| Target::Point { x, y }),
    ]
}

fn single_action() -> impl Strategy<Value = Action> {
    let button = || select(vec![MouseButton::Left, MouseButton::Middle, MouseButton::Right]);
    let modifiers = vec(select(vec![Modifier::Alt, Modifier::Control, Modifier::Meta, Modifier::Shift]), 0..4);
    let pointer = prop_oneof![
        (target(), button(), 1u8.., modifiers).prop_map(|(target, button, count, modifiers)| Action::Click {
            target,
            button,
            count,
            modifiers
        }),
        target().prop_map(|target| Action::Hover { target }),
        (option::of(target()), button()).prop_map(|(target, button)| Action::MouseDown { target, button }),
        (option::of(target()), button()).prop_map(|(target, button)| Action::MouseUp { target, button }),
        (target(), target()).prop_map(|(from, to)| Action::Drag { from, to }),
        (option::of(target()), number(), number()).prop_map(|(at, dx, dy)| Action::Scroll { at, dx, dy }),
        number().prop_map(|pages| Action::ScrollPages { pages }),
    ];
    let form = prop_oneof![
        (target(), text()).prop_map(|(target, text)| Action::Fill { target, text }),
        (option::of(target()), text(), any::<bool>(), any::<bool>()).prop_map(|(target, text, clear, press_enter)| Action::Type {
            target,
            text,
            clear,
            press_enter
        }),
        (target(), vec(text(), 0..4)).prop_map(|(target, options)| Action::Select { target, options }),
        (target(), any::<bool>()).prop_map(|(target, checked)| Action::SetChecked { target, checked }),
        target().prop_map(|target| Action::Clear { target }),
        target().prop_map(|target| Action::Focus { target }),
        (option::of(target()), name()).prop_map(|(target, keys)| Action::Press { target, keys }),
        name().prop_map(|key| Action::KeyDown { key }),
        name().prop_map(|key| Action::KeyUp { key }),
        text().prop_map(|text| Action::InsertText { text }),
        (target(), vec(text(), 0..4)).prop_map(|(target, files)| Action::Upload { target, files }),
    ];
    let browser = prop_oneof![
        (text(), any::<bool>()).prop_map(|(url, new_tab)| Action::Goto { url, new_tab }),
        Just(Action::Back),
        Just(Action::Forward),
        Just(Action::NewTab),
        Just(Action::CloseTab),
        (0usize..1000).prop_map(|index| Action::FocusTab { index }),
        (0..=MAX_WAIT_MS).prop_map(|ms| Action::Wait { ms }),
        text().prop_map(|text| Action::Answer { text }),
        text().prop_map(|reason| Action::Infeasible { reason }),
        text().prop_map(|answer| Action::Finish { answer }),
    ];
    // Boxed, since unboxed trees of this size overflow a test thread's stack.
    prop_oneof![pointer.boxed(), form.boxed(), browser.boxed()]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![4 => single_action(), 1 => vec(single_action(), 0..5).prop_map(Action::Sequence)]
}

fn task() -> impl Strategy<Value = TaskRef> {
    (name(), any::<u64>()).prop_map(|(id, seed)| TaskRef { id, seed })
}

fn spec() -> impl Strategy<Value = ObservationSpec> {
    (select(ObservationKind::ALL.to_vec()), any::<prop::sample::Index>(), 1u8..=100, 0.05f32..=4.0).prop_map(
        |(kind, index, quality, scale)| {
            let encoding = *index.get(kind.encodings());
            ObservationSpec { quality, scale, ..ObservationSpec::new(kind, Some(encoding)).unwrap() }
        },
    )
}

fn millis() -> impl Strategy<Value = Duration> {
    (1..=u32::MAX).prop_map(|ms| Duration::from_millis(ms.into()))
}

fn micros() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|us| Duration::from_micros(us.into()))
}

fn op() -> impl Strategy<Value = Op> {
    let from = prop_oneof![task().prop_map(ResetFrom::Task), name().prop_map(|id| ResetFrom::Snapshot(SnapshotId(id)))];
    let mode = option::of(select(vec![ResetMode::Fresh, ResetMode::InPlace]));
    prop_oneof![
        (from, mode, option::of(1u32..), option::of(millis())).prop_map(|(from, mode, step_limit, time_limit)| Op::Reset(Reset {
            from,
            mode,
            step_limit,
            time_limit
        })),
        (text(), select(Dialect::ALL.to_vec())).prop_map(|(text, dialect)| Op::Step(StepAction::Text { text, dialect })),
        action().prop_map(|action| Op::Step(StepAction::Typed(action))),
        Just(Op::Observe),
        select(vec![SnapshotLevel::Storage, SnapshotLevel::Replay]).prop_map(Op::Snapshot),
        task().prop_map(Op::Prepare),
    ]
}

prop_compose! {
    fn command()(
        request_id in 1u64.., slot: u32, expected_episode: u64, expected_step: u32, timeout in millis(),
        observations in option::of(vec(spec(), 0..4)), op in op(),
    ) -> Command {
        let observations = observations.map(Arc::from);
        Command { request_id, slot, expected_episode, expected_step, timeout, observations, op }
    }
}

fn state() -> impl Strategy<Value = SlotState> {
    select(vec![SlotState::Empty, SlotState::Running, SlotState::Over, SlotState::Lost])
}

prop_compose! {
    fn observation()(spec in spec(), data in vec(any::<u8>(), 0..64), error in option::of(name()), at: u64) -> Observation {
        let data = error.map_or(Ok(data.into()), Err);
        Observation { kind: spec.kind, encoding: spec.encoding, data, captured_unix_us: at }
    }
}

prop_compose! {
    fn action_result()(
        status in select(vec![
            ActionStatus::Ok, ActionStatus::ParseError, ActionStatus::NoSuchElement, ActionStatus::NotInteractable,
            ActionStatus::Refused, ActionStatus::TimedOut, ActionStatus::Unsupported, ActionStatus::Failed,
        ]),
        error in text(), answer in option::of(text()), notes in vec(text(), 0..3),
        ending in option::of(prop_oneof![text().prop_map(Ending::Finished), text().prop_map(Ending::Infeasible)]),
    ) -> ActionResult {
        ActionResult { status, error, answer, ending, notes, settle_us: 0 }
    }
}

prop_compose! {
    fn reset_report()(
        strategy in select(vec![
            ResetStrategy::Fresh, ResetStrategy::Prepared, ResetStrategy::InPlace, ResetStrategy::Storage, ResetStrategy::Replay,
        ]),
        verified_clean: bool, check in text(), duration in micros(), goal in text(), task in task(),
        step_limit in option::of(1u32..), time_limit in option::of(millis()), host in name(),
    ) -> ResetReport {
        let TaskRef { id: task_id, seed } = task;
        ResetReport { strategy, verified_clean, check, duration, goal, task_id, seed, step_limit, time_limit, host }
    }
}

prop_compose! {
    fn transition()(
        observations in vec(observation(), 0..3), reward in number(), raw_reward in number(), terminated: bool,
        truncated in option::of(select(vec![TruncationCause::StepLimit, TruncationCause::TimeLimit, TruncationCause::Shutdown])),
        action_result in option::of(action_result()), reset_report in option::of(reset_report()),
    ) -> Transition {
        Transition { observations, reward, raw_reward, terminated, truncated, action_result, reset_report }
    }
}

prop_compose! {
    fn snapshot_info()(
        id in name(), environment in name(), level in select(vec![SnapshotLevel::Storage, SnapshotLevel::Replay]),
        task in task(), step: u32, size_bytes: u64, created_unix_ms: u64, fingerprint in text(),
    ) -> SnapshotInfo {
        SnapshotInfo { id: SnapshotId(id), environment, level, task, step, size_bytes, created_unix_ms, fingerprint }
    }
}

fn failure() -> impl Strategy<Value = Failure> {
    let codes =
        vec![FailureCode::InvalidArgument, FailureCode::WrongStep, FailureCode::HostLost, FailureCode::ShuttingDown, FailureCode::Backend];
    (select(codes), text(), option::of(name()), any::<bool>()).prop_map(|(code, reason, field, action_may_have_applied)| Failure {
        code,
        reason,
        field: field.map(Into::into),
        action_may_have_applied,
    })
}

prop_compose! {
    fn timing()(
        queue in micros(), act in micros(), settle in micros(), observe in micros(), score in micros(), total in micros()
    ) -> Timing {
        Timing { queue, act, settle, observe, score, total }
    }
}

prop_compose! {
    fn outcome()(
        request_id: u64, slot: u32, episode: u64, step: u32, state in state(), replayed: bool, timing in timing(),
        result in prop_oneof![
            transition().prop_map(|transition| Ok(Done::Transition(Box::new(transition)))).boxed(),
            snapshot_info().prop_map(|info| Ok(Done::Snapshot(info))),
            Just(Ok(Done::Prepared)),
            failure().prop_map(Err),
        ],
    ) -> Outcome {
        Outcome { request_id, slot, episode, step, state, result, timing, replayed }
    }
}

/// Encodes and decodes, so that what protobuf itself loses (a zero, an empty list) is part of the round trip.
fn travel<M: Message + Default>(message: M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

fn check_everything(bytes: &[u8]) {
    if let Ok(request) = v1::RolloutRequest::decode(bytes) {
        match request.kind {
            Some(v1::rollout_request::Kind::Attach(attach)) => drop(convert::attach(attach)),
            Some(v1::rollout_request::Kind::Commands(batch)) => {
                batch.commands.into_iter().enumerate().for_each(|(i, command)| drop(convert::command(i, command)));
            }
            _ => {}
        }
    }
    if let Ok(command) = v1::Command::decode(bytes) {
        drop(convert::command(0, command));
    }
    if let Ok(outcome) = v1::Outcome::decode(bytes) {
        drop(Outcome::try_from(outcome));
    }
}

proptest! {
    #[test]
    fn commands_survive_the_way_there_and_back(command in command()) {
        let before = format!("{command:?}");
        let after = convert::command(0, travel(v1::Command::from(command))).unwrap();
        prop_assert_eq!(before, format!("{after:?}"));
    }

    #[test]
    fn outcomes_survive_the_way_there_and_back(outcome in outcome()) {
        let before = format!("{outcome:?}");
        let after = Outcome::try_from(travel(v1::Outcome::from(&outcome))).unwrap();
        prop_assert_eq!(before, format!("{after:?}"));
    }

    #[test]
    fn positions_survive_the_way_there_and_back(slot: u32, episode: u64, step: u32, state in state(), one: u64, two: u64) {
        let position = Position { slot, episode, step, state, in_flight_request_id: one, last_request_id: two };
        let before = format!("{position:?}");
        let after = Position::try_from(travel(v1::SlotPosition::from(position))).unwrap();
        prop_assert_eq!(before, format!("{after:?}"));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        check_everything(&bytes);
    }

    #[test]
    fn no_broken_message_panics(
        command in command().boxed(), outcome in outcome().boxed(), at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(),
    ) {
        for mut bytes in [v1::Command::from(command).encode_to_vec(), v1::Outcome::from(&outcome).encode_to_vec()] {
            *at.get_mut(&mut bytes) = byte;
            check_everything(&bytes);
            check_everything(&bytes[..cut.index(bytes.len())]);
        }
    }
}

fn observe() -> v1::Command {
    v1::Command { request_id: 7, slot: 2, timeout_ms: 100, op: Some(v1::command::Op::Observe(v1::Observe {})), ..Default::default() }
}

fn with_op(op: v1::command::Op) -> v1::Command {
    v1::Command { op: Some(op), ..observe() }
}

fn typed(kind: v1::action::Kind) -> v1::Command {
    let action = v1::step::Action::Typed(v1::Action { kind: Some(kind) });
    with_op(v1::command::Op::Step(v1::Step { action: Some(action) }))
}

fn click(x: f64, button: i32) -> v1::action::Kind {
    let pixel = v1::target::At::Pixel(v1::Pixel { x, y: 0.0 });
    v1::action::Kind::Click(v1::Click { target: Some(v1::Target { at: Some(pixel) }), button, ..Default::default() })
}

fn wait(ms: u32) -> v1::Action {
    v1::Action { kind: Some(v1::action::Kind::WaitMs(ms)) }
}

fn reset(task_id: String, mode: i32) -> v1::Command {
    let from = v1::reset::From::Task(v1::TaskSeed { task_id, seed: 1 });
    with_op(v1::command::Op::Reset(v1::Reset { from: Some(from), mode, ..Default::default() }))
}

fn seen(specs: Vec<v1::ObservationSpec>) -> v1::Command {
    v1::Command { observations: Some(v1::ObservationSet { specs }), ..observe() }
}

fn shot(encoding: i32, quality: u32, scale: f32) -> v1::ObservationSpec {
    v1::ObservationSpec { kind: v1::ObservationKind::Screenshot as i32, encoding, quality, scale }
}

#[test]
fn whatever_the_api_forbids_is_refused_by_the_name_of_its_field() {
    use v1::action::Kind;
    let step_text = |text: String, dialect| {
        let action = v1::step::Action::Text(v1::ActionText { text, dialect });
        with_op(v1::command::Op::Step(v1::Step { action: Some(action) }))
    };
    let sequence = |actions| typed(Kind::Sequence(v1::Sequence { actions }));
    let nested = v1::Action { kind: Some(Kind::Sequence(v1::Sequence { actions: vec![wait(0)] })) };
    let point = v1::Target { at: Some(v1::target::At::Point(v1::Point { x: 0.5, y: 1.5 })) };
    let long = || "x".repeat(MAX_TEXT_BYTES + 1);
    let cases = [
        (v1::Command { request_id: 0, ..observe() }, "request_id"),
        (v1::Command { timeout_ms: 0, ..observe() }, "timeout_ms"),
        (v1::Command { op: None, ..observe() }, "op"),
        (with_op(v1::command::Op::Step(v1::Step { action: None })), "step.action"),
        (with_op(v1::command::Op::Snapshot(v1::Snapshot { level: 0 })), "snapshot.level"),
        (with_op(v1::command::Op::Prepare(v1::Prepare { task: None })), "prepare.task"),
        (with_op(v1::command::Op::Reset(v1::Reset::default())), "reset.from"),
        (reset(String::new(), 0), "reset.task.task_id"),
        (reset("t".repeat(MAX_ID_BYTES + 1), 0), "reset.task.task_id"),
        (reset("task".to_owned(), 77), "reset.mode"),
        (step_text(long(), 0), "step.text.text"),
        (step_text(String::new(), -1), "step.text.dialect"),
        (typed(click(f64::NAN, 0)), "step.typed.click.target.pixel.x"),
        (typed(click(f64::INFINITY, 0)), "step.typed.click.target.pixel.x"),
        (typed(click(0.0, 9)), "step.typed.click.button"),
        (typed(Kind::Hover(v1::Hover { target: None })), "step.typed.hover.target"),
        (typed(Kind::Focus(point)), "step.typed.focus.point.y"),
        (typed(Kind::WaitMs(MAX_WAIT_MS + 1)), "step.typed.wait_ms"),
        (typed(Kind::InsertText(long())), "step.typed.insert_text"),
        (typed(Kind::KeyDown(String::new())), "step.typed.key_down"),
        (sequence(vec![wait(0); MAX_SEQUENCE + 1]), "step.typed.sequence.actions"),
        (sequence(vec![wait(0), nested]), "step.typed.sequence.actions[1].sequence"),
        (sequence(vec![wait(0), v1::Action { kind: None }]), "step.typed.sequence.actions[1]"),
        (seen(vec![shot(0, 0, 0.0); MAX_SPECS + 1]), "observations.specs"),
        (seen(vec![shot(0, 0, 0.0), shot(v1::Encoding::Text as i32, 0, 0.0)]), "observations.specs[1].encoding"),
        (seen(vec![shot(0, 101, 0.0)]), "observations.specs[0].quality"),
        (seen(vec![shot(0, 0, f32::NAN)]), "observations.specs[0].scale"),
        (seen(vec![shot(0, 0, 4.5)]), "observations.specs[0].scale"),
        (seen(vec![v1::ObservationSpec::default()]), "observations.specs[0].kind"),
    ];
    for (wire, field) in cases {
        let rejection = convert::command(3, wire).expect_err(field);
        assert_eq!(rejection.failure.field.as_deref(), Some(format!("commands[3].{field}").as_str()));
        assert_eq!(rejection.failure.code, FailureCode::InvalidArgument);
        assert!(rejection.failure.reason.len() < 200, "the reason repeats the input");
        assert_eq!(rejection.slot, 2);
    }
}

#[test]
fn zeros_stand_for_the_documented_defaults() {
    let observations = seen(vec![shot(0, 0, 0.0)]);
    let spec = convert::command(0, observations).unwrap().observations.unwrap()[0];
    assert_eq!(spec, ObservationSpec::new(ObservationKind::Screenshot, None).unwrap());
    let Op::Step(StepAction::Typed(Action::Click { button, count, .. })) = convert::command(0, typed(click(1.0, 0))).unwrap().op else {
        panic!("not a click")
    };
    assert_eq!((button, count), (MouseButton::Left, 1));
}

#[test]
fn durations_between_nothing_and_a_millisecond_do_not_become_nothing() {
    let mut command = convert::command(0, observe()).unwrap();
    command.timeout = Duration::from_nanos(1);
    assert_eq!(v1::Command::from(command).timeout_ms, 1);
}

#[test]
fn pictures_are_shared_not_copied() {
    let picture = bytes::Bytes::from(vec![7; 4096]);
    let observation = Observation {
        kind: ObservationKind::Screenshot,
        encoding: envfarm_core::Encoding::Png,
        data: Ok(picture.clone()),
        captured_unix_us: 1,
    };
    let wire = v1::Observation::from(&observation);
    assert_eq!(wire.data.as_ptr(), picture.as_ptr());
    let message = bytes::Bytes::from(wire.encode_to_vec());
    let decoded = v1::Observation::decode(message.clone()).unwrap();
    assert!(message.as_ptr_range().contains(&decoded.data.as_ptr()));
}
