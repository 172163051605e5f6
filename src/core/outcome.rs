//! Outcomes: what came of an effect, as data. A failed gate or agent is an outcome, never an `Err`.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Usage;
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
            Self::Memory { .. } => f.write_str("memory"),
            Self::Processes { .. } => f.write_str("processes"),
            Self::Output { .. } => f.write_str("output"),
            Self::Disk { .. } => f.write_str("disk"),
            Self::Stopped => f.write_str("stopped"),
            Self::NotStarted { .. } => f.write_str("not started"),
            Self::Lost => f.write_str("lost"),
        }
    }
}

/// Why a model API does not serve an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unavailability {
    /// The key is missing, wrong or without the right.
    Auth,
    /// A quota or a credit is used up.
    Quota,
    /// Too many requests, or the API is overloaded.
    Rate,
}

impl fmt::Display for Unavailability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Rate => "rate",
        })
    }
}

/// How an agent's own event stream ended. Its word on itself: it can make an attempt fail, never make it pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Terminal {
    /// It says that it is done.
    Completed,
    /// It says that it failed.
    Failed {
        /// Why, in its words; untrusted text.
        reason: String,
    },
    /// It ended after some of its tool calls were denied.
    Refused {
        /// How many.
        denials: u32,
    },
    /// It stopped at a limit of its own, or at ours.
    Limited {
        /// Which, in its words; untrusted text.
        which: String,
    },
    /// The model API did not serve it.
    Unavailable {
        /// Why.
        why: Unavailability,
        /// Earliest moment at which trying again makes sense, milliseconds since 1970, where known.
        resume_after_ms: Option<i64>,
    },
    /// It ended by a signal, or said something that no version of it should say.
    Crashed,
    /// Its stream ended without the event that ends it.
    NoTerminalEvent,
}

impl fmt::Display for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Completed => f.write_str("completed"),
            Self::Failed { reason } => write!(f, "failed: {reason}"),
            Self::Refused { denials } => write!(f, "refused: {denials} tool calls were denied"),
            Self::Limited { which } => write!(f, "limited: {which}"),
            Self::Unavailable { why, .. } => write!(f, "unavailable: {why}"),
            Self::Crashed => f.write_str("crashed"),
            Self::NoTerminalEvent => f.write_str("no terminal event"),
        }
    }
}

/// What an event stream held, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventCounts {
    /// Messages of the model.
    pub messages: u64,
    /// Thoughts of the model.
    pub thinking: u64,
    /// Tool calls, commands and file changes among them.
    pub tool_uses: u64,
    /// Commands that were run.
    pub commands: u64,
    /// Changes of files.
    pub file_changes: u64,
    /// Errors.
    pub errors: u64,
    /// Denied tool calls.
    pub denials: u64,
}

/// What the warden and the adapter say about one run of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentReport {
    /// How it ended.
    pub ended: Ended,
    /// Wall-clock time, milliseconds.
    pub duration_ms: u64,
    /// What it says that it used; what the gateway counted is on record call by call.
    pub usage: Usage,
    /// How its event stream ended; none where its protocol has no such stream.
    #[serde(default)]
    pub terminal: Option<Terminal>,
    /// What its event stream held.
    #[serde(default)]
    pub events: EventCounts,
    /// Processes that outlived it and were ended.
    pub leaked_processes: u32,
    /// Bytes it wrote to standard output.
    pub stdout_bytes: u64,
    /// Most memory that its processes held together, bytes; sampled.
    #[serde(default)]
    pub peak_memory_bytes: u64,
    /// Most processes at once; sampled.
    #[serde(default)]
    pub peak_processes: u64,
    /// The end of its standard error; untrusted text.
    pub stderr_tail: String,
}

impl AgentReport {
    /// True where the process was gone when the session was resumed.
    pub fn is_lost(&self) -> bool {
        self.ended == Ended::Lost
    }

    /// A report that says only how it ended.
    pub fn bare(ended: Ended) -> Self {
        Self {
            ended,
            duration_ms: 0,
            usage: Usage::default(),
            terminal: None,
            events: EventCounts::default(),
            leaked_processes: 0,
            stdout_bytes: 0,
            peak_memory_bytes: 0,
            peak_processes: 0,
            stderr_tail: String::new(),
        }
    }
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
    /// The end of its log; untrusted text.
    pub log_tail: String,
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
            log_tail: String::new(),
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
