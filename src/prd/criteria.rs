//! Acceptance criteria, tied to their requirement by id, else to the section they stand in.
//! In: the outlined body and the joined requirements. Out: criteria in place, those of the PRD as a whole, and a
//! warning for each that names a requirement which does not exist.

use crate::core::{Criterion, CriterionKind, Warning};

use super::ident;
use super::join::Joined;
use super::lists::{self, Entry, List};
use super::markdown::{self, Kind};
use super::outline::{Body, Section, Topic};
use super::requirements::{is_story, priority_line};
use super::scenario;

/// Puts the criteria of requirements into them; returns those of the PRD as a whole.
pub(super) fn collect(body: &Body<'_>, joined: &mut Joined, warnings: &mut Vec<Warning>) -> Vec<Criterion> {
    let lists = lists::outermost(body);
    let mut collector = Collector { body, joined, warnings, tied: Vec::new() };
    collector.sections(&lists);
    collector.lists(lists);
    collector.paragraphs();
    collector.items();
    let mut tied = collector.tied;
    // Lists, paragraphs and code were visited one after the other; the reader wants the order of the file.
    tied.sort_by_key(|(_, criterion)| criterion.line);
    let mut whole = Vec::new();
    for (owner, criterion) in tied {
        match owner.and_then(|index| joined.requirements.get_mut(index)) {
            Some(requirement) => requirement.criteria.push(criterion),
            None => whole.push(criterion),
        }
    }
    whole
}

/// Which requirement a place of the body belongs to.
pub(super) fn owner(body: &Body<'_>, joined: &Joined, section: usize) -> Option<usize> {
    body.around(section).find_map(|(at, around)| joined.of_section(at).or_else(|| named_by(joined, around)))
}

/// The requirement that a heading among the criteria, or of a criterion, names.
fn named_by(joined: &Joined, section: &Section) -> Option<usize> {
    let is_criterion = section.lead.as_ref().is_some_and(super::ident::Lead::is_criterion);
    if section.topic != Topic::Criteria && !is_criterion {
        return None;
    }
    ident::mentions(&section.title).into_iter().find_map(|id| joined.index(id))
}

struct Collector<'a, 'b> {
    body: &'a Body<'a>,
    joined: &'b Joined,
    warnings: &'b mut Vec<Warning>,
    tied: Vec<(Option<usize>, Criterion)>,
}

impl Collector<'_, '_> {
    /// Headings: `### AC-3: …` is a criterion, `### FR-99: …` may dangle.
    fn sections(&mut self, lists: &[List]) {
        for (at, section) in self.body.sections.iter().enumerate() {
            let Some(lead) = &section.lead else { continue };
            if matches!(section.topic, Topic::Excluded | Topic::Tasks) {
                continue;
            }
            if lead.is_criterion() {
                self.whole_section(at, section, &lead.id, &lead.rest, lists);
            } else if section.topic == Topic::Criteria {
                self.dangling(&lead.id, lead.is_requirement(true), section.at);
            }
        }
    }

    /// Everything below `### AC-3: title` is one criterion.
    fn whole_section(&mut self, at: usize, section: &Section, id: &str, title: &str, lists: &[List]) {
        let first = lists.partition_point(|list| list.at < section.content);
        let inside = lists.iter().skip(first).take_while(|list| list.at < section.end);
        let entries: Vec<Entry> = inside.flat_map(|list| list.entries.clone()).collect();
        let mut criterion = if entries.is_empty() {
            let text = self.body.passage(section.content, section.end);
            self.criterion(CriterionKind::Bullet, text, section.at)
        } else if scenario::is_one(&entries) {
            self.criterion(CriterionKind::Scenario, scenario::text(&entries), section.at)
        } else {
            let text: Vec<String> =
                entries.iter().map(|entry| format!("- {}", entry.with_nested(&entry.text))).collect();
            let boxed = entries.iter().any(|entry| entry.checkbox);
            self.criterion(
                if boxed { CriterionKind::Checkbox } else { CriterionKind::Bullet },
                text.join("\n"),
                section.at,
            )
        };
        criterion.text = format!("{title}\n{}", criterion.text).trim().to_owned();
        criterion.id = Some(id.to_owned());
        let mentioned = ident::mentions(&criterion.text).into_iter().find_map(|id| self.joined.index(id));
        let owner = owner(self.body, self.joined, at).or(mentioned);
        self.tied.push((owner, criterion));
    }

    fn lists(&mut self, lists: Vec<List>) {
        for list in lists {
            if !self.takes(list.section) {
                continue;
            }
            let owner = owner(self.body, self.joined, list.section);
            let entries: Vec<Entry> = list.entries.into_iter().filter(|entry| is_criterion(&entry.text)).collect();
            self.entries(owner, &entries);
        }
    }

    /// Whether list items and scenarios of a section are criteria.
    fn takes(&self, section: usize) -> bool {
        let topic = self.body.section(section).map_or(Topic::Plain, |section| section.topic);
        if matches!(topic, Topic::Excluded | Topic::Tasks) {
            return false;
        }
        let numbered =
            |(_, around): (usize, &Section)| around.lead.as_ref().is_some_and(super::ident::Lead::is_criterion);
        if self.body.around(section).any(numbered) {
            // Taken as a whole already.
            return false;
        }
        topic == Topic::Criteria || self.body.around(section).any(|(at, _)| self.joined.of_section(at).is_some())
    }

    fn entries(&mut self, owner: Option<usize>, entries: &[Entry]) {
        if scenario::is_one(entries) {
            let at = entries.first().map_or(0, |entry| entry.at);
            let criterion = self.criterion(CriterionKind::Scenario, scenario::text(entries), at);
            self.tied.push((owner, criterion));
            return;
        }
        for entry in entries {
            self.entry(owner, entry);
        }
    }

    fn entry(&mut self, owner: Option<usize>, entry: &Entry) {
        let lead = ident::leading(&entry.text);
        let named = lead.as_ref().and_then(|lead| self.joined.index(&lead.id));
        if let (Some(lead), Some(named)) = (&lead, named) {
            return self.tied_entry(named, entry, &lead.rest);
        }
        let mut criterion = self.single(entry, &entry.text);
        if let Some(lead) = lead.filter(super::ident::Lead::is_criterion) {
            criterion.text = entry.with_nested(&markdown::plain_start(&lead.rest));
            criterion.id = Some(lead.id);
        } else if let Some(lead) = ident::leading(&entry.text) {
            self.dangling(&lead.id, lead.is_requirement(false), entry.at);
        }
        let owner = owner.or_else(|| self.only_mention(&entry.text));
        self.tied.push((owner, criterion));
    }

    /// An item that begins with the id of a requirement: it, or what is nested in it, belongs there.
    fn tied_entry(&mut self, owner: usize, entry: &Entry, rest: &str) {
        let nested = lists::children(self.body, entry.block);
        if !nested.is_empty() && (rest.is_empty() || scenario::is_one(&nested)) {
            return self.entries(Some(owner), &nested);
        }
        let criterion = self.single(entry, rest);
        self.tied.push((Some(owner), criterion));
    }

    fn single(&self, entry: &Entry, text: &str) -> Criterion {
        let kind = if scenario::is_whole(text) {
            CriterionKind::Scenario
        } else if entry.checkbox {
            CriterionKind::Checkbox
        } else {
            CriterionKind::Bullet
        };
        self.criterion(kind, entry.with_nested(&markdown::plain_start(text)), entry.at)
    }

    fn only_mention(&self, text: &str) -> Option<usize> {
        let mut named: Vec<usize> = ident::mentions(text).into_iter().filter_map(|id| self.joined.index(id)).collect();
        named.dedup();
        if named.len() == 1 { named.first().copied() } else { None }
    }

    /// Scenarios written as paragraphs, or as a fenced `gherkin` block.
    fn paragraphs(&mut self) {
        let mut run: Vec<Entry> = Vec::new();
        let mut run_section = 0;
        for (at, block) in self.body.blocks.iter().enumerate() {
            let lines = scenario::paragraph(self.body, at, block);
            if lines.is_empty() || block.section != run_section {
                self.finish(run_section, std::mem::take(&mut run));
            }
            run_section = block.section;
            run.extend(lines);
            if let Kind::Code { info, content } = &block.kind
                && scenario::is_gherkin(info)
                && self.takes(block.section)
            {
                let owner = owner(self.body, self.joined, block.section);
                let criterion = self.criterion(CriterionKind::Scenario, content.trim().to_owned(), block.span.start);
                self.tied.push((owner, criterion));
            }
        }
        self.finish(run_section, run);
    }

    fn finish(&mut self, section: usize, run: Vec<Entry>) {
        if !run.is_empty() && scenario::is_one(&run) && self.takes(section) {
            let owner = owner(self.body, self.joined, section);
            self.entries(owner, &run);
        }
    }

    /// What is nested in a list item that is a requirement.
    fn items(&mut self) {
        let items: Vec<(usize, usize)> = self.joined.items().collect();
        for (block, requirement) in items {
            let nested = lists::children(self.body, block);
            let nested: Vec<Entry> = nested.into_iter().filter(|entry| is_criterion(&entry.text)).collect();
            self.entries(Some(requirement), &nested);
        }
    }

    fn dangling(&mut self, id: &str, counts: bool, at: usize) {
        if counts && self.joined.index(id).is_none() {
            let message = format!("{id}: this criterion names a requirement that the PRD does not have");
            self.warnings.push(Warning { line: self.body.lines.of(at), message });
        }
    }

    fn criterion(&self, kind: CriterionKind, text: String, at: usize) -> Criterion {
        Criterion { id: None, kind, text, line: self.body.lines.of(at) }
    }
}

/// Some items of a requirement's section are no criteria: the user story, its priority.
fn is_criterion(text: &str) -> bool {
    !text.is_empty() && !is_story(text) && priority_line(text).is_none()
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use crate::core::{CriterionKind, Prd};

    fn prd(text: &str) -> Prd {
        parse("t.md", text.as_bytes()).expect("readable").prd
    }

    fn check(criteria: &str, of_fr1: &[&str], of_prd: &[&str]) {
        let prd = prd(&format!("# T\n\n## Requirements\n\n- FR-1: a\n\n{criteria}"));
        let first = prd.requirements.first().expect("one");
        let texts: Vec<_> = first.criteria.iter().map(|criterion| criterion.text.as_str()).collect();
        assert_eq!(texts, of_fr1, "{criteria}");
        let texts: Vec<_> = prd.criteria.iter().map(|criterion| criterion.text.as_str()).collect();
        assert_eq!(texts, of_prd, "{criteria}");
    }

    #[test]
    fn a_list_below_an_id_belongs_to_it() {
        check("## Acceptance Criteria\n\n### FR-1: x\n- a\n- b\n", &["a", "b"], &[]);
        check("## Acceptance Criteria\n\n**FR-1: x**\n- [ ] a\n\n**Others**\n\n- b\n", &["a", "b"], &[]);
        check("## Success Criteria\n\n- [ ] FR-1: a\n- [ ] b\n", &["a"], &["b"]);
    }

    #[test]
    fn given_when_then_is_one_criterion() {
        let scenario = "- **Given** a\n- **When** b:\n  - c\n- **No** d\n";
        check(&format!("## Acceptance Criteria\n\n### FR-1: x\n{scenario}"), &["Given a\nWhen b:\n  - c\nNo d"], &[]);
    }

    #[test]
    fn a_criterion_with_an_id_belongs_to_the_prd_unless_it_names_a_requirement() {
        check("## Acceptance Criteria\n\n### AC-1: x\n- a\n- b\n", &[], &["x\n- a\n- b"]);
        check(
            "## Acceptance Criteria\n\n### AC-1: x (FR-1)\n- Given: a\n- Then: b\n",
            &["x (FR-1)\nGiven: a\nThen: b"],
            &[],
        );
    }

    #[test]
    fn a_criterion_of_an_unknown_requirement_is_reported() {
        let prd = prd("# T\n\n## Requirements\n\n- FR-1: a\n\n## Acceptance Criteria\n\n### FR-99: x\n- b\n");
        assert!(prd.warnings.iter().any(|warning| warning.message.starts_with("FR-99:") && warning.line == 9));
        assert_eq!(prd.criteria.len(), 1);
    }

    #[test]
    fn all_items_of_a_requirements_own_section_are_its_criteria() {
        let text = "# T\n\n### US-1: x\n**As a** user\n\n- **As a** user\n- Priority: P1\n\n**Acceptance Criteria:**\n- [x] a\n- b\n  - c\n";
        let prd = prd(text);
        let first = prd.requirements.first().expect("one");
        let shown: Vec<_> = first.criteria.iter().map(|c| (c.kind, c.text.as_str())).collect();
        assert_eq!(shown, [(CriterionKind::Checkbox, "a"), (CriterionKind::Bullet, "b\n  - c")]);
    }

    #[test]
    fn paragraphs_and_gherkin_blocks_are_scenarios_too() {
        check(
            "## Acceptance Criteria\n\n### FR-1\n\n**Given** a\n**When** b\n\n**Then** c\n",
            &["Given a\nWhen b\nThen c"],
            &[],
        );
        check("## Acceptance Criteria\n\n```gherkin\nGiven a\nThen b\n```\n", &[], &["Given a\nThen b"]);
    }
}
