//! A lease with its stream, and where each of its slots stands.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use envfarm_core::command::{Command, Done, Op, Outcome, Reset, ResetFrom, StepAction};
use envfarm_core::{Dialect, Failure, ObservationKind, ObservationSpec, ResetReport, SnapshotId, TaskRef, Transition};
use envfarm_proto::{Client, Rollout};
use tokio::time::timeout;

use crate::PATIENCE;

/// Of commands: longer than any of them takes on a busy machine, shorter than a test's patience.
pub const TIMEOUT: Duration = Duration::from_secs(40);

pub struct Session {
    pub client: Client,
    pub rollout: Rollout,
    last_id: u64,
    /// Episode and step of each slot.
    slots: Vec<(u64, u32)>,
    /// Came, and nobody asked for it yet.
    waiting: VecDeque<Outcome>,
}

impl Session {
    /// A lease on new slots with a stream attached, whose outcomes show these kinds.
    pub async fn open(client: &Client, environment: &str, slots: u32, kinds: &[ObservationKind]) -> Self {
        // The number keeps leases of one client apart.
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let token = format!("test-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let lease = client.acquire(&token, environment, slots, Duration::ZERO).await.unwrap();
        Self::attach(client, &lease.id, kinds).await
    }

    /// A stream on a lease that is there.
    pub async fn attach(client: &Client, lease: &str, kinds: &[ObservationKind]) -> Self {
        let specs: Vec<_> = kinds.iter().map(|kind| ObservationSpec::new(*kind, None).unwrap()).collect();
        let rollout = client.rollout(lease, &specs).await.unwrap();
        let slots = rollout.slots.iter().map(|slot| (slot.episode, slot.step)).collect();
        let last_id = rollout.slots.iter().map(|slot| slot.last_request_id.max(slot.in_flight_request_id)).max().unwrap_or(0);
        Self { client: client.clone(), rollout, last_id, slots, waiting: VecDeque::new() }
    }

    /// The next command of a slot, with the position that it has to have.
    pub fn command(&mut self, slot: u32, op: Op) -> Command {
        self.last_id += 1;
        let (expected_episode, expected_step) = self.slots[slot as usize];
        Command { request_id: self.last_id, slot, expected_episode, expected_step, timeout: TIMEOUT, observations: None, op }
    }

    pub async fn send(&mut self, slot: u32, op: Op) -> u64 {
        let command = self.command(slot, op);
        self.send_command(command).await
    }

    pub async fn send_command(&mut self, command: Command) -> u64 {
        let id = command.request_id;
        timeout(PATIENCE, self.rollout.send(vec![command])).await.expect("the farm reads").unwrap();
        id
    }

    /// Whichever outcome comes next.
    pub async fn next(&mut self) -> Outcome {
        if let Some(outcome) = self.waiting.pop_front() {
            return outcome;
        }
        let mut outcomes = Vec::new();
        timeout(PATIENCE, self.rollout.recv_many(&mut outcomes)).await.expect("an outcome in time").unwrap();
        for outcome in &outcomes {
            if let Some(slot) = self.slots.get_mut(outcome.slot as usize) {
                *slot = (outcome.episode, outcome.step);
            }
        }
        self.waiting.extend(outcomes);
        self.waiting.pop_front().unwrap()
    }

    /// The outcome of this request; others wait.
    pub async fn outcome(&mut self, request_id: u64) -> Outcome {
        let mut others = VecDeque::new();
        loop {
            let outcome = self.next().await;
            if outcome.request_id == request_id {
                others.append(&mut self.waiting);
                self.waiting = others;
                return outcome;
            }
            others.push_back(outcome);
        }
    }

    pub async fn run(&mut self, slot: u32, op: Op) -> Outcome {
        let id = self.send(slot, op).await;
        self.outcome(id).await
    }

    pub async fn run_command(&mut self, command: Command) -> Outcome {
        let id = self.send_command(command).await;
        self.outcome(id).await
    }

    /// Runs one command a slot, all at once; outcomes in the order of the commands.
    pub async fn all(&mut self, ops: impl IntoIterator<Item = (u32, Op)>) -> Vec<Outcome> {
        let commands: Vec<_> = ops.into_iter().map(|(slot, op)| self.command(slot, op)).collect();
        let ids: Vec<_> = commands.iter().map(|command| command.request_id).collect();
        self.rollout.send(commands).await.unwrap();
        let mut outcomes = Vec::new();
        for id in ids {
            outcomes.push(self.outcome(id).await);
        }
        outcomes
    }

    pub async fn reset(&mut self, slot: u32, task: &str, seed: u64) -> Transition {
        done(self.run(slot, reset_op(task, seed)).await)
    }

    /// Resets every slot; which host each is on.
    pub async fn place(&mut self, task: &str, slots: u32) -> BTreeMap<u32, String> {
        let outcomes = self.all((0..slots).map(|slot| (slot, reset_op(task, 7)))).await;
        outcomes.into_iter().map(|outcome| (outcome.slot, report(&done(outcome)).host.clone())).collect()
    }

    /// A step in BrowserGym's words.
    pub async fn step(&mut self, slot: u32, action: &str) -> Transition {
        done(self.run(slot, step_op(action)).await)
    }

    /// A step that must succeed.
    pub async fn act(&mut self, slot: u32, action: &str) -> Transition {
        let transition = self.step(slot, action).await;
        assert!(transition.action_result.as_ref().unwrap().is_ok(), "{action}: {:?}", transition.action_result);
        transition
    }

    pub async fn observe(&mut self, slot: u32) -> Transition {
        done(self.run(slot, Op::Observe).await)
    }
}

/// The slots on a host.
pub fn on(placed: &BTreeMap<u32, String>, host: &str) -> BTreeSet<u32> {
    placed.iter().filter(|(_, on)| *on == host).map(|(slot, _)| *slot).collect()
}

pub fn reset_op(task: &str, seed: u64) -> Op {
    Op::Reset(reset_to(task, seed))
}

pub fn reset_to(task: &str, seed: u64) -> Reset {
    let from = ResetFrom::Task(TaskRef { id: task.to_owned(), seed });
    Reset { from, mode: None, step_limit: None, time_limit: None }
}

pub fn restore_op(snapshot: &SnapshotId) -> Op {
    Op::Reset(Reset { from: ResetFrom::Snapshot(snapshot.clone()), mode: None, step_limit: None, time_limit: None })
}

pub fn step_op(action: &str) -> Op {
    Op::Step(StepAction::Text { text: action.to_owned(), dialect: Dialect::Browsergym })
}

/// What a command that must work gave.
pub fn done(outcome: Outcome) -> Transition {
    match outcome.result {
        Ok(Done::Transition(transition)) => *transition,
        other => panic!("slot {} step {}: {other:?}", outcome.slot, outcome.step),
    }
}

/// Why a command failed that must fail.
pub fn failure(outcome: Outcome) -> Failure {
    match outcome.result {
        Err(failure) => failure,
        Ok(done) => panic!("slot {} step {} worked: {done:?}", outcome.slot, outcome.step),
    }
}

pub fn report(transition: &Transition) -> &ResetReport {
    transition.reset_report.as_ref().expect("a reset comes with its report")
}

/// An observation that is text.
pub fn text(transition: &Transition, kind: ObservationKind) -> String {
    let observation = transition.observations.iter().find(|observation| observation.kind == kind).expect("the observation was asked for");
    String::from_utf8(observation.data.as_ref().unwrap().to_vec()).unwrap()
}

/// Id of the element whose line in the accessibility text contains `needle`.
pub fn bid(transition: &Transition, needle: &str) -> String {
    let tree = text(transition, ObservationKind::AxtreeTxt);
    let line = tree.lines().map(str::trim_start).find(|line| line.starts_with('[') && line.contains(needle));
    let line = line.unwrap_or_else(|| panic!("no {needle:?} in\n{tree}"));
    line[1..].split(']').next().unwrap().to_owned()
}
