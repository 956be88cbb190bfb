//! Memory of a farm's hosts: as the farm tells it, and as the kernel does.
//!
//! PSS shares each page among the processes that map it, so the sum over processes counts nothing twice.

use std::collections::{HashMap, HashSet};
use std::fs;

use anyhow::Context;
use envfarm_proto::Client;
use serde::Serialize;

#[derive(Clone, Debug, Default, Serialize)]
pub struct Memory {
    /// Of all hosts, as last measured by the farm.
    pub told_mb: f64,
    /// PSS of all processes of all hosts, from `/proc`; `None` where the farm is on another machine.
    pub pss_mb: Option<f64>,
    pub hosts: usize,
    pub processes: usize,
    pub sandboxes: u32,
}

impl Memory {
    pub async fn measure(client: &Client) -> anyhow::Result<Self> {
        let status = client.status().await.context("ask for the farm's status")?;
        let hosts: Vec<_> = status.pools.iter().flat_map(|pool| &pool.hosts).filter(|host| host.pid != 0).collect();
        let roots: Vec<u32> = hosts.iter().map(|host| host.pid).collect();
        let (sizes, hosts, sandboxes) = (sizes(roots), hosts.len(), hosts.iter().map(|host| host.sandboxes).sum());
        let sizes = sizes.await?;
        let pss_kb: u64 = sizes.iter().sum();
        Ok(Self {
            told_mb: status.memory_bytes as f64 / f64::from(1 << 20),
            pss_mb: (!sizes.is_empty()).then(|| pss_kb as f64 / 1024.0),
            hosts,
            processes: sizes.len(),
            sandboxes,
        })
    }

    /// The larger of two moments.
    pub fn max(self, other: Self) -> Self {
        let of = |memory: &Self| memory.pss_mb.unwrap_or(memory.told_mb);
        if of(&other) > of(&self) { other } else { self }
    }
}

/// PSS in KiB of every process below and including `roots`.
async fn sizes(roots: Vec<u32>) -> anyhow::Result<Vec<u64>> {
    let read = move || family(&parents(), roots).into_iter().filter_map(pss_kb).collect();
    tokio::task::spawn_blocking(read).await.context("read /proc")
}

/// The parent of each process.
fn parents() -> HashMap<u32, u32> {
    let parent = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before it, in brackets, may hold anything.
        stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
    };
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn family(parents: &HashMap<u32, u32>, roots: Vec<u32>) -> HashSet<u32> {
    let mut found: HashSet<u32> = roots.into_iter().filter(|pid| parents.contains_key(pid)).collect();
    loop {
        let before = found.len();
        found.extend(parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect::<Vec<_>>());
        if found.len() == before {
            return found;
        }
    }
}

fn pss_kb(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_measured_with_all_that_descends_from_it() {
        let parents = HashMap::from([(1, 0), (10, 1), (11, 10), (12, 11), (20, 1)]);
        assert_eq!(family(&parents, vec![10, 99]), HashSet::from([10, 11, 12]));
    }

    #[test]
    fn this_process_has_a_size() {
        assert!(pss_kb(std::process::id()).unwrap() > 0);
    }
}
