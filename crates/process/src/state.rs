//! The state folder. What lies in it says which processes to end and which files to remove, so nobody but the farm's user may
//! write there: a folder that somebody else could have prepared is refused.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Mode of the folders that a farm makes.
pub(crate) const PRIVATE: u32 = 0o700;
const OTHERS_WRITE: u32 = 0o022;

/// Makes the folder if need be, and gives its full path. A link is refused too: who made it may make it point elsewhere.
pub(crate) fn open(folder: &Path) -> io::Result<PathBuf> {
    // Without a slash at its end, which would follow a link.
    let folder: PathBuf = folder.components().collect();
    make(&folder)?;
    match objection(&folder, &fs::symlink_metadata(&folder)?) {
        None => folder.canonicalize(),
        Some(text) => Err(io::Error::new(io::ErrorKind::PermissionDenied, text)),
    }
}

fn make(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(PRIVATE).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// What speaks against the folder, and what to do about it.
fn objection(folder: &Path, found: &Metadata) -> Option<String> {
    let me = rustix::process::geteuid().as_raw();
    let (what, mend) = if found.is_symlink() {
        ("is a link".to_owned(), "name the folder itself".to_owned())
    } else if !found.is_dir() {
        ("is no folder".to_owned(), "remove it".to_owned())
    } else if found.uid() != me {
        (format!("does not belong to user {me}, as whom the farm runs"), "have its owner remove it".to_owned())
    } else if found.mode() & OTHERS_WRITE != 0 {
        ("lets other users write".to_owned(), format!("run `chmod go-w {}`, if what is in it is yours", folder.display()))
    } else {
        return None;
    };
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    Some(format!("{} {what} (owner {owner}, mode {mode:04o}): {mend}, or use another folder", folder.display()))
}
