//! `maestro-ci status`: how far a session is, as text for a terminal. A report flows in, lines flow out; every
//! untrusted word goes through the terminal's encoder.

use std::collections::BTreeSet;

use super::format::{amount, duration, len, usd};
use super::model::{AmountBudget, Report};
use super::model_work::{TaskReport, TaskStanding};
use super::next_steps::resume_command;
use crate::text::{count, one_line, terminal_line};

/// Longest text taken over from elsewhere, in characters.
const TEXT_CHARS: usize = 160;

/// The status page, with a newline at its end. `reports` is the directory of the session's reports.
pub fn status_text(report: &Report, reports: &str) -> String {
    let mut lines = header(report);
    lines.extend(graph(report));
    lines.extend(outlook(report));
    lines.push(spend(report));
    lines.extend(what_next(report, reports));
    lines.join("\n") + "\n"
}

fn header(report: &Report) -> Vec<String> {
    let (done, all) = (report.tasks_succeeded(), report.tasks.len());
    let percent = (done * 100).checked_div(all).unwrap_or(0);
    let mut lines = vec![
        format!("Session {} · {}", shown(&report.session), shown(&report.headline())),
        format!("PRD     {} · {}", shown(&report.prd.path), shown(&report.prd.title)),
    ];
    if !report.reason.is_empty() {
        lines.push(format!("Now     {}", shown(&report.reason)));
    }
    lines.push(format!("Tasks   {done}/{all} ({percent} %)"));
    lines
}

/// Tasks by group, each with its mark and what it waits for.
fn graph(report: &Report) -> Vec<String> {
    let succeeded = report.succeeded();
    let groups: BTreeSet<u32> = report.tasks.iter().map(|t| t.group).collect();
    let mut lines = Vec::new();
    for group in groups {
        lines.push(String::new());
        lines.push(format!("Group {}", group + 1));
        lines.extend(report.tasks.iter().filter(|t| t.group == group).map(|t| task_line(t, &succeeded)));
    }
    lines.push(String::new());
    lines
}

fn task_line(task: &TaskReport, succeeded: &BTreeSet<&str>) -> String {
    let mut line = format!("  {} {} {}", mark(task.status), shown(&task.id), shown(&task.title));
    if let Some(remark) = remark(task, succeeded) {
        line.push_str(" · ");
        line.push_str(&remark);
    }
    line
}

fn mark(standing: TaskStanding) -> &'static str {
    match standing {
        TaskStanding::Done | TaskStanding::NoOp => "✓",
        TaskStanding::Running => "▶",
        TaskStanding::Waiting | TaskStanding::Parked => "·",
        TaskStanding::Failed | TaskStanding::Blocked => "✗",
    }
}

fn remark(task: &TaskReport, succeeded: &BTreeSet<&str>) -> Option<String> {
    let reason = || task.reason.as_deref().map(shown).unwrap_or_default();
    match task.status {
        TaskStanding::Done if task.attempts.len() > 1 => Some(count(len(task.attempts.len()), "attempt")),
        TaskStanding::Done | TaskStanding::NoOp => None,
        TaskStanding::Running => task.attempts.last().map(|a| format!("attempt {}, {}", a.n, duration(a.duration_ms))),
        TaskStanding::Failed | TaskStanding::Blocked | TaskStanding::Parked => {
            Some(format!("{}: {}", task.status.name(), reason()))
        }
        TaskStanding::Waiting => {
            let on = task.waits_for(succeeded);
            Some(if on.is_empty() { "ready".to_owned() } else { format!("waits for {}", shown(&on.join(", "))) })
        }
    }
}

/// What runs, what blocks, what comes next.
fn outlook(report: &Report) -> Vec<String> {
    let succeeded = report.succeeded();
    let ids = |of: &dyn Fn(&TaskReport) -> bool| {
        let ids: Vec<&str> = report.tasks.iter().filter(|t| of(t)).map(|t| t.id.as_str()).collect();
        if ids.is_empty() { "–".to_owned() } else { shown(&ids.join(", ")) }
    };
    let blocks = |t: &TaskReport| matches!(t.status, TaskStanding::Failed | TaskStanding::Parked);
    let is_next = |t: &TaskReport| t.status == TaskStanding::Waiting && t.waits_for(&succeeded).is_empty();
    vec![
        format!("Running  {}", ids(&|t| t.status == TaskStanding::Running)),
        format!("Blockers {}", ids(&blocks)),
        format!("Next     {}", ids(&is_next)),
    ]
}

fn spend(report: &Report) -> String {
    let budget = &report.budget;
    let of = |b: &AmountBudget, show: fn(u64) -> String| match b.limit {
        Some(limit) => format!("{} of {}", b.used_in_words(show), show(limit)),
        None => b.used_in_words(show),
    };
    let time = match budget.duration.limit_ms {
        Some(limit) => format!("{} of {}", duration(budget.duration.used_ms), duration(limit)),
        None => duration(budget.duration.used_ms),
    };
    let (tokens, calls) = (of(&budget.tokens, amount), of(&budget.api_calls, amount));
    format!("Spend    {time} · {tokens} tokens · {calls} API calls · cost {}", of(&budget.cost_microusd, usd))
}

/// How to go on, where that is possible, and where the reports are.
fn what_next(report: &Report, reports: &str) -> Vec<String> {
    let stop = report.budget.stopped_by.as_ref();
    let mut lines = Vec::new();
    if report.resumable {
        let not_before = report.resume_after.as_ref().map(|moment| format!(" (not before {moment})"));
        let command = resume_command(&report.session, &report.isolation.level, stop);
        let condition = if report.exit_code.is_none() { " (where it was killed)" } else { "" };
        lines.push(format!("Go on    {}{}{condition}", terminal_line(&command), not_before.unwrap_or_default()));
    }
    lines.push(format!("Reports  {}", terminal_line(reports)));
    lines
}

fn shown(text: &str) -> String {
    terminal_line(&one_line(text, TEXT_CHARS))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn every_task_has_its_mark_and_what_it_waits_for() {
        let text = status_text(&testing::report(), "/d");
        for expected in ["Tasks   2/4 (50 %)", "  ✓ T-001 ", "  ✓ T-002 ", "  ✗ T-003 ", "  ✗ T-004 ", "Blockers T-003"]
        {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
    }

    #[test]
    fn it_says_where_the_reports_are_and_how_to_go_on_where_that_is_possible() {
        let mut report = testing::report();
        assert!(status_text(&report, "/d").ends_with("\nReports  /d\n"));
        report.resumable = true;
        report.resume_after = Some("2023-11-14T22:13:20Z".to_owned());
        let text = status_text(&report, "/d");
        let command = format!("\nGo on    maestro-ci resume {} (not before 2023-11-14T22:13:20Z)\n", report.session);
        assert!(text.contains(&command), "{text}");
    }

    #[test]
    fn a_session_under_way_names_what_runs_and_what_is_next() {
        let records = testing::journal();
        let running = records.iter().position(|r| matches!(r.event, crate::core::Event::WorkspaceReady { .. }));
        let report = Report::from_records(&records[..=running.expect("an attempt")]).expect("legal");
        let text = status_text(&report, "/d");
        for expected in ["Running  T-001", "Next     T-002, T-003", "▶ T-001", "· T-004", "waits for T-003"] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
    }

    #[test]
    fn hostile_text_reaches_no_terminal() {
        let text = status_text(&testing::report(), "/d");
        assert!(text.chars().all(|c| c == '\n' || crate::text::is_visible(c)));
        assert!(!text.contains("##[") && text.lines().all(|l| !l.trim_start().starts_with("::")));
    }
}
