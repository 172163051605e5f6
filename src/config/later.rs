//! Keys that are accepted and do nothing yet, so that nobody takes silence for an effect. The layers of a configuration
//! come in, one line for each such key that one of them sets goes out, whatever its value: also its default is a wish.
//! A new key that nobody listed as working is reported.

use std::collections::BTreeSet;

use serde_json::Value;

use super::dotted::{leaves, put, within};
use super::keys::Keys;
use super::layers::{Override, Source, parse_value};
use super::schema::Config;
use super::validation::Evidence;

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
    "forge",
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
    "sandbox.not_secret",
    "sandbox.read",
    "sandbox.write",
    "logging",
];

/// What comes with a later version, by the key it hides behind.
const FEATURES: &[(&str, &str)] = &[
    ("decision_engine", "settings of the decision engine come"),
    ("sandbox.network", "walls around the network come"),
    ("state", "state on a remote comes"),
    ("subagents", "categories of work come"),
    ("validation.requirement_evidence", "evidence other than `check` and `gate` comes"),
];

/// One line for each key that the file or an override sets and that has no effect yet. `config` is what they come to.
pub fn later(file: Option<Source<'_>>, overrides: &[Override], config: &Config) -> Vec<String> {
    let mut set: BTreeSet<String> = overrides.iter().flat_map(set_by).collect();
    if let Some(source) = file {
        set.extend(Keys::of(source.text).leaves().map(str::to_owned));
    }
    let defaults = serde_json::to_value(Config::default()).unwrap_or(Value::Null);
    let known = leaves(&defaults);
    // An empty section sets nothing.
    let is_section = |key: &str| known.keys().any(|leaf| leaf != key && within(leaf, key));
    set.iter().filter(|key| !is_section(key) && !works(config, key)).map(|key| line(key)).collect()
}

/// The keys that an override sets: its own, or those in its value where that is a map.
fn set_by(change: &Override) -> Vec<String> {
    let path: Vec<&str> = change.key.split('.').collect();
    let mut tree = Value::Null;
    put(&mut tree, &path, parse_value(change).unwrap_or(Value::Null));
    leaves(&tree).into_keys().collect()
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
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let source = Source { name: "c.yaml", text };
        let config = super::super::load(Some(source), &[]).unwrap();
        assert_eq!(later(Some(source), &[], &config), expected, "{text}");
        // The same by a flag: what it sets is in the value.
        let value: Value = serde_saphyr::from_str(text).unwrap();
        let sets = value.as_object().into_iter().flatten().map(|(key, value)| Override {
            origin: "--set".to_owned(),
            key: key.clone(),
            value: value.to_string(),
        });
        assert_eq!(later(None, &sets.collect::<Vec<_>>(), &config), expected, "{text}");
    }

    #[test]
    fn working_keys_and_empty_sections_are_silent() {
        check("{}", &[]);
        check("forge: {}", &[]);
        check("{orchestrator: {jobs: 3}, logging: {level: debug}}", &[]);
        check("agents: {x: {protocol: steps, command: a, env_pass: [A]}}", &[]);
        check("validation: {requirement_evidence: [check], gates: {a: {run: b}}}", &[]);
    }

    #[test]
    fn a_key_without_effect_is_named_with_its_feature_whatever_its_value() {
        check("state: {remote: origin}", &["`state.remote` is accepted; state on a remote comes with a later version"]);
        check(
            "validation: {gates: {a: {run: b, when: task}}}",
            &["`validation.gates.a.when` is accepted; its effect comes with a later version"],
        );
        check(
            "sandbox: {network: {allow: [a]}}",
            &["`sandbox.network.allow` is accepted; walls around the network come with a later version"],
        );
        // The defaults.
        check(
            "policy: {test_removal: deny}",
            &["`policy.test_removal` is accepted; its effect comes with a later version"],
        );
        check(
            "sandbox: {network: inherit}",
            &["`sandbox.network` is accepted; walls around the network come with a later version"],
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
