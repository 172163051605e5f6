//! How far the work is, for people who ask while it runs. The rest of the report flows in, a `Progress` flows out.

use super::format::len;
use super::model::Report;
use super::model_measure::{Progress, Worker};
use super::model_work::{TaskReport, TaskStanding};

/// Longest list of ids.
const MAX_IDS: usize = 100;

pub(super) fn progress(report: &Report) -> Progress {
    let (done, all) = (len(report.tasks_succeeded()), len(report.tasks.len()));
    let succeeded = report.succeeded();
    let ids = |of: &dyn Fn(&TaskReport) -> bool| {
        report.tasks.iter().filter(|t| of(t)).map(|t| t.id.clone()).take(MAX_IDS).collect::<Vec<_>>()
    };
    Progress {
        tasks_done: done,
        tasks: all,
        percent: (done * 100).checked_div(all).unwrap_or(0),
        running: report.tasks.iter().filter(|t| t.status == TaskStanding::Running).filter_map(worker).collect(),
        blockers: ids(&|t| matches!(t.status, TaskStanding::Failed | TaskStanding::Parked)),
        next: ids(&|t| t.status == TaskStanding::Waiting && t.waits_for(&succeeded).is_empty()),
    }
}

fn worker(task: &TaskReport) -> Option<Worker> {
    let attempt = task.attempts.last()?;
    Some(Worker {
        task: task.id.clone(),
        attempt: attempt.n,
        agent: attempt.agent.clone(),
        role: task.role.clone(),
        duration_ms: attempt.duration_ms,
        limit_ms: attempt.limit_ms,
        tokens: attempt.usage.tokens(),
    })
}
