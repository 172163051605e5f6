//! What a run tells the forge: flags, configuration and the CI's variables become an address and a wish; reports become
//! texts; what came of it becomes lines of the log. The forge changes no verdict: only what was asked for by name (a
//! number for the comment, a push, a pull request) and could not be done is handed back, as lines that say why.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::CliError;
use super::forge_words::{self, UNANSWERED, check_run, pull};
use super::publisher::{Finale, Publisher, Text, Told};
use super::signals::{STOP_PATIENCE, Signals};
use super::teller::{Address, Request};
use super::{ci, output};
use crate::config::{self, Comment};
use crate::core::{Commit, Deliverable, Verdict};
use crate::forge::{Access, Ci, CiKind, Connection, Failure, ForgeKind, Posted, Remote, Site};
use crate::git::{Authorization, GitError, PushError, Pushed, Repo, without_userinfo};
use crate::report::{self, CommentContext, Report, comment_marker};
use crate::text;

/// What the forge may take of the end of a run.
const PATIENCE: Duration = Duration::from_secs(20);
/// What the forge may take of `publish`, which does nothing else: a limit of a minute can be waited for.
pub const PUBLISH_PATIENCE: Duration = Duration::from_mins(3);

/// What was asked for and is not delivered, and why.
pub type Missing = (Deliverable, String);

/// What is wanted of the forge.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Where the comment goes.
    pub comment: Comment,
    /// A check run.
    pub checks: bool,
    /// The branch at the remote.
    pub push: bool,
    /// A pull request.
    pub open_pr: bool,
    /// To tell is all that the command does: what cannot be told counts, named or not, and the report may be a
    /// stranger's.
    pub only: bool,
}

impl Wish {
    /// Of the configuration, flags included.
    pub fn new(forge: &config::Forge, push: bool) -> Self {
        let open_pr = forge.open_pr;
        Self { comment: forge.comment, checks: forge.checks, push: push || open_pr, open_pr, only: false }
    }

    /// That of `publish`. Somebody else may have pushed the branch: there only `--push` pushes it.
    pub fn of_publish(forge: &config::Forge, push: bool) -> Self {
        Self { push, only: true, ..Self::new(forge, push) }
    }

    /// True where a failure to comment counts: somebody named the place, or it is what the command is for.
    fn comment_counts(&self) -> bool {
        matches!(self.comment, Comment::PullRequest(_)) || (self.only && self.comment != Comment::Never)
    }

    /// True where the forge is to be spoken to, besides by git.
    fn speaks(&self) -> bool {
        self.comment != Comment::Never || self.checks || self.open_pr
    }
}

/// Everything that is known of the forge before a run starts.
pub struct Forge {
    /// The job.
    pub ci: Ci,
    env: BTreeMap<String, String>,
    wish: Wish,
    site: Option<Site>,
    access: Result<Option<Access>, String>,
}

impl Forge {
    /// Looks around. Nothing is asked of the network.
    pub fn new(env: &[(String, String)], wish: Wish, repo: Option<&Repo>) -> Self {
        let env: BTreeMap<String, String> = env.iter().cloned().collect();
        let ci = ci::detect(&env);
        // Outside of CI only what was asked for by name is done.
        let is_wanted = ci.kind != CiKind::None || wish.comment_counts() || wish.open_pr || wish.only;
        let site = site_of(&ci).or_else(|| of_remote(repo?)).filter(|_| is_wanted);
        let var = |name: &str| env.get(name).cloned();
        let access = site.as_ref().map_or(Ok(None), |site| Access::from_env(site.kind, &var));
        Self { ci, env, wish, site, access }
    }

    /// Fails where something is wanted that only GitHub has and that is not where the repository lies.
    pub fn check(&self) -> Result<(), CliError> {
        let in_ci = self.ci.kind != CiKind::None || self.wish.only;
        let what = match self.wish {
            Wish { open_pr: true, .. } => "--open-pr (forge.open_pr)",
            Wish { checks: true, .. } if in_ci => "--checks (forge.checks)",
            _ => return Ok(()),
        };
        let why = match self.site.as_ref().map(|site| site.kind) {
            Some(ForgeKind::GitHub) => return Ok(()),
            Some(ForgeKind::GitLab) => "this repository lies on GitLab",
            None => "no repository on GitHub is known (GITHUB_REPOSITORY, or the remote `origin`)",
        };
        let hint =
            "leave it out; --push brings the result branch to any remote, and GitLab takes the comment as a note";
        Err(CliError::usage(format!("{what} needs GitHub, and {why}")).hint(hint))
    }

    /// The pull request whose number somebody or the CI's event names, else the one that is found.
    fn request(&self, branch: &str) -> Request {
        let number = match self.wish.comment {
            Comment::PullRequest(number) => Some(number.into()),
            Comment::Auto | Comment::Never => self.ci.pull_request,
        };
        if let Some(number) = number {
            return Request::Number(number);
        }
        let Ci { from_fork, head_owner, head_ref, head_sha, .. } = &self.ci;
        if let (true, Some(owner), Some(head), Some(sha)) = (from_fork, head_owner, head_ref, head_sha) {
            return Request::OfFork { head: format!("{owner}:{head}"), sha: sha.clone() };
        }
        // A pull request that we keep ourselves has the report as its text.
        let branch = (!self.wish.open_pr).then(|| branch.to_owned());
        Request::Of { sha: head_sha.clone(), branch }
    }

    /// Where and as whom; a message where something is missing.
    fn address(&self) -> Result<Address, String> {
        let site =
            self.site.clone().ok_or("no repository on a forge is known (GITHUB_REPOSITORY, or the remote `origin`)")?;
        let names = match site.kind {
            ForgeKind::GitHub => "GITHUB_TOKEN or MAESTRO_CI_FORGE_TOKEN",
            ForgeKind::GitLab => "MAESTRO_CI_FORGE_TOKEN or GITLAB_TOKEN",
        };
        let access = self.access.clone()?.ok_or_else(|| format!("there is no token; set {names}"))?;
        Ok(Address { site, access, env: self.env.clone() })
    }

    /// The comment on this report. The same report and job give the same text in every process.
    pub fn comment(&self, report: &Report) -> String {
        self.text()(report)
    }

    fn text(&self) -> Text {
        let (job_url, live) = (self.ci.job_url.clone(), !self.wish.only);
        Box::new(move |report| {
            let marker = comment_marker(&report.prd.path);
            report::comment(report, &CommentContext { marker, job_url: job_url.clone(), reports: None, live })
        })
    }

    /// Starts telling, where there is somebody to tell.
    pub fn publisher(&self, branch: &str) -> Option<Publisher> {
        let comments = self.wish.comment != Comment::Never;
        let address = self.address().ok().filter(|_| self.wish.speaks())?;
        Publisher::start(address, self.request(branch), self.text(), comments)
    }

    /// What a run is to deliver, as far as it counts.
    pub fn wanted(&self) -> Vec<Deliverable> {
        let all = [
            (self.wish.push, Deliverable::Push),
            (self.wish.open_pr, Deliverable::PullRequest),
            (self.wish.comment_counts(), Deliverable::Comment),
        ];
        all.into_iter().filter_map(|(is_wished, what)| is_wished.then_some(what)).collect()
    }

    /// Pushes the result branch and opens its pull request, where that is wished. Returns what could not be done.
    pub fn bring(&self, end: &End<'_>, publisher: Option<&mut Publisher>, stop: &Signals) -> Vec<Missing> {
        match self.push(end, stop) {
            Ok(true) if self.wish.open_pr => {
                let why = self.open_pull(end, publisher, stop);
                why.map(|why| (Deliverable::PullRequest, why)).into_iter().collect()
            }
            Ok(_) => Vec::new(),
            Err(why) => {
                let waits = "no pull request is opened: its branch is not at the remote".to_owned();
                let waits = self.wish.open_pr.then_some((Deliverable::PullRequest, waits));
                std::iter::once((Deliverable::Push, why)).chain(waits).collect()
            }
        }
    }

    /// Opens the pull request, or says why it cannot.
    fn open_pull(&self, end: &End<'_>, publisher: Option<&mut Publisher>, stop: &Signals) -> Option<String> {
        if let Err(why) = self.address() {
            return Some(format!("the forge cannot be told: {why}"));
        }
        let Some(publisher) = publisher else { return Some("there can be no more threads".to_owned()) };
        let body = self.comment(end.report);
        let pull = pull(end.report, self.base(end.report), &body);
        let finale = Finale { comment: None, pull: Some(pull), check: None, patience: end.patience };
        let Some(told) = publisher.finish(finale, &|| stop.seen()) else { return Some(UNANSWERED.to_owned()) };
        let opened = told.pull?;
        forge_words::told("the pull request", opened.as_ref().map(|url| Some(url.as_str())), true)
    }

    /// Says how it ended: finishes the comment, makes the check; within what is left of the time that the end of a run
    /// has. Returns what was asked for by name and could not be done.
    pub fn tell(&self, end: &End<'_>, publisher: Option<Publisher>, stop: &Signals) -> Vec<Missing> {
        let why = self.untold(end, publisher, stop);
        why.into_iter().map(|why| (Deliverable::Comment, why)).collect()
    }

    fn untold(&self, end: &End<'_>, publisher: Option<Publisher>, stop: &Signals) -> Vec<String> {
        let is_stopped = end.is_stopped();
        let missing = self.address().err();
        let counts = self.wish.comment_counts() || (self.wish.only && self.wish.checks);
        if let Some(why) = missing.filter(|_| counts) {
            return vec![format!("the forge cannot be told: {why}")];
        }
        let Some(mut publisher) = publisher else {
            self.say_why_not();
            return Vec::new();
        };
        let text = self.comment(end.report);
        let check = (self.wish.checks && !is_stopped).then(|| check_run(end.report, &self.ci, &text));
        if matches!(check, Some(None)) {
            output::log_line("[Maestro]   → No check run: the commit under review is not known");
        }
        let finale = Finale {
            comment: (self.wish.comment != Comment::Never).then(|| text.clone()),
            pull: None,
            check: check.flatten(),
            patience: if is_stopped { STOP_PATIENCE } else { end.patience },
        };
        self.say(publisher.finish(finale, &|| stop.seen()))
    }

    /// The branch that a pull request of ours goes into; none is the forge's default one. A report that somebody else
    /// may have written is not asked.
    fn base(&self, report: &Report) -> Option<String> {
        let ci = &self.ci;
        let of_report = report.base.branch.clone().filter(|_| !self.wish.only);
        // A fork's branch is none of this repository.
        let of_job = ci.head_ref.clone().filter(|head| !ci.from_fork && *head != report.result.branch);
        of_report.or(of_job).or_else(|| ci.base_ref.clone()).or_else(|| ci.default_branch.clone())
    }

    /// Pushes the result branch, where that is wished. True where it stands at the remote now, or was never to be pushed
    /// by us; why it does not, where it should.
    fn push(&self, end: &End<'_>, stop: &Signals) -> Result<bool, String> {
        let result = &end.report.result;
        let branch = text::terminal_line(&result.branch);
        let commit = result.branch_commit.as_ref().filter(|_| result.moved && !end.is_stopped());
        let Some(commit) = commit else {
            let why = if end.is_stopped() { "the run was stopped" } else { "there is no result" };
            if self.wish.push {
                output::log_line(&format!("[Maestro]   → {branch} is not pushed: {why}"));
            } else if self.wish.open_pr {
                output::log_line(&format!("[Maestro]   → No pull request for {branch}: {why}"));
            }
            return Ok(false);
        };
        if !self.wish.push {
            return Ok(true);
        }
        let commit = Commit::new(commit.clone());
        let pushed = stop.hurrying(|| self.push_to_remote(end.repo, &result.branch, &commit, stop));
        let (remote, done) = pushed.map_err(|why| {
            let why = if stop.seen() { format!("stopped by a signal ({why})") } else { why };
            format!("{branch} cannot be pushed: {}", without_userinfo(&why))
        })?;
        let how = if done == Pushed::Moved { "pushed to" } else { "stands already at" };
        output::log_line(&format!("[Maestro]   → {branch} {how} {}", text::terminal_line(&remote)));
        Ok(true)
    }

    fn push_to_remote(
        &self,
        repo: Option<&Repo>,
        branch: &str,
        commit: &Commit,
        stop: &Signals,
    ) -> Result<(String, Pushed), String> {
        let env: Vec<(String, String)> = self.env.clone().into_iter().collect();
        let repo = repo.ok_or("there is no repository here")?;
        let remote = repo.remote().map_err(|e| e.to_string())?;
        let authorization = repo.remote_url(&remote).ok().and_then(|url| self.authorization(&url, stop));
        let done = repo.push(&remote, branch, commit, &env, authorization.as_ref());
        done.map(|done| (remote, done)).map_err(|error| match error {
            // Our own flags tell a reader nothing.
            PushError::Git(GitError::Failed { code, stderr, .. }) => format!("git push ended with {code}: {stderr}"),
            error => error.to_string(),
        })
    }

    /// What our token is worth to git at the forge's own address, where the remote lies there.
    fn authorization(&self, remote_url: &str, stop: &Signals) -> Option<Authorization> {
        let server = format!("{}/", self.ci.server_url.as_ref()?.trim_end_matches('/'));
        let address = self.address().ok().filter(|_| remote_url.starts_with(&server))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let Address { site, access, env } = &address;
        let var = |name: &str| env.get(name).cloned();
        let until = tokio::time::Instant::now() + PATIENCE;
        let value = runtime.block_on(async {
            tokio::select! {
                opened = Connection::open(site, access, &var, until) => opened.ok().map(|c| c.credential()),
                () = stop.comes() => None,
            }
        });
        runtime.shutdown_background();
        value.map(|value| Authorization { server, value })
    }

    /// Tells why nobody is told, where a reader would expect a comment.
    fn say_why_not(&self) {
        if self.wish.only && !self.wish.speaks() {
            let line =
                "[Maestro]   → Nothing is told to the forge: leave out --comment never, or add --checks or --open-pr";
            output::log_line(line);
            return;
        }
        let expects = self.wish.checks || (self.wish.comment != Comment::Never && self.ci.pull_request.is_some());
        match self.address() {
            Err(why) if self.access.is_err() => tracing::warn!("the forge cannot be told: {why}"),
            Err(why) if expects => {
                output::log_line(&format!("[Maestro]   → No comment: {}", text::terminal_line(&why)));
            }
            _ => {}
        }
    }

    /// Logs what came of it; returns what counts and did not come.
    fn say(&self, told: Option<Told>) -> Vec<String> {
        let Some(told) = told else {
            if self.wish.comment_counts() || (self.wish.only && self.wish.checks) {
                return vec![UNANSWERED.to_owned()];
            }
            tracing::warn!("{UNANSWERED}");
            return Vec::new();
        };
        let mut missing = Vec::new();
        if let Some(comment) = &told.comment {
            missing.extend(self.say_comment(comment));
        }
        if let Some(check) = &told.check {
            let url = check.as_ref().map(|url| Some(url.as_deref().unwrap_or("the commit")));
            missing.extend(forge_words::told("the check run", url, self.wish.only));
        }
        missing
    }

    fn say_comment(&self, comment: &Result<Option<Posted>, Failure>) -> Option<String> {
        let url =
            comment.as_ref().map(|posted| posted.as_ref().map(|p| p.url.as_deref().unwrap_or("the pull request")));
        let missing = forge_words::told("the comment on the pull request", url, self.wish.comment_counts());
        if self.wish.only && matches!(comment, Ok(None)) {
            output::log_line(forge_words::NO_PULL_REQUEST);
        }
        if let Ok(Some(Posted { twins: twins @ 1.., .. })) = comment {
            output::log_line(&format!("[Maestro]   → {twins} older comments of ours on it are left as they are"));
        }
        missing
    }
}

/// The end of a run.
pub struct End<'a> {
    /// What is told.
    pub report: &'a Report,
    /// How it ended.
    pub verdict: Verdict,
    /// The repository, where there is one.
    pub repo: Option<&'a Repo>,
    /// How long the forge may take.
    pub patience: Duration,
}

impl<'a> End<'a> {
    /// Of a run in a repository.
    pub fn of_run(report: &'a Report, verdict: Verdict, repo: &'a Repo) -> Self {
        Self { report, verdict, repo: Some(repo), patience: PATIENCE }
    }

    fn is_stopped(&self) -> bool {
        matches!(self.verdict, Verdict::Interrupted | Verdict::Terminated)
    }
}

/// The repository that the CI's variables name.
fn site_of(ci: &Ci) -> Option<Site> {
    let kind = ci.forge?;
    let repository = match kind {
        ForgeKind::GitHub => ci.repository.clone(),
        ForgeKind::GitLab => ci.project_id.clone().or_else(|| ci.repository.clone()),
    };
    Some(Site { kind, api_url: ci.api_url.clone()?, repository: repository? })
}

/// The repository that the checkout came from, where that is on a GitHub.
fn of_remote(repo: &Repo) -> Option<Site> {
    let url = repo.remote_url(&repo.remote().ok()?).ok()?;
    let remote = Remote::parse(&url).filter(Remote::is_github)?;
    Some(Site { kind: ForgeKind::GitHub, api_url: remote.github_api(), repository: remote.repository })
}
