//! How an episode begins: in a fresh sandbox, in one made ready ahead of time, in place, or from a snapshot.
//!
//! A reset shows nothing to the client until its outcome, so a host or sandbox that is lost on the way is replaced by
//! another and the set-up tried again, a bounded number of times within the command's deadline. Every reset proves its
//! start state: the report names the strategy and what was looked for before the set-up.
//!
//! Steps of an episode from a snapshot are numbered from 0 on the wire, as after every reset; its step limit counts the
//! snapshot's steps too.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use envfarm_core::{
    BackendError, Failure, FailureCode, Observation, ObservationSpec, ResetMode, ResetReport, ResetStrategy, SnapshotLevel, SuiteError,
    TaskRef, Timing, Transition,
};
use envfarm_pool::{Lent, Spare, TakeError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::environment::Env;
use crate::episode::{Episode, Laps, Limits, backend_failure, guarded, suite_failure};
use crate::snapshots::Stored;

/// Sandboxes that one reset may use up.
const TRIES: u32 = 3;
/// Left of a command's time when the pool must answer, so that a full pool and not the deadline is named as the cause.
const ANSWER_MARGIN: Duration = Duration::from_millis(10);
pub(crate) const WANTED_BACK: &str = "a reset or a retiring host wanted its sandbox";

/// What the next episode is. Checked: the task is of the suite, the snapshot of the environment.
#[derive(Clone)]
pub(crate) struct Start {
    pub task: TaskRef,
    pub snapshot: Option<Arc<Stored>>,
    pub mode: ResetMode,
    pub limits: Limits,
    pub specs: Arc<[ObservationSpec]>,
}

/// An episode at its start state with its first observation.
pub(crate) struct Ready {
    pub episode: Box<Episode>,
    specs: Arc<[ObservationSpec]>,
    observations: Vec<Observation>,
    strategy: ResetStrategy,
    verified_clean: bool,
    check: String,
}

/// The next episode, being made ready beside the one that runs.
pub(crate) type Preparing = Pin<Box<dyn Future<Output = Result<Ready, Failure>> + Send>>;

/// What a reset may use of the slot's past: the prepared episode, or else the one before.
#[derive(Default)]
pub(crate) struct Leftovers {
    /// The episode before, where its sandbox may serve this one in place.
    pub previous: Option<Box<Episode>>,
    /// The same task and seed, made ready by `Prepare`.
    pub prepared: Option<Preparing>,
}

/// Brings a slot to the start of its next episode.
pub(crate) async fn reset(
    env: &Env,
    start: &Start,
    leftovers: Leftovers,
    deadline: Instant,
    laps: &mut Laps,
    timing: &mut Timing,
) -> Result<(Box<Episode>, Transition), Failure> {
    let began = laps.now;
    let Leftovers { previous, prepared } = leftovers;
    let mut ready = None;
    if let Some(prepared) = prepared {
        ready = take_prepared(start, prepared, laps, timing).await;
    }
    // Not before: what prepares lets those go first who wait.
    let _foreground = env.spec.gate.foreground();
    match previous {
        Some(previous) if ready.is_none() => ready = in_place(env, start, previous, laps, timing).await,
        unused => drop(unused),
    }
    let Ready { mut episode, observations, strategy, verified_clean, check, .. } = match ready {
        Some(ready) => ready,
        None => fresh(env, start, None, deadline, laps, timing).await?,
    };
    episode.limits = start.limits;
    episode.started = laps.now;
    let report = ResetReport {
        strategy,
        verified_clean,
        check,
        duration: laps.now.saturating_duration_since(began),
        goal: episode.request.context.goal.clone(),
        task_id: start.task.id.clone(),
        seed: start.task.seed,
        step_limit: start.limits.steps,
        time_limit: start.limits.time,
        host: episode.lent.host().to_string(),
    };
    Ok((episode, Transition { observations, reset_report: Some(report), ..Transition::default() }))
}

/// A fresh sandbox at the start state, tried on several while hosts are lost. Ahead of its reset it takes its turn after those
/// that someone waits for, and gives up where the pool wants its sandbox back, until `needed` says that the reset has come.
pub(crate) async fn fresh(
    env: &Env,
    start: &Start,
    needed: Option<&CancellationToken>,
    deadline: Instant,
    laps: &mut Laps,
    timing: &mut Timing,
) -> Result<Ready, Failure> {
    let mut tried = 0;
    loop {
        tried += 1;
        let patience = deadline.saturating_duration_since(laps.now).saturating_sub(ANSWER_MARGIN);
        let ready = match needed {
            None => fresh_now(env, start, patience, laps, timing).await,
            Some(needed) => fresh_ahead(env, start, needed, patience, laps, timing).await,
        };
        match ready {
            Ok(ready) => return Ok(ready),
            Err(Trouble::Final(failure)) => return Err(failure),
            Err(Trouble::Lost(failure)) if tried >= TRIES => return Err(failure),
            Err(Trouble::Lost(failure)) => {
                tracing::info!(environment = env.spec.name, task = start.task.id, tried, %failure, "set-up lost its sandbox; trying another");
            }
        }
    }
}

/// Why a set-up ended: with its sandbox, so that another may do, or for good.
enum Trouble {
    Lost(Failure),
    Final(Failure),
}

impl Trouble {
    fn from_backend(error: BackendError) -> Self {
        let lost = !matches!(error, BackendError::Unsupported(_) | BackendError::Diverged(_));
        let failure = backend_failure(error, FailureCode::SetupFailed);
        if lost { Self::Lost(failure) } else { Self::Final(failure) }
    }

    fn from_suite(error: SuiteError) -> Self {
        match error {
            SuiteError::Backend(error) => Self::from_backend(error),
            other => Self::Final(suite_failure(other, FailureCode::SetupFailed)),
        }
    }
}

async fn fresh_now(env: &Env, start: &Start, patience: Duration, laps: &mut Laps, timing: &mut Timing) -> Result<Ready, Trouble> {
    let lent = env.spec.pool.take_for(env.spec.suite.sandbox_spec_for(&start.task), patience).await;
    begin(env, start, lent.map_err(no_sandbox)?, laps, timing).await
}

async fn fresh_ahead(
    env: &Env,
    start: &Start,
    needed: &CancellationToken,
    patience: Duration,
    laps: &mut Laps,
    timing: &mut Timing,
) -> Result<Ready, Trouble> {
    let given_up = |reason| Trouble::Final(Failure::new(FailureCode::NoCapacity, reason));
    let take = env.spec.pool.take_ahead(env.spec.suite.sandbox_spec_for(&start.task), patience);
    // A reset waits better in its own place in the queue.
    let lent = needed.run_until_cancelled(take).await.ok_or_else(|| given_up("its reset came before it had a sandbox"))?;
    let mut lent = lent.map_err(no_sandbox)?;
    let spare = lent.spare();
    tokio::select! {
        biased;
        () = wanted_back(&spare, needed) => Err(given_up(WANTED_BACK)),
        ready = begin(env, start, lent, laps, timing) => ready,
    }
}

/// Resolves when the pool wants a sandbox back whose reset has not come; never once it has.
async fn wanted_back(spare: &Spare, needed: &CancellationToken) {
    tokio::select! {
        biased;
        () = needed.cancelled() => {}
        () = spare.wanted_back() => return,
    }
    spare.keep();
    pending().await
}

/// Brings a new sandbox to the start state.
async fn begin(env: &Env, start: &Start, lent: Lent, laps: &mut Laps, timing: &mut Timing) -> Result<Ready, Trouble> {
    let loading = env.spec.gate.load().await;
    timing.queue += laps.lap();

    let mut episode = Box::new(Episode::new(lent, start.task.clone()));
    let loaded = loading.cover(async {
        let sandbox = episode.lent.sandbox();
        let residue = guarded(&mut episode.host_lost, sandbox.residue()).await.map_err(Trouble::from_backend)?;
        set_up(env, start, &mut episode, ResetMode::Fresh).await.map_err(Trouble::from_suite)?;
        if let Some(stored) = &start.snapshot {
            put_back(stored, &mut episode).await.map_err(Trouble::from_backend)?;
        }
        Ok(residue)
    });
    let residue = loaded.await?;
    let strategy = match start.snapshot.as_ref().map(|stored| stored.info.level) {
        None => ResetStrategy::Fresh,
        Some(SnapshotLevel::Storage) => ResetStrategy::Storage,
        Some(SnapshotLevel::Replay) => ResetStrategy::Replay,
    };
    let mut check = "cookies, storage and tabs of the new sandbox, before the set-up".to_owned();
    if !residue.is_empty() {
        check = format!("{check}: found {}", residue.join(", "));
    }
    timing.act += laps.lap();
    // Looking is a step's work, and mostly waiting for frames: the next load may begin.
    let permit = env.spec.gate.step().await;
    timing.queue += laps.lap();
    episode.started = laps.now;
    let observations = permit.cover(episode.observe(&start.specs, laps.now)).await.map_err(Trouble::Lost)?;
    timing.observe += laps.lap();
    Ok(Ready { episode, specs: start.specs.clone(), observations, strategy, verified_clean: residue.is_empty(), check })
}

async fn set_up(env: &Env, start: &Start, episode: &mut Episode, mode: ResetMode) -> Result<(), SuiteError> {
    let sandbox = episode.lent.sandbox();
    let goal = guarded(&mut episode.host_lost, env.spec.suite.set_up(sandbox, &start.task, mode)).await?;
    let context = &mut episode.request.context;
    context.chat = vec![("user", goal.text.clone())];
    context.goal = goal.text;
    Ok(())
}

/// Brings a sandbox that is set up to where the snapshot was made. Set-up comes first at both levels: a suite keeps its
/// own state in the page, and stored state is put back over it.
async fn put_back(stored: &Stored, episode: &mut Episode) -> Result<(), BackendError> {
    let sandbox = episode.lent.sandbox();
    guarded(&mut episode.host_lost, async {
        match stored.info.level {
            SnapshotLevel::Storage => sandbox.restore_state(&stored.snapshot.state).await,
            SnapshotLevel::Replay => {
                let actions = stored.snapshot.actions.as_deref().unwrap_or_default();
                for recorded in actions {
                    sandbox.act(&recorded.action).await?;
                    sandbox.rest().await?;
                }
                let found = sandbox.fingerprint().await?;
                if found == stored.snapshot.fingerprint {
                    return Ok(());
                }
                let actions = actions.len();
                let recorded = &stored.snapshot.fingerprint;
                Err(BackendError::Diverged(format!("after {actions} actions the fingerprint is {found}, recorded was {recorded}")))
            }
        }
    })
    .await?;
    episode.continue_from(stored);
    Ok(())
}

/// The prepared episode, or `None` if it came to nothing: the reset then starts afresh.
async fn take_prepared(start: &Start, prepared: Preparing, laps: &mut Laps, timing: &mut Timing) -> Option<Ready> {
    let ready = prepared.await;
    timing.queue += laps.lap();
    let mut ready = match ready {
        Ok(ready) => ready,
        Err(failure) => {
            tracing::debug!(task = start.task.id, %failure, "prepared episode failed; starting afresh");
            return None;
        }
    };
    ready.episode.lent.keep();
    if ready.episode.host_is_lost() {
        return None;
    }
    ready.episode.started = laps.now;
    if ready.specs != start.specs {
        ready.observations = ready.episode.observe(&start.specs, laps.now).await.ok()?;
        timing.observe += laps.lap();
    }
    ready.strategy = ResetStrategy::Prepared;
    Some(ready)
}

/// The same sandbox once more, or `None` where it is not clean or not well or its host retires: the reset then starts afresh.
async fn in_place(env: &Env, start: &Start, mut previous: Box<Episode>, laps: &mut Laps, timing: &mut Timing) -> Option<Ready> {
    if previous.host_is_lost() || previous.lent.host_is_retiring() {
        return None;
    }
    let permit = env.spec.gate.step().await;
    timing.queue += laps.lap();
    let again = permit.cover(async {
        let found = {
            let sandbox = previous.lent.sandbox();
            guarded(&mut previous.host_lost, sandbox.residue()).await
        };
        if !found.is_ok_and(|found| found.is_empty()) {
            return None;
        }
        let mut episode = Box::new(previous.again(start.task.clone()));
        set_up(env, start, &mut episode, ResetMode::InPlace).await.ok()?;
        timing.act += laps.lap();
        episode.started = laps.now;
        let observations = episode.observe(&start.specs, laps.now).await.ok()?;
        timing.observe += laps.lap();
        Some((episode, observations))
    });
    let (episode, observations) = again.await?;
    episode.lent.serves_again();
    let check = "cookies, storage and tabs of the sandbox, before the suite restarted its task in place".to_owned();
    let specs = start.specs.clone();
    Some(Ready { episode, specs, observations, strategy: ResetStrategy::InPlace, verified_clean: true, check })
}

fn no_sandbox(error: TakeError) -> Trouble {
    let code = match error {
        TakeError::ShuttingDown => FailureCode::ShuttingDown,
        TakeError::Timeout { .. } => FailureCode::NoCapacity,
    };
    Trouble::Final(Failure::new(code, error.to_string()))
}
