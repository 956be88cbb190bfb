//! The operations of a slot, each a future that owns what it needs, and the checks before one begins.
//!
//! All of them wait for the gate first and only then take the episode out of its [`Cell`]: an operation that is dropped
//! while it waits has harmed nothing.

use std::future::{Future, pending};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use envfarm_core::action::MAX_TEXT_BYTES;
use envfarm_core::command::{Command, Done, Op, ResetFrom, StepAction};
use envfarm_core::{Failure, FailureCode, ObservationSpec, ResetMode, SnapshotLevel, TaskRef, Timing, Transition};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::After;
use crate::environment::Env;
use crate::episode::{Episode, Laps, Limits};
use crate::reset::{self, Leftovers, Ready, Start};
use crate::snapshots::SnapshotStore;

/// What all slots of an environment share.
pub(crate) struct SlotContext {
    pub env: Env,
    pub snapshots: Arc<SnapshotStore>,
    pub drain: Arc<Drain>,
    pub prepare_timeout: Duration,
}

/// The farm's end, as slots see it.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// When running episodes must end; set once the farm takes no new ones.
    pub deadline: watch::Sender<Option<Instant>>,
    /// Resets and episodes that take steps hold a token of it; closed once the farm takes no new ones.
    pub running: TaskTracker,
    /// The deadline has passed.
    pub stop: CancellationToken,
}

impl Drain {
    pub fn refuse_new(&self) -> Result<(), Failure> {
        if self.running.is_closed() {
            return Err(Failure::new(FailureCode::ShuttingDown, "the farm drains: no new episodes"));
        }
        Ok(())
    }
}

impl SlotContext {
    /// Checks a command's content against the environment; for `Reset` and `Prepare` says what the episode is.
    pub fn plan(&self, command: &Command) -> Result<Option<Start>, Failure> {
        let specs = || command.observations.clone().unwrap_or_default();
        let spec = &self.env.spec;
        match &command.op {
            Op::Step(StepAction::Text { text, .. }) if text.len() > MAX_TEXT_BYTES => {
                let reason = format!("an action has at most {MAX_TEXT_BYTES} bytes, not {}", text.len());
                Err(Failure::field(FailureCode::InvalidArgument, "step.text.text", reason))
            }
            Op::Step(_) | Op::Observe => Ok(None),
            Op::Snapshot(level) if spec.snapshot_levels.contains(level) => Ok(None),
            Op::Snapshot(level) => {
                let reason = format!("environment {} has no snapshots at level {level:?}", spec.name);
                Err(Failure::field(FailureCode::Unsupported, "snapshot.level", reason))
            }
            Op::Prepare(task) => {
                self.drain.refuse_new()?;
                let limits = self.limits(task, None, None).ok_or_else(|| unknown_task("prepare.task.task_id", task))?;
                Ok(Some(Start { task: task.clone(), snapshot: None, mode: ResetMode::Fresh, limits, specs: specs() }))
            }
            Op::Reset(reset) => {
                self.drain.refuse_new()?;
                let (task, snapshot) = match &reset.from {
                    ResetFrom::Task(task) => (task.clone(), None),
                    ResetFrom::Snapshot(id) => {
                        let stored = self.snapshots.get(id).filter(|stored| stored.info.environment == spec.name).ok_or_else(|| {
                            let reason = format!("environment {} has no snapshot {id}", spec.name);
                            Failure::field(FailureCode::UnknownSnapshot, "reset.snapshot_id", reason)
                        })?;
                        (stored.info.task.clone(), Some(stored))
                    }
                };
                let (steps, time) = snapshot.as_ref().map_or((None, None), |stored| (stored.step_limit, stored.time_limit));
                let limits = self.limits(&task, reset.step_limit.or(steps), reset.time_limit.or(time));
                let limits = limits.ok_or_else(|| unknown_task("reset.task.task_id", &task))?;
                let asked = reset.mode.unwrap_or(spec.default_mode);
                let mode = if spec.suite.resets_in_place() { asked } else { ResetMode::Fresh };
                Ok(Some(Start { task, snapshot, mode, limits, specs: specs() }))
            }
        }
    }

    /// What was asked for (or the snapshot's episode had), else the task's, else the environment's. `None` if there is no such task.
    fn limits(&self, task: &TaskRef, steps: Option<u32>, time: Option<Duration>) -> Option<Limits> {
        let info = self.env.task(&task.id)?;
        Some(Limits { steps: steps.or(info.step_limit), time: time.or(info.time_limit).or(self.env.spec.time_limit) })
    }
}

fn unknown_task(field: &'static str, task: &TaskRef) -> Failure {
    Failure::field(FailureCode::UnknownTask, field, format!("no such task: {}", task.id))
}

/// Holds the slot's episode while no operation has it.
#[derive(Clone, Default)]
pub(crate) struct Cell(Arc<Mutex<Option<Box<Episode>>>>);

impl Cell {
    pub fn take(&self) -> Option<Box<Episode>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub fn put(&self, episode: Box<Episode>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(episode);
    }

    /// Resolves when the pool wants back the sandbox of an episode that is over; never while there is none.
    pub fn wanted_back(&self) -> impl Future<Output = ()> + Send + use<> {
        let cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = cell.as_ref().map(|episode| episode.lent.wanted_back());
        async move {
            match wanted {
                Some(wanted) => wanted.await,
                None => pending().await,
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn take_running(&self) -> Box<Episode> {
        self.take().expect("a running slot keeps its episode here while nothing works on it")
    }
}

/// What came of an operation that was not dropped. The total time is filled in by the slot.
pub(crate) struct Finished {
    pub after: After,
    pub result: Result<Done, Failure>,
    pub timing: Timing,
}

fn transition(transition: Transition) -> Done {
    Done::Transition(Box::new(transition))
}

pub(crate) async fn step(
    context: Arc<SlotContext>,
    cell: Cell,
    action: StepAction,
    specs: Arc<[ObservationSpec]>,
    received: Instant,
) -> Finished {
    let env = &context.env;
    let (mut laps, mut timing) = (Laps { now: received }, Timing::default());
    let permit = env.spec.gate.step().await;
    timing.queue = laps.lap();
    let mut episode = cell.take_running();
    match permit.cover(episode.step(env, action, &specs, &mut laps, &mut timing)).await {
        Ok(done) => {
            let over = done.terminated || done.truncated.is_some();
            if over {
                episode.running = None;
                episode.lent.spare();
            }
            // An ended episode's sandbox is of use only to a reset in place, until the pool wants it back.
            if !over || env.spec.suite.resets_in_place() {
                cell.put(episode);
            }
            Finished { after: After::Stepped { over }, result: Ok(transition(done)), timing }
        }
        Err(failure) => Finished { after: After::Lost, result: Err(failure), timing },
    }
}

pub(crate) async fn observe(context: Arc<SlotContext>, cell: Cell, specs: Arc<[ObservationSpec]>, received: Instant) -> Finished {
    let (mut laps, mut timing) = (Laps { now: received }, Timing::default());
    let permit = context.env.spec.gate.step().await;
    timing.queue = laps.lap();
    let mut episode = cell.take_running();
    match permit.cover(episode.look(&specs, laps.now)).await {
        Ok(seen) => {
            timing.observe = laps.lap();
            cell.put(episode);
            Finished { after: After::Unchanged, result: Ok(transition(seen)), timing }
        }
        Err(failure) => Finished { after: After::Lost, result: Err(failure), timing },
    }
}

pub(crate) async fn snapshot(context: Arc<SlotContext>, cell: Cell, level: SnapshotLevel, received: Instant) -> Finished {
    let (mut laps, mut timing) = (Laps { now: received }, Timing::default());
    let permit = context.env.spec.gate.step().await;
    timing.queue = laps.lap();
    let mut episode = cell.take_running();
    let (result, healthy) = permit.cover(episode.snapshot(&context.env, &context.snapshots, level)).await;
    timing.act = laps.lap();
    let after = if healthy { After::Unchanged } else { After::Lost };
    if healthy {
        cell.put(episode);
    }
    Finished { after, result: result.map(Done::Snapshot), timing }
}

pub(crate) async fn reset(
    context: Arc<SlotContext>,
    cell: Cell,
    start: Start,
    leftovers: Leftovers,
    received: Instant,
    deadline: Instant,
) -> Finished {
    // Taken before the first wait: a drain waits for resets that have begun.
    let running = context.drain.running.token();
    let (mut laps, mut timing) = (Laps { now: received }, Timing::default());
    match reset::reset(&context.env, &start, leftovers, deadline, &mut laps, &mut timing).await {
        Ok((mut episode, done)) => {
            episode.running = Some(running);
            cell.put(episode);
            Finished { after: After::Started, result: Ok(transition(done)), timing }
        }
        Err(failure) => Finished { after: After::Lost, result: Err(failure), timing },
    }
}

/// Makes an episode ready in the background, within a time of its own: the command was answered long ago. `needed` tells that
/// its reset has come.
pub(crate) async fn prepare(context: Arc<SlotContext>, start: Start, needed: CancellationToken) -> Result<Ready, Failure> {
    let deadline = Instant::now() + context.prepare_timeout;
    // Nobody waits for this yet.
    needed.run_until_cancelled(context.env.spec.gate.calm()).await;
    let mut laps = Laps::start();
    let mut timing = Timing::default();
    let ready = timeout_at(deadline, reset::fresh(&context.env, &start, Some(&needed), deadline, &mut laps, &mut timing)).await;
    ready.unwrap_or_else(|_| Err(Failure::new(FailureCode::DeadlineExceeded, "the next episode was not ready in time")))
}
