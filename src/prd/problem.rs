//! What is wrong with a PRD, before it has a file name: a byte offset, a message, what to do.
//! In: offsets from the readers of this room. Out: `PrdError::Invalid`. It must not print.

use super::{Diagnostic, PrdError};

/// Something that makes a PRD unusable.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    at: usize,
    message: String,
    help: String,
}

impl Problem {
    pub(super) fn new(at: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: help.into() }
    }

    pub(super) fn in_file(self, name: &str, source: &str) -> PrdError {
        Diagnostic::at(name, source, self.at, self.message, self.help).into()
    }
}
