//! One life of a farm on disk: `farm-x.lock`, and `farm-x/` with a folder `<host>/` and a record `<host>.json` a host.
//!
//! A farm holds its lock as long as it lives, and the kernel lets go of it whatever kills the farm. Whoever can take the
//! lock therefore knows the farm for dead, without trusting process numbers, and even across containers.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use envfarm_core::{HostId, ObservedHost, ProviderError};

use crate::procfs::Identity;
use crate::{at, cleanup, io_error};

const PREFIX: &str = "farm-";
const LOCK: &str = "lock";
const RECORD: &str = "json";
const PRIVATE: u32 = 0o700;

pub(crate) struct Farm {
    folder: PathBuf,
    /// Held while this lives.
    _lock: File,
}

impl Farm {
    pub fn new(state: &Path) -> io::Result<Self> {
        let lock = tempfile::Builder::new().prefix(PREFIX).suffix(&format!(".{LOCK}")).tempfile_in(state)?;
        lock.as_file().lock()?;
        let (file, path) = lock.keep()?;
        // Locked before there is a folder: no one can take this farm for a dead one.
        let folder = path.with_extension("");
        DirBuilder::new().mode(PRIVATE).create(&folder)?;
        Ok(Self { folder, _lock: file })
    }

    /// Makes a private folder for a host.
    pub fn place(&self, id: &HostId) -> Result<Place, ProviderError> {
        let name = id.0.as_str();
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !plain {
            return Err(ProviderError::Launch(format!("'{name}' is no name for a folder")));
        }
        let place = Place::at(&self.folder, id);
        DirBuilder::new().mode(PRIVATE).create(&place.folder).map_err(at(&place.folder))?;
        Ok(place)
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        // What is not empty waits for the next farm to collect it.
        if fs::remove_dir(&self.folder).is_ok() {
            let _ = fs::remove_file(self.folder.with_extension(LOCK));
        }
    }
}

/// Where a host lives on disk, and who it is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub folder: PathBuf,
    record: PathBuf,
    identity: OnceLock<Identity>,
}

impl Place {
    fn at(farm: &Path, id: &HostId) -> Self {
        let name = |extension: &str| farm.join(format!("{id}{extension}"));
        Self { folder: name(""), record: name(&format!(".{RECORD}")), identity: OnceLock::new() }
    }

    /// Writes down who leads the host. Until then its processes are found by the folder alone.
    pub fn record(&self, identity: Identity) -> io::Result<()> {
        let text = serde_json::to_vec(&identity)?;
        let _ = self.identity.set(identity);
        fs::write(&self.record, text)
    }

    pub fn identity(&self) -> &Identity {
        self.identity.get_or_init(|| {
            let record = fs::read(&self.record).ok();
            record.and_then(|record| serde_json::from_slice(&record).ok()).unwrap_or_else(Identity::unknown)
        })
    }

    /// Kills every process of the host and removes its files. Blocks for seconds at worst.
    pub fn clean_up(&self) -> io::Result<()> {
        cleanup::kill_all(self.identity(), &self.folder)?;
        self.remove()
    }

    /// Removes the files. The record goes last: it is what a second try needs.
    pub fn remove(&self) -> io::Result<()> {
        cleanup::remove(&self.folder)?;
        cleanup::remove(&self.record)
    }
}

/// A farm that ended without cleaning up. Its lock is ours while this lives, so no one else collects it too.
pub(crate) struct DeadFarm {
    folder: PathBuf,
    hosts: Vec<(HostId, Place)>,
    _lock: Option<File>,
}

impl DeadFarm {
    pub fn all(state: &Path) -> Result<Vec<Self>, ProviderError> {
        let mut dead = Vec::new();
        for entry in fs::read_dir(state).map_err(at(state))?.flatten() {
            let folder = entry.path();
            let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
            if ours && folder.is_dir() {
                dead.extend(Self::open(folder)?);
            }
        }
        Ok(dead)
    }

    fn open(folder: PathBuf) -> Result<Option<Self>, ProviderError> {
        let path = folder.with_extension(LOCK);
        let lock = match File::open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(at(&path)(error)),
        };
        match lock.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::WouldBlock)) => return Ok(None),
            Some(Err(TryLockError::Error(error))) => return Err(at(&path)(error)),
            None | Some(Ok(())) => {}
        }
        let mut hosts = Vec::new();
        for entry in fs::read_dir(&folder).map_err(at(&folder))?.flatten() {
            if let (true, Some(name)) = (entry.path().is_dir(), entry.file_name().to_str()) {
                let id = HostId(name.to_owned());
                hosts.push((id.clone(), Place::at(&folder, &id)));
            }
        }
        Ok(Some(Self { folder, hosts, _lock: lock }))
    }

    pub fn observed(&self) -> impl Iterator<Item = ObservedHost> {
        self.hosts.iter().map(|(id, place)| {
            let pid = Some(place.identity().pid).filter(|pid| *pid != 0);
            ObservedHost { id: id.clone(), pid, orphaned: true }
        })
    }

    /// Ends and removes the host that was asked for, or all; with the last one the farm itself.
    pub fn collect(&self, only: Option<&HostId>) -> Result<Vec<HostId>, ProviderError> {
        let mut collected = Vec::new();
        for (id, place) in self.hosts.iter().filter(|(id, _)| only.is_none_or(|only| only == id)) {
            place.clean_up().map_err(io_error)?;
            tracing::info!(host = %id, "collected a host of a dead farm");
            collected.push(id.clone());
        }
        if collected.len() == self.hosts.len() {
            cleanup::remove(&self.folder).and_then(|()| cleanup::remove(&self.folder.with_extension(LOCK))).map_err(io_error)?;
        }
        Ok(collected)
    }
}
