//! What a client may get wrong: each is a typed error that names the field, and the stream goes on where it can.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use envfarm_core::command::{Command, Op, StepAction};
use envfarm_core::{Dialect, FailureCode, ObservationKind, SlotState, SnapshotId};
use envfarm_proto::v1::rollout_request::Kind;
use envfarm_proto::{ClientError, v1};
use envfarm_tests::session::{reset_op, reset_to, restore_op};
use envfarm_tests::{Farm, NULL, PATIENCE, Session, Site, Web, bid, done, failure, step_op, text};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

async fn null_session(farm: &Farm) -> Session {
    let mut session = Session::open(&farm.client().await, "null", 2, &[]).await;
    session.reset(0, "noop", 1).await;
    session
}

/// A good command as it travels, for tests to spoil.
fn wire(session: &mut Session, op: Op) -> v1::Command {
    session.command(0, op).into()
}

async fn send_raw(session: &mut Session, command: v1::Command) -> envfarm_core::command::Outcome {
    let id = command.request_id;
    session.rollout.sender.message(Kind::Commands(v1::CommandBatch { commands: vec![command] })).await.unwrap();
    session.outcome(id).await
}

fn typed(kind: Option<v1::action::Kind>) -> Option<v1::command::Op> {
    Some(v1::command::Op::Step(v1::Step { action: Some(v1::step::Action::Typed(v1::Action { kind })) }))
}

fn pixel(x: f64, y: f64) -> Option<v1::Target> {
    Some(v1::Target { at: Some(v1::target::At::Pixel(v1::Pixel { x, y })) })
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_the_api_forbids_are_refused_by_field_and_the_stream_goes_on() {
    use v1::action::Kind as Act;
    use v1::command::Op as Wire;
    let farm = Farm::start(NULL).await;
    let mut session = null_session(&farm).await;
    let click = |target| typed(Some(Act::Click(v1::Click { target, ..Default::default() })));
    let text_step =
        |dialect| Some(Wire::Step(v1::Step { action: Some(v1::step::Action::Text(v1::ActionText { text: "noop()".into(), dialect })) }));
    let reset_from = |from, mode| Some(Wire::Reset(v1::Reset { from, mode, ..Default::default() }));
    let task = |id: &str| Some(v1::reset::From::Task(v1::TaskSeed { task_id: id.to_owned(), seed: 1 }));
    let cases: Vec<(&str, Option<Wire>)> = vec![
        ("op", None),
        ("op.step.action", Some(Wire::Step(v1::Step { action: None }))),
        ("step.typed", typed(None)),
        ("step.typed.click.target", click(None)),
        ("step.typed.click.target", click(Some(v1::Target { at: None }))),
        ("step.typed.click.target.pixel.x", click(pixel(f64::NAN, 1.0))),
        ("step.typed.click.target.pixel.y", click(pixel(1.0, f64::INFINITY))),
        ("step.typed.click.button", typed(Some(Act::Click(v1::Click { target: pixel(1.0, 1.0), button: 99, ..Default::default() })))),
        ("step.typed.wait_ms", typed(Some(Act::WaitMs(u32::MAX)))),
        ("step.typed.sequence.actions", typed(Some(Act::Sequence(v1::Sequence { actions: vec![v1::Action::default(); 10_000] })))),
        ("step.text.dialect", text_step(77)),
        ("reset.from", reset_from(None, 0)),
        ("reset.task.task_id", reset_from(task(""), 0)),
        ("reset.task.task_id", reset_from(task(&"x".repeat(100_000)), 0)),
        ("reset.mode", reset_from(task("noop"), -1)),
        ("reset.snapshot_id", reset_from(Some(v1::reset::From::SnapshotId(String::new())), 0)),
        ("snapshot.level", Some(Wire::Snapshot(v1::Snapshot { level: 0 }))),
        ("prepare.task", Some(Wire::Prepare(v1::Prepare { task: None }))),
    ];
    for (field, op) in cases {
        let mut command = wire(&mut session, Op::Observe);
        command.op = op;
        let refused = failure(send_raw(&mut session, command).await);
        assert_eq!(refused.code, FailureCode::InvalidArgument, "{field}: {refused}");
        let named = refused.field.as_deref().unwrap_or_default();
        assert!(named.starts_with("commands[0].") && named.ends_with(field.trim_start_matches("op.")), "{field}: {named}: {refused}");
        assert!(!refused.action_may_have_applied);
    }

    let mut command = wire(&mut session, Op::Observe);
    command.timeout_ms = 0;
    let refused = failure(send_raw(&mut session, command).await);
    assert_eq!((refused.code, refused.field.as_deref()), (FailureCode::InvalidArgument, Some("commands[0].timeout_ms")));

    let mut command = wire(&mut session, Op::Observe);
    command.request_id = 0;
    let refused = failure(send_raw(&mut session, command).await);
    assert_eq!((refused.code, refused.field.as_deref()), (FailureCode::InvalidArgument, Some("commands[0].request_id")));

    for (field, spec) in [
        ("kind", v1::ObservationSpec { kind: 99, ..Default::default() }),
        ("encoding", v1::ObservationSpec { kind: 12, encoding: 1, ..Default::default() }),
        ("quality", v1::ObservationSpec { kind: 12, quality: 101, ..Default::default() }),
        ("scale", v1::ObservationSpec { kind: 12, scale: f32::NAN, ..Default::default() }),
    ] {
        let mut command = wire(&mut session, Op::Observe);
        command.observations = Some(v1::ObservationSet { specs: vec![spec] });
        let refused = failure(send_raw(&mut session, command).await);
        let expected = format!("commands[0].observations.specs[0].{field}");
        assert_eq!((refused.code, refused.field.as_deref()), (FailureCode::InvalidArgument, Some(expected.as_str())));
    }
    // One bad command of a batch is refused alone.
    let (good, mut bad) = (wire(&mut session, Op::Observe), wire(&mut session, Op::Observe));
    bad.op = None;
    let (good_id, bad_id) = (good.request_id, bad.request_id);
    session.rollout.sender.message(Kind::Commands(v1::CommandBatch { commands: vec![bad, good] })).await.unwrap();
    assert_eq!(failure(session.outcome(bad_id).await).field.as_deref(), Some("commands[0].op"));
    done(session.outcome(good_id).await);
    assert_eq!(session.run(0, step_op("noop()")).await.step, 1, "a refused command counted as a step");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_out_of_place_are_refused_and_change_nothing() {
    let farm = Farm::start(NULL).await;
    let mut session = null_session(&farm).await;
    let refuse = async |session: &mut Session, op: Op, change: fn(&mut Command)| {
        let mut command = session.command(0, op);
        change(&mut command);
        let outcome = session.run_command(command).await;
        let refused = failure(outcome);
        (refused.code, refused.field.as_deref().unwrap_or_default().to_owned())
    };
    let step = || step_op("noop()");
    let unknown = "0".repeat(32);
    for (op, change, code, field) in [
        (step(), (|c| c.expected_episode = 7) as fn(&mut Command), FailureCode::WrongEpisode, "expected_episode"),
        (step(), |c| c.expected_episode = 0, FailureCode::WrongEpisode, "expected_episode"),
        (step(), |c| c.expected_step = 1, FailureCode::WrongStep, "expected_step"),
        (Op::Observe, |c| c.expected_step = u32::MAX, FailureCode::WrongStep, "expected_step"),
        (reset_op("noop", 1), |c| c.expected_episode = u64::MAX, FailureCode::WrongEpisode, "expected_episode"),
        (reset_op("no-such-task", 1), |_| (), FailureCode::UnknownTask, "reset.task.task_id"),
        (Op::Prepare(envfarm_core::TaskRef { id: "none".into(), seed: 1 }), |_| (), FailureCode::UnknownTask, "prepare.task.task_id"),
        (restore_op(&SnapshotId(unknown)), |_| (), FailureCode::UnknownSnapshot, "reset.snapshot_id"),
    ] {
        let said = format!("{op:?}");
        assert_eq!(refuse(&mut session, op, change).await, (code, field.to_owned()), "{said}");
    }
    // A slot that the lease does not have.
    for slot in [2, u32::MAX] {
        let mut command = session.command(0, Op::Observe);
        command.slot = slot;
        let outcome = session.run_command(command).await;
        assert_eq!(outcome.slot, slot);
        let refused = failure(outcome);
        assert_eq!((refused.code, refused.field.as_deref()), (FailureCode::SlotOutOfRange, Some("slot")), "{refused}");
    }
    // A slot without an episode, and one whose episode is over.
    for (state, slot) in [(SlotState::Empty, 1), (SlotState::Over, 0)] {
        if state == SlotState::Over {
            let mut short = reset_to("noop", 1);
            short.step_limit = Some(1);
            done(session.run(0, Op::Reset(short)).await);
            assert!(session.step(0, "noop()").await.truncated.is_some());
        }
        let outcome = session.run(slot, step()).await;
        assert_eq!(outcome.state, state);
        let refused = failure(outcome);
        assert_eq!(refused.code, FailureCode::NoEpisode, "{refused}");
    }
    session.reset(0, "noop", 1).await;
    assert_eq!(session.run(0, step()).await.step, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_of_action_text_are_refused_and_the_stream_goes_on() {
    let farm = Farm::start(NULL).await;
    let mut session = null_session(&farm).await;
    for dialect in Dialect::ALL {
        let text = "x".repeat(50 << 20);
        let refused = failure(session.run(0, Op::Step(StepAction::Text { text, dialect })).await);
        assert_eq!((refused.code, refused.field.as_deref()), (FailureCode::InvalidArgument, Some("commands[0].step.text.text")));
        assert!(refused.reason.len() < 1000, "the answer repeats the text");
    }
    // The largest that is allowed is an action that does not parse, and the episode goes on.
    let longest = session.step(0, &"(".repeat(1 << 20)).await;
    assert!(!longest.action_result.unwrap().is_ok());
    assert_eq!(session.run(0, step_op("noop()")).await.step, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_that_make_no_sense_are_refused_by_field() {
    let farm = Farm::start(NULL).await;
    let client = farm.client().await;
    let day = Duration::from_secs(24 * 3600);
    for (token, environment, slots, ttl, code, named) in [
        ("a", "null", 1_000_000_000, Duration::ZERO, Code::InvalidArgument, "slots"),
        ("a", "null", u32::MAX, Duration::ZERO, Code::InvalidArgument, "slots"),
        ("a", "null", 0, Duration::ZERO, Code::InvalidArgument, "slots"),
        ("", "null", 1, Duration::ZERO, Code::InvalidArgument, "client_token"),
        (&*"t".repeat(129), "null", 1, Duration::ZERO, Code::InvalidArgument, "client_token"),
        ("a", "null", 1, Duration::from_millis(1), Code::InvalidArgument, "ttl"),
        ("a", "null", 1, 2 * day, Code::InvalidArgument, "ttl"),
        ("a", "nowhere", 1, Duration::ZERO, Code::NotFound, "environment"),
    ] {
        let refused = client.acquire(token, environment, slots, ttl).await.unwrap_err();
        let ClientError::Status(status) = refused else { panic!("{refused}") };
        assert!(status.code() == code && status.message().contains(named), "{named}: {status:?}");
    }
    let lease = client.acquire("a", "null", 4000, Duration::ZERO).await.unwrap();
    assert_eq!(client.acquire("a", "null", 4000, Duration::ZERO).await.unwrap().id, lease.id, "the same token gives the same lease");
    let ClientError::Status(status) = client.acquire("b", "null", 200, Duration::ZERO).await.unwrap_err() else { panic!() };
    assert_eq!(status.code(), Code::ResourceExhausted);
    for (id, code) in [("", Code::InvalidArgument), ("no such lease", Code::NotFound)] {
        let ClientError::Status(status) = client.rollout(id, &[]).await.err().unwrap() else { panic!() };
        assert_eq!(status.code(), code, "{status:?}");
    }
    assert!(client.renew("no such lease", Duration::ZERO).await.is_err());
    client.release("no such lease").await.unwrap();
    client.delete_snapshot("no such snapshot").await.unwrap();
    assert_eq!(farm.status().await.leases, 1);
}

/// Sends bytes as they are, whatever they mean, and reads none.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// How the farm answers a stream of these messages.
async fn answer_to(farm: &Farm, messages: Vec<Bytes>) -> Status {
    let channel = tonic::transport::Endpoint::from_shared(farm.endpoint.clone()).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = "/envfarm.v1.EnvFarm/Rollout".parse().unwrap();
    let answered = async {
        let answer = grpc.streaming(Request::new(tokio_stream::iter(messages)), path, Raw).await;
        let mut stream = match answer {
            Ok(answer) => answer.into_inner(),
            Err(status) => return status,
        };
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok("ended in order"),
                Err(status) => return status,
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("an answer in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_its_own_stream_with_a_reason_and_no_other() {
    let farm = Farm::start(NULL).await;
    let mut session = null_session(&farm).await;
    let lease = farm.client().await.acquire("garbage", "null", 1, Duration::ZERO).await.unwrap().id;
    // Field 1 (attach), of so many bytes, whose field 1 (lease_id) is the id.
    let attach = [&[0x0a, lease.len() as u8 + 2, 0x0a, lease.len() as u8], lease.as_bytes()].concat();
    for (what, messages) in [
        ("garbage at once", vec![Bytes::from_static(b"\xff\xff\xff\xff garbage")]),
        ("nothing", vec![Bytes::new()]),
        ("garbage after attach", vec![attach.clone().into(), Bytes::from_static(b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")]),
        ("an empty message after attach", vec![attach.clone().into(), Bytes::new()]),
        ("attach twice", vec![attach.clone().into(), attach.clone().into()]),
        ("half a message", vec![attach.clone().into(), Bytes::from_static(b"\x12\x7f\x0a")]),
        ("a message that is too large", vec![attach.clone().into(), Bytes::from(vec![0; 65 << 20])]),
        ("a lease id that is no text", vec![Bytes::from_static(b"\x0a\x04\x0a\x02\xff\xfe")]),
    ] {
        let status = answer_to(&farm, messages).await;
        assert_ne!(status.code(), Code::Ok, "{what}");
        assert_ne!(status.code(), Code::Unknown, "{what}: {status:?}");
        assert!(!status.message().is_empty(), "{what}: {status:?}");
        session.act(0, "noop()").await;
    }
    // Not even HTTP.
    let address = farm.endpoint.trim_start_matches("http://").to_owned();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
    {
        let mut socket = tokio::net::TcpStream::connect(&address).await.unwrap();
        // The farm may hang up before it has read it all.
        let _ = socket.write_all(garbage).await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("the farm hangs up");
    }
    session.act(0, "noop()").await;
    // The lease whose streams went wrong is as good as before.
    let mut again = Session::attach(&farm.client().await, &lease, &[]).await;
    again.reset(0, "noop", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_again_gives_its_outcome_again_and_runs_once() {
    let site = Site::start().await;
    let farm = Farm::start(&Web::default().pages(&site)).await;
    let client = farm.client().await;
    let kinds = [ObservationKind::AxtreeTxt];
    let mut session = Session::open(&client, "web", 1, &kinds).await;
    let page = session.reset(0, "counter", 1).await;
    let click = session.command(0, step_op(&format!("click('{}')", bid(&page, "'go'"))));
    let first = session.run_command(click.clone()).await;
    assert!(!first.replayed);
    let again = session.run_command(click.clone()).await;
    assert!(again.replayed && again.step == first.step && again.episode == first.episode);
    // The id counts, not what is sent with it.
    let again_other = session.run_command(Command { op: step_op("noop(0)"), expected_step: 9, ..click.clone() }).await;
    assert!(again_other.replayed);
    let lease = session.rollout.lease.id.clone();
    drop(session);
    let mut session = Session::attach(&client, &lease, &kinds).await;
    assert_eq!(session.rollout.slots[0].last_request_id, click.request_id);
    let again = session.run_command(click.clone()).await;
    assert!(again.replayed);
    assert_eq!(text(&done(again), kinds[0]), text(&done(first), kinds[0]));
    assert!(text(&session.observe(0).await, kinds[0]).contains("clicked 1"));
    assert_eq!(site.hits("clicked"), 1);
    // The observation took its place: now it is an old step, and refused.
    let stale = failure(session.run_command(click).await);
    assert_eq!(stale.code, FailureCode::WrongStep);
    assert_eq!(site.hits("clicked"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_places_that_are_forbidden_are_bad_actions() {
    let site = Site::start().await;
    let farm = Farm::start(&Web::default().pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 1, &[ObservationKind::Url]).await;
    session.reset(0, "plain", 1).await;
    for url in [
        "file:///etc/passwd",
        "chrome://version",
        "devtools://devtools/bundled/inspector.html",
        "view-source:http://127.0.0.1/",
        "javascript:alert(1)",
        "ftp://127.0.0.1/",
    ] {
        let step = session.step(0, &format!("goto('{url}')")).await;
        assert_eq!(step.action_result.as_ref().unwrap().status, envfarm_core::ActionStatus::Refused, "{url}: {:?}", step.action_result);
        assert_eq!(text(&step, ObservationKind::Url), site.url("plain"), "{url}");
        assert!(!step.terminated);
    }
    for nonsense in ["click('no-such-id')", "click(", "fill('1')", "os.system('id')", "", "\0"] {
        let step = session.step(0, nonsense).await;
        assert!(!step.action_result.as_ref().unwrap().is_ok(), "{nonsense:?}: {:?}", step.action_result);
    }
    session.act(0, "noop(0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_is_too_short_is_a_failure_and_the_slot_can_be_reset() {
    let site = Site::start().await;
    let farm = Farm::start(&Web::default().pages(&site)).await;
    let mut session = Session::open(&farm.client().await, "web", 1, &[]).await;
    session.reset(0, "plain", 1).await;
    let mut command = session.command(0, step_op("noop(20000)"));
    command.timeout = Duration::from_millis(100);
    let outcome = session.run_command(command).await;
    let state = outcome.state;
    let late = failure(outcome);
    assert_eq!((late.code, state), (FailureCode::DeadlineExceeded, SlotState::Lost), "{late}");
    assert!(late.action_may_have_applied);
    let refused = failure(session.run(0, step_op("noop(0)")).await);
    assert_eq!(refused.code, FailureCode::NoEpisode);
    // Cancelled is much the same.
    session.reset(0, "plain", 1).await;
    let id = session.send(0, step_op("noop(20000)")).await;
    session.rollout.sender.cancel(0, id).await.unwrap();
    assert_eq!(failure(session.outcome(id).await).code, FailureCode::Cancelled);
    session.reset(0, "plain", 1).await;
    session.act(0, "noop(0)").await;
}
