//! How a `JUnit` report of any size keeps to what its readers take. Limits flow in with the cases of a suite; shorter
//! texts and fewer cases flow out.
//!
//! A report that is too large is made again with the next smaller limits: bodies go first, then the length of lines, at
//! last reruns and whole cases, those that nobody has to act on before those that are red. What the last limits let
//! through fits whatever the run was, for its cases are counted and no text in them is longer than a line.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::format::len;
use crate::text::{head_tail, one_line, xml_text};

/// Largest file, in bytes: GitLab takes 30 MB.
pub(super) const MAX_BYTES: usize = 28 << 20;

/// How much a report holds.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Longest name or message, in characters: consumers show it in one line.
    pub line_chars: usize,
    /// Longest body of a failure or of an output, in bytes before escaping.
    pub body_bytes: usize,
    /// Most cases of a suite, and of all gates' own suites together, then without reruns; none where all are kept.
    pub cases: Option<usize>,
}

/// What everybody reads.
pub(super) const FULL: Limits = Limits { line_chars: 200, body_bytes: 16 * 1024, cases: None };

/// What always fits: there are five times so many cases at most, and so many suites of gates. A case has five texts of
/// a line, and a character of it takes six bytes at most once it is escaped: with its tags it stays below 1,100 bytes.
/// A suite has one such text, and a few numbers.
pub(super) const LAST: Limits = Limits { line_chars: 24, body_bytes: 0, cases: Some(4_000) };

/// From what everybody reads to what is still worth something.
pub(super) const LADDER: [Limits; 6] = [
    FULL,
    Limits { body_bytes: 2 * 1024, ..FULL },
    Limits { line_chars: 120, body_bytes: 256, cases: None },
    Limits { line_chars: 80, body_bytes: 0, cases: None },
    Limits { cases: None, ..LAST },
    LAST,
];

impl Limits {
    /// Text for an attribute.
    pub(super) fn line(&self, text: &str) -> String {
        one_line(&xml_text(text), self.line_chars)
    }

    /// Text for an element.
    pub(super) fn body(&self, text: &str) -> String {
        head_tail(&xml_text(text), self.body_bytes)
    }

    /// Those of one of so many suites that share them, and how many suites there may be at most.
    pub(super) fn shared(self, suites: usize) -> (Self, usize) {
        let most = self.cases.unwrap_or(suites).min(suites);
        (Self { cases: self.cases.map(|all| all / most.max(1)), ..self }, most)
    }

    /// Adds the cases that the suite may have, in their order. Those that go are the last of the least that anybody has
    /// to act on; a property says how many, and one how many reruns.
    pub(super) fn fill(self, suite: &mut TestSuite, mut cases: Vec<TestCase>) {
        if let Some(most) = self.cases {
            let reruns: usize = cases.iter_mut().map(|case| without_reruns(&mut case.status)).sum();
            add_count(suite, "reruns_left_out", len(reruns));
            add_count(suite, "cases_left_out", len(cases.len().saturating_sub(most)));
            keep(&mut cases, most);
        }
        suite.add_test_cases(cases);
    }
}

/// A property, where there is something to say.
pub(super) fn add_count(suite: &mut TestSuite, name: &str, n: u64) {
    if n > 0 {
        suite.add_property((name, n.to_string().as_str()));
    }
}

fn keep(cases: &mut Vec<TestCase>, most: usize) {
    let mut order: Vec<usize> = (0..cases.len()).collect();
    order.sort_by_key(|i| weight(&cases[*i].status));
    let mut is_kept = vec![false; cases.len()];
    order.into_iter().take(most).for_each(|i| is_kept[i] = true);
    let mut kept = is_kept.into_iter();
    cases.retain(|_| kept.next().unwrap_or(false));
}

/// The red first.
fn weight(status: &TestCaseStatus) -> u8 {
    match status {
        TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, .. } => 0,
        TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. } => 1,
        TestCaseStatus::Skipped { .. } => 2,
        TestCaseStatus::Success { .. } => 3,
    }
}

/// How many there were.
fn without_reruns(status: &mut TestCaseStatus) -> usize {
    match status {
        TestCaseStatus::Success { flaky_runs } => std::mem::take(flaky_runs).len(),
        TestCaseStatus::NonSuccess { reruns, .. } => std::mem::take(&mut reruns.runs).len(),
        TestCaseStatus::Skipped { .. } => 0,
    }
}
