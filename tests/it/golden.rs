//! Journals of older versions are read for ever.

use std::path::Path;

use maestro_ci::core::replay;
use maestro_ci::journal;
use maestro_ci::report::{self, Report};

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
