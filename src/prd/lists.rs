//! List items with what is nested in them, and the bold line that introduces a list (`**Remove:**`).
//! In: the body. Out: entries as the requirement and criteria readers want them.

use super::markdown::{self, Kind};
use super::outline::Body;

/// One item of a list, or one line of a paragraph that is written like a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its block.
    pub(super) block: usize,
    pub(super) at: usize,
    pub(super) text: String,
    pub(super) checkbox: bool,
    /// Items below it, each with how deep below it they are (1 or more).
    pub(super) nested: Vec<(usize, String)>,
}

impl Entry {
    /// Its text with the nested items as indented lines.
    pub(super) fn with_nested(&self, text: &str) -> String {
        let mut all = text.to_owned();
        for (depth, nested) in &self.nested {
            all.push('\n');
            all.push_str(&"  ".repeat(*depth));
            all.push_str("- ");
            all.push_str(nested);
        }
        all
    }
}

/// A list whose items stand directly in a section.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) section: usize,
    /// Byte offset of its first item.
    pub(super) at: usize,
    pub(super) entries: Vec<Entry>,
    /// The bold line right above it, without its colon.
    pub(super) label: Option<String>,
}

/// All outermost lists, in order.
pub(super) fn outermost(body: &Body<'_>) -> Vec<List> {
    let mut lists: Vec<(usize, List)> = Vec::new();
    for (at, block, item) in body.items() {
        if item.depth == 1 && lists.last().is_none_or(|(number, _)| *number != item.list) {
            let label = label_above(body, at);
            lists.push((item.list, List { section: block.section, at: block.span.start, entries: Vec::new(), label }));
        }
        if let Some((_, list)) = lists.last_mut() {
            add(body, &mut list.entries, at, 1);
        }
    }
    lists.into_iter().map(|(_, list)| list).collect()
}

/// The items nested in an item, as entries of their own.
pub(super) fn children(body: &Body<'_>, parent: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let Some(outer) = body.blocks.get(parent) else { return entries };
    let Kind::Item(item) = outer.kind else { return entries };
    let inside = body.blocks.iter().enumerate().skip(parent + 1);
    for (at, _) in inside.take_while(|(_, block)| block.span.start < outer.span.end) {
        add(body, &mut entries, at, item.depth + 1);
    }
    entries
}

/// Adds an item: as an entry at the base depth, as a nested line below it.
fn add(body: &Body<'_>, entries: &mut Vec<Entry>, at: usize, base: usize) {
    let Some(block) = body.blocks.get(at) else { return };
    let Kind::Item(item) = block.kind else { return };
    let text = body.line_of(block);
    if item.depth > base {
        if let Some(last) = entries.last_mut() {
            last.nested.push((item.depth - base, text));
        }
        return;
    }
    entries.push(Entry {
        block: at,
        at: block.span.start,
        text,
        checkbox: item.checkbox.is_some(),
        nested: Vec::new(),
    });
}

/// The bold paragraph right above a block.
fn label_above(body: &Body<'_>, at: usize) -> Option<String> {
    let block = body.blocks.get(at.checked_sub(1)?)?;
    if !matches!(block.kind, Kind::Paragraph) || block.in_item {
        return None;
    }
    let line = body.line_of(block);
    markdown::all_bold(&line).map(|label| label.trim_end_matches(':').trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_kept_apart_and_know_their_label() {
        let body = Body::new("## Scope\n\n**Add:**\n- a\n  - b\n    - c\n- d\n\n**Remove**:\n1. e\n");
        let lists = outermost(&body);
        let labels: Vec<_> = lists.iter().map(|list| list.label.as_deref()).collect();
        assert_eq!(labels, [Some("Add"), Some("Remove")]);
        let first = lists.first().and_then(|list| list.entries.first()).expect("an entry");
        assert_eq!(first.with_nested(&first.text), "a\n  - b\n    - c");
        assert_eq!(lists.iter().map(|list| list.entries.len()).sum::<usize>(), 3);
    }

    #[test]
    fn nested_items_are_the_entries_of_their_parent() {
        let body = Body::new("- a\n  - b\n    - c\n  - d\n- e\n");
        let texts: Vec<String> = children(&body, 0).iter().map(|entry| entry.with_nested(&entry.text)).collect();
        assert_eq!(texts, ["b\n  - c", "d"]);
    }
}
