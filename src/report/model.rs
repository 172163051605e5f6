//! The model behind every report, and the contract of `report.json`: what is known about one session.
//! Data only. `build` makes it from records; the formats read it. Field names carry their units; moments stand as
//! milliseconds since the Unix epoch next to RFC 3339 text. What runs and what was made of it is in `model_work`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model_measure::{Counts, CurvePoint, Progress};
use super::model_work::{Changes, GateReport, RequirementReport, RoundReport, TaskReport};
use crate::core::call::Scope;
use crate::core::decision::DecisionKind;
use crate::core::fault::FaultClass;
use crate::core::finding::Finding;
use crate::core::prd::{Priority, Warning};
use crate::core::session::{AgentInfo, Phase, PriceList};

/// The version of the report's format.
pub const SCHEMA_VERSION: u32 = 1;
/// `verdict` of a session that has no end on record: under way, or its process died.
pub const RUNNING: &str = "running";

/// Everything that is reported about a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Version of this format.
    pub schema_version: u32,
    /// What made the session.
    pub tool: Tool,
    /// Id of the session.
    pub session: String,
    /// Name of the verdict (`passed`, `failed`, `budget`, …), or `running`.
    pub verdict: String,
    /// Exit code of the run, once it is over.
    pub exit_code: Option<u8>,
    /// Why, in one line.
    pub reason: String,
    /// True where the same command goes on with the session.
    pub resumable: bool,
    /// RFC 3339 moment before which a resume makes no sense, where known.
    pub resume_after: Option<String>,
    /// Latest phase.
    pub phase: Option<Phase>,
    /// The PRD.
    pub prd: PrdReport,
    /// What everything started from.
    pub base: BaseReport,
    /// What came of it.
    pub result: ResultReport,
    /// The plan, in numbers.
    pub plan: PlanReport,
    /// Tasks, in the plan's order.
    pub tasks: Vec<TaskReport>,
    /// Gates in the final round, in the configuration's order.
    pub gates: Vec<GateReport>,
    /// Rounds of gates before the final one.
    pub earlier_rounds: Vec<RoundReport>,
    /// Requirements, in the PRD's order.
    pub requirements: Vec<RequirementReport>,
    /// How far the work is.
    #[serde(default)]
    pub progress: Progress,
    /// What gates and rules have against the work, the heaviest first, the first five thousand.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Findings that no list holds.
    #[serde(default)]
    pub findings_not_listed: u64,
    /// Decisions, in the order in which they were made.
    pub decisions: Vec<DecisionReport>,
    /// Faults, in the order in which they happened.
    pub faults: Vec<FaultReport>,
    /// Checkpoints; number 0 is the base commit.
    pub checkpoints: Vec<CheckpointReport>,
    /// Files that integrated tasks changed.
    pub changes: Changes,
    /// Limits and what was used of them.
    pub budget: BudgetReport,
    /// What agents and gates were walled in by.
    pub isolation: Isolation,
    /// The agents that the session may use.
    pub agents: Vec<AgentInfo>,
    /// Rates and shares, between 0 and 1.
    pub metrics: Metrics,
    /// When, and how long.
    pub timing: Timing,
    /// What a person should know besides.
    pub notes: Vec<String>,
}

/// The program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `maestro-ci`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The PRD of the session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PrdReport {
    /// Path as the user gave it.
    pub path: String,
    /// SHA-256 (hex) of its bytes.
    pub sha256: String,
    /// Title.
    pub title: String,
    /// Short name.
    pub feature: String,
    /// What its reader warned of.
    pub warnings: Vec<Warning>,
}

/// What everything started from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BaseReport {
    /// The commit.
    pub commit: String,
    /// The branch that stood there, if any.
    pub branch: Option<String>,
}

/// Where the result is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultReport {
    /// The result branch.
    pub branch: String,
    /// Where it stands; none where it does not exist.
    pub branch_commit: Option<String>,
    /// The commit that holds everything integrated, whether or not it is sound.
    pub tip: Option<String>,
    /// True where this session moved the branch.
    pub moved: bool,
}

/// The plan, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanReport {
    /// SHA-256 (hex) over epics and tasks.
    pub fingerprint: String,
    /// Epics, in the plan's order.
    pub epics: Vec<EpicReport>,
    /// Number of tasks.
    pub tasks: u32,
    /// Tasks on the longest chain.
    pub critical_path: u32,
    /// Groups of tasks that can run side by side.
    pub groups: u32,
}

/// An epic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EpicReport {
    /// `E-1`, …
    pub id: String,
    /// Title.
    pub title: String,
    /// Urgency.
    pub priority: Priority,
    /// Number of its tasks.
    pub tasks: u32,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionReport {
    /// RFC 3339.
    pub at: String,
    /// The same, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The same, active time of the session, milliseconds.
    #[serde(default)]
    pub elapsed_ms: u64,
    /// What it is about.
    pub kind: DecisionKind,
    /// The task it concerns, if one.
    pub task: Option<String>,
    /// The situation.
    pub context: String,
    /// Everything that was considered, best first.
    pub options: Vec<crate::core::decision::DecisionOption>,
    /// The option taken.
    pub choice: String,
    /// Why.
    pub rationale: String,
    /// 0 to 1.
    pub confidence: f64,
    /// Names of the options that were not taken.
    pub alternatives: Vec<String>,
    /// What follows from it.
    pub impact: String,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FaultReport {
    /// RFC 3339.
    pub at: String,
    /// The same, active time of the session, milliseconds.
    #[serde(default)]
    pub elapsed_ms: u64,
    /// Whose; none where it concerns the session.
    pub task: Option<String>,
    /// In which attempt.
    pub attempt: Option<u32>,
    /// What kind of trouble.
    pub class: FaultClass,
    /// A short name that scripts may rely on.
    pub reason: String,
    /// What happened; untrusted text.
    pub message: String,
    /// What was done about it; empty where nothing was yet.
    pub followed_by: String,
}

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointReport {
    /// Its number.
    pub n: u32,
    /// The commit.
    pub commit: String,
    /// Its tag; none for the base commit and until the checkpoint is durable.
    pub tag: Option<String>,
    /// Why it was made.
    pub reason: String,
    /// True where the result branch was moved to it.
    pub moved_branch: bool,
    /// RFC 3339.
    pub at: String,
    /// The same, active time of the session, milliseconds.
    #[serde(default)]
    pub elapsed_ms: u64,
}

/// Limits, and what was used of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BudgetReport {
    /// Active time.
    pub duration: DurationBudget,
    /// Input and output tokens together.
    pub tokens: AmountBudget,
    /// Calls of model APIs.
    pub api_calls: AmountBudget,
    /// Millionths of a US dollar.
    pub cost_microusd: AmountBudget,
    /// Tokens among those used that nobody counted: the worst case of calls whose usage never came.
    pub estimated_tokens: u64,
    /// Calls whose price is not known; the cost lacks them.
    pub unpriced_calls: u64,
    /// The table of prices, where calls were priced by it and not by the configuration or by their agent.
    #[serde(default)]
    pub prices: Option<PriceList>,
    /// Who counted: `gateway` (all of it, in the API's own responses), `reported` (every agent did), `partial`, `none`.
    pub source: String,
    /// The limit that stopped the run, if one did.
    pub stopped_by: Option<StoppedBy>,
    /// How it was used, in at most four hundred points from the start to the end of the record.
    #[serde(default)]
    pub curve: Vec<CurvePoint>,
}

/// The time budget.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DurationBudget {
    /// Limit, milliseconds; none is no limit.
    pub limit_ms: Option<u64>,
    /// Used, milliseconds.
    pub used_ms: u64,
}

/// The budget of one resource.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AmountBudget {
    /// Limit; none is no limit.
    pub limit: Option<u64>,
    /// Used; none where attempts have ended of which nobody said anything.
    pub used: Option<u64>,
    /// True where more was used than that, and nobody knows how much.
    #[serde(default)]
    pub at_least: bool,
    /// Set aside for running attempts and not used yet.
    pub reserved: u64,
}

/// The limit that stopped a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoppedBy {
    /// Of what.
    pub resource: crate::core::budget::Resource,
    /// Used when the run was stopped, or set aside for calls under way, in the resource's unit.
    pub used: u64,
    /// The limit, in the resource's unit.
    pub limit: u64,
    /// True: stopped near the limit, running attempts were allowed to finish.
    pub soft: bool,
    /// Whose limit: the session's, or that of a task or of one attempt at it.
    #[serde(default)]
    pub scope: Scope,
    /// The task, where the limit is a task's.
    #[serde(default)]
    pub task: Option<String>,
    /// What the model call that was refused could have taken, in the resource's unit; 0 where none was.
    #[serde(default)]
    pub wanted: u64,
}

/// What agents and gates were walled in by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Isolation {
    /// `L0`, `L1` or `L2`.
    pub level: String,
}

/// Rates and shares between 0 and 1; none where there is nothing to divide by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// Tasks that succeeded, of all tasks; nobody was asked about any.
    pub autonomy_ratio: Option<f64>,
    /// Tasks that succeeded after a failed attempt, of all tasks with a failed attempt.
    pub recovery_rate: Option<f64>,
    /// Tests that passed, of all tests that passed or failed, in the final round.
    pub test_pass_rate: Option<f64>,
    /// Rollbacks that were carried out, of all that were started.
    pub rollback_success: Option<f64>,
    /// Durable checkpoints, the base commit apart.
    pub checkpoints: u32,
    /// Checkpoints that the branch moved to or a rollback went back to, of all durable ones.
    #[serde(default)]
    pub checkpoint_use: Option<f64>,
    /// Share of each limit that was used.
    pub resource_use: ResourceUse,
    /// What the rates are made of.
    #[serde(default)]
    pub counts: Counts,
}

/// Share of each limit that was used; none where there is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceUse {
    /// Of the time.
    pub duration: Option<f64>,
    /// Of the tokens.
    pub tokens: Option<f64>,
    /// Of the calls.
    pub api_calls: Option<f64>,
    /// Of the cost.
    pub cost: Option<f64>,
}

/// When, and how long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timing {
    /// RFC 3339.
    pub started: String,
    /// The same, milliseconds since the Unix epoch.
    pub started_ms: i64,
    /// RFC 3339; none until the session is over.
    pub finished: Option<String>,
    /// Active time over all resumes, milliseconds.
    pub elapsed_ms: u64,
    /// How often the session was resumed.
    pub resumes: u32,
}
