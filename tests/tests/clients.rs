//! Clients that vanish, come back, or do not read.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use envfarm_core::command::{Op, StepAction};
use envfarm_core::{Action, FailureCode};
use envfarm_proto::{Client, ClientError};
use envfarm_tests::session::reset_op;
use envfarm_tests::{Farm, NULL, PATIENCE, Session, Site, Web, done, eventually, failure, process, step_op};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::time::{Instant, timeout};
use tonic::Code;

const TTL: Duration = Duration::from_millis(1500);

fn code(error: &ClientError) -> Option<Code> {
    match error {
        ClientError::Status(status) => Some(status.code()),
        _ => None,
    }
}

/// Acquires every slot as soon as that works, and plays in each.
async fn take_all(client: &Client, slots: u32, within: Duration) {
    let (lease, took) =
        eventually("the slots come back", within, async || match client.acquire("heir", "web", slots, Duration::ZERO).await {
            Ok(lease) => Some(lease),
            Err(error) => {
                assert_eq!(code(&error), Some(Code::ResourceExhausted), "{error}");
                None
            }
        })
        .await;
    assert!(took >= TTL / 2, "after {took:?}: the lease did not last");
    let mut session = Session::attach(client, &lease.id, &[]).await;
    session.all((0..slots).map(|slot| (slot, reset_op("counter", 1)))).await.into_iter().for_each(|outcome| drop(done(outcome)));
    session.act(0, "noop(0)").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_of_a_killed_client_come_back_when_its_lease_expires() {
    const SLOTS: u32 = 3;
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: SLOTS, hosts: (1, 1, 6), ..Web::default() }.pages(&site)).await;
    let mut holder = tokio::process::Command::new(env!("CARGO_BIN_EXE_holder"))
        .args([&farm.endpoint, "web", "counter", &SLOTS.to_string(), &TTL.as_millis().to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("the holder holds in time").unwrap();
    assert_eq!(line.as_deref(), Some("holding"));

    // A client that is attached keeps its lease for much longer than the lease lasts.
    let client = farm.client().await;
    let steps = farm.pool().await.steps;
    let began = Instant::now();
    eventually("it holds its lease", PATIENCE, async || {
        let refused = client.acquire("heir", "web", 1, Duration::ZERO).await.unwrap_err();
        assert_eq!(code(&refused), Some(Code::ResourceExhausted), "{refused}");
        (began.elapsed() > 3 * TTL).then_some(())
    })
    .await;
    assert!(farm.pool().await.steps > steps, "the holder does not step");
    holder.kill().await.unwrap();
    take_all(&client, SLOTS, TTL + Duration::from_secs(5)).await;
    let status = farm.status().await;
    assert_eq!((status.leases, status.pools[0].leased_slots), (1, SLOTS), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_costs_nothing_within_the_lease_and_the_slots_after_it() {
    const SLOTS: u32 = 2;
    let site = Site::start().await;
    let farm = Farm::start(&Web { slots: SLOTS, ..Web::default() }.pages(&site)).await;
    let lease = farm.client().await.acquire("first", "web", SLOTS, TTL).await.unwrap().id;
    {
        let mut session = Session::attach(&farm.client().await, &lease, &[]).await;
        session.reset(0, "counter", 1).await;
        session.act(0, "noop(0)").await;
        // In flight when the connection goes.
        session.send(0, step_op("noop(200)")).await;
        session.reset(1, "counter", 1).await;
    }
    let client = farm.client().await;
    let mut session = Session::attach(&client, &lease, &[]).await;
    let position = session.rollout.slots[0].clone();
    if position.in_flight_request_id == 0 {
        assert_eq!((position.episode, position.step), (1, 2), "{position:?}");
    } else {
        assert_eq!(session.outcome(position.in_flight_request_id).await.step, 2);
    }
    session.act(0, "noop(0)").await;
    drop(session);
    take_all(&client, SLOTS, TTL + Duration::from_secs(5)).await;
    let gone = client.rollout(&lease, &[]).await.err().unwrap();
    assert_eq!(code(&gone), Some(Code::NotFound), "{gone}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_costs_bounded_memory_and_no_other_client() {
    const SLOTS: u32 = 8;
    /// Of each outcome: what the agent answered comes back.
    const ANSWER_BYTES: usize = 1 << 20;
    /// For queues, windows and what slots keep: a few hundred outcomes, however many commands are sent.
    const MOST_BYTES: u64 = 640 << 20;
    const COMMANDS: u64 = 4000;
    let farm = Farm::start(NULL).await;
    let client = farm.client().await;
    let mut other = Session::open(&client, "null", 1, &[]).await;
    other.reset(0, "noop", 1).await;
    let mut deaf = Session::open(&farm.client().await, "null", SLOTS, &[]).await;
    deaf.all((0..SLOTS).map(|slot| (slot, reset_op("noop", 1)))).await;

    let (before, mut most, mut longest) = (process::rss(farm.pid()), 0, Duration::ZERO);
    let (mut sent, mut taken, mut stalled, mut others) = (0, true, false, 0);
    let answer = "x".repeat(ANSWER_BYTES);
    'sending: for round in 0.. {
        for slot in 0..SLOTS {
            let mut command = deaf.command(slot, Op::Step(StepAction::Typed(Action::Answer { text: answer.clone() })));
            command.expected_step = round;
            stalled = timeout(Duration::from_secs(3), deaf.rollout.send(vec![command])).await.is_err();
            if stalled || sent == COMMANDS {
                break 'sending;
            }
            sent += 1;
            let step = Instant::now();
            other.act(0, "noop()").await;
            others += 1;
            longest = longest.max(step.elapsed());
            most = most.max(process::rss(farm.pid()));
        }
        // Every step is taken, so that its outcome waits for a reader, until there is no more room for outcomes.
        if taken {
            let steps = async || client.status().await.unwrap().pools[0].steps - others;
            let all_taken = async { while steps().await < u64::from((round + 1) * SLOTS) {} };
            taken = timeout(Duration::from_secs(2), all_taken).await.is_ok();
        }
    }
    let grown = most.saturating_sub(before) >> 20;
    eprintln!("{sent} MiB sent, the farm grew by {grown} MiB, the other client waited {longest:?} at most");
    assert!(stalled && !taken, "the farm took {sent} commands of a client that does not read");
    assert!(grown < MOST_BYTES >> 20, "the farm grew by {grown} MiB");
    assert!(longest < Duration::from_secs(3), "another client waited {longest:?}");
    // Once it reads, every command that it sent has its outcome, and it goes on.
    let mut answered = BTreeSet::new();
    while (answered.len() as u64) < sent {
        let outcome = deaf.next().await;
        assert!(answered.insert(outcome.request_id), "answered twice: {outcome:?}");
    }
    deaf.reset(0, "noop", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_wait_do_not_hold_up_others() {
    let site = Site::start().await;
    let web = Web { slots: 4, warm: 2, hosts: (1, 1, 8), ..Web::default() }.pages(&site);
    let farm = Farm::start(&format!("{web}[farm.gates]\nload = 1\nstep = 1\n")).await;
    let mut session = Session::open(&farm.client().await, "web", 4, &[]).await;
    session.all((0..2).map(|slot| (slot, reset_op("plain", 1)))).await.into_iter().for_each(|outcome| drop(done(outcome)));
    // One sleeps, the page of another never comes.
    let sleeping = session.send(0, step_op("noop(20000)")).await;
    let loading = session.send(2, reset_op("never", 1)).await;
    eventually("the page is asked for", PATIENCE, async || (site.hits("never") > 0).then_some(())).await;
    let began = Instant::now();
    let step = session.send(1, step_op("noop(0)")).await;
    let reset = session.send(3, reset_op("plain", 1)).await;
    for expected in [step, reset] {
        let outcome = session.next().await;
        assert_eq!(outcome.request_id, expected, "{outcome:?}");
        done(outcome);
    }
    assert!(began.elapsed() < Duration::from_secs(12), "after {:?}", began.elapsed());
    for (slot, id) in [(0, sleeping), (2, loading)] {
        session.rollout.sender.cancel(slot, id).await.unwrap();
        assert_eq!(failure(session.outcome(id).await).code, FailureCode::Cancelled);
    }
}
