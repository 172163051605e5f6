//! `report.json` and its schema. A report flows in, JSON flows out; the model's derives are the whole format.

use serde::Serialize;

use super::model::Report;
use crate::text::json_safe;

/// The report as JSON, indented, with a newline at its end.
pub fn json(report: &Report) -> String {
    pretty(report)
}

/// The JSON Schema (draft 2020-12) of `report.json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Report).to_value()
}

/// Any of our values as a JSON file. They hold no map with keys that JSON lacks, which is all that can go wrong;
/// were it to happen, the file would say so and not be empty.
pub(super) fn pretty(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value);
    let mut text = text.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }).to_string());
    text.push('\n');
    json_safe(&text)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::core::verdict::Verdict;

    #[test]
    fn a_report_keeps_to_its_schema() {
        let schema = schema();
        let validator = jsonschema::validator_for(&schema).expect("the schema is one");
        for records in [testing::journal(), testing::journal()[..20].to_vec(), Vec::new()] {
            let report = Report::from_records(&records).expect("legal");
            let value: serde_json::Value = serde_json::from_str(&json(&report)).expect("JSON");
            let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert_eq!(errors, Vec::<String>::new());
        }
    }

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let report = testing::report();
        assert_eq!(serde_json::from_str::<Report>(&json(&report)).expect("readable"), report);
    }

    #[test]
    fn verdict_and_exit_code_agree() {
        let report = testing::report();
        let verdict = Verdict::ALL.into_iter().find(|v| v.name() == report.verdict).expect("a known verdict");
        assert_eq!(report.exit_code, Some(verdict.code()));
        assert!(!report.resumable);
    }

    #[test]
    fn a_journal_without_an_end_is_a_session_under_way() {
        let report = Report::from_records(&testing::journal()[..20]).expect("legal");
        assert_eq!((report.verdict.as_str(), report.exit_code, report.resumable), ("running", None, true));
    }
}
