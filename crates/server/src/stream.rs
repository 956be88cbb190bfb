//! One `Rollout` stream: a task that reads commands, and a stream that the connection pulls messages from.
//!
//! ```text
//!   requests ──> read (task) ──submit──> session ──> slots
//!                                                      │
//!   responses <── Writer::next <── recv_many ──────────┘
//! ```
//!
//! The connection pulls, so outcomes pile into one message exactly while it is busy and go out at once while it is idle. A
//! client that does not read is bounded twice: the session's outcome queue fills, then `submit` waits and `read` no longer
//! reads. When the client vanishes the connection drops the writer, and with it the reader and the session.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use envfarm_proto::convert::{self, ConvertError};
use envfarm_proto::limits::MAX_MESSAGE_BYTES;
use envfarm_proto::v1;
use envfarm_proto::v1::rollout_request::Kind as Request;
use envfarm_proto::v1::rollout_response::Kind as Response;
use envfarm_rollout::{AttachError, Farm, LeaseId, Outcomes, Session, SessionEnd, Unread};
use futures::stream::{Stream, unfold};
use metrics::{Histogram, gauge, histogram};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, Streaming};

use crate::batch::{Batcher, MAX_OUTCOMES};
use crate::unary::lease;

pub(crate) type Responses = Pin<Box<dyn Stream<Item = Result<v1::RolloutResponse, Status>> + Send>>;

/// A client that opens a stream has so long to say on which lease.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(10);
/// How far past the last deadline a closing stream waits for outcomes.
const CLOSE_MARGIN: Duration = Duration::from_secs(2);

/// Attaches a stream to its lease.
pub(crate) async fn open(
    farm: Arc<Farm>,
    mut requests: Streaming<v1::RolloutRequest>,
    shutdown: CancellationToken,
) -> Result<Responses, Status> {
    let first = timeout(ATTACH_TIMEOUT, requests.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded(format!("no attach within {ATTACH_TIMEOUT:?}")))??;
    let Some(Request::Attach(attach)) = first.and_then(|request| request.kind) else {
        return Err(Status::invalid_argument("the first message must be attach"));
    };
    let (lease_id, observations) = convert::attach(attach).map_err(invalid)?;
    let (session, outcomes) = farm.attach(&LeaseId(lease_id), observations).map_err(unattached)?;

    let positions = session.positions();
    let in_flight = positions.iter().filter(|position| position.in_flight_request_id != 0).count() as u64;
    let attached = v1::Attached {
        lease: farm.lease(session.lease_id()).as_ref().map(lease),
        max_in_flight: session.max_in_flight(),
        max_message_bytes: MAX_MESSAGE_BYTES as u32,
        slots: positions.into_iter().map(Into::into).collect(),
    };
    let mut drain = farm.draining();
    if drain.borrow().is_some() {
        drain.mark_changed();
    }
    let writer = Writer {
        attached: Some(attached),
        reader: Some(AbortOnDropHandle::new(tokio::spawn(read(requests, session)))),
        outcomes,
        taken: Vec::new(),
        batcher: Batcher::default(),
        in_flight,
        sent: 0,
        closing: None,
        drain,
        shutdown,
        finished: false,
        per_message: histogram!("envfarm_outcomes_per_message"),
        _counted: Counted::new(),
    };
    Ok(Box::pin(unfold(writer, |mut writer| async move { writer.next().await.map(|item| (item, writer)) })))
}

fn invalid(error: ConvertError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn unattached(error: AttachError) -> Status {
    match error {
        AttachError::UnknownLease => Status::not_found(error.to_string()),
        AttachError::Observations(failure) => {
            invalid(ConvertError { field: format!("attach.{}", failure.field.unwrap_or_default()), reason: failure.reason })
        }
    }
}

fn ended(end: SessionEnd) -> Status {
    match end {
        SessionEnd::TakenOver => Status::aborted(end.to_string()),
        SessionEnd::LeaseEnded => Status::not_found(end.to_string()),
        SessionEnd::ShuttingDown => Status::unavailable(end.to_string()),
    }
}

/// How the reading side ended in order: the client says no more.
struct Closed {
    /// Commands received, each of which has an outcome to come or that came.
    commands: u64,
    /// By when the last of them has its outcome.
    until: Instant,
}

async fn read(mut requests: Streaming<v1::RolloutRequest>, session: Session) -> Result<Closed, Status> {
    let mut closed = Closed { commands: 0, until: Instant::now() };
    while let Some(request) = requests.message().await? {
        match request.kind {
            Some(Request::Commands(batch)) => {
                closed.commands += batch.commands.len() as u64;
                let mut commands = Vec::with_capacity(batch.commands.len());
                for (index, command) in batch.commands.into_iter().enumerate() {
                    match convert::command(index, command) {
                        Ok(command) => {
                            closed.until = closed.until.max(Instant::now() + command.timeout);
                            commands.push(command);
                        }
                        Err(no) => session.refuse(no.request_id, no.slot, no.failure).await.map_err(ended)?,
                    }
                }
                session.submit(commands).await.map_err(ended)?;
            }
            Some(Request::Cancel(cancel)) => session.cancel(cancel.slot, cancel.request_id).await,
            Some(Request::Attach(_)) => return Err(Status::invalid_argument("this stream is attached already")),
            None => return Err(Status::invalid_argument("a message of unknown kind")),
        }
    }
    Ok(closed)
}

struct Writer {
    attached: Option<v1::Attached>,
    /// `None` once it has ended in order.
    reader: Option<AbortOnDropHandle<Result<Closed, Status>>>,
    outcomes: Outcomes,
    taken: Vec<Unread>,
    batcher: Batcher,
    /// Commands that an earlier stream sent and whose outcomes come to this one.
    in_flight: u64,
    /// Outcomes sent.
    sent: u64,
    closing: Option<Closed>,
    drain: watch::Receiver<Option<Instant>>,
    shutdown: CancellationToken,
    finished: bool,
    per_message: Histogram,
    _counted: Counted,
}

impl Writer {
    /// The next message; `None` after the last.
    async fn next(&mut self) -> Option<Result<v1::RolloutResponse, Status>> {
        if self.finished {
            return None;
        }
        match self.message().await {
            Ok(Some(kind)) => Some(Ok(v1::RolloutResponse { kind: Some(kind) })),
            Ok(None) => None,
            Err(status) => {
                self.finished = true;
                tracing::debug!(code = ?status.code(), reason = status.message(), "rollout stream ended");
                Some(Err(status))
            }
        }
    }

    async fn message(&mut self) -> Result<Option<Response>, Status> {
        if let Some(attached) = self.attached.take() {
            return Ok(Some(Response::Attached(attached)));
        }
        loop {
            if !self.batcher.is_empty() {
                let batch = self.batcher.take();
                self.sent += batch.outcomes.len() as u64;
                self.per_message.record(batch.outcomes.len() as f64);
                return Ok(Some(Response::Outcomes(batch)));
            }
            if self.closing.as_ref().is_some_and(|closed| self.sent >= self.in_flight + closed.commands) {
                return Ok(None);
            }
            let Self { reader, outcomes, taken, drain, closing, shutdown, .. } = self;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Err(Status::unavailable("the server stops")),
                read = joined(reader), if reader.is_some() => {
                    *reader = None;
                    *closing = Some(read?);
                }
                Ok(()) = drain.changed() => {
                    if let Some(deadline) = *drain.borrow_and_update() {
                        return Ok(Some(Response::Notice(draining(deadline))));
                    }
                }
                count = outcomes.recv_many(taken, MAX_OUTCOMES) => {
                    if count == 0 {
                        return Err(outcomes.ended().map_or_else(|| Status::internal("outcomes ended"), ended));
                    }
                    self.batcher.fill(taken);
                }
                () = due(closing.as_ref()), if closing.is_some() => return Ok(None),
            }
        }
    }
}

async fn joined(reader: &mut Option<AbortOnDropHandle<Result<Closed, Status>>>) -> Result<Closed, Status> {
    match reader {
        Some(reader) => reader.await.unwrap_or_else(|_| Err(Status::internal("the reader of this stream failed"))),
        None => pending().await,
    }
}

/// Every outcome is due by its command's deadline, so a closing stream need not wait for longer.
async fn due(closing: Option<&Closed>) {
    match closing {
        Some(closed) => sleep_until(closed.until + CLOSE_MARGIN).await,
        None => pending().await,
    }
}

fn draining(deadline: Instant) -> v1::Notice {
    v1::Notice {
        text: "the farm drains: running episodes may go on until the deadline, new ones are refused".to_owned(),
        draining: true,
        deadline_ms: deadline.saturating_duration_since(Instant::now()).as_millis() as u64,
    }
}

/// Counts an open stream while it lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        gauge!("envfarm_streams").increment(1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!("envfarm_streams").decrement(1);
    }
}
