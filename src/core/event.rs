//! Events: what happened, in the order in which it happened. The journal is a list of them; everything that
//! anyone ever sees of a session is a function of that list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Reservation, Resource, Usage};
use super::decision::Decision;
use super::effect::{AgentReport, Broken, Capture, EffectKey, GateResult, LostEffect, Merge};
use super::fault::Fault;
use super::id::{Commit, GateName, RequirementId, SessionId, TaskId};
use super::plan::Plan;
use super::prd::{Priority, Warning};
use super::recovery::Strategy;
use super::settings::Settings;
use super::time::At;
use super::verdict::Verdict;

/// The version of the journal's format. Older journals stay readable.
pub const JOURNAL_VERSION: u32 = 1;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// 1, 2, 3, …
    pub seq: u64,
    /// When.
    pub at: At,
    /// What.
    pub event: Event,
}

/// A requirement, as the journal keeps it for the reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequirementSummary {
    /// Its id.
    pub id: RequirementId,
    /// What is wanted.
    pub text: String,
    /// How urgent.
    pub priority: Priority,
    /// How many criteria are tied to it.
    pub criteria: u32,
    /// 1-based line in the PRD.
    pub line: u32,
}

/// The PRD, as the journal keeps it for the reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PrdSummary {
    /// Path as the user gave it, relative to the repository where it lies inside.
    pub path: String,
    /// SHA-256 (hex) of its bytes.
    pub sha256: String,
    /// Title.
    pub title: String,
    /// Short name.
    pub feature: String,
    /// Its requirements.
    pub requirements: Vec<RequirementSummary>,
    /// What the reader warned of.
    pub warnings: Vec<Warning>,
}

/// The first event of every journal: what is run, where, and under which rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SessionStarted {
    /// Version of the journal's format.
    pub version: u32,
    /// Version of maestro-ci.
    pub tool_version: String,
    /// This session.
    pub session: SessionId,
    /// The PRD.
    pub prd: PrdSummary,
    /// The commit everything starts from.
    pub base: Commit,
    /// The branch that stood there, if any.
    pub base_branch: Option<String>,
    /// The result branch.
    pub branch: String,
    /// The result branch's commit when the session started, if it existed.
    pub branch_was: Option<Commit>,
    /// Directory of this session's workspaces.
    pub work_dir: String,
    /// SHA-256 (hex) over plan and configuration.
    pub fingerprint: String,
    /// What agents and gates are walled in by: `L0`, `L1`, `L2`.
    pub isolation: String,
    /// The rules.
    pub settings: Settings,
    /// The command of a `command` agent, for resume.
    pub agent_command: Option<String>,
    /// Things the user should know before anything runs.
    pub notes: Vec<String>,
}

/// The phases of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading the approved PRD.
    Planning,
    /// Making tasks of it.
    TaskGeneration,
    /// Agents at work.
    Implementation,
    /// Gates.
    Validation,
    /// Status, branch, reports.
    Handoff,
}

impl Phase {
    /// 1 to 5.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    /// As the log shows it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Planning => "Planning",
            Self::TaskGeneration => "Task Generation",
            Self::Implementation => "Implementation",
            Self::Validation => "Validation",
            Self::Handoff => "Handoff",
        }
    }
}

/// How a task ended, once and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Integrated.
    Done,
    /// Declared as without change, and without change.
    NoOp,
    /// Given up.
    Failed,
    /// Never started: something it needs was given up.
    Blocked,
}

impl TaskStatus {
    /// True where what depends on the task may start.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::NoOp)
    }
}

/// A task that waits, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// The task.
    pub task: TaskId,
    /// What it needs and will not get.
    pub on: Vec<TaskId>,
}

/// Why a run stops before its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum StopCause {
    /// A signal.
    Signal {
        /// 2 (SIGINT) or 15 (SIGTERM).
        signal: i32,
    },
    /// A limit.
    Budget {
        /// Of what.
        resource: Resource,
        /// Used when the run was stopped.
        used: u64,
        /// The limit.
        limit: u64,
        /// True: running attempts may finish; false: they are ended.
        soft: bool,
    },
    /// Tasks are left on which the agent could not work.
    Agent {
        /// Which, and why.
        message: String,
    },
    /// The machine cannot do the work.
    Environment {
        /// What is missing.
        message: String,
    },
    /// The repository or the session is broken.
    Critical {
        /// What is broken.
        message: String,
    },
}

impl StopCause {
    /// True where running attempts may finish.
    pub fn is_soft(&self) -> bool {
        matches!(self, Self::Budget { soft: true, .. })
    }
}

/// Which gates a round runs, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoundPurpose {
    /// The test gates, before a checkpoint.
    Checkpoint,
    /// All gates, on the finished tree.
    Final,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A session began.
    SessionStarted(Box<SessionStarted>),
    /// A session whose process died goes on.
    Resumed {
        /// What was under way.
        lost: Vec<LostEffect>,
        /// The session's limits from here on; a stopped budget may have been raised.
        budget: Budget,
        /// The limits of one task from here on.
        task_budget: Budget,
    },
    /// A phase began.
    PhaseStarted {
        /// Which.
        phase: Phase,
    },
    /// The plan is made.
    Planned {
        /// All of it.
        plan: Box<Plan>,
    },
    /// A request is made again after a resume.
    Restarted {
        /// Which.
        key: EffectKey,
    },
    /// The base tree is being prepared.
    SetupStarted,
    /// The base tree is ready.
    SetupDone,
    /// `workspace.setup` failed.
    SetupFailed {
        /// What it said; untrusted text.
        message: String,
    },
    /// An attempt began.
    AttemptStarted {
        /// Whose.
        task: TaskId,
        /// Which, from 1.
        attempt: u32,
        /// What is different about it.
        strategy: Strategy,
        /// The commit it starts from.
        onto: Commit,
        /// What is set aside for it.
        reserved: Reservation,
    },
    /// The attempt's workspace is ready.
    WorkspaceReady {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// Wall-clock limit of the agent, milliseconds.
        limit_ms: u64,
    },
    /// A running agent reported what it has used so far.
    UsageReported {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// The total so far.
        usage: Usage,
    },
    /// A running attempt is being ended: it went over its task's budget.
    AttemptStopping {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// Of what.
        resource: Resource,
        /// Used.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// An agent ended.
    AgentEnded {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// How.
        report: AgentReport,
    },
    /// What an attempt left behind is kept.
    Captured {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// What.
        capture: Capture,
    },
    /// An attempt failed.
    AttemptFailed {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// How.
        fault: Fault,
    },
    /// A task will be tried again.
    RetryScheduled {
        /// Which.
        task: TaskId,
        /// Not before this `elapsed_ms`.
        not_before_ms: u64,
        /// What will be different.
        strategy: Strategy,
    },
    /// The agent cannot work on this task now; a resume tries again.
    TaskParked {
        /// Which.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// An integration began.
    IntegrationStarted {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// Where it goes.
        tip: Commit,
    },
    /// An integration ended.
    Merged {
        /// Whose.
        task: TaskId,
        /// Which.
        attempt: u32,
        /// How.
        merge: Merge,
    },
    /// A task is settled, once.
    TaskSettled {
        /// Which.
        task: TaskId,
        /// How.
        status: TaskStatus,
        /// Why, where it is not a success.
        reason: Option<String>,
    },
    /// A decision was made.
    Decided {
        /// All of it.
        decision: Decision,
    },
    /// Nothing is ready and nothing runs, yet tasks are left.
    Stalled {
        /// Which, and for what they wait.
        waiting: Vec<Waiting>,
    },
    /// Gates begin to look at a commit.
    RoundStarted {
        /// Which round, from 1.
        round: u32,
        /// What for.
        purpose: RoundPurpose,
        /// The commit.
        commit: Commit,
        /// The gates.
        gates: Vec<GateName>,
    },
    /// A gate began.
    GateStarted {
        /// Which round.
        round: u32,
        /// Which gate.
        gate: GateName,
        /// Wall-clock limit, milliseconds.
        limit_ms: u64,
    },
    /// A gate ended.
    GateEnded {
        /// Which round.
        round: u32,
        /// Which gate.
        gate: GateName,
        /// How.
        result: GateResult,
    },
    /// A checkpoint is being made.
    CheckpointStarted {
        /// Its number.
        n: u32,
        /// The commit.
        commit: Commit,
        /// Why now.
        reason: String,
        /// True: the result branch moves here.
        advance: bool,
    },
    /// A checkpoint is durable.
    CheckpointCreated {
        /// Its number.
        n: u32,
    },
    /// The PRD's status is being written back.
    StatusWriteStarted {
        /// The new status.
        status: String,
        /// Where it goes.
        tip: Commit,
    },
    /// The PRD's status is written back.
    StatusWritten {
        /// The commit; none where the PRD is not in the repository.
        commit: Option<Commit>,
    },
    /// The run stops before its end.
    StopRequested {
        /// Why.
        stop: StopCause,
    },
    /// The tip goes back to a checkpoint.
    RollbackStarted {
        /// Its number.
        n: u32,
        /// Its commit.
        to: Commit,
    },
    /// The tip is back at the checkpoint.
    RolledBack,
    /// A request could not be carried out.
    EffectBroken {
        /// Which.
        key: EffectKey,
        /// How.
        broken: Broken,
    },
    /// The session is over; nothing follows but a resume.
    SessionFinished {
        /// How.
        verdict: Verdict,
        /// Why, in one line.
        reason: String,
    },
}
