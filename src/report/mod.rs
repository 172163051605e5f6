//! Reports: every one is a function of the journal's records.
//!
//! Records flow in; strings flow out, one module for each format, all of them from the one model in `model` (the log
//! and the derived views from the records themselves). Nothing here writes a file, reads a clock or asks git: the
//! caller does, and the same records give the same bytes for ever.

mod build;
mod console;
mod console_attempt;
mod console_end;
mod derived;
mod figures;
mod format;
mod gates;
mod history;
mod json;
mod junit;
mod junit_case;
mod markdown;
mod markdown_sections;
mod model;
mod model_work;
mod next_steps;
mod status;
mod summary;
mod tasks;
#[cfg(test)]
mod testing;

use crate::core::Illegal;

pub use console::{Console, execution_log};
pub use derived::files;
pub use format::limits;
pub use json::{json, schema};
pub use junit::junit;
pub use markdown::final_report;
pub use model::*;
pub use model_work::*;
pub use status::status_text;

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
