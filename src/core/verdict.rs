//! The verdict and its exit code: one enum, one precedence. README and action.yml are checked against it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a command ended, as the world sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All required gates green and requirements met, or nothing to do.
    Passed,
    /// Ran to its end; a task, gate or requirement failed.
    Failed,
    /// Bad flags or configuration.
    Usage,
    /// The PRD cannot be read.
    InvalidPrd,
    /// The PRD is not approved, or no longer what was approved.
    NotApproved,
    /// Stopped at a limit; resumable.
    Budget,
    /// The machine or repository is not ready.
    Setup,
    /// The agent could not work.
    Agent,
    /// The work is done; something that was asked for besides is not delivered.
    Report,
    /// A critical failure; the last good checkpoint was restored.
    RolledBack,
    /// A bug or a corrupt journal.
    Internal,
    /// SIGINT; resumable.
    Interrupted,
    /// SIGTERM; resumable.
    Terminated,
}

impl Verdict {
    /// All of them, by exit code.
    pub const ALL: [Self; 13] = [
        Self::Passed,
        Self::Failed,
        Self::Usage,
        Self::InvalidPrd,
        Self::NotApproved,
        Self::Budget,
        Self::Setup,
        Self::Agent,
        Self::Report,
        Self::RolledBack,
        Self::Internal,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The process's exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InvalidPrd => 3,
            Self::NotApproved => 4,
            Self::Budget => 5,
            Self::Setup => 6,
            Self::Agent => 7,
            Self::Report => 8,
            Self::RolledBack => 9,
            Self::Internal => 70,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// Its name in reports and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::InvalidPrd => "invalid PRD",
            Self::NotApproved => "not approved",
            Self::Budget => "budget",
            Self::Setup => "setup",
            Self::Agent => "agent",
            Self::Report => "report",
            Self::RolledBack => "rolled back",
            Self::Internal => "internal",
            Self::Interrupted | Self::Terminated => "interrupted",
        }
    }

    /// True where the same command goes on with the session.
    pub fn is_resumable(self) -> bool {
        matches!(self, Self::Budget | Self::Setup | Self::Agent | Self::Interrupted | Self::Terminated)
    }

    /// 70 > 130/143 > 9 > 5 > 7 > 1 > 8 > 0; those that end a run before it starts come first.
    fn rank(self) -> u8 {
        match self {
            Self::Internal => 12,
            Self::Usage | Self::InvalidPrd | Self::NotApproved | Self::Setup => 11,
            Self::Interrupted | Self::Terminated => 10,
            Self::RolledBack => 9,
            Self::Budget => 8,
            Self::Agent => 7,
            Self::Failed => 6,
            Self::Report => 5,
            Self::Passed => 0,
        }
    }

    /// The one that counts where both hold.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_verdicts_follows_the_documented_precedence() {
        let order = [
            Verdict::Internal,
            Verdict::Interrupted,
            Verdict::RolledBack,
            Verdict::Budget,
            Verdict::Agent,
            Verdict::Failed,
            Verdict::Report,
            Verdict::Passed,
        ];
        for pair in order.windows(2) {
            assert_eq!(pair[0].worse(pair[1]), pair[0]);
            assert_eq!(pair[1].worse(pair[0]), pair[0]);
        }
    }

    #[test]
    fn every_verdict_has_a_code_of_its_own() {
        let codes: std::collections::BTreeSet<u8> = Verdict::ALL.iter().map(|v| v.code()).collect();
        assert_eq!(codes.len(), Verdict::ALL.len());
    }
}
