//! `envfarm serve` as a child process, with its configuration and state in a temporary folder.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use envfarm_proto::Client;
use envfarm_proto::v1::{GetStatusResponse, HostStatus, PoolStatus};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;

use crate::{PATIENCE, Site, eventually, process};

/// How long a farm that is told to end at once may take before it is killed.
const END_LIMIT: Duration = Duration::from_secs(30);
/// Of a farm's log, shown when its test fails.
const SHOWN_BYTES: usize = 8 << 10;

/// The environment `null` alone.
pub const NULL: &str =
    "[environments.null]\nbackend = \"null\"\nsuite = \"null\"\nmax_slots = 4096\nhosts = { max = 4, sandboxes = 2048 }\n";

/// The environment `web`: a few browsers, small enough for several tests at once.
#[derive(Clone, Debug)]
pub struct Web {
    pub slots: u32,
    pub warm: u32,
    /// At least, at most, and sandboxes on each.
    pub hosts: (u32, u32, u32),
    /// Keys of the environment's `chromium` table.
    pub chromium: String,
}

impl Default for Web {
    fn default() -> Self {
        Self { slots: 4, warm: 1, hosts: (1, 2, 8), chromium: String::new() }
    }
}

impl Web {
    fn table(&self, suite: &str) -> String {
        let Self { slots, warm, hosts: (min, max, sandboxes), chromium } = self;
        format!(
            "[environments.web]\nbackend = \"chromium\"\nsuite = \"{suite}\"\nmax_slots = {slots}\nwarm = {warm}\n\
             hosts = {{ min = {min}, max = {max}, sandboxes = {sandboxes} }}\nchromium = {{ {chromium} }}\n"
        )
    }

    /// Every page of the site as a task, by its name.
    pub fn pages(&self, site: &Site) -> String {
        let task = |page: &str| format!("{{ id = \"{page}\", url = \"{}\", goal = \"Look at {page}.\" }}", site.url(page));
        let tasks: Vec<_> = Site::PAGES.iter().map(|page| task(page)).collect();
        format!("{}pages = {{ tasks = [{}] }}\n", self.table("pages"), tasks.join(", "))
    }

    /// The tasks of MiniWoB++.
    pub fn miniwob(&self) -> String {
        let html = envfarm_suites::find_html()
            .expect("no task pages of MiniWoB++: `make test` installs them, or `python3 -m venv .venv && .venv/bin/pip install miniwob`");
        format!("{}miniwob = {{ html = \"{}\" }}\n", self.table("miniwob"), html.display())
    }
}

/// A running farm. Dropping it ends it and everything of it.
pub struct Farm {
    child: Child,
    dir: Option<TempDir>,
    pub endpoint: String,
}

impl Farm {
    /// Starts a farm with these environments and waits until it serves.
    pub async fn start(environments: &str) -> Self {
        Self::start_in(TempDir::new().unwrap(), environments).await
    }

    /// As [`Farm::start`], in the folder of an earlier farm.
    pub async fn start_in(dir: TempDir, environments: &str) -> Self {
        let (config, ready, log) = (dir.path().join("farm.toml"), dir.path().join("ready.json"), dir.path().join("farm.log"));
        let state = state_of(dir.path());
        let text = format!("[farm]\nstate_dir = \"{}\"\ndrain_timeout = \"1s\"\n{environments}", state.display());
        std::fs::write(&config, text).unwrap();
        let _ = std::fs::remove_file(&ready);
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new(binary())
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--until-stdin-closes"])
            .arg("--config")
            .arg(config)
            .arg("--ready-file")
            .arg(&ready)
            // The pipe closes when this process ends, whatever ends it, and the farm with it.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            // A runner that kills a test that hangs must not kill the farm before it has ended its browsers.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut farm = Self { child, dir: Some(dir), endpoint: String::new() };
        let (ready, _) = eventually("the farm serves", PATIENCE, async || {
            if let Some(ended) = farm.child.try_wait().unwrap() {
                panic!("the farm ended before it was ready: {ended}");
            }
            std::fs::read_to_string(&ready).ok()
        })
        .await;
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        farm.endpoint = format!("http://{}", ready["grpc"].as_str().unwrap());
        farm
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.endpoint, None, None).await.unwrap()
    }

    pub async fn status(&self) -> GetStatusResponse {
        self.client().await.status().await.unwrap()
    }

    /// The pool of the one environment.
    pub async fn pool(&self) -> PoolStatus {
        self.status().await.pools.remove(0)
    }

    pub async fn ready_hosts(&self) -> Vec<HostStatus> {
        self.pool().await.hosts.into_iter().filter(|host| host.state == "ready").collect()
    }

    /// Waits for so many hosts; they in the order of their ids.
    pub async fn until_ready(&self, hosts: usize) -> Vec<HostStatus> {
        let client = self.client().await;
        let (mut ready, _) = eventually("hosts are ready", PATIENCE, async || {
            let pool = client.status().await.unwrap().pools.remove(0);
            let ready: Vec<_> = pool.hosts.into_iter().filter(|host| host.state == "ready").collect();
            (ready.len() >= hosts).then_some(ready)
        })
        .await;
        ready.sort_by(|a, b| a.id.cmp(&b.id));
        ready
    }

    /// The folder of what hosts leave.
    pub fn state(&self) -> PathBuf {
        state_of(self.dir.as_ref().unwrap().path())
    }

    /// The processes of its hosts.
    pub fn processes(&self) -> Vec<u32> {
        process::of_folder(&self.state())
    }

    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits for its end; its folder stays.
    pub async fn ended(mut self) -> (ExitStatus, TempDir) {
        let child = &mut self.child;
        let (status, _) = eventually("the farm ends", PATIENCE, async || child.try_wait().unwrap()).await;
        (status, self.dir.take().unwrap())
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), Pid::from_raw(self.child.id().cast_signed())) {
            // The second signal ends a drain at once; it is another one, since the same could melt into the first.
            let _ = kill_process(pid, Signal::TERM).and_then(|()| kill_process(pid, Signal::INT));
            let ended = pidfd_open(pid, PidfdFlags::empty()).is_ok_and(|fd| wait_for(&fd, END_LIMIT));
            if !ended {
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
        let Some(dir) = &self.dir else { return };
        for pid in process::of_folder(&state_of(dir.path())) {
            process::signal(pid, Signal::KILL);
        }
        if std::thread::panicking() {
            let log = std::fs::read(dir.path().join("farm.log")).unwrap_or_default();
            let shown = String::from_utf8_lossy(&log[log.len().saturating_sub(SHOWN_BYTES)..]).into_owned();
            eprintln!("---- the farm's log ----\n{shown}------------------------");
        }
    }
}

/// Whether the process of this descriptor ends in time.
fn wait_for(process: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)).is_ok_and(|ready| ready > 0)
}

pub fn state_of(dir: &Path) -> PathBuf {
    dir.join("state")
}

/// The binary that this workspace's build puts beside the tests.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "deps")).and_then(Path::parent);
    let binary = folder.unwrap_or(&test).join("envfarm");
    assert!(binary.is_file(), "there is no {}: build it with `cargo build --bin envfarm`", binary.display());
    binary
}
