//! Finding sessions and reading their journals, for every subcommand that looks at one.

use super::context::discover;
use super::error::CliError;
use super::flags::Global;
use crate::core::{Record, SessionId, State, replay};
use crate::git::Repo;
use crate::journal::{self, SessionDir, Store};

/// A session, read.
pub struct Stored {
    /// Which.
    pub id: SessionId,
    /// Where.
    pub dir: SessionDir,
    /// Its records.
    pub records: Vec<Record>,
    /// What they come to.
    pub state: State,
}

/// The store of a repository.
pub fn store(repo: &Repo) -> Store {
    Store::new(&repo.top)
}

/// Reads a session.
pub fn read(store: &Store, id: &SessionId) -> Result<Stored, CliError> {
    let dir = store.session(id);
    let contents = journal::read(&dir.journal())?;
    let state = replay(&contents.records)?;
    Ok(Stored { id: id.clone(), dir, records: contents.records, state })
}

/// The session a user named (a prefix is enough), else the latest.
pub fn find(global: &Global, named: Option<&str>) -> Result<(Repo, Stored), CliError> {
    let repo = discover(global)?;
    let store = store(&repo);
    let all = store.list();
    let Some(prefix) = named else {
        let latest = all
            .last()
            .ok_or_else(|| CliError::usage("there is no session yet").hint("start one with `maestro-ci --prd …`"))?;
        let stored = read(&store, latest)?;
        return Ok((repo, stored));
    };
    let matching: Vec<&SessionId> = all.iter().filter(|id| id.as_str().starts_with(prefix)).collect();
    match matching.as_slice() {
        [one] => Ok((repo, read(&store, one)?)),
        [] => Err(CliError::usage(format!("there is no session `{prefix}`")).hint("`maestro-ci sessions` lists them")),
        several => {
            Err(CliError::usage(format!("`{prefix}` names {} sessions", several.len())).hint("give more of the id"))
        }
    }
}
