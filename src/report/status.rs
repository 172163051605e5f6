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
/// What each mark stands for.
const MARKS: [(&str, &str); 5] =
    [("✓", "done"), ("▶", "running"), ("○", "waiting"), ("·", "not created"), ("✗", "failed")];
/// Most rows of a graph that is shown whole. A larger one is told by its groups, so that the page still fits a terminal.
const WHOLE_ROWS: usize = 40;
/// Most groups of a larger one, neighbours that are alike told as one, and most tasks that run or went wrong.
const MAX_GROUPS: usize = 8;
const MAX_TASKS: usize = 8;
/// Most attempts and blockers shown, beside a graph that is whole and beside a larger one.
const MAX_LINES: (usize, usize) = (20, 5);

/// The status page, with a newline at its end. `reports` is the directory of the session's reports; `notes` is what
/// happened to its result since it ended.
pub fn status_text(report: &Report, reports: &str, notes: &[String]) -> String {
    let mut lines = header(report);
    let is_whole = rows_of(report) <= WHOLE_ROWS;
    lines.extend(if is_whole { graph(report) } else { digest(report) });
    lines.extend(outlook(report, if is_whole { MAX_LINES.0 } else { MAX_LINES.1 }));
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
    let marks: String = MARKS.iter().map(|(sign, word)| format!("  {sign} {word}")).collect();
    lines.push(format!("Tasks   {tasks_done}/{tasks} ({percent} %) {marks}"));
    lines
}

/// Tasks by group.
fn groups(report: &Report) -> BTreeMap<u32, Vec<&TaskReport>> {
    let mut groups: BTreeMap<u32, Vec<&TaskReport>> = BTreeMap::new();
    for task in &report.tasks {
        groups.entry(task.group).or_default().push(task);
    }
    groups
}

fn rows_of(report: &Report) -> usize {
    report.tasks.len() + 2 * groups(report).len()
}

/// Every task with its mark and what it waits for, by group.
fn graph(report: &Report) -> Vec<String> {
    let succeeded = report.succeeded();
    let mut lines = Vec::new();
    for (group, tasks) in groups(report) {
        lines.push(String::new());
        lines.push(format!("Group {}", group + 1));
        lines.extend(tasks.iter().map(|task| task_line(task, &succeeded)));
    }
    lines.push(String::new());
    lines
}

/// How far a group is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Over,
    UnderWay,
    NotCreated,
}

/// Neighbours that are at one stage: the first and the last of them, and their tasks.
struct Stretch<'a> {
    stage: Stage,
    first: u32,
    last: u32,
    tasks: Vec<&'a TaskReport>,
}

/// A graph that is too large for a screen: each stretch of groups in one line, counted, and under it what runs or went
/// wrong in it.
fn digest(report: &Report) -> Vec<String> {
    let succeeded = report.succeeded();
    let stretches = stretches(report, &succeeded);
    let (mut lines, mut left) = (vec![String::new()], MAX_TASKS);
    for stretch in stretches.iter().take(MAX_GROUPS) {
        lines.push(stretch_line(stretch, &succeeded));
        let loud: Vec<_> = stretch.tasks.iter().filter(|task| is_loud(task)).take(left).collect();
        left -= loud.len();
        lines.extend(loud.into_iter().map(|task| task_line(task, &succeeded)));
    }
    let rest: Vec<_> = stretches.iter().skip(MAX_GROUPS).flat_map(|stretch| &stretch.tasks).collect();
    let hidden = report.tasks.iter().filter(|task| is_loud(task)).count() + left - MAX_TASKS;
    lines.extend((!rest.is_empty()).then(|| format!("… {} in the groups after these", count(len(rest.len()), "task"))));
    lines.extend((hidden > 0).then(|| format!("… {hidden} more that run or went wrong")));
    lines.push(String::new());
    lines
}

fn stretches<'a>(report: &'a Report, succeeded: &BTreeSet<&str>) -> Vec<Stretch<'a>> {
    let mut all: Vec<Stretch<'a>> = Vec::new();
    for (group, tasks) in groups(report) {
        let stage = stage(&tasks, succeeded);
        match all.last_mut().filter(|before| before.stage == stage) {
            Some(before) => {
                before.last = group;
                before.tasks.extend(tasks);
            }
            None => all.push(Stretch { stage, first: group, last: group, tasks }),
        }
    }
    all
}

fn stage(tasks: &[&TaskReport], succeeded: &BTreeSet<&str>) -> Stage {
    let are_all = |marks: &[&str]| tasks.iter().all(|task| marks.contains(&mark(task, succeeded)));
    if are_all(&["✓", "✗"]) {
        Stage::Over
    } else if are_all(&["·"]) {
        Stage::NotCreated
    } else {
        Stage::UnderWay
    }
}

/// What a person looks for: what runs, what failed, what has to wait for a later run.
fn is_loud(task: &TaskReport) -> bool {
    matches!(task.status, TaskStanding::Running | TaskStanding::Failed | TaskStanding::Parked)
}

fn stretch_line(stretch: &Stretch<'_>, succeeded: &BTreeSet<&str>) -> String {
    let name = match (stretch.first + 1, stretch.last + 1) {
        (first, last) if first == last => format!("Group {first}"),
        (first, last) => format!("Groups {first}–{last}"),
    };
    let counted = MARKS.iter().filter_map(|(sign, word)| {
        let n = stretch.tasks.iter().filter(|task| mark(task, succeeded) == *sign).count();
        (n > 0).then(|| format!("{sign} {n} {word}"))
    });
    format!("{name}: {}", counted.collect::<Vec<_>>().join(", "))
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
fn outlook(report: &Report, most: usize) -> Vec<String> {
    let progress = &report.progress;
    let mut lines = labelled("Running ", progress.running.iter().map(worker), most);
    lines.extend(labelled("Blockers", blockers(report).into_iter(), most));
    let next = if progress.next.is_empty() { "–".to_owned() } else { shown(&progress.next.join(", ")) };
    lines.push(format!("Next     {next}"));
    lines
}

/// One line for each, the first behind its label.
fn labelled(label: &str, all: impl ExactSizeIterator<Item = String>, most: usize) -> Vec<String> {
    let more = all.len().saturating_sub(most);
    let mut items: Vec<String> = all.take(most).collect();
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

    /// A thousand groups of ten: done but for a task in the third, under way, not created.
    fn big() -> Report {
        let mut report = testing::report();
        let [done, _, failed, _] = report.tasks.clone().try_into().expect("four tasks");
        let waiting = TaskReport { status: TaskStanding::Waiting, attempts: Vec::new(), ..done.clone() };
        let running = TaskReport { status: TaskStanding::Running, ..done.clone() };
        let task = |n: u32| {
            let of = match n / 10 {
                _ if n == 25 => &failed,
                0..400 => &done,
                400 if n.is_multiple_of(2) => &running,
                _ => &waiting,
            };
            let depends_on = if n >= 10 { vec![format!("T-{:05}", n - 10)] } else { Vec::new() };
            TaskReport { id: format!("T-{n:05}"), group: n / 10, depends_on, ..of.clone() }
        };
        report.tasks = (0..10_000).map(task).collect();
        report
    }

    #[test]
    fn many_groups_are_counted_and_what_runs_or_went_wrong_is_shown_on_one_screen() {
        let text = status_text(&big(), "/d", &["it was put back".to_owned()]);
        for expected in [
            "Groups 1–400: ✓ 3999 done, ✗ 1 failed\n  ✗ T-00025 ",
            "\nGroup 401: ▶ 5 running, ○ 5 waiting\n  ▶ T-04000 ",
            "\nGroups 402–1000: · 5990 not created\n",
            "\nNote     it was put back\n",
        ] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
        assert!(text.lines().count() <= 40, "{text}");
    }

    #[test]
    fn groups_and_tasks_that_do_not_fit_are_counted() {
        let mut report = big();
        let failed = report.tasks[25].clone();
        let loud = report.tasks.iter_mut().filter(|task| task.group % 2 == 0);
        loud.for_each(|task| *task = TaskReport { id: task.id.clone(), group: task.group, ..failed.clone() });
        report.tasks.iter_mut().filter(|t| t.group % 2 == 1).for_each(|t| t.status = TaskStanding::Waiting);
        let text = status_text(&report, "/d", &[]);
        let rest = "… 9920 tasks in the groups after these\n… 4992 more that run or went wrong\n";
        assert!(text.contains(rest), "{text}");
        assert!(text.lines().count() <= 40, "{text}");
    }

    #[test]
    fn hostile_text_reaches_no_terminal() {
        let text = status_text(&testing::report(), "/d", &[HOSTILE.to_owned()]);
        assert!(text.chars().all(|c| c == '\n' || crate::text::is_visible(c)));
        assert!(!text.contains("##[") && text.lines().all(|l| !l.trim_start().starts_with("::")));
    }
}
