//! The one wrapper around git. Nothing that a repository or an agent configured runs: no hooks, no fsmonitor, no
//! external diff, no signing, no pager, no prompt; no configuration but the repository's own file and ours.
//!
//! In: arguments. Out: what git printed, or an error with the command and its words. It knows nothing of sessions.

pub mod patience;
mod push;
mod repo;

use std::io;
use std::path::{Path, PathBuf};

pub use push::{Authorization, PushError, Pushed, is_commit, without_userinfo};
pub use repo::{Discovery, Repo};

use crate::core::Commit;

/// git before this version has no `merge-tree --write-tree`.
pub const MIN_VERSION: (u32, u32) = (2, 38);

/// A git command that could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// git cannot be started.
    #[error("git cannot be started: {0}")]
    Start(#[from] io::Error),
    /// git said no.
    #[error("git {command} failed (exit status {code}): {stderr}")]
    Failed {
        /// Its arguments.
        command: String,
        /// Its exit status.
        code: i32,
        /// Its words.
        stderr: String,
    },
}

/// Settings that win over every configuration file.
const TRUSTED: [(&str, &str); 19] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.safecrlf", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.trustctime", "false"),
    ("core.checkStat", "minimal"),
    // Larger files count as binary: a patch of them is of no use to anyone and takes as much memory.
    ("core.bigFileThreshold", "16m"),
    ("commit.gpgsign", "false"),
    ("tag.gpgsign", "false"),
    ("diff.external", ""),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.allow", "never"),
    ("advice.detachedHead", "false"),
];

/// By this address our commits are known.
const EMAIL: &str = "maestro-ci@localhost";
/// Who makes our commits.
const IDENTITY: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "maestro-ci"),
    ("GIT_AUTHOR_EMAIL", EMAIL),
    ("GIT_COMMITTER_NAME", "maestro-ci"),
    ("GIT_COMMITTER_EMAIL", EMAIL),
];

/// What a git command printed.
#[derive(Debug)]
pub struct Output {
    /// Its exit status; -1 where a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error, for messages.
    pub stderr: String,
}

impl Output {
    /// Standard output as text, without the newline at its end.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }
}

/// git, aimed at a repository directory and, where needed, at a work tree and an index of ours.
#[derive(Clone, Debug)]
pub struct Git {
    env: Vec<(String, String)>,
    dir: PathBuf,
    config: Vec<(String, String)>,
    gives_way: bool,
    /// Variables of the user, whose own configuration counts then, too.
    user: Option<Vec<(String, String)>>,
}

impl Git {
    /// git on a repository directory (`…/.git` or a bare one).
    pub fn at(git_dir: &Path) -> Self {
        let env = vec![("GIT_DIR".to_owned(), git_dir.display().to_string())];
        Self { env, dir: git_dir.to_owned(), config: Vec::new(), gives_way: false, user: None }
    }

    /// The same, on files and an index of ours. Runs in the work tree.
    #[must_use]
    pub fn with_tree(&self, work_tree: &Path, index: &Path) -> Self {
        let mut git = self.with_env("GIT_WORK_TREE", &work_tree.display().to_string());
        work_tree.clone_into(&mut git.dir);
        git.with_env("GIT_INDEX_FILE", &index.display().to_string())
    }

    /// The same, with one more variable.
    #[must_use]
    pub fn with_env(&self, name: &str, value: &str) -> Self {
        let mut git = self.clone();
        git.env.push((name.to_owned(), value.to_owned()));
        git
    }

    /// The same, with one more setting.
    #[must_use]
    pub fn with_config(&self, key: &str, value: &str) -> Self {
        let mut git = self.clone();
        git.config.push((key.to_owned(), value.to_owned()));
        git
    }

    /// The same, ended soon after the run is told to stop: for work that a resume repeats.
    #[must_use]
    pub fn giving_way(&self) -> Self {
        Self { gives_way: true, ..self.clone() }
    }

    /// The same, with these variables of the user and the user's own configuration, below ours: for the network.
    #[must_use]
    fn as_user(&self, user: Vec<(String, String)>) -> Self {
        Self { user: Some(user), ..self.clone() }
    }

    /// Runs git and fails where it fails.
    ///
    /// # Errors
    /// git cannot be started, or ended with another exit status than 0.
    pub fn run(&self, args: &[&str]) -> Result<String, GitError> {
        Ok(self.checked(args, Vec::new())?.text())
    }

    /// `run`, with bytes on standard input and bytes back.
    ///
    /// # Errors
    /// As `run`.
    pub fn checked(&self, args: &[&str], stdin: Vec<u8>) -> Result<Output, GitError> {
        let output = self.output(args, stdin)?;
        if output.code == 0 {
            return Ok(output);
        }
        let stderr = output.stderr.trim().chars().take(2000).collect();
        Err(GitError::Failed { command: args.join(" "), code: output.code, stderr })
    }

    /// Runs git and hands everything back, whatever its exit status.
    ///
    /// # Errors
    /// git cannot be started.
    pub fn output(&self, args: &[&str], stdin: Vec<u8>) -> Result<Output, GitError> {
        let expression = patience::command("git", args, self.gives_way)?
            .full_env(self.environment())
            .dir(&self.dir)
            .stdin_bytes(stdin)
            .stdout_capture()
            .stderr_capture()
            .unchecked();
        let output = match patience::run(&expression, self.gives_way) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Ok(Output { code: -1, stdout: Vec::new(), stderr: error.to_string() });
            }
            output => output?,
        };
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Output { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr })
    }

    fn environment(&self) -> Vec<(String, String)> {
        let own = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        let mut env: Vec<(String, String)> = IDENTITY.into_iter().map(own).collect();
        env.extend(
            [
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("GIT_ATTR_NOSYSTEM", "1"),
                ("GIT_TERMINAL_PROMPT", "0"),
                ("GIT_ASKPASS", "true"),
                ("GIT_OPTIONAL_LOCKS", "0"),
                ("GIT_PAGER", "cat"),
                ("GIT_NO_LAZY_FETCH", "1"),
                ("LC_ALL", "C"),
                ("HOME", "/nonexistent"),
            ]
            .map(own),
        );
        env.extend(std::env::var("PATH").ok().map(|path| ("PATH".to_owned(), path)));
        let mut count = 0;
        if let Some(user) = &self.user {
            let ours = ["GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", "GIT_ASKPASS", "HOME"];
            env.retain(|(name, _)| !ours.contains(&name.as_str()));
            env.extend(user.iter().cloned());
            // Settings in variables of the user come before ours, which win.
            count = user.iter().find(|(name, _)| name == "GIT_CONFIG_COUNT").map_or(0, |(_, n)| n.parse().unwrap_or(0));
        }
        let config = TRUSTED.into_iter().map(own).chain(self.config.iter().cloned());
        for (key, value) in config {
            env.push((format!("GIT_CONFIG_KEY_{count}"), key));
            env.push((format!("GIT_CONFIG_VALUE_{count}"), value));
            count += 1;
        }
        env.push(("GIT_CONFIG_COUNT".to_owned(), count.to_string()));
        env.extend(self.env.iter().cloned());
        env
    }

    /// The commit that a revision names, if it names one.
    ///
    /// # Errors
    /// git cannot be started.
    pub fn commit(&self, revision: &str) -> Result<Option<Commit>, GitError> {
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")];
        let output = self.output(&args, Vec::new())?;
        Ok((output.code == 0).then(|| Commit::new(output.text())))
    }

    /// A file's bytes at a commit; none where it is not there.
    ///
    /// # Errors
    /// git cannot be started.
    pub fn file_at(&self, commit: &Commit, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let output = self.output(&["cat-file", "blob", &format!("{commit}:{path}")], Vec::new())?;
        Ok((output.code == 0).then_some(output.stdout))
    }

    /// Moves, makes or checks refs in one transaction; lines as `git update-ref --stdin` takes them.
    ///
    /// # Errors
    /// A ref is not where the transaction expects it; nothing has moved then.
    pub fn update_refs(&self, lines: &[String]) -> Result<(), GitError> {
        let mut input = lines.join("\n");
        input.push('\n');
        self.checked(&["update-ref", "--stdin"], input.into_bytes()).map(|_| ())
    }
}

/// git's version, as (major, minor).
///
/// # Errors
/// git cannot be started.
pub fn version() -> Result<(u32, u32), GitError> {
    let text = Git::at(Path::new("/")).run(&["version"])?;
    let mut numbers =
        text.split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty()).map(|s| s.parse().unwrap_or(0));
    Ok((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
}
