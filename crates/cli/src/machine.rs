//! What the machine has: cores and memory, as far as this process may use them.
//!
//! Both are read once at start; a container's limits count, since the kernel enforces those and not the machine's size.

use std::fs;

/// Cores that this process may run on, at least 1.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes of memory in all: the machine's, or less where a cgroup says so.
pub fn memory_total() -> u64 {
    let machine = meminfo("MemTotal:").unwrap_or(u64::MAX);
    // cgroup v2, then v1; `max`, and v1's huge number, mean no limit.
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok())
        .fold(machine, u64::min)
}

/// Bytes that can be had now without swapping.
pub fn memory_available() -> u64 {
    meminfo("MemAvailable:").unwrap_or(0)
}

/// Lets this process and its hosts open as many files as the system allows.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, ?current, "the limit of open files stays as it is");
    }
}

fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}
