//! One requirement out of what several sources say about it.
//! In: what the frontmatter and the body state. Out: requirements in the order of first appearance, and a warning
//! wherever two sources disagree. The source that came first counts; nothing is dropped in silence.

use std::collections::{HashMap, HashSet};

use crate::core::{Confidence, Priority, Requirement, RequirementId, Warning};

use super::found::{Found, Home, Origin};
use super::ident;
use super::problem::Problem;
use super::source::Lines;

/// Requirements, and where each has its own part of the body.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) requirements: Vec<Requirement>,
    homes: Vec<Vec<Home>>,
    by_key: HashMap<String, usize>,
    by_section: HashMap<usize, usize>,
}

impl Joined {
    /// Index of the requirement with an id, in either spelling.
    pub(super) fn index(&self, id: &str) -> Option<usize> {
        self.by_key.get(&ident::key(id)).copied()
    }

    /// The requirement that a section belongs to.
    pub(super) fn of_section(&self, section: usize) -> Option<usize> {
        self.by_section.get(&section).copied()
    }

    /// Blocks of list items that are requirements, each with its requirement.
    pub(super) fn items(&self) -> impl Iterator<Item = (usize, usize)> {
        self.homes.iter().enumerate().flat_map(|(requirement, homes)| {
            homes.iter().filter_map(move |home| match home {
                Home::Item(block) => Some((*block, requirement)),
                _ => None,
            })
        })
    }
}

/// Joins; refuses an id that one source states twice.
pub(super) fn join(
    front: Vec<Found>,
    body: Vec<Found>,
    default: Priority,
    lines: &Lines,
    warnings: &mut Vec<Warning>,
) -> Result<Joined, Problem> {
    refuse_duplicates(front.iter().chain(&body), lines)?;
    warn_of_gaps(&front, &body, lines, warnings);
    let mut joined = Joined::default();
    let mut firsts: Vec<Found> = Vec::new();
    for found in front.into_iter().chain(body) {
        let key = ident::key(&found.id);
        if let Some(index) = joined.by_key.get(&key).copied() {
            add(&mut joined, &mut firsts, index, &found, lines, warnings);
            continue;
        }
        joined.by_key.insert(key, firsts.len());
        joined.homes.push(vec![found.home]);
        joined.requirements.push(first(&found, default, lines));
        firsts.push(found);
    }
    joined.by_section = sections(&joined.homes);
    for (found, requirement) in firsts.iter().zip(&mut joined.requirements) {
        settle_priority(found, requirement, default, lines, warnings);
    }
    Ok(joined)
}

/// The sections that belong to requirements.
fn sections(homes: &[Vec<Home>]) -> HashMap<usize, usize> {
    let all = homes.iter().enumerate().flat_map(|(index, homes)| homes.iter().map(move |home| (index, home)));
    all.filter_map(|(index, home)| if let Home::Section(section) = home { Some((*section, index)) } else { None })
        .collect()
}

fn refuse_duplicates<'a>(all: impl Iterator<Item = &'a Found>, lines: &Lines) -> Result<(), Problem> {
    let mut seen: HashMap<(Origin, String), usize> = HashMap::new();
    for found in all {
        if let Some(before) = seen.insert((found.origin, ident::key(&found.id)), found.at) {
            let message = format!("requirement `{}` stands twice: line {} has it too", found.id, lines.of(before));
            return Err(Problem::new(found.at, message, "give one of the two another id"));
        }
    }
    Ok(())
}

/// A list in the frontmatter and a table in the body are meant to be the same list.
fn warn_of_gaps(front: &[Found], body: &[Found], lines: &Lines, warnings: &mut Vec<Warning>) {
    let table: Vec<&Found> = body.iter().filter(|found| found.origin == Origin::Table).collect();
    if front.is_empty() || table.is_empty() {
        return;
    }
    let tabled: HashSet<String> = table.iter().map(|found| ident::key(&found.id)).collect();
    let listed: HashSet<String> = front.iter().map(|found| ident::key(&found.id)).collect();
    let missing = |found: &Found, other: &str| Warning {
        line: lines.of(found.at),
        message: format!("{}: it stands in {} but not in {other}", found.id, found.origin.name()),
    };
    let untabled = front.iter().filter(|found| !tabled.contains(&ident::key(&found.id)));
    warnings.extend(untabled.map(|found| missing(found, Origin::Table.name())));
    let unlisted = table.iter().filter(|found| !listed.contains(&ident::key(&found.id)));
    warnings.extend(unlisted.map(|found| missing(found, Origin::Frontmatter.name())));
}

fn first(found: &Found, default: Priority, lines: &Lines) -> Requirement {
    Requirement {
        id: RequirementId::new(found.id.as_str()),
        text: found.text.clone(),
        notes: found.notes.clone(),
        priority: found.priority().unwrap_or(default),
        confidence: found.confidence,
        criteria: Vec::new(),
        section: found.section.clone(),
        line: lines.of(found.at),
    }
}

/// Adds what a later source says to what the first one said.
fn add(
    joined: &mut Joined,
    firsts: &mut [Found],
    index: usize,
    found: &Found,
    lines: &Lines,
    warnings: &mut Vec<Warning>,
) {
    let (Some(requirement), Some(first)) = (joined.requirements.get_mut(index), firsts.get_mut(index)) else { return };
    if let Some(homes) = joined.homes.get_mut(index) {
        homes.push(found.home);
    }
    if !found.notes.is_empty() {
        let gap = if requirement.notes.is_empty() { "" } else { "\n\n" };
        requirement.notes.push_str(gap);
        requirement.notes.push_str(&found.notes);
    }
    if requirement.text.is_empty() {
        requirement.text.clone_from(&found.text);
        first.text.clone_from(&found.text);
    }
    warnings.extend(text_differs(first, found, lines));
    warnings.extend(priority_differs(first, found, lines));
    if first.priority.is_empty() {
        first.priority.clone_from(&found.priority);
    }
    requirement.confidence = requirement.confidence.or(found.confidence);
}

fn text_differs(first: &Found, second: &Found, lines: &Lines) -> Option<Warning> {
    let (one, two) = (comparable(&first.text), comparable(&second.text));
    if one.is_empty() || two.is_empty() || one == two {
        return None;
    }
    Some(differs(first, second, "text", &cut(&first.text), &cut(&second.text), lines))
}

fn priority_differs(first: &Found, second: &Found, lines: &Lines) -> Option<Warning> {
    let (one, two) = (first.priority()?, second.priority()?);
    if one == two { None } else { Some(differs(first, second, "priority", &first.priority, &second.priority, lines)) }
}

fn differs(first: &Found, second: &Found, what: &str, one: &str, two: &str, lines: &Lines) -> Warning {
    let (line, other) = (lines.of(first.at), lines.of(second.at));
    let (here, there) = (first.origin.name(), second.origin.name());
    let id = &first.id;
    Warning {
        line: other,
        message: format!(
            "{id}: {what} is {one} in {here} (line {line}) and {two} in {there} (line {other}); {here} counts"
        ),
    }
}

/// Text without Markdown marks, blanks and case: what two sources have to agree in.
fn comparable(text: &str) -> String {
    let kept = |c: &char| !c.is_whitespace() && !matches!(c, '*' | '_' | '`' | '\\');
    text.chars().filter(kept).flat_map(char::to_lowercase).collect()
}

/// A text as it fits into a message.
fn cut(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    if short.len() < text.len() { format!("`{short}…`") } else { format!("`{short}`") }
}

/// Sets the priority that counts, and says so where the PRD wrote something else.
fn settle_priority(
    found: &Found,
    requirement: &mut Requirement,
    default: Priority,
    lines: &Lines,
    warnings: &mut Vec<Warning>,
) {
    requirement.priority = found.priority().unwrap_or(default);
    let id = &found.id;
    if !found.priority.is_empty() && found.priority().is_none() {
        let message = format!("{id}: priority {} is not P0 to P4; {default:?} is used", cut(&found.priority));
        warnings.push(Warning { line: lines.of(found.at), message });
    }
    if requirement.confidence == Some(Confidence::Low) {
        let message = format!("{id}: its confidence is low; check that it is what you want");
        warnings.push(Warning { line: lines.of(found.at), message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: &str, text: &str, priority: &str, at: usize, origin: Origin) -> Found {
        Found {
            id: id.to_owned(),
            text: text.to_owned(),
            notes: String::new(),
            priority: priority.to_owned(),
            confidence: None,
            section: String::new(),
            at,
            origin,
            home: Home::None,
        }
    }

    fn check(front: Vec<Found>, body: Vec<Found>, expected: &[&str]) {
        let mut warnings = Vec::new();
        let lines = Lines::new("a\nb\nc\nd\n");
        join(front, body, Priority::P2, &lines, &mut warnings).expect("joined");
        let shown: Vec<_> = warnings.iter().map(|warning| warning.message.as_str()).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn marks_and_case_do_not_make_a_difference() {
        let front = vec![found("FR-1", "New command /x", "P1", 0, Origin::Frontmatter)];
        check(front, vec![found("FR1", "new  command `/x`", "high", 2, Origin::Table)], &[]);
    }

    #[test]
    fn a_disagreement_names_both_places() {
        let front = vec![found("FR-3", "a", "P1", 0, Origin::Frontmatter)];
        let body = vec![found("FR-3", "a", "P2", 2, Origin::Table)];
        let expected =
            "FR-3: priority is P1 in the frontmatter (line 1) and P2 in the table (line 2); the frontmatter counts";
        check(front, body, &[expected]);
    }

    #[test]
    fn a_requirement_that_one_list_lacks_is_named() {
        let front = vec![found("FR-1", "a", "", 0, Origin::Frontmatter)];
        let body = vec![found("FR-2", "b", "", 2, Origin::Table)];
        let expected = [
            "FR-1: it stands in the frontmatter but not in the table",
            "FR-2: it stands in the table but not in the frontmatter",
        ];
        check(front, body, &expected);
    }

    #[test]
    fn an_id_that_one_source_states_twice_is_refused() {
        let twice = vec![found("FR-1", "a", "", 0, Origin::List), found("FR1", "b", "", 2, Origin::List)];
        let result = join(Vec::new(), twice, Priority::P2, &Lines::new("a\nb\n"), &mut Vec::new());
        assert!(result.is_err());
    }

    #[test]
    fn a_priority_that_is_none_of_ours_is_named_and_the_default_used() {
        let body = vec![found("FR-1", "a", "Must", 0, Origin::Table)];
        check(Vec::new(), body, &["FR-1: priority `Must` is not P0 to P4; P2 is used"]);
    }
}
