//! The checks that need no browser: the machine, its limits, and the Python side.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Check;
use crate::config::{BackendKind, Config, Miniwob, Size};
use crate::{machine, suite};

/// Below this no host starts in comfort: one browser with a handful of pages.
const LEAST_MEMORY: u64 = 1 << 30;

/// A sandbox takes some of the browser's files, and a slot one or two of the farm's.
const FILES_PER_SLOT: u64 = 4;

pub fn cores() -> Check {
    match machine::cores() {
        1 => Check::weak("cores", "1: browser and trainer will wait for each other", "give the farm two cores or more"),
        n => Check::ok("cores", n.to_string()),
    }
}

pub fn memory(config: &Config) -> Check {
    let (total, available) = (machine::memory_total(), machine::memory_available());
    let budget = config.farm.memory_budget.of(total);
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / Size::gib(1).0 as f64);
    let found = format!("{} in all, {} available, budget {}", gib(total), gib(available), gib(budget));
    if budget < LEAST_MEMORY {
        Check::missing("memory", found, "raise farm.memory_budget to 1GiB or more, or give the farm more memory")
    } else if available < budget {
        Check::weak("memory", found, "free memory, or lower farm.memory_budget to what is available")
    } else {
        Check::ok("memory", found)
    }
}

/// The farm raises its soft limit by itself: the hard one counts.
pub fn files(config: &Config) -> Check {
    let hard = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let with_pages = config.environments.values().filter(|e| e.backend == BackendKind::Chromium);
    let slots: u64 = with_pages.map(|e| u64::from(e.max_slots)).sum();
    let wanted = 1024 + FILES_PER_SLOT * slots;
    match hard {
        None => Check::ok("open files", "no limit"),
        Some(hard) if hard >= wanted => Check::ok("open files", format!("at most {hard}")),
        Some(hard) => Check::weak("open files", format!("at most {hard}; {slots} slots may want {wanted}"), format!("ulimit -Hn {wanted}")),
    }
}

pub fn shared_memory() -> Check {
    const NAME: &str = "/dev/shm";
    match rustix::fs::statvfs("/dev/shm") {
        Err(error) => Check::weak(NAME, format!("not there ({error}): pages go through temporary files"), "mount -t tmpfs tmpfs /dev/shm"),
        Ok(stat) => {
            let mib = (stat.f_blocks * stat.f_frsize) >> 20;
            // Docker's default of 64 MiB is too little for a browser of many pages.
            if mib < 512 {
                Check::weak(NAME, format!("{mib} MiB"), "mount -o remount,size=1G /dev/shm (docker run --shm-size=1g)")
            } else {
                Check::ok(NAME, format!("{mib} MiB"))
            }
        }
    }
}

/// Whether Chromium can build its own sandbox around pages.
pub fn namespaces() -> Check {
    const NAME: &str = "user namespaces";
    if rustix::process::geteuid().is_root() {
        let mend = "run the farm as an ordinary user where pages are not trusted";
        return Check::weak(NAME, "runs as root: Chromium goes without its sandbox (--no-sandbox)", mend);
    }
    let setting = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    for (path, refuses, mend) in [
        ("/proc/sys/kernel/unprivileged_userns_clone", 0, "sudo sysctl kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", 0, "sudo sysctl user.max_user_namespaces=10000"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1, "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
    ] {
        if setting(path) == Some(refuses) {
            return Check::missing(NAME, format!("refused by {path}: Chromium cannot build its sandbox"), mend);
        }
    }
    Check::ok(NAME, "allowed")
}

/// The Python side is the trainer's: the farm itself runs without it.
pub async fn python() -> Check {
    const NAME: &str = "python package";
    const SHOW: &str = "import envfarm, importlib.metadata as m, sys; print(m.version('envfarm'), 'in', sys.prefix)";
    for python in [".venv/bin/python", "python3"] {
        if python != "python3" && !Path::new(python).exists() {
            continue;
        }
        let run = tokio::process::Command::new(python).args(["-c", SHOW]).kill_on_drop(true).output();
        if let Ok(Ok(output)) = tokio::time::timeout(Duration::from_secs(20), run).await
            && output.status.success()
        {
            return Check::ok(NAME, String::from_utf8_lossy(&output.stdout).trim());
        }
    }
    Check::weak(NAME, "no Python here imports `envfarm`", "python3 -m venv .venv && .venv/bin/pip install -e python")
}

/// The task pages, found as the farm would find them.
pub async fn miniwob(options: Option<&Miniwob>) -> Check {
    const NAME: &str = "miniwob pages";
    let found = suite::miniwob_html(options).await.and_then(|html| {
        let tasks = envfarm_suites::miniwob::list(&html)?;
        Ok(format!("{} tasks in {}", tasks.len(), html.display()))
    });
    match found {
        Ok(found) => Check::ok(NAME, found),
        Err(error) => Check::missing(NAME, format!("{error:#}"), suite::MINIWOB_MEND),
    }
}
