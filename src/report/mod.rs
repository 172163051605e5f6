//! Reports: every one is a function of the journal's records.
//!
//! Records flow in; strings flow out, one module for each format, all of them from the one model in `model` (the log
//! and the derived views from the records themselves). Nothing here writes a file, reads a clock or asks git: the
//! caller does, and the same records give the same bytes for ever.

mod annotations;
mod build;
mod comment;
#[cfg(test)]
mod comment_cases;
mod console;
mod console_attempt;
mod console_end;
mod curve;
mod derived;
mod figures;
mod findings;
mod format;
mod gates;
mod history;
mod html;
mod job_summary;
mod json;
mod junit;
mod junit_case;
mod junit_limits;
mod junit_plan;
mod junit_spend;
mod live;
mod markdown;
mod markdown_sections;
mod marker;
mod model;
mod model_measure;
mod model_work;
mod next_steps;
mod overview;
mod progress;
mod render;
mod sarif;
mod status;
mod summary;
mod tasks;
#[cfg(test)]
mod testing;
mod totals;

use crate::core::Illegal;

pub use annotations::annotations;
pub use comment::{CommentContext, comment};
pub use console::{Console, execution_log};
pub use derived::{Emit, each_file};
pub use format::limits;
pub use html::{ReadFile, html};
pub use job_summary::job_summary;
pub use json::{json, schema};
pub use junit::junit;
pub use live::{Live, Work, live};
pub use markdown::final_report;
pub use marker::comment_marker;
pub use model::*;
pub use model_measure::*;
pub use model_work::*;
pub use render::{Format, render};
pub use sarif::sarif;
pub use status::status_text;
pub use totals::Totals;

/// A report that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The journal contradicts itself.
    #[error(transparent)]
    Journal(#[from] Illegal),
    /// The XML writer gave up.
    #[error("the JUnit report could not be written as XML")]
    Junit(#[from] quick_junit::SerializeError),
}
