//! The plan as a graph, from left to right by groups. A report flows in, a drawing flows out: each task where there are
//! few, epics where there are more, and a bar for each group where there are very many.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::super::format::len32;
use super::super::model::Report;
use super::super::model_work::TaskReport;
use super::chart::Axis;
use super::markup::{Markup, Tone, aside, scroll, t};
use super::timeline::short;

/// Most tasks that get a box each, and most lines between boxes.
const MAX_TASKS: usize = 120;
const MAX_EDGES: usize = 600;
/// Columns that are drawn small enough for a page; more of them are scrolled.
const FITTING: u32 = 7;
/// Most epics that get a box each.
const MAX_EPICS: usize = 60;
/// Most groups that get a bar each.
const MAX_GROUPS: usize = 60;
/// A column that is higher goes on beside itself.
const MAX_ROWS: usize = 10;
const BOX_WIDTH: u32 = 160;
const BOX_HEIGHT: u32 = 40;
const STEP_X: u32 = 206;
const STEP_Y: u32 = 52;

/// A box of the drawing.
struct Node<'a> {
    column: u32,
    name: String,
    words: String,
    title: String,
    tone: Tone,
    anchor: Option<&'a str>,
}

/// The drawing with what is said around it.
pub(super) fn graph(report: &Report, anchors: &HashMap<&str, String>) -> Markup {
    if report.tasks.is_empty() {
        return aside("There is no plan.");
    }
    let (tasks, groups, longest) = (report.tasks.len(), report.plan.groups, report.plan.critical_path);
    let words = format!(
        "{tasks} tasks in {groups} groups; the longest chain has {longest}. \
         A line leads from what is needed to what needs it."
    );
    let edges: usize = report.tasks.iter().map(|task| task.depends_on.len()).sum();
    let drawing = if tasks <= MAX_TASKS && edges <= MAX_EDGES {
        of_tasks(report, anchors)
    } else if report.plan.epics.len() <= MAX_EPICS && report.plan.epics.len() > 1 {
        of_epics(report)
    } else {
        of_groups(report)
    };
    [aside(words), drawing].into_iter().collect()
}

fn of_tasks(report: &Report, anchors: &HashMap<&str, String>) -> Markup {
    let index: HashMap<&str, usize> = report.tasks.iter().enumerate().map(|(i, task)| (task.id.as_str(), i)).collect();
    let node = |task: &TaskReport| Node {
        column: task.group,
        name: task.id.clone(),
        words: task.title.clone(),
        title: format!("{} {}: {}", task.id, task.status.name(), task.title),
        tone: Tone::of_task(task.status),
        anchor: anchors.get(task.id.as_str()).map(String::as_str),
    };
    let nodes: Vec<Node<'_>> = report.tasks.iter().map(node).collect();
    let needs = |(i, task): (usize, &TaskReport)| {
        task.depends_on.iter().filter_map(|id| index.get(id.as_str())).map(|from| (*from, i)).collect::<Vec<_>>()
    };
    let edges: Vec<(usize, usize)> = report.tasks.iter().enumerate().flat_map(needs).collect();
    layered(&nodes, &edges, "Tasks and what they depend on")
}

fn of_epics(report: &Report) -> Markup {
    let of: HashMap<&str, usize> =
        report.plan.epics.iter().enumerate().map(|(i, epic)| (epic.id.as_str(), i)).collect();
    let epic_of: HashMap<&str, usize> =
        report.tasks.iter().filter_map(|task| Some((task.id.as_str(), *of.get(task.epic.as_str())?))).collect();
    let mut edges = BTreeSet::new();
    let mut columns: BTreeMap<usize, u32> = BTreeMap::new();
    let mut counts: HashMap<usize, (u32, u32, u32)> = HashMap::new();
    for task in &report.tasks {
        let Some(epic) = epic_of.get(task.id.as_str()) else { continue };
        let column = columns.entry(*epic).or_insert(task.group);
        *column = (*column).min(task.group);
        let count = counts.entry(*epic).or_default();
        count.0 += 1;
        count.1 += u32::from(task.status.is_success());
        count.2 += u32::from(Tone::of_task(task.status) == Tone::Bad);
        let from = task.depends_on.iter().filter_map(|id| epic_of.get(id.as_str()));
        edges.extend(from.filter(|from| *from != epic).map(|from| (*from, *epic)));
    }
    // Groups of an epic may lie far apart: only their order counts here.
    let order: BTreeSet<u32> = columns.values().copied().collect();
    let column = |i: usize| columns.get(&i).map_or(0, |group| len32(order.range(..group).count()));
    let node = |(i, epic): (usize, &super::super::model::EpicReport)| {
        let (all, done, failed) = counts.get(&i).copied().unwrap_or_default();
        let tone = match (failed, done == all) {
            (1.., _) => Tone::Bad,
            (0, true) => Tone::Ok,
            (0, false) => Tone::Off,
        };
        let title = format!("{} {}: {done} of {all} tasks succeeded, {failed} failed", epic.id, epic.title);
        let name = format!("{} · {done} of {all}", epic.id);
        Node { column: column(i), name, words: epic.title.clone(), title, tone, anchor: None }
    };
    let nodes: Vec<Node<'_>> = report.plan.epics.iter().enumerate().map(node).collect();
    let edges: Vec<(usize, usize)> = edges.into_iter().take(MAX_EDGES).collect();
    layered(&nodes, &edges, "Epics and what they depend on")
}

/// Boxes in columns, with lines between them.
fn layered(nodes: &[Node<'_>], edges: &[(usize, usize)], label: &str) -> Markup {
    let places = places(nodes);
    let columns = places.iter().map(|(x, _)| x + 1).max().unwrap_or(1);
    let rows = places.iter().map(|(_, y)| y + 1).max().unwrap_or(1);
    let (width, height) = ((columns - 1) * STEP_X + BOX_WIDTH + 16, rows * STEP_Y + 4);
    let lines: String =
        edges.iter().filter_map(|(from, to)| Some(edge(*places.get(*from)?, *places.get(*to)?))).collect();
    let boxes: String = nodes.iter().zip(&places).map(|(node, place)| node_markup(node, *place)).collect();
    let size = format!("viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\"");
    let fits = if columns <= FITTING { "fits" } else { "graph" };
    let svg = format!("<svg class=\"{fits}\" {size} role=\"group\" aria-label=\"{label}\">{lines}{boxes}</svg>");
    scroll(label, &Markup::raw(svg))
}

/// A place for each box, in steps: its column, and the next free row in it; a full column goes on beside itself.
fn places(nodes: &[Node<'_>]) -> Vec<(u32, u32)> {
    let mut heights: BTreeMap<u32, usize> = BTreeMap::new();
    for node in nodes {
        *heights.entry(node.column).or_default() += 1;
    }
    let mut starts = BTreeMap::new();
    let mut next = 0;
    for (column, height) in &heights {
        starts.insert(*column, next);
        next += len32(height.div_ceil(MAX_ROWS));
    }
    let mut used: BTreeMap<u32, usize> = BTreeMap::new();
    let place = |node: &Node<'_>| {
        let n = used.entry(node.column).or_default();
        let (beside, row) = (*n / MAX_ROWS, *n % MAX_ROWS);
        *n += 1;
        (starts.get(&node.column).copied().unwrap_or(0) + len32(beside), len32(row))
    };
    nodes.iter().map(place).collect()
}

fn corner((column, row): (u32, u32)) -> (u32, u32) {
    (8 + column * STEP_X, 4 + row * STEP_Y)
}

/// From the right of a box to the left of another. Over other columns it goes below its row, where no box stands.
fn edge(from: (u32, u32), to: (u32, u32)) -> String {
    let ((x1, y1), (x2, y2)) = (corner(from), corner(to));
    let (x1, y1, y2) = (x1 + BOX_WIDTH, y1 + BOX_HEIGHT / 2, y2 + BOX_HEIGHT / 2);
    let bend = (STEP_X - BOX_WIDTH) / 2;
    if to.0 <= from.0 + 1 {
        let (bend1, bend2) = (x1 + bend, x2.saturating_sub(bend));
        return format!("<path class=\"edge\" d=\"M{x1} {y1} C{bend1} {y1} {bend2} {y2} {x2} {y2}\"/>");
    }
    let (below, away) = (y1 + STEP_Y / 2, STEP_X - BOX_WIDTH);
    format!(
        "<path class=\"edge\" d=\"M{x1} {y1} C{0} {y1} {0} {below} {1} {below} H{2} \
         C{3} {below} {3} {y2} {x2} {y2}\"/>",
        x1 + bend,
        x1 + away,
        x2 - away,
        x2 - bend,
    )
}

fn node_markup(node: &Node<'_>, place: (u32, u32)) -> String {
    let (x, y) = corner(place);
    let (class, sign, title) = (node.tone.class(), node.tone.sign(), t(&node.title));
    let (name, words) = (t(&short(&node.name, 18)), t(&short(&node.words, 24)));
    let rect = format!("x=\"{x}\" y=\"{y}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"6\"");
    let text = |class: &str, down: u32, words: &str| {
        format!("<text class=\"{class}\" x=\"{}\" y=\"{}\">{words}</text>", x + 9, y + down)
    };
    let inside = format!(
        "<title>{title}</title><rect class=\"node {class}\" {rect}/>{}{}",
        text(&format!("nodename {class}"), 17, &format!("{sign} {name}")),
        text("nodewords", 32, &words.to_string()),
    );
    match node.anchor {
        Some(anchor) => format!("<a href=\"#{anchor}\">{inside}</a>\n"),
        None => format!("<g>{inside}</g>\n"),
    }
}

/// A bar for each group: how many of its tasks succeeded, failed, and are left.
fn of_groups(report: &Report) -> Markup {
    let mut groups: BTreeMap<u32, [u64; 3]> = BTreeMap::new();
    for task in &report.tasks {
        let which = match Tone::of_task(task.status) {
            Tone::Ok => 0,
            Tone::Bad => 1,
            _ => 2,
        };
        groups.entry(task.group).or_default()[which] += 1;
    }
    let most = groups.values().map(|counts| counts.iter().sum::<u64>()).max().unwrap_or(1);
    let axis = Axis { max: most, from: 110, length: 560 };
    let shown = groups.len().min(MAX_GROUPS);
    let rows: String =
        groups.iter().take(MAX_GROUPS).zip(0..).map(|((n, counts), row)| bar(*n, *counts, &axis, row)).collect();
    let height = len32(shown) * 24 + 4;
    let svg = format!(
        "<svg class=\"groups\" viewBox=\"0 0 900 {height}\" role=\"img\" aria-label=\"Tasks by group\">{rows}</svg>\n"
    );
    let more = groups.len() - shown;
    let more = if more > 0 { aside(format!("{more} later groups are left out here.")) } else { Markup::default() };
    [Markup::raw(svg), more].into_iter().collect()
}

fn bar(group: u32, counts: [u64; 3], axis: &Axis, row: u32) -> String {
    let y = row * 24 + 4;
    let mut from = 0;
    let mut rects = String::new();
    for (count, class) in counts.into_iter().zip(["ok", "bad", "off"]) {
        let (x, end) = (axis.at(from), axis.at(from + count));
        if end > x {
            rects.push_str(&format!(
                "<rect class=\"bar {class}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"16\"/>",
                end - x
            ));
        }
        from += count;
    }
    let [done, failed, left] = counts;
    let words = format!("{done} succeeded, {failed} failed, {left} left");
    format!(
        "<text class=\"name\" x=\"8\" y=\"{0}\">group {group}</text>{rects}\
         <text class=\"tick\" x=\"{1}\" y=\"{0}\">{words}</text>",
        y + 13,
        axis.at(from) + 8
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(column: u32) -> Node<'static> {
        let text = String::new;
        Node { column, name: text(), words: text(), title: text(), tone: Tone::Ok, anchor: None }
    }

    #[test]
    fn a_full_column_goes_on_beside_itself_and_moves_the_next() {
        let nodes: Vec<Node<'_>> = (0..=MAX_ROWS).map(|_| node(0)).chain([node(1), node(7)]).collect();
        let places = places(&nodes);
        assert_eq!((places[MAX_ROWS - 1], places[MAX_ROWS]), ((0, 9), (1, 0)));
        assert_eq!(places[MAX_ROWS + 1..], [(2, 0), (3, 0)]);
    }
}
