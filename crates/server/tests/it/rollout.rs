//! What a client may do to a stream, and that the stream goes on.

use std::time::Duration;

use envfarm_core::Dialect;
use envfarm_core::FailureCode;
use envfarm_core::action::MAX_TEXT_BYTES;
use envfarm_core::command::{Op, StepAction};
use envfarm_proto::v1::rollout_request::Kind;
use envfarm_proto::v1::{self, env_farm_client::EnvFarmClient};
use envfarm_proto::{ClientError, Rollout};
use envfarm_suites::null::TEN_STEPS;
use tokio::time::timeout;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::farm::{GOAL, Served, begin, command, failure, next, noop, options, reset, run, transition};

/// How a stream ended that should have been refused.
async fn end(rollout: &mut Rollout) -> Code {
    let mut outcomes = Vec::new();
    loop {
        match timeout(Duration::from_secs(20), rollout.recv_many(&mut outcomes)).await.expect("an end in time") {
            Ok(_) => {}
            Err(ClientError::Status(status)) => return status.code(),
            Err(other) => panic!("not a status: {other}"),
        }
    }
}

async fn refused(served: &Served, first: Kind) -> Code {
    let endpoint = Endpoint::from_shared(format!("http://{}", served.addr)).unwrap();
    let mut client = EnvFarmClient::new(endpoint.connect().await.unwrap());
    let requests = tokio_stream::iter([v1::RolloutRequest { kind: Some(first) }]);
    client.rollout(requests).await.err().unwrap().code()
}

#[tokio::test]
async fn an_episode_runs_from_reset_to_its_reward() {
    let (_served, client, mut rollout) = Served::attached(2).await;
    assert_eq!((rollout.slots.len(), rollout.max_in_flight), (2, 2));
    let mut first = command(1, 1, 0, 0, reset(TEN_STEPS));
    first.observations = Some([GOAL].into());
    let outcome = run(&mut rollout, first).await;
    assert_eq!((outcome.slot, outcome.episode, outcome.step), (1, 1, 0));
    let begun = transition(outcome);
    assert!(begun.reset_report.unwrap().verified_clean);
    assert_eq!(begun.observations[0].data.as_deref(), Ok(&b"Ends after ten actions with reward 1."[..]));
    for step in 0..10 {
        let outcome = run(&mut rollout, command(10 + u64::from(step), 1, 1, step, noop())).await;
        assert_eq!(outcome.step, step + 1);
        let taken = transition(outcome);
        assert_eq!((taken.terminated, taken.reward), (step == 9, f64::from(step == 9)));
    }
    let status = client.status().await.unwrap();
    assert_eq!((status.pools[0].episodes, status.pools[0].steps, status.leases), (1, 10, 1));
}

#[tokio::test]
async fn the_first_message_must_attach_to_a_lease_that_exists() {
    let served = Served::start(options()).await;
    assert_eq!(refused(&served, Kind::Commands(v1::CommandBatch::default())).await, Code::InvalidArgument);
    let attach = |lease_id: &str| Kind::Attach(v1::Attach { lease_id: lease_id.to_owned(), observations: None });
    assert_eq!(refused(&served, attach("nobody's")).await, Code::NotFound);
    assert_eq!(refused(&served, attach("")).await, Code::InvalidArgument);
    assert_eq!(refused(&served, attach(&"x".repeat(10_000))).await, Code::InvalidArgument);
}

#[tokio::test]
async fn observations_that_the_environment_lacks_are_refused_at_attach() {
    let (_served, client, rollout) = Served::attached(1).await;
    let picture = envfarm_core::ObservationSpec::new(envfarm_core::ObservationKind::Screenshot, None).unwrap();
    let Err(ClientError::Status(status)) = client.rollout(&rollout.lease.id, &[GOAL, picture]).await else { panic!("not refused") };
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("attach.observations.specs[1]: "), "{}", status.message());
}

#[tokio::test]
async fn a_second_attach_ends_the_stream() {
    let (_served, _client, mut rollout) = Served::attached(1).await;
    let again = v1::Attach { lease_id: rollout.lease.id.clone(), observations: None };
    rollout.sender.message(Kind::Attach(again)).await.unwrap();
    assert_eq!(end(&mut rollout).await, Code::InvalidArgument);
}

#[tokio::test]
async fn malformed_commands_fail_alone_by_the_name_of_their_field() {
    let (_served, _client, mut rollout) = Served::attached(4).await;
    begin(&mut rollout).await;
    let good = |request_id, slot| v1::Command::from(command(request_id, slot, 0, 0, reset(TEN_STEPS)));
    let nan = v1::Target { at: Some(v1::target::At::Pixel(v1::Pixel { x: f64::NAN, y: 0.0 })) };
    let click = v1::action::Kind::Click(v1::Click { target: Some(nan), ..Default::default() });
    let step = v1::Step { action: Some(v1::step::Action::Typed(v1::Action { kind: Some(click) })) };
    let commands = vec![
        good(10, 1),
        v1::Command { op: None, ..good(11, 0) },
        v1::Command { timeout_ms: 0, ..good(12, 0) },
        v1::Command { op: Some(v1::command::Op::Step(step)), ..good(13, 0) },
        good(0, 0),
        good(15, 2),
    ];
    rollout.sender.message(Kind::Commands(v1::CommandBatch { commands })).await.unwrap();
    let mut outcomes = Vec::new();
    while outcomes.len() < 6 {
        timeout(Duration::from_secs(20), rollout.recv_many(&mut outcomes)).await.unwrap().unwrap();
    }
    outcomes.sort_by_key(|outcome| outcome.request_id);
    let seen: Vec<_> = outcomes
        .into_iter()
        .map(|outcome| match &outcome.result {
            Ok(_) => (outcome.request_id, String::new()),
            Err(failure) => {
                assert_eq!((failure.code, outcome.slot, outcome.episode), (FailureCode::InvalidArgument, 0, 1));
                (outcome.request_id, failure.field.clone().unwrap_or_default().into_owned())
            }
        })
        .collect();
    let want = [
        (0, "commands[4].request_id"),
        (10, ""),
        (11, "commands[1].op"),
        (12, "commands[2].timeout_ms"),
        (13, "commands[3].step.typed.click.target.pixel.x"),
        (15, ""),
    ];
    assert_eq!(seen, want.map(|(id, field)| (id, field.to_owned())));
    // The slot that was asked wrongly goes on where it stood.
    transition(run(&mut rollout, command(20, 0, 1, 0, noop())).await);
}

#[tokio::test]
async fn an_action_of_fifty_megabytes_is_refused_and_the_stream_goes_on() {
    let (_served, _client, mut rollout) = Served::attached(1).await;
    begin(&mut rollout).await;
    for text in ["x".repeat(50 << 20), "x".repeat(MAX_TEXT_BYTES + 1)] {
        let op = Op::Step(StepAction::Text { text, dialect: Dialect::Browsergym });
        let refused = failure(run(&mut rollout, command(2, 0, 1, 0, op)).await);
        assert_eq!(refused.field.as_deref(), Some("commands[0].step.text.text"));
    }
    transition(run(&mut rollout, command(3, 0, 1, 0, noop())).await);
}

#[tokio::test]
async fn slots_out_of_range_fail_alone() {
    let (_served, _client, mut rollout) = Served::attached(1).await;
    for slot in [1, u32::MAX] {
        let refused = failure(run(&mut rollout, command(1, slot, 0, 0, reset(TEN_STEPS))).await);
        assert_eq!(refused.code, FailureCode::SlotOutOfRange);
    }
    begin(&mut rollout).await;
}

#[tokio::test]
async fn leases_are_refused_by_what_is_wrong_with_them() {
    let (_served, client, _rollout) = Served::attached(1).await;
    let acquire = async |token: &str, environment: &str, slots, ttl| match client.acquire(token, environment, slots, ttl).await {
        Ok(lease) => panic!("granted {lease:?}"),
        Err(ClientError::Status(status)) => (status.code(), status.message().to_owned()),
        Err(other) => panic!("{other}"),
    };
    let (none, day) = (Duration::ZERO, Duration::from_secs(48 * 3600));
    assert_eq!(acquire("a", "null", 1_000_000_000, none).await.0, Code::InvalidArgument);
    assert_eq!(acquire("a", "null", 0, none).await.0, Code::InvalidArgument);
    assert_eq!(acquire("a", "null", 64, none).await.0, Code::ResourceExhausted);
    assert_eq!(acquire("a", "none", 1, none).await.0, Code::NotFound);
    assert_eq!(acquire("test", "null", 2, none).await.0, Code::AlreadyExists);
    let (code, reason) = acquire("", "null", 1, none).await;
    assert!(code == Code::InvalidArgument && reason.starts_with("client_token: "), "{reason}");
    let (code, reason) = acquire("a", "null", 1, day).await;
    assert!(code == Code::InvalidArgument && reason.starts_with("ttl_ms: "), "{reason}");
    assert!(client.renew("nobody's", none).await.is_err());
    client.release("nobody's").await.unwrap();
    client.delete_snapshot("nobody's").await.unwrap();
}

#[tokio::test]
async fn tasks_come_in_pages() {
    let (_served, client, _rollout) = Served::attached(1).await;
    let (first, token) = client.tasks("null", 1, "").await.unwrap();
    let (second, end) = client.tasks("null", 1, &token).await.unwrap();
    assert_eq!((first.len(), second.len(), end.as_str()), (1, 1, ""));
    assert_ne!(first[0].id, second[0].id);
    assert_eq!(client.tasks("null", u32::MAX, "").await.unwrap().0.len(), 2);
    for (environment, token) in [("none", ""), ("null", "2"), ("null", "-1"), ("null", "x")] {
        assert!(client.tasks(environment, 1, token).await.is_err(), "{environment} {token}");
    }
}

#[tokio::test]
async fn a_lost_stream_gets_its_outcome_again_and_runs_nothing_twice() {
    let (_served, client, mut rollout) = Served::attached(1).await;
    begin(&mut rollout).await;
    let step = command(2, 0, 1, 0, noop());
    assert!(!run(&mut rollout, step.clone()).await.replayed);
    let lease = rollout.lease.id.clone();
    drop(rollout);
    let mut rollout = client.rollout(&lease, &[]).await.unwrap();
    let position = &rollout.slots[0];
    assert_eq!((position.episode, position.step, position.last_request_id), (1, 1, 2));
    let again = run(&mut rollout, step).await;
    assert!(again.replayed && again.step == 1, "{again:?}");
    let stale = failure(run(&mut rollout, command(3, 0, 1, 0, noop())).await);
    assert_eq!(stale.code, FailureCode::WrongStep);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_held_up_and_loses_nothing() {
    let served = Served::start(options()).await;
    let lease = served.client().await.acquire("test", "null", 1, Duration::ZERO).await.unwrap();
    // Small windows, so that the farm's bounds are reached and not only the connection's.
    let channel = Endpoint::from_shared(format!("http://{}", served.addr)).unwrap().connect().await.unwrap();
    let (sender, queue) = tokio::sync::mpsc::channel(1);
    let attach = v1::Attach { lease_id: lease.id, observations: None };
    sender.send(v1::RolloutRequest { kind: Some(Kind::Attach(attach)) }).await.unwrap();
    let requests = tokio_stream::wrappers::ReceiverStream::new(queue);
    let mut answers = EnvFarmClient::new(channel).rollout(requests).await.unwrap().into_inner();

    // Refusals are outcomes too, and need no episode.
    let mut sent = 0;
    let wordy = Op::Step(StepAction::Text { text: "x".repeat(1000), dialect: Dialect::Browsergym });
    let batch = |from: u64| {
        let commands = (from..from + 1000).map(|id| v1::Command::from(command(id, 9, 0, 0, wordy.clone()))).collect();
        v1::RolloutRequest { kind: Some(Kind::Commands(v1::CommandBatch { commands })) }
    };
    while timeout(Duration::from_secs(1), sender.send(batch(sent + 1))).await.is_ok() {
        sent += 1000;
        assert!(sent < 50_000, "the server takes whatever comes");
    }
    let mut received = 0;
    while received < sent {
        let answer = timeout(Duration::from_secs(20), answers.message()).await.expect("an outcome in time").unwrap().unwrap();
        if let Some(v1::rollout_response::Kind::Outcomes(batch)) = answer.kind {
            received += batch.outcomes.len() as u64;
        }
    }
    assert_eq!(received, sent);
}

#[tokio::test]
async fn a_client_that_says_no_more_gets_what_is_due_and_an_end_in_order() {
    let (_served, _client, rollout) = Served::attached(8).await;
    let commands = (0..8).map(|slot| command(1, slot, 0, 0, reset(TEN_STEPS))).collect();
    rollout.send(commands).await.unwrap();
    let Rollout { sender, mut receiver, .. } = rollout;
    drop(sender);
    let mut outcomes = Vec::new();
    let end = loop {
        match timeout(Duration::from_secs(20), receiver.recv_many(&mut outcomes)).await.expect("an end in time") {
            Ok(_) => {}
            Err(end) => break end,
        }
    };
    assert!(matches!(end, ClientError::Closed), "{end}");
    assert_eq!(outcomes.len(), 8);
}

#[tokio::test]
async fn another_stream_takes_the_lease_over() {
    let (_served, client, mut first) = Served::attached(1).await;
    begin(&mut first).await;
    let mut second = client.rollout(&first.lease.id, &[]).await.unwrap();
    assert_eq!(end(&mut first).await, Code::Aborted);
    transition(run(&mut second, command(2, 0, 1, 0, noop())).await);
    client.release(&second.lease.id).await.unwrap();
    assert_eq!(end(&mut second).await, Code::NotFound);
}

#[tokio::test]
async fn unknown_tasks_and_stale_cancels_disturb_nothing() {
    let (_served, _client, mut rollout) = Served::attached(1).await;
    let unknown = failure(run(&mut rollout, command(1, 0, 0, 0, reset("no-such-task"))).await);
    assert_eq!(unknown.code, FailureCode::UnknownTask);
    for (slot, id) in [(0, 99), (7, 1), (u32::MAX, 0)] {
        rollout.sender.cancel(slot, id).await.unwrap();
    }
    rollout.send(vec![command(2, 0, 0, 0, reset(TEN_STEPS))]).await.unwrap();
    transition(next(&mut rollout).await);
}
