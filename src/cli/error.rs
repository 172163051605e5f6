//! Errors as people see them, and the exit code each has: the one conversion file.

use crate::config::ConfigError;
use crate::core::{Illegal, Verdict};
use crate::driver::DriverError;
use crate::git::{Discovery, GitError};
use crate::journal::{Held, JournalError};
use crate::plan::PlanError;
use crate::prd::{Document, PrdError};
use crate::text::Diagnostic;
use crate::workspace::WorkspaceError;

/// A command that could not do its job.
#[derive(Clone, Debug)]
pub struct CliError {
    /// Its exit code.
    pub verdict: Verdict,
    /// What happened, and where.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl CliError {
    /// An error with its exit code.
    pub fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Self { verdict, message: message.into(), hint: None }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Bad flags.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Verdict::Usage, message)
    }

    /// A machine or repository that is not ready.
    pub fn setup(message: impl Into<String>) -> Self {
        Self::new(Verdict::Setup, message)
    }

    /// A plan that cannot be made, with its place in the PRD.
    pub fn plan(document: &Document, error: PlanError) -> Self {
        let line = document.source.lines().nth((error.line as usize).saturating_sub(1)).unwrap_or_default();
        let diagnostic = Diagnostic {
            file: document.name.clone(),
            line: error.line.max(1),
            column: 1,
            source_line: if error.line == 0 { String::new() } else { line.to_owned() },
            message: error.message,
            help: error.help,
        };
        Self::new(Verdict::InvalidPrd, diagnostic.to_string())
    }
}

impl From<PrdError> for CliError {
    fn from(error: PrdError) -> Self {
        let verdict = match error {
            PrdError::Missing { .. } | PrdError::NotAFile { .. } | PrdError::Io { .. } => Verdict::Usage,
            PrdError::Invalid(_) => Verdict::InvalidPrd,
        };
        Self::new(verdict, error.to_string())
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<Discovery> for CliError {
    fn from(error: Discovery) -> Self {
        let hint = match error {
            Discovery::None { .. } => "run it inside a checkout, or name one with --repo",
            Discovery::Bare { .. } => "clone it, and run maestro-ci in the clone",
            Discovery::Untrusted { .. } => "run the `git config` command that git names, for this directory only",
            Discovery::Git(_) => "install git 2.38 or later",
        };
        Self::setup(error.to_string()).hint(hint)
    }
}

impl From<GitError> for CliError {
    fn from(error: GitError) -> Self {
        Self::setup(error.to_string())
    }
}

impl From<WorkspaceError> for CliError {
    fn from(error: WorkspaceError) -> Self {
        Self::setup(error.to_string())
    }
}

impl From<Held> for CliError {
    fn from(error: Held) -> Self {
        Self::setup(error.to_string()).hint("wait for it to end, or give this run a branch of its own with --branch")
    }
}

impl From<JournalError> for CliError {
    fn from(error: JournalError) -> Self {
        Self::new(Verdict::Internal, error.to_string())
    }
}

impl From<Illegal> for CliError {
    fn from(error: Illegal) -> Self {
        Self::new(Verdict::Internal, error.to_string())
    }
}

impl From<DriverError> for CliError {
    fn from(error: DriverError) -> Self {
        Self::new(Verdict::Internal, error.to_string())
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self::setup(error.to_string())
    }
}
