//! The formats of the report, by name: what `report --format`, the flags of a run and the files of a session are made
//! by. A report flows in, the text of one format flows out.

use super::ReportError;
use super::html::{ReadFile, html};
use super::json::json;
use super::junit::junit;
use super::markdown::final_report;
use super::model::Report;
use super::sarif::sarif;

/// A format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// The versioned JSON report.
    Json,
    /// `JUnit` XML.
    Junit,
    /// The final report.
    Markdown,
    /// One page for a browser.
    Html,
    /// SARIF 2.1.0.
    Sarif,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Json, Self::Junit, Self::Markdown, Self::Html, Self::Sarif];

    /// The name of its file in a session's directory.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::Json => "report.json",
            Self::Junit => "junit.xml",
            Self::Markdown => "final-report.md",
            Self::Html => "report.html",
            Self::Sarif => "report.sarif",
        }
    }
}

/// The report in a format. `read` gives the bytes of a file in the session's directory, by its path in there.
///
/// # Errors
/// An XML writer that gave up.
pub fn render(format: Format, report: &Report, read: ReadFile<'_>) -> Result<String, ReportError> {
    Ok(match format {
        Format::Json => json(report),
        Format::Junit => junit(report)?,
        Format::Markdown => final_report(report),
        Format::Html => html(report, read),
        Format::Sarif => sarif(report),
    })
}
