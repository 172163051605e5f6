//! `publish`: what a run tells the forge, told from its finished report, maybe in another job that has the token for
//! it. In: `report.json`. Out: comment, check, pull request; outputs, annotations and summary of this job. A comment
//! needs neither the session nor a repository. Whoever wrote the report may be a stranger, so nothing in it says where to
//! write: that is this job's to know, and a branch goes out only where the checkout has it as the report says.

use super::error::CliError;
use super::flags::Global;
use super::flags_forge::PublishArgs;
use super::forge::{End, Forge, PUBLISH_PATIENCE, Wish};
use super::signals::Signals;
use super::{agents, ci, context};
use crate::config::{self, Comment};
use crate::core::Verdict;
use crate::forge::Ci;
use crate::git::{Repo, is_commit};
use crate::report::{Report, SCHEMA_VERSION};
use crate::text;

/// Where results are, unless the job says otherwise.
const OURS: &str = "maestro/";
/// The largest report that is read.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

pub fn publish(global: &Global, args: &PublishArgs) -> Result<Verdict, CliError> {
    let report = read(args)?;
    let repo = context::discover(global).ok();
    let wished = &args.forge;
    let forge = config::Forge {
        comment: wished.comment.unwrap_or(Comment::Auto),
        checks: wished.checks,
        open_pr: wished.open_pr,
    };
    let env = agents::Env::own();
    let forge = Forge::new(&env.0, Wish::of_publish(&forge, wished.push), repo.as_ref());
    forge.check()?;
    if report.result.moved && (wished.push || wished.open_pr) {
        check_branch(&report, args, repo.as_ref(), &forge.ci)?;
    }
    ci::hand_over_report(&args.report, &report);
    let mut publisher = forge.publisher(&report.result.branch);
    let verdict = verdict_of(&report);
    let end = End { report: &report, verdict, repo: repo.as_ref(), patience: PUBLISH_PATIENCE };
    let stop = Signals::new();
    let mut missing = forge.bring(&end, publisher.as_mut(), &stop);
    missing.extend(forge.tell(&end, publisher, &stop));
    for (_, why) in &missing {
        tracing::error!("not delivered: {}", text::terminal_line(why));
    }
    Ok(if missing.is_empty() { Verdict::Passed } else { Verdict::Report })
}

/// Fails where the branch that the report names is not one that this job may write to, or does not stand where the
/// report says. A job that runs agents has a say in its report, and this one has the token.
fn check_branch(report: &Report, args: &PublishArgs, repo: Option<&Repo>, ci: &Ci) -> Result<(), CliError> {
    let branch = report.result.branch.as_str();
    let refused = |why: &str, hint: &str| {
        Err(CliError::usage(format!("{}: {why}; nothing is pushed", args.report.display())).hint(hint))
    };
    if !branch.starts_with(OURS) && args.branch.as_deref() != Some(branch) {
        let why = format!("its result branch `{branch}` is not below {OURS}");
        return refused(&why, "name the branch with --branch, if it is the one that this job may write to");
    }
    let Some(repo) = repo else {
        return refused(
            "there is no repository here to hold it against",
            "run it in a checkout with the result branch",
        );
    };
    let is_name = repo.git().output(&["check-ref-format", &format!("refs/heads/{branch}")], Vec::new())?.code == 0;
    if !is_name {
        return refused("its result branch has no name that git takes", "give it the report that the run wrote");
    }
    let ask = ["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"];
    let remote_head = repo.git().output(&ask, Vec::new())?.text();
    let mut others = repo.checked_out_branches()?;
    others.extend(repo.current_branch()?);
    others.extend([&report.base.branch, &ci.default_branch, &ci.base_ref].into_iter().flatten().cloned());
    others.extend(remote_head.strip_prefix("origin/").map(str::to_owned));
    if others.iter().any(|other| other == branch) {
        let why = format!("its result branch `{branch}` is one that people work on");
        return refused(&why, "a result has a branch of its own, such as maestro/feature");
    }
    let commit = report.result.branch_commit.as_deref().unwrap_or_default();
    let here = repo.git().commit(&format!("refs/heads/{branch}"))?;
    if !is_commit(commit) || here.as_ref().map(crate::core::Commit::as_str) != Some(commit) {
        let why = format!("the branch `{branch}` does not stand here where the report says");
        return refused(&why, "fetch the result into this checkout first (the action does it with `state-dir`)");
    }
    Ok(())
}

/// How the run ended; a report of a run that was stopped is published like any other.
fn verdict_of(report: &Report) -> Verdict {
    let named = Verdict::ALL.into_iter().find(|verdict| verdict.name() == report.verdict);
    named.filter(|verdict| !matches!(verdict, Verdict::Interrupted | Verdict::Terminated)).unwrap_or(Verdict::Failed)
}

fn read(args: &PublishArgs) -> Result<Report, CliError> {
    let path = &args.report;
    let refused = |why: String| {
        let hint = "give it the file that `maestro-ci --json` or the session's directory holds";
        CliError::usage(format!("{}: {why}", path.display())).hint(hint)
    };
    let meta = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Err(refused("this is no report.json".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let report: Report = serde_json::from_str(&text).map_err(|error| refused(format!("this is no report: {error}")))?;
    if report.schema_version > SCHEMA_VERSION {
        let version = report.schema_version;
        return Err(refused(format!("version {version} of the report is newer than this program")));
    }
    Ok(report)
}
