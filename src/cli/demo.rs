//! `demo`: a complete run on an embedded example: failing tests, an approved PRD, a scripted agent, one task that
//! fails first and recovers. Needs git and a POSIX shell; no key, no network.

use std::path::{Path, PathBuf};

use super::context::check_isolation;
use super::error::CliError;
use super::flags::{DemoArgs, Global, RunArgs};
use super::flags_forge::ForgeArgs;
use super::{output, run, session};
use crate::config::{self, Comment, Config};
use crate::core::Verdict;
use crate::git::Git;
use crate::journal::make_dir;

/// The example repository's files.
const FILES: [(&str, &str); 5] = [
    ("docs/prd.md", include_str!("../../examples/demo/prd.md")),
    (config::PATH, include_str!("../../examples/demo/config.yaml")),
    ("README.md", include_str!("../../examples/demo/README.md")),
    ("tests/run.sh", include_str!("../../examples/demo/tests/run.sh")),
    ("lib/.keep", ""),
];

pub fn demo(global: &Global, args: &DemoArgs) -> Result<Verdict, CliError> {
    // Asked before anything is written, so that a second try with the flag finds the directory empty.
    check_isolation(&Config::default(), args.allow_unsandboxed)?;
    let dir = directory(args)?;
    write_example(&dir)?;
    output::log_line(&format!("[Maestro] The example repository is {}", dir.display()));
    let global = Global { repo: Some(dir.clone()), ..global.clone() };
    let run_args = RunArgs {
        prd: Some(dir.join("docs/prd.md")),
        allow_unsandboxed: args.allow_unsandboxed,
        work_dir: Some(work_dir(&dir)),
        // An example is no news for the pull request of a job that tries it.
        forge: ForgeArgs { comment: Some(Comment::Never), ..ForgeArgs::default() },
        ..RunArgs::default()
    };
    let verdict = run::run(&global, &run_args)?;
    // Only an empty one can be removed; anything left in it is worth a look.
    let _ = std::fs::remove_dir(work_dir(&dir));
    let (_, stored) = session::find(&global, None)?;
    let (dir, session) = (dir.display(), stored.dir.path().display());
    output::print(&format!(
        "Look at what it did:\n  cat {session}/final-report.md\n  cat {session}/junit.xml\n  git -C {dir} log --stat main..maestro/textkit\n  maestro-ci --repo {dir} status"
    ));
    Ok(verdict)
}

/// A new directory, or the given one where it is empty.
fn directory(args: &DemoArgs) -> Result<PathBuf, CliError> {
    let Some(dir) = &args.dir else {
        return Ok(tempfile::Builder::new().prefix("maestro-demo-").tempdir()?.keep());
    };
    make_dir(dir)?;
    if std::fs::read_dir(dir)?.next().is_some() {
        let message = format!("{} is not empty", dir.display());
        return Err(CliError::usage(message).hint("name an empty directory, or none"));
    }
    Ok(dir.canonicalize()?)
}

/// Beside the example, so that everything the demo makes is in one place.
fn work_dir(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".work");
    dir.with_file_name(name)
}

fn write_example(dir: &Path) -> Result<(), CliError> {
    for (name, content) in FILES {
        let path = dir.join(name);
        make_dir(path.parent().unwrap_or(dir))?;
        std::fs::write(path, content)?;
    }
    make_dir(&dir.join(".git"))?;
    let git = Git::at(&dir.join(".git"));
    git.run(&["init", "--quiet", "--template=", "--initial-branch=main"])?;
    // A repository that is made through its own directory counts as bare until it is told.
    git.run(&["config", "core.bare", "false"])?;
    let tree = git.with_tree(dir, &dir.join(".git/index"));
    tree.run(&["add", "--all"])?;
    tree.run(&["commit", "--quiet", "-m", "textkit: tests and an approved PRD"])?;
    Ok(())
}
