//! The log's lines about attempts, their model calls, and what stops a run.

use super::console::{BAD, OPEN, STEP, line};
use super::format::{duration, resource};
use crate::core::agent::AgentReport;
use crate::core::budget::UsageSource;
use crate::core::call::{CallFault, Refusal};
use crate::core::fault::Fault;
use crate::core::id::TaskId;
use crate::core::recovery::Strategy;
use crate::core::session::StopCause;
use crate::core::state::State;
use crate::core::time::At;

pub(super) fn attempt_started(state: &State, task: &TaskId, attempt: u32, strategy: Strategy) -> String {
    let definition = state.task(task);
    let role = definition.map_or("", |t| t.role.as_str());
    let title = definition.map_or("", |t| t.title.as_str());
    let agent = state.latest(task).map_or("", |a| a.agent.as_str());
    let how = if attempt > 1 { format!(" ({})", strategy.name()) } else { String::new() };
    line(STEP, &format!("{task} {role} · {agent} · attempt {attempt}{how} · {title}"))
}

/// An agent that was not let do something may have done less than it says; one that went past the gateway is held to
/// its limits by its own word alone.
pub(super) fn agent_ended(state: &State, task: &TaskId, attempt: u32, report: &AgentReport) -> Vec<String> {
    let went_past = report.metered && state.latest(task).is_some_and(|a| a.usage.source == UsageSource::Reported);
    let past = went_past.then(|| "its model calls went past the gateway; what it used is what it says".to_owned());
    let warning = |text| line(BAD, &format!("{task} attempt {attempt}: {text}"));
    report.denied().into_iter().chain(past).map(warning).collect()
}

pub(super) fn attempt_failed(task: &TaskId, attempt: u32, fault: &Fault) -> String {
    line(BAD, &format!("{task} attempt {attempt} failed ({}: {}): {}", fault.class, fault.reason, fault.summary()))
}

/// A wait is worth a line, so that nobody takes it for a hang; an attempt at once is announced by itself.
pub(super) fn retry_scheduled(task: &TaskId, not_before_ms: u64, at: At) -> Vec<String> {
    match not_before_ms.saturating_sub(at.elapsed_ms) {
        0 => Vec::new(),
        wait => vec![line(OPEN, &format!("{task} runs again in {}", duration(wait)))],
    }
}

/// Some agents try a refused call again a few times; the log says it once an attempt.
pub(super) fn call_refused(state: &State, task: &TaskId, refusal: &Refusal) -> Vec<String> {
    let is_first = state.latest(task).is_none_or(|attempt| attempt.refused_calls <= 1);
    is_first.then(|| line(BAD, &format!("{task} model call refused: {refusal}"))).into_iter().collect()
}

/// Whose API it was, and for a refused key where that comes from: with that a CI log says what to mend.
pub(super) fn call_failed(state: &State, task: &TaskId, fault: &CallFault) -> String {
    let agent = state.latest(task).map_or("", |attempt| attempt.agent.as_str());
    let mut agents = state.started.iter().flat_map(|started| &started.agents);
    let apis = agents.rfind(|info| info.name == agent).map_or(&[][..], |info| info.apis.as_slice());
    // Of several APIs nothing says which one it was.
    let (place, key) = match apis {
        [api] => (format!(" → {} at {}", api.provider, api.address), api.key.as_deref()),
        _ => (String::new(), None),
    };
    let status = fault.status.filter(|s| *s >= 400).map(|s| format!(", HTTP {s}")).unwrap_or_default();
    let key = key.filter(|_| matches!(fault.status, Some(401 | 403))).map(|key| format!(", key of {key}"));
    let what = format!("model call failed ({}{status}{})", fault.trouble, key.unwrap_or_default());
    line(OPEN, &format!("{task} {agent}{place}: {what}: {}", fault.message))
}

pub(super) fn stop_requested(stop: &StopCause) -> String {
    let text = match stop {
        StopCause::Signal { signal } => format!("Stopped by signal {signal}; running work is ended, nothing is lost"),
        StopCause::Budget { resource: of, used, limit, soft, task, wanted, .. } => {
            let then = if *soft { "running attempts may finish" } else { "running work is ended" };
            let whose = task.as_ref().map(|task| format!(" for {task}")).unwrap_or_default();
            let wanted = (*wanted > 1).then(|| format!(", the next call could take {}", resource(*of, *wanted)));
            let (used, limit, wanted) = (resource(*of, *used), resource(*of, *limit), wanted.unwrap_or_default());
            format!("Budget of {of}{whose}: {used} of {limit} used{wanted}; {then}")
        }
        StopCause::Agent { message, .. } => format!("Stopping: {message}"),
        StopCause::Environment { message } => format!("Stopping, the machine cannot do the work: {message}"),
        StopCause::Critical { message } => format!("Critical failure: {message}"),
    };
    line(BAD, &text)
}
