//! Integrating: a captured commit is merged onto the tip in the private store, its objects are made durable in the
//! user's, and the session's ref moves there by compare-and-swap. Doing it again gives the same commit.

use super::{WorkspaceError, Workspaces};
use crate::core::{Commit, Merge};

/// What to integrate, and where.
pub struct Integration<'a> {
    /// What was captured.
    pub commit: &'a Commit,
    /// What it was made from.
    pub onto: &'a Commit,
    /// Where it goes.
    pub tip: &'a Commit,
    /// Message with trailers.
    pub message: &'a str,
    /// Date of the commit, milliseconds since the epoch.
    pub wall_ms: i64,
}

impl Workspaces {
    /// Merges, commits, makes durable, moves the session's ref.
    ///
    /// # Errors
    /// The disk or git said no. A conflict is an answer, not an error.
    pub fn integrate(&self, request: &Integration<'_>) -> Result<Merge, WorkspaceError> {
        let kept = self.store().output(&["cat-file", "-e", request.commit.as_str()], Vec::new())?;
        if kept.code != 0 {
            let message = format!("what was captured ({}) is gone with the work directory", request.commit.short());
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, message);
            return Err(WorkspaceError::Io { path: self.store_dir(), source });
        }
        let tree = if request.onto == request.tip {
            self.store().run(&["rev-parse", &format!("{}^{{tree}}", request.commit)])?
        } else {
            match self.merged_tree(request)? {
                Ok(tree) => tree,
                Err(paths) => return Ok(Merge::Conflict { paths }),
            }
        };
        let commit = self.commit_tree(&tree, request.tip, request.message, Some(request.wall_ms))?;
        self.publish(&commit, request.tip)?;
        Ok(Merge::Integrated { commit })
    }

    /// The merged tree, or the files in conflict.
    fn merged_tree(&self, request: &Integration<'_>) -> Result<Result<String, Vec<String>>, WorkspaceError> {
        let args = [
            "merge-tree",
            "--write-tree",
            "--name-only",
            "--no-messages",
            "-z",
            request.tip.as_str(),
            request.commit.as_str(),
        ];
        let output = self.store().output(&args, Vec::new())?;
        let text = output.text();
        let mut fields = text.split('\0').filter(|f| !f.is_empty()).map(str::to_owned);
        match output.code {
            0 => Ok(Ok(fields.next().unwrap_or_default())),
            1 => Ok(Err(fields.skip(1).collect())),
            code => Err(crate::git::GitError::Failed { command: args.join(" "), code, stderr: output.stderr }.into()),
        }
    }

    /// Copies a commit's new objects to the user's store, then moves the session's ref from `from` to it.
    pub(super) fn publish(&self, commit: &Commit, from: &Commit) -> Result<(), WorkspaceError> {
        let wanted = format!("{commit}\n^{from}\n");
        let pack = self.store().checked(&["pack-objects", "--revs", "--stdout", "-q"], wanted.into_bytes())?;
        let user = self.repo.git().with_config("core.fsyncMethod", "batch");
        user.checked(&["unpack-objects", "-q"], pack.stdout)?;
        self.move_tip(commit, from)
    }

    /// Replaces one file of the tip and integrates that. None where it would change nothing.
    ///
    /// # Errors
    /// The disk or git said no.
    pub fn replace_file(
        &self,
        path: &str,
        content: &[u8],
        tip: &Commit,
        message: &str,
        wall_ms: i64,
    ) -> Result<Option<Commit>, WorkspaceError> {
        let store = self.store();
        let index = self.unlocked_index("status")?;
        super::remove(&index)?;
        let git = store.with_env("GIT_INDEX_FILE", &index.display().to_string());
        let entry = git.run(&["ls-tree", tip.as_str(), "--", path])?;
        let Some((mode, rest)) = entry.split_once(' ') else { return Ok(None) };
        let blob = git.checked(&["hash-object", "-w", "--stdin", "--no-filters"], content.to_vec())?.text();
        if rest.contains(&blob) {
            return Ok(None);
        }
        git.run(&["read-tree", tip.as_str()])?;
        git.run(&["update-index", "--cacheinfo", &format!("{mode},{blob},{path}")])?;
        let tree = git.run(&["write-tree"])?;
        let commit = self.commit_tree(&tree, tip, message, Some(wall_ms))?;
        self.publish(&commit, tip)?;
        Ok(Some(commit))
    }

    /// A file's bytes at a commit of this session; none where it is not there.
    ///
    /// # Errors
    /// git cannot be started.
    pub fn file_at(&self, commit: &Commit, path: &str) -> Result<Option<Vec<u8>>, WorkspaceError> {
        Ok(self.store().file_at(commit, path)?)
    }
}
