//! What binds an approval to the content that was approved: a hash of everything but the bookkeeping.
//! In: a document. Out: the hash, or the text with `status: approved` and the hash in it.
//! The hash binds; it never authorises: anyone can write one.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::assemble::Traces;
use super::edit;
use super::frontmatter::{self, Slot};
use super::layout;
use super::source::{line_start, next_line};
use super::write_back::{approval_edits, body_lines, unwritable};
use super::{Document, PrdError, parse};
use crate::core::Status;

/// Keys that a run changes, and that therefore are not part of what was approved.
const BOOKKEEPING: [&str; 3] = ["updated_at", "updated_at_commit", "related_issues"];

/// The PRD approved as it stands: its status set, and the hash of its content written next to it.
///
/// # Errors
/// [`PrdError::Invalid`] where the PRD is written so oddly that the edit would not be read back.
pub fn approve(document: &Document) -> Result<String, PrdError> {
    // The hash of the result is wanted, so the result is made with an empty hash first.
    let draft = approved(document, &"0".repeat(64));
    let sha = parse(&document.name, draft.as_bytes())?.prd.approval.content_sha256;
    let text = approved(document, &sha);
    let prd = parse(&document.name, text.as_bytes())?.prd;
    let bound = prd.approval.approved_sha256.as_deref() == Some(sha.as_str()) && prd.approval.holds();
    if bound && prd.status == Status::Approved { Ok(text) } else { Err(unwritable(document)) }
}

fn approved(document: &Document, sha: &str) -> String {
    edit::apply(&document.source, approval_edits(document, "approved", Some(sha)))
}

/// SHA-256 (hex) of the text without its bookkeeping, byte order mark and carriage returns.
pub(super) fn content_hash(source: &str, traces: &Traces) -> String {
    let mut cuts = bookkeeping(source, traces);
    cuts.push(0..layout::mark_len(source));
    cuts.sort_by_key(|cut| cut.start);
    let mut kept = String::with_capacity(source.len());
    let mut at = 0;
    for cut in cuts {
        kept.push_str(source.get(at..cut.start).unwrap_or(""));
        at = at.max(cut.end);
    }
    kept.push_str(source.get(at..).unwrap_or(""));
    let digest = Sha256::digest(kept.replace("\r\n", "\n").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of the bookkeeping, in both places where it may stand.
fn bookkeeping(source: &str, traces: &Traces) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut in_front = false;
    if let Some(root) = &traces.root {
        let statuses = frontmatter::status_slots(root);
        in_front = !statuses.is_empty();
        let others = BOOKKEEPING.iter().flat_map(|key| frontmatter::bookkeeping_slots(root, key));
        let slots = statuses.into_iter().chain(frontmatter::approval_slots(root)).chain(others);
        cuts.extend(slots.map(|slot| cut_of(source, slot)));
    }
    if !in_front {
        cuts.extend(body_lines(&traces.fields));
    }
    cuts
}

/// A whole line of a block map; a pair with its comma of a map in braces.
fn cut_of(source: &str, slot: Slot<'_>) -> Range<usize> {
    let start = slot.entry.key_span.start;
    let end = slot.entry.node.span.end.max(slot.entry.key_span.end);
    // A block scalar ends behind its last line break.
    let end = start + source.get(start..end).map_or(0, |text| text.trim_end().len());
    if !slot.map.is_flow() {
        return line_start(source, start)..next_line(source, end);
    }
    let rest = source.get(end..).unwrap_or("");
    let comma = rest.trim_start().strip_prefix(',').map(str::trim_start);
    start..comma.map_or(end, |after| source.len() - after.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prd::{Bookkeeping, write_back};

    const BODY: &str = "# T\n\n## Requirements\n\n- FR-1: a\n";

    /// Approves, and checks that the hash holds, survives a run's bookkeeping, and breaks with the content.
    fn check(text: &str, expected_line: &str) {
        for text in [text.to_owned(), text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
            let document = parse("t.md", text.as_bytes()).expect("readable");
            let approved = approve(&document).expect("approved");
            let document = parse("t.md", approved.as_bytes()).expect("readable");
            assert!(document.prd.approval.approved_sha256.is_some() && document.prd.approval.holds(), "{approved}");
            assert!(approved.lines().any(|line| line.trim_end() == expected_line), "{approved}");
            assert_eq!(approve(&document).expect("approved twice"), approved);
            let issues = ["x".to_owned(), "y".to_owned()];
            let run = Bookkeeping {
                status: Some("implementing"),
                updated_at: Some("2026-01-01T00:00:00Z"),
                updated_at_commit: Some("abcdef"),
                related_issues: Some(&issues),
            };
            let running = write_back(&document, &run).expect("written");
            assert!(parse("t.md", running.as_bytes()).expect("readable").prd.approval.holds(), "{running}");
            let changed = approved.replace("FR-1: a", "FR-1: b");
            assert!(!parse("t.md", changed.as_bytes()).expect("readable").prd.approval.holds(), "{changed}");
        }
    }

    #[test]
    fn the_hash_holds_in_every_shape() {
        check(&format!("---\nprd:\n  status: draft\n  x: 1\n---\n{BODY}"), "  status: approved");
        check(&format!("---\nx: 1\nstatus: \"draft\" # c\n---\n{BODY}"), "status: \"approved\" # c");
        check(&format!("---\nstatus:\n---\n{BODY}"), "status: approved");
        check(&format!("---\nx: 1\n---\n{BODY}"), "status: approved");
        check(&format!("---\n---\n{BODY}"), "status: approved");
        check(BODY, "status: approved");
        check("# T\n\n---\nstatus: draft\n---\n\n## Requirements\n\n- FR-1: a\n", "status: approved");
        check("# T\n\n**Status:** Draft\n**Owner:** x\n\n## Requirements\n\n- FR-1: a\n", "**Status:** approved");
        check("# T\n\n- **Status**: Draft\n\n## Requirements\n\n- FR-1: a\n", "- **Status**: approved");
        check("# T\n\n## Status: Draft\n\n## Requirements\n\n- FR-1: a\n", "## Status: approved");
        check("# T\n\n## Status\n\nDraft\n\n## Requirements\n\n- FR-1: a\n", "approved");
        check("# T\n\nStatus: Draft\n\n## Requirements\n\n- FR-1: a\n", "Status: approved");
    }

    #[test]
    fn the_hash_holds_with_bookkeeping_in_every_style() {
        check(
            &format!(
                "---\nprd: {{status: draft, x: 1}}\nmetadata: {{a: 1, updated_at: x}}\nrelated_issues:\n- a\n- b\nz: 1\n---\n{BODY}"
            ),
            "related_issues:",
        );
        check(
            &format!(
                "---\nprd:\n  status: draft\ngit:\n  updated_at_commit: x\nbeads:\n  related_issues:\n    - a\n  z: [1]\n---\n{BODY}"
            ),
            "  status: approved",
        );
        check(&format!("---\n{{status: draft, related_issues: []}}\n---\n{BODY}"), "---");
    }

    #[test]
    fn a_hash_of_another_content_does_not_hold() {
        let sha = "0".repeat(64);
        let text = format!("---\nstatus: approved\napproved_sha256: {sha}\n---\n{BODY}");
        assert!(!parse("t.md", text.as_bytes()).expect("readable").prd.approval.holds());
    }
}
