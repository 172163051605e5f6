//! The part of the schema that limits a session and its tasks, and says what happens after a failure.
//! Every number is checked where it is read; nothing here is enforced here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::numbers;
use crate::core::settings::UnknownCost;

/// Limits of a session; a limit of null is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceLimits {
    /// Active time, seconds.
    #[serde(deserialize_with = "numbers::limit_seconds")]
    #[schemars(range(min = 1))]
    pub max_duration_seconds: Option<u64>,
    /// Input and output tokens together.
    #[serde(deserialize_with = "numbers::limit_count")]
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u64>,
    /// Calls of a model API.
    #[serde(deserialize_with = "numbers::limit_count")]
    #[schemars(range(min = 1))]
    pub max_api_calls: Option<u64>,
    /// US dollars.
    #[serde(deserialize_with = "numbers::limit_usd")]
    pub max_cost_usd: Option<f64>,
    /// Longest time between two checkpoints, seconds; 0 is never.
    #[serde(deserialize_with = "numbers::interval")]
    pub checkpoint_interval: u64,
    /// Share of a limit, 0 to 1, from which on only what surely fits is started.
    #[serde(deserialize_with = "numbers::ratio")]
    #[schemars(range(min = 0, max = 1))]
    pub soft_ratio: f64,
    /// Silence after which an attempt is ended, seconds.
    #[serde(deserialize_with = "numbers::seconds")]
    #[schemars(range(min = 1))]
    pub idle_seconds: u64,
    /// Time an agent has for its first line of output, seconds; for agents with an event stream.
    #[serde(deserialize_with = "numbers::seconds")]
    #[schemars(range(min = 1))]
    pub startup_seconds: u64,
    /// Time between the gentle and the hard end of a process tree, seconds.
    #[serde(deserialize_with = "numbers::seconds")]
    #[schemars(range(min = 1))]
    pub grace_seconds: u64,
    /// What happens where the cost of a call is not known.
    pub unknown_cost: UnknownCost,
    /// Limits of one task.
    pub task: TaskLimits,
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self {
            max_duration_seconds: Some(3_600),
            max_tokens: Some(1_000_000),
            max_api_calls: Some(1_000),
            max_cost_usd: None,
            checkpoint_interval: 300,
            soft_ratio: 0.8,
            idle_seconds: 600,
            startup_seconds: 120,
            grace_seconds: 5,
            unknown_cost: UnknownCost::default(),
            task: TaskLimits::default(),
        }
    }
}

/// Limits of one task: of tokens, calls and cost over all its attempts, of everything else for each attempt. A limit of
/// null is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TaskLimits {
    /// Wall-clock time of each attempt, seconds; null is `orchestrator.max_task_duration`.
    #[serde(deserialize_with = "numbers::limit_seconds")]
    #[schemars(range(min = 1))]
    pub max_duration_seconds: Option<u64>,
    /// Input and output tokens together.
    #[serde(deserialize_with = "numbers::limit_count")]
    #[schemars(range(min = 1))]
    pub max_tokens: Option<u64>,
    /// Calls of a model API.
    #[serde(deserialize_with = "numbers::limit_count")]
    #[schemars(range(min = 1))]
    pub max_api_calls: Option<u64>,
    /// US dollars.
    #[serde(deserialize_with = "numbers::limit_usd")]
    pub max_cost_usd: Option<f64>,
    /// Memory of the whole process tree, bytes.
    #[serde(deserialize_with = "numbers::limit_bytes")]
    #[schemars(range(min = 1))]
    pub max_memory_bytes: Option<u64>,
    /// Processes alive at once.
    #[serde(deserialize_with = "numbers::limit_count")]
    #[schemars(range(min = 1))]
    pub max_processes: Option<u64>,
    /// Output of its process tree, bytes; of more than 9 MiB only head and tail are kept.
    #[serde(deserialize_with = "numbers::limit_bytes")]
    #[schemars(range(min = 1))]
    pub max_output_bytes: Option<u64>,
    /// Disk that its workspace, home and temporary files take, bytes.
    #[serde(deserialize_with = "numbers::limit_bytes")]
    #[schemars(range(min = 1))]
    pub max_disk_bytes: Option<u64>,
    /// Files one task may change.
    #[serde(deserialize_with = "numbers::limit_count")]
    #[schemars(range(min = 1))]
    pub max_changed_files: Option<u64>,
    /// Lines one task may change.
    #[serde(deserialize_with = "numbers::limit_count")]
    #[schemars(range(min = 1))]
    pub max_changed_lines: Option<u64>,
}

/// What happens after a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ErrorRecovery {
    /// Further attempts after a task's first one.
    #[serde(deserialize_with = "numbers::retries")]
    pub max_retry_attempts: u32,
    /// Factor between the waits of two retries; at least 1.
    #[serde(deserialize_with = "numbers::factor")]
    #[schemars(range(min = 1))]
    pub backoff_multiplier: f64,
    /// False: a critical failure ends the run where it stands.
    pub enable_rollback: bool,
    /// True: a person is asked where the PRD can be read in two ways.
    pub request_human_on_ambiguous: bool,
}

impl Default for ErrorRecovery {
    fn default() -> Self {
        Self {
            max_retry_attempts: 3,
            backoff_multiplier: 2.0,
            enable_rollback: true,
            request_human_on_ambiguous: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: Value, expected: &str) {
        let read = serde_json::from_value::<ResourceLimits>(value.clone());
        let error = read.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{value}: {error}");
    }

    #[test]
    fn a_limit_that_limits_nothing_is_refused() {
        for key in ["max_duration_seconds", "max_tokens", "max_api_calls", "idle_seconds", "grace_seconds"] {
            for value in [json!(0), json!(-1), json!(0.5), json!("1h"), json!([1])] {
                check(json!({ key: value }), "at least 1");
            }
        }
        check(json!({"max_cost_usd": 0}), "above 0");
        check(json!({"max_cost_usd": "10usd"}), "did you mean 10?");
        check(json!({"soft_ratio": 1.1}), "from 0 to 1");
        check(json!({"task": {"max_memory_bytes": "4GiB"}}), "did you mean 4294967296?");
    }

    #[test]
    fn null_lifts_a_limit_where_there_may_be_none() {
        let read = serde_json::from_value::<ResourceLimits>(json!({"max_tokens": null})).unwrap();
        assert_eq!(read, ResourceLimits { max_tokens: None, ..ResourceLimits::default() });
        check(json!({"idle_seconds": null}), "at least 1");
    }
}
