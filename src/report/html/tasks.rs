//! Tasks with their attempts: what each was for, how it went, what it changed, what it said. A report flows in; a list
//! flows out in which every task opens. Every task has a line, up to a bound; what is behind the lines has one, too.

use std::collections::HashMap;

use super::super::format::{amount, duration, usd};
use super::super::model::Report;
use super::super::model_work::{AttemptOutcome, AttemptReport, TaskReport, TaskStanding};
use super::checks::MAX_GATES;
use super::markup::{Markup, Tone, anchor, aside, badge, details, facts, left_out, lines, pre, t, table};
use super::patch::Patches;
use super::{MAX_TASK_LINES, ReadFile};
use crate::core::fault::{Fault, FaultClass};
use crate::text::count;

/// What all that opens may take: bytes of markup, and elements, which are what a browser needs its time for. Diffs have
/// a bound of their own within it.
const MAX_DETAILS: usize = 4_500_000;
const MAX_ELEMENTS: usize = 16_000;
const MAX_DIFFS: usize = 1_500_000;
/// Tasks that are laid out together: the browser skips those that nobody looks at.
const CHUNK: usize = 100;
/// Files that are listed of one attempt.
const MAX_FILES: usize = 40;
/// Bytes of one message or log.
const MAX_TEXT: usize = 6_000;
/// Tasks without success that are open from the start.
const OPEN: usize = 3;

/// Where each task and each gate stands in the page, by its name; a task comes before a gate of its name.
pub(super) fn anchors(report: &Report) -> HashMap<&str, String> {
    let gates = report.gates.iter().take(MAX_GATES).enumerate();
    let gates = gates.map(|(i, gate)| (gate.name.as_str(), anchor("gate", &gate.name, i)));
    let tasks = report.tasks.iter().take(MAX_TASK_LINES).enumerate();
    gates.chain(tasks.map(|(i, task)| (task.id.as_str(), anchor("task", &task.id, i)))).collect()
}

/// All tasks, with the means to find one.
pub(super) fn tasks(report: &Report, anchors: &HashMap<&str, String>, read: ReadFile<'_>) -> Markup {
    if report.tasks.is_empty() {
        return aside("There is no plan.");
    }
    let mut bodies = bodies(report, read);
    let shown = report.tasks.len().min(MAX_TASK_LINES);
    let without = shown - bodies.len();
    let mut all = finder(report);
    let mut opened = 0;
    for chunk in report.tasks[..shown].chunks(CHUNK) {
        let full = if chunk.len() == CHUNK { " full" } else { "" };
        let mut list = format!("<div class=\"chunk{full}\">\n");
        for task in chunk {
            let open = wants_attention(task) && opened < OPEN;
            opened += usize::from(open);
            let body = bodies.remove(task.id.as_str());
            list.push_str(&line(task, anchors.get(task.id.as_str()), body, open));
        }
        list.push_str("</div>\n");
        all.push(&Markup::raw(list));
    }
    if without > 0 {
        all.push(&aside(format!(
            "{without} of these tasks have no room here for more than a line; <code>report.json</code> has all of \
             them, and the session's directory their patches and logs."
        )));
    }
    if report.tasks.len() > shown {
        all.push(&left_out(report.tasks.len() - shown, "tasks"));
    }
    all
}

fn wants_attention(task: &TaskReport) -> bool {
    matches!(task.status, TaskStanding::Failed | TaskStanding::Parked | TaskStanding::Running)
}

/// What is behind each line. Room goes to tasks without success first, then to those that stumbled.
fn bodies<'a>(report: &'a Report, read: ReadFile<'_>) -> HashMap<&'a str, Markup> {
    let mut patches = Patches::new(read, MAX_DIFFS);
    let (mut room, mut elements) = (MAX_DETAILS, MAX_ELEMENTS);
    let mut order: Vec<&TaskReport> = report.tasks.iter().take(MAX_TASK_LINES).collect();
    order.sort_by_key(|task| (task.status.is_success(), task.attempts.len() < 2));
    let mut bodies = HashMap::new();
    for task in order {
        if elements == 0 {
            break;
        }
        let body = body(task, &mut patches);
        elements = elements.saturating_sub(body.elements());
        if body.len() > room {
            continue;
        }
        room -= body.len();
        bodies.insert(task.id.as_str(), body);
    }
    bodies
}

/// The field and the boxes that find tasks; shown by the script, which does the finding.
fn finder(report: &Report) -> Markup {
    let standings = [
        TaskStanding::Done,
        TaskStanding::NoOp,
        TaskStanding::Failed,
        TaskStanding::Blocked,
        TaskStanding::Parked,
        TaskStanding::Running,
        TaskStanding::Waiting,
    ];
    let with = standings.into_iter().map(|standing| (standing.name(), report.tasks_that_are(standing)));
    let checkbox = |(name, n): (&str, usize)| {
        format!("<label><input type=\"checkbox\" name=\"standing\" value=\"{name}\" checked> {name} {n}</label>")
    };
    let boxes: String = with.filter(|(_, n)| *n > 0).map(checkbox).collect();
    let found = count(report.tasks.len() as u64, "task");
    Markup::raw(format!(
        "<form class=\"finder\" id=\"finder\" hidden role=\"search\" aria-label=\"Find tasks\">\
         <label>Find <input type=\"search\" id=\"find\" autocomplete=\"off\" aria-describedby=\"found\"></label>\
         <fieldset><legend class=\"unseen\">Standing</legend>{boxes}</fieldset>\
         <button type=\"button\" id=\"openall\">Open shown</button> \
         <button type=\"button\" id=\"closeall\">Close all</button>\
         <output id=\"found\" aria-live=\"polite\">{found}</output></form>\
         <p class=\"dim keys\" id=\"keys\" hidden>On a task: <kbd>↑</kbd> <kbd>↓</kbd> go to another, \
         <kbd>Enter</kbd> opens, <kbd>/</kbd> goes to the field.</p>\n",
    ))
}

/// The line of a task. Where nothing opens it is one element: there may be very many.
fn line(task: &TaskReport, anchor: Option<&String>, body: Option<Markup>, open: bool) -> String {
    let id = anchor.map(|anchor| format!(" id=\"{anchor}\"")).unwrap_or_default();
    let (name, tone, spent) = (task.status.name(), Tone::of_task(task.status), spent(task));
    let (task_id, title) = (t(&task.id), t(&task.title));
    let Some(body) = body else {
        let sign = tone.sign();
        return format!(
            "<div class=\"task\"{id} data-standing=\"{name}\">{sign} {name} {task_id} {title} · {spent}</div>\n"
        );
    };
    let open = if open { " open" } else { "" };
    let badge = badge(tone, name);
    format!(
        "<details class=\"task\"{id} data-standing=\"{name}\"{open}><summary>{badge} <b>{task_id}</b> \
         <span class=\"what\">{title}</span> <span class=\"cost\">{spent}</span></summary>\
         <div class=\"body\">{body}</div></details>\n"
    )
}

/// What a task took, in a few words.
fn spent(task: &TaskReport) -> String {
    if task.attempts.is_empty() {
        return "not tried".to_owned();
    }
    let tokens: u64 = task.attempts.iter().fold(0, |sum, a| sum.saturating_add(a.usage.tokens()));
    let cost: u64 = task.attempts.iter().fold(0, |sum, a| sum.saturating_add(a.usage.cost_microusd));
    let mut words = vec![duration(task.duration_ms())];
    if task.attempts.len() > 1 {
        words.insert(0, count(task.attempts.len() as u64, "attempt"));
    }
    if tokens > 0 {
        words.push(format!("{} tokens", amount(tokens)));
    }
    if cost > 0 {
        words.push(usd(cost).replace('<', "&lt;"));
    }
    words.join(" · ")
}

fn body(task: &TaskReport, patches: &mut Patches<'_>) -> Markup {
    let mut all = Markup::default();
    if let Some(reason) = &task.reason {
        all.push(&Markup::raw(format!("<p><strong>{}</strong></p>\n", t(reason))));
    }
    let mut pairs = vec![("Role", t(&task.role)), ("Epic", t(&task.epic)), ("PRD line", t(&task.line.to_string()))];
    if !task.requirements.is_empty() {
        pairs.push(("Serves", t(&task.requirements.join(", "))));
    }
    if !task.depends_on.is_empty() {
        pairs.push(("Needs", t(&task.depends_on.join(", "))));
    }
    all.push(&facts(&pairs));
    for attempt in &task.attempts {
        all.push(&attempt_markup(task, attempt, patches));
    }
    all
}

/// What came of an attempt, in words.
pub(super) fn outcome_words(attempt: &AttemptReport) -> String {
    match (attempt.outcome, &attempt.fault) {
        (AttemptOutcome::Failed, Some(fault)) if fault.class == FaultClass::Lost => {
            format!("cut short ({})", fault.reason)
        }
        (AttemptOutcome::Failed, Some(fault)) => format!("failed ({}: {})", fault.class, fault.reason),
        (AttemptOutcome::Failed, None) => "failed".to_owned(),
        (AttemptOutcome::Integrated, _) => "integrated".to_owned(),
        (AttemptOutcome::NoChange, _) => "nothing had to change".to_owned(),
        (AttemptOutcome::Captured, _) => "waits to be integrated".to_owned(),
        (AttemptOutcome::Running, _) => "no end on record".to_owned(),
    }
}

fn attempt_markup(task: &TaskReport, attempt: &AttemptReport, patches: &mut Patches<'_>) -> Markup {
    let words = outcome_words(attempt);
    let heading = format!(
        "<h3><span class=\"unseen\">{} </span>Attempt {} {}</h3>\n",
        t(&task.id),
        attempt.n,
        badge(Tone::of_attempt(attempt), &words)
    );
    let mut all = Markup::raw(heading);
    all.push(&attempt_facts(attempt));
    if let Some(fault) = &attempt.fault {
        all.push(&fault_markup(fault));
    }
    if let Some(denied) = attempt.denied() {
        all.push(&Markup::raw(format!("<p>{}</p>\n", t(&denied))));
    }
    all.push(&files(attempt));
    all.push(&patches.of(&task.id, attempt));
    if !attempt.log_tail.trim().is_empty() {
        let tail = pre("log", &lines(attempt.log_tail.trim_end(), MAX_TEXT));
        all.push(&details(false, &Markup::raw("End of its log (standard error)"), &tail));
    }
    all
}

fn attempt_facts(attempt: &AttemptReport) -> Markup {
    let mut pairs = vec![
        ("Started", t(&attempt.started)),
        ("Took", t(&duration(attempt.duration_ms))),
        ("Agent", t(&attempt.agent)),
        ("Strategy", t(attempt.strategy.name())),
    ];
    if let Some(terminal) = &attempt.terminal {
        pairs.push(("The agent ended", t(&terminal.to_string())));
    }
    if attempt.usage.is_reported() {
        let usage = &attempt.usage;
        let cost = if usage.cost_microusd > 0 { format!(", {}", usd(usage.cost_microusd)) } else { String::new() };
        let (tokens, calls) = (amount(usage.tokens()), count(usage.api_calls, "call"));
        pairs.push(("Used", t(&format!("{tokens} tokens in {calls}{cost}"))));
    }
    if attempt.peak_memory_bytes > 0 {
        pairs.push(("Peak memory", t(&format!("{} MiB", attempt.peak_memory_bytes >> 20))));
    }
    if attempt.leaked_processes > 0 {
        pairs.push(("Processes it left behind", t(&format!("{}, ended", attempt.leaked_processes))));
    }
    if let Some(commit) = &attempt.commit {
        pairs.push(("Commit", Markup::raw(format!("<code>{}</code>", t(commit.get(..12).unwrap_or(commit))))));
    }
    facts(&pairs)
}

fn fault_markup(fault: &Fault) -> Markup {
    pre("message", &lines(&fault.message, MAX_TEXT))
}

fn files(attempt: &AttemptReport) -> Markup {
    if attempt.files.is_empty() {
        return Markup::default();
    }
    let row = |file: &crate::core::outcome::FileChange| {
        vec![
            Markup::raw(format!("<code>{}</code>", t(&file.path))),
            t(kind_of_change(file.status)),
            Markup::raw(format!("+{} −{}", file.added, file.removed)),
        ]
    };
    let rows: Vec<Vec<Markup>> = attempt.files.iter().map(row).collect();
    let caption = count(attempt.file_count, "changed file");
    table(&caption, &["File", "Change", "Lines"], &rows, MAX_FILES)
}

/// A change of a file in a word.
pub(super) fn kind_of_change(status: char) -> &'static str {
    match status {
        'A' => "created",
        'D' => "deleted",
        'T' => "type changed",
        _ => "modified",
    }
}
