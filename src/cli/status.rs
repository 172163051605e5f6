//! `status`: how far a session is, and what became of its result since.

use super::error::CliError;
use super::flags::{Global, StatusArgs};
use super::session::Stored;
use super::{output, session};
use crate::core::Verdict;
use crate::git::Repo;
use crate::report::{self, Report};

pub fn status(global: &Global, args: &StatusArgs) -> Result<Verdict, CliError> {
    let (repo, stored) = session::find(global, args.session.as_deref())?;
    let report = Report::from_records(&stored.records)?;
    if args.json {
        output::print(&report::json(&report));
        return Ok(Verdict::Passed);
    }
    let reports = stored.dir.path().display().to_string();
    let notes: Vec<String> = moved_branch(&repo, &stored)?.into_iter().collect();
    output::print(&report::status_text(&report, &reports, &notes));
    Ok(Verdict::Passed)
}

/// Where the result branch stands, if that is not where the session left it: somebody rolled it back, or went on.
fn moved_branch(repo: &Repo, stored: &Stored) -> Result<Option<String>, CliError> {
    let (Some(started), Some(left)) = (&stored.state.started, stored.state.branch_at()) else { return Ok(None) };
    let branch = &started.branch;
    let now = repo.git().commit(&format!("refs/heads/{branch}"))?;
    let checkpoint = stored.state.checkpoints.iter().find(|c| Some(&c.commit) == now.as_ref());
    Ok(match (now, checkpoint) {
        (Some(now), _) if now == *left => None,
        (Some(_), Some(c)) => Some(format!("{branch} was put back to checkpoint {} ({})", c.n, c.commit.short())),
        (Some(now), None) => Some(format!("{branch} has moved on to {} since", now.short())),
        (None, _) => Some(format!("{branch} does not exist any more; the result was {}", left.short())),
    })
}
