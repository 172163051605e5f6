//! Bookkeeping written into a PRD as minimal edits: only the bytes of the values change.
//! In: a document and the new values. Out: the new text, read again and found to say what it should.
//! It writes no file: the shell commits the text on the result branch.

use super::edit::{self, Edit, quoted};
use super::frontmatter::{self, Slot};
use super::layout;
use super::source::{line_end, line_start, next_line};
use super::status::{self, Field};
use super::yaml::{Node, Quote, Value};
use super::{Diagnostic, Document, PrdError};

/// What a run writes into its PRD. `status` is added where it is missing; the others change only where they stand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bookkeeping<'a> {
    /// The new status word.
    pub status: Option<&'a str>,
    /// RFC 3339, as the PRD writes it.
    pub updated_at: Option<&'a str>,
    /// A commit in full.
    pub updated_at_commit: Option<&'a str>,
    /// Ids of issues or tasks; the whole list.
    pub related_issues: Option<&'a [String]>,
}

/// The PRD with new bookkeeping.
///
/// # Errors
/// [`PrdError::Invalid`] where the PRD is written so oddly that the edit would not be read back.
pub fn write_back(document: &Document, bookkeeping: &Bookkeeping<'_>) -> Result<String, PrdError> {
    let mut edits = Vec::new();
    if let Some(status) = bookkeeping.status {
        edits.extend(approval_edits(document, status, None));
    }
    let words = [("updated_at", bookkeeping.updated_at), ("updated_at_commit", bookkeeping.updated_at_commit)];
    for (key, value) in words {
        let Some(value) = value else { continue };
        edits.extend(slots(document, key).into_iter().filter_map(|slot| set_word(slot, value)));
    }
    if let Some(issues) = bookkeeping.related_issues {
        let lists = slots(document, "related_issues").into_iter();
        edits.extend(lists.filter_map(|slot| set_list(&document.source, slot, issues)));
    }
    let text = edit::apply(&document.source, edits);
    let again = super::parse(&document.name, text.as_bytes())?;
    match bookkeeping.status {
        Some(status) if again.prd.status_text != status => Err(unwritable(document)),
        _ => Ok(text),
    }
}

/// What is said where an edit cannot be read back.
pub(super) fn unwritable(document: &Document) -> PrdError {
    let message = "the status of this PRD stands in a form that cannot be edited";
    Diagnostic::whole_file(&document.name, message, "write `status: draft` on a line of its own").into()
}

fn slots<'a>(document: &'a Document, key: &str) -> Vec<Slot<'a>> {
    document.traces.root.as_ref().map(|root| frontmatter::bookkeeping_slots(root, key)).unwrap_or_default()
}

/// The edits that set the status, and the hash next to it where one is given.
pub(super) fn approval_edits(document: &Document, status: &str, sha: Option<&str>) -> Vec<Edit> {
    let root = document.traces.root.as_ref();
    let statuses = root.map(frontmatter::status_slots).unwrap_or_default();
    let mut edits: Vec<Edit> = statuses.iter().filter_map(|slot| set_word(*slot, status)).collect();
    let field = document.traces.fields.status.as_ref().filter(|_| statuses.is_empty());
    if let Some(field) = field {
        edits.push(set_field(field, status));
    }
    let (written, missing) = known_hash(document, sha);
    edits.extend(written);
    match (statuses.first(), field) {
        (Some(slot), _) => edits.extend(missing.map(|sha| hash_beside(&document.source, *slot, sha))),
        (None, Some(field)) => edits.extend(missing.map(|sha| hash_below(&document.source, field, sha))),
        (None, None) => edits.push(first_lines(document, status, missing)),
    }
    edits
}

/// Sets the hash where one stands already; else returns it as still missing.
fn known_hash<'a>(document: &Document, sha: Option<&'a str>) -> (Vec<Edit>, Option<&'a str>) {
    let Some(hash) = sha else { return (Vec::new(), None) };
    let slots = document.traces.root.as_ref().map(frontmatter::approval_slots).unwrap_or_default();
    if !slots.is_empty() {
        return (slots.into_iter().filter_map(|slot| set_word(slot, hash)).collect(), None);
    }
    match &document.traces.fields.approved_sha256 {
        Some(field) => (vec![set_field(field, hash)], None),
        None => (Vec::new(), sha),
    }
}

/// Replaces a word of the frontmatter, in its own style.
fn set_word(slot: Slot<'_>, value: &str) -> Option<Edit> {
    let node = &slot.entry.node;
    match &node.value {
        Value::Null => Some(Edit::new(node.span.clone(), after_key(node, &quoted(value, Quote::Plain)))),
        Value::Scalar(old, style) if old != value && *style != Quote::Block => {
            Some(Edit::new(node.span.clone(), quoted(value, *style)))
        }
        _ => None,
    }
}

/// A value in the place of a missing one needs the blank after the colon.
fn after_key(node: &Node, text: &str) -> String {
    if node.span.is_empty() { format!(" {text}") } else { text.to_owned() }
}

fn set_field(field: &Field, value: &str) -> Edit {
    let blank = if field.value.is_empty() { " " } else { "" };
    Edit::new(field.value_span.clone(), format!("{blank}{value}"))
}

/// Replaces a list of the frontmatter, in its own style; an equal list is not touched.
fn set_list(source: &str, slot: Slot<'_>, values: &[String]) -> Option<Edit> {
    let node = &slot.entry.node;
    let old: Vec<&str> = node.items().iter().filter_map(Node::text).collect();
    if !old.is_empty() && old == values {
        return None;
    }
    let style = node.items().first().map_or(Quote::Plain, style_of);
    let words: Vec<String> = values.iter().map(|value| quoted(value, style)).collect();
    let flow = format!("[{}]", words.join(", "));
    match &node.value {
        Value::List { items, flow: false } => block_list(source, slot, items, &words),
        Value::List { .. } | Value::Scalar(..) | Value::Null => {
            Some(Edit::new(node.span.clone(), after_key(node, &flow)))
        }
        Value::Map { .. } => None,
    }
}

fn style_of(node: &Node) -> Quote {
    if let Value::Scalar(_, style) = node.value { style } else { Quote::Plain }
}

/// A list with a dash for each item, indented as it was.
fn block_list(source: &str, slot: Slot<'_>, items: &[Node], words: &[String]) -> Option<Edit> {
    let dash = source.get(..items.first()?.span.start)?.rfind('-')?;
    let end = items.last()?.span.end;
    if words.is_empty() {
        let colon = slot.entry.key_span.end + source.get(slot.entry.key_span.end..)?.find(':')? + 1;
        return Some(Edit::new(colon..end, " []"));
    }
    let indent = source.get(line_start(source, dash)..dash)?;
    let gap = format!("{}{indent}- ", line_end(source));
    Some(Edit::new(dash..end, format!("- {}", words.join(&gap))))
}

/// The hash as a key next to the status, in the same style.
fn hash_beside(source: &str, slot: Slot<'_>, sha: &str) -> Edit {
    let entry = slot.entry;
    let style = style_of(&entry.node);
    let name = if source.get(entry.key_span.clone()).is_some_and(|key| key.starts_with('"')) {
        "\"approved_sha256\""
    } else {
        "approved_sha256"
    };
    let pair = format!("{name}: {}", quoted(sha, style));
    if slot.map.is_flow() {
        return Edit::insert(entry.node.span.end, format!(", {pair}"));
    }
    let start = line_start(source, entry.key_span.start);
    let indent = source.get(start..entry.key_span.start).unwrap_or("");
    Edit::insert(next_line(source, entry.node.span.end), format!("{indent}{pair}{}", line_end(source)))
}

/// The hash as a line of the body below the status, in the same style.
fn hash_below(source: &str, field: &Field, sha: &str) -> Edit {
    let line = source.get(field.line_span.clone()).unwrap_or("");
    let end = line_end(source);
    let start = field.line_span.start;
    let own_line = field.name_span.start < start || line.trim_start().starts_with('#');
    let text = if own_line {
        format!("**Approved-SHA256:** {sha}")
    } else {
        let prefix = source.get(start..field.name_span.start).unwrap_or("");
        let between = source.get(field.name_span.end..field.value_span.start).unwrap_or(": ");
        let blank = if field.value.is_empty() { " " } else { "" };
        let rest = source.get(field.value_span.end..field.line_span.end).unwrap_or("");
        let marks = rest.trim_end_matches(['\n', '\r']);
        let marks = if marks.trim_matches(['*', '_', '`', ' ']).is_empty() { marks } else { "" };
        format!("{prefix}Approved-SHA256{between}{blank}{sha}{marks}")
    };
    let text = if line.ends_with('\n') { format!("{text}{end}") } else { format!("{end}{text}") };
    Edit::insert(field.line_span.end, text)
}

/// The status as the first key of the frontmatter, or in a new frontmatter where there is none.
fn first_lines(document: &Document, status: &str, sha: Option<&str>) -> Edit {
    let source = document.source.as_str();
    let end = line_end(source);
    let pairs: Vec<String> = [("status", Some(status)), ("approved_sha256", sha)]
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| format!("{key}: {}", quoted(value, Quote::Plain))))
        .collect();
    let (Some(front), Some(root)) = (&document.traces.layout.front, &document.traces.root) else {
        let lines = pairs.join(end);
        return Edit::insert(layout::mark_len(source), format!("---{end}{lines}{end}---{end}{end}"));
    };
    match root.entries().first() {
        Some(first) if root.is_flow() => Edit::insert(first.key_span.start, format!("{}, ", pairs.join(", "))),
        Some(first) => {
            let start = line_start(source, first.key_span.start);
            let indent = source.get(start..first.key_span.start).unwrap_or("");
            Edit::insert(start, pairs.iter().map(|pair| format!("{indent}{pair}{end}")).collect::<String>())
        }
        None if root.is_flow() => Edit::new(root.span.clone(), format!("{{{}}}", pairs.join(", "))),
        None => Edit::insert(front.inner.start, format!("{}{end}", pairs.join(end))),
    }
}

/// The lines of the body's bookkeeping, for the hash of the content.
pub(super) fn body_lines(fields: &status::BodyFields) -> impl Iterator<Item = std::ops::Range<usize>> {
    [&fields.status, &fields.approved_sha256].into_iter().flatten().map(|field| field.line_span.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prd::parse;

    const BODY: &str = "# T\n\n## Requirements\n\n- FR-1: a\n";

    fn check(text: &str, bookkeeping: &Bookkeeping<'_>, expected: &str) {
        for (text, expected) in [(text.to_owned(), expected.to_owned()), windows(text, expected)] {
            let document = parse("t.md", text.as_bytes()).expect("readable");
            assert_eq!(write_back(&document, bookkeeping).expect("written"), expected);
        }
    }

    fn windows(text: &str, expected: &str) -> (String, String) {
        (format!("\u{feff}{}", text.replace('\n', "\r\n")), format!("\u{feff}{}", expected.replace('\n', "\r\n")))
    }

    fn status(word: &str) -> Bookkeeping<'_> {
        Bookkeeping { status: Some(word), ..Bookkeeping::default() }
    }

    #[test]
    fn only_the_value_changes() {
        let front = |status: &str| format!("---\n# c\nx: [1,  2]\nprd: {{status: {status}, y: 1}}  # c\n---\n{BODY}");
        check(&front("approved"), &status("implementing"), &front("implementing"));
        check(&front("'approved'"), &status("implementing"), &front("'implementing'"));
        let front = |status: &str| format!("---\nprd:\n    status:   {status}   # why\n    z: ü\n---\n{BODY}");
        check(&front("\"approved\""), &status("implemented"), &front("\"implemented\""));
        let below = |status: &str| format!("# T\n\n---\nstatus: {status}\n---\n\n## Requirements\n\n- FR-1: a\n");
        check(&below("approved"), &status("implementing"), &below("implementing"));
    }

    #[test]
    fn a_status_of_the_body_changes_by_its_word() {
        let body =
            |status: &str| format!("# T\n\n- **Status**: {status}  \n- **Owner**: x\n\n## Requirements\n\n- FR-1: a\n");
        check(&body("Approved"), &status("implementing"), &body("implementing"));
        let body = |status: &str| format!("# T\n\n## Status: {status}\n\n## Requirements\n\n- FR-1: a\n");
        check(&body("Approved"), &status("implementing"), &body("implementing"));
    }

    #[test]
    fn a_missing_status_is_added_and_other_keys_are_not() {
        let all = Bookkeeping { updated_at: Some("x"), updated_at_commit: Some("y"), ..status("implementing") };
        check(BODY, &all, &format!("---\nstatus: implementing\n---\n\n{BODY}"));
        check(&format!("---\nx: 1\n---\n{BODY}"), &all, &format!("---\nstatus: implementing\nx: 1\n---\n{BODY}"));
        check(&format!("---\n---\n{BODY}"), &all, &format!("---\nstatus: implementing\n---\n{BODY}"));
        check(
            &format!("---\nstatus:\nx: 1\n---\n{BODY}"),
            &all,
            &format!("---\nstatus: implementing\nx: 1\n---\n{BODY}"),
        );
    }

    #[test]
    fn dates_commits_and_issues_change_where_they_stand() {
        let front = |at: &str, commit: &str, issues: &str| {
            format!(
                "---\nstatus: approved\nmetadata:\n  updated_at: {at}\ngit:\n  updated_at_commit: {commit} # c\nbeads:\n  related_issues: {issues}\n  z: 1\n---\n{BODY}"
            )
        };
        let issues = ["a-1".to_owned(), "a-2".to_owned()];
        let all = Bookkeeping {
            status: None,
            updated_at: Some("2026-01-02T03:04:05Z"),
            updated_at_commit: Some("abc"),
            related_issues: Some(&issues),
        };
        check(
            &front("old", "", "[]"),
            &all,
            &front("2026-01-02T03:04:05Z", " abc", "[a-1, a-2]").replace("commit:  abc", "commit: abc "),
        );
        let list = "\n    - 'x'\n    # c\n    - 'y'";
        check(&front("'o'", "x", list), &all, &front("'2026-01-02T03:04:05Z'", "abc", "\n    - 'a-1'\n    - 'a-2'"));
        let none = Bookkeeping { related_issues: Some(&[]), ..Bookkeeping::default() };
        check(&front("o", "x", list), &none, &front("o", "x", "[]"));
    }
}
