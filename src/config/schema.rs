//! The whole schema of `config.yaml` with its defaults. Limits and validation have files of their own.
//! Unknown keys are errors everywhere; numbers are checked while they are read, the rest in `checks`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::choices::{Comment, Jobs, LogLevel, Network, Protocol, SandboxLevel, Strategy, TestRemoval};
use super::limits::{ErrorRecovery, ResourceLimits};
use super::numbers;
use super::validation::Validation;
use crate::core::CheckpointFrequency;

/// The configuration of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How work is scheduled.
    pub orchestrator: Orchestrator,
    /// Which agent works.
    pub agent: Agent,
    /// Agents by name.
    pub agents: BTreeMap<String, AgentConfig>,
    /// Categories of work by name.
    pub subagents: BTreeMap<String, Subagent>,
    /// Limits of a session and its tasks.
    pub resource_limits: ResourceLimits,
    /// How options are weighed.
    pub decision_engine: DecisionEngine,
    /// What happens after a failure.
    pub error_recovery: ErrorRecovery,
    /// What proves the work.
    pub validation: Validation,
    /// Where attempts work.
    pub workspace: Workspace,
    /// What a task may change.
    pub policy: Policy,
    /// The proxy between agent and model API.
    pub gateway: Gateway,
    /// Where sessions are kept besides this machine.
    pub state: State,
    /// What a child may touch.
    pub sandbox: Sandbox,
    /// What is told to the forge.
    pub forge: Forge,
    /// What is logged.
    pub logging: Logging,
}

/// How work is scheduled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Orchestrator {
    /// Rounds of implementing and reviewing.
    #[serde(deserialize_with = "numbers::small")]
    #[schemars(range(min = 1))]
    pub max_iterations: u32,
    /// Wall-clock limit of one attempt, seconds.
    #[serde(deserialize_with = "numbers::seconds")]
    #[schemars(range(min = 1))]
    pub max_task_duration: u64,
    /// When a checkpoint is made.
    pub checkpoint_frequency: CheckpointFrequency,
    /// False: one attempt at a time.
    pub parallel_execution: bool,
    /// Attempts and gates that may run at once.
    pub jobs: Jobs,
    /// Tasks after which an agent starts with a fresh context.
    #[serde(deserialize_with = "numbers::small")]
    #[schemars(range(min = 1))]
    pub context_refresh_interval: u32,
}

impl Default for Orchestrator {
    fn default() -> Self {
        Self {
            max_iterations: 3,
            max_task_duration: 1_800,
            checkpoint_frequency: CheckpointFrequency::default(),
            parallel_execution: true,
            jobs: Jobs::default(),
            context_refresh_interval: 5,
        }
    }
}

/// Which agent works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// Name of the agent, or `auto`.
    pub default: String,
    /// Agents to try after it, in this order.
    pub fallback: Vec<String>,
    /// Agents of particular roles, by role.
    pub roles: BTreeMap<String, String>,
}

impl Default for Agent {
    fn default() -> Self {
        Self { default: "auto".to_owned(), fallback: Vec::new(), roles: BTreeMap::new() }
    }
}

/// One agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The shell command or the program to start; null is the protocol's own.
    pub command: Option<String>,
    /// Further arguments.
    pub args: Vec<String>,
    /// The model it is asked to use.
    pub model: Option<String>,
    /// Environment variables it gets besides the clean set.
    pub env_pass: Vec<String>,
    /// True: the settings, hooks and servers that the repository holds for it are loaded.
    pub repo_settings: bool,
    /// What its model costs.
    pub price: Option<Price>,
}

impl AgentConfig {
    /// True for an entry that only prices an agent which is described elsewhere: a built-in one, or `--agent-cmd`'s.
    pub fn only_prices(&self) -> bool {
        self.price.is_some() && Self { price: None, ..self.clone() } == Self::default()
    }
}

/// What a model costs, US dollars for a million tokens. Nothing is free that is not said to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Input.
    #[serde(deserialize_with = "numbers::price")]
    #[schemars(range(min = 0))]
    pub input: f64,
    /// Input that was read from a cache; null is the price of input.
    #[serde(default, deserialize_with = "numbers::price_or_null")]
    #[schemars(range(min = 0))]
    pub cached_input: Option<f64>,
    /// Input that was written to a cache; null is the price of input.
    #[serde(default, deserialize_with = "numbers::price_or_null")]
    #[schemars(range(min = 0))]
    pub cache_write: Option<f64>,
    /// Input that was written to a cache for an hour or more; null is 2.5 times the price of input, the most that any
    /// listed model takes.
    #[serde(default, deserialize_with = "numbers::price_or_null")]
    #[schemars(range(min = 0))]
    pub cache_write_1h: Option<f64>,
    /// Output.
    #[serde(deserialize_with = "numbers::price")]
    #[schemars(range(min = 0))]
    pub output: f64,
}

/// The most that writing to a cache for hours costs, as a factor of the price of input: `OpenAI`'s; Anthropic's is 2.
const LONG_CACHE_FACTOR: f64 = 2.5;

impl Price {
    /// The same in the units of the core: millionths of a US dollar for a million tokens.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be positive; `as` saturates"
    )]
    pub fn in_micro(&self) -> crate::core::Price {
        let micro = |usd: f64| (usd * 1e6).ceil() as u64;
        let cache_write = self.cache_write.unwrap_or(self.input);
        let for_hours = || cache_write.max(self.input * LONG_CACHE_FACTOR);
        crate::core::Price {
            input: micro(self.input),
            cached_input: micro(self.cached_input.unwrap_or(self.input)),
            cache_write: micro(cache_write),
            cache_write_1h: micro(self.cache_write_1h.unwrap_or_else(for_hours)),
            output: micro(self.output),
        }
    }
}

/// A category of work, or what is changed of a built-in one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Subagent {
    /// The agent that does it; null is `agent.default`.
    pub agent: Option<String>,
    /// What it is good at.
    pub skills: Vec<String>,
    /// Words that call for it.
    pub triggers: Vec<String>,
    /// Paths that are its own, as globs.
    pub owns: Vec<String>,
}

/// How options are weighed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DecisionEngine {
    /// True: what the repository uses already wins ties.
    pub prefer_existing: bool,
    /// Maturity, 0 to 1, below which an option is not chosen by itself.
    #[serde(deserialize_with = "numbers::ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub maturity_threshold: f64,
    /// Confidence, 0 to 1, below which a decision is marked as doubtful.
    #[serde(deserialize_with = "numbers::ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub confidence_threshold: f64,
}

impl Default for DecisionEngine {
    fn default() -> Self {
        Self { prefer_existing: true, maturity_threshold: 0.7, confidence_threshold: 0.6 }
    }
}

/// Where attempts work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Workspace {
    /// Shell command that prepares the base tree once, such as `npm ci`.
    pub setup: Option<String>,
    /// Files, as globs, whose content decides whether a prepared base can be used again.
    pub setup_key: Vec<String>,
    /// Directory for workspaces, outside the repository, or `auto`.
    pub dir: String,
    /// How an attempt gets its files.
    pub strategy: Strategy,
}

/// The lock files of the package managers people use.
const LOCK_FILES: [&str; 14] = [
    "**/Cargo.lock",
    "**/package-lock.json",
    "**/pnpm-lock.yaml",
    "**/yarn.lock",
    "**/bun.lock",
    "**/poetry.lock",
    "**/uv.lock",
    "**/Pipfile.lock",
    "**/requirements*.txt",
    "**/go.sum",
    "**/Gemfile.lock",
    "**/composer.lock",
    "**/gradle.lockfile",
    "**/mix.lock",
];

impl Default for Workspace {
    fn default() -> Self {
        Self {
            setup: None,
            setup_key: LOCK_FILES.map(str::to_owned).to_vec(),
            dir: "auto".to_owned(),
            strategy: Strategy::default(),
        }
    }
}

/// What a task may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Paths a task may change, as globs.
    pub allow: Vec<String>,
    /// Paths no task may change, as globs. The PRD and the gates' scripts are always among them.
    pub protect: Vec<String>,
    /// Whether a task may remove tests.
    pub test_removal: TestRemoval,
}

/// What decides about CI, and with it about the verdict: no task may touch it.
const PROTECTED: [&str; 19] = [
    ".flow/**",
    ".github/**",
    ".gitlab-ci.yml",
    "Jenkinsfile",
    ".circleci/**",
    ".buildkite/**",
    "azure-pipelines.yml",
    // What one agent writes here, the next one obeys.
    "**/.claude/**",
    "**/.mcp.json",
    "**/.codex/**",
    "**/.gemini/**",
    "**/.qwen/**",
    "**/.opencode/**",
    "**/opencode.json*",
    "**/.cursor/**",
    "**/.agents/**",
    "**/AGENTS.md",
    "**/CLAUDE.md",
    "**/GEMINI.md",
];

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow: vec!["**".to_owned()],
            protect: PROTECTED.map(str::to_owned).to_vec(),
            test_removal: TestRemoval::default(),
        }
    }
}

/// The proxy between agent and model API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// False: agents talk to the API themselves, and usage is what they report.
    pub enabled: bool,
    /// Base addresses by provider.
    pub upstream: BTreeMap<String, String>,
    /// Silence of the API after which a stream is given up, seconds; a response that comes as a whole has 600 at least.
    #[serde(deserialize_with = "numbers::seconds")]
    #[schemars(range(min = 1))]
    pub stall_seconds: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        Self { enabled: true, upstream: BTreeMap::new(), stall_seconds: 120 }
    }
}

/// Where sessions are kept besides this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// Git remote that carries the session between machines; null is none.
    pub remote: Option<String>,
}

/// What a child may touch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sandbox {
    /// The least isolation a run accepts.
    pub require: SandboxLevel,
    /// What a child may reach.
    pub network: Network,
    /// Environment variables children get besides the clean set.
    pub env_pass: Vec<String>,
    /// Variables that hold no secret, whatever they are called.
    pub not_secret: Vec<String>,
    /// Further paths children may read.
    pub read: Vec<String>,
    /// Further paths children may write.
    pub write: Vec<String>,
}

/// What is told to the forge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Forge {
    /// Where the comment of a run goes.
    pub comment: Comment,
    /// True: gates become checks of the commit.
    pub checks: bool,
    /// True: the result becomes a pull request.
    pub open_pr: bool,
}

/// What is logged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// What the log holds.
    pub level: LogLevel,
    /// True: decisions are logged with their reasons.
    pub include_rationale: bool,
    /// True: the log is kept in the session's directory too.
    pub log_to_file: bool,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: LogLevel::default(), include_rationale: true, log_to_file: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_survive_a_round_trip() {
        let text = serde_json::to_string(&Config::default()).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), Config::default());
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), Config::default());
    }
}
