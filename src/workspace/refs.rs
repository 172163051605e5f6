//! Our refs in the user's repository: the session's tip, checkpoint tags, the result branch. Each moves only from
//! where we left it, and to where it already stands it may always go: a resume repeats its last move.

use super::{WorkspaceError, Workspaces};
use crate::core::Commit;
use crate::git::GitError;

impl Workspaces {
    fn tip_ref(&self) -> String {
        format!("refs/maestro/{}/tip", self.session)
    }

    /// Name of a checkpoint's tag.
    pub fn tag(&self, n: u32) -> String {
        format!("maestro/{}/{n}", self.session)
    }

    /// Pins the base, unless a tip stands already.
    pub(super) fn pin_tip(&self) -> Result<(), WorkspaceError> {
        let name = self.tip_ref();
        if self.repo.git().commit(&name)?.is_none() {
            self.repo.git().update_refs(&[format!("create {name} {}", self.base)])?;
        }
        Ok(())
    }

    pub(super) fn move_tip(&self, to: &Commit, from: &Commit) -> Result<(), WorkspaceError> {
        let name = self.tip_ref();
        if self.repo.git().commit(&name)?.as_ref() == Some(to) {
            return Ok(());
        }
        Ok(self.repo.git().update_refs(&[format!("update {name} {to} {from}")])?)
    }

    /// Tags a checkpoint and, where it passed, moves the result branch to it.
    ///
    /// # Errors
    /// Somebody else moved the branch; git said no.
    pub fn checkpoint(
        &self,
        n: u32,
        commit: &Commit,
        branch: Option<(&str, Option<&Commit>)>,
    ) -> Result<(), WorkspaceError> {
        let git = self.repo.git();
        let tag = format!("refs/tags/{}", self.tag(n));
        let mut lines = Vec::new();
        if git.commit(&tag)?.as_ref() != Some(commit) {
            lines.push(format!("create {tag} {commit}"));
        }
        if let Some((branch, was)) = branch {
            let name = format!("refs/heads/{branch}");
            match (git.commit(&name)?, was) {
                (Some(now), _) if now == *commit => {}
                (Some(now), Some(was)) if now == *was => lines.push(format!("update {name} {commit} {was}")),
                (None, _) => lines.push(format!("create {name} {commit}")),
                (Some(now), _) => return Err(moved(branch, &now).into()),
            }
        }
        if lines.is_empty() { Ok(()) } else { Ok(git.update_refs(&lines)?) }
    }

    /// Puts the session's tip back to a checkpoint.
    ///
    /// # Errors
    /// git said no.
    pub fn rollback(&self, to: &Commit) -> Result<(), WorkspaceError> {
        Ok(self.repo.git().update_refs(&[format!("update {} {to}", self.tip_ref())])?)
    }
}

fn moved(branch: &str, now: &Commit) -> GitError {
    GitError::Failed {
        command: format!("update-ref refs/heads/{branch}"),
        code: 1,
        stderr: format!("somebody else moved the branch to {now}"),
    }
}
