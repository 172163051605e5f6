//! The result branch goes to the remote that the checkout came from: with the user's own credentials and transport, and
//! still with nothing run that the repository configured. In: branch and commit. Out: what git said.
//!
//! Nothing of others is overwritten: a branch of that name is replaced only where every commit on it that ours lacks
//! was made by us, and only from exactly there (`--force-with-lease`).

use super::{Git, GitError, Repo, patience};
use crate::core::Commit;

/// Variables of the user that say how to reach a remote.
const REACH: [&str; 9] = [
    "HOME",
    "XDG_CONFIG_HOME",
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "DISPLAY",
    "XDG_RUNTIME_DIR",
];
/// The same, by how they begin.
const REACH_PREFIXES: [&str; 7] =
    ["GIT_SSH", "GIT_ASKPASS", "SSH_ASKPASS", "GIT_SSL_", "GIT_HTTP_", "GIT_PROXY_", "GIT_CONFIG_"];
/// Proxies, in either case.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];
/// Settings that every call over the network has besides `TRUSTED`.
const NETWORK: [(&str, &str); 6] = [
    // As git has them by itself; `TRUSTED` forbids all.
    ("protocol.allow", "user"),
    ("protocol.ext.allow", "never"),
    // What sends nothing for half a minute is dead.
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "30"),
    ("submodule.recurse", "false"),
    ("push.gpgSign", "false"),
];
/// How long all of it may take.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(2);

/// A header that the forge's own address wants.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// `https://host/`.
    pub server: String,
    /// The header's value.
    pub value: String,
}

/// What a push came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The branch is there now.
    Moved,
    /// It stood there already.
    Already,
}

/// Why a branch was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// There is nowhere to push to.
    #[error("the repository has no remote `{0}`")]
    NoRemote(String),
    /// Somebody else's work would be lost.
    #[error("`{branch}` on {remote} has commits that are not ours ({commit} is the first)")]
    NotOurs {
        /// The branch.
        branch: String,
        /// The remote.
        remote: String,
        /// One of these commits.
        commit: String,
    },
    /// This is no commit: pushed as it stands it could delete the branch, or name another one.
    #[error("`{0}` is no commit")]
    NoCommit(String),
    /// git said no.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl Repo {
    /// The remote that the checkout came from: that of its branch, else `origin`.
    ///
    /// # Errors
    /// There is no such remote.
    pub fn remote(&self) -> Result<String, PushError> {
        let branch = self.current_branch()?;
        let of_branch = branch.and_then(|branch| self.git().run(&["config", &format!("branch.{branch}.remote")]).ok());
        // An address may stand there instead of a name (`gh pr checkout`), with a password in it.
        let named = of_branch.filter(|name| self.remote_url(name).is_ok());
        let name = named.unwrap_or_else(|| "origin".to_owned());
        self.remote_url(&name).map(|_| name)
    }

    /// A remote's address, as pushes use it.
    ///
    /// # Errors
    /// There is no such remote.
    pub fn remote_url(&self, name: &str) -> Result<String, PushError> {
        let url = self.git().output(&["remote", "get-url", "--push", "--", name], Vec::new())?;
        if url.code == 0 { Ok(url.text()) } else { Err(PushError::NoRemote(without_userinfo(name))) }
    }

    /// Puts `branch` of the remote to `commit`. `env` is the user's environment; `authorization` is used where the
    /// user's own settings have none for that server.
    ///
    /// # Errors
    /// The remote said no, or has work of others there; or `commit` is none.
    pub fn push(
        &self,
        remote: &str,
        branch: &str,
        commit: &Commit,
        env: &[(String, String)],
        authorization: Option<&Authorization>,
    ) -> Result<Pushed, PushError> {
        if !is_commit(commit.as_str()) {
            return Err(PushError::NoCommit(commit.to_string()));
        }
        // The run is over: whatever gives way now gives way to the end of the job.
        patience::hurry(PATIENCE);
        let git = self.reaching_out(remote, env, authorization)?;
        let name = format!("refs/heads/{branch}");
        let there = git.run(&["ls-remote", "--", remote, &name])?;
        let there = there.split_whitespace().next().map(str::to_owned);
        if there.as_deref() == Some(commit.as_str()) {
            return Ok(Pushed::Already);
        }
        if let Some(there) = &there {
            check_ours(&git, remote, branch, there, commit)?;
        }
        let lease = format!("--force-with-lease={name}:{}", there.unwrap_or_default());
        let what = format!("{commit}:{name}");
        git.run(&[
            "push",
            "--porcelain",
            "--no-verify",
            "--no-recurse-submodules",
            "--no-follow-tags",
            &lease,
            "--",
            remote,
            &what,
        ])?;
        Ok(Pushed::Moved)
    }

    fn reaching_out(
        &self,
        remote: &str,
        env: &[(String, String)],
        authorization: Option<&Authorization>,
    ) -> Result<Git, PushError> {
        let mut git = self.git().giving_way().as_user(reach(env));
        for (key, value) in NETWORK {
            git = git.with_config(key, value);
        }
        let url = self.remote_url(remote)?;
        let Some(authorization) = authorization.filter(|a| url.starts_with(&a.server)) else { return Ok(git) };
        // Two such headers are one too many: actions/checkout leaves one behind.
        let has_own = git.output(&["config", "--get-urlmatch", "http.extraheader", &url], Vec::new())?.code == 0;
        if has_own {
            return Ok(git);
        }
        let key = format!("http.{}.extraheader", authorization.server);
        Ok(git.with_config(&key, &format!("Authorization: {}", authorization.value)))
    }
}

/// True for the whole name of an object, in SHA-1 or SHA-256.
pub fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A text whose addresses have neither name nor password in them.
pub fn without_userinfo(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| matches!(c, '/' | '\'' | '"') || c.is_whitespace()).unwrap_or(part.len());
        let host = part[..end].rfind('@').map_or(0, |at| at + 1);
        clean.push_str("://");
        clean.push_str(&part[host..]);
    }
    clean
}

/// The user's variables that say how to reach a remote.
fn reach(env: &[(String, String)]) -> Vec<(String, String)> {
    let is_one = |name: &str| {
        REACH.contains(&name)
            || REACH_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || PROXIES.iter().any(|proxy| name.eq_ignore_ascii_case(proxy))
    };
    env.iter().filter(|(name, _)| is_one(name)).cloned().collect()
}

/// Fails where the remote's branch has a commit that ours lacks and that we did not make.
fn check_ours(git: &Git, remote: &str, branch: &str, there: &str, commit: &Commit) -> Result<(), PushError> {
    if git.commit(there)?.is_none() {
        let name = format!("refs/heads/{branch}");
        git.run(&["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--refmap=", "--", remote, &name])?;
    }
    let lost = git.run(&["log", "--format=%H %ce", there, &format!("^{commit}")])?;
    let foreign = lost.lines().filter_map(|line| line.split_once(' ')).find(|(_, who)| *who != super::EMAIL);
    match foreign {
        None => Ok(()),
        Some((other, _)) => {
            let (branch, remote) = (branch.to_owned(), remote.to_owned());
            Err(PushError::NotOurs { branch, remote, commit: other.chars().take(12).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_reaches_a_remote_comes_from_the_user() {
        let names =
            ["HOME", "GIT_DIR", "GIT_SSH_COMMAND", "GITHUB_TOKEN", "HTTPS_PROXY", "GIT_CONFIG_COUNT", "GIT_EDITOR"];
        let env = names.map(|name| (name.to_owned(), "x".to_owned()));
        let kept: Vec<String> = reach(&env).into_iter().map(|(name, _)| name).collect();
        assert_eq!(kept, ["HOME", "GIT_SSH_COMMAND", "HTTPS_PROXY", "GIT_CONFIG_COUNT"]);
    }

    #[test]
    fn only_the_whole_name_of_an_object_is_a_commit() {
        let check = |name: &str, expected: bool| assert_eq!(is_commit(name), expected, "{name}");
        check(&"0a".repeat(20), true);
        check(&"0a".repeat(32), true);
        for name in ["", "HEAD", "+", &"0a".repeat(19), &"0g".repeat(20), "main:refs/heads/main"] {
            check(name, false);
        }
    }

    #[test]
    fn an_address_is_shown_without_name_and_password() {
        let check = |text: &str, expected: &str| assert_eq!(without_userinfo(text), expected);
        check("https://x-access-token:secret@github.com/o/r", "https://github.com/o/r");
        check("'https://a:b@h/o' and ssh://git@h:22/o", "'https://h/o' and ssh://h:22/o");
        check("origin, me@example.com, https://h/a@b", "origin, me@example.com, https://h/a@b");
    }
}
