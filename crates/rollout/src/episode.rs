//! One episode in its sandbox: steps, observations and snapshots of it.
//!
//! An [`Episode`] is moved into the operation that runs on it and comes back with the answer; an operation that is dropped
//! half way takes the sandbox with it. How an episode begins is in [`crate::reset`].

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use envfarm_core::action::Ending;
use envfarm_core::command::{SnapshotInfo, StepAction};
use envfarm_core::snapshot::RecordedAction;
use envfarm_core::{
    Action, ActionResult, ActionStatus, BackendError, Dialect, Failure, FailureCode, Observation, ObservationRequest, ObservationSpec,
    Score, Snapshot, SnapshotId, SnapshotLevel, SuiteError, TaskRef, Timing, Transition, TruncationCause,
};
use envfarm_pool::Lent;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::environment::Env;
use crate::snapshots::{SnapshotStore, Stored};

/// Earlier actions that observations repeat to the agent.
const PREVIOUS_ACTIONS: usize = 8;
/// Chat messages that observations repeat; the first is the goal.
const CHAT_MESSAGES: usize = 64;
/// What an observation repeats of one action or chat message, in bytes; longer texts are cut.
const REPEATED_BYTES: usize = 16 << 10;
/// Beyond these an episode can no longer be replayed, so it is no longer recorded.
const RECORDED_ACTIONS: usize = 10_000;
const RECORDED_BYTES: usize = 1 << 20;

/// Time spent since the last lap; one reading of the clock each.
pub(crate) struct Laps {
    pub now: Instant,
}

impl Laps {
    pub fn start() -> Self {
        Self { now: Instant::now() }
    }

    pub fn lap(&mut self) -> Duration {
        let before = std::mem::replace(&mut self.now, Instant::now());
        self.now.saturating_duration_since(before)
    }
}

/// When an episode is truncated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Counts the steps of the snapshot that the episode came from, too.
    pub steps: Option<u32>,
    pub time: Option<Duration>,
}

/// What a replay would play. `None` once the episode grew too long for it.
type Recording = Option<Vec<RecordedAction>>;

pub(crate) struct Episode {
    pub lent: Lent,
    /// Resolves when the sandbox's host is gone.
    pub host_lost: Pin<Box<WaitForCancellationFutureOwned>>,
    pub task: TaskRef,
    pub limits: Limits,
    pub started: Instant,
    /// Steps since the task began, those of a snapshot included.
    pub steps: u32,
    /// Specs and context of the last observation, kept to be changed in place.
    pub request: ObservationRequest,
    pub recording: Recording,
    recorded_bytes: usize,
    score: Score,
    /// Held while the episode takes steps: a drain waits for it.
    pub running: Option<TaskTrackerToken>,
}

impl Episode {
    pub fn new(lent: Lent, task: TaskRef) -> Self {
        Self {
            host_lost: Box::pin(lent.host_closed()),
            lent,
            task,
            limits: Limits::default(),
            started: Instant::now(),
            steps: 0,
            request: ObservationRequest::default(),
            recording: Some(Vec::new()),
            recorded_bytes: 0,
            score: Score::default(),
            running: None,
        }
    }

    /// A new episode in the same sandbox.
    pub fn again(self, task: TaskRef) -> Self {
        Self::new(self.lent, task)
    }

    /// Whether the host is known to be gone. Costs no round trip.
    pub fn host_is_lost(&mut self) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        self.host_lost.as_mut().poll(&mut context).is_ready()
    }

    /// Parses, performs, scores and observes one step. `timing` is filled as far as the step came.
    pub async fn step(
        &mut self,
        env: &Env,
        action: StepAction,
        specs: &[ObservationSpec],
        laps: &mut Laps,
        timing: &mut Timing,
    ) -> Result<Transition, Failure> {
        if self.host_is_lost() {
            return Err(host_is_gone());
        }
        let late = self.limits.time.is_some_and(|limit| laps.now.saturating_duration_since(self.started) >= limit);
        let (text, parsed) = match action {
            StepAction::Text { text, dialect } => {
                let parsed = dialect.parse(&text);
                (text, parsed.map_err(|error| ActionResult::error(ActionStatus::ParseError, error.to_string())))
            }
            StepAction::Typed(action) => (in_words(&action), Ok(action)),
        };
        let (result, acted) = match parsed {
            _ if late => (ActionResult::error(ActionStatus::Refused, "the episode's time limit had passed; not performed"), false),
            Err(result) => (result, false),
            Ok(action) => {
                let sandbox = self.lent.sandbox();
                let result = guarded(&mut self.host_lost, sandbox.act(&action)).await;
                let result = result.map_err(|error| backend_failure(error, FailureCode::Backend).after_action())?;
                self.record(&text, action);
                (result, true)
            }
        };
        timing.settle = Duration::from_micros(result.settle_us.into());
        timing.act = laps.lap().saturating_sub(timing.settle);
        self.steps += 1;
        self.note(text, &result);

        let rest = async {
            if !late {
                let sandbox = self.lent.sandbox();
                let score = guarded(&mut self.host_lost, env.spec.suite.score(sandbox, &self.task, &result)).await;
                self.score = score.map_err(|error| suite_failure(error, FailureCode::ScoreFailed))?;
            }
            timing.score = laps.lap();
            let observations = self.observe(specs, laps.now).await?;
            timing.observe = laps.lap();
            Ok(observations)
        };
        let observations = rest.await.map_err(|failure: Failure| if acted { failure.after_action() } else { failure })?;

        let terminated = !late && (self.score.done || result.ending.is_some());
        let truncated = if terminated { None } else { self.truncation(late, laps.now) };
        Ok(Transition {
            observations,
            reward: self.score.reward,
            raw_reward: self.score.raw_reward,
            terminated,
            truncated,
            action_result: Some(result),
            reset_report: None,
        })
    }

    fn truncation(&self, late: bool, now: Instant) -> Option<TruncationCause> {
        let out_of_time = || self.limits.time.is_some_and(|limit| now.saturating_duration_since(self.started) >= limit);
        if late {
            Some(TruncationCause::TimeLimit)
        } else if self.limits.steps.is_some_and(|limit| self.steps >= limit) {
            Some(TruncationCause::StepLimit)
        } else {
            out_of_time().then_some(TruncationCause::TimeLimit)
        }
    }

    /// Takes the observations, all of one moment. None wanted costs nothing.
    pub async fn observe(&mut self, specs: &[ObservationSpec], now: Instant) -> Result<Vec<Observation>, Failure> {
        if specs.is_empty() {
            return Ok(Vec::new());
        }
        if self.request.specs != specs {
            self.request.specs.clear();
            self.request.specs.extend_from_slice(specs);
        }
        self.request.context.elapsed_s = now.saturating_duration_since(self.started).as_secs_f64();
        let sandbox = self.lent.sandbox();
        let observed = guarded(&mut self.host_lost, sandbox.observe(&self.request)).await;
        observed.map_err(|error| backend_failure(error, FailureCode::Backend))
    }

    /// The episode as it is: what `Observe` answers. The reward is that of no step.
    pub async fn look(&mut self, specs: &[ObservationSpec], now: Instant) -> Result<Transition, Failure> {
        if self.host_is_lost() {
            return Err(host_is_gone());
        }
        let observations = self.observe(specs, now).await?;
        Ok(Transition { observations, raw_reward: self.score.raw_reward, ..Transition::default() })
    }

    /// Saves the episode to the store. The episode goes on, unless the sandbox broke (the second value is then false).
    pub async fn snapshot(&mut self, env: &Env, store: &SnapshotStore, level: SnapshotLevel) -> (Result<SnapshotInfo, Failure>, bool) {
        let actions = self.recording.clone();
        if actions.is_none() && level == SnapshotLevel::Replay {
            let reason = format!("the episode is too long to be recorded: over {RECORDED_ACTIONS} actions or {RECORDED_BYTES} bytes");
            return (Err(Failure::new(FailureCode::Unsupported, reason)), true);
        }
        let (fingerprint, state) = match self.saved(level).await {
            Ok(saved) => saved,
            Err(error) => {
                let healthy = matches!(error, BackendError::Unsupported(_));
                return (Err(backend_failure(error, FailureCode::Backend)), healthy);
            }
        };
        let id = match snapshot_id() {
            Ok(id) => id,
            Err(failure) => return (Err(failure), true),
        };
        let recorded: usize = actions.iter().flatten().map(|recorded| recorded.text.len() + size_of::<RecordedAction>()).sum();
        let info = SnapshotInfo {
            id,
            environment: env.spec.name.clone(),
            level,
            task: self.task.clone(),
            step: self.steps,
            size_bytes: (state.len() + recorded) as u64,
            created_unix_ms: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64),
            fingerprint: fingerprint.clone(),
        };
        let TaskRef { id: task_id, seed } = self.task.clone();
        let snapshot = Snapshot { level, task_id, seed, actions, fingerprint, state };
        let stored = Stored {
            info: info.clone(),
            snapshot,
            context: self.request.context.clone(),
            step_limit: self.limits.steps,
            time_limit: self.limits.time,
        };
        (store.insert(stored).map(|()| info), true)
    }

    async fn saved(&mut self, level: SnapshotLevel) -> Result<(String, bytes::Bytes), BackendError> {
        let sandbox = self.lent.sandbox();
        guarded(&mut self.host_lost, async {
            sandbox.rest().await?;
            let fingerprint = sandbox.fingerprint().await?;
            let state = match level {
                SnapshotLevel::Storage => sandbox.save_state().await?,
                SnapshotLevel::Replay => bytes::Bytes::new(),
            };
            Ok((fingerprint, state))
        })
        .await
    }

    /// Goes on where a snapshot was made: its steps count, its actions are part of the recording, its words are repeated.
    pub fn continue_from(&mut self, stored: &Stored) {
        self.steps = stored.info.step;
        self.recorded_bytes = stored.snapshot.actions.iter().flatten().map(|recorded| recorded.text.len()).sum();
        self.recording.clone_from(&stored.snapshot.actions);
        self.request.context = stored.context.clone();
    }

    fn record(&mut self, text: &str, action: Action) {
        let Some(recording) = &mut self.recording else { return };
        self.recorded_bytes += text.len();
        if recording.len() >= RECORDED_ACTIONS || self.recorded_bytes > RECORDED_BYTES {
            self.recording = None;
        } else {
            recording.push(RecordedAction { text: text.to_owned(), action });
        }
    }

    /// Remembers what the next observation repeats to the agent.
    fn note(&mut self, mut text: String, result: &ActionResult) {
        let context = &mut self.request.context;
        clip(&mut text);
        context.last_action.clone_from(&text);
        context.last_action_error.clone_from(&result.error);
        if context.previous_actions.len() >= PREVIOUS_ACTIONS {
            context.previous_actions.remove(0);
        }
        context.previous_actions.push(text);
        let said = match (&result.answer, &result.ending) {
            (_, Some(Ending::Infeasible(reason))) => Some(("infeasible", reason)),
            (Some(answer), _) | (None, Some(Ending::Finished(answer))) if !answer.is_empty() => Some(("assistant", answer)),
            _ => None,
        };
        if let Some((role, said)) = said {
            if context.chat.len() >= CHAT_MESSAGES {
                context.chat.remove(1);
            }
            let mut said = said.clone();
            clip(&mut said);
            context.chat.push((role, said));
        }
    }
}

/// A typed action as an agent would have written it, in the first dialect that has a word for it.
fn in_words(action: &Action) -> String {
    Dialect::ALL.iter().find_map(|dialect| dialect.render(action)).unwrap_or_else(|| format!("{action:?}"))
}

/// Cuts a text to what is repeated of it.
fn clip(text: &mut String) {
    text.truncate(text.floor_char_boundary(REPEATED_BYTES));
}

/// Runs `work` until the host is gone. Work that is ready at once never touches the host's signal.
pub(crate) async fn guarded<T, E: From<BackendError>>(
    host_lost: &mut Pin<Box<WaitForCancellationFutureOwned>>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        done = work => done,
        () = host_lost => Err(BackendError::HostLost("it died during the operation".into()).into()),
    }
}

fn host_is_gone() -> Failure {
    Failure::new(FailureCode::HostLost, "the host of this episode is gone")
}

pub(crate) fn backend_failure(error: BackendError, otherwise: FailureCode) -> Failure {
    let code = match error {
        BackendError::HostLost(_) => FailureCode::HostLost,
        BackendError::SandboxLost(_) => FailureCode::SandboxLost,
        BackendError::Unsupported(_) => FailureCode::Unsupported,
        BackendError::Diverged(_) => FailureCode::SnapshotDiverged,
        BackendError::Timeout { .. } | BackendError::Cancelled | BackendError::Protocol(_) => otherwise,
    };
    Failure::new(code, error.to_string())
}

pub(crate) fn suite_failure(error: SuiteError, otherwise: FailureCode) -> Failure {
    match error {
        SuiteError::UnknownTask(_) => Failure::new(FailureCode::UnknownTask, error.to_string()),
        SuiteError::SetUp { .. } => Failure::new(FailureCode::SetupFailed, error.to_string()),
        SuiteError::Score { .. } => Failure::new(FailureCode::ScoreFailed, error.to_string()),
        SuiteError::Backend(error) => backend_failure(error, otherwise),
    }
}

/// 128 random bits: whoever knows the id may start from the snapshot.
fn snapshot_id() -> Result<SnapshotId, Failure> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| Failure::new(FailureCode::Backend, format!("no randomness for a snapshot's id: {error}")))?;
    Ok(SnapshotId(format!("{:032x}", u128::from_be_bytes(bits))))
}
