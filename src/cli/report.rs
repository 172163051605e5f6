//! `report`: any report, made again from the journal and the files that it names.

use super::error::CliError;
use super::flags::{Global, ReportArgs, ReportFormat};
use super::output;
use super::session::{self, Stored};
use crate::core::Verdict;
use crate::report::{self, CommentContext, Format, Report};

pub fn report(global: &Global, args: &ReportArgs) -> Result<Verdict, CliError> {
    let (_, stored) = session::find(global, args.session.as_deref())?;
    let report = Report::from_records(&stored.records)?;
    let text = match args.format {
        ReportFormat::Json => render(Format::Json, &report, &stored),
        ReportFormat::Junit => render(Format::Junit, &report, &stored),
        ReportFormat::Markdown => render(Format::Markdown, &report, &stored),
        ReportFormat::Html => render(Format::Html, &report, &stored),
        ReportFormat::Sarif => render(Format::Sarif, &report, &stored),
        ReportFormat::Comment => Ok(comment(&report)),
    };
    output::print(&text?);
    Ok(Verdict::Passed)
}

fn render(format: Format, report: &Report, stored: &Stored) -> Result<String, CliError> {
    let text = report::render(format, report, &|name| stored.dir.read_file(name));
    text.map_err(|e| CliError::new(Verdict::Report, format!("the report cannot be made: {e}")))
}

fn comment(report: &Report) -> String {
    let marker = report::comment_marker(&report.prd.path);
    report::comment(report, &CommentContext { marker, ..CommentContext::default() })
}
