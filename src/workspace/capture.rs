//! Capturing: what an agent left in its workspace becomes a commit in the private store. The agent's own `.git`,
//! its commits, hooks and filters play no part; only the files count.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use memchr::memmem;
use sha2::{Digest, Sha256};

use super::leaks::Leaks;
use super::{WorkspaceError, Workspaces, io_at};
use crate::core::{Capture, Commit, FileChange};
use crate::git::{GitError, Output};
use crate::journal::write_atomic;
use crate::text::Redactor;

/// Changed files beyond this many are counted and not listed.
const LISTED_FILES: usize = 1000;
/// A patch larger than this is cut.
const MAX_PATCH_BYTES: usize = 4 << 20;
/// Binary files that are searched for secrets.
const MAX_BINARIES: usize = 1000;
/// Longest binary file that is searched for secrets, bytes.
const MAX_BINARY_BYTES: usize = 1 << 20;

/// What to capture, and how to name it.
pub struct CaptureRequest<'a> {
    /// The workspace.
    pub name: &'a str,
    /// The commit it was made from.
    pub onto: &'a Commit,
    /// Message of the commit.
    pub message: &'a str,
    /// Files that are taken as they were before, whatever the workspace holds.
    pub keep: &'a [&'a str],
    /// Where the patch is kept.
    pub patch: &'a Path,
    /// What the path policy says of the changed files, all of them.
    pub policy: &'a dyn Fn(&[FileChange]) -> Option<String>,
    /// Finds secrets.
    pub redactor: &'a Redactor,
}

impl Workspaces {
    /// Captures a workspace. It stays until `discard`: a capture that nobody heard of must be possible again.
    ///
    /// # Errors
    /// The disk or git said no. A tree that must not be integrated is an answer, not an error.
    pub fn capture(&self, request: &CaptureRequest<'_>) -> Result<Capture, WorkspaceError> {
        let dir = self.tree_dir(request.name);
        let git = self.store().with_tree(&dir, &self.unlocked_index(request.name)?).giving_way();
        // A link in its place would take the removal below, and git, to wherever it points.
        if !fs::symlink_metadata(&dir).is_ok_and(|meta| meta.is_dir()) {
            let why = "the agent removed its own workspace, or put something else in its place".to_owned();
            return Ok(Capture { rejected: Some(why), ..Capture::default() });
        }
        // An agent that locked itself out must not lock us out.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).map_err(io_at(&dir))?;
        let own_git = dir.join(".git");
        super::remove(&own_git)?;
        let kept: Vec<String> = request.keep.iter().map(|path| format!(":(exclude,literal){path}")).collect();
        let args = ["add", "--all", "--verbose", "--", "."].into_iter().chain(kept.iter().map(String::as_str));
        let args: Vec<&str> = args.collect();
        let added = git.output(&args, Vec::new())?;
        if added.code != 0 && self.machine_is_at_fault(request.name, &added) {
            return Err(GitError::Failed { command: args.join(" "), code: added.code, stderr: added.stderr }.into());
        }
        if let Some(why) = refusal(&added) {
            return Ok(Capture { rejected: Some(format!("the tree cannot be captured: {why}")), ..Capture::default() });
        }
        if added.stdout.is_empty() {
            return Ok(Capture::default());
        }
        let tree = git.run(&["write-tree"])?;
        let changes = git.checked(
            &["diff-tree", "-r", "-z", "--raw", "--numstat", "--no-renames", request.onto.as_str(), &tree],
            Vec::new(),
        )?;
        let (mut files, rejected) = parse_changes(&changes.stdout);
        if files.is_empty() {
            return Ok(Capture::default());
        }
        let commit = self.commit_tree(&tree, request.onto, request.message, None)?;
        let patch = self.patch(request.onto, &commit, &[])?;
        let binaries = self.binaries_as_text(request.onto, &commit, &files)?;
        let in_base = |secret: &[u8]| self.holds(request.onto, secret);
        let secrets = Leaks::new(request.redactor, &in_base).of(&files, &[&patch, &binaries]);
        let patch_sha256 = keep_patch(request, &patch);
        let violation = (request.policy)(&files);
        let file_count = files.len() as u64;
        let changed_lines = files.iter().map(|f| f.added.saturating_add(f.removed)).fold(0, u64::saturating_add);
        files.truncate(LISTED_FILES);
        let commit = Some(commit);
        Ok(Capture { commit, files, file_count, changed_lines, rejected, violation, secrets, patch_sha256 })
    }

    /// The patch between two commits, of these paths or of all.
    fn patch(&self, from: &Commit, to: &Commit, more: &[&str]) -> Result<Vec<u8>, WorkspaceError> {
        let args = ["diff-tree", "-p", "--no-ext-diff", "--no-textconv", from.as_str(), to.as_str()];
        Ok(self.store().checked(&[&args, more].concat(), Vec::new())?.stdout)
    }

    /// The patch of files whose lines the usual one leaves out: one byte, or an attribute, makes a file binary. Large
    /// ones are left out here, too: they are data.
    fn binaries_as_text(&self, from: &Commit, to: &Commit, files: &[FileChange]) -> Result<Vec<u8>, WorkspaceError> {
        let is_binary = |file: &&FileChange| file.status != 'D' && file.added == 0 && file.removed == 0;
        let paths: Vec<&str> = files.iter().filter(is_binary).take(MAX_BINARIES).map(|file| &*file.path).collect();
        let objects: String = paths.iter().map(|path| format!("{to}:{path}\0")).collect();
        let sizes = self.store().checked(&["cat-file", "--batch-check=%(objectsize)", "-z"], objects.into_bytes())?;
        let sizes = String::from_utf8_lossy(&sizes.stdout);
        let is_small = |size: &str| size.parse::<usize>().is_ok_and(|bytes| bytes <= MAX_BINARY_BYTES);
        let small = paths.iter().zip(sizes.lines()).filter(|(_, size)| is_small(size));
        let small: Vec<String> = small.map(|(path, _)| format!(":(literal){path}")).collect();
        if small.is_empty() {
            return Ok(Vec::new());
        }
        let more = ["--text", "--"].into_iter().chain(small.iter().map(String::as_str));
        self.patch(from, to, &more.collect::<Vec<_>>())
    }

    /// True where a file or a name of a commit holds a text. The text goes over a pipe: all can see arguments.
    fn holds(&self, commit: &Commit, text: &[u8]) -> bool {
        let found = |args: &[&str], stdin: &[u8]| self.store().output(args, stdin.to_vec()).ok();
        let grep = ["grep", "-q", "--fixed-strings", "--text", "-f", "-", commit.as_str()];
        let names = || found(&["ls-tree", "-r", "-z", "--name-only", commit.as_str()], b"");
        found(&grep, text).is_some_and(|output| output.code == 0)
            || names().is_some_and(|output| memmem::find(&output.stdout, text).is_some())
    }

    /// True where git failed for reasons that no agent can make: it was ended, the disk is full, or somebody holds our
    /// index. Git's words hold names that agents choose, so the facts are looked at.
    fn machine_is_at_fault(&self, name: &str, added: &Output) -> bool {
        let locked = || self.index(name).with_extension("index.lock").exists();
        let full = || {
            let is_full = |fs: rustix::fs::StatVfs| fs.f_bavail == 0 || (fs.f_files > 0 && fs.f_favail == 0);
            rustix::fs::statvfs(self.store_dir()).is_ok_and(is_full)
        };
        added.code == -1 || locked() || (added.stderr.contains("No space left on device") && full())
    }

    /// Makes a commit in the private store. With a date, the same call gives the same commit.
    pub(super) fn commit_tree(
        &self,
        tree: &str,
        parent: &Commit,
        message: &str,
        wall_ms: Option<i64>,
    ) -> Result<Commit, WorkspaceError> {
        let mut git = self.store();
        if let Some(wall_ms) = wall_ms {
            let date = format!("@{} +0000", wall_ms.div_euclid(1000));
            git = git.with_env("GIT_AUTHOR_DATE", &date).with_env("GIT_COMMITTER_DATE", &date);
        }
        let output =
            git.checked(&["commit-tree", tree, "-p", parent.as_str(), "-F", "-"], message.as_bytes().to_vec())?;
        Ok(Commit::new(output.text()))
    }

    /// Where an attempt's files are.
    pub fn attempt_dir(&self, task: &crate::core::TaskId, attempt: u32) -> PathBuf {
        self.tree_dir(&Self::name_of(task, attempt))
    }
}

/// Writes the patch without its secrets; returns the hash by which reports know it.
fn keep_patch(request: &CaptureRequest<'_>, patch: &[u8]) -> Option<String> {
    let clean = request.redactor.given(patch);
    let kept = &clean[..clean.len().min(MAX_PATCH_BYTES)];
    // It is for readers; an agent that locked its directory must not end the run with that.
    if let Err(error) = write_atomic(request.patch, kept) {
        tracing::warn!("{} cannot be written: {error}", request.patch.display());
        return None;
    }
    Some(format!("{:x}", Sha256::digest(kept)))
}

/// What `git add` could not take, with its path. It only warns of a directory that it cannot open.
fn refusal(added: &Output) -> Option<String> {
    let told = |line: &&str| line.starts_with("error:") || line.starts_with("warning: could not open directory");
    let lines: Vec<&str> = added.stderr.lines().filter(told).take(5).collect();
    match (added.code, lines.is_empty()) {
        (0, true) => None,
        (_, false) => Some(lines.join("; ").chars().take(1000).collect()),
        (code, true) => Some(added.stderr.lines().last().map_or(format!("git add failed ({code})"), str::to_owned)),
    }
}

/// Reads `diff-tree -z --raw --numstat`: first all raw records, then all counts.
fn parse_changes(output: &[u8]) -> (Vec<FileChange>, Option<String>) {
    let mut files: Vec<FileChange> = Vec::new();
    let mut index = HashMap::new();
    let mut rejected = None;
    let mut fields = output.split(|b| *b == 0).map(String::from_utf8_lossy);
    while let Some(field) = fields.next() {
        if let Some(raw) = field.strip_prefix(':') {
            let path = fields.next().unwrap_or_default().into_owned();
            let parts: Vec<&str> = raw.split(' ').collect();
            if parts.get(1) == Some(&"160000") {
                rejected.get_or_insert(format!(
                    "{path} is a repository of its own; nested repositories cannot be integrated"
                ));
            }
            let status = parts.get(4).and_then(|s| s.chars().next()).unwrap_or('M');
            index.insert(path.clone(), files.len());
            files.push(FileChange { path, status, added: 0, removed: 0 });
        } else if let Some((added, removed, path)) = counts(&field)
            && let Some(file) = index.get(path).and_then(|i| files.get_mut(*i))
        {
            (file.added, file.removed) = (added, removed);
        }
    }
    (files, rejected)
}

fn counts(field: &str) -> Option<(u64, u64, &str)> {
    let mut parts = field.splitn(3, '\t');
    // Binary files have `-` for both counts.
    let mut number = || parts.next().map(|n| n.parse().unwrap_or(0));
    let (added, removed) = (number()?, number()?);
    Some((added, removed, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_records_and_counts_are_put_together() {
        let output = b":000000 100644 0000 1111 A\0a b.txt\0:100644 000000 2222 0000 D\0old\0\
            3\t0\ta b.txt\0-\t-\told\0";
        let (files, rejected) = parse_changes(output);
        assert_eq!(rejected, None);
        let shown: Vec<(&str, char, u64, u64)> =
            files.iter().map(|f| (f.path.as_str(), f.status, f.added, f.removed)).collect();
        assert_eq!(shown, [("a b.txt", 'A', 3, 0), ("old", 'D', 0, 0)]);
    }

    #[test]
    fn a_nested_repository_is_rejected() {
        let (_, rejected) = parse_changes(b":000000 160000 0000 1111 A\0vendor/x\0");
        assert!(rejected.unwrap().contains("vendor/x"));
    }
}
