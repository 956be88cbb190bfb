//! Who may tell the farm to stop, and how urgently.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The farm's two ways to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No new episodes; running ones get a deadline.
    pub drain: CancellationToken,
    /// Not even that; hosts are still ended.
    pub at_once: CancellationToken,
}

impl Stop {
    /// Heeds SIGINT, SIGTERM and, unless it is ignored, SIGHUP from now on: the first drains, the second ends at once.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        // To heed it would undo what `nohup` did.
        let mut hangup = if hangup_is_ignored()? { None } else { Some(signal(SignalKind::hangup())?) };
        let told = stop.clone();
        tokio::spawn(async move {
            for token in [&told.drain, &told.at_once] {
                let name = tokio::select! {
                    _ = interrupt.recv() => "SIGINT",
                    _ = terminate.recv() => "SIGTERM",
                    Some(()) = next(&mut hangup) => "SIGHUP",
                };
                token.cancel();
                tracing::info!(signal = name, "told to stop");
            }
        });
        Ok(stop)
    }

    /// Drains, too, when standard input ends, as it does when the parent that holds its other side dies.
    pub fn on_stdin_closed(&self) {
        let drain = self.drain.clone();
        // A thread of its own, since a read of standard input cannot be taken back; the process ends without it.
        std::thread::spawn(move || {
            // What comes in means nothing, and an error means that the other side is gone as well.
            let _ = io::copy(&mut io::stdin(), &mut io::sink());
            drain.cancel();
            tracing::info!("standard input closed");
        });
    }
}

async fn next(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

/// Whether whoever started us wants SIGHUP ignored; to be asked before it is heeded.
fn hangup_is_ignored() -> io::Result<bool> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit.
    Ok(ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0))
}
