//! The Rust client: unary calls, and a [`Rollout`] whose two halves may live in two tasks.
//!
//! It adds nothing to what the server does, so that one core can drive thousands of slots: batches go out as they are given,
//! and come back as the server coalesced them.

use std::time::Duration;

use envfarm_core::ObservationSpec;
use envfarm_core::command::{Command, Outcome, Position};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};

use crate::convert::{At, ConvertError};
use crate::limits::{CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, MAX_MESSAGE_BYTES, STREAM_WINDOW_BYTES};
use crate::v1::rollout_request::Kind as Out;
use crate::v1::rollout_response::Kind as In;
use crate::v1::{self, env_farm_client::EnvFarmClient};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Deadline of unary calls. None of them waits for a sandbox.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Batches that may wait for the connection; `send` waits beyond that.
const SEND_QUEUE: usize = 16;

#[derive(Debug, Error)]
pub enum ClientError {
    #[error("connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("token is not ASCII")]
    Token,
    /// The server refused the call or ended the stream.
    #[error("{}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// The server sent what this version of the API does not allow.
    #[error("message from the server: {0}")]
    Message(#[from] ConvertError),
    /// The stream is over; no more outcomes come.
    #[error("rollout stream is closed")]
    Closed,
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// What a client of a server with TLS checks.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Authorities to trust, in PEM.
    pub ca_pem: Vec<u8>,
    /// Name in the server's certificate, where it is not the endpoint's.
    pub domain: Option<String>,
}

/// Puts the token on every call.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn new(token: Option<&str>) -> Result<Self, ClientError> {
        let value = token.map(|token| MetadataValue::try_from(format!("Bearer {token}"))).transpose();
        let mut value = value.map_err(|_| ClientError::Token)?;
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Ok(Self(value))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A connection to one farm. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Client {
    stub: EnvFarmClient<InterceptedService<Channel, Bearer>>,
}

impl Client {
    /// Connects to `endpoint` (`http://127.0.0.1:7447`, or `https://…` with `tls`).
    pub async fn connect(endpoint: &str, token: Option<&str>, tls: Option<Tls>) -> Result<Self, ClientError> {
        let mut endpoint = Endpoint::from_shared(endpoint.to_owned())?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        if let Some(Tls { ca_pem, domain }) = tls {
            let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem));
            endpoint = endpoint.tls_config(domain.into_iter().fold(config, ClientTlsConfig::domain_name))?;
        }
        let stub = EnvFarmClient::with_interceptor(endpoint.connect().await?, Bearer::new(token)?)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { stub })
    }

    pub async fn environments(&self) -> Result<Vec<v1::Environment>, ClientError> {
        let answer = self.stub.clone().list_environments(bounded(v1::ListEnvironmentsRequest {})).await?;
        Ok(answer.into_inner().environments)
    }

    /// One page of tasks, and the token of the next; empty on the last page. `page_size` 0 leaves it to the server.
    pub async fn tasks(&self, environment: &str, page_size: u32, page_token: &str) -> Result<(Vec<v1::Task>, String), ClientError> {
        let request = v1::ListTasksRequest { environment: environment.to_owned(), page_size, page_token: page_token.to_owned() };
        let page = self.stub.clone().list_tasks(bounded(request)).await?.into_inner();
        Ok((page.tasks, page.next_page_token))
    }

    /// A lease on `slots` slots. The same `client_token` gives the same lease again. `ttl` zero: the server's default.
    pub async fn acquire(&self, client_token: &str, environment: &str, slots: u32, ttl: Duration) -> Result<v1::Lease, ClientError> {
        let request = v1::AcquireRequest {
            client_token: client_token.to_owned(),
            environment: environment.to_owned(),
            slots,
            ttl_ms: crate::convert::millis(ttl),
        };
        Ok(self.stub.clone().acquire(bounded(request)).await?.into_inner().lease.unwrap_or_default())
    }

    /// Moves the expiry of a lease to `ttl` from now. `ttl` zero: the server's default.
    pub async fn renew(&self, lease_id: &str, ttl: Duration) -> Result<v1::Lease, ClientError> {
        let request = v1::RenewRequest { lease_id: lease_id.to_owned(), ttl_ms: crate::convert::millis(ttl) };
        Ok(self.stub.clone().renew(bounded(request)).await?.into_inner().lease.unwrap_or_default())
    }

    pub async fn release(&self, lease_id: &str) -> Result<(), ClientError> {
        self.stub.clone().release(bounded(v1::ReleaseRequest { lease_id: lease_id.to_owned() })).await?;
        Ok(())
    }

    /// Snapshots of one environment, or of all if it is empty.
    pub async fn snapshots(&self, environment: &str) -> Result<Vec<v1::SnapshotInfo>, ClientError> {
        let request = v1::ListSnapshotsRequest { environment: environment.to_owned() };
        Ok(self.stub.clone().list_snapshots(bounded(request)).await?.into_inner().snapshots)
    }

    pub async fn delete_snapshot(&self, snapshot_id: &str) -> Result<(), ClientError> {
        self.stub.clone().delete_snapshot(bounded(v1::DeleteSnapshotRequest { snapshot_id: snapshot_id.to_owned() })).await?;
        Ok(())
    }

    pub async fn status(&self) -> Result<v1::GetStatusResponse, ClientError> {
        Ok(self.stub.clone().get_status(bounded(v1::GetStatusRequest {})).await?.into_inner())
    }

    /// Opens a stream on a lease. `observations` is what every Reset, Step and Observe returns unless it says otherwise.
    pub async fn rollout(&self, lease_id: &str, observations: &[ObservationSpec]) -> Result<Rollout, ClientError> {
        let (sender, queue) = mpsc::channel(SEND_QUEUE);
        let attach = v1::Attach { lease_id: lease_id.to_owned(), observations: Some(observations.into()) };
        // The queue is new and holds more than one, so that this cannot fail.
        let _ = sender.try_send(v1::RolloutRequest { kind: Some(Out::Attach(attach)) });
        let opened = async {
            let mut stream = self.stub.clone().rollout(ReceiverStream::new(queue)).await?.into_inner();
            let first = stream.message().await?;
            Ok::<_, Status>((stream, first))
        };
        let (stream, first) = tokio::time::timeout(CALL_TIMEOUT, opened)
            .await
            .map_err(|_| Status::deadline_exceeded(format!("not attached within {CALL_TIMEOUT:?}")))??;
        let first = first.ok_or(ClientError::Closed)?;
        let Some(In::Attached(attached)) = first.kind else {
            return Err(ConvertError { field: "kind".to_owned(), reason: "first message is not attached".to_owned() }.into());
        };
        let slots = attached.slots.into_iter().enumerate();
        Ok(Rollout {
            lease: attached.lease.unwrap_or_default(),
            slots: slots.map(|(i, slot)| Position::try_from(slot).at_index("slots", i)).collect::<Result<_, _>>()?,
            max_in_flight: attached.max_in_flight,
            sender: RolloutSender { queue: sender },
            receiver: RolloutReceiver { stream, notice: None },
        })
    }
}

fn bounded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// An attached stream. Send and receive from two tasks (or a `select!`): a server whose outcomes nobody reads stops
/// reading commands, and then `send` waits.
pub struct Rollout {
    pub lease: v1::Lease,
    /// Where each slot stood at attach, in order.
    pub slots: Vec<Position>,
    /// Commands that may be in flight on the whole stream; one a slot.
    pub max_in_flight: u32,
    pub sender: RolloutSender,
    pub receiver: RolloutReceiver,
}

impl Rollout {
    /// As [`RolloutSender::send`].
    pub async fn send(&self, commands: Vec<Command>) -> Result<(), ClientError> {
        self.sender.send(commands).await
    }

    /// As [`RolloutReceiver::recv_many`].
    pub async fn recv_many(&mut self, outcomes: &mut Vec<Outcome>) -> Result<usize, ClientError> {
        self.receiver.recv_many(outcomes).await
    }
}

/// The sending half. The server sees the end of the commands when the last clone is dropped.
#[derive(Clone)]
pub struct RolloutSender {
    queue: mpsc::Sender<v1::RolloutRequest>,
}

impl RolloutSender {
    /// Sends one batch, waiting while the connection is full.
    pub async fn send(&self, commands: Vec<Command>) -> Result<(), ClientError> {
        let commands = commands.into_iter().map(Into::into).collect();
        self.message(Out::Commands(v1::CommandBatch { commands })).await
    }

    /// Asks for a command to be given up; its outcome still comes.
    pub async fn cancel(&self, slot: u32, request_id: u64) -> Result<(), ClientError> {
        self.message(Out::Cancel(v1::Cancel { slot, request_id })).await
    }

    /// Sends a message as it is, for tests of what the server refuses.
    pub async fn message(&self, kind: Out) -> Result<(), ClientError> {
        self.queue.send(v1::RolloutRequest { kind: Some(kind) }).await.map_err(|_| ClientError::Closed)
    }
}

/// The receiving half.
pub struct RolloutReceiver {
    stream: Streaming<v1::RolloutResponse>,
    notice: Option<v1::Notice>,
}

impl RolloutReceiver {
    /// Waits for the next batch and appends it; how many came, at least 1. [`ClientError::Closed`] once the stream ended in
    /// order. Safe to drop and call again.
    pub async fn recv_many(&mut self, outcomes: &mut Vec<Outcome>) -> Result<usize, ClientError> {
        loop {
            match self.stream.message().await?.ok_or(ClientError::Closed)?.kind {
                Some(In::Outcomes(batch)) => {
                    let before = outcomes.len();
                    for (i, outcome) in batch.outcomes.into_iter().enumerate() {
                        outcomes.push(Outcome::try_from(outcome).at_index("outcomes", i)?);
                    }
                    if outcomes.len() > before {
                        return Ok(outcomes.len() - before);
                    }
                }
                Some(In::Notice(notice)) => self.notice = Some(notice),
                Some(In::Attached(_)) | None => {}
            }
        }
    }

    /// What the farm last said about itself, once; look after each batch.
    pub fn take_notice(&mut self) -> Option<v1::Notice> {
        self.notice.take()
    }
}
