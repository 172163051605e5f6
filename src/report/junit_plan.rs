//! The suite `plan` of the `JUnit` report: is there a plan, and does it cover what the PRD asks for? A report flows in,
//! test cases flow out.

use std::collections::BTreeMap;

use quick_junit::{TestCase, TestCaseStatus};

use super::junit_case::{Cases, End};
use super::model::Report;

/// One case for each epic of a plan that was made, which is a valid one, and one for what the plan leaves out.
pub(super) fn plan_cases(report: &Report, cases: &mut Cases) -> Vec<TestCase> {
    let mut first_line: BTreeMap<&str, u32> = BTreeMap::new();
    for task in &report.tasks {
        let line = first_line.entry(&task.epic).or_insert(task.line);
        *line = task.line.min(*line);
    }
    let epics = report.plan.epics.iter().map(|epic| {
        let line = first_line.get(epic.id.as_str()).copied().unwrap_or(1);
        cases.case("plan", &format!("{} {}", epic.id, epic.title), line, 0, TestCaseStatus::success())
    });
    let mut all: Vec<TestCase> = epics.collect();
    let no_plan = format!("no plan was made: {}", report.reason);
    let uncovered: Vec<&str> = report.uncovered().map(|r| r.id.as_str()).collect();
    let coverage = format!("no task serves {}", uncovered.join(", "));
    let end = match (report.tasks.is_empty(), report.exit_code) {
        (true, None) => End::Skipped("running", "the plan is not made yet"),
        (true, Some(_)) => End::Error("no plan", &no_plan),
        (false, _) if !uncovered.is_empty() => End::Failure("coverage", &coverage),
        (false, _) => End::Passed,
    };
    let status = cases.status(&end);
    all.push(cases.case("plan", "coverage of requirements", 1, 0, status));
    all
}
