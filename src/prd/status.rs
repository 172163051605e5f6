//! The status of a PRD: its words, and the lines of the body that carry it where the frontmatter does not.
//! In: a word, or the body up to its first requirement. Out: `Status`, and fields with their bytes.
//! A value counts only as a whole: `approved (pending legal)` is not approved.

use std::ops::Range;

use crate::core::Status;

use super::source::{lines, next_line};

/// Reads a status word, in any case.
pub(super) fn status_of(word: &str) -> Status {
    match word.trim().to_ascii_lowercase().replace(['_', '-'], " ").as_str() {
        "draft" => Status::Draft,
        "approved" => Status::Approved,
        "implementing" | "in progress" => Status::Implementing,
        "implemented" | "completed" | "done" => Status::Implemented,
        _ => Status::Other,
    }
}

/// A line `name: value` of Markdown, whatever marks stand around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) value: String,
    pub(super) name_span: Range<usize>,
    pub(super) value_span: Range<usize>,
    /// The whole line, its end included; this goes when the approval is hashed.
    pub(super) line_span: Range<usize>,
}

/// The fields that the body of a PRD may carry before its requirements.
#[derive(Clone, Debug, Default)]
pub(super) struct BodyFields {
    pub(super) status: Option<Field>,
    pub(super) approved_sha256: Option<Field>,
    pub(super) priority: Option<Field>,
}

/// Looks for the fields in the body before an offset; the first of each kind counts.
pub(super) fn body_fields(body: &str, until: usize) -> BodyFields {
    let mut fields = BodyFields::default();
    let mut fenced = false;
    let mut commented = false;
    for (at, line) in lines(body, 0).take_while(|(at, _)| *at < until) {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            fenced = !fenced;
        }
        let opens = line.rfind("<!--");
        let closes = line.rfind("-->");
        let in_comment = commented;
        commented = match (opens, closes) {
            (Some(opens), Some(closes)) => opens > closes,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => commented,
        };
        // What a reader of the rendered page does not see, or sees as code, approves nothing.
        let is_code = line.starts_with("    ") || line.starts_with('\t');
        if fenced || in_comment || is_code {
            continue;
        }
        let field = |name| named(line, name).map(|(name, value)| placed(body, at, line, name, value));
        fields.status = fields.status.or_else(|| field("status")).or_else(|| below_heading(body, at, line));
        fields.approved_sha256 = fields.approved_sha256.or_else(|| field("approved-sha256"));
        fields.priority = fields.priority.or_else(|| field("priority"));
    }
    fields
}

/// Splits `**Name:** value` and its relatives; the ranges are those of the bare name and of the bare value.
pub(super) fn named(line: &str, name: &str) -> Option<(Range<usize>, Range<usize>)> {
    let body = line.trim_start_matches([' ', '\t', '>', '#', '*', '-', '+', '_']);
    let start = line.len() - body.len();
    let (before, after) = body.split_once(':')?;
    let bare = before.trim_end_matches(['*', '_', ' ', '\t']);
    if !bare.eq_ignore_ascii_case(name) {
        return None;
    }
    let value_at = start + before.len() + 1;
    let visible = after.split("<!--").next().unwrap_or("");
    let value = visible.trim_start_matches(BARE);
    let from = value_at + visible.len() - value.len();
    Some((start..start + bare.len(), from..from + value.trim_end_matches(BARE).len()))
}

/// What may stand around a value without being part of it.
const BARE: [char; 5] = [' ', '\t', '*', '_', '`'];

/// The form with `## Status` as a heading and the word on a line of its own below.
fn below_heading(body: &str, at: usize, line: &str) -> Option<Field> {
    let name = line.trim_start_matches('#').trim();
    if !line.starts_with('#') || !name.eq_ignore_ascii_case("status") {
        return None;
    }
    let (value_at, text) = lines(body, next_line(body, at)).find(|(_, line)| !line.trim().is_empty())?;
    if text.trim_start().starts_with(['#', '-', '|', '`', '<']) {
        return None;
    }
    let value = text.trim_start_matches(BARE);
    let from = text.len() - value.len();
    let name_at = line.len() - line.trim_start_matches(['#', ' ', '\t']).len();
    let mut field = placed(body, value_at, text, 0..0, from..from + value.trim_end_matches(BARE).len());
    field.name_span = at + name_at..at + name_at + name.len();
    Some(field)
}

fn placed(body: &str, at: usize, line: &str, name: Range<usize>, value: Range<usize>) -> Field {
    Field {
        value: line.get(value.clone()).unwrap_or("").to_owned(),
        name_span: at + name.start..at + name.end,
        value_span: at + value.start..at + value.end,
        line_span: at..next_line(body, at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<&str>) {
        let body = format!("# Title\n\n{line}\n\ntext\n");
        let status = body_fields(&body, body.len()).status;
        assert_eq!(status.as_ref().map(|field| field.value.as_str()), expected, "{line:?}");
        if let Some(field) = status {
            assert_eq!(body.get(field.value_span.clone()), Some(field.value.as_str()));
        }
    }

    #[test]
    fn the_status_is_found_in_the_forms_people_write() {
        check("## Status: Approved", Some("Approved"));
        check("**Status:** Completed", Some("Completed"));
        check("- **Status**: draft  ", Some("draft"));
        check("> **Status: approved**", Some("approved"));
        check("Status: in_progress", Some("in_progress"));
        check("**Status:** `approved` <!-- c -->", Some("approved"));
        check("## Status\n\n**Approved**", Some("Approved"));
        check("**Status:**", Some(""));
    }

    #[test]
    fn other_lines_carry_no_status() {
        check("The status: unknown", None);
        check("```\nStatus: approved\n```", None);
        check("Statusbar: x", None);
    }

    #[test]
    fn a_field_after_the_limit_does_not_count() {
        let body = "# T\n\n## Requirements\n\nStatus: approved\n";
        assert!(body_fields(body, 5).status.is_none());
    }

    #[test]
    fn only_whole_words_are_a_status() {
        let read: Vec<Status> = ["Approved", "IN PROGRESS", "done", "approved-ish", "approved (not yet)", ""]
            .into_iter()
            .map(status_of)
            .collect();
        let expected =
            [Status::Approved, Status::Implementing, Status::Implemented, Status::Other, Status::Other, Status::Other];
        assert_eq!(read, expected);
    }
}
