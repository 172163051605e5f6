//! `clean`: old sessions and their workspaces go. Tags and branches stay: they are results.

use std::path::Path;

use super::context::discover;
use super::error::CliError;
use super::flags::{CleanArgs, Global};
use super::{output, session, start};
use crate::core::{SessionId, Verdict};
use crate::journal::BranchLock;

pub fn clean(global: &Global, args: &CleanArgs) -> Result<Verdict, CliError> {
    let age_ms = age_ms(&args.older_than)?;
    let repo = discover(global)?;
    let store = session::store(&repo);
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let mut removed = 0;
    for id in store.list() {
        let Ok(stored) = session::read(&store, &id) else {
            let dir = store.session(&id);
            tracing::warn!(
                "session {id} cannot be read; remove {} yourself if you do not need it",
                dir.path().display()
            );
            continue;
        };
        if now_ms.saturating_sub(stored.state.at.wall_ms) < age_ms {
            continue;
        }
        let Some(started) = &stored.state.started else { continue };
        // A session that somebody works on is not old, whatever its journal says.
        let lock_path = store.lock_path(&started.branch)?;
        let Ok(_lock) = BranchLock::take(&lock_path, "clean") else { continue };
        if start::can_go_on(&stored.state) && stored.state.finished.is_none() {
            tracing::info!("session {id} was never finished");
        }
        remove(Path::new(&started.work_dir), &id);
        std::fs::remove_dir_all(stored.dir.path())?;
        let tip = format!("refs/maestro/{id}/tip");
        if repo.git().commit(&tip)?.is_some() {
            repo.git().update_refs(&[format!("delete {tip}")])?;
        }
        removed += 1;
    }
    output::print(&format!("{removed} sessions removed"));
    Ok(Verdict::Passed)
}

/// Removes a session's workspaces; the path comes from a file, so it must at least bear the session's name: its last
/// part or, in older journals, the whole.
fn remove(work_dir: &Path, id: &SessionId) {
    if work_dir.file_name().is_some_and(|name| name == id.as_str() || name == start::short(id))
        && let Err(error) = std::fs::remove_dir_all(work_dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!("{} is left behind: {error}", work_dir.display());
    }
}

/// `14d`, `12h`, `0d`.
fn age_ms(text: &str) -> Result<i64, CliError> {
    let bad = || CliError::usage(format!("--older-than: `{text}` is not an age")).hint("14d, 12h");
    let (number, unit) = text.char_indices().last().map_or(("", ""), |(at, _)| text.split_at(at));
    let number: i64 = number.parse().map_err(|_| bad())?;
    let unit_ms = match unit {
        "d" => 86_400_000,
        "h" => 3_600_000,
        "m" => 60_000,
        "s" => 1000,
        _ => return Err(bad()),
    };
    number.checked_mul(unit_ms).filter(|ms| *ms >= 0).ok_or_else(bad)
}
