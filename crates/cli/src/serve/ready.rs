//! The ready file: how a parent learns where the farm listens.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

/// One line of JSON.
#[derive(Debug, Serialize)]
pub struct Ready {
    pub grpc: SocketAddr,
    pub http: Option<SocketAddr>,
    pub pid: u32,
}

/// Takes the ready file away again when dropped: what it says is no longer so.
#[derive(Debug)]
pub struct Announced(PathBuf);

impl Ready {
    /// Writes the file, whole or not at all: a parent that polls never sees half a line.
    pub fn announce(&self, file: &Path) -> anyhow::Result<Announced> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let put = || -> anyhow::Result<()> {
            let mut draft = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut draft, self)?;
            draft.write_all(b"\n")?;
            draft.persist(file)?;
            Ok(())
        };
        put().with_context(|| format!("write the ready file {}", file.display()))?;
        Ok(Announced(file.to_owned()))
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // Gone already, perhaps, with its folder.
        let _ = std::fs::remove_file(&self.0);
    }
}
