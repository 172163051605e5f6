//! The report's model of the work itself: tasks and attempts, gates and their rounds, requirements, changed files.
//! Data only, and part of the contract of `report.json`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model_measure::WaitReport;
use crate::core::agent::{EventCounts, Terminal, denied};
use crate::core::budget::Usage;
use crate::core::evidence::RequirementStatus;
use crate::core::fault::Fault;
use crate::core::outcome::{FileChange, Problem, TestCase};
use crate::core::prd::Priority;
use crate::core::recovery::Strategy;
use crate::core::session::RoundPurpose;
use crate::core::settings::GateKind;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStanding {
    /// Integrated.
    Done,
    /// Declared as without change, and without change.
    NoOp,
    /// Given up.
    Failed,
    /// Never started: something it needs was given up.
    Blocked,
    /// An attempt is under way, or was when the record ends.
    Running,
    /// Not started, or to be started again.
    Waiting,
    /// The agent could not work on it; a resume tries again.
    Parked,
}

impl TaskStanding {
    /// True where the task came to a good end.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::NoOp)
    }

    /// As reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NoOp => "no-op",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Parked => "parked",
        }
    }
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskReport {
    /// Its id.
    pub id: String,
    /// One line.
    pub title: String,
    /// Its epic's id.
    pub epic: String,
    /// The role that does it.
    pub role: String,
    /// Where it stands.
    pub status: TaskStanding,
    /// Requirements it serves.
    pub requirements: Vec<String>,
    /// Tasks that must be integrated first.
    pub depends_on: Vec<String>,
    /// Its group in the plan, from 0.
    pub group: u32,
    /// Why it did not succeed, where it did not.
    pub reason: Option<String>,
    /// 1-based line in the PRD.
    pub line: u32,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptReport>,
    /// When it did not go on, and why.
    #[serde(default)]
    pub waits: Vec<WaitReport>,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// It is on the tip.
    Integrated,
    /// Nothing had to change, and nothing did.
    NoChange,
    /// It failed.
    Failed,
    /// It waits to be integrated.
    Captured,
    /// It has no end on record.
    Running,
}

/// One attempt at a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptReport {
    /// Which, from 1.
    pub n: u32,
    /// What was different about it.
    pub strategy: Strategy,
    /// Name of the agent.
    pub agent: String,
    /// RFC 3339.
    pub started: String,
    /// The same, milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// The same, active time of the session, milliseconds.
    #[serde(default)]
    pub started_elapsed_ms: u64,
    /// Wall-clock limit of its agent, milliseconds; none until its workspace is ready.
    #[serde(default)]
    pub limit_ms: Option<u64>,
    /// Active time from its start to its end (or to the end of the record), milliseconds.
    pub duration_ms: u64,
    /// What came of it.
    pub outcome: AttemptOutcome,
    /// How it failed, if it did; the message is untrusted text.
    pub fault: Option<Fault>,
    /// What it used, from the best source there is.
    pub usage: Usage,
    /// What the agent itself says that it used, where the gateway counted; the two may differ.
    pub reported_usage: Option<Usage>,
    /// How the agent ended: by its event stream, or by its exit where its protocol has no such stream. None while it
    /// runs.
    pub terminal: Option<Terminal>,
    /// What the agent's event stream held; none where its protocol has no such stream.
    pub events: Option<EventCounts>,
    /// Tools of which calls were denied, the first few, each once; untrusted text.
    #[serde(default)]
    pub denied_tools: Vec<String>,
    /// Most memory that its processes held together, bytes; sampled.
    pub peak_memory_bytes: u64,
    /// Most processes at once; sampled.
    pub peak_processes: u64,
    /// Processes that outlived its agent and were ended.
    pub leaked_processes: u32,
    /// Files it changed, the first thousand; paths are untrusted text.
    pub files: Vec<FileChange>,
    /// How many files it changed in all.
    pub file_count: u64,
    /// The commit it became on the tip, if it did.
    pub commit: Option<String>,
    /// The end of what its agent wrote to standard error; untrusted text.
    #[serde(default)]
    pub log_tail: String,
    /// SHA-256 (hex) of its `changes.patch`, where one was kept.
    #[serde(default)]
    pub patch_sha256: Option<String>,
}

impl AttemptReport {
    /// What to say of its denied tool calls; none where there were none. Untrusted text.
    pub fn denied(&self) -> Option<String> {
        denied(self.events.as_ref(), &self.denied_tools)
    }
}

/// State of a gate. Only `passed` is green.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateStanding {
    /// Green.
    Passed,
    /// Red.
    Failed,
    /// It could not be run here.
    Skipped,
    /// It ran and proved nothing.
    Inconclusive,
    /// The run did not get to it, or not to its end.
    NotRun,
}

impl GateStanding {
    /// As reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Inconclusive => "inconclusive",
            Self::NotRun => "not run",
        }
    }
}

/// A gate in the final round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateReport {
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub kind: GateKind,
    /// False: it decides nothing.
    pub required: bool,
    /// True where it was found by looking at the repository.
    pub detected: bool,
    /// Its state.
    pub status: GateStanding,
    /// When it began, milliseconds since the Unix epoch; none where it did not.
    #[serde(default)]
    pub started_ms: Option<i64>,
    /// The same, active time of the session, milliseconds.
    #[serde(default)]
    pub started_elapsed_ms: Option<u64>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Why it is not green, or what it counted.
    pub summary: String,
    /// Passed, failed and skipped test cases in all.
    pub counts: BTreeMap<String, u64>,
    /// Requirements whose evidence it is.
    pub requirements: Vec<String>,
    /// Its own test cases, the first two thousand; untrusted text.
    pub cases: Vec<TestCase>,
    /// What its log says about single lines, where it is red and its report names no failed test; untrusted text.
    #[serde(default)]
    pub problems: Vec<Problem>,
    /// The round, from 1; none where there was no final round.
    pub round: Option<u32>,
    /// The end of its log; untrusted text.
    pub log_tail: String,
    /// Processes that outlived it and were ended.
    #[serde(default)]
    pub leaked_processes: u32,
}

/// A round of gates before the final one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundReport {
    /// Which, from 1.
    pub n: u32,
    /// What for.
    pub purpose: RoundPurpose,
    /// The commit it looked at.
    pub commit: String,
    /// Its gates.
    pub gates: Vec<RoundGate>,
}

/// A gate in an earlier round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundGate {
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: GateStanding,
    /// When it began, milliseconds since the Unix epoch; none where it did not.
    #[serde(default)]
    pub started_ms: Option<i64>,
    /// The same, active time of the session, milliseconds.
    #[serde(default)]
    pub started_elapsed_ms: Option<u64>,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Why it is not green, or what it counted.
    pub summary: String,
}

/// A requirement with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequirementReport {
    /// Its id.
    pub id: String,
    /// What is wanted.
    pub text: String,
    /// How urgent.
    pub priority: Priority,
    /// Whether it is met.
    pub status: RequirementStatus,
    /// What proves it.
    pub evidence: Vec<String>,
    /// Why it is not met, or what is missing.
    pub reason: String,
    /// 1-based line in the PRD.
    pub line: u32,
}

/// Files that integrated tasks changed; lines are sums over those tasks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// By path.
    pub files: Vec<FileChange>,
    /// Number of files created.
    pub created: u64,
    /// Number of files modified.
    pub modified: u64,
    /// Number of files deleted.
    pub deleted: u64,
    /// Changed files that no list holds, because one task changed more than a thousand.
    pub not_listed: u64,
}
