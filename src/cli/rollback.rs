//! `rollback`: a session's result branch goes back to one of its checkpoints. The user's checkout is not touched.

use super::error::CliError;
use super::flags::{Global, RollbackArgs};
use super::{output, session};
use crate::core::evidence;
use crate::core::state::{Checkpoint, Round};
use crate::core::{State, Verdict};
use crate::journal::BranchLock;

pub fn rollback(global: &Global, args: &RollbackArgs) -> Result<Verdict, CliError> {
    let (repo, stored) = session::find(global, args.session.as_deref())?;
    let Some(started) = &stored.state.started else { return Err(CliError::setup("the session has no first record")) };
    let durable: Vec<_> = stored.state.checkpoints.iter().filter(|c| c.durable).collect();
    let branch_now = repo.git().commit(&format!("refs/heads/{}", started.branch))?;
    let standing = durable.iter().rposition(|c| Some(&c.commit) == branch_now.as_ref()).unwrap_or(durable.len());
    let target = match args.to {
        Some(n) => durable.iter().find(|c| c.n == n),
        // One back from where the branch stands, to a tree that passed what was required (or to the base).
        None => durable[..standing].iter().rev().find(|c| is_proven(&stored.state, c)),
    };
    let Some(target) = target else {
        let known: Vec<String> = durable.iter().map(|c| c.n.to_string()).collect();
        return Err(
            CliError::usage("there is no such checkpoint").hint(format!("this session has {}", known.join(", ")))
        );
    };
    let lock_path = session::store(&repo).lock_path(&started.branch)?;
    let _lock = BranchLock::take(&lock_path, &format!("pid {} (rollback of {})", std::process::id(), stored.id))?;
    let branch = format!("refs/heads/{}", started.branch);
    let Some(now) = repo.git().commit(&branch)? else {
        return Err(CliError::setup(format!("the branch {} does not exist", started.branch)));
    };
    if repo.checked_out_branches()?.contains(&started.branch) {
        let message =
            format!("the branch {} is checked out in a worktree, which must not change under it", started.branch);
        return Err(CliError::setup(message).hint("check out another branch there first"));
    }
    let is_ours = stored.state.checkpoints.iter().any(|c| c.commit == now);
    if !is_ours {
        let message =
            format!("the branch {} stands at {}, which is no checkpoint of this session", started.branch, now.short());
        return Err(
            CliError::setup(message).hint("somebody committed to it; move it yourself if that is what you want")
        );
    }
    repo.git().update_refs(&[format!("update {branch} {} {now}", target.commit)])?;
    let untested =
        if is_proven(&stored.state, target) { "" } else { "; no gate of this session found that tree green" };
    let (branch, n, commit) = (&started.branch, target.n, target.commit.short());
    output::print(&format!("{branch} is at checkpoint {n} ({commit}){untested}"));
    Ok(Verdict::Passed)
}

/// True for the base and for trees whose required gates are on record as green; where no gate is required, for all.
fn is_proven(state: &State, checkpoint: &Checkpoint) -> bool {
    let green = |round: &Round| round.commit == checkpoint.commit && evidence::round_is_green(state, round);
    let none_required = state.settings().is_some_and(|s| !s.gates.iter().any(|g| g.required));
    none_required || checkpoint.n == 0 || checkpoint.advance || state.rounds.iter().any(green)
}
