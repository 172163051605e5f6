//! `sessions`: all of them, one a line; as JSON with what they come to together.

use serde_json::{Value, json};

use super::context::discover;
use super::error::CliError;
use super::flags::{Global, SessionsArgs};
use super::{output, session};
use crate::core::{SessionId, Verdict};
use crate::report::{Report, Totals};
use crate::text::{json_safe, one_line, terminal_line};

/// Longest title in the list, in characters.
const TITLE_CHARS: usize = 80;

pub fn sessions(global: &Global, args: &SessionsArgs) -> Result<Verdict, CliError> {
    let repo = discover(global)?;
    let store = session::store(&repo);
    let (mut lines, mut objects, mut totals) = (Vec::new(), Vec::new(), Totals::default());
    for id in store.list() {
        // One damaged journal must not hide the other sessions.
        match session::read(&store, &id).and_then(|s| Ok(Report::from_records(&s.records)?)) {
            Ok(report) => {
                totals.add(&report);
                lines.push(line(&id, &report));
                objects.push(object(&id, &report));
            }
            Err(error) => {
                totals.unreadable += 1;
                lines.push(terminal_line(&format!("{id}  unreadable: {}", error.message)));
                objects.push(json!({"session": id, "verdict": "unreadable", "error": error.message}));
            }
        }
    }
    if args.json {
        let all = json!({"sessions": objects, "totals": totals.finished()});
        output::print(&json_safe(&serde_json::to_string_pretty(&all).unwrap_or_default()));
    } else if !lines.is_empty() {
        output::print(&lines.join("\n"));
    }
    Ok(Verdict::Passed)
}

fn line(id: &SessionId, report: &Report) -> String {
    let (done, all) = (report.tasks_succeeded(), report.tasks.len());
    let title = terminal_line(&one_line(&report.prd.title, TITLE_CHARS));
    format!("{id}  {:<12} {done}/{all} tasks  {title}", report.verdict)
}

fn object(id: &SessionId, report: &Report) -> Value {
    json!({
        "session": id, "verdict": report.verdict, "exit_code": report.exit_code, "prd": report.prd.path,
        "started": report.timing.started, "elapsed_ms": report.timing.elapsed_ms, "branch": report.result.branch,
        "tasks": report.tasks.len(), "tasks_succeeded": report.tasks_succeeded(), "resumable": report.resumable,
        "resume_after": report.resume_after, "metrics": report.metrics,
    })
}
