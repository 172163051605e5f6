//! The text of the comment on a pull or merge request: one for each PRD, written anew at each milestone. A report flows
//! in; Markdown flows out that GitHub and GitLab show alike, never longer than both of them take. What matters stands
//! open, everything else is folded. Its first line is the hidden marker by which the comment is found again.

use super::format::{amount, duration, len};
use super::markdown::{md, table};
use super::markdown_sections;
use super::model::{DecisionReport, Report};
use super::model_work::{AttemptReport, GateReport, GateStanding, RequirementReport, TaskReport, TaskStanding};
use super::overview::{self, Standing, bullets, code};
use crate::core::decision::DecisionKind;
use crate::core::evidence::RequirementStatus;
use crate::core::outcome::TestStatus;
use crate::text::{Measure, count, cut_markdown, head_tail, markdown_code_block, markdown_link, one_line};

/// GitHub refuses more than 65,536 characters; the rest is for what a forge adds by itself.
const MAX_UNITS: usize = 60_000;
/// Longest table; the rows that matter most come first where one is cut.
const MAX_ROWS: usize = 50;
/// Failed cases named for one gate.
const MAX_CASES: usize = 10;
/// End of a red gate's log, bytes.
const LOG_BYTES: usize = 3_000;
/// Decisions that are told.
const MAX_DECISIONS: usize = 10;
/// Longest text in a cell, characters.
const CELL_CHARS: usize = 120;

/// What the comment has to know besides the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommentContext {
    /// The whole first line.
    pub marker: String,
    /// Link to the job.
    pub job_url: Option<String>,
    /// Where the reports are, in plain words.
    pub reports: Option<String>,
    /// True where the run itself speaks, so that a report without an end is one under way.
    pub live: bool,
}

/// The comment, at most 60,000 characters.
pub fn comment(report: &Report, context: &CommentContext) -> String {
    let standing = overview::standing(report, context.live);
    let mut page = format!("{}\n### {}\n\n", context.marker, overview::heading(report, standing));
    push(&mut page, &format!("**{}**", overview::facts(report)));
    if matches!(standing, Standing::Planned | Standing::Running) {
        push(&mut page, &under_way(report));
    }
    push(&mut page, &overview::trouble(report));
    push(&mut page, &overview::next(report, standing));
    for part in [
        requirements(report, standing),
        gates(report),
        tasks(report, standing),
        decisions(report),
        budget(report, standing),
    ] {
        push(&mut page, &part);
    }
    push(&mut page, &footer(report, context));
    let more = format!("_Cut here: the forge takes no more. All of it is in {}._", elsewhere(context));
    cut_markdown(&page, MAX_UNITS, Measure::Utf16, &more)
}

/// A part with an empty line behind it; nothing for nothing.
fn push(page: &mut String, part: &str) {
    if !part.is_empty() {
        page.push_str(part.trim_end());
        page.push_str("\n\n");
    }
}

/// A part that is folded. The title is ours: it stands in HTML.
fn folded(title: &str, open: bool, body: &str) -> String {
    let open = if open { " open" } else { "" };
    format!("<details{open}><summary>{title}</summary>\n\n{}\n\n</details>\n", body.trim_end())
}

fn cell(text: &str) -> String {
    md(&one_line(text, CELL_CHARS))
}

/// At most so many rows; the heaviest first where not all of them fit.
fn chosen<T, K: Ord>(all: &[T], weight: impl Fn(&T) -> K) -> Vec<&T> {
    let mut rows: Vec<&T> = all.iter().collect();
    if rows.len() > MAX_ROWS {
        rows.sort_by_key(|row| weight(row));
        rows.truncate(MAX_ROWS);
    }
    rows
}

fn rest(all: usize) -> String {
    if all > MAX_ROWS { format!("\nand {} more\n", all - MAX_ROWS) } else { String::new() }
}

/// How far it is, and who works on what.
fn under_way(report: &Report) -> String {
    let settled = |t: &&TaskReport| !matches!(t.status, TaskStanding::Waiting | TaskStanding::Running);
    let (done, all) = (report.tasks.iter().filter(settled).count(), report.tasks.len());
    let filled = (done * 20).checked_div(all).unwrap_or(0);
    let bar = format!("`{}{}` {done}/{all}", "█".repeat(filled), "░".repeat(20 - filled));
    let running = report.tasks.iter().filter(|t| t.status == TaskStanding::Running);
    let row = |t: &TaskReport| {
        let attempt = t.attempts.last();
        let who = attempt.map(|a| format!(" · {} · attempt {}", md(&a.agent), a.n)).unwrap_or_default();
        format!("{} {}{who}", code(&t.id), cell(&t.title))
    };
    let rows: Vec<String> = running.map(row).collect();
    format!("{bar}\n\n{}", bullets(&rows, 10))
}

fn requirements(report: &Report, standing: Standing) -> String {
    if report.requirements.is_empty() || standing == Standing::Planned {
        return String::new();
    }
    let row = |r: &&RequirementReport| {
        let evidence = if r.evidence.is_empty() { r.reason.clone() } else { r.evidence.join(", ") };
        let what = format!("{} {}", code(&r.id), cell(&r.text));
        vec![what, verified(r.status).to_owned(), cell(&evidence)]
    };
    let weight = |r: &RequirementReport| match r.status {
        RequirementStatus::Unmet => 0,
        RequirementStatus::Unverified => 1,
        RequirementStatus::Met => 2,
    };
    let rows: Vec<Vec<String>> = chosen(&report.requirements, weight).iter().map(row).collect();
    let body = table(&["Requirement", "Result", "Evidence"], &rows) + &rest(report.requirements.len());
    if standing == Standing::Running || report.requirements.len() > 15 {
        let met = report.requirements_that_are(RequirementStatus::Met);
        let title = format!("Requirements: {met} of {} met", report.requirements.len());
        return folded(&title, false, &body);
    }
    body
}

fn verified(status: RequirementStatus) -> &'static str {
    match status {
        RequirementStatus::Met => "✅ met",
        RequirementStatus::Unmet => "❌ unmet",
        RequirementStatus::Unverified => "➖ unverified",
    }
}

fn gates(report: &Report) -> String {
    let ran: Vec<&GateReport> = report.gates.iter().filter(|g| g.status != GateStanding::NotRun).collect();
    if ran.is_empty() {
        return String::new();
    }
    let row = |g: &&GateReport| {
        let required = if g.required { "" } else { " (not required)" };
        let result = format!("{} {}{required}", gate_mark(g.status), g.status.name());
        vec![code(&g.name), result, duration(g.duration_ms), cell(&g.summary)]
    };
    let green = ran.iter().filter(|g| g.status == GateStanding::Passed).count();
    let rows: Vec<Vec<String>> = ran.iter().take(MAX_ROWS).map(row).collect();
    let mut body = table(&["Gate", "Result", "Time", "Summary"], &rows) + &rest(ran.len());
    let red = ran.iter().filter(|g| matches!(g.status, GateStanding::Failed | GateStanding::Inconclusive));
    body.extend(red.take(10).map(|gate| failure(gate)));
    folded(&format!("Gates: {green} of {} green", ran.len()), green < ran.len(), &body)
}

fn gate_mark(status: GateStanding) -> &'static str {
    match status {
        GateStanding::Passed => "✅",
        GateStanding::Failed | GateStanding::Inconclusive => "❌",
        GateStanding::Skipped | GateStanding::NotRun => "➖",
    }
}

/// The failed cases of a gate and the end of its log.
fn failure(gate: &GateReport) -> String {
    let cases: Vec<String> = gate
        .cases
        .iter()
        .filter(|c| c.status == TestStatus::Failed)
        .map(|c| format!("{} {}: {}", cell(&c.classname), cell(&c.name), cell(&c.message)))
        .collect();
    let mut text = format!("\n**{}**\n\n{}", code(&gate.name), bullets(&cases, MAX_CASES));
    if !gate.log_tail.trim().is_empty() {
        text.push('\n');
        text.push_str(&markdown_code_block(&head_tail(&gate.log_tail, LOG_BYTES), "text"));
    }
    text
}

fn tasks(report: &Report, standing: Standing) -> String {
    if report.tasks.is_empty() {
        return String::new();
    }
    let weight = |t: &TaskReport| match t.status {
        TaskStanding::Failed | TaskStanding::Parked => 0,
        TaskStanding::Blocked => 1,
        TaskStanding::Running => 2,
        TaskStanding::Waiting => 3,
        TaskStanding::Done | TaskStanding::NoOp => 4,
    };
    let tasks = chosen(&report.tasks, weight);
    let title = format!("Tasks: {} of {} done", report.tasks_succeeded(), report.tasks.len());
    let body = if standing == Standing::Planned {
        let row = |t: &&TaskReport| vec![task_name(t), cell(&t.role), cell(&t.depends_on.join(", "))];
        table(&["Task", "Role", "After"], &tasks.iter().map(row).collect::<Vec<_>>())
    } else {
        table(&["Task", "Result", "Attempts", "Time", "Tokens"], &tasks.iter().map(|t| task_row(t)).collect::<Vec<_>>())
    };
    folded(&title, standing == Standing::Planned && report.tasks.len() <= 15, &(body + &rest(report.tasks.len())))
}

fn task_name(task: &TaskReport) -> String {
    format!("{} {}", code(&task.id), cell(&task.title))
}

fn task_row(task: &TaskReport) -> Vec<String> {
    let tokens = task.attempts.iter().fold(0, |sum: u64, a: &AttemptReport| sum.saturating_add(a.usage.tokens()));
    let is_known = task.attempts.iter().all(|a| a.usage.is_reported());
    vec![
        task_name(task),
        format!("{} {}", task_mark(task.status), task.status.name()),
        task.attempts.len().to_string(),
        duration(task.duration_ms()),
        if is_known { amount(tokens) } else { "–".to_owned() },
    ]
}

fn task_mark(status: TaskStanding) -> &'static str {
    match status {
        TaskStanding::Done | TaskStanding::NoOp => "✅",
        TaskStanding::Failed => "❌",
        TaskStanding::Blocked | TaskStanding::Parked => "⏸️",
        TaskStanding::Running => "⏳",
        TaskStanding::Waiting => "➖",
    }
}

/// Those that a reviewer would ask about: what followed a failure, a limit, a rollback. The order of tasks is not one.
fn decisions(report: &Report) -> String {
    let matters: Vec<&DecisionReport> =
        report.decisions.iter().filter(|d| d.kind != DecisionKind::TaskOrdering).collect();
    if matters.is_empty() {
        return String::new();
    }
    let line = |d: &&DecisionReport| {
        let task = d.task.as_ref().map(|task| format!("{} ", code(task))).unwrap_or_default();
        format!("{task}**{}**: {}", cell(&d.choice), cell(&d.rationale))
    };
    let first = matters.len().saturating_sub(MAX_DECISIONS);
    let mut rows: Vec<String> = matters[first..].iter().map(line).collect();
    if first > 0 {
        rows.insert(0, format!("{} before these", count(len(first), "decision")));
    }
    folded(&format!("Decisions: {}", matters.len()), false, &bullets(&rows, MAX_DECISIONS + 1))
}

fn budget(report: &Report, standing: Standing) -> String {
    match standing {
        Standing::Planned => String::new(),
        _ => folded("Budget", report.budget.stopped_by.is_some(), &markdown_sections::budget(report)),
    }
}

/// Where all of it is, as words with a link where there is one.
fn elsewhere(context: &CommentContext) -> String {
    match (&context.job_url, &context.reports) {
        (Some(url), _) => markdown_link("the reports of the job", url),
        (None, Some(place)) => md(place),
        (None, None) => "the session's reports".to_owned(),
    }
}

fn footer(report: &Report, context: &CommentContext) -> String {
    let mut parts = vec![format!("maestro-ci {}", md(&report.tool.version))];
    parts.extend(context.job_url.as_ref().map(|url| markdown_link("job", url)));
    parts.push(format!("session {}", code(&report.session)));
    parts.push(format!("PRD {}", code(&report.prd.path)));
    if let Some(commit) = report.result.branch_commit.as_ref().filter(|_| report.result.moved) {
        let short = commit.get(..12).unwrap_or(commit);
        parts.push(format!("{} at {}", code(&report.result.branch), code(short)));
    }
    parts.push(format!("isolation {}", md(&report.isolation.level)));
    parts.extend(context.reports.as_ref().map(|place| format!("reports: {}", md(place))));
    format!("<sub>{}</sub>", parts.join(" · "))
}
