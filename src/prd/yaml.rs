//! The YAML of a frontmatter as a tree in which every key and value knows its bytes.
//! In: the text and the range of its frontmatter. Out: nodes with byte ranges of the whole text.
//! Values stay text: `no` is not a boolean here and `1.10` keeps its zero. Anchors, aliases, tags, merge keys,
//! directives and deep nesting are refused, so that what is read is what a person sees, at a bounded cost.

use std::collections::HashSet;
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StructureStyle};

use super::problem::Problem;
use super::source::lines;

/// The deepest frontmatter seen in the field nests 4 levels.
const MAX_DEPTH: usize = 16;
const MAX_NODES: usize = 50_000;

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    Plain,
    Single,
    Double,
    /// `|` or `>`.
    Block,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    /// Its bytes; for a missing value the place where it would stand.
    pub(super) span: Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Scalar(String, Quote),
    List { items: Vec<Node>, flow: bool },
    Map { entries: Vec<Entry>, flow: bool },
}

/// One key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) node: Node,
}

impl Node {
    /// The value of a key, whose letters may be of either case.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        let entries = self.entries();
        let exact = entries.iter().find(|entry| entry.key == key);
        exact.or_else(|| entries.iter().find(|entry| entry.key.eq_ignore_ascii_case(key)))
    }

    pub(super) fn entries(&self) -> &[Entry] {
        if let Value::Map { entries, .. } = &self.value { entries } else { &[] }
    }

    pub(super) fn items(&self) -> &[Node] {
        if let Value::List { items, .. } = &self.value { items } else { &[] }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Value::Scalar(text, _) = &self.value { Some(text) } else { None }
    }

    pub(super) fn is_flow(&self) -> bool {
        matches!(self.value, Value::Map { flow: true, .. } | Value::List { flow: true, .. })
    }
}

/// Reads the YAML in a range of the text; the outermost value is always a map.
pub(super) fn parse(source: &str, inner: &Range<usize>) -> Result<Node, Problem> {
    let text = source.get(inner.clone()).unwrap_or("");
    refuse_tabs(text, inner.start)?;
    let options = serde_saphyr::granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let events = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader { source, events, base: inner.start, end: inner.end, nodes_left: MAX_NODES };
    reader.document()
}

/// YAML forbids tabs in indentation, and parsers differ in where they notice.
fn refuse_tabs(text: &str, base: usize) -> Result<(), Problem> {
    for (at, line) in lines(text, 0) {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let tab = line.get(..indent).and_then(|blanks| blanks.find('\t'));
        if let Some(tab) = tab.filter(|_| indent < line.len()) {
            let help = "indent the frontmatter with spaces";
            return Err(Problem::new(base + at + tab, "a tab indents this line", help));
        }
    }
    Ok(())
}

struct Reader<'a, I> {
    source: &'a str,
    events: I,
    base: usize,
    end: usize,
    nodes_left: usize,
}

impl<'a, I> Reader<'a, I>
where
    I: Iterator<Item = Result<(Event<'a>, Span), ScanError>>,
{
    fn document(&mut self) -> Result<Node, Problem> {
        let mut root: Option<Node> = None;
        loop {
            let (event, span) = self.advance()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_none() => {}
                Event::StreamEnd => return self.root(root),
                other if root.is_none() => root = Some(self.node(other, span, 1)?),
                _ => {
                    let help = "a PRD has one frontmatter with one YAML document in it";
                    return Err(Problem::new(span.start, "a second YAML document starts here", help));
                }
            }
        }
    }

    fn root(&self, root: Option<Node>) -> Result<Node, Problem> {
        let empty = Value::Map { entries: Vec::new(), flow: false };
        let Some(root) = root else { return Ok(Node { value: empty, span: self.base..self.base }) };
        match root.value {
            Value::Map { .. } => Ok(root),
            Value::Null => Ok(Node { value: empty, span: self.base..self.base }),
            _ => {
                let help = "write `key: value` lines between the two `---` lines";
                Err(Problem::new(root.span.start, "the frontmatter holds no keys", help))
            }
        }
    }

    /// The next event with its bytes in the whole text.
    fn advance(&mut self) -> Result<(Event<'a>, Range<usize>), Problem> {
        match self.events.next() {
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                let range = range.start + self.base..range.end + self.base;
                let tag = span.tag_start().and_then(|mark| mark.byte_offset()).map(|at| at + self.base);
                refuse_references(&event, &range, tag)?;
                Ok((event, range))
            }
            Some(Err(error)) => Err(self.broken(&error)),
            None => Err(Problem::new(self.end, "the frontmatter ends too early", "complete its YAML")),
        }
    }

    fn broken(&self, error: &ScanError) -> Problem {
        let offset = error.marker().byte_offset().unwrap_or(0);
        let info = error.info();
        let reason = info.lines().next().filter(|line| !line.is_empty()).unwrap_or("it cannot be read");
        let message = format!("the YAML of the frontmatter is broken: {reason}");
        Problem::new((self.base + offset).min(self.end), message, "correct the YAML here or just above")
    }

    fn node(&mut self, event: Event<'a>, span: Range<usize>, depth: usize) -> Result<Node, Problem> {
        self.nodes_left = self.nodes_left.saturating_sub(1);
        if depth > MAX_DEPTH || self.nodes_left == 0 {
            let message = format!("the frontmatter nests deeper than {MAX_DEPTH} levels, or has too many values");
            return Err(Problem::new(span.start, message, "make it simpler"));
        }
        match event {
            Event::Scalar(text, style, ..) => Ok(scalar(&text, style, span)),
            Event::SequenceStart(style, ..) => self.list(style == StructureStyle::Flow, &span, depth),
            Event::MappingStart(style, ..) => self.map(style == StructureStyle::Flow, &span, depth),
            _ => Err(Problem::new(span.start, "a value is missing here", "write one")),
        }
    }

    fn list(&mut self, flow: bool, start: &Range<usize>, depth: usize) -> Result<Node, Problem> {
        let mut items: Vec<Node> = Vec::new();
        loop {
            let last = items.last().map_or(start.end, |item| item.span.end);
            let (event, span) = self.advance()?;
            if matches!(event, Event::SequenceEnd) {
                let end = if flow { span.end } else { last };
                return Ok(Node { value: Value::List { items, flow }, span: start.start..end });
            }
            let mut item = self.node(event, span, depth + 1)?;
            if matches!(item.value, Value::Null) {
                item.span = last..last;
            }
            items.push(item);
        }
    }

    fn map(&mut self, flow: bool, start: &Range<usize>, depth: usize) -> Result<Node, Problem> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashSet::new();
        loop {
            let (event, key_span) = self.advance()?;
            if matches!(event, Event::MappingEnd) {
                let last = entries.last().map_or(start.end, |entry| entry.node.span.end);
                let end = if flow { key_span.end } else { last };
                return Ok(Node { value: Value::Map { entries, flow }, span: start.start..end });
            }
            let key = key_of(event, key_span.start)?;
            if !seen.insert(key.clone()) {
                let message = format!("the key `{key}` stands here a second time");
                return Err(Problem::new(key_span.start, message, "keep one of the two"));
            }
            let (event, span) = self.advance()?;
            let mut node = self.node(event, span, depth + 1)?;
            if matches!(node.value, Value::Null) && node.span.is_empty() {
                let at = after_colon(self.source, key_span.end);
                node.span = at..at;
            }
            entries.push(Entry { key, key_span, node });
        }
    }
}

/// Refuses what makes YAML mean something else than it shows.
fn refuse_references(event: &Event<'_>, span: &Range<usize>, tag_at: Option<usize>) -> Result<(), Problem> {
    let (anchor, tag) = match event {
        Event::Alias(_) => (1, false),
        Event::Scalar(_, _, anchor, tag)
        | Event::SequenceStart(_, anchor, tag)
        | Event::MappingStart(_, anchor, tag) => (*anchor, tag.is_some()),
        _ => (0, false),
    };
    if anchor != 0 {
        let message = "anchors and aliases (`&name`, `*name`) are not accepted in a PRD";
        return Err(Problem::new(span.start, message, "write the value out"));
    }
    if tag {
        let message = "tags (`!name`, `!!name`) are not accepted in a PRD";
        return Err(Problem::new(tag_at.unwrap_or(span.start), message, "remove the tag"));
    }
    Ok(())
}

fn key_of(event: Event<'_>, at: usize) -> Result<String, Problem> {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
            let message = "merge keys (`<<`) are not accepted in a PRD";
            Err(Problem::new(at, message, "write the keys out"))
        }
        Event::Scalar(text, ..) => Ok(text.into_owned()),
        _ => Err(Problem::new(at, "a key has to be plain text", "write `key: value`")),
    }
}

fn scalar(text: &str, style: ScalarStyle, span: Range<usize>) -> Node {
    let quote = match style {
        ScalarStyle::Plain => Quote::Plain,
        ScalarStyle::SingleQuoted => Quote::Single,
        ScalarStyle::DoubleQuoted => Quote::Double,
        ScalarStyle::Literal | ScalarStyle::Folded => Quote::Block,
    };
    let null = quote == Quote::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    let value = if null { Value::Null } else { Value::Scalar(text.to_owned(), quote) };
    Node { value, span }
}

/// Where the value of a key would stand.
fn after_colon(source: &str, key_end: usize) -> usize {
    let rest = source.get(key_end..).unwrap_or("");
    let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    let colon = rest.get(blanks..).is_some_and(|text| text.starts_with(':'));
    if colon { key_end + blanks + 1 } else { key_end }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(yaml: &str) -> Node {
        parse(yaml, &(0..yaml.len())).expect("readable")
    }

    fn check_refused(yaml: &str, expected: &str) {
        let problem = parse(yaml, &(0..yaml.len())).expect_err(yaml);
        let shown = format!("{problem:?}");
        assert!(shown.contains(expected), "{shown}");
    }

    #[test]
    fn values_know_their_bytes() {
        let yaml = "# c\nprd: {status: \"appröved\", x: 1} # c\nlist:\n  - a\n  - 'b'\nempty:   # none\n";
        let root = tree(yaml);
        let status = root.get("prd").and_then(|prd| prd.node.get("Status")).expect("status");
        assert_eq!(yaml.get(status.node.span.clone()), Some("\"appröved\""));
        let list = root.get("list").expect("list");
        assert_eq!(yaml.get(list.node.span.clone()), Some("- a\n  - 'b'"));
        let empty = root.get("empty").expect("empty");
        assert_eq!(yaml.get(..empty.node.span.start).map(|text| text.ends_with("empty:")), Some(true));
    }

    #[test]
    fn values_stay_text() {
        let root = tree("a: no\nb: 1.10\nc: 233-280\nd: true\n");
        let texts: Vec<_> = root.entries().iter().filter_map(|entry| entry.node.text()).collect();
        assert_eq!(texts, ["no", "1.10", "233-280", "true"]);
    }

    #[test]
    fn what_hides_its_meaning_is_refused() {
        check_refused("a: &x 1\nb: *x\n", "anchors");
        check_refused("a: !!str 1\n", "tags");
        check_refused("a:\n  <<: {b: 1}\n", "merge keys");
        check_refused("a: 1\na: 2\n", "second time");
        check_refused("a:\n\tb: 1\n", "tab");
        check_refused("- a\n", "holds no keys");
        check_refused("a: [1\n", "broken");
        check_refused("a: 1\n...\nb: 2\n", "");
        check_refused("%YAML 1.2\n", "");
    }

    #[test]
    fn bombs_are_refused_at_once() {
        let aliases: String = (1..10).map(|n| format!("a{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1)).collect();
        check_refused(&format!("a0: &a0 [x, x]\n{aliases}"), "anchors");
        check_refused(&format!("a: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)), "");
        let deep: String = (0..10_000).map(|n| format!("{}a:\n", " ".repeat(n % 300))).collect();
        assert!(parse(&deep, &(0..deep.len())).is_err());
    }

    #[test]
    fn an_empty_frontmatter_has_no_keys() {
        assert!(tree("").entries().is_empty());
        assert!(tree("# only a comment\n").entries().is_empty());
    }
}
