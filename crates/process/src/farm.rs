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
use crate::state::PRIVATE;
use crate::{at, cleanup, io_error};

const PREFIX: &str = "farm-";
const LOCK: &str = "lock";
const RECORD: &str = "json";

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
        Self::find(state, |_| true)
    }

    /// Those that have a host of this name.
    pub fn with_host(state: &Path, id: &HostId) -> Result<Vec<Self>, ProviderError> {
        Self::find(state, |farm| farm.join(&id.0).is_dir())
    }

    /// A farm that cannot be read does not hide the others.
    fn find(state: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<Self>, ProviderError> {
        let farms = folders(state).map_err(at(state))?.filter(|(name, folder)| name.starts_with(PREFIX) && wanted(folder));
        let dead = farms.filter_map(|(_, folder)| {
            let opened = Self::open(folder);
            opened.unwrap_or_else(|error| {
                tracing::warn!(%error, "cannot tell what a farm left");
                None
            })
        });
        Ok(dead.collect())
    }

    /// `None` if the farm lives, or went meanwhile.
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
        let hosts = match folders(&folder) {
            Ok(hosts) => hosts.map(|(name, _)| HostId(name)).map(|id| (id.clone(), Place::at(&folder, &id))).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&folder)(error)),
        };
        Ok(Some(Self { folder, hosts, _lock: lock }))
    }

    pub fn observed(&self) -> impl Iterator<Item = ObservedHost> {
        self.hosts.iter().map(|(id, place)| {
            let pid = Some(place.identity().pid).filter(|pid| *pid != 0);
            ObservedHost { id: id.clone(), pid, orphaned: true }
        })
    }

    /// Ends and removes all hosts, and then the farm itself. A host that cannot be is logged, and stays with its farm.
    pub fn collect(&self) -> Vec<HostId> {
        let collected: Vec<HostId> = self.hosts.iter().filter(|(id, place)| collected(id, place)).map(|(id, _)| id.clone()).collect();
        if collected.len() == self.hosts.len()
            && let Err(error) = self.remove()
        {
            tracing::warn!(%error, "a dead farm's folder stays");
        }
        collected
    }

    /// Ends and removes one host, if it is here; with the only one the farm itself.
    pub fn collect_host(&self, id: &HostId) -> Result<(), ProviderError> {
        let Some((_, place)) = self.hosts.iter().find(|(host, _)| host == id) else { return Ok(()) };
        place.clean_up().map_err(io_error)?;
        if self.hosts.len() == 1 { self.remove().map_err(io_error) } else { Ok(()) }
    }

    fn remove(&self) -> io::Result<()> {
        cleanup::remove(&self.folder).and_then(|()| cleanup::remove(&self.folder.with_extension(LOCK)))
    }
}

fn collected(id: &HostId, place: &Place) -> bool {
    let done = place.clean_up();
    match &done {
        Ok(()) => tracing::info!(host = %id, "collected a host of a dead farm"),
        Err(error) => tracing::warn!(host = %id, %error, "a host of a dead farm stays"),
    }
    done.is_ok()
}

/// The folders in a folder, with their names; links to folders are none.
fn folders(folder: &Path) -> io::Result<impl Iterator<Item = (String, PathBuf)>> {
    let entries = fs::read_dir(folder)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))))
}
