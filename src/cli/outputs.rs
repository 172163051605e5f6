//! The reports that flags of a run ask for: where each goes, whether it can go there, and writing them.

use std::io;
use std::path::{Path, PathBuf};

use super::error::CliError;
use super::flags::RunArgs;
use crate::core::{Record, Verdict};
use crate::driver::Asked;
use crate::journal::{SessionDir, make_dir, write_atomic};
use crate::report::{Format, Report, render};

/// The file of a session that says what could not be delivered; not there where everything was.
const MISSING: &str = "undelivered.json";

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

/// Writes the reports that were asked for. One that cannot be written makes the run's exit code 8 where it was 0.
pub fn write(args: &RunArgs, records: &[Record], dir: &SessionDir) -> Result<Verdict, CliError> {
    let asked = asked(args);
    if asked.is_empty() {
        remember(dir, &[]);
        return Ok(Verdict::Passed);
    }
    let report = Report::from_records(records)?;
    let mut missing = Vec::new();
    for (path, format) in asked {
        let text = render(format, &report, &|name| dir.read_file(name)).map_err(|e| e.to_string());
        let written = text.and_then(|text| write_atomic(&path, text.as_bytes()).map_err(|e| e.to_string()));
        if let Err(error) = written {
            let message = format!("{} cannot be written: {error}", path.display());
            tracing::error!("{message}");
            missing.push(message);
        }
    }
    remember(dir, &missing);
    Ok(if missing.is_empty() { Verdict::Passed } else { Verdict::Report })
}

/// Keeps for `status` what could not be delivered; the journal has ended by then.
fn remember(dir: &SessionDir, missing: &[String]) {
    let path = dir.path().join(MISSING);
    let kept = if missing.is_empty() {
        std::fs::remove_file(&path)
    } else {
        serde_json::to_vec_pretty(missing).map_err(Into::into).and_then(|json| write_atomic(&path, &json))
    };
    match kept {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("{} is not kept: {error}", path.display());
        }
        _ => {}
    }
}

/// Keeps one more of them.
pub fn remember_also(dir: &SessionDir, message: &str) {
    let mut all = missing(dir);
    all.push(message.to_owned());
    remember(dir, &all);
}

/// What could not be delivered at the session's latest end.
pub fn missing(dir: &SessionDir) -> Vec<String> {
    let bytes = dir.read_file(MISSING).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
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
