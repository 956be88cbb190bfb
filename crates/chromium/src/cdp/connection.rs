//! One WebSocket to one browser: numbers calls, routes answers and events, and ends all of them together when it closes.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use futures::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::CdpError;

/// Messages waiting for the socket; a call waits when it is full.
const OUTBOX: usize = 1024;
/// The largest message that a browser may send: a full-page screenshot or snapshot of a huge document.
const MAX_MESSAGE: usize = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Receives the events of a session. Called by the reader of the socket, in order: must neither block nor wait.
pub trait EventSink: Send + Sync {
    /// `session` is `None` for events of the browser itself.
    fn event(&self, session: Option<&str>, method: &str, params: &RawValue);
}

type Answer = Result<Box<RawValue>, String>;

/// A live connection; ends when the last clone is dropped, or when the browser goes.
pub struct Connection {
    next_id: AtomicU64,
    outbox: mpsc::Sender<Message>,
    pending: Arc<DashMap<u64, oneshot::Sender<Answer>>>,
    sinks: Arc<DashMap<String, Arc<dyn EventSink>>>,
    closed: CancellationToken,
    why: Arc<OnceLock<String>>,
    heard: Arc<AtomicU64>,
}

#[derive(Serialize)]
struct Request<'a, P: Serialize> {
    id: u64,
    method: &'a str,
    params: P,
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(rename = "sessionId", borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<WireError<'a>>,
}

#[derive(Deserialize)]
struct WireError<'a> {
    #[serde(borrow)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
}

/// Forgets a call whose caller went away before the answer came.
struct Pending<'a> {
    id: u64,
    map: &'a DashMap<u64, oneshot::Sender<Answer>>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.map.remove(&self.id);
    }
}

impl Connection {
    /// Connects to a browser's DevTools WebSocket; `browser` receives the events that belong to no session.
    pub async fn open(url: &str, browser: Arc<dyn EventSink>) -> Result<Arc<Self>, CdpError> {
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let connect = tokio_tungstenite::connect_async_with_config(url, Some(config), true);
        let (socket, _) = timeout(CONNECT_TIMEOUT, connect)
            .await
            .map_err(|_| CdpError::Closed(format!("{url} did not accept within {CONNECT_TIMEOUT:?}")))?
            .map_err(|e| CdpError::Closed(format!("{url}: {e}")))?;
        let (sink, stream) = socket.split();
        let (outbox, queue) = mpsc::channel(OUTBOX);
        let connection = Arc::new(Self {
            next_id: AtomicU64::new(1),
            outbox,
            pending: Arc::default(),
            sinks: Arc::default(),
            closed: CancellationToken::new(),
            why: Arc::default(),
            heard: Arc::default(),
        });
        tokio::spawn(write(sink, queue, connection.closed.clone()));
        let reader = Reader {
            pending: connection.pending.clone(),
            sinks: connection.sinks.clone(),
            browser,
            closed: connection.closed.clone(),
            why: connection.why.clone(),
            heard: connection.heard.clone(),
        };
        tokio::spawn(reader.run(stream));
        Ok(connection)
    }

    /// Resolves when the connection is gone.
    pub fn closed(&self) -> WaitForCancellationFutureOwned {
        self.closed.clone().cancelled_owned()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Messages that came from the browser so far.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// Ends the connection for a reason that pending and later calls tell.
    pub fn fail(&self, why: String) {
        let _ = self.why.set(why);
        self.close();
    }

    /// Ends the connection; the browser disposes of contexts that were made with `disposeOnDetach`.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Sends the events of `session` to `sink` from now on.
    pub fn listen(&self, session: &str, sink: Arc<dyn EventSink>) {
        self.sinks.insert(session.to_owned(), sink);
    }

    pub fn unlisten(&self, session: &str) {
        self.sinks.remove(session);
    }

    /// One call and its answer, unparsed.
    pub async fn call(
        &self,
        session: Option<&str>,
        method: &'static str,
        params: impl Serialize,
        limit: Duration,
    ) -> Result<Box<RawValue>, CdpError> {
        let (id, message) = self.encode(session, method, params)?;
        let (sender, answer) = oneshot::channel();
        self.pending.insert(id, sender);
        let _forget = Pending { id, map: &self.pending };
        // The reader cancels first and clears `pending` second: a call registered after the clearing sees the first here.
        if self.closed.is_cancelled() {
            return Err(self.lost());
        }
        let exchange = async {
            self.outbox.send(message).await.map_err(|_| self.lost())?;
            // The sender is dropped only when the connection ends.
            answer.await.map_err(|_| self.lost())
        };
        match timeout(limit, exchange).await {
            Err(_) => Err(CdpError::Timeout { method, limit }),
            Ok(Err(lost)) => Err(lost),
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(message))) => Err(CdpError::Refused { method, message }),
        }
    }

    /// A call whose answer nobody waits for, for use from an [`EventSink`]. Lost if the socket is behind by a full outbox:
    /// whoever uses it must be able to live with that.
    pub fn notify(&self, session: Option<&str>, method: &'static str, params: impl Serialize) {
        if let Ok((_, message)) = self.encode(session, method, params) {
            let _ = self.outbox.try_send(message);
        }
    }

    fn encode(&self, session: Option<&str>, method: &'static str, params: impl Serialize) -> Result<(u64, Message), CdpError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let text = serde_json::to_string(&Request { id, method, params, session })
            .map_err(|e| CdpError::Malformed { method, reason: e.to_string() })?;
        Ok((id, Message::Text(Utf8Bytes::from(text))))
    }

    fn lost(&self) -> CdpError {
        CdpError::Closed(self.why.get().cloned().unwrap_or_else(|| "closed".to_owned()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn write(mut sink: futures::stream::SplitSink<Socket, Message>, mut queue: mpsc::Receiver<Message>, closed: CancellationToken) {
    let pump = async {
        while let Some(message) = queue.recv().await {
            if sink.feed(message).await.is_err() {
                break;
            }
            // Calls that were queued together leave in one write.
            while let Ok(message) = queue.try_recv() {
                if sink.feed(message).await.is_err() {
                    return;
                }
            }
            if sink.flush().await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = pump => {}
        () = closed.cancelled() => {}
    }
    closed.cancel();
    // The peer may be gone or stuck; the socket is dropped either way.
    let _ = timeout(Duration::from_secs(1), sink.close()).await;
}

struct Reader {
    pending: Arc<DashMap<u64, oneshot::Sender<Answer>>>,
    sinks: Arc<DashMap<String, Arc<dyn EventSink>>>,
    browser: Arc<dyn EventSink>,
    closed: CancellationToken,
    why: Arc<OnceLock<String>>,
    heard: Arc<AtomicU64>,
}

impl Reader {
    async fn run(self, mut stream: futures::stream::SplitStream<Socket>) {
        let why = loop {
            let message = tokio::select! {
                message = stream.next() => message,
                () = self.closed.cancelled() => break "closed by the farm".to_owned(),
            };
            self.heard.fetch_add(1, Ordering::Relaxed);
            match message {
                Some(Ok(Message::Text(text))) => self.dispatch(&text),
                Some(Ok(Message::Close(_))) | None => break "closed by the browser".to_owned(),
                Some(Ok(_)) => {}
                Some(Err(e)) => break e.to_string(),
            }
        };
        let _ = self.why.set(why);
        self.closed.cancel();
        self.pending.clear();
        self.sinks.clear();
    }

    fn dispatch(&self, text: &str) {
        let envelope: Envelope = match serde_json::from_str(text) {
            Ok(envelope) => envelope,
            Err(error) => {
                tracing::warn!(%error, bytes = text.len(), "message of the browser is not of the protocol");
                return;
            }
        };
        if let Some(id) = envelope.id {
            let Some((_, waiting)) = self.pending.remove(&id) else { return };
            let answer = match (envelope.error, envelope.result) {
                (Some(error), _) => Err(match error.data {
                    Some(data) => format!("{} ({data})", error.message),
                    None => error.message.into_owned(),
                }),
                (None, Some(result)) => Ok(result.to_owned()),
                (None, None) => Err("neither result nor error".to_owned()),
            };
            let _ = waiting.send(answer);
        } else if let (Some(method), Some(params)) = (envelope.method, envelope.params) {
            match envelope.session {
                None => self.browser.event(None, &method, params),
                Some(session) => {
                    let sink = self.sinks.get(session.as_ref()).map(|s| s.value().clone());
                    if let Some(sink) = sink {
                        sink.event(Some(&session), &method, params);
                    }
                }
            }
        }
    }
}
