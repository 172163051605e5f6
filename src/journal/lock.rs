//! One session a result branch: a kernel lock on a file that names its holder. The kernel drops the lock with the
//! process, so a dead holder never needs to be cleared away.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The lock of a result branch, held until it is dropped.
#[derive(Debug)]
pub struct BranchLock {
    _file: File,
}

/// Why a lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum Held {
    /// Somebody works on the branch.
    #[error("another session works on this branch: {holder}")]
    By {
        /// What the holder wrote about itself: pid and session.
        holder: String,
    },
    /// The lock file cannot be made.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
}

impl BranchLock {
    /// Takes the lock, without waiting. `holder` is what others are told.
    ///
    /// # Errors
    /// It is held, or the file cannot be made.
    pub fn take(path: &Path, holder: &str) -> Result<Self, Held> {
        let io = |source| Held::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(io)?;
                return Err(Held::By { holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(holder.as_bytes())).map_err(io)?;
        Ok(Self { _file: file })
    }
}
