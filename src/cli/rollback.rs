//! `rollback`: a session's result branch goes back to one of its checkpoints. The user's checkout is not touched.

use super::error::CliError;
use super::flags::{Global, RollbackArgs};
use super::{output, session};
use crate::core::Verdict;
use crate::journal::BranchLock;

pub fn rollback(global: &Global, args: &RollbackArgs) -> Result<Verdict, CliError> {
    let (repo, stored) = session::find(global, args.session.as_deref())?;
    let Some(started) = &stored.state.started else { return Err(CliError::setup("the session has no first record")) };
    let durable: Vec<_> = stored.state.checkpoints.iter().filter(|c| c.durable).collect();
    let target = match args.to {
        Some(n) => durable.iter().find(|c| c.n == n),
        None => durable.iter().rev().nth(1),
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
    output::print(&format!("{} is at checkpoint {} ({})", started.branch, target.n, target.commit.short()));
    Ok(Verdict::Passed)
}
