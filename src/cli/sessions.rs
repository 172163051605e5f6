//! `sessions`: all of them, one a line.

use serde_json::json;

use super::context::discover;
use super::error::CliError;
use super::flags::{Global, SessionsArgs};
use super::{output, session};
use crate::core::Verdict;
use crate::report::Report;

pub fn sessions(global: &Global, args: &SessionsArgs) -> Result<Verdict, CliError> {
    let repo = discover(global)?;
    let store = session::store(&repo);
    let mut lines = Vec::new();
    let mut objects = Vec::new();
    for id in store.list() {
        // One damaged journal must not hide the other sessions.
        let report = session::read(&store, &id).and_then(|s| Ok(Report::from_records(&s.records)?));
        match report {
            Ok(report) => {
                let done = report.tasks_succeeded();
                lines.push(format!(
                    "{id}  {:<12} {done}/{} tasks  {}",
                    report.verdict,
                    report.tasks.len(),
                    report.prd.title
                ));
                objects.push(json!({
                    "session": id, "verdict": report.verdict, "exit_code": report.exit_code, "prd": report.prd.path,
                    "branch": report.result.branch, "tasks": report.tasks.len(), "tasks_succeeded": done,
                    "resumable": report.resumable, "metrics": report.metrics,
                }));
            }
            Err(error) => {
                lines.push(format!("{id}  unreadable: {}", error.message));
                objects.push(json!({"session": id, "verdict": "unreadable", "error": error.message}));
            }
        }
    }
    let text = if args.json { serde_json::to_string_pretty(&objects).unwrap_or_default() } else { lines.join("\n") };
    if args.json || !lines.is_empty() {
        output::print(&text);
    }
    Ok(Verdict::Passed)
}
