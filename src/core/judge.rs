//! Judging attempts that ended: settled, failed, or fit to be integrated. Nothing an agent says decides; only how
//! its process ended, what it left behind and what the rules allow.

use super::agent::{AgentReport, Terminal};
use super::budget::Resource;
use super::call::Refusal;
use super::decision::Decision;
use super::event::Event;
use super::fault::{self, Fault, FaultClass, LimitHit};
use super::id::TaskId;
use super::outcome::{Capture, Ended};
use super::plan::Task;
use super::recovery::{self, Recovery, Situation};
use super::session::{StopCause, TaskStatus};
use super::settings::Settings;
use super::state::{AttemptState, State, TaskState};
use super::time::At;

/// Events for the first ended attempt that needs any. Attempts that only wait to be integrated need none.
pub(super) fn next(state: &State, settings: &Settings, at: At) -> Option<Vec<Event>> {
    state.open.iter().find_map(|id| {
        let task = state.tasks.get(id)?;
        judge(state, settings, at, task, task.attempts.last()?)
    })
}

fn judge(state: &State, settings: &Settings, at: At, task: &TaskState, attempt: &AttemptState) -> Option<Vec<Event>> {
    if attempt.integrated.is_some() {
        return Some(vec![settled(&task.id, TaskStatus::Done, None)]);
    }
    if let Some(fault) = &attempt.fault {
        return Some(recover(state, settings, at, task, fault));
    }
    let definition = state.task(&task.id)?;
    if let Some(fault) = find_fault(state, settings, definition, task, attempt) {
        return Some(vec![Event::AttemptFailed { task: task.id.clone(), attempt: task.attempt(), fault }]);
    }
    let unchanged = attempt.capture.as_ref().is_some_and(|c| c.commit.is_none());
    unchanged.then(|| vec![settled(&task.id, TaskStatus::NoOp, None)])
}

fn settled(task: &TaskId, status: TaskStatus, reason: Option<String>) -> Event {
    Event::TaskSettled { task: task.clone(), status, reason }
}

/// What is wrong with an attempt, if anything: the budget first, then how it ended, then what it left.
fn find_fault(
    state: &State,
    settings: &Settings,
    task: &Task,
    own: &TaskState,
    attempt: &AttemptState,
) -> Option<Fault> {
    let report = attempt.report.as_ref()?;
    if let Some((resource, limit)) = settings.task_budget.exceeded(&own.usage().spend()) {
        let used = own.usage().spend().get(resource);
        let message = format!("the task used {} of its {}", resource.show(used), resource.show(limit));
        let limit = Some(LimitHit { resource, used, limit });
        return Some(Fault { limit, ..Fault::new(FaultClass::Budget, "task_budget", message) });
    }
    if report.ended == Ended::Stopped && state.stop.is_some() {
        return Some(Fault::new(FaultClass::Lost, "stopped", "the run was stopped while the agent worked"));
    }
    // An agent that was refused a call and still says that it is done had what it needed.
    if let (Some(refusal), false) = (&attempt.refusal, report.terminal == Some(Terminal::Completed)) {
        return Some(refused(refusal));
    }
    if let Some(fault) = fault::of_agent(report, attempt.call_fault.as_ref()) {
        return Some(fault);
    }
    if let Some(merge_conflict) = conflict_of(attempt) {
        return Some(merge_conflict);
    }
    let capture = attempt.capture.as_ref()?;
    if let Some(why) = &capture.rejected {
        return Some(Fault::new(FaultClass::Policy, "rejected_tree", why.clone()));
    }
    if let Some(violation) = &capture.violation {
        return Some(Fault::new(FaultClass::Policy, "policy", violation.clone()));
    }
    if let Some(hit) = too_much(settings, capture) {
        return Some(Fault::over_limit(hit.resource, hit.used, hit.limit));
    }
    let silent = capture.commit.is_none() && !task.no_op;
    silent.then(|| no_change(report))
}

fn no_change(report: &AgentReport) -> Fault {
    if let Some(Terminal::Refused { denials }) = &report.terminal {
        let message = format!("the agent changed no file; {denials} of its tool calls were denied");
        Fault::new(FaultClass::Implementation, "refused", message)
    } else {
        let message = "the agent ended without changing a file; the task is not declared as a no-op";
        Fault::new(FaultClass::Implementation, "no_change", message)
    }
}

/// The limit on changed files or lines that a capture goes over, if it does.
fn too_much(settings: &Settings, capture: &Capture) -> Option<LimitHit> {
    let changed = [(Resource::ChangedFiles, capture.file_count), (Resource::ChangedLines, capture.changed_lines)];
    changed.into_iter().find_map(|(resource, used)| {
        let limit = settings.task_budget.limit(resource)?;
        (used > limit).then_some(LimitHit { resource, used, limit })
    })
}

/// The fault of an attempt whose call the budget did not let out.
fn refused(refusal: &Refusal) -> Fault {
    let message = refusal.to_string();
    match refusal {
        Refusal::Limit { resource, used, limit, .. } => {
            let hit = LimitHit { resource: *resource, used: *used, limit: *limit };
            Fault { limit: Some(hit), ..Fault::new(FaultClass::Budget, "call_refused", message) }
        }
        Refusal::Unpriced { .. } => Fault::new(FaultClass::Environment, "unpriced", message),
        Refusal::Stopping => Fault::new(FaultClass::Lost, "stopped", message),
    }
}

fn conflict_of(attempt: &AttemptState) -> Option<Fault> {
    let paths = attempt.conflict.as_ref()?;
    let message = format!("another task changed the same lines first; conflicting files: {}", paths.join(", "));
    Some(Fault::new(FaultClass::Conflict, "conflict", message))
}

/// What follows a failed attempt.
fn recover(state: &State, settings: &Settings, at: At, task: &TaskState, fault: &Fault) -> Vec<Event> {
    let role = state.task(&task.id).map_or("", |t| t.role.as_str());
    let (failed, next) = (task.attempts.last().map(|a| a.agent.as_str()), task.next_agent(settings, role));
    let situation = Situation {
        task,
        settings: &settings.recovery,
        other_agent: next.filter(|next| Some(*next) != failed),
        wall_ms: at.wall_ms,
    };
    let (recovery, decision) = recovery::choose(&situation, fault);
    let decided = Event::Decided { decision: Decision::about(decision, &task.id) };
    let reason = fault.summary();
    match recovery {
        Recovery::Attempt { strategy, delay_ms } => {
            let not_before_ms = at.elapsed_ms.saturating_add(delay_ms);
            let retry = Event::RetryScheduled { task: task.id.clone(), not_before_ms, strategy };
            // What the run itself stopped needs no decision: a resume simply does it again.
            if fault.reason == "stopped" { vec![retry] } else { vec![decided, retry] }
        }
        Recovery::GiveUp => vec![decided, settled(&task.id, TaskStatus::Failed, Some(reason))],
        Recovery::Park => {
            let mut events = vec![decided, Event::TaskParked { task: task.id.clone(), reason: reason.clone() }];
            if fault.class == FaultClass::Environment && state.stop.is_none() {
                events.push(Event::StopRequested { stop: StopCause::Environment { message: reason } });
            }
            events
        }
    }
}
