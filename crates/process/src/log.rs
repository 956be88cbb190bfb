//! What a host says on its output: read all the time so that it never blocks, and only its end kept.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// Enough for a stack trace.
const KEPT_BYTES: usize = 16 << 10;

/// The last [`KEPT_BYTES`] of a host's standard output and error.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        let surplus = kept.len().saturating_sub(KEPT_BYTES);
        kept.drain(..surplus);
    }

    pub fn tail(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).trim().to_owned()
    }

    /// Reads until every writer has closed.
    pub async fn follow(self, mut from: Receiver) {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            self.push(&buffer[..read]);
        }
    }
}

/// A pipe for both standard output and standard error of a child.
pub(crate) fn output() -> io::Result<(Receiver, Stdio, Stdio)> {
    let (reader, writer) = io::pipe()?;
    let also = writer.try_clone()?;
    Ok((Receiver::from_owned_fd(OwnedFd::from(reader))?, Stdio::from(writer), Stdio::from(also)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_the_output_is_kept() {
        let log = Log::default();
        for line in 0..10_000 {
            log.push(format!("line {line}\n").as_bytes());
        }
        let tail = log.tail();
        assert!(tail.len() <= KEPT_BYTES && tail.len() > KEPT_BYTES / 2);
        assert!(tail.ends_with("line 9999"));
    }
}
