//! Keys that are accepted and do nothing yet, so that nobody takes silence for an effect. A configuration comes in,
//! one line a key goes out. It compares whole trees: a new key that nobody listed as working is reported.

use serde_json::Value;

use super::dotted::{leaves, within};
use super::schema::{AgentConfig, Config, Subagent};
use super::validation::{Evidence, GateConfig, Validation};

/// What works today, by dotted key and everything below it. Evidence is decided by its values.
const WORKING: &[&str] = &[
    "orchestrator.max_task_duration",
    "orchestrator.checkpoint_frequency",
    "orchestrator.parallel_execution",
    "orchestrator.jobs",
    "agent",
    "agents",
    "gateway",
    "resource_limits.max_duration_seconds",
    "resource_limits.max_tokens",
    "resource_limits.max_api_calls",
    "resource_limits.max_cost_usd",
    "resource_limits.checkpoint_interval",
    "resource_limits.soft_ratio",
    "resource_limits.idle_seconds",
    "resource_limits.startup_seconds",
    "resource_limits.grace_seconds",
    "resource_limits.task",
    "resource_limits.unknown_cost",
    "error_recovery.max_retry_attempts",
    "error_recovery.backoff_multiplier",
    "error_recovery.enable_rollback",
    "validation.run_tests",
    "validation.validate_prd",
    "validation.quality_gates",
    "validation.fail_on_gate_violation",
    "validation.unverified",
    "validation.require_gates",
    "workspace.setup",
    "workspace.dir",
    "policy.allow",
    "policy.protect",
    "sandbox.require",
    "sandbox.env_pass",
    "sandbox.read",
    "sandbox.write",
    "logging",
];

/// What comes with a later version, by the key it hides behind.
const FEATURES: &[(&str, &str)] = &[
    ("decision_engine", "settings of the decision engine come"),
    ("forge", "comments, checks and pull requests come"),
    ("sandbox.network", "walls around the network come"),
    ("state", "state on a remote comes"),
    ("subagents", "categories of work come"),
    ("validation.requirement_evidence", "evidence other than `check` and `gate` comes"),
];

/// One line for each key that was changed and has no effect yet.
pub fn later(config: &Config) -> Vec<String> {
    let set = serde_json::to_value(config).unwrap_or(Value::Null);
    let unset = serde_json::to_value(untouched(config)).unwrap_or(Value::Null);
    let defaults = leaves(&unset);
    let changed = leaves(&set).into_iter().filter(|(key, value)| defaults.get(key) != Some(value));
    changed.filter(|(key, _)| !works(config, key)).map(|(key, _)| line(&key)).collect()
}

/// The defaults, with an untouched entry under each name that the configuration adds.
fn untouched(config: &Config) -> Config {
    let gates = config.validation.gates.keys().map(|name| (name.clone(), GateConfig::default())).collect();
    Config {
        agents: config.agents.keys().map(|name| (name.clone(), AgentConfig::default())).collect(),
        subagents: config.subagents.keys().map(|name| (name.clone(), Subagent::default())).collect(),
        validation: Validation { gates, ..Validation::default() },
        ..Config::default()
    }
}

fn works(config: &Config, key: &str) -> bool {
    if within(key, "validation.gates") {
        return key.rsplit('.').next() != Some("when");
    }
    if key == "validation.requirement_evidence" {
        let kinds = &config.validation.requirement_evidence;
        return kinds.iter().all(|kind| matches!(kind, Evidence::Check | Evidence::Gate));
    }
    WORKING.iter().any(|prefix| within(key, prefix))
}

fn line(key: &str) -> String {
    let feature = FEATURES.iter().find(|(prefix, _)| within(key, prefix)).map(|(_, feature)| *feature);
    format!("`{key}` is accepted; {} with a later version", feature.unwrap_or("its effect comes"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(config: Value, expected: &[&str]) {
        let config: Config = serde_json::from_value(config).unwrap();
        assert_eq!(later(&config), expected);
    }

    #[test]
    fn defaults_and_working_keys_are_silent() {
        check(json!({}), &[]);
        check(json!({"orchestrator": {"jobs": 3}, "logging": {"level": "debug"}}), &[]);
        check(json!({"agents": {"x": {"protocol": "steps", "command": "a", "env_pass": ["A"]}}}), &[]);
        check(json!({"validation": {"requirement_evidence": ["check"], "gates": {"a": {"run": "b"}}}}), &[]);
    }

    #[test]
    fn a_key_without_effect_is_named_with_its_feature() {
        check(
            json!({"state": {"remote": "origin"}}),
            &["`state.remote` is accepted; state on a remote comes with a later version"],
        );
        check(
            json!({"validation": {"gates": {"a": {"run": "b", "when": "task"}}}}),
            &["`validation.gates.a.when` is accepted; its effect comes with a later version"],
        );
        check(
            json!({"sandbox": {"network": {"allow": ["a"]}}}),
            &["`sandbox.network.allow` is accepted; walls around the network come with a later version"],
        );
    }

    #[test]
    fn every_working_key_is_a_key() {
        let tree = serde_json::to_value(Config::default()).unwrap();
        let keys = leaves(&tree);
        for working in WORKING {
            assert!(keys.keys().any(|key| within(key, working)), "{working}");
        }
    }
}
