//! The body of a PRD as a flat list of blocks, each with its bytes.
//! In: the body, frontmatter blanked out. Out: headings, paragraphs, list items, tables, code, in order.
//! Text is handed out as it was written: a `__init__` or a `src/**` in a requirement must survive.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// One block.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// All of it, children included.
    pub(super) span: Range<usize>,
    /// Its own text, children left out; empty where it has none.
    pub(super) inline: Range<usize>,
    /// Index of the section it stands in; filled in by the outline.
    pub(super) section: usize,
    /// Whether it stands inside of a list item.
    pub(super) in_item: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Heading(u8),
    Paragraph,
    Item(Item),
    Table(Vec<Row>),
    Code { info: String, content: String },
}

/// A list item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// 1 for an item of an outermost list.
    pub(super) depth: usize,
    /// `Some` for `- [ ]` and `- [x]`.
    pub(super) checkbox: Option<bool>,
    /// Which list it is an item of.
    pub(super) list: usize,
}

/// A row of a table; the first one is the header.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) at: usize,
    pub(super) cells: Vec<Range<usize>>,
}

/// What the body consists of.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    /// Offsets of HTML comments, which a reader of the rendered page does not see.
    pub(super) comments: Vec<usize>,
}

/// Reads Markdown.
pub(super) fn read(body: &str) -> Blocks {
    let options = Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    let mut walker = Walker::default();
    for (event, range) in Parser::new_ext(body, options).into_offset_iter() {
        walker.event(event, range);
    }
    walker.out
}

/// The text of a range as one line.
pub(super) fn one_line(body: &str, range: &Range<usize>) -> String {
    let text = body.get(range.clone()).unwrap_or("");
    let parts = text.lines().map(unquoted).filter(|line| !line.is_empty());
    parts.collect::<Vec<_>>().join(" ")
}

/// The lines of a range, each trimmed.
pub(super) fn text_lines<'a>(body: &'a str, range: &Range<usize>) -> impl Iterator<Item = &'a str> {
    let text = body.get(range.clone()).unwrap_or("");
    text.lines().map(unquoted).filter(|line| !line.is_empty())
}

/// A paragraph cannot go on with `>` unless it stands in a quotation.
fn unquoted(line: &str) -> &str {
    line.trim().trim_start_matches("> ").trim_start()
}

/// Without bold marks around the beginning: `**Given** x` and `**Given x**` alike.
pub(super) fn plain_start(text: &str) -> String {
    for mark in ["**", "__"] {
        if let Some(rest) = text.strip_prefix(mark) {
            return rest.replacen(mark, "", 1).trim().to_owned();
        }
    }
    text.trim().to_owned()
}

/// The text between bold marks, where nothing but a colon stands beside them.
pub(super) fn all_bold(text: &str) -> Option<&str> {
    let text = text.trim().trim_end_matches(':');
    let inner = text.strip_prefix("**")?.strip_suffix("**")?;
    if inner.contains("**") || inner.is_empty() { None } else { Some(inner.trim()) }
}

/// Where inline events go.
#[derive(Clone, Copy, Debug, Default)]
enum Target {
    #[default]
    Nothing,
    Block(usize),
    Cell(usize),
    Code(usize),
}

#[derive(Default)]
struct Walker {
    out: Blocks,
    /// Blocks of the items that are open.
    items: Vec<usize>,
    /// Numbers of the lists that are open.
    lists: Vec<usize>,
    next_list: usize,
    target: Target,
}

impl Walker {
    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(tag),
            Event::TaskListMarker(done) => self.checkbox(done),
            Event::Text(text) => self.text(&text, &range),
            Event::Html(html) | Event::InlineHtml(html) => self.html(&html, &range),
            Event::Code(_) | Event::FootnoteReference(_) => self.extend(&range),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Heading { level, .. } => self.open(Kind::Heading(number(level)), range),
            Tag::Paragraph => self.paragraph(range),
            Tag::List(_) => {
                self.lists.push(self.next_list);
                self.next_list += 1;
                self.target = Target::Nothing;
            }
            Tag::Item => self.item(range),
            Tag::CodeBlock(kind) => self.code(&kind, range),
            Tag::Table(_) => {
                self.open(Kind::Table(Vec::new()), range);
                self.target = Target::Cell(self.out.blocks.len().saturating_sub(1));
            }
            Tag::TableHead | Tag::TableRow => self.row(&range),
            Tag::TableCell => self.cell(&range),
            Tag::Emphasis | Tag::Strong | Tag::Link { .. } | Tag::Image { .. } => self.extend(&range),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) | TagEnd::Paragraph | TagEnd::CodeBlock | TagEnd::Table => {
                self.target = Target::Nothing;
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.target = Target::Nothing;
            }
            TagEnd::Item => {
                self.items.pop();
                self.target = Target::Nothing;
            }
            _ => {}
        }
    }

    fn open(&mut self, kind: Kind, span: Range<usize>) {
        let inline = span.start..span.start;
        self.target = Target::Block(self.out.blocks.len());
        let in_item = !self.items.is_empty();
        self.out.blocks.push(Block { kind, span, inline, section: 0, in_item });
    }

    /// The first paragraph of a loose list's item is the text of the item.
    fn paragraph(&mut self, range: Range<usize>) {
        match self.items.last() {
            Some(item) if *item + 1 == self.out.blocks.len() && self.is_bare(*item) => {
                self.target = Target::Block(*item);
            }
            _ => self.open(Kind::Paragraph, range),
        }
    }

    fn is_bare(&self, block: usize) -> bool {
        self.out.blocks.get(block).is_some_and(|block| block.inline.is_empty())
    }

    fn item(&mut self, range: Range<usize>) {
        let list = self.lists.last().copied().unwrap_or_default();
        let item = Item { depth: self.lists.len(), checkbox: None, list };
        self.open(Kind::Item(item), range);
        self.items.push(self.out.blocks.len().saturating_sub(1));
    }

    fn checkbox(&mut self, done: bool) {
        let block = self.items.last().and_then(|at| self.out.blocks.get_mut(*at));
        if let Some(Block { kind: Kind::Item(item), .. }) = block {
            item.checkbox = Some(done);
        }
    }

    fn code(&mut self, kind: &CodeBlockKind<'_>, range: Range<usize>) {
        let info = match kind {
            CodeBlockKind::Fenced(info) => info.trim().to_owned(),
            CodeBlockKind::Indented => String::new(),
        };
        self.open(Kind::Code { info, content: String::new() }, range);
        self.target = Target::Code(self.out.blocks.len().saturating_sub(1));
    }

    fn row(&mut self, range: &Range<usize>) {
        if let Some(rows) = self.table() {
            rows.push(Row { at: range.start, cells: Vec::new() });
        }
    }

    fn cell(&mut self, range: &Range<usize>) {
        if let Some(row) = self.table().and_then(|rows| rows.last_mut()) {
            row.cells.push(range.start..range.start);
        }
    }

    fn table(&mut self) -> Option<&mut Vec<Row>> {
        let Target::Cell(block) = self.target else { return None };
        match self.out.blocks.get_mut(block).map(|block| &mut block.kind) {
            Some(Kind::Table(rows)) => Some(rows),
            _ => None,
        }
    }

    fn text(&mut self, text: &str, range: &Range<usize>) {
        if let Target::Code(block) = self.target {
            if let Some(Block { kind: Kind::Code { content, .. }, .. }) = self.out.blocks.get_mut(block) {
                content.push_str(text);
            }
            return;
        }
        self.extend(range);
    }

    fn html(&mut self, html: &str, range: &Range<usize>) {
        if html.contains("<!--") {
            self.out.comments.push(range.start);
        }
        self.extend(range);
    }

    fn extend(&mut self, range: &Range<usize>) {
        let slot = match self.target {
            Target::Block(block) => self.out.blocks.get_mut(block).map(|block| &mut block.inline),
            Target::Cell(_) => self.table().and_then(|rows| rows.last_mut()).and_then(|row| row.cells.last_mut()),
            Target::Code(_) | Target::Nothing => None,
        };
        let Some(slot) = slot else { return };
        if slot.start >= slot.end {
            *slot = range.clone();
        } else {
            *slot = slot.start.min(range.start)..slot.end.max(range.end);
        }
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &[&str]) {
        let shown: Vec<String> = read(body).blocks.iter().map(|block| show(body, block)).collect();
        assert_eq!(shown, expected, "{body:?}");
    }

    fn show(body: &str, block: &Block) -> String {
        let text = one_line(body, &block.inline);
        match &block.kind {
            Kind::Heading(level) => format!("h{level} {text}"),
            Kind::Paragraph => format!("p {text}"),
            Kind::Item(item) => format!("i{} {:?} {text}", item.depth, item.checkbox),
            Kind::Code { info, content } => format!("c {info} {content:?}"),
            Kind::Table(rows) => rows.iter().map(|row| show_row(body, row)).collect::<Vec<_>>().join(";"),
        }
    }

    fn show_row(body: &str, row: &Row) -> String {
        row.cells.iter().map(|cell| one_line(body, cell)).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn text_is_kept_as_it_was_written() {
        check("## A `b` **c** __init__\n", &["h2 A `b` **c** __init__"]);
        check("a\r\nb `src/**`\r\n", &["p a b `src/**`"]);
    }

    #[test]
    fn items_know_their_depth_and_checkbox() {
        let body = "- [ ] one\n  goes on\n  - two\n- [x] three\n\n1. four\n\n   more\n";
        check(body, &["i1 Some(false) one goes on", "i2 None two", "i1 Some(true) three", "i1 None four", "p more"]);
    }

    #[test]
    fn tables_and_code_are_read() {
        check("| A | B |\n|---|---|\n| `x` y | **z** |\n", &["A|B;`x` y|**z**"]);
        check("```check FR-1\r\na\r\nb\r\n```\r\n", &["c check FR-1 \"a\\nb\\n\""]);
    }

    #[test]
    fn comments_are_noticed_and_those_in_code_are_not() {
        assert_eq!(read("a <!-- x --> b\n\n<!-- y -->\n\n```\n<!-- z -->\n```\n").comments.len(), 2);
    }

    #[test]
    fn bold_marks_at_the_start_go() {
        assert_eq!(plain_start("**Given**: `a**b`"), "Given: `a**b`");
        assert_eq!(all_bold("**Add:**"), Some("Add:"));
        assert_eq!(all_bold("**Add**:"), Some("Add"));
        assert_eq!(all_bold("**a** b **c**"), None);
    }
}
