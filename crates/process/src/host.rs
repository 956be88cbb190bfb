//! One host: its leading process from start to reaping.
//!
//! One task owns the child. It kills and sweeps while the dead leader is still unreaped, since until then its number, which
//! is its group's too, cannot be given to anybody else.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use envfarm_core::traits::{DIR_PLACEHOLDER, Ready};
use envfarm_core::{Endpoints, HostSpec, ProviderError, Usage};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::farm::Place;
use crate::log::{self, Log};
use crate::procfs::{self, FOLDER_VARIABLE, Identity};
use crate::{at, io_error};

/// How long a killed leader may take to be reaped, and its output to be read.
const REAP_LIMIT: Duration = Duration::from_secs(10);
const OUTPUT_LIMIT: Duration = Duration::from_secs(1);

const FIRST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Host {
    pub place: Place,
    /// Cancelled to end the host.
    pub stop: CancellationToken,
    /// Cancelled when it is over and cleaned up as far as possible.
    pub gone: CancellationToken,
    /// How it ended, and whether anything is left of it.
    end: OnceLock<End>,
    program: String,
    log: Log,
    measured: Mutex<Option<procfs::Exact>>,
}

struct End {
    how: String,
    clean: bool,
}

/// The parts that only the owning task touches.
pub(crate) struct Running {
    child: Child,
    exited: AsyncFd<OwnedFd>,
    output: JoinHandle<()>,
}

impl Host {
    /// Starts the program. On error the caller cleans up at the place.
    pub fn start(place: &Place, spec: &HostSpec, stop: CancellationToken) -> Result<(Arc<Self>, Running), ProviderError> {
        let folder = place.folder.to_str().ok_or_else(|| ProviderError::Launch("the state folder's path is not UTF-8".into()))?;
        let (output, stdout, stderr) = log::output().map_err(io_error)?;
        let mut command = Command::new(&spec.program);
        command
            .args(spec.args.iter().map(|arg| arg.replace(DIR_PLACEHOLDER, folder)))
            .envs(&spec.env)
            .env(FOLDER_VARIABLE, folder)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                ProviderError::Missing(format!("program '{}' is not there: install it, or configure its path", spec.program))
            }
            _ => ProviderError::Launch(format!("{}: {error}", spec.program)),
        })?;
        // The command holds our ends of the pipe, which would keep it open for ever.
        drop(command);
        let pid = child.id().expect("a child that was not awaited has a number");
        let identity = Identity::of(pid).ok_or_else(|| ProviderError::Io(format!("process {pid} is not in /proc")))?;
        place.record(identity).map_err(at(&place.folder))?;
        let exited = watch_end(pid).map_err(io_error)?;
        let log = Log::default();
        let host = Self {
            place: place.clone(),
            stop,
            gone: CancellationToken::new(),
            end: OnceLock::new(),
            program: spec.program.clone(),
            log: log.clone(),
            measured: Mutex::default(),
        };
        let output = tokio::spawn(log.follow(output));
        Ok((Arc::new(host), Running { child, exited, output }))
    }

    pub fn is_clean(&self) -> bool {
        self.end.get().is_some_and(|end| end.clean)
    }

    /// What its processes use now.
    pub fn usage(&self) -> Usage {
        let members = self.place.identity().kin(&procfs::all());
        procfs::usage(&members, &mut self.measured.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the host can be spoken to.
    pub async fn ready(&self, spec: &HostSpec, cancel: &CancellationToken) -> Result<Endpoints, ProviderError> {
        let found = async {
            match &spec.ready {
                Ready::Started => Ok(BTreeMap::new()),
                Ready::PortFile { name } => self.port_file(name).await.map(|url| BTreeMap::from([("cdp".to_owned(), url)])),
            }
        };
        let urls = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(ProviderError::Cancelled),
            () = self.gone.cancelled() => return Err(self.ended_early()),
            found = timeout(spec.launch_timeout, found) => found.unwrap_or_else(|_| {
                tracing::warn!(program = self.program, output = self.log.tail(), "host did not become ready");
                Err(ProviderError::NotReady(spec.launch_timeout))
            })?,
        };
        Ok(Endpoints { urls, pid: Some(self.place.identity().pid) })
    }

    fn ended_early(&self) -> ProviderError {
        let how = self.end.get().map_or("unknown", |end| &end.how);
        ProviderError::Launch(format!("{} ended before it was ready ({how}): {}", self.program, self.log.tail()))
    }

    /// Address in a port file. Looks with growing pauses: a file that has just been made may not be written yet, so only one
    /// that two looks find the same counts.
    async fn port_file(&self, name: &str) -> Result<String, ProviderError> {
        let path = self.place.folder.join(name);
        let mut pause = FIRST_LOOK;
        let mut last = Vec::new();
        loop {
            match tokio::fs::read(&path).await {
                Ok(text) if !text.is_empty() && text == last => break,
                Ok(text) => last = text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at(&path)(error)),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let text = String::from_utf8_lossy(&last);
        let mut lines = text.lines().map(str::trim);
        let port: Option<u16> = lines.next().and_then(|port| port.parse().ok());
        let Some(port) = port else {
            return Err(ProviderError::Launch(format!("{} wrote no port into {name}", self.program)));
        };
        let url_path = lines.next().unwrap_or_default().trim_start_matches('/');
        Ok(format!("ws://127.0.0.1:{port}/{url_path}"))
    }
}

/// A descriptor that becomes readable when the process ends, without reaping it.
#[expect(deprecated, reason = "sound here, since an OwnedFd always gives the same descriptor; what replaces it is unsafe")]
fn watch_end(pid: u32) -> io::Result<AsyncFd<OwnedFd>> {
    let pid = Pid::from_raw(pid as i32).ok_or(io::ErrorKind::InvalidInput)?;
    AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::empty())?, Interest::READABLE)
}

impl Running {
    /// Owns the child until nothing of the host is left: its end may come from itself or be asked for.
    pub async fn until_gone(mut self, host: &Host) {
        let by_itself = tokio::select! {
            biased;
            () = host.stop.cancelled() => false,
            _ = self.exited.readable() => true,
        };
        let place = host.place.clone();
        let killed = crate::blocking(move || crate::cleanup::kill_all(place.identity(), &place.folder).map_err(io_error)).await;
        let how = match timeout(REAP_LIMIT, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "not reaped".to_owned(),
        };
        if timeout(OUTPUT_LIMIT, &mut self.output).await.is_err() {
            self.output.abort();
        }
        let place = host.place.clone();
        let removed = crate::blocking(move || place.remove().map_err(io_error)).await;
        let clean = killed.and(removed).inspect_err(|error| tracing::warn!(program = host.program, %error, "host not cleaned up"));
        if by_itself {
            tracing::debug!(program = host.program, how, "host ended by itself");
        }
        let _ = host.end.set(End { how, clean: clean.is_ok() });
    }
}
