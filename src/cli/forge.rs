//! What a run tells the forge: flags, configuration and the CI's variables become an address and a wish; reports become
//! texts; what came of it becomes lines of the log. The forge changes no verdict: only what was asked for by name (a
//! number for the comment, a push, a pull request) and could not be done is exit code 8 where it was 0.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::forge_words::{self, check_run, pull};
use super::publisher::{Finale, Publisher, Text, Told};
use super::teller::{Address, Request};
use super::{ci, output};
use crate::config::{self, Comment};
use crate::core::{Commit, Verdict};
use crate::forge::{Access, Ci, CiKind, Connection, ForgeKind, Remote, Site};
use crate::git::{Authorization, Pushed, Repo, patience, without_userinfo};
use crate::journal::write_atomic;
use crate::report::{self, CommentContext, Report, comment_marker};
use crate::text;

/// What the forge may take of the end of a run.
const PATIENCE: Duration = Duration::from_secs(20);
/// The same after a signal: with the time that agents get to end it stays within three seconds.
pub const STOP_PATIENCE: Duration = Duration::from_millis(1_200);
/// How often somebody who waits looks for a signal.
const SLICE: Duration = Duration::from_millis(50);
/// What the forge may take of `publish`, which does nothing else: a limit of a minute can be waited for.
pub const PUBLISH_PATIENCE: Duration = Duration::from_mins(3);

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

    /// The pull request whose number somebody or the CI's event names, else the one that is found.
    fn request(&self, branch: &str) -> Request {
        let number = match self.wish.comment {
            Comment::PullRequest(number) => Some(number.into()),
            Comment::Auto | Comment::Never => self.ci.pull_request,
        };
        // A pull request that we keep ourselves has the report as its text.
        let branch = (!self.wish.open_pr).then(|| branch.to_owned());
        number.map_or_else(|| Request::Of { sha: self.ci.head_sha.clone(), branch }, Request::Number)
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
    pub fn text(&self) -> Text {
        let job_url = self.ci.job_url.clone();
        Box::new(move |report| comment_of(report, job_url.clone(), true))
    }

    /// Starts telling, where there is somebody to tell.
    pub fn publisher(&self, branch: &str) -> Option<Publisher> {
        let comments = self.wish.comment != Comment::Never;
        let address = self.address().ok().filter(|_| self.wish.speaks())?;
        Publisher::start(address, self.request(branch), self.text(), comments)
    }

    /// Says how it ended: pushes, opens the pull request, finishes the comment, makes the check; all within the time
    /// that the end of a run has. Returns `Report` where something that was asked for by name could not be done.
    pub fn finish(&self, end: &End<'_>, publisher: Option<Publisher>) -> Verdict {
        let text = comment_of(end.report, self.ci.job_url.clone(), end.dir.is_some());
        if let Some(dir) = end.dir
            && let Err(error) = write_atomic(&dir.join("comment.md"), text.as_bytes())
        {
            tracing::warn!("comment.md cannot be written: {error}");
        }
        let is_stopped = matches!(end.verdict, Verdict::Interrupted | Verdict::Terminated);
        let mut worst = Verdict::Passed;
        let stop = Signals::new();
        let pushed = self.push(end, is_stopped, &stop, &mut worst);
        let missing = self.address().err();
        let counts = self.wish.comment_counts() || (self.wish.only && self.wish.checks);
        if let Some(why) = missing.filter(|_| counts || (self.wish.open_pr && pushed)) {
            tracing::error!("the forge cannot be told: {why}");
            return Verdict::Report;
        }
        let Some(publisher) = publisher else {
            self.say_why_not();
            return worst;
        };
        let opens = self.wish.open_pr && pushed && !is_stopped;
        let check = (self.wish.checks && !is_stopped).then(|| check_run(end.report, &self.ci, &text));
        if matches!(check, Some(None)) {
            output::log_line("[Maestro]   → No check run: the commit under review is not known");
        }
        let finale = Finale {
            comment: (self.wish.comment != Comment::Never).then(|| text.clone()),
            pull: opens.then(|| pull(end.report, self.base(end.report), &text)),
            check: check.flatten(),
            patience: if is_stopped { STOP_PATIENCE } else { end.patience },
        };
        let told = publisher.finish(finale, &|| stop.seen());
        worst.worse(self.say(told, opens))
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

    /// True where the branch stands at the remote now, or was never to be pushed by us.
    fn push(&self, end: &End<'_>, is_stopped: bool, stop: &Signals, worst: &mut Verdict) -> bool {
        let result = &end.report.result;
        let branch = text::terminal_line(&result.branch);
        let commit = result.branch_commit.as_ref().filter(|_| result.moved && !is_stopped);
        let Some(commit) = commit else {
            let why = if is_stopped { "the run was stopped" } else { "there is no result" };
            if self.wish.push {
                output::log_line(&format!("[Maestro]   → {branch} is not pushed: {why}"));
            } else if self.wish.open_pr {
                output::log_line(&format!("[Maestro]   → No pull request for {branch}: {why}"));
            }
            return false;
        };
        if !self.wish.push {
            return true;
        }
        let commit = Commit::new(commit.clone());
        match stop.hurrying(|| self.push_to_remote(end.repo, &result.branch, &commit, stop)) {
            Ok((remote, done)) => {
                let how = if done == Pushed::Moved { "pushed to" } else { "stands already at" };
                output::log_line(&format!("[Maestro]   → {branch} {how} {}", text::terminal_line(&remote)));
                true
            }
            Err(why) => {
                let why = if stop.seen() { format!("stopped by a signal ({why})") } else { why };
                tracing::error!("{branch} cannot be pushed: {}", text::terminal_line(&without_userinfo(&why)));
                *worst = Verdict::Report;
                false
            }
        }
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
        done.map(|done| (remote, done)).map_err(|e| e.to_string())
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

    /// Logs what came of it.
    fn say(&self, told: Option<Told>, opens: bool) -> Verdict {
        let Some(told) = told else {
            tracing::warn!("the forge did not answer in time; the comment lies beside the reports (comment.md)");
            let counts = self.wish.comment_counts() || opens || (self.wish.only && self.wish.checks);
            return if counts { Verdict::Report } else { Verdict::Passed };
        };
        let mut verdict = Verdict::Passed;
        if let Some(pull) = &told.pull {
            verdict =
                verdict.worse(forge_words::told("the pull request", pull.as_ref().map(|url| Some(url.as_str())), true));
        }
        if let Some(comment) = &told.comment {
            let counts = self.wish.comment_counts();
            let url =
                comment.as_ref().map(|posted| posted.as_ref().map(|p| p.url.as_deref().unwrap_or("the pull request")));
            verdict = verdict.worse(forge_words::told("the comment on the pull request", url, counts));
            if self.wish.only && matches!(comment, Ok(None)) {
                output::log_line(forge_words::NO_PULL_REQUEST);
            }
            if let Ok(Some(posted)) = comment
                && posted.twins > 0
            {
                let line = format!("[Maestro]   → {} older comments of ours on it are left as they are", posted.twins);
                output::log_line(&line);
            }
        }
        if let Some(check) = &told.check {
            let url = check.as_ref().map(|url| Some(url.as_deref().unwrap_or("the commit")));
            verdict = verdict.worse(forge_words::told("the check run", url, self.wish.only));
        }
        verdict
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
    /// The session's directory, where there is one.
    pub dir: Option<&'a Path>,
    /// How long the forge may take.
    pub patience: Duration,
}

impl<'a> End<'a> {
    /// Of a run in a repository.
    pub fn of_run(report: &'a Report, verdict: Verdict, repo: &'a Repo, dir: &'a Path) -> Self {
        Self { report, verdict, repo: Some(repo), dir: Some(dir), patience: PATIENCE }
    }
}

fn comment_of(report: &Report, job_url: Option<String>, live: bool) -> String {
    let marker = comment_marker(&report.prd.path);
    report::comment(report, &CommentContext { marker, job_url, reports: None, live })
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

/// Signals while the forge is told; without a flag there is nothing to see.
struct Signals(Arc<AtomicBool>);

impl Signals {
    fn new() -> Self {
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&seen)) {
                tracing::debug!("signal {signal} is not heard: {error}");
            }
        }
        Self(seen)
    }

    fn seen(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    async fn comes(&self) {
        while !self.seen() {
            tokio::time::sleep(SLICE).await;
        }
    }

    /// Does what git has a part in; after a signal git has little more time.
    fn hurrying<T>(&self, work: impl FnOnce() -> T) -> T {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done.load(Ordering::Relaxed) {
                    if self.seen() {
                        return patience::hurry(STOP_PATIENCE);
                    }
                    std::thread::sleep(SLICE);
                }
            });
            let result = work();
            is_done.store(true, Ordering::Relaxed);
            result
        })
    }
}
