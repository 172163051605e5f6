//! The reports of real runs, on every way out: they exist at the paths that were asked for, are what their schemas say,
//! and tell the same story as the exit code.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::{Env, SLACK, end_of, prd, wait_until};

const WORKS: &str = "echo '{\"usage\":{\"input_tokens\":50,\"api_calls\":1}}'; echo x > \"$MAESTRO_TASK.txt\"";
const HANGS: &str = "echo '{\"usage\":{\"input_tokens\":50,\"api_calls\":1}}'; trap '' INT TERM; sleep 60";
const ASKED: [&str; 10] = [
    "--json",
    "out/r.json",
    "--junit",
    "out/r.xml",
    "--sarif",
    "out/r.sarif",
    "--html",
    "out/r.html",
    "--markdown",
    "out/r.md",
];

fn world() -> Env {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first"), ("FR-2", "the second, after FR-1")]));
    env.commit("prd");
    env
}

fn args<'a>(agent: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    ["--prd", "prd.md", "--agent-cmd", agent].into_iter().chain(ASKED).chain(more.iter().copied()).collect()
}

/// Everything that the reports of a run must agree on; returns the JSON report.
#[track_caller]
fn check(env: &Env, verdict: &str, exit_code: Option<i32>) -> Value {
    let read =
        |name: &str| fs::read_to_string(env.repo.join("out").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let report: Value = serde_json::from_str(&read("r.json")).unwrap();
    assert_eq!((&report["verdict"], &report["exit_code"]), (&Value::from(verdict), &Value::from(exit_code)));
    let schema = env.run(&["schema", "report"]).exits(0).json();
    let validator = jsonschema::validator_for(&schema).expect("a JSON Schema");
    let errors: Vec<String> = validator.iter_errors(&report).map(|e| e.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    let junit = quick_junit::Report::deserialize_from_str(&read("r.xml")).unwrap();
    let red_cases: usize = junit.test_suites.iter().map(|s| s.failures + s.errors).sum();
    assert_eq!(red_cases == 0, exit_code == Some(0), "{red_cases} red cases");
    let sarif: Value = serde_json::from_str(&read("r.sarif")).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(run["properties"]["session"], report["session"]);
    assert_eq!(run["invocations"][0]["executionSuccessful"], exit_code == Some(0));
    assert_eq!(run["results"].as_array().map(Vec::len), report["findings"].as_array().map(Vec::len));
    let page = read("r.md");
    assert!(page.contains(&format!("**{verdict}**")), "{page}");
    assert!(read("r.html").contains(report["session"].as_str().unwrap()));
    for (name, derived) in
        [("r.json", "report.json"), ("r.xml", "junit.xml"), ("r.sarif", "report.sarif"), ("r.html", "report.html")]
    {
        let kept = fs::read_to_string(env.session_dir().join(derived)).unwrap();
        // The process may have been killed between the two.
        assert!(exit_code.is_none() || kept == read(name), "{derived} differs");
    }
    report
}

fn start(env: &Env, agent: &str) -> Child {
    let child = env.command(&args(agent, &[])).spawn().unwrap();
    let used = || {
        let report = env.run(&["report", "--format", "json"]);
        report.code == 0 && report.json()["budget"]["tokens"]["used"] == 50
    };
    wait_until("the agent to report what it used", Duration::from_secs(20), used);
    child
}

fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

#[test]
fn a_green_run_is_green_in_every_report() {
    let env = world();
    env.run(&args(WORKS, &["--set", "validation.gates.look.run=true"])).exits(0);
    let report = check(&env, "passed", Some(0));
    assert_eq!(report["progress"]["percent"], 100);
    assert_eq!(report["findings"], serde_json::json!([]));
    let curve = report["budget"]["curve"].as_array().unwrap();
    assert_eq!(curve.last().unwrap()["tokens"], report["budget"]["tokens"]["used"]);
    assert!(curve.iter().any(|point| point["tokens"] == 50), "{curve:?}");
    assert!(report["gates"][0]["started_ms"].is_i64() && report["gates"][0]["started_elapsed_ms"].is_u64());
}

#[test]
fn a_red_gate_points_at_the_line_its_log_names() {
    let env = world();
    let gate = "validation: {gates: {lint: {kind: lint, \
                run: 'echo T-001.txt:1:1: E1 bad; echo gone.txt:1: no; exit 1'}}}\n";
    env.write(".flow/maestro/config.yaml", gate);
    env.commit("gate");
    env.run(&args(WORKS, &[])).exits(1);
    let report = check(&env, "failed", Some(1));
    let finding = finding_of(&report, "gate-problem");
    assert_eq!(finding["level"], "error");
    assert_eq!((&finding["path"], &finding["line"]), (&"T-001.txt".into(), &1.into()));
    assert_eq!((&finding["message"], &finding["source"]), (&"E1 bad".into(), &"gate lint".into()));
}

#[track_caller]
fn finding_of<'a>(report: &'a Value, rule: &str) -> &'a Value {
    let found = report["findings"].as_array().unwrap().iter().find(|finding| finding["rule"] == rule);
    found.unwrap_or_else(|| panic!("no {rule}: {}", report["findings"]))
}

fn with_gate(gate: &str) -> Env {
    let env = world();
    env.write(".flow/maestro/config.yaml", &format!("validation: {{gates: {{test: {{kind: test, {gate}}}}}}}\n"));
    env
}

#[test]
fn a_warning_of_a_compiler_does_not_hide_why_a_gate_is_red() {
    let env = with_gate("run: 'cat log.txt; exit 101'");
    let warning = "warning: unused variable: `x`\n --> T-001.txt:1:9\n  |\n";
    env.write("log.txt", &format!("{warning}test it_works ... FAILED\ntest result: FAILED. 0 passed; 1 failed\n"));
    env.commit("gate");
    env.run(&args(WORKS, &[])).exits(1);
    let report = check(&env, "failed", Some(1));
    let first = &report["findings"][0];
    assert_eq!((&first["rule"], &first["level"]), (&"gate-failed".into(), &"error".into()), "{report}");
    assert!(first["message"].as_str().unwrap().contains("test it_works ... FAILED"), "{first}");
    let problem = finding_of(&report, "gate-problem");
    assert_eq!((&problem["level"], &problem["path"]), (&"warning".into(), &"T-001.txt".into()));
}

#[test]
fn a_required_gate_that_could_not_be_run_is_told_as_why_the_run_failed() {
    let env = with_gate("run: 'no-such-tool-here --all'");
    env.commit("gate");
    env.run(&args(WORKS, &[])).exits(1);
    let report = check(&env, "failed", Some(1));
    let finding = finding_of(&report, "gate-inconclusive");
    assert_eq!((&finding["level"], &finding["source"]), (&"error".into(), &"gate test".into()));
    assert!(finding["message"].as_str().unwrap().contains("could not be run"), "{finding}");
    env.run(&["status"]).exits(0).prints("failed, 1 gate could not be run");
}

#[test]
fn what_a_hostile_report_says_is_clipped_and_its_places_are_looked_up_for_listed_cases_only() {
    let env = with_gate("run: 'cp r.xml.in r.xml; exit 1', report: r.xml");
    let case = "<testcase classname=\"c\" name=\"ok\" file=\"prd.md\"/>".repeat(3_000);
    let long = "n".repeat(50_000);
    let places = "<a/>T-001.txt:1 ".repeat(20_000);
    let failed = format!("<testcase classname=\"{long}\" name=\"{long}\"><failure>{places}</failure></testcase>");
    env.write("r.xml.in", &format!("<testsuite>{case}{failed}</testsuite>"));
    env.commit("gate");
    env.run(&args(WORKS, &[])).exits(1);
    let report = check(&env, "failed", Some(1));
    let cases = report["gates"][0]["cases"].as_array().unwrap();
    let chars = |field: &str| cases[0][field].as_str().unwrap().len();
    assert_eq!((cases.len(), chars("name"), chars("classname")), (2_000, 1_000, 1_000));
    assert_eq!((&cases[0]["file"], &cases[1]["file"]), (&"T-001.txt".into(), &"prd.md".into()));
    assert_eq!(report["gates"][0]["counts"], serde_json::json!({"failed": 1, "passed": 3_000}));
}

#[test]
fn two_reports_at_one_place_are_refused_however_their_paths_are_spelled() {
    let env = world();
    fs::create_dir(env.repo.join("out")).unwrap();
    let whole = env.repo.join("out/r.json").display().to_string();
    for other in ["--junit", "--dotenv"] {
        for spelled in ["out/r.json", "./out/../out/r.json"] {
            let run = env.run(&["--prd", "prd.md", "--agent-cmd", WORKS, "--json", &whole, other, spelled]);
            run.exits(2).says("another report goes there already");
        }
    }
}

#[test]
fn a_failed_test_stands_where_its_report_says() {
    let env = world();
    let xml = "<testsuite name=\"pytest\"><testcase classname=\"T\" name=\"works\" file=\"T-002.txt\" line=\"0\">\
               <failure message=\"no\">x</failure></testcase></testsuite>";
    env.write("r.xml.in", xml);
    env.write(
        ".flow/maestro/config.yaml",
        "validation: {gates: {test: {kind: test, run: 'cp r.xml.in r.xml; exit 1', report: r.xml}}}\n",
    );
    env.commit("gate");
    env.run(&args(WORKS, &[])).exits(1);
    let report = check(&env, "failed", Some(1));
    let finding = &report["findings"][0];
    assert_eq!((&finding["rule"], &finding["path"]), (&"test-failed".into(), &"T-002.txt".into()), "{report}");
    assert_eq!(finding["line"], 1);
}

#[test]
fn a_change_that_the_policy_refuses_is_a_finding_at_its_path() {
    let env = world();
    let agent = "mkdir -p .github; echo x > .github/a.yml";
    env.run(&args(agent, &["--set", "error_recovery.max_retry_attempts=0"])).exits(1);
    let report = check(&env, "failed", Some(1));
    let findings = report["findings"].as_array().unwrap();
    let policy = findings.iter().find(|f| f["rule"] == "policy-violation" && f["level"] == "error").expect("one");
    assert_eq!(policy["path"], ".github/a.yml");
    let unmet = findings.iter().filter(|f| f["rule"] == "requirement-unmet").count();
    assert_eq!(unmet, 2, "{findings:?}");
}

#[test]
fn a_budget_stop_leaves_reports_that_say_which_limit_it_was() {
    let env = world();
    env.run(&args(WORKS, &["--jobs", "1", "--max-api-calls", "1"])).exits(5);
    let report = check(&env, "budget", Some(5));
    assert_eq!(report["budget"]["stopped_by"]["resource"], "api_calls");
}

#[test]
fn a_cancelled_run_leaves_every_report_whole() {
    let env = world();
    let child = start(&env, HANGS);
    let at = Instant::now();
    signal(&child, "-INT");
    end_of(child, at, Duration::from_secs(3) + SLACK).exits(130);
    let report = check(&env, "interrupted", Some(130));
    assert_eq!(report["resumable"], true);
    env.check_nothing_left();
}

#[test]
fn a_killed_run_leaves_every_report_that_was_asked_for_and_none_is_green() {
    let env = world();
    let mut child = start(&env, HANGS);
    // The next version is due two seconds after the first; on a busy machine that took long, twenty.
    wait_until("a report that knows of the attempt", Duration::from_secs(40), || {
        let text = fs::read_to_string(env.repo.join("out/r.md")).unwrap_or_default();
        text.contains("T-001")
            && fs::read_to_string(env.repo.join("out/r.sarif")).is_ok()
            && fs::read_to_string(env.repo.join("out/r.json")).is_ok_and(|t| t.contains("\"running\": [\n      {"))
    });
    signal(&child, "-9");
    child.wait().unwrap();
    let report = check(&env, "running", None);
    assert_eq!(report["progress"]["running"][0]["task"], "T-001");
    assert!(report["progress"]["running"][0]["limit_ms"].is_u64());
    env.run(&["status"]).exits(0).prints("Running  T-001 · attempt 1").prints("Next").prints("0/2 (0 %)");
    wait_until("every process to end", Duration::from_secs(5), || env.processes().is_empty());
}

#[test]
fn the_log_is_asked_by_time() {
    let env = world();
    env.run_prd(WORKS, &[]).exits(0);
    let all = env.run(&["log", "--json"]).exits(0).stdout.lines().count();
    let count = |more: &[&str]| {
        let args: Vec<&str> = ["log", "--json"].into_iter().chain(more.iter().copied()).collect();
        env.run(&args).exits(0).stdout.lines().count()
    };
    assert_eq!((count(&["--since", "1h"]), count(&["--until", "1h"])), (all, 0));
    assert_eq!(count(&["--since", "2000-01-01T00:00:00Z", "--until", "2000-01-02T00:00:00Z"]), 0);
    let report = env.report();
    let finished = report["timing"]["finished"].as_str().unwrap();
    let last = count(&["--since", finished]);
    assert!(last > 0 && last < all, "{last} of {all} since {finished}");
    env.run(&["log", "--since", "yesterday"]).exits(2).says("--since").says("10m");
    env.run(&["log", "--task", "T-999"]).exits(2).says("T-999");
}

#[test]
fn status_tells_of_a_branch_that_was_put_back_and_of_a_report_that_could_not_be_written() {
    let env = world();
    env.run_prd(WORKS, &[]).exits(0);
    assert!(!env.run(&["status"]).exits(0).stdout.contains("Note"));
    env.run(&["rollback", "--to", "0"]).exits(0);
    env.run(&["status"]).exits(0).prints("maestro/feature was put back to checkpoint 0");
    // What was a directory at the start of the run is a file at its end.
    let agent = format!("{WORKS}; until rm -rf '{0}' && echo > '{0}'; do :; done", env.path("away").display());
    fs::create_dir(env.path("away")).unwrap();
    let path = env.path("away/r.json").display().to_string();
    env.run(&["--prd", "prd.md", "--agent-cmd", &agent, "--fresh", "--branch", "second", "--json", &path]).exits(8);
    env.run(&["status"]).exits(0).prints("not delivered: ").prints("away/r.json cannot be written");
    fs::remove_file(env.path("away")).unwrap();
    env.run(&["--prd", "prd.md", "--agent-cmd", &agent, "--branch", "second", "--json", &path]).exits(0);
    assert!(!env.run(&["status"]).exits(0).stdout.contains("not delivered"));
}
