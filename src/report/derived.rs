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
use crate::core::replay;
use crate::core::session::Phase;
use crate::core::state::State;

/// Every derived file of a session. `read` gives the bytes of a file in the session's directory, by its path in there.
///
/// # Errors
/// The first record that cannot follow what came before it, or an XML writer that gave up.
pub fn files(records: &[Record], read: ReadFile<'_>) -> Result<Vec<(String, String)>, ReportError> {
    let mut files = Vec::new();
    let _ = each_file(&replay(records)?, records, read, &mut |name, content| {
        files.push(content.map(|content| (name.to_owned(), content)));
        ControlFlow::Continue(())
    });
    files.into_iter().collect()
}

/// Where each file goes as it is made, by its name; where that breaks, no other one is made.
pub type Emit<'a> = &'a mut dyn FnMut(&str, Result<String, ReportError>) -> ControlFlow<()>;

/// The same, one after the other, for a caller that has the state of these records at hand. One that cannot be made
/// does not keep the others from being made.
pub fn each_file(state: &State, records: &[Record], read: ReadFile<'_>, emit: Emit<'_>) -> ControlFlow<()> {
    let report = Report::of(state, records);
    let work_dir = state.started.as_ref().map(|s| s.work_dir.clone()).unwrap_or_default();
    emit("metadata.json", Ok(pretty(&metadata(&report, &work_dir))))?;
    emit("decisions.json", Ok(pretty(&report.decisions)))?;
    emit("checkpoints.json", Ok(pretty(&report.checkpoints)))?;
    emit("execution-log.md", Ok(execution_log(records)))?;
    for format in Format::ALL {
        emit(format.file_name(), render(format, &report, read))?;
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

    fn file(name: &str) -> String {
        let files = files(&testing::journal(), &|_| None).expect("legal");
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
        assert_eq!(files(&records, &|_| None).expect("legal"), files(&records, &|_| None).expect("legal"));
    }

    #[test]
    fn no_file_is_made_after_the_one_that_was_the_last_wanted() {
        let (records, mut made) = (testing::journal(), Vec::new());
        let state = replay(&records).expect("legal");
        let left = each_file(&state, &records, &|_| None, &mut |name, _| {
            made.push(name.to_owned());
            if made.len() == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(left.is_break());
        assert_eq!((made.len(), made[4].as_str()), (5, "report.json"));
    }

    #[test]
    fn every_prefix_of_a_journal_has_its_files() {
        let records = testing::journal();
        for end in 0..=records.len() {
            assert!(files(&records[..end], &|_| None).is_ok(), "the first {end} records");
        }
    }
}
