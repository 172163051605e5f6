//! XML, as quick-junit writes it and quick-xml reads it. quick-xml accepts characters that other parsers refuse, so
//! that these are looked for in the file itself.

use maestro_ci::text::{head_tail, one_line, xml_text};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::{holds, same};

pub fn check(text: &str) -> Result<(), String> {
    // As the JUnit report has it: attributes are one line, bodies are bounded.
    let (line, body) = (one_line(&xml_text(text), 200), head_tail(&xml_text(text), 16 * 1024));
    let xml = write(&line, &body);
    holds(xml.chars().all(is_legal), "a character that XML has not", &xml)?;
    holds(!xml.contains(['\r', '\t']), "white space that parsers change", &xml)?;
    let report = Report::deserialize_from_str(&xml).map_err(|e| format!("{e}: {xml:?}"))?;
    let case = &report.test_suites[0].test_cases[0];
    same("the name", case.name.as_str(), &line)?;
    let TestCaseStatus::NonSuccess { message, description, .. } = &case.status else {
        return Err(format!("the case is no failure: {xml:?}"));
    };
    same("the message", message.as_ref().map_or("", |m| m.as_str()), &line)?;
    // White space around an element's text is a matter of layout.
    let read = |text: Option<&str>| text.unwrap_or_default().trim().to_owned();
    same("the body", &read(description.as_ref().map(quick_junit::XmlString::as_str)), body.trim())?;
    same("the output", &read(case.system_out.as_ref().map(quick_junit::XmlString::as_str)), body.trim())
}

pub fn write(line: &str, body: &str) -> String {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type(line).set_message(line).set_description(body);
    let mut case = TestCase::new(line, status);
    case.set_classname(line).set_system_out(body);
    let mut suite = TestSuite::new(line);
    suite.add_property((line, line));
    suite.add_test_case(case);
    let mut report = Report::new(line);
    report.add_test_suite(suite);
    report.to_string().unwrap()
}

/// `Char` of XML 1.0, without what it allows and discourages.
fn is_legal(c: char) -> bool {
    let control = c.is_control() && !matches!(c, '\n' | '\t' | '\r');
    !control && u32::from(c) & 0xfffe != 0xfffe
}
