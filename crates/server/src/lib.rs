//! The farm on the network: the gRPC service, and a side port with health, metrics and a status page over HTTP.
//!
//! Call [`install_metrics`], make the farm, [`Server::bind`], then [`Server::run`]. This crate turns the API's messages into
//! calls on [`envfarm_rollout::Farm`] and back; what they mean is decided there.

mod auth;
mod batch;
mod http;
mod service;
mod stream;
mod telemetry;
mod unary;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use envfarm_proto::limits::{KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT};
use envfarm_rollout::Farm;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, ServerTlsConfig};

pub use auth::{BadToken, MAX_TOKEN_BYTES, Token};
pub use telemetry::install_metrics;

/// What a client may send ahead of what is read, in bytes. Commands are small, so this is less than what clients allow.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Calls at once on one connection, streams among them.
const MAX_CONCURRENT_STREAMS: u32 = 128;
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that still live so long after shutdown are cut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Address of the gRPC API; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What every call must show. `None` only on a loopback address.
    pub token: Option<Token>,
    /// Plain text if `None`.
    pub tls: Option<TlsFiles>,
    /// Address of `/healthz`, `/metrics` and the status page. It asks for no token: it is read-only and shows counts, hosts
    /// and memory, never a lease, a task or what an agent saw. Keep it on loopback or a private network.
    pub http_listen: Option<SocketAddr>,
    /// Told in the status; 0 if there is none.
    pub memory_budget_bytes: u64,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why the server does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("{0} can be reached from other machines: set a token, or listen on a loopback address")]
    OpenWithoutToken(SocketAddr),
    #[error("read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("use {cert} and {key} for TLS: {source}", cert = .files.cert.display(), key = .files.key.display())]
    Tls { files: TlsFiles, source: tonic::transport::Error },
    #[error("listen on {addr}: {source}")]
    Bind { addr: SocketAddr, source: io::Error },
}

/// Why a running server ended.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("grpc server: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error("http server: {0}")]
    Http(io::Error),
}

/// A server that listens and does not answer yet.
pub struct Server {
    farm: Arc<Farm>,
    options: ServerOptions,
    transport: tonic::transport::Server,
    listener: TcpListener,
    http: Option<TcpListener>,
    addr: SocketAddr,
    http_addr: Option<SocketAddr>,
}

impl Server {
    /// Checks the options and binds the ports.
    pub async fn bind(farm: Arc<Farm>, options: ServerOptions) -> Result<Self, StartError> {
        if options.token.is_none() && !options.listen.ip().is_loopback() {
            return Err(StartError::OpenWithoutToken(options.listen));
        }
        if options.token.is_some() && options.tls.is_none() && !options.listen.ip().is_loopback() {
            tracing::warn!(listen = %options.listen, "no tls: the token and all traffic can be read on the network");
        }
        let mut transport = tonic::transport::Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT));
        if let Some(files) = &options.tls {
            let identity = Identity::from_pem(read(&files.cert).await?, read(&files.key).await?);
            let config = ServerTlsConfig::new().identity(identity).timeout(TLS_HANDSHAKE_TIMEOUT);
            let refused = |source| StartError::Tls { files: files.clone(), source };
            transport = transport.tls_config(config).map_err(refused)?;
        }
        let (listener, addr) = bind(options.listen).await?;
        let (http, http_addr) = match options.http_listen {
            Some(addr) => bind(addr).await.map(|(listener, addr)| (Some(listener), Some(addr)))?,
            None => (None, None),
        };
        Ok(Self { farm, options, transport, listener, http, addr, http_addr })
    }

    /// Where the gRPC API listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where the HTTP side port listens.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http_addr
    }

    /// Answers until `shutdown`, then ends streams with `UNAVAILABLE` and gives connections a few seconds to close. Draining
    /// is the farm's: while it drains the server goes on and tells health checks and streams of it.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        let Self { farm, options, mut transport, listener, http, addr, http_addr } = self;
        tracing::info!(grpc = %addr, http = http_addr.map(tracing::field::display), tls = options.tls.is_some(), "server listens");
        let mut routes = service::routes(farm.clone(), options.memory_budget_bytes, &shutdown).await.into_axum_router();
        if let Some(token) = options.token {
            routes = routes.layer(from_fn_with_state(token, auth::check));
        }
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(Duration::from_secs(60)));
        let router = transport.add_routes(Routes::from(routes));
        let grpc =
            async { router.serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned()).await.map_err(ServeError::Grpc) };
        let http = async {
            match http {
                Some(listener) => http::serve(listener, farm, options.memory_budget_bytes, shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let cut = async {
            shutdown.cancelled().await;
            tokio::time::sleep(CLOSE_TIMEOUT).await;
            tracing::warn!("connections did not close in time; cutting them");
            Ok(())
        };
        tokio::select! {
            ended = async { tokio::try_join!(grpc, http) } => ended.map(|_| ()),
            ended = cut => ended,
            never = telemetry::upkeep() => match never {},
        }
    }
}

async fn read(path: &std::path::Path) -> Result<Vec<u8>, StartError> {
    tokio::fs::read(path).await.map_err(|source| StartError::Read { path: path.to_owned(), source })
}

async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    };
    bound.await.map_err(|source| StartError::Bind { addr, source })
}
