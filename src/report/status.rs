//! `maestro-ci status`: how far a session is, as text for a terminal. A report flows in, lines flow out; every
//! untrusted word goes through the terminal's encoder.

use std::collections::{BTreeMap, BTreeSet};

use super::format::{amount, duration, len, usd};
use super::model::{AmountBudget, Report};
use super::model_measure::{Progress, Worker};
use super::model_work::{TaskReport, TaskStanding};
use super::next_steps::resume_command;
use crate::text::{count, one_line, terminal_line};

/// Longest text taken over from elsewhere, in characters.
const TEXT_CHARS: usize = 160;
/// Most tasks shown of one group; what runs or went wrong comes before what is done or waits.
const MAX_ROWS: usize = 40;
/// Most attempts and blockers shown.
const MAX_LINES: usize = 20;

/// The status page, with a newline at its end. `reports` is the directory of the session's reports; `notes` is what
/// happened to its result since it ended.
pub fn status_text(report: &Report, reports: &str, notes: &[String]) -> String {
    let mut lines = header(report);
    lines.extend(graph(report));
    lines.extend(outlook(report));
    lines.push(spend(report));
    lines.extend(notes.iter().map(|note| format!("Note     {}", shown(note))));
    lines.extend(what_next(report, reports));
    lines.join("\n") + "\n"
}

fn header(report: &Report) -> Vec<String> {
    let Progress { tasks_done, tasks, percent, .. } = &report.progress;
    let mut lines = vec![
        format!("Session {} · {}", shown(&report.session), shown(&report.headline())),
        format!("PRD     {} · {}", shown(&report.prd.path), shown(&report.prd.title)),
    ];
    if !report.reason.is_empty() {
        lines.push(format!("Now     {}", shown(&report.reason)));
    }
    lines.push(format!(
        "Tasks   {tasks_done}/{tasks} ({percent} %)   ✓ done  ▶ running  ○ waiting  · not created  ✗ failed"
    ));
    lines
}

/// Tasks by group, each with its mark and what it waits for.
fn graph(report: &Report) -> Vec<String> {
    let succeeded = report.succeeded();
    let mut groups: BTreeMap<u32, Vec<&TaskReport>> = BTreeMap::new();
    for task in &report.tasks {
        groups.entry(task.group).or_default().push(task);
    }
    let mut lines = Vec::new();
    for (group, tasks) in groups {
        lines.push(String::new());
        lines.push(format!("Group {}", group + 1));
        lines.extend(rows(&tasks, &succeeded));
    }
    lines.push(String::new());
    lines
}

fn rows(tasks: &[&TaskReport], succeeded: &BTreeSet<&str>) -> Vec<String> {
    let is_quiet = |t: &TaskReport| t.status.is_success() || t.status == TaskStanding::Waiting;
    let is_cut = tasks.len() > MAX_ROWS;
    let shown = tasks.iter().filter(|t| !(is_cut && is_quiet(t))).take(MAX_ROWS);
    let mut lines: Vec<String> = shown.map(|t| task_line(t, succeeded)).collect();
    if is_cut {
        let left = |of: &dyn Fn(&TaskReport) -> bool| tasks.iter().filter(|t| of(t)).count();
        let (done, waiting) = (left(&|t| t.status.is_success()), left(&|t| t.status == TaskStanding::Waiting));
        let more = tasks.len() - done - waiting - lines.len();
        let more = if more > 0 { format!(", {more} more of those above") } else { String::new() };
        lines.push(format!("  … {done} done, {waiting} waiting{more}"));
    }
    lines
}

fn task_line(task: &TaskReport, succeeded: &BTreeSet<&str>) -> String {
    let mut line = format!("  {} {} {}", mark(task, succeeded), shown(&task.id), shown(&task.title));
    if let Some(remark) = remark(task, succeeded) {
        line.push_str(" · ");
        line.push_str(&remark);
    }
    line
}

fn mark(task: &TaskReport, succeeded: &BTreeSet<&str>) -> &'static str {
    match task.status {
        TaskStanding::Done | TaskStanding::NoOp => "✓",
        TaskStanding::Running => "▶",
        TaskStanding::Parked => "○",
        TaskStanding::Waiting if !task.attempts.is_empty() || task.waits_for(succeeded).is_empty() => "○",
        TaskStanding::Waiting => "·",
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
            let again = task.attempts.len();
            Some(match (on.is_empty(), again) {
                (false, _) => format!("waits for {}", shown(&on.join(", "))),
                (true, 0) => "ready".to_owned(),
                (true, n) => format!("to be tried again after {}", count(len(n), "attempt")),
            })
        }
    }
}

/// What runs, what blocks, what comes next.
fn outlook(report: &Report) -> Vec<String> {
    let progress = &report.progress;
    let mut lines = labelled("Running ", progress.running.iter().map(worker));
    lines.extend(labelled("Blockers", blockers(report).into_iter()));
    let next = if progress.next.is_empty() { "–".to_owned() } else { shown(&progress.next.join(", ")) };
    lines.push(format!("Next     {next}"));
    lines
}

/// One line for each, the first behind its label.
fn labelled(label: &str, all: impl ExactSizeIterator<Item = String>) -> Vec<String> {
    let more = all.len().saturating_sub(MAX_LINES);
    let mut items: Vec<String> = all.take(MAX_LINES).collect();
    if items.is_empty() {
        items.push("–".to_owned());
    }
    if more > 0 {
        items.push(format!("and {more} more"));
    }
    let label_of = |i: usize| if i == 0 { label } else { "        " };
    items.iter().enumerate().map(|(i, item)| format!("{} {item}", label_of(i))).collect()
}

fn worker(worker: &Worker) -> String {
    let Worker { task, attempt, agent, role, duration_ms, limit_ms, tokens } = worker;
    let time = match limit_ms {
        Some(limit) => {
            let percent = (duration_ms * 100).checked_div(*limit).unwrap_or(0);
            format!("{} of {} ({percent} %)", duration(*duration_ms), duration(*limit))
        }
        None => duration(*duration_ms),
    };
    let tokens = if *tokens > 0 { format!(" · {} tokens", amount(*tokens)) } else { String::new() };
    format!("{} · attempt {attempt} · {} as {} · {time}{tokens}", shown(task), shown(agent), shown(role))
}

/// Each task that keeps others from starting, with those that wait for it.
fn blockers(report: &Report) -> Vec<String> {
    let mut held: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for task in report.tasks.iter().filter(|t| !t.status.is_success()) {
        task.depends_on.iter().for_each(|needs| held.entry(needs).or_default().push(&task.id));
    }
    let line = |id: &String| match held.get(id.as_str()) {
        Some(held) => format!("{} · holds up {}", shown(id), shown(&held.join(", "))),
        None => shown(id),
    };
    report.progress.blockers.iter().map(line).collect()
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
    use super::super::testing::{self, HOSTILE};
    use super::*;

    #[test]
    fn every_task_has_its_mark_and_what_it_waits_for() {
        let text = status_text(&testing::report(), "/d", &[]);
        for expected in [
            "Tasks   2/4 (50 %)",
            "  ✓ T-001 ",
            "  ✓ T-002 ",
            "  ✗ T-003 ",
            "  ✗ T-004 ",
            "Blockers T-003 · holds up T-004",
        ] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
    }

    #[test]
    fn it_says_where_the_reports_are_and_how_to_go_on_where_that_is_possible() {
        let mut report = testing::report();
        assert!(status_text(&report, "/d", &[]).ends_with("\nReports  /d\n"));
        report.resumable = true;
        report.resume_after = Some("2023-11-14T22:13:20Z".to_owned());
        let text = status_text(&report, "/d", &[]);
        let command = format!("\nGo on    maestro-ci resume {} (not before 2023-11-14T22:13:20Z)\n", report.session);
        assert!(text.contains(&command), "{text}");
    }

    #[test]
    fn a_session_under_way_names_what_runs_and_what_is_next() {
        let records = testing::journal();
        let running = records.iter().position(|r| matches!(r.event, crate::core::Event::WorkspaceReady { .. }));
        let report = Report::from_records(&records[..=running.expect("an attempt")]).expect("legal");
        let text = status_text(&report, "/d", &[]);
        for expected in ["Running  T-001", "Next     T-002, T-003", "▶ T-001", "· T-004", "waits for T-003"] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
    }

    #[test]
    fn who_works_is_shown_with_the_share_of_its_time() {
        let worker = Worker {
            task: "T-001".to_owned(),
            attempt: 2,
            agent: "claude".to_owned(),
            role: "writer".to_owned(),
            duration_ms: 450_000,
            limit_ms: Some(1_800_000),
            tokens: 18_200,
        };
        let expected = "T-001 · attempt 2 · claude as writer · 7 min 30 s of 30 min 0 s (25 %) · 18.2k tokens";
        assert_eq!(super::worker(&worker), expected);
    }

    #[test]
    fn a_big_group_is_counted_and_what_went_wrong_in_it_is_shown() {
        let mut report = testing::report();
        let failed = report.tasks[2].clone();
        let done = report.tasks[0].clone();
        report.tasks = (0..500).map(|_| done.clone()).chain([failed]).collect();
        let text = status_text(&report, "/d", &["it was put back".to_owned()]);
        assert!(text.contains("  ✗ T-003 ") && text.contains("  … 500 done, 0 waiting\n"), "{text}");
        assert!(text.lines().count() < 30 && text.contains("\nNote     it was put back\n"), "{text}");
    }

    #[test]
    fn hostile_text_reaches_no_terminal() {
        let text = status_text(&testing::report(), "/d", &[HOSTILE.to_owned()]);
        assert!(text.chars().all(|c| c == '\n' || crate::text::is_visible(c)));
        assert!(!text.contains("##[") && text.lines().all(|l| !l.trim_start().starts_with("::")));
    }
}
