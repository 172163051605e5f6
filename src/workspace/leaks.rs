//! Secrets in what an attempt adds. A patch flows in; the lines that hold one flow out. Of a line only its
//! place is told.

use crate::core::LeakedLine;
use crate::text::{Found, Redactor};

/// Lines that are listed. Those with a value that is known come first.
const LISTED_LINES: usize = 100;

/// The added lines of a patch that hold secrets.
pub(super) fn of_patch(redactor: &Redactor, patch: &[u8]) -> Vec<LeakedLine> {
    // Most patches hold none at all.
    if redactor.find(patch).is_none() {
        return Vec::new();
    }
    let (mut file, mut line, mut left) = (String::new(), 0_u32, Hunk::default());
    let mut found = Vec::new();
    for text in patch.split(|byte| *byte == b'\n') {
        if left.is_over() {
            match text {
                [b'+', b'+', b'+', b' ', name @ ..] => file = path_of(name),
                [b'@', b'@', ..] => (line, left) = hunk(text),
                _ => {}
            }
            continue;
        }
        left.take(text.first());
        if let [b'+', added @ ..] = text
            && let Some(kind) = redactor.find(added)
        {
            found.push(LeakedLine { path: file.clone(), line, known: kind == Found::Value });
        }
        if matches!(text.first(), Some(b'+' | b' ') | None) {
            line = line.saturating_add(1);
        }
    }
    found.sort_by_key(|line| !line.known);
    found.truncate(LISTED_LINES);
    found
}

/// Lines of a hunk that are still to come.
#[derive(Default)]
struct Hunk {
    old: u32,
    new: u32,
}

impl Hunk {
    fn is_over(&self) -> bool {
        self.old == 0 && self.new == 0
    }

    fn take(&mut self, sign: Option<&u8>) {
        let (old, new) = match sign {
            Some(b'+') => (0, 1),
            Some(b'-') => (1, 0),
            Some(b'\\') => (0, 0),
            _ => (1, 1),
        };
        (self.old, self.new) = (self.old.saturating_sub(old), self.new.saturating_sub(new));
    }
}

/// The first new line of `@@ -1,2 +3,4 @@`, and how many lines follow.
fn hunk(header: &[u8]) -> (u32, Hunk) {
    let header = String::from_utf8_lossy(header);
    let mut ranges = header.split(' ').skip(1).take(2).map(|range| {
        let (from, count) = range[1.min(range.len())..].split_once(',').unwrap_or((range.get(1..).unwrap_or(""), "1"));
        (from.parse().unwrap_or(0), count.parse().unwrap_or(0))
    });
    let (_, old) = ranges.next().unwrap_or((0, 0));
    let (line, new) = ranges.next().unwrap_or((0, 0));
    (line, Hunk { old, new })
}

/// `b/path`; git quotes what is unusual and puts a tab behind spaces.
fn path_of(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let name = name.trim_end_matches('\t').trim_matches('"');
    name.strip_prefix("b/").unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr3t-value";

    fn check(patch: &str, expected: &[(&str, u32, bool)]) {
        let redactor = Redactor::new([SECRET.to_owned()]).unwrap();
        let found = of_patch(&redactor, patch.as_bytes());
        let found: Vec<(&str, u32, bool)> = found.iter().map(|l| (l.path.as_str(), l.line, l.known)).collect();
        assert_eq!(found, expected, "{patch}");
    }

    #[test]
    fn added_lines_count_and_no_others() {
        let head = "diff --git a/a b.txt b/a b.txt\nindex 1..2 100644\n--- a/a b.txt\t\n+++ b/a b.txt\t\n";
        let hunk = "@@ -3,3 +3,4 @@ s3cr3t-value\n s3cr3t-value\n-s3cr3t-value\n+one\n+ s3cr3t-value\n three\n";
        check(&format!("{head}{hunk}"), &[("a b.txt", 4 + 1, true)]);
        check(
            &format!("{head}{hunk}@@ -9 +10 @@\n-x\n+s3cr3t-value\n\\ No newline"),
            &[("a b.txt", 5, true), ("a b.txt", 10, true)],
        );
    }

    #[test]
    fn a_line_that_looks_like_a_header_of_the_patch_is_still_a_line() {
        let patch = "--- /dev/null\n+++ b/x\n@@ -0,0 +1,3 @@\n+++ b/s3cr3t-value\n+@@ -1 +1 @@\n+s3cr3t-value\n";
        check(patch, &[("x", 1, true), ("x", 3, true)]);
    }

    #[test]
    fn values_of_the_run_come_first() {
        let token = format!("ghp_{}", "a1".repeat(18));
        let patch = format!("+++ b/x\n@@ -0,0 +1,2 @@\n+{token}\n+s3cr3t-value\n");
        check(&patch, &[("x", 2, true), ("x", 1, false)]);
    }
}
