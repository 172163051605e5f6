//! Reads a PRD as people write them, and writes its status back.
//!
//! In: a Markdown file, with frontmatter at its top, below its title, or none. Out: a [`Document`]: the words of
//! `core::prd`, and where in the bytes the bookkeeping stands. Anything that makes the file unusable is a
//! [`PrdError::Invalid`] with line and column; anything odd is a warning in the `Prd`.
//! Nothing in a PRD is executed here, and nothing is written to disk: [`approve`] and [`write_back()`] return text.

use std::path::{Path, PathBuf};

use crate::core::Prd;
use crate::text::Diagnostic;

mod approval;
mod assemble;
mod checks;
mod criteria;
mod edit;
mod found;
mod frontmatter;
mod hidden;
mod ident;
mod join;
mod layout;
mod lists;
mod markdown;
mod outline;
mod problem;
mod requirements;
mod scenario;
mod source;
mod status;
mod tasks;
mod write_back;
mod yaml;

pub use approval::approve;
pub use write_back::{Bookkeeping, write_back};

use assemble::Traces;

/// A PRD with the text it was read from.
#[derive(Clone, Debug)]
pub struct Document {
    /// The name it was given, for messages.
    pub name: String,
    /// The text, exactly as it was read.
    pub source: String,
    /// What it says.
    pub prd: Prd,
    traces: Traces,
}

/// Why there is no PRD.
#[derive(Debug, thiserror::Error)]
pub enum PrdError {
    /// There is no such file.
    #[error("{path:?}: there is no such file; give the path of a PRD with --prd")]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A directory, a FIFO, a device.
    #[error("{path:?}: not a regular file; give the path of a PRD with --prd")]
    NotAFile {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The file is there and cannot be read.
    #[error("{path:?}: {source}")]
    Io {
        /// The path as it was given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was read and is not a usable PRD.
    #[error("{0}")]
    Invalid(Box<Diagnostic>),
}

impl From<Diagnostic> for PrdError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Invalid(Box::new(diagnostic))
    }
}

/// Reads a PRD from a regular file of at most 1 MiB. Never blocks on a FIFO or a device.
///
/// # Errors
/// Every kind of [`PrdError`].
pub fn load(path: &Path) -> Result<Document, PrdError> {
    parse(&path.to_string_lossy(), &source::read(path)?)
}

/// Reads a PRD from bytes; `name` is what messages call it, and names the feature where nothing else does.
///
/// # Errors
/// [`PrdError::Invalid`] with the place.
pub fn parse(name: &str, bytes: &[u8]) -> Result<Document, PrdError> {
    let source = source::text(name, bytes)?;
    match assemble::read(name, &source) {
        Ok((prd, traces)) => Ok(Document { name: name.to_owned(), source, prd, traces }),
        Err(problem) => Err(problem.in_file(name, &source)),
    }
}

/// The 1-based line on which the status that counts stands; none where the PRD has no status.
pub fn status_line(document: &Document) -> Option<usize> {
    let at = document.traces.status_at()?;
    Some(document.source.get(..at)?.matches('\n').count() + 1)
}

/// True where the PRD holds text that its reader did not see; `--strict-prd` refuses it.
pub fn hidden_text(document: &Document) -> bool {
    document.traces.hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let error = parse("docs/prd.md", text.as_bytes()).expect_err(text).to_string();
        assert!(error.starts_with(&format!("docs/prd.md:{expected}")), "{error}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        check("---\nstatus: [approved]\n---\n- FR-1: a\n", "2:9: `status` is a list");
        check("---\nstatus: approved\nstatus: draft\n---\n", "3:1: the key `status`");
        check("---\nstatus: approved\n", "1:1: the frontmatter is opened here");
        check("---\na: 1\n---\n\n---\nb: 1\n---\n", "5:1: this is a second frontmatter");
        check("---\nstatus: approved\n---\n# T\n\ntext\n", "1:1: the PRD states no requirements");
        check("## Requirements\n\n- FR-1: a\n- FR-1: b\n", "4:1: requirement `FR-1` stands twice");
        check("\0", "1:1: there is a NUL byte");
    }

    #[test]
    fn a_byte_order_mark_and_line_ends_of_windows_change_nothing() {
        let text = "---\nstatus: approved\n---\n# T\n\n## Requirements\n\n- FR-1: a\n  - b\n";
        let one = parse("t.md", text.as_bytes()).expect("readable").prd;
        let two = parse("t.md", format!("\u{feff}{}", text.replace('\n', "\r\n")).as_bytes()).expect("readable").prd;
        assert_eq!(one, two);
    }

    #[test]
    fn hidden_text_is_told_and_not_refused() {
        let text = "## Requirements\n\n- FR-1: a\u{202e}b\n\n<!-- do more -->\n";
        let document = parse("t.md", text.as_bytes()).expect("readable");
        assert!(hidden_text(&document));
        let lines: Vec<u32> = document.prd.warnings.iter().map(|warning| warning.line).collect();
        assert_eq!(lines, [3, 5]);
    }

    #[test]
    fn bombs_end_at_once() {
        let deep = format!("---\na: {}\n---\n", "[".repeat(100_000));
        let quotes = format!("## Requirements\n\n{} a\n", ">".repeat(50_000));
        let lists: String = (0..2_000).map(|n| format!("{}- a\n", "  ".repeat(n % 200))).collect();
        assert!(parse("t.md", deep.as_bytes()).is_err());
        // What counts for these is that they come back; whether they state anything does not.
        for text in [quotes, lists] {
            drop(parse("t.md", text.as_bytes()));
        }
    }
}
