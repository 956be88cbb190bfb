//! What `/proc` tells of processes: who belongs to a host, and what it uses.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use envfarm_core::Usage;
use serde::{Deserialize, Serialize};

/// Environment variable that tells a host's processes, and us, whose they are. Every descendant inherits it.
pub(crate) const FOLDER_VARIABLE: &str = "ENVFARM_HOST_DIR";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub pid: u32,
    parent: u32,
    group: u32,
    session: u32,
    /// A dead process that waits to be reaped.
    pub dead: bool,
    /// CPU time of the process and of the children that it has reaped.
    ticks: u64,
    /// Ticks from boot to start: tells a process from a later one with the same number.
    pub start: u64,
}

/// Reads one process; `None` if it is gone.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The second field is a name in brackets that may itself hold brackets and blanks.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Stat {
        pid,
        dead: matches!(*fields.first()?, "Z" | "X"),
        parent: number(1)? as u32,
        group: number(2)? as u32,
        session: number(3)? as u32,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
        start: number(19)?,
    })
}

/// One pass over all processes.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// One process of one boot of one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub pid: u32,
    pub start: u64,
    pub boot: String,
}

impl Identity {
    pub fn of(pid: u32) -> Option<Self> {
        Some(Self { pid, start: stat(pid)?.start, boot: boot() })
    }

    /// Stands for a host whose record is missing or torn: only its folder tells its processes.
    pub fn unknown() -> Self {
        Self { pid: 0, start: 0, boot: String::new() }
    }

    /// The processes of the host that this one leads: its group, its session, the descendants of these. Costs no more than
    /// the pass over all processes, and misses those that fled from all three.
    pub fn kin(&self, all: &[Stat]) -> Vec<Stat> {
        self.select(all, |_| false)
    }

    /// Also those that carry the folder in their environment, and their descendants. A command line that names the folder
    /// counts only with the leader's number: anybody may look into a folder, but does not get into the host's group.
    pub fn members(&self, folder: &Path, all: &[Stat]) -> Vec<Stat> {
        let same_boot = self.boot == boot();
        self.select(all, |stat| inherited(stat.pid, folder) || same_boot && self.numbers(stat) && names(stat.pid, folder))
    }

    /// Whether the process has the leader's number as its own, its group's or its session's.
    fn numbers(&self, stat: &Stat) -> bool {
        [stat.pid, stat.group, stat.session].contains(&self.pid)
    }

    /// Numbers count only while the leader itself is still there; what `also` says counts always.
    fn select(&self, all: &[Stat], also: impl Fn(&Stat) -> bool) -> Vec<Stat> {
        let same_boot = self.boot == boot();
        let led = same_boot && all.iter().any(|stat| stat.pid == self.pid && stat.start == self.start);
        let me = std::process::id();
        let mut children: HashMap<u32, Vec<&Stat>> = HashMap::new();
        for stat in all {
            children.entry(stat.parent).or_default().push(stat);
        }
        // Nothing of a host is older than its leader, which spares reading most of the machine's processes.
        let oldest = if same_boot { self.start } else { 0 };
        let mut found: Vec<Stat> = all
            .iter()
            .filter(|stat| stat.pid != me && stat.start >= oldest)
            .filter(|stat| led && self.numbers(stat) || also(stat))
            .copied()
            .collect();
        let mut seen: HashSet<u32> = found.iter().map(|stat| stat.pid).chain([me]).collect();
        let mut next = 0;
        while let Some(pid) = found.get(next).map(|stat| stat.pid) {
            found.extend(children.get(&pid).into_iter().flatten().filter(|child| seen.insert(child.pid)).copied());
            next += 1;
        }
        found
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Whether our variable in the process's environment names the folder.
fn inherited(pid: u32, folder: &Path) -> bool {
    let variable = [FOLDER_VARIABLE.as_bytes(), b"=", folder.as_os_str().as_encoded_bytes()].concat();
    holds(pid, "environ", &variable)
}

/// Whether the process's command line names the folder.
fn names(pid: u32, folder: &Path) -> bool {
    holds(pid, "cmdline", folder.as_os_str().as_encoded_bytes())
}

fn holds(pid: u32, file: &str, path: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/{file}")).is_ok_and(|text| contains_path(&text, path))
}

/// Whether the text holds the path to its end: `/a/web-1` is in `--dir=/a/web-1/x`, not in `/a/web-10`.
fn contains_path(text: &[u8], path: &[u8]) -> bool {
    let ends = |byte: Option<&u8>| !byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    text.windows(path.len()).enumerate().any(|(at, window)| window == path && ends(text.get(at + path.len())))
}

/// How old an exact measurement may be, and by which part the memory may have changed since.
const EXACT_FOR: Duration = Duration::from_secs(60);
const EXACT_WITHIN: u64 = 4;

/// An exact measurement of a host, on which later estimates stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exact {
    at: Instant,
    pss: u64,
    anonymous: u64,
}

/// Memory and CPU time of these processes together; those that end meanwhile count as nothing.
///
/// The kernel walks all page tables for a PSS, a millisecond and more for each process. Between exact measurements memory is
/// the last one and what anonymous memory, which costs nothing to read and is nearly all private, has changed by since.
pub(crate) fn usage(members: &[Stat], last: &mut Option<Exact>) -> Usage {
    let ticks: u64 = members.iter().map(|stat| stat.ticks).sum();
    let anonymous: u64 = members.iter().filter_map(|stat| anonymous(stat.pid)).sum();
    let stands = |exact: &Exact| exact.at.elapsed() < EXACT_FOR && anonymous.abs_diff(exact.anonymous) <= exact.pss / EXACT_WITHIN;
    let exact = match last.filter(stands) {
        Some(exact) => exact,
        None => Exact { at: Instant::now(), pss: members.iter().filter_map(|stat| pss(stat.pid)).sum(), anonymous },
    };
    *last = Some(exact);
    Usage {
        memory_bytes: (exact.pss + anonymous).saturating_sub(exact.anonymous),
        cpu_seconds: ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
    }
}

/// Resident memory that no file backs, in bytes.
fn anonymous(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = statm.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

/// Proportional set size in bytes: shared pages are divided among those that share them, so that a sum is true.
fn pss(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kilobytes: u64 = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_not_found_in_a_longer_name() {
        for (text, found) in [
            (&b"--dir=/a/web-1"[..], true),
            (b"--dir=/a/web-1\0x", true),
            (b"--dir=/a/web-1/profile", true),
            (b"/a/web-10 /a/web-1.x /a/web-1-2", false),
            (b"/a/web-10 /a/web-1 ", true),
            (b"", false),
        ] {
            assert_eq!(contains_path(text, b"/a/web-1"), found, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn this_process_is_seen_with_its_parent_and_memory() {
        let me = stat(std::process::id()).expect("this process runs");
        assert!(!me.dead && me.start > 0 && me.parent > 0);
        assert!(all().iter().any(|stat| stat.pid == me.pid && stat.start == me.start));
        assert!(usage(&[me], &mut None).memory_bytes > 100_000);
    }

    #[test]
    fn an_estimate_follows_what_is_allocated_and_large_changes_are_measured() {
        let me = [stat(std::process::id()).expect("this process runs")];
        let mut last = None;
        let before = usage(&me, &mut last).memory_bytes;
        let exact = last.expect("the first is exact");
        let some = vec![1_u8; (exact.pss / 8) as usize];
        let after = usage(&me, &mut last).memory_bytes;
        assert!(after > before + some.len() as u64 / 2, "{before} and then {after}");
        let more = vec![1_u8; 2 * exact.pss as usize];
        let measured = usage(&me, &mut last).memory_bytes;
        assert!(last.expect("measured").at > exact.at && measured > before + more.len() as u64 / 2, "{before} and then {measured}");
    }
}
