//! Reads the `JUnit` file a gate wrote. The file is untrusted: no DOCTYPE, bounded size, no number believed that can
//! be counted instead.

use std::io::Read;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::core::{TestCase, TestStatus};

/// A larger report is refused.
const MAX_BYTES: u64 = 64 << 20;
/// A longer message is cut.
const MAX_MESSAGE_CHARS: usize = 2000;

/// Reads all test cases of a report.
///
/// # Errors
/// What is wrong with the file, in words.
pub(super) fn read(path: &Path) -> Result<Vec<TestCase>, String> {
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
fn parse(text: &str) -> Result<Vec<TestCase>, String> {
    let mut reader = Reader::from_str(text);
    let mut cases: Vec<TestCase> = Vec::new();
    let mut suites = 0;
    let mut open: Option<TestCase> = None;
    loop {
        match reader.read_event().map_err(|e| format!("the report is not XML: {e}"))? {
            Event::Eof => break,
            Event::DocType(_) => return Err("the report has a DOCTYPE, which is refused".to_owned()),
            Event::Start(tag) if is(&tag, "testcase") => open = Some(case(&tag)),
            Event::Empty(tag) if is(&tag, "testcase") => cases.push(case(&tag)),
            Event::End(tag) if tag.local_name().as_ref() == b"testcase" => cases.extend(open.take()),
            Event::Start(tag) | Event::Empty(tag) => {
                suites += u32::from(is(&tag, "testsuite") || is(&tag, "testsuites"));
                if let Some(case) = &mut open {
                    mark(case, &tag);
                }
            }
            _ => {}
        }
    }
    if suites == 0 { Err("the report has no test suite".to_owned()) } else { Ok(cases) }
}

fn is(tag: &BytesStart<'_>, name: &str) -> bool {
    tag.local_name().as_ref() == name.as_bytes()
}

fn case(tag: &BytesStart<'_>) -> TestCase {
    let seconds: f64 = attribute(tag, "time").parse().unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; `as` saturates")]
    let time_ms = (seconds.clamp(0.0, 1e9) * 1000.0) as u64;
    TestCase {
        classname: attribute(tag, "classname"),
        name: attribute(tag, "name"),
        status: TestStatus::Passed,
        time_ms,
        message: String::new(),
    }
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
        case.message = attribute(tag, "message").chars().take(MAX_MESSAGE_CHARS).collect();
    }
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
                let shown: Vec<(&str, TestStatus)> = cases.iter().map(|c| (c.name.as_str(), c.status)).collect();
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
