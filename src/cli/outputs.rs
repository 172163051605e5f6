//! The reports that flags of a run ask for: where each goes, and whether it can go there.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::flags::RunArgs;
use crate::driver::Asked;
use crate::journal::make_dir;
use crate::report::Format;

/// Every report that can be asked for: its flag, its path where it was, its format.
fn flags(args: &RunArgs) -> [(&'static str, &Option<PathBuf>, Format); 5] {
    [
        ("--json", &args.json, Format::Json),
        ("--junit", &args.junit, Format::Junit),
        ("--markdown", &args.markdown, Format::Markdown),
        ("--html", &args.html, Format::Html),
        ("--sarif", &args.sarif, Format::Sarif),
    ]
}

/// The reports that were asked for.
pub fn asked(args: &RunArgs) -> Vec<Asked> {
    flags(args).into_iter().filter_map(|(_, path, format)| Some((path.clone()?, format))).collect()
}

/// Makes the directories of the reports that a resume takes over, where it can: the rest is found out when they are
/// written.
pub fn make_places(args: &RunArgs) {
    for (path, _) in asked(args) {
        if let Err(error) = make_dir(dir_of(&path)) {
            tracing::debug!("{}: {error}", path.display());
        }
    }
}

/// Report paths that cannot work, or would replace something, are refused before anything is spent.
pub fn check(args: &RunArgs) -> Result<(), CliError> {
    let refused =
        |flag: &str, path: &Path, why: &str| Err(CliError::usage(format!("{flag} {}: {why}", path.display())));
    let mut taken: Vec<PathBuf> = Vec::new();
    let reports = flags(args).into_iter().map(|(flag, path, _)| (flag, path));
    // Variables that cannot be written are a warning at the end; they only must not replace a report.
    for (flag, path) in reports.chain([("--dotenv", &args.dotenv)]) {
        let Some(path) = path else { continue };
        let why = if flag == "--dotenv" { None } else { objection(args, path) };
        if let Some(why) = why {
            return refused(flag, path, &why);
        }
        let place = place_of(path);
        if taken.contains(&place) {
            return refused(flag, path, "another report goes there already");
        }
        taken.push(place);
    }
    Ok(())
}

/// Where a file with this path is, however the path is spelled: the directory as it really is. The file itself is
/// replaced, so it is no matter where a link of this name leads.
fn place_of(path: &Path) -> PathBuf {
    match (dir_of(path).canonicalize(), path.file_name()) {
        (Ok(dir), Some(name)) => dir.join(name),
        _ => path.to_owned(),
    }
}

fn dir_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Why a report cannot be written to a path.
fn objection(args: &RunArgs, path: &Path) -> Option<String> {
    if args.prd.as_ref().is_some_and(|prd| same_file(prd, path)) {
        return Some("this is the PRD".to_owned());
    }
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => return Some("this is a directory".to_owned()),
        Ok(meta) if !meta.is_file() => return Some("this is not a regular file".to_owned()),
        _ => {}
    }
    let is_config = path.ends_with(crate::config::PATH) || args.config.as_ref().is_some_and(|c| same_file(c, path));
    if is_config || path.components().any(|c| c.as_os_str() == ".git") {
        return Some("this is a file that the run reads".to_owned());
    }
    let dir = dir_of(path);
    let writable = make_dir(dir).and_then(|()| tempfile::tempfile_in(dir).map(|_| ()));
    writable.err().map(|error| format!("it cannot be written there: {error}"))
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
