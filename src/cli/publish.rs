//! `publish`: what a run tells the forge, told from its finished report, maybe in another job that has the token for
//! it. In: `report.json`. Out: comment, check, pull request. It needs neither the session nor a repository, and it
//! takes nothing from the report that says where to write: that is this job's to know.

use super::error::CliError;
use super::flags::Global;
use super::flags_forge::PublishArgs;
use super::forge::{End, Forge, PUBLISH_PATIENCE, Wish};
use super::{agents, context};
use crate::config::{self, Comment};
use crate::core::Verdict;
use crate::report::{Report, SCHEMA_VERSION};

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
    // The branch may have been pushed by somebody else: here only `--push` pushes it.
    let wish = Wish { push: wished.push, ..Wish::new(&forge, false) };
    let forge = Forge::new(&env.0, wish, repo.as_ref());
    let publisher = forge.publisher(&report.result.branch);
    let verdict = verdict_of(&report);
    let end = End { report: &report, verdict, repo: repo.as_ref(), dir: None, patience: PUBLISH_PATIENCE };
    Ok(forge.finish(&end, publisher))
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
