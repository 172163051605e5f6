//! `junit.xml`: suites for the plan, tasks, gates and requirements, and one for the test cases of each gate.
//! A report flows in, XML flows out. Skipped, inconclusive and unverified are never shown as passed; attempts that
//! failed before are reruns; what was spent stands in the suites' properties.

use std::time::Duration;

use quick_junit::{TestCase, TestCaseStatus, TestSuite};

use super::ReportError;
use super::format::{len, rfc3339};
use super::junit_case::{Cases, End, end_of, fault_type};
use super::junit_limits::{LADDER, Limits, MAX_BYTES, add_count};
use super::junit_plan::plan_cases;
use super::junit_spend::add_spend;
use super::model::Report;
use super::model_work::{
    AttemptOutcome, AttemptReport, GateReport, GateStanding, RequirementReport, TaskReport, TaskStanding,
};
use crate::core::evidence::RequirementStatus;
use crate::core::outcome::TestStatus;

/// The report as `JUnit` XML, of at most 28 MiB.
///
/// # Errors
/// The XML writer gave up.
pub fn junit(report: &Report) -> Result<String, ReportError> {
    at_most(report, MAX_BYTES)
}

fn at_most(report: &Report, max_bytes: usize) -> Result<String, ReportError> {
    let mut xml = String::new();
    for limits in LADDER {
        xml = within(report, limits)?;
        if xml.len() <= max_bytes {
            break;
        }
    }
    Ok(xml)
}

fn within(report: &Report, limits: Limits) -> Result<String, ReportError> {
    let mut cases = Cases::of(report, limits);
    let mut root = quick_junit::Report::new("maestro-ci");
    root.set_time(Duration::from_millis(report.timing.elapsed_ms));
    let started_ms = report.timing.started_ms;
    let plan = plan_cases(report, &mut cases);
    root.add_test_suite(suite("plan", started_ms, 0, plan, limits));
    let tasks = report.tasks.iter().map(|t| task_case(t, &mut cases)).collect();
    let tasks_ms = report.tasks.iter().map(TaskReport::duration_ms).sum();
    let mut tasks = suite("tasks", started_ms, tasks_ms, tasks, limits);
    add_spend(&mut tasks, report, limits);
    root.add_test_suite(tasks);
    let mut gates: Vec<TestCase> = report.gates.iter().map(|g| gate_case(g, &mut cases)).collect();
    gates.push(verdict_case(report, &mut cases));
    let gates_ms = report.gates.iter().map(|g| g.duration_ms).sum();
    let first_gate_ms = report.gates.iter().filter_map(|g| g.started_ms).min().unwrap_or(started_ms);
    root.add_test_suite(suite("gates", first_gate_ms, gates_ms, gates, limits));
    let requirements = report.requirements.iter().map(|r| requirement_case(r, &mut cases)).collect();
    root.add_test_suite(suite("requirements", started_ms, 0, requirements, limits));
    let with_cases: Vec<&GateReport> = report.gates.iter().filter(|g| !g.cases.is_empty()).collect();
    let (limits, most) = limits.shared(with_cases.len());
    for gate in with_cases.into_iter().take(most) {
        let own = own_cases(gate, &mut cases);
        let began_ms = gate.started_ms.unwrap_or(started_ms);
        let mut own = suite(&format!("gate:{}", gate.name), began_ms, gate.duration_ms, own, limits);
        add_count(&mut own, "cases_not_listed", not_listed(gate));
        root.add_test_suite(own);
    }
    Ok(without_root_skipped(root.to_string()?))
}

/// `skipped` on the root is unknown to Jenkins' schema; no reader needs it, as every suite has its own.
fn without_root_skipped(mut xml: String) -> String {
    let root = xml.find("<testsuites").unwrap_or(0);
    let end = xml[root..].find('>').map_or(root, |end| root + end);
    // The attributes before it are the name, which is ours, and a number.
    if let Some(at) = xml[root..end].find(" skipped=\"").map(|at| root + at) {
        let value = at + " skipped=\"".len();
        if let Some(close) = xml[value..end].find('"') {
            xml.replace_range(at..=value + close, "");
        }
    }
    xml
}

fn suite(name: &str, started_ms: i64, duration_ms: u64, cases: Vec<TestCase>, limits: Limits) -> TestSuite {
    let mut suite = TestSuite::new(limits.line(name));
    suite.set_time(Duration::from_millis(duration_ms));
    suite.extra.insert("timestamp".into(), rfc3339(started_ms).into());
    limits.fill(&mut suite, cases);
    suite
}

fn task_case(task: &TaskReport, cases: &mut Cases) -> TestCase {
    let mut status = task_end(task, cases);
    let told = matches!(task.status, TaskStanding::Failed | TaskStanding::Parked);
    let last_word = last_failed(task).filter(|_| told).map(|a| a.n);
    let earlier = task.attempts.iter().filter(|a| Some(a.n) != last_word);
    status.add_reruns(earlier.filter_map(|a| Some(cases.rerun(a.fault.as_ref()?, a.duration_ms))));
    cases.case("tasks", &format!("{} {}", task.id, task.title), task.line, task.duration_ms(), status)
}

fn last_failed(task: &TaskReport) -> Option<&AttemptReport> {
    task.attempts.iter().rev().find(|a| a.outcome == AttemptOutcome::Failed)
}

fn task_end(task: &TaskReport, cases: &Cases) -> TestCaseStatus {
    let reason = task.reason.as_deref();
    let end = |end: End<'_>| cases.status(&end);
    match task.status {
        TaskStanding::Done | TaskStanding::NoOp => end(End::Passed),
        TaskStanding::Failed => match last_failed(task).and_then(|a| a.fault.as_ref()) {
            Some(fault) => end(end_of(fault, &fault_type(fault))),
            None => end(End::Failure("failed", reason.unwrap_or("the task was given up"))),
        },
        TaskStanding::Blocked => end(End::Skipped("blocked", reason.unwrap_or("something it needs was given up"))),
        TaskStanding::Parked => {
            let why = last_failed(task).and_then(|a| a.fault.as_ref()).map_or_else(|| "parked".to_owned(), fault_type);
            end(End::Error(&why, reason.unwrap_or("the agent could not work on it")))
        }
        TaskStanding::Running => end(End::Error("unfinished", "an attempt has no end on record")),
        TaskStanding::Waiting if task.attempts.is_empty() => {
            end(End::Skipped("unreached", "the run ended before it could start"))
        }
        TaskStanding::Waiting => end(End::Error("unfinished", "the run ended before its next attempt")),
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
    let mut status = cases.status(&end);
    // The message is the summary alone; the log is for the body.
    status.set_message(cases.limits.line(&gate.summary));
    let mut case = cases.case("gates", &gate.name, 1, gate.duration_ms, status);
    if gate.status == GateStanding::Passed && !log.is_empty() {
        case.set_system_out(cases.limits.body(log));
    }
    case
}

/// The verdict itself, so that no consumer is green where the run is not, whatever the reason.
fn verdict_case(report: &Report, cases: &mut Cases) -> TestCase {
    let end = match report.exit_code {
        Some(0) => End::Passed,
        Some(1) => End::Failure(&report.verdict, &report.reason),
        Some(_) => End::Error(&report.verdict, &report.reason),
        None => End::Error("running", "the run has no end on record: it is under way, or its process was killed"),
    };
    let status = cases.status(&end);
    cases.case("gates", "verdict", 1, 0, status)
}

fn requirement_case(requirement: &RequirementReport, cases: &mut Cases) -> TestCase {
    let reason = requirement.reason.as_str();
    let status = cases.status(&match requirement.status {
        RequirementStatus::Met => End::Passed,
        RequirementStatus::Unmet => End::Failure("unmet", reason),
        RequirementStatus::Unverified => End::Skipped("unverified", reason),
    });
    let name = format!("{} {}", requirement.id, requirement.text);
    let mut case = cases.case("requirements", &name, requirement.line, 0, status);
    if !requirement.evidence.is_empty() {
        case.set_system_out(cases.limits.body(&requirement.evidence.join("\n")));
    }
    case
}

/// Cases that the gate counted and its bounded list lacks; none of them failed, unless more failed than it holds.
fn not_listed(gate: &GateReport) -> u64 {
    let counted = gate.counts.values().fold(0, |sum: u64, n| sum.saturating_add(*n));
    counted.saturating_sub(len(gate.cases.len()))
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
        let status = cases.status(&end);
        let mut case = cases.case(&classname_of(&test.classname), &test.name, 1, test.time_ms, status);
        if let Some(file) = &test.file {
            case.extra.insert("file".into(), cases.limits.line(file).into());
            case.extra.insert("line".into(), test.line.unwrap_or(1).max(1).to_string().into());
        }
        case
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::junit_limits::LAST;
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
    fn suites_say_when_they_began_and_the_root_has_only_what_every_schema_knows() {
        let xml = junit(&testing::report()).expect("XML");
        let root = &xml[xml.find("<testsuites").expect("a root")..];
        let root = &root[..=root.find('>').expect("its end")];
        let names: Vec<&str> = root.split(' ').skip(1).filter_map(|a| Some(a.split_once('=')?.0)).collect();
        assert_eq!(names, ["name", "tests", "failures", "errors", "time"], "{root}");
        assert!(parsed().test_suites.iter().all(|s| s.timestamp.is_some()), "{xml}");
    }

    #[test]
    fn a_test_stands_in_its_own_file() {
        let report = parsed();
        let own = &report.test_suites.last().expect("the gate's own").test_cases[0];
        assert_eq!((own.extra["file"].as_str(), own.extra["line"].as_str()), ("tests/it.rs", "7"));
    }

    #[test]
    fn nothing_is_red_in_a_green_run_and_something_is_in_every_other() {
        let mut report = testing::report();
        let red = |report: &Report| {
            let xml = junit(report).expect("XML");
            let parsed = quick_junit::Report::deserialize_from_str(&xml).expect("well-formed");
            parsed.test_suites.iter().map(|s| s.failures + s.errors).sum::<usize>()
        };
        report.exit_code = Some(0);
        assert_eq!(red(&report), 0);
        for code in [None, Some(1), Some(5), Some(70), Some(130)] {
            let empty = Report { exit_code: code, ..Report::default() };
            assert!(red(&empty) > 0, "{code:?}");
        }
    }

    #[test]
    fn a_plan_that_leaves_a_requirement_out_is_red_and_so_is_none() {
        let coverage = |report: &Report| {
            let xml = junit(report).expect("XML");
            let parsed = quick_junit::Report::deserialize_from_str(&xml).expect("well-formed");
            status_of(&parsed, "coverage").clone()
        };
        let mut report = testing::report();
        assert!(matches!(coverage(&report), TestCaseStatus::Success { .. }));
        report.requirements[2].id = "FR-9".to_owned();
        assert!(matches!(coverage(&report), TestCaseStatus::NonSuccess { .. }));
        report.tasks.clear();
        assert!(matches!(coverage(&report), TestCaseStatus::NonSuccess { .. }));
    }

    /// A run with more of everything than the last limits let through, in signs that take the most room.
    fn monstrous() -> Report {
        let mut report = testing::report();
        let long = "\"".repeat(300);
        let (task, requirement) = (report.tasks[2].clone(), report.requirements[0].clone());
        report.tasks = (0..5_000).map(|_| TaskReport { title: long.clone(), ..task.clone() }).collect();
        report.requirements =
            (0..5_000).map(|_| RequirementReport { text: long.clone(), ..requirement.clone() }).collect();
        let mut gate = report.gates[0].clone();
        let mut case = gate.cases[3].clone();
        (case.name, case.classname, case.message, case.file) = (long.clone(), long.clone(), long.clone(), Some(long));
        gate.cases = std::iter::repeat_n(case, 1_000).collect();
        gate.cases[0].status = TestStatus::Passed;
        report.gates = std::iter::repeat_n(gate, 6).collect();
        report.prd.path = "\"".repeat(300);
        report
    }

    #[test]
    fn a_report_of_any_size_stays_below_what_gitlab_takes() {
        let xml = within(&monstrous(), LAST).expect("XML");
        assert!(xml.len() <= MAX_BYTES, "{}", xml.len());
        let parsed = quick_junit::Report::deserialize_from_str(&xml).expect("well-formed");
        let of = |suite: &str| {
            let all: Vec<_> = parsed.test_suites.iter().filter(|s| s.name.starts_with(suite)).collect();
            let left_out = all.iter().flat_map(|s| &s.properties).find(|p| p.name.as_str() == "cases_left_out");
            (all.iter().map(|s| s.test_cases.len()).sum::<usize>(), left_out.map(|p| p.value.to_string()))
        };
        let left_out = |n: &str| Some(n.to_owned());
        assert_eq!(of("tasks"), (4_000, left_out("1000")));
        assert_eq!(of("requirements"), (4_000, left_out("1000")));
        assert_eq!(of("gate:"), (6 * 666, left_out("334")));
        let all = all_cases(&parsed).len();
        assert!(xml.len() <= all * 1_100, "{} bytes for {all} cases", xml.len());
        let is_green = |c: &&TestCase| matches!(c.status, TestCaseStatus::Success { .. });
        let own = parsed.test_suites.iter().filter(|s| s.name.starts_with("gate:")).flat_map(|s| &s.test_cases);
        assert_eq!(own.filter(is_green).count(), 0, "what is red is kept");
    }

    #[test]
    fn a_report_that_is_too_large_is_made_smaller_step_by_step() {
        let mut report = testing::report();
        let mut long = report.tasks[2].clone();
        if let Some(fault) = &mut long.attempts[0].fault {
            fault.message = "<&>\"'".repeat(800);
        }
        report.tasks = std::iter::repeat_n(long, 60).collect();
        let sizes = [1 << 20, 300_000, 100_000, 40_000].map(|max| (at_most(&report, max).expect("XML").len(), max));
        assert!(sizes.iter().all(|(size, max)| size <= max), "{sizes:?}");
        assert!(sizes.windows(2).all(|pair| pair[1].0 < pair[0].0), "{sizes:?}");
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
