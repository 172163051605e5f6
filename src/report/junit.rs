//! `junit.xml`: suites for the plan, tasks, gates and requirements, and one for the test cases of each gate.
//! A report flows in, XML flows out. Skipped, inconclusive and unverified are never shown as passed; attempts that
//! failed before are reruns; what was spent stands in the suites' properties.

use std::time::Duration;

use quick_junit::{TestCase, TestCaseStatus, TestSuite};

use super::ReportError;
use super::junit_case::{Cases, End, body, end_of, fault_type, line, rerun};
use super::model::{BudgetReport, Report, StoppedBy};
use super::model_work::{
    AttemptOutcome, AttemptReport, GateReport, GateStanding, RequirementReport, TaskReport, TaskStanding,
};
use crate::core::evidence::RequirementStatus;
use crate::core::outcome::TestStatus;

/// The report as `JUnit` XML.
///
/// # Errors
/// The XML writer gave up.
pub fn junit(report: &Report) -> Result<String, ReportError> {
    let mut cases = Cases::in_file(&report.prd.path);
    let mut root = quick_junit::Report::new("maestro-ci");
    root.set_time(Duration::from_millis(report.timing.elapsed_ms));
    let plan = plan_cases(report, &mut cases);
    root.add_test_suite(suite("plan", 0, plan));
    let tasks = report.tasks.iter().map(|t| task_case(t, &mut cases)).collect();
    let mut tasks = suite("tasks", report.tasks.iter().map(TaskReport::duration_ms).sum(), tasks);
    add_spend(&mut tasks, report);
    root.add_test_suite(tasks);
    let mut gates: Vec<TestCase> = report.gates.iter().map(|g| gate_case(g, &mut cases)).collect();
    gates.push(verdict_case(report, &mut cases));
    root.add_test_suite(suite("gates", report.gates.iter().map(|g| g.duration_ms).sum(), gates));
    let requirements = report.requirements.iter().map(|r| requirement_case(r, &mut cases)).collect();
    root.add_test_suite(suite("requirements", 0, requirements));
    for gate in report.gates.iter().filter(|g| !g.cases.is_empty()) {
        let own = own_cases(gate, &mut cases);
        root.add_test_suite(suite(&format!("gate:{}", gate.name), gate.duration_ms, own));
    }
    Ok(root.to_string()?)
}

fn suite(name: &str, duration_ms: u64, cases: Vec<TestCase>) -> TestSuite {
    let mut suite = TestSuite::new(line(name));
    suite.set_time(Duration::from_millis(duration_ms));
    suite.add_test_cases(cases);
    suite
}

/// One case for each epic: a plan that was made is a valid one.
fn plan_cases(report: &Report, cases: &mut Cases) -> Vec<TestCase> {
    let line_of = |epic: &str| report.tasks.iter().filter(|t| t.epic == epic).map(|t| t.line).min().unwrap_or(1);
    let epics = report.plan.epics.iter();
    epics
        .map(|e| cases.case("plan", &format!("{} {}", e.id, e.title), line_of(&e.id), 0, TestCaseStatus::success()))
        .collect()
}

fn add_spend(suite: &mut TestSuite, report: &Report) {
    let BudgetReport { duration, tokens, api_calls, cost_microusd, source, .. } = &report.budget;
    let mut add = |name: &str, value: String| {
        suite.add_property((name.to_owned(), line(&value)));
    };
    add("session", report.session.clone());
    add("verdict", report.verdict.clone());
    add("isolation_level", report.isolation.level.clone());
    for agent in &report.agents {
        add("agent", agent.in_words());
    }
    if let Some(stop) = &report.budget.stopped_by {
        add("stopped_by", stopped_by(stop));
    }
    for denials in report.denials() {
        add("denied", denials);
    }
    add("usage_source", source.clone());
    let spent = [
        ("duration_ms", Some(duration.used_ms), duration.limit_ms),
        ("tokens", tokens.used, tokens.limit),
        ("api_calls", api_calls.used, api_calls.limit),
        ("cost_microusd", cost_microusd.used, cost_microusd.limit),
    ];
    for (name, used, limit) in spent {
        add(&format!("{name}_used"), used.map_or_else(|| "unknown".to_owned(), |used| used.to_string()));
        if let Some(limit) = limit {
            add(&format!("{name}_limit"), limit.to_string());
        }
    }
}

/// The limit that stopped the run, and whose it is.
fn stopped_by(stop: &StoppedBy) -> String {
    let whose = stop.task.as_ref().map_or_else(|| "the session".to_owned(), |task| format!("task {task}"));
    let wanted = if stop.wanted > 0 { format!(", {} wanted", stop.wanted) } else { String::new() };
    format!("{} of {whose}: {} of {}{wanted}", stop.resource, stop.used, stop.limit)
}

fn task_case(task: &TaskReport, cases: &mut Cases) -> TestCase {
    let mut status = task_end(task);
    let told = matches!(task.status, TaskStanding::Failed | TaskStanding::Parked);
    let last_word = last_failed(task).filter(|_| told).map(|a| a.n);
    let earlier = task.attempts.iter().filter(|a| Some(a.n) != last_word);
    status.add_reruns(earlier.filter_map(|a| Some(rerun(a.fault.as_ref()?, a.duration_ms))));
    cases.case("tasks", &format!("{} {}", task.id, task.title), task.line, task.duration_ms(), status)
}

fn last_failed(task: &TaskReport) -> Option<&AttemptReport> {
    task.attempts.iter().rev().find(|a| a.outcome == AttemptOutcome::Failed)
}

fn task_end(task: &TaskReport) -> TestCaseStatus {
    let reason = task.reason.as_deref();
    match task.status {
        TaskStanding::Done | TaskStanding::NoOp => End::Passed.status(),
        TaskStanding::Failed => match last_failed(task).and_then(|a| a.fault.as_ref()) {
            Some(fault) => end_of(fault, &fault_type(fault)).status(),
            None => End::Failure("failed", reason.unwrap_or("the task was given up")).status(),
        },
        TaskStanding::Blocked => End::Skipped("blocked", reason.unwrap_or("something it needs was given up")).status(),
        TaskStanding::Parked => {
            let why = last_failed(task).and_then(|a| a.fault.as_ref()).map_or_else(|| "parked".to_owned(), fault_type);
            End::Error(&why, reason.unwrap_or("the agent could not work on it")).status()
        }
        TaskStanding::Running => End::Error("unfinished", "an attempt has no end on record").status(),
        TaskStanding::Waiting if task.attempts.is_empty() => {
            End::Skipped("unreached", "the run ended before it could start").status()
        }
        TaskStanding::Waiting => End::Error("unfinished", "the run ended before its next attempt").status(),
    }
}

fn gate_case(gate: &GateReport, cases: &mut Cases) -> TestCase {
    let log = &gate.log_tail;
    let text = if log.is_empty() { gate.summary.clone() } else { format!("{}\n\n{log}", gate.summary) };
    let ty = gate.status.name();
    let end = match gate.status {
        GateStanding::Passed => End::Passed,
        // A gate that decides nothing must not turn a consumer red that the run left green.
        GateStanding::Failed | GateStanding::Inconclusive if !gate.required => End::Skipped("not_required", &text),
        GateStanding::Failed => End::Failure(ty, &text),
        GateStanding::Inconclusive => End::Error(ty, &text),
        GateStanding::Skipped | GateStanding::NotRun => End::Skipped(ty, &gate.summary),
    };
    cases.case("gates", &gate.name, 1, gate.duration_ms, with_message(end.status(), &gate.summary))
}

/// The verdict itself, so that no consumer is green where the run is not, whatever the reason.
fn verdict_case(report: &Report, cases: &mut Cases) -> TestCase {
    let end = match report.exit_code {
        Some(0) => End::Passed,
        Some(1) => End::Failure(&report.verdict, &report.reason),
        Some(_) => End::Error(&report.verdict, &report.reason),
        None => End::Skipped("running", "the run has not ended"),
    };
    cases.case("gates", "verdict", 1, 0, end.status())
}

/// The message is the summary alone; the log is for the body.
fn with_message(mut status: TestCaseStatus, summary: &str) -> TestCaseStatus {
    status.set_message(line(summary));
    status
}

fn requirement_case(requirement: &RequirementReport, cases: &mut Cases) -> TestCase {
    let reason = requirement.reason.as_str();
    let status = match requirement.status {
        RequirementStatus::Met => End::Passed.status(),
        RequirementStatus::Unmet => End::Failure("unmet", reason).status(),
        RequirementStatus::Unverified => End::Skipped("unverified", reason).status(),
    };
    let name = format!("{} {}", requirement.id, requirement.text);
    let mut case = cases.case("requirements", &name, requirement.line, 0, status);
    if !requirement.evidence.is_empty() {
        case.set_system_out(body(&requirement.evidence.join("\n")));
    }
    case
}

fn own_cases(gate: &GateReport, cases: &mut Cases) -> Vec<TestCase> {
    let classname = format!("gate:{}", gate.name);
    let classname_of = |own: &str| if own.is_empty() { classname.clone() } else { own.to_owned() };
    let all = gate.cases.iter();
    all.map(|test| {
        let end = match test.status {
            TestStatus::Passed => End::Passed,
            TestStatus::Failed if !gate.required => End::Skipped("not_required", &test.message),
            TestStatus::Failed => End::Failure("failed", &test.message),
            TestStatus::Skipped => End::Skipped("skipped", &test.message),
        };
        cases.case(&classname_of(&test.classname), &test.name, 1, test.time_ms, end.status())
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::testing;
    use super::*;

    fn parsed() -> quick_junit::Report {
        let xml = junit(&testing::report()).expect("XML");
        quick_junit::Report::deserialize_from_str(&xml).expect("well-formed")
    }

    fn all_cases(report: &quick_junit::Report) -> Vec<&TestCase> {
        report.test_suites.iter().flat_map(|s| &s.test_cases).collect()
    }

    fn status_of<'a>(report: &'a quick_junit::Report, name: &str) -> &'a TestCaseStatus {
        let cases = all_cases(report);
        &cases.iter().find(|c| c.name.starts_with(name)).expect("a case of that name").status
    }

    #[test]
    fn suites_are_those_of_the_contract() {
        let names: Vec<String> = parsed().test_suites.iter().map(|s| s.name.as_str().to_owned()).collect();
        assert_eq!(names, ["plan", "tasks", "gates", "requirements", "gate:test"]);
    }

    #[test]
    fn times_files_and_lines_are_always_set_and_names_unique() {
        let report = parsed();
        assert!(report.time.is_some() && report.test_suites.iter().all(|s| s.time.is_some()));
        let mut seen = BTreeSet::new();
        for case in all_cases(&report) {
            assert!(
                case.time.is_some() && case.extra.contains_key("file") && case.extra.contains_key("line"),
                "{case:?}"
            );
            assert!(seen.insert((case.classname.clone(), case.name.clone())), "{case:?}");
        }
    }

    #[test]
    fn each_way_to_end_has_its_element() {
        let report = parsed();
        assert!(matches!(status_of(&report, "T-001"), TestCaseStatus::Success { flaky_runs } if flaky_runs.is_empty()));
        assert!(matches!(status_of(&report, "T-002"), TestCaseStatus::Success { flaky_runs } if flaky_runs.len() == 1));
        assert!(matches!(status_of(&report, "T-003"), TestCaseStatus::NonSuccess { .. }));
        assert!(matches!(status_of(&report, "T-004"), TestCaseStatus::Skipped { .. }));
        assert!(matches!(status_of(&report, "lint"), TestCaseStatus::NonSuccess { .. }));
        assert!(matches!(status_of(&report, "FR-3"), TestCaseStatus::Skipped { .. }));
    }

    #[test]
    fn reruns_always_have_a_type() {
        let xml = junit(&testing::report()).expect("XML");
        assert!(xml.contains("<flakyFailure ") && !xml.contains("<flakyFailure>"), "{xml}");
        assert!(xml.matches("<flakyFailure ").count() == xml.matches("type=\"implementation: exit\"").count(), "{xml}");
    }

    #[test]
    fn hostile_text_leaves_well_formed_xml_without_controls() {
        let xml = junit(&testing::report()).expect("XML");
        assert!(xml.chars().all(|c| c == '\n' || crate::text::is_visible(c)), "{xml:?}");
        let report = parsed();
        let messages = all_cases(&report).into_iter().filter_map(|c| match &c.status {
            TestCaseStatus::NonSuccess { message, .. } | TestCaseStatus::Skipped { message, .. } => message.clone(),
            TestCaseStatus::Success { .. } => None,
        });
        assert!(messages.into_iter().all(|m| m.chars().count() <= 200));
    }
}
