//! Judging attempts that ended: settled, failed, or fit to be integrated. Nothing an agent says decides; only how
//! its process ended, what it left behind and what the rules allow.

use super::agent::{AgentReport, Terminal};
use super::budget::{Resource, UsageSource};
use super::call::Refusal;
use super::decision::Decision;
use super::event::Event;
use super::fault::{self, Fault, FaultClass, LimitHit};
use super::id::TaskId;
use super::outcome::{Capture, Ended};
use super::plan::Task;
use super::policy;
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
        let limit = LimitHit::of_task(resource, used, limit);
        return Some(Fault::at_limit("task_budget", limit, message));
    }
    if let Some(fault) = cut_short(state, settings, report) {
        return Some(fault);
    }
    if let Some(fault) = unpriced(settings, attempt).filter(|_| !report.is_lost()) {
        return Some(fault);
    }
    // An agent that was refused a call and still says that it is done had what it needed; one that was lost may have
    // had it yet.
    let matters = report.terminal != Some(Terminal::Completed) && !report.is_lost();
    if let Some(fault) = attempt.refusal.as_ref().filter(|_| matters).and_then(|refusal| refused(state, refusal)) {
        return Some(fault);
    }
    if let Some(fault) = fault::of_agent(report, &attempt.calls, &attempt.agent) {
        return Some(after_refusal(attempt, fault));
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
    if let Some(leak) = policy::leak(&capture.secrets) {
        return Some(Fault::new(FaultClass::Policy, policy::SECRET, leak));
    }
    if let Some(hit) = too_much(settings, capture) {
        return Some(Fault::over_limit(hit.resource, hit.used, hit.limit));
    }
    let silent = capture.commit.is_none() && !task.no_op;
    silent.then(|| after_refusal(attempt, no_change(report)))
}

/// Of an attempt that failed after a request that could not be metered, and so did not go out, that is told first. Where
/// no call went out at all, it is the agent or its settings that another attempt would fail with again.
fn after_refusal(attempt: &AttemptState, fault: Fault) -> Fault {
    let (Some(refusal @ Refusal::Unmeterable { .. }), FaultClass::Implementation) = (&attempt.refusal, fault.class)
    else {
        return fault;
    };
    let went_out = attempt.usage.source == UsageSource::Gateway && attempt.usage.api_calls > 0;
    let class = if went_out { FaultClass::Implementation } else { FaultClass::Agent };
    let then = if attempt.stopping {
        format!("it was ended after {} refused requests", attempt.refused_calls)
    } else {
        fault.message
    };
    Fault::new(class, "call_refused", format!("the gateway refused a request of the agent: {refusal}; {then}"))
}

/// What the run itself cut short says nothing about the agent.
fn cut_short(state: &State, settings: &Settings, report: &AgentReport) -> Option<Fault> {
    let why = match report.ended {
        Ended::Stopped if is_ending(state) => "the run was stopped while the agent worked",
        // It had what was left of the session's time.
        Ended::Timeout { limit_ms } if limit_ms < settings.task_duration_ms => {
            "the session's time ended while the agent worked"
        }
        _ => return None,
    };
    Some(Fault::new(FaultClass::Lost, "stopped", why))
}

/// True where the run ends what is under way.
fn is_ending(state: &State) -> bool {
    state.stop.as_ref().is_some_and(|stop| !stop.is_soft())
}

/// The fault of an attempt that cost nobody knows what, where a limit on cost holds that nothing stands in for.
fn unpriced(settings: &Settings, attempt: &AttemptState) -> Option<Fault> {
    let agent = &attempt.agent;
    let message = format!(
        "the run has a limit on cost, and what the calls cost that the agent `{agent}` reports is not known; give \
         `price` for the agent (agents.{agent}.price), or set resource_limits.unknown_cost to token_cap or allow"
    );
    let unknown = attempt.usage.unpriced_calls > 0 && !settings.bears_unpriced();
    unknown.then(|| Fault::new(FaultClass::Environment, "unpriced", message))
}

fn no_change(report: &AgentReport) -> Fault {
    if let Some(denied) = report.denied() {
        Fault::new(FaultClass::Implementation, "refused", format!("the agent changed no file; {denied}"))
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
        (used > limit).then(|| LimitHit::of_task(resource, used, limit))
    })
}

/// The fault of an attempt whose call the budget did not let out.
fn refused(state: &State, refusal: &Refusal) -> Option<Fault> {
    let message = refusal.to_string();
    match *refusal {
        Refusal::Limit { scope, resource, used, wanted, limit } => {
            let hit = LimitHit { resource, used, limit, scope, wanted };
            Some(Fault::at_limit("call_refused", hit, message))
        }
        Refusal::Unpriced { .. } => Some(Fault::new(FaultClass::Environment, "unpriced", message)),
        // What an agent got over is no fault.
        Refusal::Unmeterable { .. } => None,
        Refusal::Stopping => is_ending(state).then(|| Fault::new(FaultClass::Lost, "stopped", message)),
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
    let (failed, next) = (task.attempts.last().map(|a| a.agent.as_str()), recovery::next_agent(task, settings, role));
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
