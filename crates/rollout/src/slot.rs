//! One slot: a task that owns its admission, its episode and the episode made ready to follow.
//!
//! ```text
//!   mailbox ──> admit ──┬─ refused, replayed ──────────────────────────────┐
//!                       └─ begin ──> Work: a future that owns what it needs ├──> outlet
//!                                     │  done, deadline, cancel, stop ──────┘
//!                                     ├─ took the episode and brings it back ──> Running | Over
//!                                     ├─ never touched it ─────────────────────> as it was
//!                                     └─ dropped or failed with it ────────────> Lost
//!
//!   Prepare ──> Next: polled beside the work, consumed by the Reset that it was made for, or given up for another's
//! ```
//!
//! The mailbox is served while work runs, so busy slots refuse, replay and cancel at once. An episode waits in a cell that
//! the work empties when it first touches the sandbox: what is still there after the work was dropped is unharmed.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use envfarm_core::command::{Command, Done, Op, Outcome, Position};
use envfarm_core::{Failure, FailureCode, ResetMode, Timing};
use tokio::sync::{mpsc, watch};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use crate::admission::{Admission, Admit, After};
use crate::outlet::{Outlet, Sink};
use crate::reset::{Leftovers, Preparing, Ready, Start, WANTED_BACK};
use crate::work::{self, Cell, Finished, SlotContext};

const DEADLINE_PASSED: &str = "the command's deadline passed";

/// For timeouts that the clock cannot count.
const FOREVER: Duration = Duration::from_secs(60 * 60 * 24 * 365);
/// Messages that wait for a slot. One command is in flight a slot, so more than a few is a client that floods.
const MAILBOX: usize = 8;

pub(crate) enum Message {
    Command(Box<Received>),
    Cancel(u64),
}

/// A command, filled up with its session's observations, and when it was received.
pub(crate) struct Received {
    pub command: Command,
    pub at: Instant,
}

/// The way to a slot that has started.
pub(crate) struct SlotHandle {
    pub mailbox: mpsc::Sender<Message>,
    position: Arc<Mutex<Position>>,
}

impl SlotHandle {
    /// Starts the slot's task, which ends when `stop` is cancelled.
    pub fn start(
        index: u32,
        context: Arc<SlotContext>,
        sinks: watch::Receiver<Sink>,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let (mailbox, messages) = mpsc::channel(MAILBOX);
        let position = Arc::new(Mutex::new(Position { slot: index, ..Position::default() }));
        let slot = Slot {
            index,
            context,
            messages,
            admission: Admission::new(index),
            position: position.clone(),
            episode: Cell::default(),
            work: None,
            next: None,
            outlet: Outlet::new(sinks),
        };
        tasks.spawn(slot.run(Box::pin(stop.child_token().cancelled_owned())));
        Self { mailbox, position }
    }

    pub fn position(&self) -> Position {
        self.position.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Reset,
    Step,
    Other,
}

/// What is known of the command in flight.
#[derive(Clone, Copy)]
struct Ticket {
    request_id: u64,
    kind: Kind,
    received: Instant,
}

/// The command in flight.
struct Work {
    ticket: Ticket,
    future: Pin<Box<dyn Future<Output = Result<Finished, Elapsed>> + Send>>,
}

/// The episode made ready by `Prepare`.
struct Next {
    start: Start,
    /// Tells its preparation that its reset has come.
    needed: CancellationToken,
    state: Preparation,
}

enum Preparation {
    Working(Preparing),
    Done(Box<Result<Ready, Failure>>),
}

impl Next {
    fn into_future(self) -> Preparing {
        self.needed.cancel();
        match self.state {
            Preparation::Working(preparing) => preparing,
            Preparation::Done(ready) => Box::pin(async move { *ready }),
        }
    }
}

struct Slot {
    index: u32,
    context: Arc<SlotContext>,
    messages: mpsc::Receiver<Message>,
    admission: Admission,
    position: Arc<Mutex<Position>>,
    episode: Cell,
    work: Option<Work>,
    next: Option<Next>,
    outlet: Outlet,
}

#[expect(clippy::large_enum_variant, reason = "lives for one turn of the loop; a box would be an allocation a step")]
enum Event {
    Stop,
    Finished(Finished),
    DeadlinePassed,
    Prepared,
    /// The pool wants back the sandbox of the episode that is over.
    WantedBack,
    Unblocked,
    Message(Message),
}

impl Slot {
    async fn run(mut self, mut stop: Pin<Box<WaitForCancellationFutureOwned>>) {
        loop {
            match self.next_event(&mut stop).await {
                Event::Stop => break,
                Event::Finished(finished) => {
                    if let Some(work) = self.work.take() {
                        self.conclude(work.ticket, finished);
                    }
                }
                Event::DeadlinePassed => self.abort(FailureCode::DeadlineExceeded, DEADLINE_PASSED),
                Event::Prepared | Event::Unblocked => {}
                Event::WantedBack => drop(self.episode.take()),
                Event::Message(Message::Command(received)) => self.receive(*received),
                Event::Message(Message::Cancel(request_id)) => {
                    if self.admission.in_flight() == Some(request_id) {
                        self.abort(FailureCode::Cancelled, "cancelled by the client");
                    }
                }
            }
        }
        if self.context.drain.stop.is_cancelled() {
            self.abort(FailureCode::ShuttingDown, "the farm shuts down");
        } else {
            self.abort(FailureCode::Cancelled, "the lease has ended");
        }
    }

    async fn next_event(&mut self, stop: &mut Pin<Box<WaitForCancellationFutureOwned>>) -> Event {
        let blocked = self.outlet.is_blocked();
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            finished = working(&mut self.work) => finished.map_or(Event::DeadlinePassed, Event::Finished),
            () = preparing(&mut self.next) => Event::Prepared,
            () = self.episode.wanted_back() => Event::WantedBack,
            () = self.outlet.unblock(), if blocked => Event::Unblocked,
            message = self.messages.recv(), if !blocked => message.map_or(Event::Stop, Event::Message),
        }
    }

    fn receive(&mut self, received: Received) {
        let Received { command, at } = received;
        match self.admission.admit(&command) {
            // It waited too long for this slot to take it, because nobody read the outcomes before it.
            Ok(Admit::Run) if at.elapsed() >= command.timeout => {
                self.refuse(command.request_id, Failure::new(FailureCode::DeadlineExceeded, DEADLINE_PASSED), at);
            }
            Ok(Admit::Run) => match self.context.plan(&command) {
                Ok(start) => self.begin(command, start, at),
                Err(failure) => self.refuse(command.request_id, failure, at),
            },
            Ok(Admit::RunBeside) => {
                let result = self.context.plan(&command).map(|start| self.prepare(start));
                match result {
                    Ok(()) => self.answer(command.request_id, Ok(Done::Prepared), at),
                    Err(failure) => self.refuse(command.request_id, failure, at),
                }
            }
            Ok(Admit::Replay(outcome)) => self.outlet.send(Arc::new(Outcome { replayed: true, ..Outcome::clone(&outcome) })),
            Ok(Admit::InFlight) => {}
            Err(deny) => self.refuse(command.request_id, deny.into(), at),
        }
    }

    /// Starts the work of an admitted command. `start` is there for a reset.
    fn begin(&mut self, command: Command, start: Option<Start>, received: Instant) {
        self.admission.begin(&command);
        self.publish();
        let Command { request_id, timeout, observations, op, .. } = command;
        // A client may ask for a longer time than the clock can count.
        let deadline = received.checked_add(timeout).unwrap_or_else(|| received + FOREVER);
        let specs = observations.unwrap_or_default();
        let (context, cell) = (self.context.clone(), self.episode.clone());
        let (kind, future): (_, Pin<Box<dyn Future<Output = _> + Send>>) = match (op, start) {
            (Op::Step(action), _) => (Kind::Step, Box::pin(timeout_at(deadline, work::step(context, cell, action, specs, received)))),
            (Op::Observe, _) => (Kind::Other, Box::pin(timeout_at(deadline, work::observe(context, cell, specs, received)))),
            (Op::Snapshot(level), _) => (Kind::Other, Box::pin(timeout_at(deadline, work::snapshot(context, cell, level, received)))),
            (Op::Reset(_) | Op::Prepare(_), Some(start)) => {
                let leftovers = self.leftovers(&start);
                (Kind::Reset, Box::pin(timeout_at(deadline, work::reset(context, cell, start, leftovers, received, deadline))))
            }
            (Op::Reset(_) | Op::Prepare(_), None) => unreachable!("a reset is planned before it begins"),
        };
        self.work = Some(Work { ticket: Ticket { request_id, kind, received }, future });
    }

    /// What the next episode may use of this slot; everything else of the past goes now, so that its sandbox is free
    /// before another one is asked for.
    fn leftovers(&mut self, start: &Start) -> Leftovers {
        let of_task = start.snapshot.is_none();
        let prepared = self.next.take().filter(|next| of_task && next.start.task == start.task).map(Next::into_future);
        let in_place = start.mode == ResetMode::InPlace && of_task;
        let mut previous = self.episode.take().filter(|previous| in_place && previous.task.id == start.task.id);
        if let Some(previous) = &mut previous {
            previous.lent.keep();
        }
        Leftovers { previous, prepared }
    }

    /// Makes the next episode ready beside whatever runs.
    fn prepare(&mut self, start: Option<Start>) {
        let Some(start) = start else { return };
        if self.next.as_ref().is_some_and(|next| next.is_for(&start)) {
            return;
        }
        // The one before is given back first: its sandbox may be the one that this gets.
        self.next = None;
        // Prepared, it would be elsewhere by the time of its reset.
        if !self.context.env.spec.suite.waits(&start.task) {
            return;
        }
        let needed = CancellationToken::new();
        let preparing = work::prepare(self.context.clone(), start.clone(), needed.clone());
        self.next = Some(Next { start, needed, state: Preparation::Working(Box::pin(preparing)) });
    }

    /// Ends the command in flight, if any, without its answer. Its sandbox goes with it, unless it was never touched.
    fn abort(&mut self, code: FailureCode, reason: &str) {
        let Some(Work { ticket, future }) = self.work.take() else { return };
        drop(future);
        let failure = Failure::new(code, reason);
        let (after, failure) = match ticket.kind {
            Kind::Step | Kind::Other if !self.episode.is_empty() => (After::Unchanged, failure),
            Kind::Step => (After::Lost, failure.after_action()),
            Kind::Reset | Kind::Other => (After::Lost, failure),
        };
        self.conclude(ticket, Finished { after, result: Err(failure), timing: Timing::default() });
    }

    fn conclude(&mut self, ticket: Ticket, finished: Finished) {
        let Finished { after, result, mut timing } = finished;
        timing.total = ticket.received.elapsed();
        self.admission.finish(after);
        let outcome = Arc::new(self.outcome(ticket.request_id, result, timing));
        self.count(ticket.kind, after, &outcome);
        self.admission.record(outcome.clone());
        self.publish();
        self.outlet.send(outcome);
    }

    /// Answers a command that is not recorded, and leaves the slot as it is.
    fn answer(&mut self, request_id: u64, result: Result<Done, Failure>, received: Instant) {
        let timing = Timing { total: received.elapsed(), ..Timing::default() };
        let outcome = self.outcome(request_id, result, timing);
        self.outlet.send(Arc::new(outcome));
    }

    fn refuse(&mut self, request_id: u64, failure: Failure, received: Instant) {
        self.context.env.metrics.failure(failure.code);
        self.answer(request_id, Err(failure), received);
    }

    fn outcome(&self, request_id: u64, result: Result<Done, Failure>, timing: Timing) -> Outcome {
        let (episode, step, state) = (self.admission.episode(), self.admission.step(), self.admission.state());
        Outcome { request_id, slot: self.index, episode, step, state, result, timing, replayed: false }
    }

    fn publish(&self) {
        *self.position.lock().unwrap_or_else(PoisonError::into_inner) = self.admission.position();
    }

    fn count(&self, kind: Kind, after: After, outcome: &Outcome) {
        let metrics = &self.context.env.metrics;
        match (&outcome.result, kind) {
            (Ok(_), Kind::Reset) => metrics.reset(outcome),
            (Ok(Done::Transition(transition)), Kind::Step) => metrics.step(outcome, transition),
            (Ok(_), _) => {}
            (Err(failure), _) => {
                metrics.failure(failure.code);
                tracing::info!(environment = self.context.env.spec.name, slot = self.index, ?kind, %failure, "command failed");
            }
        }
        if after == After::Lost {
            metrics.lost();
        }
    }
}

impl Next {
    fn is_for(&self, start: &Start) -> bool {
        let failed = matches!(&self.state, Preparation::Done(ready) if ready.is_err());
        !failed && self.start.task == start.task && self.start.specs == start.specs
    }
}

/// The end of the work in flight: `None` when its deadline passed first.
async fn working(work: &mut Option<Work>) -> Option<Finished> {
    match work {
        Some(work) => work.future.as_mut().await.ok(),
        None => pending().await,
    }
}

/// Moves the next episode on; resolves when it is ready or has failed, and when the pool wants it back.
async fn preparing(next: &mut Option<Next>) {
    match next {
        Some(Next { state, .. }) => match state {
            Preparation::Working(preparing) => *state = Preparation::Done(Box::new(preparing.await)),
            Preparation::Done(ready) => match ready.as_ref() {
                Ok(done) => {
                    done.episode.lent.wanted_back().await;
                    **ready = Err(Failure::new(FailureCode::NoCapacity, WANTED_BACK));
                }
                Err(_) => pending().await,
            },
        },
        None => pending().await,
    }
}
