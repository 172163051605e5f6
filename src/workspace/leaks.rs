//! Secrets in what an attempt adds. Changed files and their patch flow in; the lines that hold one flow out. Of a line
//! only its place is told.

use std::collections::BTreeMap;

use crate::core::{FileChange, LeakedLine};
use crate::text::{Found, Redactor};

/// Lines that are listed. Those with a value that is known come first.
const LISTED_LINES: usize = 100;

/// Finds secrets in changes.
pub(super) struct Leaks<'a> {
    redactor: &'a Redactor,
    /// Is a text in the base already: it is no secret that the change gives away.
    in_base: &'a dyn Fn(&[u8]) -> bool,
    asked: BTreeMap<Vec<u8>, bool>,
}

impl<'a> Leaks<'a> {
    pub(super) fn new(redactor: &'a Redactor, in_base: &'a dyn Fn(&[u8]) -> bool) -> Self {
        Self { redactor, in_base, asked: BTreeMap::new() }
    }

    /// The new names and the added lines of patches that hold secrets. A name counts as the first line of its file.
    pub(super) fn of(mut self, files: &[FileChange], patches: &[&[u8]]) -> Vec<LeakedLine> {
        let mut found = Vec::new();
        for file in files.iter().filter(|file| file.status == 'A') {
            found.extend(self.at(&file.path, 1, file.path.as_bytes()));
        }
        for patch in patches {
            // Most patches hold none at all.
            if self.redactor.found(patch).next().is_some() {
                self.of_patch(patch, &mut found);
            }
        }
        found.sort_by_key(|line| !line.known);
        found.truncate(LISTED_LINES);
        found
    }

    fn of_patch(&mut self, patch: &[u8], found: &mut Vec<LeakedLine>) {
        let (mut file, mut line, mut left) = (String::new(), 0_u32, Hunk::default());
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
            if let [b'+', added @ ..] = text {
                found.extend(self.at(&file, line, added));
            }
            if matches!(text.first(), Some(b'+' | b' ') | None) {
                line = line.saturating_add(1);
            }
        }
    }

    /// What there is to say of a line. Words that may mean something else are none, nor is what the base holds.
    fn at(&mut self, path: &str, line: u32, text: &[u8]) -> Option<LeakedLine> {
        let secrets = self.redactor.found(text).filter(|(found, secret)| match found {
            Found::Maybe => false,
            Found::Shape => true,
            Found::Value => !*self.asked.entry(secret.to_vec()).or_insert_with(|| (self.in_base)(secret)),
        });
        let surest = secrets.map(|(found, _)| found).max()?;
        Some(LeakedLine { path: path.to_owned(), line, known: surest == Found::Value })
    }
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
        let found = Leaks::new(&redactor, &|_| false).of(&[], &[patch.as_bytes()]);
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

    #[test]
    fn a_secret_in_a_new_name_counts_and_one_that_the_base_holds_does_not() {
        let redactor = Redactor::new([SECRET.to_owned(), "created_at".to_owned()]).unwrap();
        let file = |path: &str, status| FileChange { path: path.to_owned(), status, added: 0, removed: 0 };
        let files = [file("a/s3cr3t-value", 'A'), file("b/s3cr3t-value", 'D'), file("created_at", 'A')];
        let found = |is_in_base: bool| Leaks::new(&redactor, &|_| is_in_base).of(&files, &[]);
        assert_eq!(found(false), [LeakedLine { path: "a/s3cr3t-value".to_owned(), line: 1, known: true }]);
        assert_eq!(found(true), []);
    }
}
