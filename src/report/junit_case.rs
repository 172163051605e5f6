//! Test cases of the `JUnit` report, kept to what every known consumer reads: `time`, `file` and `line` always set,
//! (classname, name) unique in the whole file, messages of one line, bounded bodies, every text clean for XML.
//! The one place that hands text to quick-junit.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestRerun};

use crate::core::fault::{Fault, FaultClass};
use crate::text::{head_tail, one_line, xml_text};

/// Longest message, in characters: consumers show it in one line.
const MESSAGE_CHARS: usize = 200;
/// Longest body of a failure, in bytes before escaping.
const BODY_BYTES: usize = 16 * 1024;

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
    /// As quick-junit has it; the two texts are the type and the description.
    pub(super) fn status(&self) -> TestCaseStatus {
        let (mut status, ty, text) = match *self {
            End::Passed => return TestCaseStatus::success(),
            End::Failure(ty, text) => (TestCaseStatus::non_success(NonSuccessKind::Failure), ty, text),
            End::Error(ty, text) => (TestCaseStatus::non_success(NonSuccessKind::Error), ty, text),
            End::Skipped(ty, text) => (TestCaseStatus::skipped(), ty, text),
        };
        status.set_type(line(ty)).set_message(line(text)).set_description(body(text));
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

/// An attempt that failed and was not the last word.
pub(super) fn rerun(fault: &Fault, duration_ms: u64) -> TestRerun {
    let mut rerun = TestRerun::new(kind(fault.class));
    rerun
        .set_type(line(&fault_type(fault)))
        .set_message(line(&fault.message))
        .set_description(body(&fault.message))
        .set_time(Duration::from_millis(duration_ms));
    rerun
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

/// Text for an attribute.
pub(super) fn line(text: &str) -> String {
    one_line(&xml_text(text), MESSAGE_CHARS)
}

/// Text for an element.
pub(super) fn body(text: &str) -> String {
    head_tail(&xml_text(text), BODY_BYTES)
}

/// Makes cases of one file, and keeps their names unique.
pub(super) struct Cases {
    file: String,
    seen: BTreeMap<(String, String), u32>,
}

impl Cases {
    /// Cases that all stand in the PRD.
    pub(super) fn in_file(path: &str) -> Self {
        Self { file: line(path), seen: BTreeMap::new() }
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
        let classname = line(classname);
        let name = self.unique(&classname, named(line(name)));
        let mut case = TestCase::new(name, status);
        case.set_classname(classname).set_time(Duration::from_millis(duration_ms));
        case.extra.insert("file".into(), self.file.as_str().into());
        case.extra.insert("line".into(), at_line.max(1).to_string().into());
        case
    }

    fn unique(&mut self, classname: &str, name: String) -> String {
        let count = self.seen.entry((classname.to_owned(), name.clone())).or_insert(0);
        *count += 1;
        if *count == 1 {
            return name;
        }
        let other = format!("{name} ({count})");
        self.unique(classname, other)
    }
}

fn named(name: String) -> String {
    if name.is_empty() { "(unnamed)".to_owned() } else { name }
}
