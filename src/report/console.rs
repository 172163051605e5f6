//! The log that people follow: each record becomes zero or more lines, as it is applied.
//!
//! A record and the state after it flow in, lines flow out, each with the visible prefix `[Maestro]`, so that nothing an
//! agent wrote ever stands at the start of a line of a CI log. Printing them, colouring them and timing them is the caller's.

use super::console_attempt::{
    agent_ended, attempt_failed, attempt_started, call_failed, call_refused, retry_scheduled, stop_requested,
};
use super::console_end::finished;
use super::format::{amount, duration, len, resource, rfc3339, usd};
use super::tasks::attempt_of;
use crate::core::decision::Decision;
use crate::core::event::{Event, Record};
use crate::core::id::{Commit, TaskId};
use crate::core::outcome::{Capture, GateResult, GateStatus, Merge};
use crate::core::plan::Plan;
use crate::core::session::{Phase, SessionStarted, TaskStatus, Waiting};
use crate::core::state::State;
use crate::text::{count, markdown_code_block, one_line, terminal_line};

/// Longest line, in characters.
const LINE_CHARS: usize = 300;
const PREFIX: &str = "[Maestro]";
pub(super) const STEP: &str = "→";
pub(super) const GOOD: &str = "✓";
pub(super) const BAD: &str = "✗";
pub(super) const OPEN: &str = "–";

/// Makes the log's lines.
#[derive(Clone, Debug)]
pub struct Console {
    include_rationale: bool,
    /// Directory of the reports, where the last line names it.
    reports: Option<String>,
    /// The status that is being written to the PRD; the event that ends it no longer says.
    writing: String,
}

impl Console {
    /// A log with or without the reasons of decisions.
    pub fn new(include_rationale: bool) -> Self {
        Self { include_rationale, reports: None, writing: String::new() }
    }

    /// The same, with a last line that names the directory of the reports.
    #[must_use]
    pub fn with_reports(self, dir: String) -> Self {
        Self { reports: Some(dir), ..self }
    }

    /// The lines of one record. `state` is the state after it; lines are safe for a terminal and for a CI runner.
    pub fn lines(&mut self, state: &State, record: &Record) -> Vec<String> {
        let at = record.at;
        match &record.event {
            Event::SessionStarted(started) => session_started(started),
            Event::Resumed { lost, notes, .. } => resumed(lost.len(), notes),
            Event::PhaseStarted { phase } => phase_started(state, *phase),
            Event::Planned { plan } => planned(state, plan),
            Event::Restarted { key } => vec![line(STEP, &format!("Again: {key}"))],
            Event::SetupStarted => vec![line(STEP, "Preparing the base tree")],
            Event::SetupDone => vec![line(GOOD, "Base tree ready")],
            Event::SetupFailed { message } => vec![line(BAD, &format!("Setup failed: {message}"))],
            Event::AttemptStarted { task, attempt, strategy, .. } => {
                vec![attempt_started(state, task, *attempt, *strategy)]
            }
            Event::AttemptStopping { task, resource: of, used, limit, .. } => {
                let (used, limit) = (resource(*of, *used), resource(*of, *limit));
                vec![line(BAD, &format!("{task} is over its budget and is stopped: {used} of {limit}"))]
            }
            Event::RefusedTooOften { task, calls, .. } => {
                let why = format!("{calls} of its model calls were refused, and it goes on asking");
                vec![line(BAD, &format!("{task} is stopped: {why}"))]
            }
            Event::CostUnknown { task, .. } => {
                vec![line(BAD, &format!("{task} is stopped: cost is limited, and nobody knows what its agent costs"))]
            }
            Event::AgentEnded { task, attempt, report } => agent_ended(state, task, *attempt, report),
            Event::AttemptFailed { task, attempt, fault } => vec![attempt_failed(task, *attempt, fault)],
            Event::RetryScheduled { task, not_before_ms, .. } => retry_scheduled(task, *not_before_ms, at),
            Event::TaskParked { task, reason } => vec![line(OPEN, &format!("{task} parked: {reason}"))],
            Event::Merged { task, attempt, merge } => vec![merged(state, task, *attempt, merge)],
            Event::TaskSettled { task, status, reason } => task_settled(task, *status, reason.as_deref()),
            Event::Decided { decision } => vec![self.decided(decision)],
            Event::Stalled { waiting } => stalled(waiting),
            Event::RoundStarted { commit, gates, .. } => {
                vec![line(STEP, &format!("{} on {}", count(len(gates.len()), "gate"), commit.short()))]
            }
            Event::GateEnded { gate, result, .. } => vec![gate_ended(gate.as_str(), result)],
            Event::CheckpointCreated { n } => checkpoint_created(state, *n),
            Event::StatusWriteStarted { status, .. } => {
                self.writing.clone_from(status);
                Vec::new()
            }
            Event::StatusWritten { commit } => vec![self.status_written(commit.as_ref())],
            Event::StopRequested { stop } => vec![stop_requested(stop)],
            Event::CallRefused { task, refusal, .. } => call_refused(state, task, refusal),
            Event::CallEnded { task, fault: Some(fault), .. } => vec![call_failed(state, task, fault)],
            Event::RollbackStarted { n, to } => {
                vec![line(STEP, &format!("Rolling back to checkpoint {n} at {}", to.short()))]
            }
            Event::RolledBack => vec![line(GOOD, "Rolled back")],
            Event::EffectBroken { key, broken } => vec![line(BAD, &format!("{key}: {}", broken.message))],
            Event::SessionFinished { verdict, reason } => finished(state, *verdict, reason, self.reports.as_deref()),
            Event::DeliveryStarted { .. } => vec![line(STEP, "Trying again to deliver what is missing")],
            Event::DeliveryFailed { missing, .. } => {
                missing.iter().map(|what| line(BAD, &format!("Not delivered: {what}"))).collect()
            }
            Event::WorkspaceReady { .. }
            | Event::UsageReported { .. }
            | Event::CallWaits { .. }
            | Event::CallStarted { .. }
            | Event::CallEnded { fault: None, .. }
            | Event::Captured { .. }
            | Event::IntegrationStarted { .. }
            | Event::GateStarted { .. }
            | Event::CheckpointStarted { .. }
            | Event::DeliveryEnded
            | Event::Heartbeat => Vec::new(),
        }
    }

    fn decided(&self, decision: &Decision) -> String {
        let mut text = format!("Decision: {}", decision.choice);
        if self.include_rationale && !decision.rationale.is_empty() {
            text.push_str(". ");
            text.push_str(&decision.rationale);
        }
        if let Some(task) = &decision.task {
            text.push_str(&format!(" ({task})"));
        }
        line(STEP, &text)
    }

    fn status_written(&self, commit: Option<&Commit>) -> String {
        match commit {
            Some(commit) => line(GOOD, &format!("PRD status {} in {}", self.writing, commit.short())),
            None => line(OPEN, "PRD status not written: the PRD is not in the repository"),
        }
    }
}

/// `execution-log.md`: the same lines, each with its moment in UTC, in a code block that nothing in them can leave.
/// Records that contradict each other end the log with a line that says so.
pub fn execution_log(records: &[Record]) -> String {
    let (mut state, mut console, mut log) = (State::default(), Console::new(true), String::new());
    for record in records {
        let moment = rfc3339(record.at.wall_ms);
        let applied = state.apply(record);
        let lines = match &applied {
            Ok(()) => console.lines(&state, record),
            Err(illegal) => vec![line(BAD, &illegal.to_string())],
        };
        for text in lines {
            log.push_str(&format!("{moment} {text}\n"));
        }
        if applied.is_err() {
            break;
        }
    }
    format!("# Execution log\n\n{}", markdown_code_block(&log, "text"))
}

pub(super) fn line(mark: &str, text: &str) -> String {
    format!("{PREFIX}   {mark} {}", terminal_line(&one_line(text, LINE_CHARS)))
}

pub(super) fn top(text: &str) -> String {
    format!("{PREFIX} {}", terminal_line(&one_line(text, LINE_CHARS)))
}

fn session_started(started: &SessionStarted) -> Vec<String> {
    let prd = &started.prd;
    let mut lines = vec![
        top(&format!("Session {} · {} · isolation {}", started.session, prd.title, started.isolation)),
        top(&format!("Base {} · result branch {}", started.base.short(), started.branch)),
    ];
    lines.extend(started.notes.iter().map(|note| line(OPEN, note)));
    lines.extend(prd.warnings.iter().map(|w| line(OPEN, &format!("{}:{}: {}", prd.path, w.line, w.message))));
    lines
}

fn resumed(lost: usize, notes: &[String]) -> Vec<String> {
    let first = top(&format!("Resumed; {} under way when the process ended", count(len(lost), "effect")));
    std::iter::once(first).chain(notes.iter().map(|note| line(OPEN, note))).collect()
}

fn phase_started(state: &State, phase: Phase) -> Vec<String> {
    let mut lines = vec![top(&format!("Phase {}: {}", phase.number(), phase.title()))];
    if let (Phase::Planning, Some(started)) = (phase, &state.started) {
        let requirements = count(len(started.prd.requirements.len()), "requirement");
        lines.push(line(STEP, &format!("{} with {requirements}", started.prd.path)));
    }
    if phase == Phase::Validation {
        lines.extend(no_gates(state).map(|why| line(OPEN, why)));
    }
    lines
}

/// Why a validation has nothing to look at, where it has not: a silent phase would look like a pass.
fn no_gates(state: &State) -> Option<&'static str> {
    let successes = state.count(TaskStatus::Done) + state.count(TaskStatus::NoOp);
    match (state.settings().is_none_or(|s| s.gates.is_empty()), successes) {
        (true, _) => Some("no gate is configured or was detected: nothing proves this result"),
        (false, 0) => Some("gates are not run: nothing was integrated"),
        (false, _) => None,
    }
}

fn planned(state: &State, plan: &Plan) -> Vec<String> {
    let (epics, tasks) = (count(len(plan.epics.len()), "epic"), count(len(plan.tasks.len()), "task"));
    let groups = count(state.groups.values().max().map_or(0, |g| u64::from(*g) + 1), "parallel group");
    let path = plan.critical_path().unwrap_or(0);
    vec![
        line(STEP, &format!("Created {epics} with {tasks}")),
        line(GOOD, &format!("Tasks ready ({groups}, critical path {path})")),
    ]
}

fn merged(state: &State, task: &TaskId, attempt: u32, merge: &Merge) -> String {
    match merge {
        Merge::Integrated { commit } => {
            let facts = facts(state, task, attempt).join(", ");
            line(GOOD, &format!("{task} integrated {} ({facts})", commit.short()))
        }
        Merge::Conflict { paths } => line(BAD, &format!("{task} conflicts in {}", paths.join(", "))),
    }
}

/// What an integrated attempt changed, took and used.
fn facts(state: &State, task: &TaskId, attempt: u32) -> Vec<String> {
    let Some(attempt) = attempt_of(state, task, attempt) else { return Vec::new() };
    let mut facts: Vec<String> = attempt.capture.iter().map(changed).collect();
    let end_ms = attempt.ended.map_or(state.at.elapsed_ms, |at| at.elapsed_ms);
    facts.push(duration(end_ms.saturating_sub(attempt.started.elapsed_ms)));
    let spend = attempt.usage.spend();
    if spend.tokens > 0 {
        facts.push(format!("{} tokens", amount(spend.tokens)));
    }
    if spend.cost_microusd > 0 {
        facts.push(usd(spend.cost_microusd));
    }
    facts
}

fn changed(capture: &Capture) -> String {
    let sum = |lines: fn(&crate::core::FileChange) -> u64| {
        capture.files.iter().fold(0_u64, |sum, f| sum.saturating_add(lines(f)))
    };
    format!("+{} −{} in {}", sum(|f| f.added), sum(|f| f.removed), count(capture.file_count, "file"))
}

fn task_settled(task: &TaskId, status: TaskStatus, reason: Option<&str>) -> Vec<String> {
    let reason = reason.unwrap_or("no reason on record");
    match status {
        // Its integration has had a line.
        TaskStatus::Done => Vec::new(),
        TaskStatus::NoOp => vec![line(GOOD, &format!("{task} had nothing to change, as its plan says"))],
        TaskStatus::Failed => vec![line(BAD, &format!("{task} failed: {reason}"))],
        TaskStatus::Blocked => vec![line(OPEN, &format!("{task} blocked: {reason}"))],
    }
}

fn stalled(waiting: &[Waiting]) -> Vec<String> {
    let who = |w: &Waiting| {
        let on = w.on.iter().map(TaskId::as_str).collect::<Vec<_>>().join(", ");
        line(OPEN, &format!("{} waits for {on}", w.task))
    };
    let mut lines = vec![line(BAD, &format!("Stalled: {} cannot start", count(len(waiting.len()), "task")))];
    lines.extend(waiting.iter().take(20).map(who));
    if waiting.len() > 20 {
        lines.push(line(OPEN, &format!("and {} more", waiting.len() - 20)));
    }
    lines
}

fn gate_ended(gate: &str, result: &GateResult) -> String {
    let (mark, what) = match result.status {
        GateStatus::Passed => (GOOD, "passed"),
        GateStatus::Failed => (BAD, "failed"),
        GateStatus::Skipped => (OPEN, "skipped"),
        GateStatus::Inconclusive => (BAD, "inconclusive"),
    };
    let summary = if result.summary.is_empty() { String::new() } else { format!(": {}", result.summary) };
    line(mark, &format!("{gate} {what} ({}){summary}", duration(result.duration_ms)))
}

fn checkpoint_created(state: &State, n: u32) -> Vec<String> {
    let Some(checkpoint) = state.checkpoints.iter().find(|c| c.n == n) else { return Vec::new() };
    let mut text = format!("Checkpoint {n} at {} ({})", checkpoint.commit.short(), checkpoint.reason);
    if let (true, Some(started)) = (checkpoint.advance, &state.started) {
        text.push_str(&format!(", {} moved to it", started.branch));
    }
    vec![line(GOOD, &text)]
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn log(include_rationale: bool) -> String {
        let (mut state, mut console) = (State::default(), Console::new(include_rationale));
        let mut lines = Vec::new();
        for record in testing::journal() {
            state.apply(&record).expect("legal");
            lines.extend(console.lines(&state, &record));
        }
        lines.join("\n")
    }

    #[test]
    fn a_run_reads_as_the_contract_shows_it() {
        let log = log(true);
        for expected in [
            "[Maestro] Phase 2: Task Generation",
            "[Maestro]   → Created 2 epics with 4 tasks",
            "[Maestro]   ✓ Tasks ready (2 parallel groups, critical path 2)",
            "[Maestro] Phase 3: Implementation",
            "[Maestro]   → T-001 backend-architect · claude · attempt 1 · ",
            "(+84 −2 in 1 file, 41 s, 18.2k tokens, $0.11)",
            "[Maestro]   → T-002 backend-architect · claude · attempt 2 (alternative approach) · ",
            "[Maestro]   → Decision: alternative approach. ",
            "[Maestro]   – T-004 blocked: ",
            "[Maestro]   ✗ lint failed",
            "[Maestro]   ✓ Checkpoint 1 at ",
            "[Maestro] ✗ failed, 1 unverified: ",
        ] {
            assert!(log.contains(expected), "{expected:?} in\n{log}");
        }
    }

    #[test]
    fn reasons_of_decisions_can_be_left_out() {
        assert!(log(false).contains("→ Decision: alternative approach (T-002)"), "{}", log(false));
    }

    #[test]
    fn no_line_is_without_prefix_or_gives_a_command() {
        for line in log(true).lines() {
            assert!(line.starts_with("[Maestro] ") && !line.contains("##["), "{line:?}");
            assert!(line.chars().all(crate::text::is_visible), "{line:?}");
        }
    }

    #[test]
    fn the_execution_log_ends_where_records_contradict_each_other() {
        let mut records = testing::journal();
        records.truncate(6);
        records.push(records[5].clone());
        records.push(records[5].clone());
        let log = execution_log(&records);
        assert_eq!(log.matches("cannot follow").count(), 1, "{log}");
        assert!(log.starts_with("# Execution log\n\n```") && log.contains("text\n2023-"), "{log}");
    }
}
