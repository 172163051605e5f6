//! The timeline: who worked when, what waited, which gates ran, where checkpoints stand. A report flows in, a drawing
//! flows out: a line for each task where there are few, a lane for each worker where there are more, and how many
//! worked at a time where there are very many. The table of attempts under Tasks says the same in words.

use std::collections::HashMap;

use super::super::format::{duration, len};
use super::super::model::Report;
use super::super::model_work::{AttemptReport, TaskReport};
use super::chart::Axis;
use super::markup::{Markup, Tone, aside, scroll, t};
use super::tasks::outcome_words;

/// Most tasks that get a line each.
const MAX_LINES: usize = 60;
/// Most attempts that are drawn one by one.
const MAX_BARS: usize = 800;
/// Most gates, waits of one task and checkpoints that are drawn.
const MAX_MARKS: usize = 100;
/// Columns of the drawing that counts.
const BINS: usize = 160;
const WIDTH: u32 = 1000;
const LEFT: u32 = 132;
const LINE: u32 = 24;
const TOP: u32 = 26;

/// Something that took time.
struct Bar<'a> {
    from_ms: u64,
    until_ms: u64,
    tone: Tone,
    title: String,
    label: String,
    anchor: Option<&'a str>,
    is_wait: bool,
}

/// A line of the drawing.
struct Row<'a> {
    name: String,
    bars: Vec<Bar<'a>>,
}

/// The drawing with what is said around it.
pub(super) fn timeline(report: &Report, anchors: &HashMap<&str, String>) -> Markup {
    let tried: Vec<&TaskReport> = report.tasks.iter().filter(|task| !task.attempts.is_empty()).collect();
    let gates = gate_rows(report);
    if tried.is_empty() && gates.is_empty() {
        return aside("Nothing was started.");
    }
    let attempts: usize = tried.iter().map(|task| task.attempts.len()).sum();
    let axis = Axis { max: end_ms(report).max(1), from: LEFT, length: WIDTH - LEFT - 12 };
    let (mut rows, how) = if tried.len() <= MAX_LINES {
        (tried.iter().map(|task| task_row(task, anchors)).collect(), "A line for each task that was tried.")
    } else if attempts <= MAX_BARS {
        (lanes(&tried), "A lane for each of those that worked at a time; the list of tasks says which is which.")
    } else {
        (Vec::new(), "How many attempts were under way at a time; the list of tasks has each of them.")
    };
    let counted = if rows.is_empty() { histogram(&tried, &axis) } else { (Markup::default(), 0) };
    rows.extend(gates);
    let drawing = drawing(report, &axis, &rows, &counted);
    let idle = report.timing.resumes;
    let resumed = if idle > 0 { " Time between a stop and a resume is not counted." } else { "" };
    [
        aside(format!("{how} Active time from the start, {} in all.{resumed}", duration(end_ms(report)))),
        legend(),
        drawing,
    ]
    .into_iter()
    .collect()
}

fn end_ms(report: &Report) -> u64 {
    report.timing.elapsed_ms
}

fn task_row<'a>(task: &TaskReport, anchors: &'a HashMap<&str, String>) -> Row<'a> {
    let anchor = anchors.get(task.id.as_str()).map(String::as_str);
    let mut bars: Vec<Bar<'a>> = task.attempts.iter().map(|a| attempt_bar(task, a, anchor)).collect();
    bars.extend(task.waits.iter().take(MAX_MARKS).map(|wait| Bar {
        from_ms: wait.from_elapsed_ms,
        until_ms: wait.until_elapsed_ms,
        tone: Tone::Off,
        title: format!("{} waits: {}", task.id, wait.why),
        label: String::new(),
        anchor: None,
        is_wait: true,
    }));
    Row { name: task.id.clone(), bars }
}

fn attempt_bar<'a>(task: &TaskReport, attempt: &AttemptReport, anchor: Option<&'a str>) -> Bar<'a> {
    let tone = Tone::of_attempt(attempt);
    let (n, took, agent) = (attempt.n, duration(attempt.duration_ms), &attempt.agent);
    Bar {
        from_ms: attempt.started_elapsed_ms,
        until_ms: attempt.started_elapsed_ms.saturating_add(attempt.duration_ms),
        tone,
        title: format!("{} attempt {n}: {}, {took}, {agent}", task.id, outcome_words(attempt)),
        label: format!("{} {n}", tone.sign()),
        anchor,
        is_wait: false,
    }
}

/// Attempts laid side by side into as few lanes as there were workers.
fn lanes<'a>(tasks: &[&TaskReport]) -> Vec<Row<'a>> {
    let mut bars: Vec<Bar<'a>> =
        tasks.iter().flat_map(|task| task.attempts.iter().map(|a| attempt_bar(task, a, None))).collect();
    bars.sort_by_key(|bar| bar.from_ms);
    let mut rows: Vec<Row<'a>> = Vec::new();
    for bar in bars {
        let free = |row: &&mut Row<'a>| row.bars.last().is_none_or(|last| last.until_ms <= bar.from_ms);
        match rows.iter_mut().find(free) {
            Some(row) => row.bars.push(bar),
            None => rows.push(Row { name: format!("lane {}", rows.len() + 1), bars: vec![bar] }),
        }
    }
    rows
}

fn gate_rows<'a>(report: &Report) -> Vec<Row<'a>> {
    let final_round = report.gates.iter().map(|g| (g.name.as_str(), g.status, g.started_elapsed_ms, g.duration_ms));
    let earlier = report.earlier_rounds.iter().flat_map(|round| &round.gates);
    let earlier = earlier.map(|g| (g.name.as_str(), g.status, g.started_elapsed_ms, g.duration_ms));
    let mut rows: Vec<Row<'a>> = Vec::new();
    for (name, status, started, took) in earlier.chain(final_round) {
        let Some(from_ms) = started else { continue };
        let bar = Bar {
            from_ms,
            until_ms: from_ms.saturating_add(took),
            tone: Tone::of_gate(status),
            title: format!("gate {name}: {}, {}", status.name(), duration(took)),
            label: Tone::of_gate(status).sign().to_owned(),
            anchor: None,
            is_wait: false,
        };
        let name = format!("gate {name}");
        match rows.iter().position(|row| row.name == name) {
            Some(i) if rows[i].bars.len() < MAX_MARKS => rows[i].bars.push(bar),
            None if rows.len() < MAX_MARKS => rows.push(Row { name, bars: vec![bar] }),
            _ => {}
        }
    }
    rows
}

/// How many attempts were under way at a time, failed ones on top, with the height it takes.
fn histogram(tasks: &[&TaskReport], axis: &Axis) -> (Markup, u32) {
    let (bins, bin_ms) = worked(tasks, axis.max);
    let most_ms = bins.iter().map(|[good, bad]| good + bad).max().unwrap_or(0).max(1);
    let height = Axis { max: most_ms, from: TOP, length: 140 };
    let along = |i: usize| axis.at(bin_ms.saturating_mul(len(i)));
    let column = |(i, [good, bad]): (usize, &[u64; 2])| {
        let (x, end) = (along(i), along(i + 1));
        let rect = |class: &str, from: u64, to: u64| {
            let (y, h) = (height.up(to), height.up(from) - height.up(to));
            let width = (end - x).max(1);
            if h == 0 {
                String::new()
            } else {
                format!("<rect class=\"bar {class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{h}\"/>")
            }
        };
        rect("ok", 0, *good) + &rect("bad", *good, good + bad)
    };
    let columns: String = bins.iter().enumerate().map(column).collect();
    let (whole, tenth) = (most_ms / bin_ms, most_ms % bin_ms * 10 / bin_ms);
    let label = format!("<text class=\"name\" x=\"8\" y=\"{}\">up to {whole}.{tenth} at once</text>", TOP + 12);
    (Markup::raw(label + &columns), 148)
}

/// The time that attempts took in each part of the whole, milliseconds, failed ones apart; and how long a part is.
fn worked(tasks: &[&TaskReport], all_ms: u64) -> (Vec<[u64; 2]>, u64) {
    let bin_ms = all_ms.div_ceil(len(BINS)).max(1);
    let mut bins = vec![[0_u64; 2]; BINS];
    for attempt in tasks.iter().flat_map(|task| &task.attempts) {
        let which = usize::from(Tone::of_attempt(attempt) == Tone::Bad);
        let (from, until) =
            (attempt.started_elapsed_ms, attempt.started_elapsed_ms.saturating_add(attempt.duration_ms));
        let first = usize::try_from(from / bin_ms).unwrap_or(BINS);
        for (i, counts) in bins.iter_mut().enumerate().skip(first) {
            let start = bin_ms.saturating_mul(len(i));
            if start >= until {
                break;
            }
            counts[which] += until.min(start.saturating_add(bin_ms)) - from.max(start);
        }
    }
    (bins, bin_ms)
}

fn drawing(report: &Report, axis: &Axis, rows: &[Row<'_>], counted: &(Markup, u32)) -> Markup {
    let (columns, counted_height) = counted;
    let first = TOP + counted_height;
    let lines = u32::try_from(rows.len()).unwrap_or(0);
    let marks = report.checkpoints.iter().any(|c| c.n > 0);
    let bottom = first + lines * LINE;
    let height = bottom + if marks { LINE } else { 0 } + 8;
    let body: String = rows.iter().zip(0..).map(|(row, i)| row_markup(row, axis, first + i * LINE)).collect();
    let marks = if marks { checkpoints(report, axis, bottom) } else { String::new() };
    let grid: String = axis.times().iter().map(|(x, words)| tick(*x, words, height)).collect();
    let label = format!("Timeline: {} tasks, {} gates", report.tasks.len(), report.gates.len());
    let size = format!("viewBox=\"0 0 {WIDTH} {height}\"");
    let inside = format!("{grid}{columns}{body}{marks}");
    let svg = format!("<svg class=\"timeline\" {size} role=\"group\" aria-label=\"{label}\">{inside}</svg>");
    scroll("Timeline", &Markup::raw(svg))
}

fn tick(x: u32, words: &str, height: u32) -> String {
    let anchor = if x + 40 > WIDTH { "end" } else { "middle" };
    format!(
        "<line class=\"grid\" x1=\"{x}\" y1=\"18\" x2=\"{x}\" y2=\"{height}\"/>\
         <text class=\"tick\" x=\"{x}\" y=\"12\" text-anchor=\"{anchor}\">{words}</text>"
    )
}

fn row_markup(row: &Row<'_>, axis: &Axis, y: u32) -> String {
    let name = short(&row.name, 17);
    let bars: String = row.bars.iter().map(|bar| bar_markup(bar, axis, y)).collect();
    format!("<text class=\"name\" x=\"8\" y=\"{}\">{}</text>{bars}\n", y + 16, t(&name))
}

fn bar_markup(bar: &Bar<'_>, axis: &Axis, y: u32) -> String {
    let (x, end) = (axis.at(bar.from_ms), axis.at(bar.until_ms));
    let (width, title) = ((end - x).max(3), t(&bar.title));
    if bar.is_wait {
        let y = y + 12;
        return format!(
            "<g><title>{title}</title><line class=\"wait\" x1=\"{x}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\"/></g>"
        );
    }
    let class = bar.tone.class();
    let rect =
        format!("<rect class=\"bar {class}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"16\" rx=\"3\"/>", y + 4);
    let label = match width {
        0..26 => String::new(),
        _ => format!("<text class=\"on {class}\" x=\"{}\" y=\"{}\">{}</text>", x + 6, y + 16, bar.label),
    };
    match bar.anchor {
        Some(anchor) => format!("<a href=\"#{anchor}\"><title>{title}</title>{rect}{label}</a>"),
        None => format!("<g><title>{title}</title>{rect}{label}</g>"),
    }
}

fn checkpoints(report: &Report, axis: &Axis, y: u32) -> String {
    let mark = |c: &super::super::model::CheckpointReport| {
        let (x, y) = (axis.at(c.elapsed_ms), y + 12);
        let title = t(&format!("checkpoint {}: {}", c.n, c.reason));
        let moved = if c.moved_branch { "moved" } else { "" };
        format!("<g><title>{title}</title><path class=\"mark {moved}\" d=\"M{x} {} l6 6 l-6 6 l-6 -6 z\"/></g>", y - 6)
    };
    let marks: String = report.checkpoints.iter().filter(|c| c.n > 0).take(MAX_MARKS).map(mark).collect();
    format!("<text class=\"name\" x=\"8\" y=\"{}\">checkpoints</text>{marks}", y + 16)
}

/// What the colours and signs mean.
fn legend() -> Markup {
    let entries = [
        (Tone::Ok, "succeeded"),
        (Tone::Bad, "failed"),
        (Tone::Run, "no end on record"),
        (Tone::Warn, "cut short, or proved nothing"),
    ];
    let entry = |(tone, word): (Tone, &str)| {
        format!("<li><span class=\"key {}\" aria-hidden=\"true\">{}</span> {word}</li>", tone.class(), tone.sign())
    };
    let entries: String = entries.into_iter().map(entry).collect();
    let others = [("waitkey", "┄", "waited"), ("markkey", "◆", "checkpoint (filled: the branch moved there)")];
    let other = |(class, sign, words): (&str, &str, &str)| {
        format!("<li><span class=\"key {class}\" aria-hidden=\"true\">{sign}</span> {words}</li>")
    };
    let others: String = others.into_iter().map(other).collect();
    Markup::raw(format!("<ul class=\"legend\" aria-label=\"Legend\">{entries}{others}</ul>\n"))
}

/// The beginning of a name, where all of it has no room.
pub(super) fn short(name: &str, chars: usize) -> String {
    crate::text::one_line(name, chars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::testing_attempt;

    fn bar(from_ms: u64, until_ms: u64) -> AttemptReport {
        AttemptReport { started_elapsed_ms: from_ms, duration_ms: until_ms - from_ms, ..testing_attempt() }
    }

    fn task(attempts: Vec<AttemptReport>) -> TaskReport {
        TaskReport { attempts, ..super::super::super::testing::report().tasks[0].clone() }
    }

    #[test]
    fn there_are_as_many_lanes_as_worked_at_a_time() {
        let tasks = [task(vec![bar(0, 10), bar(12, 20)]), task(vec![bar(5, 15)]), task(vec![bar(15, 30)])];
        let lanes = lanes(&tasks.iter().collect::<Vec<_>>());
        let shown: Vec<Vec<u64>> = lanes.iter().map(|row| row.bars.iter().map(|b| b.from_ms).collect()).collect();
        assert_eq!(shown, [vec![0, 12], vec![5, 15]]);
    }

    #[test]
    fn time_worked_adds_up_over_the_parts_of_the_whole() {
        let tasks = [task(vec![bar(0, 1600)]), task(vec![bar(795, 805), bar(1599, 1600)])];
        let (bins, bin_ms) = worked(&tasks.iter().collect::<Vec<_>>(), 1600);
        assert_eq!((bin_ms, bins[0], bins[79], bins[80], bins[159]), (10, [10, 0], [15, 0], [15, 0], [11, 0]));
        assert_eq!(bins.iter().map(|[good, bad]| good + bad).sum::<u64>(), 1611);
    }
}
