//! A browser whose DevTools socket a test can cut while the browser lives on.
//!
//! The farm runs a wrapper that moves the browser's profile aside, so that the port file the farm waits for is written here:
//! it names a port that passes everything on, until it is cut.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

const WRAPPER: &str = r#"#!/bin/sh
for arg; do
  shift
  case $arg in --user-data-dir=*) arg=$arg.aside ;; esac
  set -- "$@" "$arg"
done
exec "$(command -v chromium-headless-shell || command -v chromium)" "$@"
"#;

const PORT_FILE: &str = "DevToolsActivePort";

/// Stands between a farm and its browsers.
pub struct Between {
    dir: TempDir,
    cuts: Cuts,
    _watching: DropGuard,
}

/// By host id.
type Cuts = Arc<Mutex<BTreeMap<String, CancellationToken>>>;

impl Between {
    /// `state` is the state folder of the farm that will run [`Between::program`].
    pub fn start(state: PathBuf) -> Self {
        let dir = TempDir::new().unwrap();
        let program = dir.path().join("browser");
        std::fs::write(&program, WRAPPER).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (cuts, stop) = (Cuts::default(), CancellationToken::new());
        tokio::spawn(stop.clone().run_until_cancelled_owned(watch(state, cuts.clone())));
        Self { dir, cuts, _watching: stop.drop_guard() }
    }

    /// What the farm must run as its browser.
    pub fn program(&self) -> PathBuf {
        self.dir.path().join("browser")
    }

    /// Cuts the connection to a host.
    pub fn cut(&self, host: &str) {
        self.cuts.lock().unwrap().get(host).expect("the host was seen").cancel();
    }
}

/// Looks for hosts that started, and stands between each and the farm.
async fn watch(state: PathBuf, cuts: Cuts) {
    let mut ticks = interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for host in folders(&state).iter().flat_map(|farm| folders(farm)) {
            let id = host.file_name().unwrap().to_string_lossy().into_owned();
            if cuts.lock().unwrap().contains_key(&id) {
                continue;
            }
            let text = std::fs::read_to_string(host.join("profile.aside").join(PORT_FILE)).unwrap_or_default();
            let Some((port, path)) = text.split_once('\n').and_then(|(port, path)| Some((port.parse().ok()?, path))) else { continue };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let cut = CancellationToken::new();
            let folder = host.join("profile");
            let _ = std::fs::create_dir(&folder);
            std::fs::write(folder.join(PORT_FILE), format!("{}\n{path}", listener.local_addr().unwrap().port())).unwrap();
            cuts.lock().unwrap().insert(id, cut.clone());
            tokio::spawn(cut.run_until_cancelled_owned(pass_on(listener, port)));
        }
    }
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(parent).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// Passes every connection on. The tasks of connections end with this one.
async fn pass_on(listener: TcpListener, port: u16) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut to = TcpStream::connect(("127.0.0.1", port)).await?;
            tokio::io::copy_bidirectional(&mut from, &mut to).await
        });
    }
}
