//! Where sessions lie on disk: `.flow/maestro/sessions/<id>/`, and what is in each.

use std::io;
use std::path::{Path, PathBuf};

use crate::core::{SessionId, TaskId};

use super::files::{make_dir, write_atomic};
use crate::sandbox;

/// Largest file that is read for a report: a patch is cut at half of it when it is kept.
const MAX_READ_BYTES: u64 = 8 << 20;

/// `.flow/maestro` of a repository.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store of the checkout at `top`.
    pub fn new(top: &Path) -> Self {
        Self { root: top.join(".flow/maestro") }
    }

    /// Directory of all sessions.
    pub fn sessions_dir(&self) -> PathBuf {
        self.root.join("sessions")
    }

    /// Decisions across sessions.
    pub fn decisions_dir(&self) -> PathBuf {
        self.root.join("decisions")
    }

    /// A session's directory, existing or not.
    pub fn session(&self, id: &SessionId) -> SessionDir {
        SessionDir { root: self.sessions_dir().join(id.as_str()) }
    }

    /// Makes a session's directory. `sessions/` and `decisions/` ignore themselves, so that nobody commits them.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn create(&self, id: &SessionId) -> io::Result<SessionDir> {
        for dir in [self.sessions_dir(), self.decisions_dir()] {
            make_dir(&dir)?;
            let ignore = dir.join(".gitignore");
            if !ignore.exists() {
                write_atomic(&ignore, b"*\n")?;
            }
        }
        let session = self.session(id);
        make_dir(&session.root)?;
        Ok(session)
    }

    /// Ids of all sessions that have a journal, oldest first.
    pub fn list(&self) -> Vec<SessionId> {
        let Ok(entries) = std::fs::read_dir(self.sessions_dir()) else { return Vec::new() };
        let names = entries.flatten().filter(|e| e.path().join("journal.jsonl").is_file());
        let mut ids: Vec<SessionId> = names.filter_map(|e| Some(SessionId::new(e.file_name().to_str()?))).collect();
        ids.sort();
        ids
    }

    /// Lock file of a result branch.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn lock_path(&self, branch: &str) -> io::Result<PathBuf> {
        let dir = self.sessions_dir().join(".locks");
        make_dir(&dir)?;
        let name: String = branch.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        // Two branches must never share a lock because their names look alike.
        Ok(dir.join(format!("{name}-{:08x}.lock", crc32fast::hash(branch.as_bytes()))))
    }
}

/// One session's directory.
#[derive(Clone, Debug)]
pub struct SessionDir {
    root: PathBuf,
}

impl SessionDir {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.root.join("journal.jsonl")
    }

    /// Where an attempt's prompt, streams and patch are kept.
    pub fn attempt(&self, task: &TaskId, attempt: u32) -> PathBuf {
        self.root.join("tasks").join(task.as_str()).join(format!("attempt-{attempt}"))
    }

    /// One of its files, by its path in here; none where it is not there, is no regular file or is larger than any that
    /// is kept. Links are not followed in its last part.
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        let bytes = sandbox::read_tail(&self.root.join(path), MAX_READ_BYTES + 1).ok()?;
        (bytes.len() as u64 <= MAX_READ_BYTES).then_some(bytes)
    }

    /// Where a gate's log and report are kept.
    pub fn gate(&self, round: u32, gate: &str) -> PathBuf {
        self.root.join("gates").join(gate).join(format!("round-{round}"))
    }
}
