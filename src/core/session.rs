//! The words of a session that events are made of: what is run, its phases, how tasks and runs end.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Resource;
use super::call::Scope;
use super::fault::LimitHit;
use super::id::{Commit, RequirementId, SessionId, TaskId};
use super::prd::{Priority, Warning};
use super::settings::Settings;

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
    /// Criteria of the PRD as a whole.
    #[serde(default)]
    pub criteria: Vec<String>,
    /// What the reader warned of.
    pub warnings: Vec<Warning>,
}

/// An agent, as it was found before the session started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentInfo {
    /// Its name in the configuration.
    pub name: String,
    /// How it is spoken to.
    pub protocol: String,
    /// Its version, where it has one that it told.
    pub version: Option<String>,
    /// True where this version is one that maestro-ci was tested with.
    pub tested: bool,
    /// Where the gateway passes its calls on to. Empty: nobody counts them.
    #[serde(default)]
    pub apis: Vec<AgentApi>,
    /// True where the settings, hooks and servers that the repository holds for it are loaded.
    #[serde(default)]
    pub repo_settings: bool,
}

/// An API that an agent reaches through the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AgentApi {
    /// `anthropic`, `openai` or `gemini`.
    pub provider: String,
    /// Its address, without a name or password in it.
    pub address: String,
    /// The variable that holds its key; none where it is called without one.
    pub key: Option<String>,
}

impl AgentInfo {
    /// Name, version, and whether that version is one that maestro-ci was tested with.
    pub fn in_words(&self) -> String {
        let named =
            if self.name == self.protocol { self.name.clone() } else { format!("{} ({})", self.name, self.protocol) };
        let found = match (&self.version, self.tested) {
            (Some(version), true) => format!("{named} {version}"),
            (Some(version), false) => format!("{named} {version}, a version that maestro-ci was not tested with"),
            (None, _) => named,
        };
        if self.repo_settings { format!("{found}, with the repository's settings") } else { found }
    }
}

/// The table of prices that is part of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PriceList {
    /// The day on which it was made, `YYYY-MM-DD`.
    pub date: String,
    /// What it was made from.
    pub source: String,
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
    /// The agents that the session may use.
    #[serde(default)]
    pub agents: Vec<AgentInfo>,
    /// The prices of models for which the configuration has none.
    #[serde(default)]
    pub prices: Option<PriceList>,
    /// The command of a `command` agent, for resume.
    pub agent_command: Option<String>,
    /// Flags that a resume takes over where it is not given others, by their names.
    #[serde(default)]
    pub flags: BTreeMap<String, String>,
    /// Settings of the run, `key=value`, for resume.
    #[serde(default)]
    pub set: Vec<String>,
    /// What is to be delivered besides the work: its end opens this delivery.
    #[serde(default)]
    pub wanted: Vec<Deliverable>,
    /// Things the user should know before anything runs.
    pub notes: Vec<String>,
}

/// What a run was told, as far as the next resume takes it over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Given {
    /// The command of a `command` agent.
    pub agent_command: Option<String>,
    /// Flags that are no settings, by their names.
    pub flags: BTreeMap<String, String>,
    /// Settings, `key=value`, in the order in which they were made; later ones win.
    pub set: Vec<String>,
    /// What is to be delivered besides the work.
    #[serde(default)]
    pub wanted: Vec<Deliverable>,
}

/// What a run can have to deliver besides its work, in the order in which people are told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deliverable {
    /// A report that a flag asks for.
    Json,
    /// A report that a flag asks for.
    Junit,
    /// A report that a flag asks for.
    Markdown,
    /// A report that a flag asks for.
    Html,
    /// A report that a flag asks for.
    Sarif,
    /// The result branch at the remote.
    Push,
    /// The pull request for it.
    PullRequest,
    /// The comment on a pull request that was named.
    Comment,
    /// Journals of older versions do not say what it was.
    #[default]
    Unknown,
}

impl Deliverable {
    /// Its name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "the JSON report",
            Self::Junit => "the JUnit report",
            Self::Markdown => "the Markdown report",
            Self::Html => "the HTML report",
            Self::Sarif => "the SARIF report",
            Self::Push => "the result branch",
            Self::PullRequest => "the pull request",
            Self::Comment => "the comment",
            Self::Unknown => "something",
        }
    }
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
        /// Whose limit.
        #[serde(default)]
        scope: Scope,
        /// The task whose limit it is, where it is a task's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
        /// What the call that was refused could have taken; 0 where none was.
        #[serde(default)]
        wanted: u64,
    },
    /// Tasks are left on which the agent could not work.
    Agent {
        /// Which, and why.
        message: String,
        /// Earliest moment at which trying again makes sense, milliseconds since 1970, where the API said so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume_after_ms: Option<i64>,
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
    /// A limit of the session.
    pub fn of_session(resource: Resource, used: u64, limit: u64, soft: bool) -> Self {
        Self::Budget { resource, used, limit, soft, scope: Scope::Session, task: None, wanted: 0 }
    }

    /// A limit that leaves work undone, and the task whose limit it is; running attempts may finish.
    pub fn at_limit(hit: LimitHit, task: Option<&TaskId>) -> Self {
        let LimitHit { resource, used, limit, scope, wanted } = hit;
        let task = task.filter(|_| scope == Scope::Task).cloned();
        Self::Budget { resource, used, limit, soft: true, scope, task, wanted }
    }

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
