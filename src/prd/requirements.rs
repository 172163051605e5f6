//! The requirements that the body of a PRD states: in tables, headings, list items; with ids, else numbered.
//! In: the outlined body. Out: what was found, in order. Joining the sources and judging them is not done here.

use std::collections::HashSet;

use crate::core::Priority;

use super::found::{Found, Home, Origin};
use super::ident::{self, Lead};
use super::lists::{self, Entry, List};
use super::markdown::{self, Block, Kind, Row};
use super::outline::{Body, Section, Topic};

/// Requirements that carry an id.
pub(super) fn with_ids(body: &Body<'_>) -> Vec<Found> {
    let mut found = all_with_ids(body);
    // `## Design` may have a heading for each requirement too; where requirements stand in a section of their own,
    // those headings only speak about them.
    let stands = |found: &Found| stated(body, found);
    let stated: HashSet<String> =
        found.iter().filter(|found| stands(found)).map(|found| ident::key(&found.id)).collect();
    found.retain(|found| found.origin != Origin::Heading || stands(found) || !stated.contains(&ident::key(&found.id)));
    found
}

/// True for a heading inside of a section about requirements.
fn stated(body: &Body<'_>, found: &Found) -> bool {
    let Home::Section(section) = found.home else { return false };
    body.section(section).is_some_and(|section| states_requirements(section.topic))
}

fn all_with_ids(body: &Body<'_>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut inside_item = 0;
    for (at, block) in body.blocks.iter().enumerate() {
        match &block.kind {
            Kind::Table(rows) => found.extend(in_table(body, block, rows)),
            Kind::Item(_) if block.span.start >= inside_item => {
                if let Some(item) = in_item(body, at, block) {
                    inside_item = block.span.end;
                    found.push(item);
                }
            }
            _ => found.extend(in_heading(body, at, block)),
        }
    }
    found
}

/// Requirements of a PRD without ids: the items below a requirements heading, else those of its scope.
pub(super) fn without_ids(body: &Body<'_>, has_tasks: bool) -> Vec<Found> {
    let lists = lists::outermost(body);
    let mut found = numbered(body, &lists, Topic::Requirements);
    // Tasks that the author wrote out say what to do; the scope only says where.
    if found.is_empty() && !has_tasks {
        found = numbered(body, &lists, Topic::Scope);
    }
    found
}

/// True for a section that is itself a requirement; what stands in it belongs to it.
pub(super) fn is_home(body: &Body<'_>, section: &Section) -> bool {
    let Some(lead) = &section.lead else { return false };
    let topic = section.parent.and_then(|parent| body.section(parent)).map_or(Topic::Plain, |parent| parent.topic);
    match topic {
        Topic::Excluded | Topic::Criteria | Topic::Tasks => false,
        _ if section.is_label() => states_requirements(topic) && lead.is_requirement(true),
        _ => lead.is_requirement(states_requirements(topic)),
    }
}

/// The requirement section around a section, itself included.
pub(super) fn home_around(body: &Body<'_>, section: usize) -> Option<usize> {
    body.around(section).find(|(_, around)| is_home(body, around)).map(|(at, _)| at)
}

fn states_requirements(topic: Topic) -> bool {
    matches!(topic, Topic::Requirements | Topic::Stories | Topic::Goals)
}

fn in_heading(body: &Body<'_>, at: usize, block: &Block) -> Option<Found> {
    let section = body.section(block.section).filter(|section| section.at == block.span.start)?;
    if !is_home(body, section) {
        return None;
    }
    let lead = section.lead.as_ref()?;
    let mut found = found(lead, block.span.start, Origin::Heading, Home::Section(block.section));
    found.notes = body.passage(section.content, section.end);
    // Requirements of one chapter belong together; under the document's own title there is no chapter.
    let chapter = section.parent.and_then(|parent| body.section(parent)).filter(|parent| parent.level > 1);
    found.section = chapter.map(|chapter| chapter.title.clone()).unwrap_or_default();
    found.priority = priority_below(body, at);
    Some(found)
}

fn found(lead: &Lead, at: usize, origin: Origin, home: Home) -> Found {
    Found {
        id: lead.id.clone(),
        text: lead.rest.clone(),
        notes: String::new(),
        priority: String::new(),
        confidence: None,
        section: String::new(),
        at,
        origin,
        home,
    }
}

/// `Priority: P1` as a line or an item of a requirement's section.
fn priority_below(body: &Body<'_>, heading: usize) -> String {
    let section = body.blocks.get(heading).map(|block| block.section);
    let blocks = body.blocks.iter().skip(heading).take_while(|block| Some(block.section) == section);
    let mut lines = blocks.flat_map(|block| markdown::text_lines(body.text, &block.inline));
    lines.find_map(priority_line).unwrap_or_default()
}

/// The value of a `Priority: P1` line. `Priority: shown on large screens` is a sentence, not a priority.
pub(super) fn priority_line(line: &str) -> Option<String> {
    let (_, value) = super::status::named(line, "priority")?;
    line.get(value).filter(|word| Priority::parse(word).is_some()).map(str::to_owned)
}

fn in_item(body: &Body<'_>, at: usize, block: &Block) -> Option<Found> {
    if !states_requirements(body.topic(block)) || home_around(body, block.section).is_some() {
        return None;
    }
    let lead = ident::leading(&body.line_of(block)).filter(|lead| lead.is_requirement(true))?;
    let mut found = found(&lead, block.span.start, Origin::List, Home::Item(at));
    let (text, priority) = without_priority(&lead.rest);
    found.text = text;
    found.priority = priority;
    found.notes = body.passage(block.inline.end, block.span.end);
    found.section = body.title(block).to_owned();
    Some(found)
}

/// Takes a priority in brackets off the end or the start of a text: `Do it (P1)`, `[P1] Do it`.
fn without_priority(text: &str) -> (String, String) {
    for (open, close) in [('(', ')'), ('[', ']')] {
        let end = text.strip_suffix(close).and_then(|rest| rest.rsplit_once(open));
        let start = text.strip_prefix(open).and_then(|rest| rest.split_once(close)).map(|(word, rest)| (rest, word));
        for (rest, word) in end.into_iter().chain(start) {
            if is_level(word) {
                return (rest.trim().to_owned(), word.to_owned());
            }
        }
    }
    (text.to_owned(), String::new())
}

fn is_level(word: &str) -> bool {
    let mut letters = word.chars();
    letters.next() == Some('P') && letters.next().is_some_and(|c| ('0'..='4').contains(&c)) && letters.next().is_none()
}

/// Which column of a table holds what.
struct Columns {
    id: usize,
    text: usize,
    priority: Option<usize>,
    notes: Option<usize>,
}

impl Columns {
    fn of(header: &[String]) -> Option<Self> {
        let place = |names: &[&str]| {
            names.iter().find_map(|name| header.iter().position(|cell| cell.eq_ignore_ascii_case(name)))
        };
        Some(Self {
            id: place(&["id", "req id", "requirement id", "req. id"])?,
            text: place(&["requirement", "requirements", "user story", "story", "text", "description"])?,
            priority: place(&["priority"]),
            notes: place(&["notes", "note", "comment", "comments", "rationale"]),
        })
    }
}

fn in_table(body: &Body<'_>, block: &Block, rows: &[Row]) -> Vec<Found> {
    let topic = body.topic(block);
    if matches!(topic, Topic::Excluded | Topic::Criteria | Topic::Tasks) {
        return Vec::new();
    }
    let bare = |cell: String| cell.trim_matches(['*', '_', '`', ' ', ':']).to_owned();
    let header: Vec<String> = rows.first().map(|row| cells(body, row).map(bare).collect()).unwrap_or_default();
    let Some(columns) = Columns::of(&header) else { return Vec::new() };
    let known = rows.iter().skip(1);
    known.filter_map(|row| in_row(body, block, &columns, row, states_requirements(topic))).collect()
}

fn in_row(body: &Body<'_>, block: &Block, columns: &Columns, row: &Row, inside: bool) -> Option<Found> {
    let cells: Vec<String> = cells(body, row).collect();
    let lead = ident::leading(cells.get(columns.id)?).filter(|lead| lead.is_requirement(inside))?;
    let cell = |column: Option<usize>| column.and_then(|at| cells.get(at)).cloned().unwrap_or_default();
    let mut found = found(&lead, row.at, Origin::Table, Home::None);
    found.text = cell(Some(columns.text));
    found.priority = cell(columns.priority);
    found.notes = cell(columns.notes);
    found.section = body.title(block).to_owned();
    Some(found)
}

/// The cells of a row; a bar inside of one is written `\|`.
fn cells(body: &Body<'_>, row: &Row) -> impl Iterator<Item = String> {
    row.cells.iter().map(|cell| markdown::one_line(body.text, cell).replace("\\|", "|"))
}

fn numbered(body: &Body<'_>, lists: &[List], topic: Topic) -> Vec<Found> {
    let about = |list: &&List| body.section(list.section).is_some_and(|section| section.topic == topic);
    let mut found = Vec::new();
    for list in lists.iter().filter(about).filter(|list| !is_kept(list.label.as_deref())) {
        for entry in list.entries.iter().filter(|entry| !entry.text.is_empty() && !is_story(&entry.text)) {
            let label = list.label.as_deref().filter(|_| topic == Topic::Scope);
            found.push(anonymous(body, found.len() + 1, entry, label));
        }
    }
    found
}

/// Labels of lists that say what not to do.
fn is_kept(label: Option<&str>) -> bool {
    let label = label.unwrap_or("").to_lowercase();
    ["keep", "out of scope", "not in scope", "excluded", "unchanged", "non-goal"]
        .iter()
        .any(|word| label.contains(word))
}

/// `As a developer, I want …` is the reason for requirements, not one of them.
pub(super) fn is_story(text: &str) -> bool {
    let text = markdown::plain_start(text).to_lowercase();
    ["as a ", "as an ", "i want ", "so that "].iter().any(|word| text.starts_with(word))
}

fn anonymous(body: &Body<'_>, number: usize, entry: &Entry, label: Option<&str>) -> Found {
    let lead = Lead { id: format!("R-{number}"), rest: String::new(), separated: true };
    let mut found = found(&lead, entry.at, Origin::List, Home::Item(entry.block));
    let text = markdown::plain_start(&entry.text);
    let in_scope = label.is_none_or(|label| label.eq_ignore_ascii_case("in scope"));
    found.text = match label {
        Some(label) if !in_scope => format!("{label}: {text}"),
        _ => text,
    };
    if let Some(block) = body.blocks.get(entry.block) {
        found.notes = body.passage(block.inline.end, block.span.end);
        found.section = body.title(block).to_owned();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let body = Body::new(text);
        let found = with_ids(&body);
        let found = if found.is_empty() { without_ids(&body, false) } else { found };
        let shown: Vec<_> = found.iter().map(|found| (found.id.as_str(), found.text.as_str())).collect();
        assert_eq!(shown, expected, "{text:?}");
    }

    #[test]
    fn a_table_with_an_id_column_states_requirements() {
        check(
            "## Requirements\n\n| ID | Requirement | Priority |\n|--|--|--|\n| FR-1 | a `x \\| y` | P1 |\n| **FR-2** | b | P0 |\n",
            &[("FR-1", "a `x | y`"), ("FR-2", "b")],
        );
        check("## Risks\n\n| ID | Description |\n|--|--|\n| R-1 | a |\n", &[]);
        check("## Errors\n\n| ID | Description |\n|--|--|\n| E-1 | a |\n", &[]);
    }

    #[test]
    fn headings_bullets_and_numbered_items_state_requirements() {
        check("## Stories\n\n### US-1: One\ntext\n\n### TR-2 - Two\n", &[("US-1", "One"), ("TR-2", "Two")]);
        check(
            "## Functional Requirements\n\n- **FR-1**: a\n  - FR-9: nested\n- FR-2 b\n\n1. **NFR-1:** c (P1)\n",
            &[("FR-1", "a"), ("FR-2", "b"), ("NFR-1", "c")],
        );
        check(
            "## User Requirements\n\n**FR-1: One**\nMore.\n\n**FR-2: Two**\n",
            &[("FR-1", "One More."), ("FR-2", "Two")],
        );
    }

    #[test]
    fn a_heading_elsewhere_only_speaks_about_a_requirement() {
        check("## Requirements\n\n### FR-1: a\n\n## Design\n\n### FR-1: how\n", &[("FR-1", "a")]);
        check("## Design\n\n### FR-1: how\n", &[("FR-1", "how")]);
    }

    #[test]
    fn stories_non_goals_and_criteria_are_no_requirements() {
        check("## User Stories\n\n- **As a developer**, I want x\n", &[]);
        check("## Non-Goals\n\n- FR-1: a\n", &[]);
        check("## Acceptance Criteria\n\n### FR-1: a\n- FR-2: b\n", &[]);
        check("## Requirements\n\n### FR-1: a\n- FR-2 comes first\n", &[("FR-1", "a")]);
    }

    #[test]
    fn items_without_ids_are_numbered() {
        check(
            "## Requirements\n\n### Functional Requirements\n\n1. **API**\n   - call it\n2. **UI**: show it\n\n### Non-Functional Requirements\n\n- fast\n",
            &[("R-1", "API"), ("R-2", "UI: show it"), ("R-3", "fast")],
        );
        check(
            "## Scope\n\n1. `a.rs` - change\n\n### Dependencies to Change\n\n**Add:**\n- `x`\n\n**Keep:**\n- `y`\n\n**Remove:**\n- `z`\n\n## Out of Scope\n\n- w\n",
            &[("R-1", "`a.rs` - change"), ("R-2", "Add: `x`"), ("R-3", "Remove: `z`")],
        );
    }

    #[test]
    fn the_notes_and_priority_of_a_heading_are_those_of_its_section() {
        let body = Body::new("### FR-1: a\n\n**Priority:** P0\n\nBecause.\n\n## Next\n");
        let found = with_ids(&body);
        let first = found.first().expect("one");
        assert_eq!((first.priority.as_str(), first.notes.ends_with("Because.")), ("P0", true));
    }
}
