//! Outcomes: what came of an effect, as data. A failed gate or agent is an outcome, never an `Err`.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::AgentReport;
use super::budget::Resource;
use super::id::Commit;

/// How a process tree ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Ended {
    /// By itself.
    Exited {
        /// Its exit status.
        code: i32,
    },
    /// By a signal that was not ours.
    Signaled {
        /// Its number.
        signal: i32,
    },
    /// By the warden, at its time limit.
    Timeout {
        /// The limit, milliseconds.
        limit_ms: u64,
    },
    /// By the warden, after silence.
    Idle {
        /// The limit, milliseconds.
        limit_ms: u64,
    },
    /// By the warden: it never wrote a first line.
    NoOutput {
        /// The limit, milliseconds.
        limit_ms: u64,
    },
    /// By the warden: its result was in and it went on running.
    Lingered,
    /// By the warden: its processes together held too much memory.
    Memory {
        /// What they held when it was seen, bytes.
        used: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// By the warden: too many processes.
    Processes {
        /// How many there were when it was seen.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// By the warden: too much output.
    Output {
        /// What had been written when it was seen, bytes.
        used: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// By the warden: its files took too much of the disk.
    Disk {
        /// What they took when it was seen, bytes.
        used: u64,
        /// The limit, bytes.
        limit: u64,
    },
    /// By the warden, because the run asked for it.
    Stopped,
    /// It never started.
    NotStarted {
        /// Why.
        message: String,
    },
    /// It was gone when the session was resumed.
    Lost,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { code } => write!(f, "exit status {code}"),
            Self::Signaled { signal } => write!(f, "signal {signal}"),
            Self::Timeout { .. } => f.write_str("timeout"),
            Self::Idle { .. } => f.write_str("idle"),
            Self::NoOutput { .. } => f.write_str("no output"),
            Self::Lingered => f.write_str("ended after its result"),
            Self::Memory { used, limit } => over(f, Resource::Memory, *used, *limit),
            Self::Processes { used, limit } => over(f, Resource::Processes, *used, *limit),
            Self::Output { used, limit } => over(f, Resource::Output, *used, *limit),
            Self::Disk { used, limit } => over(f, Resource::Disk, *used, *limit),
            Self::Stopped => f.write_str("stopped"),
            Self::NotStarted { .. } => f.write_str("not started"),
            Self::Lost => f.write_str("lost"),
        }
    }
}

fn over(f: &mut fmt::Formatter<'_>, resource: Resource, used: u64, limit: u64) -> fmt::Result {
    write!(f, "{resource}: {} of {}", resource.show(used), resource.show(limit))
}

/// How one file changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileChange {
    /// Path in the repository; untrusted text.
    pub path: String,
    /// `A`dded, `M`odified, `D`eleted or `T`ype changed.
    pub status: char,
    /// Lines added; 0 for binary files.
    pub added: u64,
    /// Lines removed; 0 for binary files.
    pub removed: u64,
}

/// An added line that holds a secret; the secret itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeakedLine {
    /// Path in the repository; untrusted text.
    pub path: String,
    /// 1-based line in that file.
    pub line: u32,
    /// True: a value that the run knows for a secret. False: it looks like a token or a private key.
    pub known: bool,
}

/// What an attempt left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capture {
    /// The commit that holds it; none where nothing changed.
    pub commit: Option<Commit>,
    /// Changed files, the first thousand.
    pub files: Vec<FileChange>,
    /// How many files changed in all.
    pub file_count: u64,
    /// How many lines were added and removed in all.
    #[serde(default)]
    pub changed_lines: u64,
    /// Set where the tree must not be integrated: a nested repository, a path no file system should hold.
    pub rejected: Option<String>,
    /// Set where a change breaks the path policy; every changed file was looked at, listed or not.
    pub violation: Option<String>,
    /// Added lines that hold secrets, the first hundred; those with a known one come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<LeakedLine>,
    /// SHA-256 (hex) of the attempt's `changes.patch`; none where none was kept. Reports show a patch only by this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_sha256: Option<String>,
}

/// What came of an integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Merge {
    /// The tip is now this commit.
    Integrated {
        /// The commit.
        commit: Commit,
    },
    /// Both sides changed the same lines; nothing moved.
    Conflict {
        /// The files.
        paths: Vec<String>,
    },
}

/// State of a gate. Only `Passed` is green.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateStatus {
    /// Exit status 0, and no failed test in its report.
    Passed,
    /// A red exit status or a failed test.
    Failed,
    /// It could not be run here: a tool is missing.
    Skipped,
    /// It ran and proved nothing: a timeout, a report that cannot be read, no test at all.
    Inconclusive,
}

/// A test that a gate ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCase {
    /// Class or suite; untrusted text.
    pub classname: String,
    /// Name; untrusted text.
    pub name: String,
    /// `passed`, `failed` or `skipped`.
    pub status: TestStatus,
    /// Milliseconds.
    pub time_ms: u64,
    /// Failure message, bounded; untrusted text.
    pub message: String,
    /// Path in the repository, where the gate's report names a file of it; untrusted text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// 1-based line in that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// Result of one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestStatus {
    /// Green.
    Passed,
    /// Red.
    Failed,
    /// Not run.
    Skipped,
}

/// What a gate's log says about one line of the tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Path in the repository; untrusted text.
    pub path: String,
    /// 1-based line.
    pub line: u32,
    /// What is wrong there, bounded; untrusted text.
    pub message: String,
}

/// What came of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateResult {
    /// Its state.
    pub status: GateStatus,
    /// How its process ended.
    pub ended: Ended,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Why it is not green, or what it counted.
    pub summary: String,
    /// Its own test cases, the first two thousand.
    pub cases: Vec<TestCase>,
    /// Counts of passed, failed and skipped cases in all.
    pub counts: BTreeMap<String, u64>,
    /// What its log says about single lines, where it is red and its report names no failed test; the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// The end of its log; untrusted text.
    pub log_tail: String,
    /// Processes that outlived it and were ended.
    #[serde(default)]
    pub leaked_processes: u32,
}

impl GateResult {
    /// The result of a gate that the run stopped before it could say anything.
    pub fn stopped() -> Self {
        Self {
            status: GateStatus::Inconclusive,
            ended: Ended::Stopped,
            duration_ms: 0,
            summary: "the run was stopped".to_owned(),
            cases: Vec::new(),
            counts: BTreeMap::new(),
            problems: Vec::new(),
            log_tail: String::new(),
            leaked_processes: 0,
        }
    }
}

/// A request that could not be carried out: the world's fault, not the agent's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Broken {
    /// What failed.
    pub message: String,
    /// True where the repository or the session is broken; false where the machine is (disk, permission, tool).
    pub critical: bool,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Setup, preparing, a checkpoint or a rollback is done.
    Done,
    /// `workspace.setup` failed.
    SetupFailed {
        /// What it said; untrusted text.
        message: String,
    },
    /// An agent ended.
    Agent(AgentReport),
    /// A workspace was captured.
    Captured(Capture),
    /// An integration ended.
    Merged(Merge),
    /// A gate ended.
    Gate(GateResult),
    /// The PRD's status stands in this commit; none where the PRD is not in the repository.
    StatusWritten(Option<Commit>),
    /// It could not be done.
    Broken(Broken),
}
