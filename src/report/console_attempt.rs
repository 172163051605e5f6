//! The log's lines about attempts, their model calls, and what stops a run.

use super::console::{BAD, OPEN, STEP, line};
use super::format::{duration, resource};
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

pub(super) fn call_failed(task: &TaskId, fault: &CallFault) -> String {
    let status = fault.status.filter(|s| *s >= 400).map(|s| format!(", HTTP {s}")).unwrap_or_default();
    line(OPEN, &format!("{task} model call failed ({}{status}): {}", fault.trouble, fault.message))
}

pub(super) fn stop_requested(stop: &StopCause) -> String {
    let text = match stop {
        StopCause::Signal { signal } => format!("Stopped by signal {signal}; running work is ended, nothing is lost"),
        StopCause::Budget { resource: of, used, limit, soft } => {
            let then = if *soft { "running attempts may finish" } else { "running work is ended" };
            format!("Budget of {of}: {} of {} used; {then}", resource(*of, *used), resource(*of, *limit))
        }
        StopCause::Agent { message, .. } => format!("Stopping: {message}"),
        StopCause::Environment { message } => format!("Stopping, the machine cannot do the work: {message}"),
        StopCause::Critical { message } => format!("Critical failure: {message}"),
    };
    line(BAD, &text)
}
