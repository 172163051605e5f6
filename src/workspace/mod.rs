//! Workspaces: private copies of one base tree, captured with a git directory that no agent ever had, integrated in
//! a private object store, made durable in the user's repository and pinned there before anybody is told.
//!
//! In: commits and task names. Out: commits, trees and file lists. It decides nothing and starts no agent; the
//! user's checkout and index are never touched.

mod capture;
mod copy;
mod integrate;
mod leaks;
mod refs;

use std::path::{Path, PathBuf};

use crate::core::{Broken, Commit, SessionId, TaskId};
use crate::git::{Git, GitError, Repo};

pub use capture::CaptureRequest;
pub use integrate::Integration;

/// Why a workspace could not be made, captured or integrated.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// What it was about.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A copy failed.
    #[error("copying {} failed: {message}", from.display())]
    Copy {
        /// What was copied.
        from: PathBuf,
        /// What `cp` said.
        message: String,
    },
}

/// What git says where objects or refs are not what they must be. Everything else is the machine's trouble.
const CRITICAL: [&str; 9] = [
    "corrupt",
    "unable to read",
    "bad object",
    "missing",
    "not a valid object",
    "invalid object",
    "but expected",
    "unable to resolve reference",
    "unknown revision",
];

impl WorkspaceError {
    /// As the core wants to hear it.
    pub fn broken(&self) -> Broken {
        let critical = match self {
            Self::Git(GitError::Failed { code, stderr, .. }) => {
                *code != -1 && CRITICAL.iter().any(|words| stderr.contains(words))
            }
            _ => false,
        };
        Broken { message: self.to_string(), critical }
    }
}

pub(crate) fn io_at(path: &Path) -> impl Fn(std::io::Error) -> WorkspaceError + use<> {
    let path = path.to_owned();
    move |source| WorkspaceError::Io { path: path.clone(), source }
}

/// Longest name of a workspace that its home bears, too.
const MAX_HOME_NAME: usize = 12;

/// All workspaces of one session.
#[derive(Clone, Debug)]
pub struct Workspaces {
    repo: Repo,
    session: SessionId,
    root: PathBuf,
    base: Commit,
}

impl Workspaces {
    /// The workspaces of a session below `root`; nothing is made yet.
    pub fn new(repo: Repo, session: SessionId, root: PathBuf, base: Commit) -> Self {
        Self { repo, session, root, base }
    }

    /// Makes the private object store and checks the base commit out, once. Safe to call again.
    ///
    /// # Errors
    /// The disk or git said no.
    pub fn create(&self) -> Result<PathBuf, WorkspaceError> {
        let base = self.base_dir();
        self.make_store()?;
        remove(&base)?;
        std::fs::create_dir_all(&base).map_err(io_at(&base))?;
        let git = self.store().with_tree(&base, &self.base_index()).giving_way();
        git.run(&["read-tree", self.base.as_str()])?;
        git.run(&["checkout-index", "--all", "--force", "--quiet"])?;
        copy::age(&base).map_err(io_at(&base))?;
        Ok(base)
    }

    /// Takes the base tree as it is after `workspace.setup`: what setup made is no agent's work.
    ///
    /// # Errors
    /// git said no.
    pub fn freeze(&self) -> Result<(), WorkspaceError> {
        let base = self.base_dir();
        let git = self.store().with_tree(&base, &self.base_index());
        git.run(&["checkout-index", "--all", "--force", "--quiet"])?;
        git.output(&["update-index", "-q", "--refresh"], Vec::new())?;
        let made = git.run(&["ls-files", "--others", "--exclude-standard", "--directory", "-z"])?;
        let lines: String = made.split('\0').filter(|p| !p.is_empty()).map(|p| format!("/{}\n", escape(p))).collect();
        let exclude = self.store_dir().join("info/exclude");
        std::fs::write(&exclude, lines).map_err(io_at(&exclude))?;
        self.pin_tip()
    }

    /// A private copy of the base tree, brought to a commit, with a throw-away `.git` of its own.
    ///
    /// # Errors
    /// The disk or git said no.
    pub fn prepare(&self, name: &str, onto: &Commit) -> Result<PathBuf, WorkspaceError> {
        let dir = self.tree_dir(name);
        remove(&dir)?;
        copy::tree(&self.base_dir(), &dir)?;
        let index = self.unlocked_index(name)?;
        std::fs::copy(self.base_index(), &index).map_err(io_at(&index))?;
        if *onto != self.base {
            let git = self.store().with_tree(&dir, &index);
            git.run(&["read-tree", "-m", "-u", self.base.as_str(), onto.as_str()])?;
        }
        copy::throwaway_git(
            &dir,
            &self.repo.objects_dir(),
            &self.store_dir().join("objects"),
            onto,
            &index,
            &self.repo.object_format,
        )
        .map_err(io_at(&dir))?;
        Ok(dir)
    }

    /// Removes a workspace.
    ///
    /// # Errors
    /// The disk said no.
    pub fn discard(&self, name: &str) -> Result<(), WorkspaceError> {
        remove(&self.tree_dir(name))?;
        remove(&self.home_dir(name))?;
        remove(&self.index(name))
    }

    /// Removes everything this session keeps outside of the repository.
    ///
    /// # Errors
    /// The disk said no.
    pub fn remove_all(&self) -> Result<(), WorkspaceError> {
        remove(&self.root)
    }

    /// Name of an attempt's workspace.
    pub fn name_of(task: &TaskId, attempt: u32) -> String {
        format!("{task}-{attempt}")
    }

    /// Directory of a workspace.
    pub fn tree_dir(&self, name: &str) -> PathBuf {
        self.root.join("trees").join(name)
    }

    /// Directory of a workspace's private home and temporary files; whoever works there makes it. Its path is short,
    /// because programs make sockets below it, and the address of one has 107 bytes at most (unix(7)).
    pub fn home_dir(&self, name: &str) -> PathBuf {
        let is_short = name.len() <= MAX_HOME_NAME;
        let name = if is_short { name.to_owned() } else { format!("{:08x}", crc32fast::hash(name.as_bytes())) };
        self.root.join("h").join(name)
    }

    /// The same, cleared of what an earlier attempt by that name left there.
    ///
    /// # Errors
    /// The disk said no.
    pub fn fresh_home_dir(&self, name: &str) -> Result<PathBuf, WorkspaceError> {
        let dir = self.home_dir(name);
        remove(&dir)?;
        Ok(dir)
    }

    /// Where the objects are that an attempt's own `.git` refers to.
    pub fn object_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.store_dir().join("objects")];
        dirs.extend(self.repo.object_dirs());
        dirs
    }

    /// The session.
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// Directory of the base tree.
    pub fn base_dir(&self) -> PathBuf {
        self.root.join("base")
    }

    fn base_index(&self) -> PathBuf {
        self.root.join("base.index")
    }

    fn index(&self, name: &str) -> PathBuf {
        self.root.join("trees").join(format!("{name}.index"))
    }

    /// An index of ours that nobody else can be using; a lock on it is that of a git that was killed.
    fn unlocked_index(&self, name: &str) -> Result<PathBuf, WorkspaceError> {
        let index = self.index(name);
        remove(&index.with_extension("index.lock"))?;
        Ok(index)
    }

    fn store_dir(&self) -> PathBuf {
        self.root.join("store.git")
    }

    /// git on the private object store.
    fn store(&self) -> Git {
        Git::at(&self.store_dir())
    }

    /// A bare repository whose objects are private and whose alternate is the user's object store. Safe to call
    /// again; a resume finds it gone where the run before it ended in order.
    ///
    /// # Errors
    /// The disk or git said no.
    pub fn make_store(&self) -> Result<(), WorkspaceError> {
        let dir = self.store_dir();
        if dir.join("objects/info/alternates").exists() {
            return Ok(());
        }
        remove(&dir)?;
        let trees = self.root.join("trees");
        std::fs::create_dir_all(&trees).map_err(io_at(&trees))?;
        std::fs::create_dir_all(&dir).map_err(io_at(&dir))?;
        let format = format!("--object-format={}", self.repo.object_format);
        self.store().run(&["init", "--bare", "--quiet", "--template=", &format])?;
        let info = dir.join("info");
        std::fs::create_dir_all(&info).map_err(io_at(&info))?;
        let shallow = self.repo.git_dir.join("shallow");
        if shallow.exists() {
            std::fs::copy(&shallow, dir.join("shallow")).map_err(io_at(&shallow))?;
        }
        let alternates = dir.join("objects/info/alternates");
        std::fs::create_dir_all(dir.join("objects/info")).map_err(io_at(&alternates))?;
        std::fs::write(&alternates, format!("{}\n", self.repo.objects_dir().display())).map_err(io_at(&alternates))
    }
}

/// Removes a file or a tree; absent is fine.
fn remove(path: &Path) -> Result<(), WorkspaceError> {
    let result = match std::fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(meta) if meta.is_dir() => copy::remove_tree(path),
        Ok(_) => std::fs::remove_file(path),
    };
    result.map_err(io_at(path))
}

/// A path as a pattern of a git exclude file.
fn escape(path: &str) -> String {
    path.chars().flat_map(|c| if "\\*?[]! ".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}
