//! A farm as a child process, in a folder of its own, that never outlives its test.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, ChildStdin, Command};

/// Everything here is quicker by far, unless the machine is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The null environment alone. What follows it is of the table `[farm]`; `STATE` stands for a folder of the test's.
pub const NULL: &str = "environments.null = { backend = \"null\", suite = \"null\" }\n[farm]\nstate_dir = \"STATE\"\n";

pub fn envfarm() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_envfarm"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub struct Farm {
    pub child: Child,
    /// Apart from the child, which would close it when waited for.
    pub stdin: Option<ChildStdin>,
    pub grpc: String,
    pub http: String,
    pub dir: TempDir,
}

impl Farm {
    /// Starts a farm with `config` on free ports and waits for its ready file.
    pub async fn start(config: &str, args: &[&str]) -> Self {
        Self::start_in(TempDir::new().unwrap(), config, args).await
    }

    /// As [`Farm::start`], with the state of an earlier farm in `dir`.
    pub async fn start_in(dir: TempDir, config: &str, args: &[&str]) -> Self {
        let mut command = serve(dir.path(), config);
        command.args(args);
        Self::start_by(command, dir).await
    }

    /// Starts a farm by a command of [`serve`] or [`serve_by`] for `dir`.
    pub async fn start_by(mut command: Command, dir: TempDir) -> Self {
        let ready = dir.path().join("ready.json");
        let _ = std::fs::remove_file(&ready);
        command.args(["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--ready-file"]).arg(&ready);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let ready = tokio::time::timeout(PATIENCE, wait_for_file(&mut child, &ready)).await.expect("no ready file in time");
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        assert_eq!(ready["pid"].as_u64(), child.id().map(u64::from));
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Self { child, stdin, grpc: text("grpc"), http: text("http"), dir }
    }

    pub async fn client(&self) -> envfarm_proto::Client {
        envfarm_proto::Client::connect(&format!("http://{}", self.grpc), None, None).await.unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("the farm runs");
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end of the farm.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("the farm did not end").unwrap()
    }
}

/// `envfarm serve` with its configuration and state in `dir`.
pub fn serve(dir: &Path, config: &str) -> Command {
    serve_by(envfarm(), dir, config)
}

/// As [`serve`], where `program` is `envfarm` or ends up as it.
pub fn serve_by(mut program: Command, dir: &Path, config: &str) -> Command {
    let file = dir.join("farm.toml");
    std::fs::write(&file, config.replace("STATE", &dir.join("state").display().to_string())).unwrap();
    program.arg("serve").arg("--config").arg(file);
    program
}

async fn wait_for_file(child: &mut Child, file: &PathBuf) -> String {
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text;
        }
        // Polling is all that a file offers; an end of the child ends the wait.
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(20), child.wait()).await {
            panic!("the farm ended before it was ready: {ended:?}");
        }
    }
}

/// Runs a command that must end by itself; what it gave and said.
pub async fn finish(mut command: Command) -> (ExitStatus, String, String) {
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("the command did not end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}
