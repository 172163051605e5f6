//! The part of the schema that says what proves the work: gates, evidence and how strict the verdict is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::numbers;
use crate::core::{GateKind, UnverifiedMode};

/// What proves the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Validation {
    /// False: gates of kind `test` do not run.
    pub run_tests: bool,
    /// False: findings in the PRD do not stop a run.
    pub validate_prd: bool,
    /// Kinds of gates that run besides tests, builds and custom ones.
    pub quality_gates: Vec<QualityGate>,
    /// False: a red gate is shown and does not fail the run.
    pub fail_on_gate_violation: bool,
    /// What a failure that the base has too means.
    pub baseline: Baseline,
    /// How often a failed test is repeated to see whether it is flaky.
    #[serde(deserialize_with = "numbers::retries")]
    pub flaky_retries: u32,
    /// What counts as evidence for a requirement.
    pub requirement_evidence: Vec<Evidence>,
    /// What a requirement without evidence means.
    pub unverified: UnverifiedMode,
    /// True: a run without any gate that ran fails.
    pub require_gates: bool,
    /// Gates by name.
    pub gates: BTreeMap<String, GateConfig>,
}

impl Default for Validation {
    fn default() -> Self {
        Self {
            run_tests: true,
            validate_prd: true,
            quality_gates: vec![QualityGate::Lint, QualityGate::Typecheck, QualityGate::Security],
            fail_on_gate_violation: true,
            baseline: Baseline::default(),
            flaky_retries: 1,
            requirement_evidence: Evidence::ALL.to_vec(),
            unverified: UnverifiedMode::default(),
            require_gates: false,
            gates: BTreeMap::new(),
        }
    }
}

/// A kind of gate that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualityGate {
    /// A linter or formatter.
    Lint,
    /// A type checker.
    Typecheck,
    /// A security scanner.
    Security,
}

/// What a failure that the base has too means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// Only new failures count.
    #[default]
    NewFailures,
    /// Every failure counts.
    Strict,
    /// The base is not looked at.
    None,
}

/// What can show that a requirement is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A fenced `check` block of the PRD.
    Check,
    /// A gate that names the requirement.
    Gate,
    /// A test of the base that passes on the new code.
    BaseTest,
    /// A new test that fails without the change.
    NewTest,
    /// A review.
    Review,
}

impl Evidence {
    /// Every kind, the strongest first.
    pub const ALL: [Self; 5] = [Self::Check, Self::Gate, Self::BaseTest, Self::NewTest, Self::Review];
}

/// One gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GateConfig {
    /// What it looks at.
    pub kind: ConfiguredKind,
    /// Command for `sh -c`.
    pub run: String,
    /// Directory, relative to the repository's root.
    pub dir: String,
    /// Wall-clock limit, seconds.
    #[serde(deserialize_with = "numbers::seconds")]
    #[schemars(range(min = 1))]
    pub timeout: u64,
    /// False: its result is shown and decides nothing.
    pub required: bool,
    /// After what it runs.
    pub when: When,
    /// `JUnit` file it writes, relative to `dir`.
    pub report: Option<String>,
    /// Ids of the requirements whose evidence it is.
    pub requirements: Vec<String>,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            kind: ConfiguredKind::default(),
            run: String::new(),
            dir: ".".to_owned(),
            timeout: 600,
            required: true,
            when: When::default(),
            report: None,
            requirements: Vec::new(),
        }
    }
}

/// What a configured gate looks at. (`check` is missing: those come from the PRD.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfiguredKind {
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
}

impl From<ConfiguredKind> for GateKind {
    fn from(kind: ConfiguredKind) -> Self {
        match kind {
            ConfiguredKind::Test => Self::Test,
            ConfiguredKind::Lint => Self::Lint,
            ConfiguredKind::Typecheck => Self::Typecheck,
            ConfiguredKind::Security => Self::Security,
            ConfiguredKind::Build => Self::Build,
            ConfiguredKind::Custom => Self::Custom,
        }
    }
}

/// After what a gate runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// After each integrated task.
    Task,
    /// After each group of the plan.
    Group,
    /// At the end.
    #[default]
    Final,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: Value, expected: &str) {
        let read = serde_json::from_value::<Validation>(value.clone());
        let error = read.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(expected), "{value}: {error}");
    }

    #[test]
    fn words_that_do_not_exist_and_numbers_that_make_no_sense_are_refused() {
        check(json!({"baseline": "lenient"}), "unknown variant `lenient`");
        check(json!({"quality_gates": ["test"]}), "unknown variant `test`");
        check(json!({"gates": {"a": {"kind": "check"}}}), "unknown variant `check`");
        check(json!({"gates": {"a": {"timeout": 0}}}), "`0`, expected a whole number of seconds");
        check(json!({"gates": {"a": {"timeout": "10m"}}}), "did you mean 600?");
        check(json!({"flaky_retries": -1}), "`-1`, expected a whole number from 0");
    }
}
