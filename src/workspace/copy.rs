//! Copies of trees, and the throw-away `.git` that lets an agent's own git commands work and reach nothing of ours.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::WorkspaceError;
use crate::core::Commit;
use crate::git::patience;

/// Base files are given times this long ago, so that git's index never takes an agent's edit for an old file.
const AGE: Duration = Duration::from_mins(1);

/// Copies a tree: links, modes and times kept, blocks shared where the file system can. `to` is a new name in a
/// directory that is there.
pub(super) fn tree(from: &Path, to: &Path) -> Result<(), WorkspaceError> {
    let (source, target) = (from.display().to_string(), to.display().to_string());
    // It works in the work directory, where a resume looks for what is still at work.
    let dir = to.parent().unwrap_or(to);
    run("cp", &["-a", "--reflink=auto", "--", &source, &target], dir)
        .map_err(|e| WorkspaceError::Copy { from: from.to_owned(), message: e.to_string() })
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

/// Removes a tree, however deep, although an agent took write permission from directories in it.
pub(super) fn remove_tree(dir: &Path) -> io::Result<()> {
    let path = dir.display().to_string();
    let root = Path::new("/");
    if run("rm", &["-rf", "--", &path], root).is_ok() {
        return Ok(());
    }
    run("chmod", &["-R", "u+rwX", "--", &path], root)?;
    run("rm", &["-rf", "--", &path], root)
}

/// Runs one of the core utilities, which know every depth, every link and every kind of file. Nothing of our
/// environment goes with it but the way to it.
fn run(program: &str, args: &[&str], dir: &Path) -> io::Result<()> {
    let path = std::env::var("PATH").ok().map(|path| ("PATH", path));
    let expression = patience::command(program, args, true)?.full_env(path).dir(dir);
    let expression = expression.stdin_null().stdout_null().stderr_capture().unchecked();
    let output = patience::run(&expression, program == "cp")?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).lines().take(3).collect::<Vec<_>>().join("; ");
    Err(io::Error::other(format!("{program}: {message}")))
}
