//! The verdict on a session: a function of its state, and of nothing that an agent wrote.
//! `stopped` and `complete` judge the work when it ends; `State::end` (`delivery`) adds what became of the delivery.

use super::evidence::{self, RequirementStatus};
use super::id::TaskId;
use super::session::{StopCause, TaskStatus};
use super::settings::UnverifiedMode;
use super::state::State;
use super::verdict::Verdict;

/// The verdict on a run that came to its end, with the reason in one line.
pub(super) fn complete(state: &State) -> (Verdict, String) {
    let complaints = complaints(state);
    if !complaints.is_empty() {
        return (Verdict::Failed, complaints.join("; "));
    }
    let unverified = requirements_that_are(state, RequirementStatus::Unverified).len();
    let reason = match unverified {
        0 => "passed".to_owned(),
        n => format!("passed, {n} unverified"),
    };
    (Verdict::Passed, reason)
}

/// Everything that stands against a pass.
fn complaints(state: &State) -> Vec<String> {
    let Some(settings) = state.settings() else { return vec!["the session has no settings".to_owned()] };
    let mut found = Vec::new();
    for (status, what) in [(TaskStatus::Failed, "failed"), (TaskStatus::Blocked, "blocked")] {
        let tasks = evidence::tasks_with(state, status);
        if !tasks.is_empty() {
            let names = tasks.iter().take(5).map(TaskId::as_str).collect::<Vec<_>>().join(", ");
            found.push(format!(
                "{} of {} tasks {what} ({names}{})",
                tasks.len(),
                state.tasks.len(),
                if tasks.len() > 5 { ", …" } else { "" }
            ));
        }
    }
    if settings.fail_on_gate_violation
        && let Some(round) = state.final_round()
    {
        found.extend(round.gates.iter().filter_map(|run| {
            let why = evidence::objection(state.gate(&run.gate)?, run.result.as_ref())?;
            Some(format!("gate {} {why}", run.gate))
        }));
    }
    if settings.require_gates && !evidence::some_gate_passed(state) {
        found.push("no gate passed, and gates are required".to_owned());
    }
    if found.is_empty() && settings.validate_prd {
        found.extend(requirement_complaints(state, settings.unverified));
    }
    found
}

fn requirement_complaints(state: &State, mode: UnverifiedMode) -> Vec<String> {
    let mut found = Vec::new();
    let unmet = requirements_that_are(state, RequirementStatus::Unmet);
    if !unmet.is_empty() {
        found.push(format!("requirements unmet: {}", unmet.join(", ")));
    }
    let unverified = requirements_that_are(state, RequirementStatus::Unverified);
    if mode == UnverifiedMode::Fail && !unverified.is_empty() {
        found.push(format!("requirements unverified: {}", unverified.join(", ")));
    }
    found
}

fn requirements_that_are(state: &State, status: RequirementStatus) -> Vec<String> {
    let all = evidence::requirements(state);
    all.into_iter().filter(|r| r.status == status).map(|r| r.id.to_string()).collect()
}

/// The verdict on a run that was stopped before its end.
pub(super) fn stopped(state: &State, stop: &StopCause) -> (Verdict, String) {
    let done = state.tasks.len() - state.unsettled;
    let progress = format!("{done} of {} tasks settled", state.tasks.len());
    match stop {
        StopCause::Signal { signal: 15 } => (Verdict::Terminated, format!("terminated; {progress}")),
        StopCause::Signal { signal } => (Verdict::Interrupted, format!("interrupted by signal {signal}; {progress}")),
        StopCause::Budget { resource, used, limit, task, wanted, .. } => {
            let (used, limit) = (resource.show(*used), resource.show(*limit));
            let whose = task.as_ref().map(|task| format!(" for {task}")).unwrap_or_default();
            let wanted = (*wanted > 1).then(|| format!(", and the next call could take {}", resource.show(*wanted)));
            let wanted = wanted.unwrap_or_default();
            let reason =
                format!("the budget of {resource}{whose} allows no more: {used} of {limit}{wanted}; {progress}");
            (Verdict::Budget, reason)
        }
        StopCause::Agent { message, .. } => (Verdict::Agent, format!("{message}; {progress}")),
        StopCause::Environment { message } => (Verdict::Setup, message.clone()),
        StopCause::Critical { message } if state.rolled_back => {
            (Verdict::RolledBack, format!("rolled back after a critical failure: {message}"))
        }
        StopCause::Critical { message } => (Verdict::Internal, format!("critical failure: {message}")),
    }
}
