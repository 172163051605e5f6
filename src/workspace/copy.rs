//! Copies of trees, and the throw-away `.git` that lets an agent's own git commands work and reach nothing of ours.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::WorkspaceError;
use crate::core::Commit;

/// Base files are given times this long ago, so that git's index never takes an agent's edit for an old file.
const AGE: Duration = Duration::from_mins(1);

/// Copies a tree: links, modes and times kept, blocks shared where the file system can.
pub(super) fn tree(from: &Path, to: &Path) -> Result<(), WorkspaceError> {
    #[expect(clippy::disallowed_methods, reason = "cp knows reflinks, sparse files and every kind of file")]
    let expression =
        duct::cmd("cp", ["-a", "--reflink=auto", "--", &from.display().to_string(), &to.display().to_string()]);
    let expression = expression.before_spawn(|command| {
        std::os::unix::process::CommandExt::process_group(command, 0);
        Ok(())
    });
    let copied = expression.stdin_null().stdout_null().stderr_capture().unchecked().run();
    let failed = |message: String| WorkspaceError::Copy { from: from.to_owned(), message };
    let output = copied.map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// Gives every regular file below `dir` the same time in the past.
pub(super) fn age(dir: &Path) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "file times are the shell's business")]
    let then = SystemTime::now() - AGE;
    age_below(dir, then)
}

fn age_below(dir: &Path, then: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            age_below(&entry.path(), then)?;
        } else if kind.is_file() {
            fs::File::open(entry.path())?.set_modified(then)?;
        }
    }
    Ok(())
}

/// A `.git` with the commit checked out on a branch `work`, no remote, no hook, and objects by reference.
pub(super) fn throwaway_git(
    dir: &Path,
    objects: &Path,
    private: &Path,
    head: &Commit,
    index: &Path,
    format: &str,
) -> io::Result<()> {
    let git = dir.join(".git");
    fs::create_dir_all(git.join("objects/info"))?;
    fs::create_dir_all(git.join("refs/heads"))?;
    fs::write(git.join("HEAD"), "ref: refs/heads/work\n")?;
    fs::write(git.join("refs/heads/work"), format!("{head}\n"))?;
    fs::write(git.join("objects/info/alternates"), format!("{}\n{}\n", objects.display(), private.display()))?;
    let extension = if format == "sha256" { "[extensions]\n\tobjectformat = sha256\n" } else { "" };
    let version = u8::from(format == "sha256");
    let config = format!(
        "[core]\n\trepositoryformatversion = {version}\n\tbare = false\n[user]\n\tname = agent\n\temail = agent@localhost\n[gc]\n\tauto = 0\n{extension}"
    );
    fs::write(git.join("config"), config)?;
    let shallow = private.with_file_name("shallow");
    if shallow.exists() {
        fs::copy(shallow, git.join("shallow"))?;
    }
    fs::copy(index, git.join("index")).map(|_| ())
}

/// Removes a tree although an agent took write permission from directories in it.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(dir)?;
            fs::remove_dir_all(dir)
        }
        other => other,
    }
}

fn make_writable(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}
