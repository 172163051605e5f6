//! The session's derived files: everything in its directory that is not the journal, as (relative path, content).
//! Records flow in, files flow out; the caller writes them. Losing any of them loses nothing.

use std::ops::ControlFlow;

use serde_json::json;

use super::ReportError;
use super::console::execution_log;
use super::html::ReadFile;
use super::json::pretty;
use super::model::Report;
use super::model_work::{AttemptOutcome, TaskStanding};
use super::render::{Format, render};
use crate::core::event::Record;
use crate::core::session::Phase;
use crate::core::state::State;

/// Where each file goes as it is made, by its name; where that breaks, no other one is made.
pub type Emit<'a> = &'a mut dyn FnMut(&str, Result<String, ReportError>) -> ControlFlow<()>;

/// Every derived file of a session, one after the other: `state` and `report` are those of these records, `read` gives
/// the bytes of a file in the session's directory, by its path in there. One that cannot be made does not keep the
/// others from being made.
pub fn each_file(
    report: &Report,
    state: &State,
    records: &[Record],
    read: ReadFile<'_>,
    emit: Emit<'_>,
) -> ControlFlow<()> {
    let work_dir = state.started.as_ref().map(|s| s.work_dir.clone()).unwrap_or_default();
    emit("metadata.json", Ok(pretty(&metadata(report, &work_dir))))?;
    emit("decisions.json", Ok(pretty(&report.decisions)))?;
    emit("checkpoints.json", Ok(pretty(&report.checkpoints)))?;
    emit("execution-log.md", Ok(execution_log(records)))?;
    for format in Format::ALL {
        emit(format.file_name(), render(format, report, read))?;
    }
    state.plan.as_ref().map_or(ControlFlow::Continue(()), |plan| emit("plan.json", Ok(pretty(plan))))
}

fn metadata(report: &Report, work_dir: &str) -> serde_json::Value {
    let remaining = report.tasks.iter().filter(|t| is_left(t.status)).count();
    let recovered = report.tasks.iter().filter(|t| t.status.is_success());
    let recovered = recovered.flat_map(|t| &t.attempts).filter(|a| a.outcome == AttemptOutcome::Failed).count();
    json!({
        "session_id": report.session,
        "feature_request": report.prd.title,
        "status": report.verdict,
        "current_phase": report.phase.map(Phase::title),
        "start_time": report.timing.started,
        "git_context": {
            "branch": report.result.branch,
            "worktree": work_dir,
            "initial_commit": report.base.commit,
        },
        "statistics": {
            "tasks_completed": report.tasks_succeeded(),
            "tasks_remaining": remaining,
            "checkpoints_created": report.metrics.checkpoints,
            "errors_recovered": recovered,
        },
    })
}

fn is_left(standing: TaskStanding) -> bool {
    matches!(standing, TaskStanding::Running | TaskStanding::Waiting | TaskStanding::Parked)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::core::replay;

    /// The first so many files of these records, by name, and whether these are all.
    fn files(records: &[Record], most: usize) -> (Vec<(String, String)>, bool) {
        let state = replay(records).expect("legal");
        let mut made = Vec::new();
        let left = each_file(&Report::of(&state, records), &state, records, &|_| None, &mut |name, content| {
            made.push((name.to_owned(), content.expect("a file that can be made")));
            if made.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (made, left.is_continue())
    }

    fn file(name: &str) -> String {
        let (files, _) = files(&testing::journal(), usize::MAX);
        files.into_iter().find(|(path, _)| path == name).expect("a file of that name").1
    }

    #[test]
    fn metadata_counts_what_is_done_and_what_was_recovered() {
        let metadata: serde_json::Value = serde_json::from_str(&file("metadata.json")).expect("JSON");
        assert_eq!(metadata["status"], "failed");
        assert_eq!(
            metadata["statistics"],
            json!({"tasks_completed": 2, "tasks_remaining": 0, "checkpoints_created": 1, "errors_recovered": 1})
        );
    }

    #[test]
    fn the_same_records_give_the_same_bytes() {
        let records = testing::journal();
        assert_eq!(files(&records, usize::MAX), files(&records, usize::MAX));
    }

    #[test]
    fn no_file_is_made_after_the_one_that_was_the_last_wanted() {
        let (made, is_all) = files(&testing::journal(), 5);
        assert_eq!((made.len(), made[4].0.as_str(), is_all), (5, "report.json", false));
    }

    #[test]
    fn every_prefix_of_a_journal_has_its_files() {
        let records = testing::journal();
        for end in 0..=records.len() {
            assert!(files(&records[..end], usize::MAX).1, "the first {end} records");
        }
    }
}
