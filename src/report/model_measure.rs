//! The report's model of measures: how the budget was used over time, how far the work is, what the rates are made of.
//! Data only, and part of the contract of `report.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was used and set aside at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CurvePoint {
    /// Active time of the session, milliseconds.
    pub elapsed_ms: u64,
    /// Milliseconds since the Unix epoch.
    pub wall_ms: i64,
    /// Tokens used.
    pub tokens: u64,
    /// Calls of model APIs made.
    pub api_calls: u64,
    /// Millionths of a US dollar spent.
    pub cost_microusd: u64,
    /// Tokens set aside and not used yet.
    pub reserved_tokens: u64,
    /// Calls set aside and not made yet.
    pub reserved_api_calls: u64,
    /// Millionths of a US dollar set aside and not spent yet.
    pub reserved_cost_microusd: u64,
}

/// Why a task did not go on for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WaitReport {
    /// From when, active time of the session, milliseconds.
    pub from_elapsed_ms: u64,
    /// Until when, active time of the session, milliseconds; the end of the record where it still waits.
    pub until_elapsed_ms: u64,
    /// `retry`, `integration`, or `resume` where the agent could not work on it.
    pub why: String,
}

/// How far the work is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Progress {
    /// Tasks that came to a good end.
    pub tasks_done: u64,
    /// All tasks.
    pub tasks: u64,
    /// `tasks_done` of `tasks` in percent, rounded down.
    pub percent: u64,
    /// Attempts under way.
    pub running: Vec<Worker>,
    /// Ids of tasks that keep others from starting, the first hundred: given up, or put off to a later run.
    pub blockers: Vec<String>,
    /// Ids of tasks that may start now, the first hundred.
    pub next: Vec<String>,
}

/// An attempt under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Worker {
    /// The task.
    pub task: String,
    /// Which attempt.
    pub attempt: u32,
    /// Name of the agent.
    pub agent: String,
    /// The role.
    pub role: String,
    /// Active time since it began, milliseconds.
    pub duration_ms: u64,
    /// Its limit, milliseconds; none until its workspace is ready.
    pub limit_ms: Option<u64>,
    /// Tokens that it used so far.
    pub tokens: u64,
}

/// What the rates are made of; they add up over sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Counts {
    /// All tasks.
    pub tasks: u64,
    /// Tasks that came to a good end.
    pub tasks_succeeded: u64,
    /// Tasks with a failed attempt.
    pub tasks_stumbled: u64,
    /// Of those, tasks that came to a good end.
    pub tasks_recovered: u64,
    /// Attempts.
    pub attempts: u64,
    /// Tests that passed or failed in the final round.
    pub tests: u64,
    /// Of those, tests that passed.
    pub tests_passed: u64,
    /// Rollbacks that were started.
    pub rollbacks: u64,
    /// Of those, rollbacks that were carried out.
    pub rollbacks_done: u64,
    /// Durable checkpoints, the base commit apart.
    pub checkpoints: u64,
    /// Of those, checkpoints that the result branch was moved to or that a rollback went back to.
    pub checkpoints_used: u64,
}
