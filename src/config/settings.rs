//! What decisions depend on, taken out of the configuration in the units of the core: milliseconds and millionths
//! of a US dollar. Total: a checked configuration always gives settings.

use super::choices::Jobs;
use super::limits::{ResourceLimits, TaskLimits};
use super::schema::Config;
use super::validation::{ConfiguredKind, GateConfig, QualityGate, Validation};
use crate::core::{Budget, GateName, GateSpec, RecoverySettings, RequirementId, Settings};

impl Config {
    /// The settings of a session that works with `agent`, runs `gates` and has `cpus` processors.
    pub fn settings(&self, agent: &str, gates: Vec<GateSpec>, cpus: u32) -> Settings {
        let limits = &self.resource_limits;
        let task_seconds = limits.task.max_duration_seconds.unwrap_or(self.orchestrator.max_task_duration);
        Settings {
            jobs: self.jobs(cpus),
            task_duration_ms: ms(task_seconds),
            idle_ms: ms(limits.idle_seconds),
            grace_ms: ms(limits.grace_seconds),
            budget: session_budget(limits),
            task_budget: task_budget(&limits.task, task_seconds),
            soft_ratio: limits.soft_ratio,
            checkpoint_interval_ms: ms(limits.checkpoint_interval),
            checkpoint_frequency: self.orchestrator.checkpoint_frequency,
            recovery: self.recovery(),
            gates,
            fail_on_gate_violation: self.validation.fail_on_gate_violation,
            require_gates: self.validation.require_gates,
            validate_prd: self.validation.validate_prd,
            unverified: self.validation.unverified,
            allow: self.policy.allow.clone(),
            protect: self.policy.protect.clone(),
            agent: agent.to_owned(),
            fallback: self.agent.fallback.clone(),
            agent_roles: self.agent.roles.clone(),
            startup_ms: ms(limits.startup_seconds),
            unknown_cost: limits.unknown_cost,
        }
    }

    /// The gates of the configuration that run, by name.
    pub fn configured_gates(&self) -> Vec<GateSpec> {
        let gates = self.validation.gates.iter();
        gates.filter(|(_, gate)| runs(&self.validation, gate.kind)).map(|(name, gate)| spec(name, gate)).collect()
    }

    fn jobs(&self, cpus: u32) -> u32 {
        match self.orchestrator.jobs {
            _ if !self.orchestrator.parallel_execution => 1,
            Jobs::Auto => cpus.max(1),
            Jobs::Count(count) => count.max(1),
        }
    }

    fn recovery(&self) -> RecoverySettings {
        RecoverySettings {
            max_retry_attempts: self.error_recovery.max_retry_attempts,
            backoff_multiplier: self.error_recovery.backoff_multiplier,
            enable_rollback: self.error_recovery.enable_rollback,
        }
    }
}

fn session_budget(limits: &ResourceLimits) -> Budget {
    Budget {
        max_duration_ms: limits.max_duration_seconds.map(ms),
        max_tokens: limits.max_tokens,
        max_api_calls: limits.max_api_calls,
        max_cost_microusd: limits.max_cost_usd.map(microusd),
        ..Budget::default()
    }
}

fn task_budget(limits: &TaskLimits, seconds: u64) -> Budget {
    Budget {
        max_duration_ms: Some(ms(seconds)),
        max_tokens: limits.max_tokens,
        max_api_calls: limits.max_api_calls,
        max_cost_microusd: limits.max_cost_usd.map(microusd),
        max_memory_bytes: limits.max_memory_bytes,
        max_processes: limits.max_processes,
        max_output_bytes: limits.max_output_bytes,
        max_disk_bytes: limits.max_disk_bytes,
        max_changed_files: limits.max_changed_files,
        max_changed_lines: limits.max_changed_lines,
    }
}

fn ms(seconds: u64) -> u64 {
    seconds.saturating_mul(1_000)
}

/// A positive limit never becomes 0, which would refuse every call.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive; `as` saturates")]
fn microusd(usd: f64) -> u64 {
    ((usd * 1e6).round() as u64).max(1)
}

fn runs(validation: &Validation, kind: ConfiguredKind) -> bool {
    let listed = |gate| validation.quality_gates.contains(&gate);
    match kind {
        ConfiguredKind::Test => validation.run_tests,
        ConfiguredKind::Lint => listed(QualityGate::Lint),
        ConfiguredKind::Typecheck => listed(QualityGate::Typecheck),
        ConfiguredKind::Security => listed(QualityGate::Security),
        ConfiguredKind::Build | ConfiguredKind::Custom => true,
    }
}

fn spec(name: &str, gate: &GateConfig) -> GateSpec {
    GateSpec {
        name: GateName::new(name),
        kind: gate.kind.into(),
        run: gate.run.clone(),
        dir: gate.dir.clone(),
        timeout_ms: ms(gate.timeout),
        required: gate.required,
        report: gate.report.clone(),
        requirements: gate.requirements.iter().map(|id| RequirementId::new(id.as_str())).collect(),
        detected: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn config(value: Value) -> Config {
        serde_json::from_value(value).unwrap()
    }

    fn check_jobs(value: Value, cpus: u32, expected: u32) {
        assert_eq!(config(json!({ "orchestrator": value })).settings("a", Vec::new(), cpus).jobs, expected);
    }

    fn check_gates(value: Value, expected: &[&str]) {
        let mut config = config(json!({ "validation": value }));
        for (name, kind) in [
            ("t", ConfiguredKind::Test),
            ("l", ConfiguredKind::Lint),
            ("s", ConfiguredKind::Security),
            ("b", ConfiguredKind::Build),
        ] {
            config.validation.gates.insert(name.to_owned(), GateConfig { kind, ..GateConfig::default() });
        }
        let gates = config.configured_gates();
        let names: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn jobs_follow_the_processors_unless_told_otherwise() {
        check_jobs(json!({}), 8, 8);
        check_jobs(json!({}), 0, 1);
        check_jobs(json!({"jobs": 3}), 8, 3);
        check_jobs(json!({"jobs": 3, "parallel_execution": false}), 8, 1);
    }

    #[test]
    fn units_become_those_of_the_core() {
        let limits = json!({"max_cost_usd": 1.25, "task": {"max_cost_usd": 1e-9}, "max_tokens": null});
        let settings = config(json!({ "resource_limits": limits })).settings("a", Vec::new(), 1);
        assert_eq!(settings.budget.max_duration_ms, Some(3_600_000));
        assert_eq!(settings.budget.max_cost_microusd, Some(1_250_000));
        assert_eq!(settings.budget.max_tokens, None);
        assert_eq!(settings.task_budget.max_cost_microusd, Some(1));
        assert_eq!(settings.task_duration_ms, 1_800_000);
        assert_eq!((microusd(1e300), ms(u64::MAX)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn gates_that_are_switched_off_do_not_run() {
        check_gates(json!({}), &["b", "l", "s", "t"]);
        check_gates(json!({"run_tests": false}), &["b", "l", "s"]);
        check_gates(json!({"quality_gates": ["security"]}), &["b", "s", "t"]);
        check_gates(json!({"quality_gates": [], "run_tests": false}), &["b"]);
    }
}
