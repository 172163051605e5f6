//! `report.sarif`: SARIF 2.1.0, as code scanning reads it. A report flows in, JSON flows out: every finding with a place,
//! a fingerprint that stays the same from run to run, and the rules it names.
//!
//! GitHub's own rules beyond the standard's: every rule has a short and a full description, every result a relative URI
//! and a line, one run has at most 25,000 results (of which 5,000 are shown) and the file at most 10 MB compressed.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::findings::{RULES, Rule};
use super::json::pretty;
use super::model::Report;
use crate::core::finding::Finding;
use crate::text::{clip, xml_text};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// Longest message, in bytes.
const MESSAGE_BYTES: usize = 1000;
/// A longer path is no place.
const PATH_BYTES: usize = 1000;
/// The place of what has none: a result without one is refused.
const NO_PLACE: &str = "PRD";

/// The report as SARIF, with a newline at its end.
pub fn sarif(report: &Report) -> String {
    let mut seen = BTreeMap::new();
    let results = report.findings.iter().map(|finding| result(report, finding, &mut seen)).collect();
    let is_over = report.exit_code.is_some();
    let run = Run {
        tool: Tool { driver: driver(report) },
        automation_details: Details { id: format!("maestro-ci/{}/", uri(&report.prd.feature).unwrap_or_default()) },
        invocations: vec![Invocation {
            execution_successful: report.exit_code == Some(0),
            exit_code: report.exit_code,
            exit_code_description: clean(&report.headline()),
            start_time_utc: Some(report.timing.started.clone()).filter(|moment| !moment.is_empty()),
            end_time_utc: report.timing.finished.clone(),
        }],
        column_kind: "utf16CodeUnits",
        results,
        properties: Properties {
            session: report.session.clone(),
            verdict: report.verdict.clone(),
            is_over,
            findings_left_out: report.findings_not_listed,
        },
    };
    pretty(&Log { schema: SCHEMA, version: "2.1.0", runs: vec![run] })
}

fn driver(report: &Report) -> Driver {
    let version = if report.tool.version.is_empty() { env!("CARGO_PKG_VERSION") } else { &report.tool.version };
    Driver { name: "maestro-ci", semantic_version: version.to_owned(), rules: RULES.iter().map(descriptor).collect() }
}

fn descriptor(rule: &Rule) -> Descriptor {
    let name = rule.id.split('-').map(capitalised).collect();
    let text = |text: &str| Text { text: text.to_owned() };
    let help = format!("{} The reports of the session, in the run's artifacts, have the details.", rule.full);
    Descriptor {
        id: rule.id,
        name,
        short_description: text(rule.short),
        full_description: text(rule.full),
        help: text(&help),
    }
}

/// `test` as `Test`.
fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn result(report: &Report, finding: &Finding, seen: &mut BTreeMap<String, u32>) -> ResultObject {
    let own = finding.path.as_deref().and_then(uri);
    // What concerns no file concerns the PRD.
    let place = own.clone().or_else(|| uri(&report.prd.path)).unwrap_or_else(|| NO_PLACE.to_owned());
    let line = finding.line.filter(|_| own.is_some()).unwrap_or(1).max(1);
    let print = fingerprint(finding);
    let count = seen.entry(print.clone()).or_insert(0);
    *count += 1;
    ResultObject {
        rule_id: finding.rule.clone(),
        rule_index: RULES.iter().position(|rule| rule.id == finding.rule),
        level: finding.level.name(),
        message: Text { text: clean(&finding.message) },
        locations: vec![Location {
            physical_location: Physical {
                artifact_location: Artifact { uri: place, uri_base_id: "%SRCROOT%" },
                region: Region { start_line: line },
            },
        }],
        partial_fingerprints: Fingerprints { hash: format!("{print}:{count}") },
    }
}

/// Eight bytes over what stays the same when lines move: rule, source, path, and the first line of the message without
/// its digits, which hold times, addresses and counts.
fn fingerprint(finding: &Finding) -> String {
    let first: String =
        finding.message.lines().next().unwrap_or_default().chars().filter(|c| !c.is_numeric()).collect();
    let parts = [&finding.rule, &finding.source, finding.path.as_ref().unwrap_or(&finding.rule), &first];
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Text for a message: visible, bounded, and without what SARIF takes for a link (`[text](target)`).
fn clean(text: &str) -> String {
    let text = clip(&xml_text(text).replace("](", "] ("), MESSAGE_BYTES);
    if text.trim().is_empty() { "(no message)".to_owned() } else { text }
}

/// A path in the repository as a relative URI; none for one that leads out of it.
fn uri(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let is_inside = !path.starts_with('/') && !parts.is_empty() && !parts.contains(&"..");
    (is_inside && path.len() <= PATH_BYTES).then(|| parts.into_iter().map(encoded).collect::<Vec<_>>().join("/"))
}

/// A segment of a path, percent-encoded but for RFC 3986's unreserved characters.
fn encoded(segment: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    segment.bytes().map(byte).collect()
}

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: Vec<Run>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    automation_details: Details,
    invocations: Vec<Invocation>,
    column_kind: &'static str,
    results: Vec<ResultObject>,
    properties: Properties,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: String,
    rules: Vec<Descriptor>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    id: &'static str,
    name: String,
    short_description: Text,
    full_description: Text,
    help: Text,
}

#[derive(Serialize)]
struct Text {
    text: String,
}

/// What groups the runs of one PRD.
#[derive(Serialize)]
struct Details {
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
    exit_code_description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_utc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time_utc: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResultObject {
    rule_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'static str,
    message: Text,
    locations: Vec<Location>,
    partial_fingerprints: Fingerprints,
}

#[derive(Serialize)]
struct Fingerprints {
    #[serde(rename = "primaryLocationLineHash")]
    hash: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: Physical,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Physical {
    artifact_location: Artifact,
    region: Region,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    uri: String,
    uri_base_id: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
}

/// What a script wants to know of the run.
#[derive(Serialize)]
struct Properties {
    session: String,
    verdict: String,
    is_over: bool,
    findings_left_out: u64,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::testing;
    use super::*;
    use crate::core::finding::Level;

    fn run_of(report: &Report) -> Value {
        let log: Value = serde_json::from_str(&sarif(report)).expect("JSON");
        assert_eq!((&log["version"], log["runs"].as_array().map(Vec::len)), (&Value::from("2.1.0"), Some(1)));
        log["runs"][0].clone()
    }

    #[test]
    fn every_finding_is_a_result_with_a_known_rule_a_relative_place_and_a_fingerprint_of_its_own() {
        let report = testing::report();
        let run = run_of(&report);
        let results = run["results"].as_array().expect("a list");
        assert_eq!(results.len(), report.findings.len());
        let mut prints = BTreeSet::new();
        for result in results {
            let index = usize::try_from(result["ruleIndex"].as_u64().expect("a rule")).expect("small");
            assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().expect("a place");
            let is_legal = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
            assert!(!uri.starts_with('/') && !uri.is_empty() && uri.chars().all(is_legal), "{uri}");
            assert!(place["region"]["startLine"].as_u64() >= Some(1));
            let text = result["message"]["text"].as_str().expect("a message");
            assert!(!text.trim().is_empty() && text.len() <= MESSAGE_BYTES);
            assert!(text.chars().all(|c| c == '\n' || crate::text::is_visible(c)), "{text:?}");
            assert!(prints.insert(result["partialFingerprints"]["primaryLocationLineHash"].to_string()));
        }
    }

    #[test]
    fn rules_are_described_and_an_empty_report_is_a_run_without_results() {
        let run = run_of(&Report::default());
        assert_eq!(run["results"], serde_json::json!([]));
        assert_eq!(run["invocations"][0]["executionSuccessful"], false);
        for rule in run["tool"]["driver"]["rules"].as_array().expect("rules") {
            for key in ["shortDescription", "fullDescription", "help"] {
                assert!(rule[key]["text"].as_str().is_some_and(|text| text.ends_with('.')), "{rule}");
            }
        }
    }

    #[test]
    fn a_fingerprint_outlives_lines_that_move_and_times_that_change() {
        let finding = |line, message: &str| Finding {
            rule: "test-failed".to_owned(),
            level: Level::Error,
            path: Some("a.rs".to_owned()),
            line: Some(line),
            message: message.to_owned(),
            source: "gate test".to_owned(),
        };
        assert_eq!(fingerprint(&finding(1, "took 12 ms")), fingerprint(&finding(9, "took 345 ms\nmore")));
        assert_ne!(fingerprint(&finding(1, "a")), fingerprint(&finding(1, "b")));
    }

    #[test]
    fn paths_become_relative_uris_or_none() {
        let cases = [
            ("src/a b.rs", Some("src/a%20b.rs")),
            ("./x/ü#?.rs", Some("x/%C3%BC%23%3F.rs")),
            ("a\u{1b}b", Some("a%1Bb")),
            ("/etc/passwd", None),
            ("../x", None),
            ("a/../../x", None),
            ("", None),
        ];
        for (path, expected) in cases {
            assert_eq!(uri(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn a_message_has_no_link() {
        assert_eq!(clean("see [here](http://x) {0}"), "see [here] (http://x) {0}");
        assert_eq!(clean(" \u{1b}".trim_end_matches('\u{1b}')), "(no message)");
    }
}
