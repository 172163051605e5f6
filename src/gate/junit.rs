//! Reads the `JUnit` file a gate wrote. The file is untrusted: no DOCTYPE, bounded size, no number believed that can
//! be counted instead.

use std::io::Read;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::place::{Hinted, MAX_HINTS, MAX_PATH, hints_in};
use crate::core::{TestCase, TestStatus};

/// A larger report is refused.
const MAX_BYTES: u64 = 64 << 20;
/// A longer message is cut.
const MAX_MESSAGE_CHARS: usize = 2000;
/// A longer name of a case or its class is cut.
const MAX_NAME_CHARS: usize = 1000;
/// So much of a failure's text is searched for its place.
const SEARCHED_BYTES: usize = 16 << 10;

/// Reads all test cases of a report.
///
/// # Errors
/// What is wrong with the file, in words.
pub(super) fn read(path: &Path) -> Result<Vec<Hinted>, String> {
    let meta = std::fs::symlink_metadata(path).map_err(|_| "the report was not written".to_owned())?;
    if !meta.is_file() {
        return Err("the report is not a regular file".to_owned());
    }
    if meta.len() > MAX_BYTES {
        return Err(format!("the report has {} bytes; at most {MAX_BYTES} are read", meta.len()));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| format!("the report cannot be read: {e}"))?;
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|e| format!("the report cannot be read: {e}"))?;
    parse(&text)
}

/// Parses the text of a report.
fn parse(text: &str) -> Result<Vec<Hinted>, String> {
    let mut reader = Reader::from_str(text);
    let mut cases: Vec<Hinted> = Vec::new();
    let mut suites = 0;
    let mut suite = Suite::default();
    let mut open: Option<Hinted> = None;
    loop {
        match reader.read_event().map_err(|e| format!("the report is not XML: {e}"))? {
            Event::Eof => break,
            Event::DocType(_) => return Err("the report has a DOCTYPE, which is refused".to_owned()),
            Event::Start(tag) if is(&tag, "testcase") => open = Some(case(&tag, &suite)),
            Event::Empty(tag) if is(&tag, "testcase") => cases.push(case(&tag, &suite)),
            Event::End(tag) if tag.local_name().as_ref() == b"testcase" => cases.extend(open.take()),
            Event::Start(tag) | Event::Empty(tag) => {
                if is(&tag, "testsuite") || is(&tag, "testsuites") {
                    suites += 1;
                    suite = Suite::of(&tag);
                }
                if let Some(hinted) = &mut open {
                    mark(&mut hinted.case, &tag);
                }
            }
            Event::Text(text) => note(open.as_mut(), &text),
            Event::CData(text) => note(open.as_mut(), &text),
            _ => {}
        }
    }
    if suites == 0 { Err("the report has no test suite".to_owned()) } else { Ok(cases) }
}

/// What a suite says about where its cases stand.
#[derive(Default)]
struct Suite {
    name: String,
    file: String,
}

impl Suite {
    fn of(tag: &BytesStart<'_>) -> Self {
        Self { name: attribute(tag, "name"), file: attribute(tag, "file") }
    }
}

/// Looks for a place in the text of a case that failed.
fn note(open: Option<&mut Hinted>, text: &[u8]) {
    let Some(hinted) = open.filter(|hinted| hinted.case.status == TestStatus::Failed) else { return };
    // A failure's text may come in any number of parts.
    let room = MAX_HINTS.saturating_sub(hinted.hints.len());
    if room > 0 {
        let text = String::from_utf8_lossy(&text[..text.len().min(SEARCHED_BYTES)]);
        hinted.hints.extend(hints_in(&text).into_iter().take(room));
    }
}

fn is(tag: &BytesStart<'_>, name: &str) -> bool {
    tag.local_name().as_ref() == name.as_bytes()
}

fn case(tag: &BytesStart<'_>, suite: &Suite) -> Hinted {
    let seconds: f64 = attribute(tag, "time").parse().unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; `as` saturates")]
    let time_ms = (seconds.clamp(0.0, 1e9) * 1000.0) as u64;
    let case = TestCase {
        classname: clipped(tag, "classname", MAX_NAME_CHARS),
        name: clipped(tag, "name", MAX_NAME_CHARS),
        status: TestStatus::Passed,
        time_ms,
        message: String::new(),
        file: None,
        line: None,
    };
    Hinted { case, hints: hints_of(tag, suite) }
}

/// The place that a case's attributes name, or those of its suite: linters name a suite by its file.
fn hints_of(tag: &BytesStart<'_>, suite: &Suite) -> Vec<(String, Option<u32>)> {
    // pytest counts lines from 0.
    let first = u32::from(suite.name == "pytest");
    let line = attribute(tag, "line").parse().ok().map(|line: u32| line.saturating_add(first)).filter(|line| *line > 0);
    let file = attribute(tag, "file");
    let named = [file.as_str(), &suite.file, if line.is_some() { &suite.name } else { "" }];
    let is_hint = |path: &&str| !path.is_empty() && path.len() <= MAX_PATH;
    named.into_iter().filter(is_hint).map(|path| (path.to_owned(), line)).collect()
}

fn mark(case: &mut TestCase, tag: &BytesStart<'_>) {
    let status = match tag.local_name().as_ref() {
        b"failure" | b"error" => TestStatus::Failed,
        b"skipped" => TestStatus::Skipped,
        _ => return,
    };
    // A case that failed once stays failed, whatever else it claims.
    if case.status != TestStatus::Failed {
        case.status = status;
        case.message = clipped(tag, "message", MAX_MESSAGE_CHARS);
    }
}

fn clipped(tag: &BytesStart<'_>, name: &str, chars: usize) -> String {
    attribute(tag, name).chars().take(chars).collect()
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> String {
    let found = tag.attributes().flatten().find(|a| a.key.local_name().as_ref() == name.as_bytes());
    let Some(found) = found else { return String::new() };
    let text = String::from_utf8_lossy(&found.value).into_owned();
    quick_xml::escape::unescape(&text).map(std::borrow::Cow::into_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(&str, TestStatus)], &str>) {
        match (parse(text), expected) {
            (Ok(cases), Ok(expected)) => {
                let shown: Vec<(&str, TestStatus)> =
                    cases.iter().map(|c| (c.case.name.as_str(), c.case.status)).collect();
                assert_eq!(shown, expected);
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn both_roots_are_read_and_states_are_told_apart() {
        let suite = r#"<testsuite tests="9"><testcase classname="c" name="a" time="0.5"/><testcase name="b"><failure message="m"/></testcase>
            <testcase name="c"><skipped/></testcase><testcase name="d"><error/><skipped/></testcase></testsuite>"#;
        let expected = [
            ("a", TestStatus::Passed),
            ("b", TestStatus::Failed),
            ("c", TestStatus::Skipped),
            ("d", TestStatus::Failed),
        ];
        check(suite, Ok(&expected));
        check(&format!("<testsuites>{suite}</testsuites>"), Ok(&expected));
    }

    fn check_places(suite: &str, expected: &[(&str, Option<u32>)]) {
        let cases = parse(suite).expect("a report");
        let hints: Vec<(&str, Option<u32>)> =
            cases[0].hints.iter().map(|(path, line)| (path.as_str(), *line)).collect();
        assert_eq!(hints, expected, "{suite}");
    }

    #[test]
    fn places_are_read_as_the_known_runners_write_them() {
        check_places(r#"<testsuite><testcase name="a" file="a.js" line="3"/></testsuite>"#, &[("a.js", Some(3))]);
        let pytest = r#"<testsuite name="pytest"><testcase name="a" file="t/test_a.py" line="0"/></testsuite>"#;
        check_places(pytest, &[("t/test_a.py", Some(1)), ("pytest", Some(1))]);
        let ruff = r#"<testsuite name="/w/a.py"><testcase name="E1" line="4"/></testsuite>"#;
        check_places(ruff, &[("/w/a.py", Some(4))]);
        let nextest = r#"<testsuite name="x"><testcase name="a"><failure>at src/a.rs:9:1:</failure>
            <system-out>b.rs:1</system-out></testcase></testsuite>"#;
        check_places(nextest, &[("src/a.rs", Some(9)), ("b.rs", Some(1))]);
        check_places(r#"<testsuite name="x"><testcase name="a">src/a.rs:9</testcase></testsuite>"#, &[]);
    }

    #[test]
    fn what_a_case_says_is_bounded() {
        let (long, parts) = ("n".repeat(5000), "<x/>a.rs:1 b.rs:2".repeat(5000));
        let case = format!(r#"<testcase name="{long}" classname="{long}" file="{long}"><failure>{parts}</failure>"#);
        let found = parse(&format!(r#"<testsuite file="{long}">{case}</testcase></testsuite>"#)).expect("a report");
        let Hinted { case, hints } = &found[0];
        assert_eq!((case.name.len(), case.classname.len(), hints.len()), (1000, 1000, MAX_HINTS));
        assert!(hints.iter().all(|(path, _)| path.len() <= MAX_PATH));
    }

    #[test]
    fn hostile_and_broken_reports_are_refused() {
        check("<!DOCTYPE x [<!ENTITY a \"b\">]><testsuite/>", Err("DOCTYPE"));
        check("<testsuite><testcase></testsuite>", Err("not XML"));
        check("ok", Err("no test suite"));
        check("", Err("no test suite"));
    }

    #[test]
    fn counts_in_the_file_are_not_believed() {
        check(r#"<testsuites tests="-5" failures="0"/>"#, Ok(&[]));
    }
}
