//! A small journal, written by hand, for the tests of all formats: one task done, one done after a failed attempt, one
//! failed, one blocked; a green gate and a red one; hostile text wherever a PRD, an agent or a tool has a say.

#[path = "../../tests/shared/journal.rs"]
mod handmade;

use std::collections::BTreeMap;

use self::handmade::Journal;
use super::model::Report;
use crate::core::agent::AgentReport;
use crate::core::budget::{Budget, Spend, Usage, UsageSource};
use crate::core::decision::{Decision, DecisionKind, option};
use crate::core::event::{Event, JOURNAL_VERSION, Record};
use crate::core::fault::{Fault, FaultClass};
use crate::core::id::Commit;
use crate::core::outcome::{Capture, Ended, FileChange, GateResult, GateStatus, Merge, TestCase, TestStatus};
use crate::core::plan::{Epic, Plan, Task};
use crate::core::prd::{Priority, Warning};
use crate::core::recovery::Strategy;
use crate::core::session::{Phase, PrdSummary, RequirementSummary, RoundPurpose, SessionStarted, TaskStatus, Waiting};
use crate::core::settings::{CheckpointFrequency, GateKind, GateSpec, RecoverySettings, Settings, UnverifiedMode};
use crate::core::time::At;
use crate::core::verdict::Verdict;

/// Everything that has ever broken out of a report.
pub(super) const HOSTILE: &str = "\u{1b}[31m]]>\u{fffe}\u{0} @everyone <img src=x onerror=y> <!-- maestro --> ##[error]x \
    fixes #1 https://evil.example \u{202e}txt ``` | a\r\n::error::boom\ttab";

/// The report of the journal.
pub(super) fn report() -> Report {
    Report::from_records(&journal()).expect("the journal is legal")
}

/// The journal.
pub(super) fn journal() -> Vec<Record> {
    let mut journal = Journal::default();
    journal.begin();
    journal.attempt("T-001", 1, Strategy::First, 0);
    journal.integrate("T-001", 1, "c1");
    journal.attempt("T-002", 1, Strategy::First, 1);
    journal.fail("T-002", Fault::new(FaultClass::Implementation, "exit", HOSTILE), "alternative approach");
    let not_before_ms = journal.elapsed_ms;
    journal.push(0, Event::RetryScheduled { task: "T-002".into(), not_before_ms, strategy: Strategy::Alternative });
    journal.attempt("T-002", 2, Strategy::Alternative, 0);
    journal.integrate("T-002", 2, "c2");
    journal.attempt("T-003", 1, Strategy::First, 0);
    journal.fail("T-003", Fault::new(FaultClass::Policy, "policy", "it changed `.github/`"), "give the task up");
    journal.settle("T-003", TaskStatus::Failed, Some(HOSTILE));
    journal.push(0, Event::Stalled { waiting: vec![Waiting { task: "T-004".into(), on: vec!["T-003".into()] }] });
    journal.settle("T-004", TaskStatus::Blocked, Some("waits for T-003"));
    journal.end();
    journal.records
}

impl Journal {
    fn begin(&mut self) {
        self.push(0, Event::SessionStarted(Box::new(started())));
        self.push(0, Event::PhaseStarted { phase: Phase::Planning });
        self.push(5, Event::PhaseStarted { phase: Phase::TaskGeneration });
        self.push(0, Event::Planned { plan: Box::new(plan()) });
        self.push(5, Event::PhaseStarted { phase: Phase::Implementation });
        self.push(0, Event::SetupStarted);
        self.push(500, Event::SetupDone);
    }

    fn attempt(&mut self, task: &str, attempt: u32, strategy: Strategy, code: i32) {
        let task = || task.into();
        let usage = Usage {
            input_tokens: 18_000,
            output_tokens: 234,
            api_calls: 7,
            cost_microusd: 112_000,
            source: UsageSource::Reported,
            ..Usage::default()
        };
        let reserved = Spend { tokens: 50_000, api_calls: 20, cost_microusd: 0 };
        self.push(
            0,
            Event::AttemptStarted {
                task: task(),
                attempt,
                strategy,
                onto: "base".into(),
                reserved,
                agent: "claude".to_owned(),
            },
        );
        self.push(1_000, Event::WorkspaceReady { task: task(), attempt, limit_ms: 1_800_000 });
        self.push(20_000, Event::UsageReported { task: task(), attempt, usage });
        let report = AgentReport { usage, leaked_processes: 1, ..AgentReport::bare(Ended::Exited { code }) };
        self.push(20_000, Event::AgentEnded { task: task(), attempt, report });
        let capture = if code == 0 { capture() } else { Capture::default() };
        self.push(0, Event::Captured { task: task(), attempt, capture });
    }

    fn integrate(&mut self, task: &str, attempt: u32, commit: &str) {
        self.push(0, Event::IntegrationStarted { task: task.into(), attempt, tip: "base".into() });
        let merge = Merge::Integrated { commit: commit.into() };
        self.push(50, Event::Merged { task: task.into(), attempt, merge });
        self.settle(task, TaskStatus::Done, None);
    }

    fn fail(&mut self, task: &str, fault: Fault, choice: &str) {
        self.push(0, Event::AttemptFailed { task: task.into(), attempt: 1, fault });
        let options = vec![option(choice, 0.9, HOSTILE), option("something else", 0.1, "")];
        let decision = Decision::best_of(DecisionKind::Recovery, HOSTILE, options).about(&task.into());
        self.push(0, Event::Decided { decision });
    }

    fn settle(&mut self, task: &str, status: TaskStatus, reason: Option<&str>) {
        self.push(0, Event::TaskSettled { task: task.into(), status, reason: reason.map(str::to_owned) });
    }

    fn end(&mut self) {
        let (commit, reason): (Commit, _) = ("c2".into(), "implementation complete".to_owned());
        self.push(0, Event::CheckpointStarted { n: 1, commit: commit.clone(), reason, advance: false });
        self.push(10, Event::CheckpointCreated { n: 1 });
        self.push(0, Event::PhaseStarted { phase: Phase::Validation });
        let gates = vec!["test".into(), "lint".into()];
        self.push(0, Event::RoundStarted { round: 1, purpose: RoundPurpose::Final, commit, gates });
        self.gate("test", green());
        self.gate("lint", red());
        self.push(0, Event::PhaseStarted { phase: Phase::Handoff });
        let reason = "1 of 4 tasks failed (T-003); gate lint failed".to_owned();
        self.push(0, Event::SessionFinished { verdict: Verdict::Failed, reason });
    }

    fn gate(&mut self, gate: &str, result: GateResult) {
        self.push(0, Event::GateStarted { round: 1, gate: gate.into(), limit_ms: 60_000 });
        self.push(2_000, Event::GateEnded { round: 1, gate: gate.into(), result });
    }
}

fn capture() -> Capture {
    let file = FileChange { path: format!("src/{HOSTILE}.rs"), status: 'M', added: 84, removed: 2 };
    Capture {
        commit: Some("work".into()),
        files: vec![file],
        file_count: 1,
        changed_lines: 86,
        rejected: None,
        violation: None,
        secrets: Vec::new(),
        patch_sha256: None,
    }
}

fn green() -> GateResult {
    let case = |name: &str, status| TestCase {
        classname: format!("suite.{HOSTILE}"),
        name: name.to_owned(),
        status,
        time_ms: 12,
        message: HOSTILE.repeat(300),
        file: Some("tests/it.rs".to_owned()),
        line: Some(7),
    };
    let cases = vec![
        case("works", TestStatus::Passed),
        case("works", TestStatus::Passed),
        case(HOSTILE, TestStatus::Skipped),
        case("", TestStatus::Failed),
    ];
    let counts = [("passed", 2), ("failed", 1), ("skipped", 1)];
    GateResult {
        status: GateStatus::Passed,
        ended: Ended::Exited { code: 0 },
        duration_ms: 2_000,
        summary: "2 passed, 1 known failure, 1 skipped".to_owned(),
        cases,
        counts: counts.into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
        problems: Vec::new(),
        log_tail: HOSTILE.to_owned(),
        leaked_processes: 0,
    }
}

fn red() -> GateResult {
    GateResult {
        status: GateStatus::Failed,
        ended: Ended::Exited { code: 1 },
        duration_ms: 2_000,
        summary: HOSTILE.to_owned(),
        cases: Vec::new(),
        counts: BTreeMap::new(),
        problems: Vec::new(),
        log_tail: HOSTILE.repeat(300),
        leaked_processes: 2,
    }
}

fn started() -> SessionStarted {
    SessionStarted {
        version: JOURNAL_VERSION,
        tool_version: "0.1.0".to_owned(),
        session: "0190a0b0-0000-7000-8000-000000000000".into(),
        prd: prd(),
        base: "base".into(),
        base_branch: Some("main".to_owned()),
        branch: "maestro/token-refresh".to_owned(),
        branch_was: None,
        work_dir: "/tmp/maestro".to_owned(),
        fingerprint: "f".repeat(64),
        isolation: "L1".to_owned(),
        settings: settings(),
        agents: Vec::new(),
        prices: None,
        agent_command: None,
        flags: std::collections::BTreeMap::new(),
        set: Vec::new(),
        wanted: Vec::new(),
        notes: vec![HOSTILE.to_owned()],
    }
}

fn prd() -> PrdSummary {
    let requirement = |id: &str, line| RequirementSummary {
        id: id.into(),
        text: HOSTILE.to_owned(),
        priority: Priority::P1,
        criteria: 1,
        line,
    };
    PrdSummary {
        path: "docs/prd.md".to_owned(),
        sha256: "a".repeat(64),
        title: format!("Token refresh {HOSTILE}"),
        feature: "token-refresh".to_owned(),
        requirements: vec![requirement("FR-1", 10), requirement("FR-2", 20), requirement("FR-3", 30)],
        criteria: Vec::new(),
        warnings: vec![Warning { line: 3, message: HOSTILE.to_owned() }],
    }
}

fn plan() -> Plan {
    let epic = |id: &str| Epic { id: id.to_owned(), title: HOSTILE.to_owned(), priority: Priority::P1 };
    Plan {
        epics: vec![epic("E-1"), epic("E-2")],
        tasks: vec![
            task("T-001", &["FR-1", "FR-3"], &[]),
            task("T-002", &["FR-1"], &[]),
            task("T-003", &["FR-2"], &[]),
            task("T-004", &["FR-2"], &["T-003"]),
        ],
        fingerprint: "b".repeat(64),
    }
}

fn task(id: &str, requirements: &[&str], depends_on: &[&str]) -> Task {
    Task {
        title: format!("add it {HOSTILE}"),
        description: HOSTILE.to_owned(),
        requirements: requirements.iter().map(|r| (*r).into()).collect(),
        depends_on: depends_on.iter().map(|t| (*t).into()).collect(),
        role: "backend-architect".to_owned(),
        priority: Priority::P1,
        line: 12,
        ..Task::bare(id)
    }
}

fn settings() -> Settings {
    let gate = |name: &str, kind, requirements: &[&str]| GateSpec {
        name: name.into(),
        kind,
        run: "true".to_owned(),
        dir: ".".to_owned(),
        timeout_ms: 60_000,
        required: true,
        report: None,
        requirements: requirements.iter().map(|r| (*r).into()).collect(),
        detected: false,
    };
    Settings {
        jobs: 2,
        task_duration_ms: 1_800_000,
        idle_ms: 600_000,
        grace_ms: 5_000,
        budget: Budget { max_tokens: Some(1_000_000), max_duration_ms: Some(3_600_000), ..Budget::default() },
        task_budget: Budget::default(),
        soft_ratio: 0.8,
        checkpoint_interval_ms: 0,
        checkpoint_frequency: CheckpointFrequency::PhaseComplete,
        recovery: RecoverySettings { max_retry_attempts: 3, backoff_multiplier: 2.0, enable_rollback: true },
        gates: vec![gate("test", GateKind::Test, &["FR-1"]), gate("lint", GateKind::Lint, &[])],
        fail_on_gate_violation: true,
        require_gates: false,
        validate_prd: true,
        unverified: UnverifiedMode::Warn,
        allow: vec!["**".to_owned()],
        protect: Vec::new(),
        agent: "claude".to_owned(),
        fallback: Vec::new(),
        agent_roles: BTreeMap::new(),
        startup_ms: 120_000,
        unknown_cost: crate::core::UnknownCost::TokenCap,
    }
}
