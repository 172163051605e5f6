//! Test cases of the `JUnit` report, kept to what every known consumer reads: `time`, `file` and `line` always set,
//! (classname, name) unique in the whole file, messages of one line, bounded bodies, every text clean for XML.
//! The one place that hands text to quick-junit.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestRerun};

use super::junit_limits::Limits;
use super::model::Report;
use crate::core::fault::{Fault, FaultClass};

/// How a case ended.
pub(super) enum End<'a> {
    /// Green.
    Passed,
    /// The work is not good: a gate, a requirement, an attempt.
    Failure(&'a str, &'a str),
    /// The work could not be judged: infrastructure, budget, the agent itself.
    Error(&'a str, &'a str),
    /// Not run, or nothing is known.
    Skipped(&'a str, &'a str),
}

impl End<'_> {
    /// As quick-junit has it; the two texts are the type and the description. Where the run is green nothing in it is
    /// red: what did not count against it is shown as skipped.
    fn status(&self, limits: Limits, is_green: bool) -> TestCaseStatus {
        let (mut status, ty, text) = match *self {
            End::Passed => return TestCaseStatus::success(),
            End::Failure(ty, text) | End::Error(ty, text) if is_green => (TestCaseStatus::skipped(), ty, text),
            End::Failure(ty, text) => (TestCaseStatus::non_success(NonSuccessKind::Failure), ty, text),
            End::Error(ty, text) => (TestCaseStatus::non_success(NonSuccessKind::Error), ty, text),
            End::Skipped(ty, text) => (TestCaseStatus::skipped(), ty, text),
        };
        status.set_type(limits.line(ty)).set_message(limits.line(text)).set_description(limits.body(text));
        status
    }
}

/// The end that a fault stands for.
pub(super) fn end_of<'a>(fault: &'a Fault, ty: &'a str) -> End<'a> {
    match kind(fault.class) {
        NonSuccessKind::Error => End::Error(ty, &fault.message),
        NonSuccessKind::Failure => End::Failure(ty, &fault.message),
    }
}

/// `class: reason`, for the `type` attribute.
pub(super) fn fault_type(fault: &Fault) -> String {
    format!("{}: {}", fault.class, fault.reason)
}

/// Trouble of the world is an error; trouble of the work is a failure.
fn kind(class: FaultClass) -> NonSuccessKind {
    match class {
        FaultClass::Environment
        | FaultClass::Budget
        | FaultClass::Agent
        | FaultClass::Transient
        | FaultClass::Lost
        | FaultClass::Critical => NonSuccessKind::Error,
        FaultClass::Implementation | FaultClass::Gate | FaultClass::Conflict | FaultClass::Policy => {
            NonSuccessKind::Failure
        }
    }
}

/// Makes the cases of one file, and keeps their names unique.
pub(super) struct Cases {
    /// How much text they hold.
    pub limits: Limits,
    is_green: bool,
    file: String,
    seen: BTreeMap<(String, String), u32>,
}

impl Cases {
    /// Cases that stand in the PRD where they name no other file.
    pub(super) fn of(report: &Report, limits: Limits) -> Self {
        let file = limits.line(&report.prd.path);
        Self { limits, is_green: report.exit_code == Some(0), file, seen: BTreeMap::new() }
    }

    /// The status of a case that ended so.
    pub(super) fn status(&self, end: &End<'_>) -> TestCaseStatus {
        end.status(self.limits, self.is_green)
    }

    /// An attempt that failed and was not the last word.
    pub(super) fn rerun(&self, fault: &Fault, duration_ms: u64) -> TestRerun {
        let mut rerun = TestRerun::new(kind(fault.class));
        rerun
            .set_type(self.limits.line(&fault_type(fault)))
            .set_message(self.limits.line(&fault.message))
            .set_description(self.limits.body(&fault.message))
            .set_time(Duration::from_millis(duration_ms));
        rerun
    }

    /// A case at a 1-based line of the PRD.
    pub(super) fn case(
        &mut self,
        classname: &str,
        name: &str,
        at_line: u32,
        duration_ms: u64,
        status: TestCaseStatus,
    ) -> TestCase {
        let classname = named(self.limits.line(classname));
        let name = self.unique(&classname, named(self.limits.line(name)));
        let mut case = TestCase::new(name, status);
        case.set_classname(classname).set_time(Duration::from_millis(duration_ms));
        case.extra.insert("file".into(), self.file.as_str().into());
        case.extra.insert("line".into(), at_line.max(1).to_string().into());
        case
    }

    /// The name, with a number where the class has it already; never longer than a line.
    fn unique(&mut self, classname: &str, name: String) -> String {
        let count = self.seen.entry((classname.to_owned(), name.clone())).or_insert(0);
        *count += 1;
        if *count == 1 {
            return name;
        }
        let number = format!(" ({count})");
        let room = self.limits.line_chars.saturating_sub(number.len());
        let begin: String = name.chars().take(room).collect();
        self.unique(classname, begin + &number)
    }
}

fn named(name: String) -> String {
    if name.is_empty() { "(unnamed)".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::super::junit_limits::FULL;
    use super::*;

    #[test]
    fn names_stay_unique_and_short_whatever_they_are() {
        let mut cases = Cases::of(&Report::default(), FULL);
        let long = "x".repeat(500);
        let names = ["a", "a (2)", "a", "a", " \n ", "", &long, &long, &long, &format!("{} (2)", "x".repeat(196))];
        let mut seen = std::collections::BTreeSet::new();
        for name in names.into_iter().chain(std::iter::repeat_n("b", 2_000)) {
            let case = cases.case(" ", name, 0, 0, TestCaseStatus::success());
            assert!(!case.name.is_empty() && case.name.chars().count() <= 200, "{name}");
            assert!(case.classname.as_ref().is_some_and(|class| !class.is_empty()));
            assert!(seen.insert(case.name.as_str().to_owned()), "{name} twice");
        }
    }
}
