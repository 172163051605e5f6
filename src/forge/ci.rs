//! Which CI this is, and what it says of the job and of the change it runs for. Environment variables and the text of
//! GitHub's event file flow in; plain data flows out. Nothing is read or sent here, and a variable without a value
//! counts as none.
//!
//! The names are those of the systems' own documentation. Some CIs run for repositories that lie elsewhere; where their
//! variables point to GitHub, a comment can be made from there, too.

use std::collections::BTreeMap;

use serde_json::Value;

use super::remote::Remote;

/// A CI system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CiKind {
    /// No CI.
    #[default]
    None,
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
    /// Jenkins.
    Jenkins,
    /// Buildkite.
    Buildkite,
    /// `CircleCI`.
    CircleCi,
    /// Azure Pipelines.
    Azure,
    /// One that says no more than `CI=true`.
    Other,
}

/// Where the repository lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgeKind {
    /// GitHub, or a GitHub Enterprise Server.
    GitHub,
    /// GitLab.
    GitLab,
}

/// What is known of the job. Everything may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ci {
    /// Which system.
    pub kind: CiKind,
    /// Where the repository lies, if that is a forge that is spoken to.
    pub forge: Option<ForgeKind>,
    /// Base address of the forge's API, without a slash at its end.
    pub api_url: Option<String>,
    /// Address of the forge itself, without a slash at its end.
    pub server_url: Option<String>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// GitLab's number of the project.
    pub project_id: Option<String>,
    /// Number of the pull or merge request.
    pub pull_request: Option<u64>,
    /// The commit under review: the head of the pull request, never the merge that CI made for it.
    pub head_sha: Option<String>,
    /// The branch that the pull request goes into.
    pub base_ref: Option<String>,
    /// The branch that is built, or the pull request's own.
    pub head_ref: Option<String>,
    /// The repository's default branch.
    pub default_branch: Option<String>,
    /// Who has the repository in which that branch is, where the event says so.
    pub head_owner: Option<String>,
    /// True where the change comes from another repository: the pull request's own token can read only.
    pub from_fork: bool,
    /// Link to the job.
    pub job_url: Option<String>,
    /// GitHub's file with the event, for `with_event`.
    pub event_path: Option<String>,
    /// GitHub's name of the event.
    pub event_name: Option<String>,
}

impl Ci {
    /// What the environment says.
    pub fn from_env(env: &BTreeMap<String, String>) -> Self {
        let vars = Vars(env);
        match kind(&vars) {
            CiKind::GitHub => github(&vars),
            CiKind::GitLab => gitlab(&vars),
            CiKind::Jenkins => jenkins(&vars),
            CiKind::Buildkite => buildkite(&vars),
            CiKind::CircleCi => circle(&vars),
            CiKind::Azure => azure(&vars),
            kind @ (CiKind::None | CiKind::Other) => elsewhere(&vars, kind),
        }
    }

    /// The same with what GitHub's event file says, where it is JSON.
    #[must_use]
    pub fn with_event(mut self, json: &str) -> Self {
        let Ok(event) = serde_json::from_str::<Value>(json) else { return self };
        let at = |path: &str| event.pointer(path);
        let text = |path: &str| at(path).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
        // A comment on an issue and one on a pull request are the same event.
        let commented = at("/issue/pull_request").and_then(|_| at("/issue/number"));
        let of_run = || at("/workflow_run/pull_requests/0/number");
        let number = at("/pull_request/number").or(commented).or_else(of_run).and_then(Value::as_u64);
        self.pull_request = number.or(self.pull_request);
        let head = ["/pull_request/head/sha", "/workflow_run/head_sha", "/merge_group/head_sha"];
        self.head_sha = head.iter().find_map(|path| text(path)).or(self.head_sha);
        self.base_ref = text("/pull_request/base/ref").or(self.base_ref);
        let head = ["/pull_request/head/ref", "/workflow_run/head_branch"];
        self.head_ref = head.iter().find_map(|path| text(path)).or(self.head_ref);
        self.head_owner = text("/workflow_run/head_repository/owner/login");
        self.default_branch = text("/repository/default_branch").or(self.default_branch);
        // A fork that was deleted has no repository at all. For a fork's run no pull request is named.
        let heads = [
            ("/pull_request", "/pull_request/head/repo/full_name"),
            ("/workflow_run", "/workflow_run/head_repository/full_name"),
        ];
        let is_elsewhere = |(event, head): (&str, &str)| {
            at(event).is_some_and(Value::is_object) && text(head) != text("/repository/full_name")
        };
        self.from_fork |= heads.into_iter().any(is_elsewhere);
        self
    }

    /// True where the GitHub runner reads the log.
    pub fn is_github(&self) -> bool {
        self.kind == CiKind::GitHub
    }
}

/// Variables; an empty one is none.
struct Vars<'a>(&'a BTreeMap<String, String>);

impl Vars<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    fn address(&self, name: &str) -> Option<String> {
        self.get(name).map(|address| address.trim_end_matches('/').to_owned())
    }
}

fn kind(vars: &Vars<'_>) -> CiKind {
    if vars.is_true("GITHUB_ACTIONS") {
        CiKind::GitHub
    } else if vars.is_true("GITLAB_CI") {
        CiKind::GitLab
    } else if vars.get("JENKINS_URL").is_some() {
        CiKind::Jenkins
    } else if vars.is_true("BUILDKITE") {
        CiKind::Buildkite
    } else if vars.is_true("CIRCLECI") {
        CiKind::CircleCi
    } else if vars.is_true("TF_BUILD") {
        CiKind::Azure
    } else if vars.is_true("CI") {
        CiKind::Other
    } else {
        CiKind::None
    }
}

fn github(vars: &Vars<'_>) -> Ci {
    let server_url = vars.address("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned());
    let repository = vars.get("GITHUB_REPOSITORY");
    let event_name = vars.get("GITHUB_EVENT_NAME");
    let is_pull_request = event_name.as_ref().is_some_and(|name| name.starts_with("pull_request"));
    let of_ref =
        vars.get("GITHUB_REF").and_then(|name| name.strip_prefix("refs/pull/")?.split('/').next()?.parse().ok());
    // A comment's event runs on the default branch, whatever it is about.
    let is_about_sha = !is_pull_request && event_name.as_deref() != Some("issue_comment");
    let run = |repository: &String| {
        let attempt = vars.number("GITHUB_RUN_ATTEMPT").filter(|n| *n > 1);
        let attempt = attempt.map(|n| format!("/attempts/{n}")).unwrap_or_default();
        Some(format!("{server_url}/{repository}/actions/runs/{}{attempt}", vars.get("GITHUB_RUN_ID")?))
    };
    Ci {
        kind: CiKind::GitHub,
        forge: Some(ForgeKind::GitHub),
        api_url: Some(vars.address("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned())),
        job_url: repository.as_ref().and_then(run),
        repository,
        server_url: Some(server_url),
        pull_request: of_ref,
        head_sha: vars.get("GITHUB_SHA").filter(|_| is_about_sha),
        base_ref: vars.get("GITHUB_BASE_REF"),
        head_ref: vars.get("GITHUB_HEAD_REF").or_else(|| vars.get("GITHUB_REF_NAME").filter(|_| !is_pull_request)),
        event_path: vars.get("GITHUB_EVENT_PATH"),
        event_name,
        ..Ci::default()
    }
}

fn gitlab(vars: &Vars<'_>) -> Ci {
    let repository = vars.get("CI_PROJECT_PATH");
    let source = vars.get("CI_MERGE_REQUEST_SOURCE_PROJECT_PATH");
    // A pipeline of a branch names the requests that are open for it: `group/name!7,…`.
    let open = || vars.get("CI_OPEN_MERGE_REQUESTS")?.split(',').next()?.rsplit('!').next()?.parse().ok();
    Ci {
        kind: CiKind::GitLab,
        forge: Some(ForgeKind::GitLab),
        api_url: vars.address("CI_API_V4_URL"),
        server_url: vars.address("CI_SERVER_URL"),
        from_fork: source.is_some() && source != repository,
        repository,
        default_branch: vars.get("CI_DEFAULT_BRANCH"),
        project_id: vars.get("CI_PROJECT_ID"),
        pull_request: vars.number("CI_MERGE_REQUEST_IID").or_else(open),
        // Where results are merged first, the pipeline's commit is that merge.
        head_sha: vars.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA").or_else(|| vars.get("CI_COMMIT_SHA")),
        base_ref: vars.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        head_ref: vars.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME").or_else(|| vars.get("CI_COMMIT_REF_NAME")),
        job_url: vars.get("CI_JOB_URL"),
        ..Ci::default()
    }
}

fn jenkins(vars: &Vars<'_>) -> Ci {
    let remote = remote(vars, &["CHANGE_URL", "GIT_URL"]);
    let is_change = vars.get("CHANGE_ID").is_some();
    Ci {
        kind: CiKind::Jenkins,
        pull_request: vars.number("CHANGE_ID"),
        // Of a change, Jenkins builds a merge as often as the head, and does not say which.
        head_sha: vars.get("GIT_COMMIT").filter(|_| !is_change),
        base_ref: vars.get("CHANGE_TARGET"),
        head_ref: vars.get("CHANGE_BRANCH").or_else(|| vars.get("BRANCH_NAME")),
        from_fork: vars.get("CHANGE_FORK").is_some(),
        job_url: vars.get("BUILD_URL"),
        ..on_github(remote)
    }
}

fn buildkite(vars: &Vars<'_>) -> Ci {
    let remote = remote(vars, &["BUILDKITE_REPO"]);
    let other = vars.get("BUILDKITE_PULL_REQUEST_REPO").and_then(|address| Remote::parse(&address));
    let job = vars.get("BUILDKITE_JOB_ID").map(|id| format!("#{id}")).unwrap_or_default();
    let from_fork = match (&other, &remote) {
        (Some(other), Some(remote)) => other.repository != remote.repository,
        _ => false,
    };
    Ci {
        kind: CiKind::Buildkite,
        pull_request: vars.number("BUILDKITE_PULL_REQUEST"),
        head_sha: vars.get("BUILDKITE_COMMIT").filter(|commit| commit != "HEAD"),
        base_ref: vars.get("BUILDKITE_PULL_REQUEST_BASE_BRANCH"),
        head_ref: vars.get("BUILDKITE_BRANCH"),
        from_fork,
        job_url: vars.get("BUILDKITE_BUILD_URL").map(|build| build + &job),
        ..on_github(remote)
    }
}

fn circle(vars: &Vars<'_>) -> Ci {
    let of_link = || vars.get("CIRCLE_PULL_REQUEST")?.rsplit('/').next()?.parse().ok();
    Ci {
        kind: CiKind::CircleCi,
        pull_request: vars.number("CIRCLE_PR_NUMBER").or_else(of_link),
        head_sha: vars.get("CIRCLE_SHA1"),
        head_ref: vars.get("CIRCLE_BRANCH"),
        // These are set for forks alone.
        from_fork: vars.get("CIRCLE_PR_USERNAME").is_some(),
        job_url: vars.get("CIRCLE_BUILD_URL"),
        ..on_github(remote(vars, &["CIRCLE_PULL_REQUEST", "CIRCLE_REPOSITORY_URL"]))
    }
}

fn azure(vars: &Vars<'_>) -> Ci {
    let is_github = vars.get("BUILD_REPOSITORY_PROVIDER").is_some_and(|p| p.starts_with("GitHub"));
    let place = || Some((vars.address("SYSTEM_COLLECTIONURI")?, vars.get("SYSTEM_TEAMPROJECT")?));
    let job = || {
        let ((collection, project), build) = (place()?, vars.get("BUILD_BUILDID")?);
        Some(format!("{collection}/{}/_build/results?buildId={build}", project.replace(' ', "%20")))
    };
    let short = |name: String| name.strip_prefix("refs/heads/").map_or(name.clone(), str::to_owned);
    let is_change = vars.get("SYSTEM_PULLREQUEST_PULLREQUESTID").is_some();
    let built = || vars.get("BUILD_SOURCEVERSION").filter(|_| !is_change);
    Ci {
        kind: CiKind::Azure,
        pull_request: vars.number("SYSTEM_PULLREQUEST_PULLREQUESTNUMBER").filter(|_| is_github),
        head_sha: vars.get("SYSTEM_PULLREQUEST_SOURCECOMMITID").or_else(built),
        base_ref: vars.get("SYSTEM_PULLREQUEST_TARGETBRANCH").map(short),
        head_ref: vars.get("SYSTEM_PULLREQUEST_SOURCEBRANCH").or_else(|| vars.get("BUILD_SOURCEBRANCH")).map(short),
        from_fork: vars.is_true("SYSTEM_PULLREQUEST_ISFORK"),
        job_url: job(),
        ..on_github(remote(vars, &["BUILD_REPOSITORY_URI"]).filter(|_| is_github))
    }
}

/// No CI, or one that we do not know: GitHub's own variables are understood there, too.
fn elsewhere(vars: &Vars<'_>, kind: CiKind) -> Ci {
    let Some(repository) = vars.get("GITHUB_REPOSITORY") else { return Ci { kind, ..Ci::default() } };
    Ci {
        kind,
        forge: Some(ForgeKind::GitHub),
        api_url: Some(vars.address("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned())),
        server_url: Some(vars.address("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned())),
        repository: Some(repository),
        head_sha: vars.get("GITHUB_SHA"),
        ..Ci::default()
    }
}

/// The first of these variables that is the address of a repository on a GitHub.
fn remote(vars: &Vars<'_>, names: &[&str]) -> Option<Remote> {
    names.iter().find_map(|name| Remote::parse(&vars.get(name)?).filter(Remote::is_github))
}

fn on_github(remote: Option<Remote>) -> Ci {
    let Some(remote) = remote else { return Ci::default() };
    Ci {
        forge: Some(ForgeKind::GitHub),
        api_url: Some(remote.github_api()),
        server_url: Some(remote.server.clone()),
        repository: Some(remote.repository),
        ..Ci::default()
    }
}
