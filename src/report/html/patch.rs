//! Patches of attempts. A report is a function of the journal and of files whose hash stands in it: a patch is shown
//! only where its bytes are those that the journal names. What is shown is bounded, one by one and in all.

use sha2::{Digest, Sha256};

use super::super::model_work::AttemptReport;
use super::ReadFile;
use super::markup::{Markup, aside, details};
use crate::text::html_text;

/// Most lines and bytes that are shown of one patch.
const MAX_LINES: usize = 400;
const MAX_BYTES: usize = 40_000;

/// Patches for the whole page.
pub(super) struct Patches<'a> {
    read: ReadFile<'a>,
    /// Bytes of markup that may still be shown.
    room: usize,
    /// Bytes that may still be read, so that a page over many large patches is made in bounded time.
    readable: usize,
}

impl<'a> Patches<'a> {
    pub(super) fn new(read: ReadFile<'a>, room: usize) -> Self {
        Self { read, room, readable: 64 << 20 }
    }

    /// The patch of an attempt; nothing where the journal names none.
    pub(super) fn of(&mut self, task: &str, attempt: &AttemptReport) -> Markup {
        let Some(hash) = &attempt.patch_sha256 else { return Markup::default() };
        let place = format!("tasks/{task}/attempt-{}/changes.patch", attempt.n);
        let elsewhere = |why: &str| {
            let place = html_text(&place);
            aside(format!("{why} <code>{place}</code> in the session's directory has it."))
        };
        if self.room == 0 || self.readable == 0 {
            return elsewhere("The diff has no room in this page:");
        }
        let Some(bytes) = (self.read)(&place) else {
            return aside("The diff is not at hand: its file could not be read.");
        };
        self.readable = self.readable.saturating_sub(bytes.len());
        if format!("{:x}", Sha256::digest(&bytes)) != *hash {
            return aside("The diff is left out: its file is not the one that the journal names.");
        }
        let diff = diff(&String::from_utf8_lossy(&bytes));
        if diff.markup.len() > self.room {
            self.room = 0;
            return elsewhere("The diff has no room in this page:");
        }
        self.room -= diff.markup.len();
        let more = if diff.lines_left > 0 {
            elsewhere(&format!("{} more lines are left out;", diff.lines_left))
        } else {
            Markup::default()
        };
        details(false, &Markup::raw("Diff"), &[diff.markup, more].into_iter().collect())
    }
}

struct Diff {
    markup: Markup,
    lines_left: usize,
}

/// What a line of a patch is, as a class; lines next to each other share one element.
fn kind(line: &str) -> &'static str {
    match line.as_bytes() {
        [b'+', ..] => "add",
        [b'-', ..] => "del",
        [b'@', ..] => "hunk",
        [b' ' | b'\\', ..] | [] => "",
        _ => "meta",
    }
}

/// A patch as markup. `+++` and `---` follow a line that begins with a letter, so they belong to it.
fn diff(patch: &str) -> Diff {
    let mut markup = String::from("<pre class=\"diff\">");
    let (mut open, mut shown, mut bytes, mut in_head) = ("", 0, 0, false);
    let all = patch.lines().count();
    for line in patch.lines().take(MAX_LINES) {
        bytes += line.len() + 1;
        if bytes > MAX_BYTES {
            break;
        }
        let class = match kind(line) {
            "meta" => "meta",
            "add" | "del" if in_head => "meta",
            other => other,
        };
        in_head = class == "meta";
        if class != open {
            close(&mut markup, open);
            if !class.is_empty() {
                markup.push_str(&format!("<span class=\"{class}\">"));
            }
            open = class;
        }
        markup.push_str(&html_text(line));
        markup.push('\n');
        shown += 1;
    }
    close(&mut markup, open);
    markup.push_str("</pre>\n");
    Diff { markup: Markup::raw(markup), lines_left: all - shown }
}

fn close(markup: &mut String, open: &str) {
    if !open.is_empty() {
        markup.push_str("</span>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::html::testing_attempt;

    const PATCH: &str = "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-<old>\n+new\n same\n";

    fn shown(read: ReadFile<'_>, hash: &str, room: usize) -> String {
        let attempt = AttemptReport { patch_sha256: Some(hash.to_owned()), ..testing_attempt() };
        Patches::new(read, room).of("T-001", &attempt).to_string()
    }

    #[test]
    fn a_patch_is_shown_where_the_journal_names_its_bytes() {
        let read = |path: &str| (path == "tasks/T-001/attempt-1/changes.patch").then(|| PATCH.as_bytes().to_vec());
        let hash = format!("{:x}", Sha256::digest(PATCH));
        let markup = shown(&read, &hash, 10_000);
        assert!(
            markup.contains("<span class=\"del\">-&lt;old&gt;\n</span><span class=\"add\">+new\n</span> same\n"),
            "{markup}"
        );
        assert!(
            markup.contains("<span class=\"meta\">diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n</span>")
        );
        assert!(shown(&read, &hash, 10).contains("no room"), "a full page takes no more");
    }

    #[test]
    fn other_bytes_are_not_shown_and_neither_is_what_cannot_be_read() {
        let other = |_: &str| Some(b"+planted\n".to_vec());
        let hash = format!("{:x}", Sha256::digest(PATCH));
        assert!(shown(&other, &hash, 10_000).contains("is not the one that the journal names"));
        assert!(!shown(&other, &hash, 10_000).contains("planted"));
        assert!(shown(&|_| None, &hash, 10_000).contains("could not be read"));
    }

    #[test]
    fn a_long_patch_is_cut_and_says_so() {
        let long = "+x\n".repeat(MAX_LINES + 7);
        assert_eq!(diff(&long).lines_left, 7);
        let wide = format!("+{}\n", "y".repeat(MAX_BYTES));
        assert_eq!(diff(&wide).lines_left, 1);
    }
}
