//! Findings: what gates and rules have against a piece of work, each with its place. SARIF and annotations are made of
//! them. Data only; the text in them is untrusted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much a finding weighs; the heaviest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It stands against the result.
    Error,
    /// Somebody should look at it.
    Warning,
    /// Good to know.
    Note,
}

impl Level {
    /// As SARIF and reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Which rule: a name that scripts may rely on, like `test-failed`.
    pub rule: String,
    /// How much it weighs.
    pub level: Level,
    /// Path in the repository, with `/`; none where it has no place. Untrusted text.
    pub path: Option<String>,
    /// 1-based line in that file, where known.
    pub line: Option<u32>,
    /// What was found, in one or more lines. Untrusted text.
    pub message: String,
    /// Who found it: `gate test`, `policy`, `task T-003`, `prd`.
    pub source: String,
}

/// True where the tool that wrote a problem's message calls it a warning.
pub fn is_warning(message: &str) -> bool {
    message.starts_with("warning")
}
