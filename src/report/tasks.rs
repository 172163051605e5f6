//! Reading tasks, attempts and changed files off a state.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::format::{len, len32, rfc3339};
use super::model_measure::WaitReport;
use super::model_work::{AttemptOutcome, AttemptReport, Changes, TaskReport, TaskStanding};
use crate::core::agent::AgentReport;
use crate::core::event::{Event, Record};
use crate::core::id::TaskId;
use crate::core::ledger::Lease;
use crate::core::outcome::{Capture, FileChange, Merge};
use crate::core::plan::Task;
use crate::core::session::TaskStatus;
use crate::core::state::{AttemptState, State, TaskPhase, TaskState};

/// Every task, in the plan's order.
pub(super) fn tasks(state: &State, records: &[Record]) -> Vec<TaskReport> {
    let Some(plan) = &state.plan else { return Vec::new() };
    let mut waits = waits(state, records);
    let report = |task: &Task| {
        let waits = waits.remove(&task.id).unwrap_or_default();
        Some(task_report(state, task, state.tasks.get(&task.id)?, waits))
    };
    plan.tasks.iter().filter_map(report).collect()
}

/// When tasks did not go on, and why; waits that took no time are left out.
fn waits<'a>(state: &State, records: &'a [Record]) -> BTreeMap<&'a TaskId, Vec<WaitReport>> {
    let mut open: BTreeMap<&TaskId, (u64, &str)> = BTreeMap::new();
    let mut all: BTreeMap<&TaskId, Vec<WaitReport>> = BTreeMap::new();
    let mut end = |task: &'a TaskId, from_elapsed_ms: u64, until_elapsed_ms: u64, why: &str| {
        if until_elapsed_ms > from_elapsed_ms {
            let wait = WaitReport { from_elapsed_ms, until_elapsed_ms, why: why.to_owned() };
            all.entry(task).or_default().push(wait);
        }
    };
    for record in records {
        let Some((task, why)) = wait(&record.event) else { continue };
        if let Some((since, why)) = open.remove(task) {
            end(task, since, record.at.elapsed_ms, why);
        }
        if let Some(why) = why {
            open.insert(task, (record.at.elapsed_ms, why));
        }
    }
    for (task, (since, why)) in open {
        end(task, since, state.at.elapsed_ms, why);
    }
    all
}

/// The task that an event lets go on or makes wait, and for what it then waits.
fn wait(event: &Event) -> Option<(&TaskId, Option<&'static str>)> {
    match event {
        Event::RetryScheduled { task, .. } => Some((task, Some("retry"))),
        Event::TaskParked { task, .. } => Some((task, Some("resume"))),
        Event::Captured { task, capture, .. } if capture.commit.is_some() => Some((task, Some("integration"))),
        Event::AttemptStarted { task, .. }
        | Event::IntegrationStarted { task, .. }
        | Event::AttemptFailed { task, .. }
        | Event::TaskSettled { task, .. } => Some((task, None)),
        _ => None,
    }
}

fn task_report(state: &State, task: &Task, own: &TaskState, waits: Vec<WaitReport>) -> TaskReport {
    TaskReport {
        id: task.id.to_string(),
        title: task.title.clone(),
        epic: task.epic.clone(),
        role: task.role.clone(),
        status: standing(&own.phase),
        requirements: task.requirements.iter().map(ToString::to_string).collect(),
        depends_on: task.depends_on.iter().map(ToString::to_string).collect(),
        group: state.groups.get(&task.id).copied().unwrap_or(0),
        reason: own.reason.clone(),
        line: task.line,
        attempts: own.attempts.iter().zip(1..).map(|(attempt, n)| attempt_report(state, own, n, attempt)).collect(),
        waits,
    }
}

fn standing(phase: &TaskPhase) -> TaskStanding {
    match phase {
        TaskPhase::Settled(TaskStatus::Done) => TaskStanding::Done,
        TaskPhase::Settled(TaskStatus::NoOp) => TaskStanding::NoOp,
        TaskPhase::Settled(TaskStatus::Failed) => TaskStanding::Failed,
        TaskPhase::Settled(TaskStatus::Blocked) => TaskStanding::Blocked,
        TaskPhase::Running | TaskPhase::Captured => TaskStanding::Running,
        TaskPhase::Waiting { .. } | TaskPhase::Ready { .. } => TaskStanding::Waiting,
        TaskPhase::Parked => TaskStanding::Parked,
    }
}

fn attempt_report(state: &State, task: &TaskState, n: u32, attempt: &AttemptState) -> AttemptReport {
    let end_ms = attempt.ended.map_or(state.at.elapsed_ms, |at| at.elapsed_ms);
    let lease = state.ledger.leases.get(&(task.id.clone(), n));
    let usage = lease.map_or(attempt.usage, Lease::used);
    let report = attempt.report.as_ref();
    AttemptReport {
        n,
        strategy: attempt.strategy,
        agent: attempt.agent.clone(),
        started: rfc3339(attempt.started.wall_ms),
        started_ms: attempt.started.wall_ms,
        started_elapsed_ms: attempt.started.elapsed_ms,
        limit_ms: Some(attempt.limit_ms).filter(|limit| *limit > 0),
        duration_ms: end_ms.saturating_sub(attempt.started.elapsed_ms),
        outcome: outcome(task, n, attempt),
        fault: attempt.fault.clone(),
        usage,
        reported_usage: report.map(|r| r.usage).filter(|u| u.is_reported() && u.source != usage.source),
        terminal: report.and_then(AgentReport::state),
        events: report.and_then(|r| r.events),
        denied_tools: report.map(|r| r.denied_tools.clone()).unwrap_or_default(),
        peak_memory_bytes: report.map_or(0, |r| r.peak_memory_bytes),
        peak_processes: report.map_or(0, |r| r.peak_processes),
        leaked_processes: report.map_or(0, |r| r.leaked_processes),
        files: attempt.capture.as_ref().map(|c| c.files.clone()).unwrap_or_default(),
        file_count: attempt.capture.as_ref().map_or(0, |c| c.file_count),
        commit: attempt.integrated.as_ref().map(ToString::to_string),
        log_tail: report.map(|r| r.stderr_tail.clone()).unwrap_or_default(),
        patch_sha256: attempt.capture.as_ref().and_then(|c| c.patch_sha256.clone()),
    }
}

fn outcome(task: &TaskState, n: u32, attempt: &AttemptState) -> AttemptOutcome {
    let is_latest = len32(task.attempts.len()) == n;
    match (&attempt.integrated, &attempt.fault) {
        (Some(_), _) => AttemptOutcome::Integrated,
        (None, Some(_)) => AttemptOutcome::Failed,
        (None, None) if is_latest && task.phase == TaskPhase::Settled(TaskStatus::NoOp) => AttemptOutcome::NoChange,
        (None, None) if attempt.capture.is_some() => AttemptOutcome::Captured,
        (None, None) => AttemptOutcome::Running,
    }
}

/// The union of what integrated attempts changed, in the order in which they were integrated.
pub(super) fn changes(state: &State, records: &[Record]) -> Changes {
    let mut files: BTreeMap<&str, FileChange> = BTreeMap::new();
    let mut not_listed = 0;
    for capture in records.iter().filter_map(|r| integrated(state, &r.event)) {
        capture.files.iter().for_each(|file| add(&mut files, file));
        not_listed += capture.file_count.saturating_sub(len(capture.files.len()));
    }
    let files: Vec<FileChange> = files.into_values().collect();
    let with = |status: char| len(files.iter().filter(|f| f.status == status).count());
    let (created, deleted) = (with('A'), with('D'));
    Changes { created, deleted, modified: len(files.len()) - created - deleted, files, not_listed }
}

fn integrated<'a>(state: &'a State, event: &Event) -> Option<&'a Capture> {
    match event {
        Event::Merged { task, attempt, merge: Merge::Integrated { .. } } => {
            attempt_of(state, task, *attempt)?.capture.as_ref()
        }
        _ => None,
    }
}

/// An attempt by its number.
pub(super) fn attempt_of<'a>(state: &'a State, task: &TaskId, attempt: u32) -> Option<&'a AttemptState> {
    let index = usize::try_from(attempt).ok()?.checked_sub(1)?;
    state.tasks.get(task)?.attempts.get(index)
}

fn add<'a>(files: &mut BTreeMap<&'a str, FileChange>, file: &'a FileChange) {
    match files.entry(&file.path) {
        Entry::Vacant(entry) => {
            entry.insert(file.clone());
        }
        Entry::Occupied(mut entry) => match net_status(entry.get().status, file.status) {
            None => {
                entry.remove();
            }
            Some(status) => {
                let known = entry.get_mut();
                known.status = status;
                known.added = known.added.saturating_add(file.added);
                known.removed = known.removed.saturating_add(file.removed);
            }
        },
    }
}

/// What two changes of one file come to; none where the second undoes the first.
fn net_status(first: char, second: char) -> Option<char> {
    match (first, second) {
        ('A', 'D') => None,
        ('A', _) => Some('A'),
        ('D', 'A') => Some('M'),
        (_, second) => Some(second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_one_file_add_up() {
        let change = |status, added| FileChange { path: "a".to_owned(), status, added, removed: 1 };
        let (first, second, third) = (change('A', 3), change('M', 4), change('D', 0));
        let mut files = BTreeMap::new();
        add(&mut files, &first);
        add(&mut files, &second);
        assert_eq!(files["a"], FileChange { removed: 2, ..change('A', 7) });
        add(&mut files, &third);
        assert!(files.is_empty());
    }
}
