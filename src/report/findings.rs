//! What gates and rules have against the work, each with its place: failed tests, red gates, changes that the path
//! policy refused, requirements that are not met, what the PRD's reader warned of. The state and the rest of the report
//! flow in, findings flow out, the heaviest first, bounded.

use std::collections::BTreeSet;

use super::format::len;
use super::model::Report;
use super::model_work::{AttemptReport, GateReport, GateStanding, RequirementReport, TaskReport, TaskStanding};
use crate::core::evidence::RequirementStatus;
use crate::core::fault::FaultClass;
use crate::core::finding::{Finding, Level, is_warning};
use crate::core::id::TaskId;
use crate::core::outcome::{LeakedLine, TestCase, TestStatus};
use crate::core::policy::{self, SECRET};
use crate::core::settings::UnverifiedMode;
use crate::core::state::State;
use crate::text::{head_tail, one_line};

/// Most findings: GitHub shows no more of one run.
const MAX_FINDINGS: usize = 5000;
/// Longest message, in bytes.
const MESSAGE_BYTES: usize = 2000;
/// Longest text of a test or a summary, in characters.
const LINE_CHARS: usize = 500;
/// Lines of a red gate's log that go along.
const LOG_LINES: usize = 20;

/// A rule: its id, what it stands for, and what to do about it.
pub(super) struct Rule {
    pub id: &'static str,
    pub short: &'static str,
    pub full: &'static str,
}

/// Every rule that a finding can name.
pub(super) const RULES: [Rule; 11] = [
    Rule {
        id: "test-failed",
        short: "A test failed.",
        full: "A gate ran this test on the finished tree and it failed. The log of the gate has its output.",
    },
    Rule {
        id: "gate-failed",
        short: "A validation gate is red.",
        full: "The command of a validation gate ended with an error and its report names no failed test.",
    },
    Rule {
        id: "gate-problem",
        short: "A red validation gate points at this line.",
        full: "A validation gate is red and its log names this line of the finished tree.",
    },
    Rule {
        id: "gate-inconclusive",
        short: "A validation gate proved nothing.",
        full: "A validation gate ran out of time, could not be run though it decides, or its report could not be read \
               or held no test that ran.",
    },
    Rule {
        id: "policy-violation",
        short: "A change broke the path policy.",
        full: "An agent changed a path that is protected, outside of what is allowed, or not its task's own. \
               The change was not integrated.",
    },
    Rule {
        id: "secret-in-change",
        short: "A change adds a secret.",
        full: "A line that an agent added holds a value that the run was given as a secret, and was not integrated; or \
               it looks like a token or a private key, which is only told.",
    },
    Rule {
        id: "task-failed",
        short: "A task was given up.",
        full: "All attempts at a task of the plan failed. Its attempts and their logs are in the report.",
    },
    Rule {
        id: "requirement-unmet",
        short: "A requirement is not met.",
        full: "A task that serves this requirement failed, or evidence for it is red.",
    },
    Rule {
        id: "requirement-unverified",
        short: "Nothing proves a requirement.",
        full: "No gate or check gave a result for this requirement, and the configuration does not accept that.",
    },
    Rule {
        id: "requirement-uncovered",
        short: "No task serves a requirement.",
        full: "The plan has no task that serves this requirement.",
    },
    Rule {
        id: "prd-warning",
        short: "The PRD is ambiguous here.",
        full: "The reader of the PRD found something that a person should look at.",
    },
];

/// The findings, and how many there are besides.
pub(super) fn findings(state: &State, report: &Report) -> (Vec<Finding>, u64) {
    let mut all: Vec<Finding> = report.gates.iter().flat_map(of_gate).collect();
    all.extend(report.tasks.iter().flat_map(|task| of_task(state, report, task)));
    all.extend(of_requirements(state, report));
    all.extend(report.prd.warnings.iter().map(|warning| Finding {
        line: Some(warning.line).filter(|line| *line > 0),
        ..at_prd(report, "prd-warning", Level::Warning, 0, &warning.message, "prd")
    }));
    all.sort_by_key(|finding| finding.level);
    let cut = len(all.len().saturating_sub(MAX_FINDINGS));
    all.truncate(MAX_FINDINGS);
    (all, cut)
}

fn finding(rule: &str, level: Level, message: &str, source: String) -> Finding {
    let message = head_tail(message, MESSAGE_BYTES);
    Finding { rule: rule.to_owned(), level, path: None, line: None, message, source }
}

/// A finding about a line of the PRD; one that lies outside of the repository is no place.
fn at_prd(report: &Report, rule: &str, level: Level, line: u32, message: &str, source: &str) -> Finding {
    let path =
        Some(&report.prd.path).filter(|path| !path.starts_with('/') && !path.split('/').any(|part| part == ".."));
    Finding { path: path.cloned(), line: Some(line.max(1)), ..finding(rule, level, message, source.to_owned()) }
}

fn of_gate(gate: &GateReport) -> Vec<Finding> {
    let source = || format!("gate {}", gate.name);
    let (rule, what) = match gate.status {
        GateStanding::Failed => ("gate-failed", "failed"),
        GateStanding::Inconclusive => ("gate-inconclusive", "proved nothing"),
        GateStanding::Skipped if gate.is_missing() => ("gate-inconclusive", "could not be run"),
        GateStanding::Passed | GateStanding::Skipped | GateStanding::NotRun => ("", ""),
    };
    let level = match (rule.is_empty(), gate.required) {
        // What was red before and may stay so.
        (true, _) => Level::Note,
        (false, true) => Level::Error,
        (false, false) => Level::Warning,
    };
    let failed = gate.cases.iter().filter(|case| case.status == TestStatus::Failed);
    let mut found: Vec<Finding> = failed.map(|case| of_test(case, level, source())).collect();
    // Lines that a log names need not be why the gate is red: without a failed test the end of the log goes first.
    if found.is_empty() && !rule.is_empty() {
        let summary = one_line(&gate.summary, LINE_CHARS);
        let message = format!("gate {} {what}: {summary}\n{}", gate.name, last_lines(&gate.log_tail));
        found.push(finding(rule, level, message.trim_end(), source()));
    }
    found.extend(gate.problems.iter().map(|problem| Finding {
        path: Some(problem.path.clone()),
        line: Some(problem.line),
        ..finding("gate-problem", weight(&problem.message, level), &problem.message, source())
    }));
    found
}

/// A problem weighs as much as its gate; one that its tool calls a warning is no more than that.
fn weight(message: &str, gate: Level) -> Level {
    if is_warning(message) { gate.max(Level::Warning) } else { gate }
}

fn of_test(case: &TestCase, level: Level, source: String) -> Finding {
    let name = one_line(&format!("{} {}", case.classname, case.name), LINE_CHARS);
    let message = if case.message.is_empty() { format!("{name} failed") } else { format!("{name}: {}", case.message) };
    Finding { path: case.file.clone(), line: case.line, ..finding("test-failed", level, &message, source) }
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn of_task(state: &State, report: &Report, task: &TaskReport) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for attempt in &task.attempts {
        let is_last_word = task.status == TaskStanding::Failed && task.attempts.last() == Some(attempt);
        let level = if is_last_word { Level::Error } else { Level::Note };
        found.extend(of_leaks(state, (task, attempt), level));
        found.extend(of_policy(state, report, (task, attempt), level));
    }
    let is_told = !task.requirements.is_empty() || found.iter().any(|finding| finding.level == Level::Error);
    if task.status == TaskStanding::Failed && !is_told {
        let message = format!("{} was given up: {}", task.id, task.reason.as_deref().unwrap_or("its attempts failed"));
        let source = format!("task {}", task.id);
        found.push(at_prd(report, "task-failed", Level::Error, task.line, &message, &source));
    }
    found
}

/// The secrets that an attempt wrote down. What only looks like one is no more than a warning, and less where it
/// did not get into the result.
fn of_leaks(state: &State, (task, attempt): (&TaskReport, &AttemptReport), level: Level) -> Vec<Finding> {
    let own = state.tasks.get(&TaskId::new(task.id.as_str()));
    let Some(own) = own.and_then(|own| own.attempts.get((attempt.n as usize).checked_sub(1)?)) else {
        return Vec::new();
    };
    let seeming = if own.integrated.is_some() { Level::Warning } else { Level::Note };
    let of_leak = |leak: &LeakedLine| {
        let (level, what) = if leak.known {
            (level, "holds a secret of the run's environment")
        } else {
            (seeming, "looks like it holds a token or a private key")
        };
        let message = format!("{} attempt {}: this line {what}", task.id, attempt.n);
        let found = finding("secret-in-change", level, &message, format!("task {}", task.id));
        Finding { path: Some(leak.path.clone()), line: Some(leak.line), ..found }
    };
    own.capture.iter().flat_map(|capture| &capture.secrets).map(of_leak).collect()
}

/// One finding for each path that an attempt must not have changed; one at the task's place where no path is known.
fn of_policy(state: &State, report: &Report, of: (&TaskReport, &AttemptReport), level: Level) -> Vec<Finding> {
    let (task, attempt) = of;
    let Some(fault) = attempt.fault.as_ref().filter(|fault| fault.class == FaultClass::Policy) else {
        return Vec::new();
    };
    // Told line by line.
    if fault.reason == SECRET {
        return Vec::new();
    }
    let source = format!("task {}", task.id);
    let message = format!("{} attempt {}: {}", task.id, attempt.n, fault.message);
    let definition = state.settings().zip(state.task(&TaskId::new(task.id.as_str())));
    let paths = definition.map(|(rules, task)| policy::breaking(rules, task, &attempt.files)).unwrap_or_default();
    if paths.is_empty() {
        return vec![at_prd(report, "policy-violation", level, task.line, &message, &source)];
    }
    let at = |path: &str| Finding {
        path: Some(path.to_owned()),
        ..finding("policy-violation", level, &message, source.clone())
    };
    paths.into_iter().map(at).collect()
}

fn of_requirements(state: &State, report: &Report) -> Vec<Finding> {
    let rules = state.settings();
    let wants_proof = rules.is_some_and(|s| s.validate_prd && s.unverified == UnverifiedMode::Fail);
    let level = if matches!(report.exit_code, Some(0 | 8)) { Level::Warning } else { Level::Error };
    let uncovered: BTreeSet<&str> = report.uncovered().map(|r| r.id.as_str()).collect();
    let found = |r: &RequirementReport| {
        let (rule, level) = match r.status {
            RequirementStatus::Unmet => ("requirement-unmet", level),
            RequirementStatus::Unverified if wants_proof && report.exit_code.is_some() => {
                ("requirement-unverified", level)
            }
            _ if uncovered.contains(r.id.as_str()) => ("requirement-uncovered", Level::Warning),
            _ => return None,
        };
        let why = if rule == "requirement-uncovered" { "no task of the plan serves it" } else { r.reason.as_str() };
        let message = format!("{} {}: {why}", r.id, one_line(&r.text, LINE_CHARS));
        Some(at_prd(report, rule, level, r.line, &message, "requirements"))
    };
    report.requirements.iter().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    fn check(source: &str, expected: &[(&str, Level, Option<&str>, Option<u32>)]) {
        let report = testing::report();
        let of = report.findings.iter().filter(|f| f.source == source);
        let found: Vec<_> = of.map(|f| (f.rule.as_str(), f.level, f.path.as_deref(), f.line)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn every_source_has_its_rule_level_and_place() {
        // A green gate with a known failure.
        check("gate test", &[("test-failed", Level::Note, Some("tests/it.rs"), Some(7))]);
        check("gate lint", &[("gate-failed", Level::Error, None, None)]);
        check("task T-003", &[("policy-violation", Level::Error, Some("docs/prd.md"), Some(12))]);
        check("requirements", &[("requirement-unmet", Level::Error, Some("docs/prd.md"), Some(20))]);
        check("prd", &[("prd-warning", Level::Warning, Some("docs/prd.md"), Some(3))]);
    }

    #[test]
    fn the_heaviest_come_first_and_every_rule_is_known() {
        let report = testing::report();
        assert!(report.findings.windows(2).all(|pair| pair[0].level <= pair[1].level));
        let known = |rule: &str| RULES.iter().any(|known| known.id == rule);
        assert!(report.findings.iter().all(|finding| known(&finding.rule)));
        let messages = report.findings.iter().map(|finding| finding.message.len());
        assert!(messages.into_iter().all(|bytes| bytes <= MESSAGE_BYTES));
    }

    #[test]
    fn a_red_gate_without_cases_brings_the_end_of_its_log() {
        let report = testing::report();
        let lint = report.findings.iter().find(|f| f.rule == "gate-failed").expect("lint is red");
        assert!(lint.message.starts_with("gate lint failed: ") && lint.message.contains('\n'), "{}", lint.message);
    }
}
