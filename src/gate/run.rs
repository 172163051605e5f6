//! Running one gate under the warden and making a result of what came back.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::place::{Hinted, Place};
use super::{junit, problems};
use crate::core::{Ended, GateResult, GateSpec, GateStatus, TestStatus};
use crate::sandbox::{Limits, Order, Report, Stopper, Walls, Warden, read_tail};

/// Bytes of the log that a result carries.
const LOG_TAIL_BYTES: u64 = 4096;
/// Bytes of a red gate's log in which places are looked for.
const SEARCHED_LOG_BYTES: u64 = 256 << 10;
/// Test cases that a result carries.
const LISTED_CASES: usize = 2000;

/// One run of a gate.
pub struct GateRun<'a> {
    /// The gate.
    pub spec: &'a GateSpec,
    /// A fresh tree of the commit under test.
    pub tree: &'a Path,
    /// Where the log goes.
    pub log: &'a Path,
    /// The gate's whole environment.
    pub env: Vec<(String, String)>,
    /// What holds its process tree in.
    pub limits: Limits,
    /// What its process tree may touch; none is no walls.
    pub walls: Option<Walls>,
    /// Secrets that its log is to lose.
    pub secrets: &'a [String],
}

/// Runs a gate. `on_start` gets the handle that ends it.
///
/// # Errors
/// The warden cannot be started.
pub fn run(gate: &GateRun<'_>, on_start: impl FnOnce(Stopper)) -> io::Result<GateResult> {
    let Some(dir) = inside(gate.tree, &gate.spec.dir) else {
        let why = format!("its directory `{}` is not a directory of this tree", gate.spec.dir);
        return Ok(bare(GateStatus::Inconclusive, why));
    };
    if let Some(missing) = missing_tool(&gate.spec.run, &gate.env) {
        return Ok(bare(GateStatus::Skipped, format!("`{missing}` is not installed here")));
    }
    let report_path = gate.spec.report.as_ref().map(|r| dir.join(r));
    if let Some(why) = report_path.as_deref().and_then(|path| stale(gate.tree, path)) {
        return Ok(bare(GateStatus::Inconclusive, why));
    }
    let order = Order {
        argv: vec!["sh".to_owned(), "-c".to_owned(), gate.spec.run.clone()],
        env: gate.env.clone(),
        dir,
        stdin: None,
        stdout: gate.log.to_owned(),
        stderr: gate.log.to_owned(),
        limits: gate.limits.clone(),
        walls: gate.walls.clone(),
        forward_json: false,
        secrets: gate.secrets.to_vec(),
    };
    let warden = Warden::start(&order)?;
    on_start(warden.stopper());
    let report = warden.wait(|_| {})?;
    let read = |path: &Path| match path.parent().and_then(|dir| dir.canonicalize().ok()) {
        Some(parent) if is_below(gate.tree, &parent) => junit::read(path),
        _ => Err("the report was not written into this tree".to_owned()),
    };
    let place = Place { tree: gate.tree, dir: &order.dir };
    let (cases, unreadable) = match report_path.as_deref().map(read) {
        Some(Ok(cases)) => (cases, None),
        Some(Err(why)) => (Vec::new(), Some(why)),
        None => (Vec::new(), None),
    };
    let judged = judge(gate.spec, report, (&cases, unreadable), tail(gate.log, LOG_TAIL_BYTES));
    // Only what is listed is looked for on the disk.
    let mut result = GateResult { cases: place.located(bounded(cases)), ..judged };
    if result.status == GateStatus::Failed && !result.counts.contains_key("failed") {
        result.problems = place.believed(problems::told(&tail(gate.log, SEARCHED_LOG_BYTES)));
    }
    Ok(result)
}

/// A directory of the tree, followed to where it really is; none where a link leads out of the tree.
fn inside(tree: &Path, dir: &str) -> Option<PathBuf> {
    let real = tree.join(dir).canonicalize().ok()?;
    (real.is_dir() && is_below(tree, &real)).then_some(real)
}

fn is_below(tree: &Path, real: &Path) -> bool {
    tree.canonicalize().is_ok_and(|tree| real.starts_with(tree))
}

/// Removes a report that is part of the tree, as this run did not write it. Says why where that cannot be done.
fn stale(tree: &Path, report: &Path) -> Option<String> {
    let parent = report.parent()?.canonicalize().ok()?;
    if !is_below(tree, &parent) {
        return Some("the place of its report leads out of this tree".to_owned());
    }
    match std::fs::remove_file(report) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Some(format!("a report that is part of the tree cannot be removed: {error}"))
        }
        _ => None,
    }
}

/// Exit status and report (its cases, or why it cannot be read) together decide. The result lists no cases yet.
fn judge(
    spec: &GateSpec,
    report: Report,
    (cases, unreadable): (&[Hinted], Option<String>),
    log_tail: String,
) -> GateResult {
    let counts = count(cases);
    let failed = counts.get("failed").copied().unwrap_or(0);
    let (status, summary) = match &report.ended {
        Ended::Exited { code: 126 | 127 } => {
            (GateStatus::Skipped, "its command or a tool it needs is not installed here".to_owned())
        }
        Ended::Exited { .. } if no_pytest(&log_tail) => {
            (GateStatus::Skipped, "pytest is not installed here".to_owned())
        }
        Ended::Exited { code: 0 } => match unreadable {
            Some(why) => (GateStatus::Inconclusive, why),
            None if failed > 0 => (GateStatus::Failed, format!("exit status 0, but its report says {}", show(&counts))),
            None if spec.report.is_some() && !counts.contains_key("passed") => {
                (GateStatus::Inconclusive, "its report holds no test that ran".to_owned())
            }
            None => (GateStatus::Passed, show(&counts)),
        },
        Ended::Exited { code } => (GateStatus::Failed, join(format!("exit status {code}"), &counts)),
        ended => (GateStatus::Inconclusive, format!("it gave no result ({ended})")),
    };
    GateResult {
        status,
        ended: report.ended,
        duration_ms: report.duration_ms,
        summary,
        cases: Vec::new(),
        counts,
        problems: Vec::new(),
        log_tail,
        leaked_processes: report.leaked_processes,
    }
}

fn bare(status: GateStatus, summary: String) -> GateResult {
    let message = summary.clone();
    GateResult {
        status,
        ended: Ended::NotStarted { message },
        duration_ms: 0,
        summary,
        cases: Vec::new(),
        counts: BTreeMap::new(),
        problems: Vec::new(),
        log_tail: String::new(),
        leaked_processes: 0,
    }
}

/// Failed cases are kept first: they are what somebody will look for.
fn bounded(mut cases: Vec<Hinted>) -> Vec<Hinted> {
    if cases.len() > LISTED_CASES {
        cases.sort_by_key(|c| c.case.status != TestStatus::Failed);
        cases.truncate(LISTED_CASES);
    }
    cases
}

fn count(cases: &[Hinted]) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for case in cases {
        let name = match case.case.status {
            TestStatus::Passed => "passed",
            TestStatus::Failed => "failed",
            TestStatus::Skipped => "skipped",
        };
        *counts.entry(name.to_owned()).or_insert(0) += 1;
    }
    counts
}

fn show(counts: &BTreeMap<String, u64>) -> String {
    let parts: Vec<String> = counts.iter().rev().map(|(name, n)| format!("{n} {name}")).collect();
    if parts.is_empty() { "exit status 0".to_owned() } else { parts.join(", ") }
}

fn join(what: String, counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() { what } else { format!("{what}; {}", show(counts)) }
}

/// Python itself is there, so only its own words tell that pytest is not.
fn no_pytest(log: &str) -> bool {
    log.trim_end().ends_with("No module named pytest")
}

/// The program a command begins with, if it is plainly a program and not on the PATH.
fn missing_tool<'a>(command: &'a str, env: &[(String, String)]) -> Option<&'a str> {
    let word = command.split_whitespace().next()?;
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    let builtin = [
        "cd", "test", "exit", "true", "false", "set", "export", "if", "for", "while", "echo", "exec", "eval",
        "command", "umask", "ulimit", "trap", "case", "until", "unset", "wait", "printf", "read", "type", "shift",
        "return",
    ];
    if !plain || builtin.contains(&word) {
        return None;
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let found = std::env::split_paths(path).any(|dir| dir.join(word).is_file());
    (!found).then_some(word)
}

/// The end of a log; empty where it cannot be read, or is something else by now.
fn tail(path: &Path, bytes: u64) -> String {
    String::from_utf8_lossy(&read_tail(path, bytes).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{GateKind, GateName, TestCase};

    fn spec(report: bool) -> GateSpec {
        GateSpec {
            name: GateName::new("test"),
            kind: GateKind::Test,
            run: "x".to_owned(),
            dir: ".".to_owned(),
            timeout_ms: 1,
            required: true,
            report: report.then(|| "r.xml".to_owned()),
            requirements: Vec::new(),
            detected: false,
        }
    }

    fn check(ended: Ended, cases: Option<Result<Vec<TestStatus>, &str>>, log: &str, expected: GateStatus) {
        let case = |status| {
            let (name, classname, message) = ("n".to_owned(), String::new(), String::new());
            let case = TestCase { classname, name, status, time_ms: 0, message, file: None, line: None };
            Hinted { case, hints: Vec::new() }
        };
        let report = Report::bare(ended);
        let spec = spec(cases.is_some());
        let cases = cases.unwrap_or(Ok(Vec::new()));
        let unreadable = cases.as_ref().err().map(|why| (*why).to_owned());
        let cases: Vec<Hinted> = cases.unwrap_or_default().into_iter().map(case).collect();
        let result = judge(&spec, report, (&cases, unreadable), log.to_owned());
        assert_eq!(result.status, expected, "{result:?}");
    }

    #[test]
    fn green_needs_exit_status_and_report() {
        let ok = || Ended::Exited { code: 0 };
        check(ok(), None, "error: lots of them", GateStatus::Passed);
        check(ok(), Some(Ok(vec![TestStatus::Passed])), "", GateStatus::Passed);
        check(ok(), Some(Ok(vec![TestStatus::Passed, TestStatus::Failed])), "", GateStatus::Failed);
        check(ok(), Some(Ok(vec![])), "", GateStatus::Inconclusive);
        check(ok(), Some(Ok(vec![TestStatus::Skipped])), "", GateStatus::Inconclusive);
        check(ok(), Some(Err("not written")), "", GateStatus::Inconclusive);
        check(Ended::Exited { code: 1 }, Some(Ok(vec![TestStatus::Passed])), "", GateStatus::Failed);
    }

    #[test]
    fn a_missing_tool_is_skipped_and_a_timeout_proves_nothing() {
        check(Ended::Exited { code: 127 }, None, "", GateStatus::Skipped);
        check(Ended::Exited { code: 1 }, None, "/usr/bin/python3: No module named pytest\n", GateStatus::Skipped);
        check(Ended::Timeout { limit_ms: 5 }, None, "", GateStatus::Inconclusive);
    }
}
