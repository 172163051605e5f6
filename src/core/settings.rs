//! The part of the configuration that decisions depend on, resolved and journaled with the session, so that
//! a replay needs no configuration file.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::budget::Budget;
use super::id::{GateName, RequirementId};

/// When a checkpoint is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointFrequency {
    /// When implementation is complete.
    #[default]
    PhaseComplete,
    /// After each integrated task.
    Task,
    /// After each group of the plan.
    Group,
    /// After each integrated task whose tree passes the test gates.
    TestsPass,
}

/// What a requirement without evidence means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnverifiedMode {
    /// The run can pass; every report says "n unverified".
    #[default]
    Warn,
    /// The run fails.
    Fail,
}

/// What happens where the cost of a call is not known and a limit on cost holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownCost {
    /// The limit on tokens stands in for the one on cost.
    #[default]
    TokenCap,
    /// The call is refused.
    Fail,
    /// The call is let out; only its tokens are counted.
    Allow,
}

/// What a gate looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// A test suite.
    Test,
    /// A linter or formatter.
    Lint,
    /// A type checker.
    Typecheck,
    /// A security scanner.
    Security,
    /// A build.
    Build,
    /// Anything else.
    #[default]
    Custom,
    /// A fenced `check` block of the PRD.
    Check,
}

/// A gate, ready to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GateSpec {
    /// Its name; unique.
    pub name: GateName,
    /// What it looks at.
    pub kind: GateKind,
    /// Command for `sh -c`.
    pub run: String,
    /// Directory, relative to the repository's root.
    pub dir: String,
    /// Wall-clock limit, milliseconds.
    pub timeout_ms: u64,
    /// False: its result is shown and decides nothing.
    pub required: bool,
    /// `JUnit` file it writes, relative to `dir`.
    pub report: Option<String>,
    /// Requirements whose evidence it is.
    pub requirements: Vec<RequirementId>,
    /// True where it was found by looking at the repository and not named by the configuration.
    pub detected: bool,
}

/// Retries and alternatives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoverySettings {
    /// Further attempts after a task's first one.
    pub max_retry_attempts: u32,
    /// Factor between the waits of two retries.
    pub backoff_multiplier: f64,
    /// False: a critical failure ends the run where it stands.
    pub enable_rollback: bool,
}

/// Everything `step` has to know besides the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Attempts and gates that may run at once.
    pub jobs: u32,
    /// Wall-clock limit of one attempt, milliseconds.
    pub task_duration_ms: u64,
    /// Silence after which an attempt is ended, milliseconds.
    pub idle_ms: u64,
    /// Time between the gentle and the hard end of a process tree, milliseconds.
    pub grace_ms: u64,
    /// Limits of the session.
    pub budget: Budget,
    /// Limits of one task: of tokens, calls and cost over all its attempts, of everything else for each attempt.
    pub task_budget: Budget,
    /// Share of a limit from which on only what surely fits is started.
    pub soft_ratio: f64,
    /// Longest time between checkpoints, milliseconds; 0 is never.
    pub checkpoint_interval_ms: u64,
    /// When a checkpoint is made.
    pub checkpoint_frequency: CheckpointFrequency,
    /// Retries and alternatives.
    pub recovery: RecoverySettings,
    /// Gates, in the order in which they are shown.
    pub gates: Vec<GateSpec>,
    /// False: a red gate is shown and does not fail the run.
    pub fail_on_gate_violation: bool,
    /// True: a run without any gate that ran fails.
    pub require_gates: bool,
    /// False: requirements are reported and decide nothing.
    pub validate_prd: bool,
    /// What a requirement without evidence means.
    pub unverified: UnverifiedMode,
    /// Paths a task may change.
    pub allow: Vec<String>,
    /// Paths no task may change.
    pub protect: Vec<String>,
    /// Name of the agent.
    pub agent: String,
    /// Agents to try after it, in this order.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// Agents of particular roles, by role.
    #[serde(default)]
    pub agent_roles: BTreeMap<String, String>,
    /// Time an agent with an event stream has for its first line, milliseconds.
    #[serde(default = "default_startup_ms")]
    pub startup_ms: u64,
    /// What happens to a call whose price is not known while a limit on cost holds.
    #[serde(default)]
    pub unknown_cost: UnknownCost,
}

/// What journals of the first version went by.
fn default_startup_ms() -> u64 {
    120_000
}

/// True where two names mean one role: people write `Testing` and `testing`.
pub fn same_role(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

impl Settings {
    /// The agents that may work on a task of this role, in order: the role's own or the default, then the fallbacks.
    pub fn agents_for(&self, role: &str) -> Vec<&str> {
        let of_role = self.agent_roles.iter().find(|(name, _)| same_role(name, role));
        let first = of_role.map_or(&self.agent, |(_, agent)| agent);
        let mut chain = vec![first.as_str()];
        for next in &self.fallback {
            if !chain.contains(&next.as_str()) {
                chain.push(next);
            }
        }
        chain
    }
}
