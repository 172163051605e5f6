//! Making the report from records: replay, then read off. Records flow in, a `Report` flows out; the same records
//! give the same report. What belongs to one part of the report is read off in `tasks`, `gates`, `history`, `figures`.

use std::collections::BTreeMap;

use super::format::{len32, rfc3339};
use super::model::{
    BaseReport, BudgetReport, EpicReport, Isolation, PlanReport, PrdReport, RUNNING, Report, ResultReport,
    SCHEMA_VERSION, Timing, Tool,
};
use super::model_work::RequirementReport;
use super::{curve, figures, findings, gates, history, progress, tasks};
use crate::core::event::{Event, Record};
use crate::core::plan::Plan;
use crate::core::session::{SessionStarted, StopCause};
use crate::core::state::{State, TaskPhase};
use crate::core::{Illegal, evidence, replay};

impl Report {
    /// What the records say. Records that end before the session's end give a report of a session under way.
    ///
    /// # Errors
    /// The first record that cannot follow what came before it.
    pub fn from_records(records: &[Record]) -> Result<Self, Illegal> {
        Ok(Self::of(&replay(records)?, records))
    }

    /// The same, for a caller that has the state of these records at hand.
    pub fn of(state: &State, records: &[Record]) -> Self {
        let Some(started) = state.started.as_deref() else {
            return Self { schema_version: SCHEMA_VERSION, verdict: RUNNING.to_owned(), ..Self::default() };
        };
        let starts = gates::starts(records);
        let mut report = Self {
            schema_version: SCHEMA_VERSION,
            tool: Tool { name: "maestro-ci".to_owned(), version: started.tool_version.clone() },
            session: started.session.to_string(),
            phase: state.phase,
            prd: prd(started),
            base: BaseReport { commit: started.base.to_string(), branch: started.base_branch.clone() },
            result: result(state, started),
            plan: state.plan.as_deref().map(|p| plan(state, p)).unwrap_or_default(),
            tasks: tasks::tasks(state, records),
            gates: gates::gates(state, &starts),
            earlier_rounds: gates::earlier_rounds(state, &starts),
            requirements: requirements(state, started),
            decisions: history::decisions(records),
            faults: history::faults(records),
            checkpoints: history::checkpoints(state, started),
            changes: tasks::changes(state, records),
            isolation: Isolation { level: started.isolation.clone() },
            agents: started.agents.clone(),
            timing: timing(state, records),
            notes: started.notes.clone(),
            ..Self::default()
        };
        report.set_end(state);
        report.resume_after = resume_after(state);
        report.budget = BudgetReport { curve: curve::curve(records), ..figures::budget(state, &report) };
        report.progress = progress::progress(&report);
        (report.findings, report.findings_not_listed) = findings::findings(state, &report);
        report.metrics = figures::metrics(&report, records);
        report
    }

    fn set_end(&mut self, state: &State) {
        let Some((verdict, reason)) = state.end() else {
            self.verdict = RUNNING.to_owned();
            self.resumable = true;
            self.reason = state.phase.map(|p| format!("in phase {}: {}", p.number(), p.title())).unwrap_or_default();
            return;
        };
        self.verdict = verdict.name().to_owned();
        self.exit_code = Some(verdict.code());
        self.resumable = verdict.is_resumable();
        self.reason = reason;
    }
}

/// When a later run may find the API back, where the API said so; also where a limit stopped the run besides.
pub(super) fn resume_after(state: &State) -> Option<String> {
    let parked = || state.tasks.values().filter(|t| t.phase == TaskPhase::Parked);
    let told = || parked().filter_map(|t| t.attempts.last()?.fault.as_ref()?.resume_after_ms).max();
    match state.stop {
        Some(StopCause::Agent { resume_after_ms, .. }) => resume_after_ms.map(rfc3339),
        Some(StopCause::Budget { .. }) => told().map(rfc3339),
        _ => None,
    }
}

fn prd(started: &SessionStarted) -> PrdReport {
    let prd = &started.prd;
    PrdReport {
        path: prd.path.clone(),
        sha256: prd.sha256.clone(),
        title: prd.title.clone(),
        feature: prd.feature.clone(),
        warnings: prd.warnings.clone(),
    }
}

fn result(state: &State, started: &SessionStarted) -> ResultReport {
    let moved_to = state.branch_at();
    ResultReport {
        branch: started.branch.clone(),
        branch_commit: moved_to.or(started.branch_was.as_ref()).map(ToString::to_string),
        tip: state.tip.as_ref().map(ToString::to_string),
        moved: moved_to.is_some(),
    }
}

fn plan(state: &State, plan: &Plan) -> PlanReport {
    let mut tasks_of: BTreeMap<&str, u32> = BTreeMap::new();
    for task in &plan.tasks {
        *tasks_of.entry(&task.epic).or_default() += 1;
    }
    PlanReport {
        fingerprint: plan.fingerprint.clone(),
        epics: plan
            .epics
            .iter()
            .map(|e| EpicReport {
                id: e.id.clone(),
                title: e.title.clone(),
                priority: e.priority,
                tasks: tasks_of.get(e.id.as_str()).copied().unwrap_or(0),
            })
            .collect(),
        tasks: len32(plan.tasks.len()),
        critical_path: plan.critical_path().unwrap_or(0),
        groups: state.groups.values().max().map_or(0, |g| g + 1),
    }
}

fn requirements(state: &State, started: &SessionStarted) -> Vec<RequirementReport> {
    let results = evidence::requirements(state);
    let asked = &started.prd.requirements;
    asked
        .iter()
        .zip(results)
        .map(|(asked, found)| RequirementReport {
            id: asked.id.to_string(),
            text: asked.text.clone(),
            priority: asked.priority,
            status: found.status,
            evidence: found.evidence,
            reason: found.reason,
            line: asked.line,
        })
        .collect()
}

fn timing(state: &State, records: &[Record]) -> Timing {
    let started_ms = records.first().map_or(0, |r| r.at.wall_ms);
    Timing {
        started: rfc3339(started_ms),
        started_ms,
        finished: state.finished_at.map(|at| rfc3339(at.wall_ms)),
        elapsed_ms: state.at.elapsed_ms,
        resumes: len32(records.iter().filter(|r| matches!(r.event, Event::Resumed { .. })).count()),
    }
}
