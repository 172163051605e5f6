//! What `init` finds in a repository: the PRD, the branch that counts, gates; and the one thing it is told, the action.
//! In: flags and the checkout. Out: values that are safe to stand in a pipeline, or an error that says which is not.

use std::path::Path;

use crate::cli::error::CliError;
use crate::core::GateSpec;
use crate::gate::{Listing, detect};
use crate::git::Repo;

/// Where people keep a PRD.
const USUAL: [&str; 4] = ["docs/prd.md", "docs/PRD.md", "prd.md", "PRD.md"];

/// The PRD's path from the top of the checkout: the given one, else one that is there, else the usual one.
///
/// # Errors
/// It lies outside, or its name could be more than a name where a pipeline names it.
pub fn prd(repo: &Repo, given: Option<&Path>) -> Result<String, CliError> {
    let Some(given) = given else {
        let there = USUAL.iter().find(|name| repo.top.join(name).is_file());
        return Ok((*there.unwrap_or(&USUAL[0])).to_owned());
    };
    let path = std::path::absolute(given)?;
    // A directory may be reached through a link; the file need not be there yet.
    let dir = path.parent().and_then(|dir| dir.canonicalize().ok()).or_else(|| path.parent().map(Path::to_owned));
    let top = repo.top.canonicalize()?;
    let whole = dir.unwrap_or_default().join(path.file_name().unwrap_or_default());
    let inside = whole.strip_prefix(&top).ok().and_then(Path::to_str).filter(|p| !p.is_empty() && !p.contains(".."));
    let inside = inside.ok_or_else(|| CliError::usage("--prd: the PRD has to lie in the repository"))?;
    if path.is_dir() {
        return Err(CliError::usage("--prd: this is a directory"));
    }
    plain("--prd", inside)
}

/// The branch that approved PRDs land on: the remote's default, else a usual name, else the one that is checked out.
///
/// # Errors
/// git failed, or the name could be more than a name.
pub fn branch(repo: &Repo) -> Result<String, CliError> {
    let git = repo.git();
    let remote = git.output(&["symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"], Vec::new())?;
    if let Some(name) = remote.text().strip_prefix("origin/").filter(|_| remote.code == 0) {
        return plain("the default branch", name);
    }
    for name in ["main", "master"] {
        if git.commit(&format!("refs/heads/{name}"))?.is_some() {
            return Ok(name.to_owned());
        }
    }
    plain("the current branch", &repo.current_branch()?.unwrap_or_else(|| "main".to_owned()))
}

/// Where the action is: the given place, else this program's own repository at its version, where it has one.
///
/// # Errors
/// The place is none that a workflow could name.
pub fn action(given: Option<&str>) -> Result<Option<String>, CliError> {
    let Some(given) = given else {
        let home = env!("CARGO_PKG_REPOSITORY").strip_prefix("https://github.com/");
        return Ok(home.map(|home| format!("{home}@v{}", env!("CARGO_PKG_VERSION"))));
    };
    let parts = given.split_once('@').filter(|(place, at)| place.split('/').count() >= 2 && !at.is_empty());
    let has_all = parts.is_some_and(|(place, _)| place.split('/').all(|part| !part.is_empty()));
    if !has_all {
        let message = "--action: an action is named as OWNER/REPOSITORY@COMMIT";
        return Err(CliError::usage(message).hint("a commit's full hash is safer than a tag, which can be moved"));
    }
    let (place, at) = given.split_once('@').unwrap_or_default();
    Ok(Some(format!("{}@{}", plain("--action", place)?, plain("--action", at)?)))
}

/// Gates of the checkout as it lies there.
pub fn gates(top: &Path) -> Vec<GateSpec> {
    let entries = std::fs::read_dir(top).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let read = |name: &str| std::fs::read_to_string(top.join(name)).ok();
    detect(&Listing { names, read: &read })
}

/// A value that is nothing but itself in YAML, Groovy and a shell.
fn plain(what: &str, value: &str) -> Result<String, CliError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    if value.chars().all(is_plain) && !value.starts_with('-') {
        return Ok(value.to_owned());
    }
    let message = format!("{what}: only letters, digits, `.`, `_`, `/` and `-` can stand in a pipeline's file");
    Err(CliError::usage(message).hint("give it such a name, or write the pipeline by hand (docs/ci.md)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: Option<&str>) {
        assert_eq!(action(Some(given)).ok().flatten().as_deref(), expected, "{given}");
    }

    #[test]
    fn an_action_is_an_owner_a_repository_and_a_commit() {
        check("acme/maestro-ci@0123abc", Some("acme/maestro-ci@0123abc"));
        check("acme/tools/maestro-ci@v1", Some("acme/tools/maestro-ci@v1"));
        for wrong in ["acme/maestro-ci", "maestro-ci@v1", "/x@v1", "a/@v1", "a/b@", "a/b@v1\n- run: x", "a/b@${{ x }}"]
        {
            check(wrong, None);
        }
    }
}
