//! The end of a host: every process of it killed, its folder removed.
//!
//! Chromium hosts are cattle, so there is no polite phase. A signal goes through a process descriptor that was checked after
//! it was opened: a number that meanwhile belongs to somebody else is never hit.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::procfs::{self, Identity, Stat};

/// Only a process that hangs in the kernel takes so long to die.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// Kills all processes of a host and returns when none runs any more. Blocks for at most [`KILL_LIMIT`] and a bit.
pub(crate) fn kill_all(leader: &Identity, folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + KILL_LIMIT;
    // Some fork while we look: look again until a look finds none.
    loop {
        let running: Vec<Stat> = leader.members(folder, &procfs::all()).into_iter().filter(|stat| !stat.dead).collect();
        if running.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            let pids: Vec<u32> = running.iter().map(|stat| stat.pid).collect();
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("processes {pids:?} do not die")));
        }
        let killed = running.iter().map(kill).collect::<io::Result<Vec<_>>>()?;
        for descriptor in killed.into_iter().flatten() {
            wait_for_end(&descriptor, deadline.saturating_duration_since(Instant::now()))?;
        }
    }
}

/// Sends the signal and returns what to wait on; `None` if the process is gone already.
fn kill(stat: &Stat) -> io::Result<Option<OwnedFd>> {
    let opened = Pid::from_raw(stat.pid as i32).ok_or(Errno::SRCH).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let sent = opened.and_then(|descriptor| {
        if procfs::stat(stat.pid).is_none_or(|now| now.start != stat.start) {
            return Err(Errno::SRCH);
        }
        pidfd_send_signal(&descriptor, Signal::KILL).map(|()| descriptor)
    });
    match sent {
        Ok(descriptor) => Ok(Some(descriptor)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(io::Error::new(io::Error::from(error).kind(), format!("kill process {}: {error}", stat.pid))),
    }
}

/// A process descriptor is readable from its process's end on.
fn wait_for_end(process: &OwnedFd, limit: Duration) -> io::Result<()> {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    match poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes a folder or a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io::Error::new(error.kind(), format!("remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    }
}
