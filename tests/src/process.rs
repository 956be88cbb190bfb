//! What `/proc` tells of processes, and signals to them.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal; a process that is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process number is not 0");
    let _ = kill_process(pid, signal);
}

/// Living processes of hosts whose folders are under `state`: the farm marks them in their environment.
pub fn of_folder(state: &Path) -> Vec<u32> {
    let mark = [b"ENVFARM_HOST_DIR=", state.as_os_str().as_encoded_bytes(), b"/"].concat();
    let marked = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&mark))
    };
    all().into_iter().filter(marked).collect()
}

/// The browser of the host that `leader` leads: `leader` itself, or what it runs where it is a distribution's wrapper.
pub fn browser(leader: u32) -> u32 {
    let is_browser = |line: String| line.contains("--remote-debugging-port") && !line.contains("--type=");
    descendants(leader).into_iter().rfind(|pid| is_browser(command_line(*pid))).unwrap_or(leader)
}

/// Renderers of the browser that `leader` leads.
pub fn renderers(leader: u32) -> Vec<u32> {
    descendants(leader).into_iter().filter(|pid| command_line(*pid).contains("--type=renderer")).collect()
}

/// A process and all that descend from it, parents before children.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    found
}

fn command_line(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Memory of a process in bytes, as far as it is in RAM.
pub fn rss(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() << 10
}

fn all() -> Vec<u32> {
    fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
