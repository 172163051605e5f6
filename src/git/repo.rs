//! The user's repository: found from a directory, read, never changed but for our own refs, tags and branch.

use std::path::{Path, PathBuf};

use super::{Git, GitError};
use crate::core::Commit;

/// How deep git follows alternates of alternates.
const MAX_ALTERNATES: usize = 5;

/// Why no repository was found.
#[derive(Debug, thiserror::Error)]
pub enum Discovery {
    /// There is none.
    #[error("{} is not inside a git repository", dir.display())]
    None {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// It has no files.
    #[error("{} is a bare repository; maestro-ci needs a checkout", dir.display())]
    Bare {
        /// The repository.
        dir: PathBuf,
    },
    /// git does not trust it.
    #[error("git does not trust the repository: {message}")]
    Untrusted {
        /// git's words, which name the command that mends it.
        message: String,
    },
    /// git failed otherwise.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// A repository with a checkout.
#[derive(Clone, Debug)]
pub struct Repo {
    /// Top of the checkout.
    pub top: PathBuf,
    /// The repository directory that holds refs and objects.
    pub git_dir: PathBuf,
    /// `sha1` or `sha256`.
    pub object_format: String,
    git: Git,
}

impl Repo {
    /// Finds the repository around a directory.
    ///
    /// # Errors
    /// There is none, it is bare, or git does not trust its owner.
    pub fn discover(dir: &Path) -> Result<Self, Discovery> {
        // The user's own configuration decides here, and only here, whom git trusts (safe.directory).
        let asked = [
            "rev-parse",
            "--is-bare-repository",
            "--path-format=absolute",
            "--git-common-dir",
            "--show-object-format",
            "--show-toplevel",
        ];
        #[expect(
            clippy::disallowed_methods,
            reason = "git's own search for a repository, with the user's trust settings"
        )]
        let expression = duct::cmd("git", asked);
        let run = expression.dir(dir).env("LC_ALL", "C").env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
        let output = run.stdin_null().stdout_capture().stderr_capture().unchecked().run().map_err(GitError::Start)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let lines: Vec<&str> = text.lines().collect();
        match lines.as_slice() {
            ["false", git_dir, format, top] => Ok(Self {
                top: PathBuf::from(top),
                git_dir: PathBuf::from(git_dir),
                object_format: (*format).to_owned(),
                // What the journal says is there must be there after a power cut.
                git: Git::at(Path::new(git_dir)).with_config("core.fsync", "all"),
            }),
            ["true", ..] => Err(Discovery::Bare { dir: dir.to_owned() }),
            _ if stderr.contains("dubious ownership") => Err(Discovery::Untrusted { message: stderr }),
            _ => Err(Discovery::None { dir: dir.to_owned() }),
        }
    }

    /// git on this repository, without a work tree.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// The branch that is checked out here, if any.
    ///
    /// # Errors
    /// git cannot be started.
    pub fn current_branch(&self) -> Result<Option<String>, GitError> {
        let git = self.head_git();
        let output = git.output(&["symbolic-ref", "--quiet", "--short", "HEAD"], Vec::new())?;
        Ok((output.code == 0).then(|| output.text()))
    }

    /// The commit that is checked out here; none in a repository without commits.
    ///
    /// # Errors
    /// git cannot be started.
    pub fn head(&self) -> Result<Option<Commit>, GitError> {
        self.head_git().commit("HEAD")
    }

    /// HEAD is this checkout's own, also in a linked worktree whose refs live elsewhere.
    fn head_git(&self) -> Git {
        let dot_git = self.top.join(".git");
        let own = std::fs::read_to_string(&dot_git).ok();
        let linked = own.as_deref().and_then(|t| t.strip_prefix("gitdir: ")).map(|p| self.top.join(p.trim()));
        linked.map_or_else(|| self.git.clone(), |dir| Git::at(&dir))
    }

    /// Branches that are checked out in this repository's worktrees.
    ///
    /// # Errors
    /// git failed.
    pub fn checked_out_branches(&self) -> Result<Vec<String>, GitError> {
        let list = self.git.run(&["worktree", "list", "--porcelain"])?;
        let heads = list.lines().filter_map(|l| l.strip_prefix("branch refs/heads/"));
        Ok(heads.map(str::to_owned).collect())
    }

    /// Where objects are kept.
    pub fn objects_dir(&self) -> PathBuf {
        self.git_dir.join("objects")
    }

    /// The same, and where it borrows objects from (`git clone --reference`, `--shared`), through as many borders as git
    /// itself passes.
    pub fn object_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = vec![self.objects_dir()];
        let mut level = dirs.clone();
        for _ in 0..MAX_ALTERNATES {
            level = level.iter().flat_map(|dir| alternates(dir)).filter(|dir| !dirs.contains(dir)).collect();
            dirs.extend(level.iter().cloned());
        }
        dirs
    }
}

/// The object directories that this one names, gitrepository-layout(5): a path a line, relative ones from here.
fn alternates(objects: &Path) -> Vec<PathBuf> {
    let list = std::fs::read_to_string(objects.join("info/alternates")).unwrap_or_default();
    let paths = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    paths.map(|path| objects.join(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alternates_are_followed_through_relative_paths_and_never_in_circles() {
        let top = tempfile::tempdir().unwrap();
        let objects = |name: &str| top.path().join(name).join("objects");
        for (name, list) in [("a", "# borrowed\n../../b/objects\n\n"), ("b", "../../a/objects\n"), ("c", "")] {
            std::fs::create_dir_all(objects(name).join("info")).unwrap();
            std::fs::write(objects(name).join("info/alternates"), list).unwrap();
        }
        std::fs::write(objects("b").join("info/alternates"), format!("{}\n", objects("c").display())).unwrap();
        let git = Git::at(top.path());
        let git_dir = top.path().join("a");
        let repo = Repo { top: git_dir.clone(), git_dir, object_format: "sha1".to_owned(), git };
        let b = objects("a").join("../../b/objects");
        assert_eq!(repo.object_dirs(), [objects("a"), b, objects("c")]);
        std::fs::write(objects("c").join("info/alternates"), format!("{}\n", objects("a").display())).unwrap();
        assert_eq!(repo.object_dirs().len(), 3);
    }
}
