//! The sections of a PRD and what each is about.
//! In: the blocks. Out: sections with their topic and the id their heading begins with; every block knows its own.
//! A bold paragraph that begins with an id (`**FR-1: …**`) opens a section too, below any heading.

use super::ident::{self, Lead};
use super::markdown::{self, Block, Blocks, Item, Kind};
use super::source::Lines;

/// What a section is about, as far as requirements go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topic {
    Plain,
    Requirements,
    Stories,
    Goals,
    Scope,
    Criteria,
    Tasks,
    /// Never yields requirements: non-goals, assumptions, risks, …
    Excluded,
}

/// The level of a section that a bold paragraph opens.
const LABEL_LEVEL: u8 = 7;

/// One section.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// 0 for the whole body, 1 to 6 for headings, 7 for bold paragraphs.
    pub(super) level: u8,
    pub(super) title: String,
    pub(super) lead: Option<Lead>,
    pub(super) topic: Topic,
    pub(super) parent: Option<usize>,
    /// Start of its heading.
    pub(super) at: usize,
    /// End of its heading.
    pub(super) content: usize,
    /// Start of the next heading that is not inside of it.
    pub(super) end: usize,
}

impl Section {
    pub(super) fn is_label(&self) -> bool {
        self.level == LABEL_LEVEL
    }
}

/// The body, read.
#[derive(Clone, Debug)]
pub(super) struct Body<'a> {
    pub(super) text: &'a str,
    pub(super) blocks: Vec<Block>,
    pub(super) sections: Vec<Section>,
    pub(super) comments: Vec<usize>,
    pub(super) lines: Lines,
}

impl<'a> Body<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let Blocks { mut blocks, comments } = markdown::read(text);
        let sections = build(text, &mut blocks);
        Self { text, blocks, sections, comments, lines: Lines::new(text) }
    }

    /// The block's own text as one line.
    pub(super) fn line_of(&self, block: &Block) -> String {
        markdown::one_line(self.text, &block.inline)
    }

    /// A range of the body, trimmed, with line ends of one kind.
    pub(super) fn passage(&self, from: usize, to: usize) -> String {
        self.text.get(from..to).unwrap_or("").trim().replace("\r\n", "\n")
    }

    pub(super) fn section(&self, index: usize) -> Option<&Section> {
        self.sections.get(index)
    }

    pub(super) fn topic(&self, block: &Block) -> Topic {
        self.section(block.section).map_or(Topic::Plain, |section| section.topic)
    }

    pub(super) fn title(&self, block: &Block) -> &str {
        self.section(block.section).map_or("", |section| section.title.as_str())
    }

    /// A section and those around it, innermost first.
    pub(super) fn around(&self, section: usize) -> impl Iterator<Item = (usize, &Section)> {
        let first = self.section(section).map(|found| (section, found));
        std::iter::successors(first, move |(_, section)| {
            let parent = section.parent?;
            self.section(parent).map(|found| (parent, found))
        })
    }

    /// The list items with their blocks.
    pub(super) fn items(&self) -> impl Iterator<Item = (usize, &Block, Item)> {
        self.blocks.iter().enumerate().filter_map(|(at, block)| match block.kind {
            Kind::Item(item) => Some((at, block, item)),
            _ => None,
        })
    }

    /// The first heading of level 1.
    pub(super) fn title_heading(&self) -> Option<&Section> {
        self.sections.iter().find(|section| section.level == 1)
    }

    /// Where the head of the document ends: the first section about requirements, criteria or tasks.
    pub(super) fn head_end(&self) -> usize {
        let about = |section: &&Section| !matches!(section.topic, Topic::Plain | Topic::Excluded);
        self.sections.iter().find(about).map_or(self.text.len(), |section| section.at)
    }
}

fn build(text: &str, blocks: &mut [Block]) -> Vec<Section> {
    let mut sections = vec![root(text)];
    let mut open = vec![0_usize];
    let mut titled = false;
    for block in blocks.iter_mut() {
        if let Some(level) = level_of(text, block) {
            let is_title = level == 1 && !titled;
            titled |= is_title;
            close(&mut sections, &mut open, level, block.span.start);
            let parent = open.last().copied().unwrap_or_default();
            let section = section(text, block, level, parent, &sections, is_title);
            open.push(sections.len());
            sections.push(section);
        }
        block.section = open.last().copied().unwrap_or_default();
    }
    sections
}

fn root(text: &str) -> Section {
    Section {
        level: 0,
        title: String::new(),
        lead: None,
        topic: Topic::Plain,
        parent: None,
        at: 0,
        content: 0,
        end: text.len(),
    }
}

/// The level of the section that a block opens, if it opens one.
fn level_of(text: &str, block: &Block) -> Option<u8> {
    match block.kind {
        Kind::Heading(level) if !block.in_item => Some(level),
        Kind::Paragraph if !block.in_item => {
            let start = text.get(block.inline.clone())?;
            let label = start.starts_with("**") && ident::leading(start).is_some();
            label.then_some(LABEL_LEVEL)
        }
        _ => None,
    }
}

/// Ends the sections that a heading of a level is not part of.
fn close(sections: &mut [Section], open: &mut Vec<usize>, level: u8, at: usize) {
    while let Some(last) = open.last().and_then(|last| sections.get_mut(*last)) {
        if last.level < level {
            return;
        }
        last.end = at;
        open.pop();
    }
}

fn section(text: &str, block: &Block, level: u8, parent: usize, sections: &[Section], is_title: bool) -> Section {
    let title = markdown::one_line(text, &block.inline);
    let lead = ident::leading(unnumbered(&title));
    // The title of a document may well say "Product Requirements"; a requirement may well be about risks.
    let own = if is_title || lead.is_some() { Topic::Plain } else { classify(&title) };
    let around = sections.get(parent).map_or(Topic::Plain, |section| section.topic);
    Section {
        level,
        lead,
        topic: inherit(own, around),
        parent: Some(parent),
        at: block.span.start,
        content: block.span.end,
        end: text.len(),
        title,
    }
}

/// What a section's surroundings decide.
fn inherit(own: Topic, around: Topic) -> Topic {
    match (own, around) {
        (Topic::Excluded, _) | (_, Topic::Excluded) => Topic::Excluded,
        (_, Topic::Criteria | Topic::Tasks) | (Topic::Plain, _) => around,
        _ => own,
    }
}

/// A heading without its number: `4.1 Requirements`.
fn unnumbered(title: &str) -> &str {
    let rest = title.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    if rest.len() < title.len() && rest.starts_with([' ', ')']) { rest.trim_start_matches([' ', ')']) } else { title }
}

fn classify(title: &str) -> Topic {
    let name = unnumbered(title).trim_matches(['*', '_', '`', ' ', ':']).to_lowercase();
    let has = |word: &str| name.contains(word);
    if is_excluded(&name) {
        Topic::Excluded
    } else if has("acceptance criteria") || has("success criteria") {
        Topic::Criteria
    } else if name == "tasks" {
        Topic::Tasks
    } else if has("requirement") {
        Topic::Requirements
    } else if has("user stor") {
        Topic::Stories
    } else if has("goal") {
        Topic::Goals
    } else if has("scope") {
        Topic::Scope
    } else {
        Topic::Plain
    }
}

fn is_excluded(name: &str) -> bool {
    let words = [
        "non-goal",
        "non goal",
        "nongoal",
        "out of scope",
        "out-of-scope",
        "not in scope",
        "open question",
        "glossary",
        "changelog",
        "change log",
        "success metric",
        "non-requirement",
    ];
    let starts = ["assumption", "risk", "dependencies &", "dependencies and", "dependencies /"];
    words.iter().any(|word| name.contains(word))
        || starts.iter().any(|word| name.starts_with(word))
        || name == "dependencies"
        || name.ends_with(" dependencies")
        || name.ends_with(" risks")
        || name.ends_with(" assumptions")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(title: &str, expected: Topic) {
        assert_eq!(classify(title), expected, "{title:?}");
    }

    #[test]
    fn headings_tell_their_topic() {
        check("4. Functional Requirements", Topic::Requirements);
        check("3. User Stories", Topic::Stories);
        check("Goals", Topic::Goals);
        check("5. Non-Goals (Out of Scope)", Topic::Excluded);
        check("Scope", Topic::Scope);
        check("Dependencies to Change", Topic::Plain);
        check("7. Dependencies", Topic::Excluded);
        check("12. Risks & Mitigations", Topic::Excluded);
        check("8. Acceptance Criteria", Topic::Criteria);
        check("Tasks", Topic::Tasks);
        check("Implementation Tasks", Topic::Plain);
    }

    #[test]
    fn a_section_is_about_what_its_surroundings_are_about() {
        let body = Body::new(
            "# PRD: Requirements of X\n\n## Intro\n\n## Scope\n\n### Dependencies to Change\n\n## Risks\n\n### Requirements risk\n",
        );
        let topics: Vec<Topic> = body.sections.iter().map(|section| section.topic).collect();
        let expected =
            [Topic::Plain, Topic::Plain, Topic::Plain, Topic::Scope, Topic::Scope, Topic::Excluded, Topic::Excluded];
        assert_eq!(topics, expected);
    }

    #[test]
    fn a_bold_paragraph_with_an_id_opens_a_section() {
        let body = Body::new("## Acceptance Criteria\n\n**FR-1: One**\n- a\n\n**FR-2: Two**\n- b\n\n## Next\n");
        let ids: Vec<_> = body.sections.iter().filter_map(|s| s.lead.as_ref().map(|lead| lead.id.clone())).collect();
        assert_eq!(ids, ["FR-1", "FR-2"]);
        let items: Vec<_> = body.items().map(|(_, block, _)| body.title(block).to_owned()).collect();
        assert_eq!(items, ["**FR-1: One**", "**FR-2: Two**"]);
    }

    #[test]
    fn the_head_ends_where_requirements_begin() {
        let text = "# T\n\nStatus: x\n\n## Requirements\n";
        assert_eq!(Body::new(text).head_end(), text.find("## R").unwrap_or(0));
    }
}
