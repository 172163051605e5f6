//! `report`: any report, made again from the journal alone.

use super::error::CliError;
use super::flags::{Global, ReportArgs, ReportFormat};
use super::{output, session};
use crate::core::Verdict;
use crate::report::{self, Report};

pub fn report(global: &Global, args: &ReportArgs) -> Result<Verdict, CliError> {
    let (_, stored) = session::find(global, args.session.as_deref())?;
    let report = Report::from_records(&stored.records)?;
    let text = match args.format {
        ReportFormat::Json => report::json(&report),
        ReportFormat::Markdown => report::final_report(&report),
        ReportFormat::Junit => report::junit(&report)
            .map_err(|e| CliError::new(Verdict::Report, format!("the JUnit report cannot be made: {e}")))?,
    };
    output::print(&text);
    Ok(Verdict::Passed)
}
