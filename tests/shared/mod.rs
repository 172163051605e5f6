//! What the suites share: a seeded generator, and the plainest session that the core can have.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::collections::BTreeMap;

use maestro_ci::core::{
    Budget, CheckpointFrequency, Commit, Epic, JOURNAL_VERSION, Plan, PrdSummary, Priority, RecoverySettings,
    RequirementSummary, SessionStarted, Settings, Task, UnknownCost, UnverifiedMode,
};

/// A small, fast, seeded generator (`SplitMix64`); good enough to choose.
#[derive(Clone)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// The commit that it starts from.
pub fn base() -> Commit {
    Commit::new("base")
}

/// These tasks.
pub fn plan(tasks: Vec<Task>) -> Plan {
    let epic = Epic { id: "E-1".to_owned(), title: "all".to_owned(), priority: Priority::P2 };
    Plan { epics: vec![epic], tasks, fingerprint: "f".to_owned() }
}

/// One that asks for nothing.
pub fn settings() -> Settings {
    Settings {
        jobs: 2,
        task_duration_ms: 10_000,
        idle_ms: 5_000,
        grace_ms: 100,
        budget: Budget::default(),
        task_budget: Budget::default(),
        soft_ratio: 0.8,
        checkpoint_interval_ms: 0,
        checkpoint_frequency: CheckpointFrequency::PhaseComplete,
        recovery: RecoverySettings { max_retry_attempts: 3, backoff_multiplier: 2.0, enable_rollback: true },
        gates: Vec::new(),
        fail_on_gate_violation: true,
        require_gates: false,
        validate_prd: true,
        unverified: UnverifiedMode::Warn,
        allow: vec!["**".to_owned()],
        protect: Vec::new(),
        agent: "command".to_owned(),
        fallback: Vec::new(),
        agent_roles: BTreeMap::new(),
        startup_ms: 5_000,
        unknown_cost: UnknownCost::TokenCap,
    }
}

/// A session of this plan, at its start.
pub fn session(settings: Settings, plan: &Plan) -> SessionStarted {
    let requirements = plan.tasks.iter().flat_map(|t| &t.requirements).map(|id| RequirementSummary {
        id: id.clone(),
        text: id.to_string(),
        priority: Priority::P2,
        criteria: 0,
        line: 1,
    });
    SessionStarted {
        version: JOURNAL_VERSION,
        tool_version: "0".to_owned(),
        session: "s".into(),
        prd: PrdSummary {
            path: "prd.md".to_owned(),
            sha256: String::new(),
            title: "t".to_owned(),
            feature: "t".to_owned(),
            requirements: requirements.collect(),
            criteria: Vec::new(),
            warnings: Vec::new(),
        },
        base: base(),
        base_branch: None,
        branch: "maestro/t".to_owned(),
        branch_was: None,
        work_dir: String::new(),
        fingerprint: "f".to_owned(),
        isolation: "L0".to_owned(),
        settings,
        agents: Vec::new(),
        prices: None,
        agent_command: None,
        wanted: Vec::new(),
        flags: BTreeMap::new(),
        set: Vec::new(),
        notes: Vec::new(),
    }
}
