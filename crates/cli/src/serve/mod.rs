//! `envfarm serve`: from a configuration to a farm that runs, and to its end in order.
//!
//! What can be wrong is found before the first host is launched. However the farm ends, unless it is killed, its hosts end
//! with it; what a killed one left behind, the next one collects.

mod build;
mod ready;
mod stop;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use envfarm_core::Provider;
use envfarm_pool::MemoryBudget;
use envfarm_process::ProcessProvider;
use envfarm_rollout::Farm;
use envfarm_server::{Server, ServerOptions, TlsFiles, Token, install_metrics};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::machine;

pub use build::chromium as chromium_options;
use ready::Ready;
use stop::Stop;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; without it, the built-in configuration. See envfarm.example.toml.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Address of the gRPC API; port 0 takes a free one. Any but a loopback address demands a token.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Address of metrics, health and the status page; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    http_listen: Option<SocketAddr>,
    /// File whose first line is the token that every call must carry.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate chain of the gRPC API, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Once the farm serves, one line of JSON with its addresses and pid is put here.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Stop, as on Ctrl-C, when standard input ends: for a parent that must not leave a farm behind.
    #[arg(long)]
    until_stdin_closes: bool,
}

impl Args {
    /// What the command line says comes before what the file says.
    fn overrule(&self, server: &mut config::Server) {
        server.listen = self.listen.unwrap_or(server.listen);
        server.http_listen = self.http_listen.unwrap_or(server.http_listen);
        if let Some(file) = &self.token_file {
            server.token_file = Some(file.clone());
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            server.tls = Some(config::Tls { cert: cert.clone(), key: key.clone() });
        }
    }
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let stop = Stop::on_signals().context("heed signals")?;
    if args.until_stdin_closes {
        stop.on_stdin_closed();
    }
    let mut config = Config::load(args.config.as_deref())?;
    args.overrule(&mut config.server);
    let budget = MemoryBudget::new(config.farm.memory_budget.of(machine::memory_total()));
    let options = server_options(&config.server, budget.total())?;

    machine::raise_file_limit();
    install_metrics();
    let provider = process_provider(&config.farm.state_dir()).await?;
    let environments = build::environments(&config, &provider, &budget).await?;
    let farm = Farm::new(environments, build::farm_options(&config.farm));
    let served = serve(&farm, options, args.ready_file.as_deref(), &stop, config.farm.drain_timeout.0).await;
    if served.is_err() {
        // An end out of order leaves no hosts behind either.
        farm.drain(Duration::ZERO).await;
    }
    served.map(|()| ExitCode::SUCCESS)
}

/// Serves until told to stop, and then until running episodes have ended or their time is over.
async fn serve(
    farm: &Arc<Farm>,
    options: ServerOptions,
    ready_file: Option<&Path>,
    stop: &Stop,
    drain_timeout: Duration,
) -> anyhow::Result<()> {
    let server = Server::bind(Arc::clone(farm), options).await?;
    let ready = Ready { grpc: server.addr(), http: server.http_addr(), pid: std::process::id() };
    let closing = CancellationToken::new();
    let mut serving = tokio::spawn(server.run(closing.clone()));
    let _announced = ready_file.map(|file| ready.announce(file)).transpose()?;

    tokio::select! {
        () = stop.drain.cancelled() => {}
        ended = &mut serving => {
            ended.context("serve")??;
            anyhow::bail!("the server ended by itself");
        }
    }
    tokio::select! {
        () = farm.drain(drain_timeout) => {}
        () = stop.at_once.cancelled() => farm.drain(Duration::ZERO).await,
    }
    closing.cancel();
    serving.await.context("serve")??;
    Ok(())
}

/// Checks what can be checked before anything runs.
fn server_options(server: &config::Server, memory_budget_bytes: u64) -> anyhow::Result<ServerOptions> {
    let config::Server { listen, http_listen, token_file, tls } = server;
    ensure!(
        token_file.is_some() || listen.ip().is_loopback(),
        "{listen} can be reached from other machines: give --token-file, or listen on a loopback address"
    );
    Ok(ServerOptions {
        listen: *listen,
        token: token_file.as_deref().map(read_token).transpose()?,
        tls: tls.clone().map(|config::Tls { cert, key }| TlsFiles { cert, key }),
        http_listen: Some(*http_listen),
        memory_budget_bytes,
    })
}

fn read_token(file: &Path) -> anyhow::Result<Token> {
    let named = || format!("token file {}", file.display());
    let text = std::fs::read_to_string(file).with_context(named)?;
    Token::new(text.lines().next().unwrap_or_default().trim()).with_context(named)
}

/// The provider of local processes, after it collected what dead farms left.
async fn process_provider(state_dir: &Path) -> anyhow::Result<Arc<dyn Provider>> {
    let named = || format!("state folder {} (farm.state_dir)", state_dir.display());
    let provider = ProcessProvider::new(state_dir.to_owned()).with_context(named)?;
    let orphans = provider.collect_orphans().await.with_context(named)?;
    if !orphans.is_empty() {
        tracing::info!(hosts = orphans.len(), "collected hosts of a dead farm");
    }
    Ok(Arc::new(provider))
}
