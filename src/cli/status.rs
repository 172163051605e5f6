//! `status`: how far a session is.

use super::error::CliError;
use super::flags::{Global, StatusArgs};
use super::{output, session};
use crate::core::Verdict;
use crate::report::{self, Report};

pub fn status(global: &Global, args: &StatusArgs) -> Result<Verdict, CliError> {
    let (_, stored) = session::find(global, args.session.as_deref())?;
    let report = Report::from_records(&stored.records)?;
    let reports = stored.dir.path().display().to_string();
    output::print(&if args.json { report::json(&report) } else { report::status_text(&report, &reports) });
    Ok(Verdict::Passed)
}
