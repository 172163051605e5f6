//! Journals and reports of older versions are read for ever, and what is published is what the program says.

use std::path::Path;

use maestro_ci::core::replay;
use maestro_ci::journal;
use maestro_ci::report::{self, Report};
use serde_json::Value;

#[test]
fn a_journal_of_version_1_gives_the_reports_it_gave_then() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal-v1.jsonl");
    let contents = journal::read(&path).unwrap();
    assert_eq!((contents.records.len(), contents.torn_bytes), (78, 0));
    let state = replay(&contents.records).unwrap();
    assert_eq!(state.tasks.values().map(|t| t.attempts.len()).sum::<usize>(), 8);
    let report = Report::from_records(&contents.records).unwrap();
    assert_eq!((report.verdict.as_str(), report.exit_code, report.tests()), ("passed", Some(0), (8, 8)));
    assert_eq!(report.tasks_succeeded(), 7);
    let junit = report::junit(&report).unwrap();
    let parsed = quick_junit::Report::deserialize_from_str(&junit).unwrap();
    assert_eq!(parsed.test_suites.iter().map(|s| s.failures + s.errors).sum::<usize>(), 0);
}

#[test]
fn a_report_of_version_1_is_read_as_it_was_written_before_it_had_findings_and_curves() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report-v1.json");
    let text = std::fs::read_to_string(path).unwrap();
    let old: Value = serde_json::from_str(&text).unwrap();
    assert!(old.get("findings").is_none() && old["budget"].get("curve").is_none(), "this is no old report");
    let report: Report = serde_json::from_str(&text).unwrap();
    assert_eq!((report.verdict.as_str(), report.tasks_succeeded(), report.tests()), ("passed", 7, (8, 8)));
    // Whatever it held is still there, under the same name and with the same value.
    holds_all(&serde_json::to_value(&report).unwrap(), &old, "report");
    let validator = jsonschema::validator_for(&report::schema()).unwrap();
    assert!(validator.is_valid(&old), "the schema refuses an old report");
}

#[track_caller]
fn holds_all(new: &Value, old: &Value, place: &str) {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            old.iter().for_each(|(key, value)| holds_all(&new[key], value, &format!("{place}.{key}")));
        }
        (Value::Array(new), Value::Array(old)) => {
            assert_eq!(new.len(), old.len(), "{place}");
            new.iter().zip(old).for_each(|(new, old)| holds_all(new, old, place));
        }
        _ => assert_eq!(new, old, "{place}"),
    }
}

#[test]
fn the_published_schema_is_the_one_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.schema.json");
    let published: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(published, report::schema(), "renew it: maestro-ci schema report > docs/report.schema.json");
}
