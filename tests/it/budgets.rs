//! Limits of tokens, calls, money and time: what is allowed, what stops a run, what it says, and how it goes on.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::{Env, Run, end_of, prd};

/// Runs a PRD with a command as its agent. A run that hangs fails the test instead of the whole suite.
#[track_caller]
pub fn run_within(env: &Env, limit: Duration, agent: &str, more: &[&str]) -> Run {
    let mut args = vec!["--prd", "prd.md", "--agent-cmd", agent];
    args.extend(more);
    end_of(env.command(&args).spawn().unwrap(), Instant::now(), limit)
}

/// A world whose PRD has that many independent requirements.
pub fn tasks(count: usize) -> Env {
    let env = Env::new();
    let texts: Vec<(String, String)> = (1..=count).map(|n| (format!("FR-{n}"), format!("number {n}"))).collect();
    let requirements: Vec<(&str, &str)> = texts.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    env.write("prd.md", &prd(&requirements));
    env.commit("prd");
    env
}

/// A line of a script that reports usage.
pub fn usage(fields: &str) -> String {
    format!("echo '{{\"usage\":{{{fields}}}}}'\n")
}

/// A script that writes its task's file and reports usage.
fn works(fields: &str) -> String {
    format!("echo done > \"$MAESTRO_TASK.txt\"\n{}", usage(fields))
}

const PATIENCE: Duration = Duration::from_mins(1);

fn statuses(report: &Value) -> Vec<&str> {
    report["tasks"].as_array().unwrap().iter().map(|task| task["status"].as_str().unwrap()).collect()
}

/// Tokens, calls and millionths of a dollar that all attempts together used.
fn sum_of_attempts(report: &Value) -> (u64, u64, u64) {
    let tasks = report["tasks"].as_array().unwrap().iter();
    let attempts = tasks.flat_map(|task| task["attempts"].as_array().unwrap());
    attempts.fold((0, 0, 0), |sum, attempt| {
        let field = |name: &str| attempt["usage"][name].as_u64().unwrap();
        let tokens = field("input_tokens") + field("output_tokens");
        (sum.0 + tokens, sum.1 + field("api_calls"), sum.2 + field("cost_microusd"))
    })
}

/// What the session used; what nobody knows is null there and nothing here.
fn used(report: &Value) -> (u64, u64, u64) {
    let field = |name: &str| report["budget"][name]["used"].as_u64().unwrap_or(0);
    (field("tokens"), field("api_calls"), field("cost_microusd"))
}

/// How a limit is written, what one task uses of it, and how the resource is called.
#[expect(clippy::struct_field_names, reason = "the limit of a limit test")]
struct Limit {
    flag: &'static str,
    usage: &'static str,
    /// Just above what is used, exactly that, just below it.
    values: [&'static str; 3],
    in_log: &'static str,
    in_report: &'static str,
    in_junit: &'static str,
    used: u64,
    limit: u64,
}

#[track_caller]
fn check_limit(limit: &Limit) {
    for (value, code) in limit.values.into_iter().zip([0, 0, 5]) {
        let env = tasks(1);
        let agent = env.script("agent.sh", &works(limit.usage));
        let run = run_within(&env, PATIENCE, &agent, &[limit.flag, value]).exits(code);
        env.check_run(&run);
        if code == 0 {
            continue;
        }
        run.says(limit.in_log);
        let report = env.report();
        let stopped = &report["budget"]["stopped_by"];
        assert_eq!(stopped["resource"], limit.in_report, "{stopped}");
        assert_eq!(stopped["used"], limit.used, "{stopped}");
        assert_eq!(stopped["limit"], limit.limit, "{stopped}");
        assert_eq!(report["verdict"], "budget");
        assert_eq!(report["resumable"], true);
        assert!(report["reason"].as_str().unwrap().contains(limit.in_log), "{}", report["reason"]);
        let junit = env.run(&["report", "--format", "junit"]).exits(0);
        let junit = junit.prints("name=\"verdict\" value=\"budget\"");
        let junit = junit.prints(&format!("name=\"{}_used\" value=\"{}\"", limit.in_junit, limit.used));
        let junit = junit.prints(&format!("name=\"{}_limit\" value=\"{}\"", limit.in_junit, limit.limit));
        junit.prints(&format!("of the session: {} of {}\"", limit.used, limit.limit));
    }
}

#[test]
fn tokens_may_reach_their_limit_and_not_pass_it() {
    check_limit(&Limit {
        flag: "--max-tokens",
        usage: r#""input_tokens":60,"output_tokens":40"#,
        values: ["101", "100", "99"],
        in_log: "the budget of tokens allows no more: 100 tokens of 99 tokens",
        in_report: "tokens",
        in_junit: "tokens",
        used: 100,
        limit: 99,
    });
}

#[test]
fn calls_may_reach_their_limit_and_not_pass_it() {
    check_limit(&Limit {
        flag: "--max-api-calls",
        usage: r#""api_calls":7"#,
        values: ["8", "7", "6"],
        in_log: "the budget of API calls allows no more: 7 API calls of 6 API calls",
        in_report: "api_calls",
        in_junit: "api_calls",
        used: 7,
        limit: 6,
    });
}

#[test]
fn cost_may_reach_its_limit_and_not_pass_it() {
    check_limit(&Limit {
        flag: "--max-cost",
        usage: r#""cost_usd":0.25"#,
        values: ["0.250001", "0.25", "0.249999"],
        in_log: "the budget of cost allows no more: $0.250000 of $0.249999",
        in_report: "cost",
        in_junit: "cost_microusd",
        used: 250_000,
        limit: 249_999,
    });
}

#[test]
fn a_run_ends_at_its_time_limit_although_its_agent_sleeps() {
    let env = tasks(1);
    let agent = env.script("agent.sh", "echo half > half.txt\nsleep 60\n");
    let more = ["--max-duration", "1s", "--set", "resource_limits.grace_seconds=1"];
    let run =
        run_within(&env, Duration::from_secs(20), &agent, &more).exits(5).says("the budget of time allows no more");
    assert!(run.took < Duration::from_secs(8), "{:?}", run.took);
    env.check_run(&run);
    let report = env.report();
    let stopped = &report["budget"]["stopped_by"];
    assert_eq!(stopped["resource"], "duration");
    assert_eq!(stopped["limit"], 1000);
    assert!(stopped["used"].as_u64().unwrap() >= 1000, "{stopped}");
    assert_eq!(statuses(&report), ["waiting"]);
    env.run(&["report", "--format", "junit"]).prints("name=\"duration_ms_limit\" value=\"1000\"");
}

#[test]
fn an_agent_that_ignores_every_signal_does_not_outlive_the_time_limit() {
    let env = tasks(1);
    let agent = env.script("agent.sh", "trap '' TERM INT HUP\nwhile :; do sleep 0.1; done\n");
    let more = ["--max-duration", "1s", "--set", "resource_limits.grace_seconds=1"];
    let run = run_within(&env, Duration::from_secs(20), &agent, &more).exits(5);
    assert!(run.took < Duration::from_secs(8), "{:?}", run.took);
    env.check_run(&run);
}

#[test]
fn near_a_limit_a_run_goes_on_where_the_rest_fits() {
    let env = tasks(10);
    let agent = env.script("agent.sh", &works(r#""input_tokens":9"#));
    let run = run_within(&env, PATIENCE, &agent, &["-j1", "--max-tokens", "100"]);
    let decisions = env.run(&["log", "--kind", "decision"]).exits(0).stdout;
    assert_eq!(run.code, 0, "9 of 10 tasks used 81 of 100 tokens, the last one needs 9\n{decisions}\n{}", run.stderr);
    env.check_run(&run);
    assert!(decisions.contains("Decision: go on") && decisions.contains("of 100 tokens left"), "{decisions}");
    assert_eq!(used(&env.report()).0, 90);
}

#[test]
fn near_a_limit_a_run_stops_with_partial_results_where_the_rest_does_not_fit() {
    let env = tasks(10);
    let agent = env.script("agent.sh", &works(r#""input_tokens":80"#));
    let run = run_within(&env, PATIENCE, &agent, &["-j1", "--max-tokens", "100"]).exits(5);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(report["budget"]["stopped_by"]["soft"], true);
    assert_eq!(statuses(&report), [&["done"][..], &["waiting"; 9][..]].concat());
    let tip = report["result"]["tip"].as_str().unwrap();
    assert!(env.show(tip, "T-001.txt").is_some(), "partial results are kept");
    let decisions = env.run(&["log", "--kind", "decision"]).exits(0);
    decisions.prints("stop with partial results").prints("20 tokens of 100 tokens left");
    let json = env.run(&["log", "--kind", "decision", "--json"]).exits(0);
    json.prints(r#""kind":"budget""#).prints("go on");
}

#[test]
fn a_task_over_its_own_limit_stops_alone_and_names_it() {
    let env = tasks(2);
    let script = format!(
        "echo done > \"$MAESTRO_TASK.txt\"\nif [ $MAESTRO_TASK = T-001 ]; then {} fi\n",
        usage(r#""input_tokens":101"#)
    );
    let agent = env.script("agent.sh", &script);
    let run = run_within(&env, PATIENCE, &agent, &["-j1", "--set", "resource_limits.task.max_tokens=100"]).exits(5);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(statuses(&report), ["parked", "done"]);
    let attempts = &report["tasks"][0]["attempts"];
    assert_eq!(attempts.as_array().unwrap().len(), 1, "more attempts would cost more");
    assert_eq!(attempts[0]["fault"]["reason"], "task_budget");
    let stop = &report["budget"]["stopped_by"];
    assert_eq!((&stop["resource"], &stop["used"], &stop["limit"]), (&"tokens".into(), &101.into(), &100.into()));
    assert_eq!((&stop["scope"], &stop["task"]), (&"task".into(), &"T-001".into()));
    run.says("the budget of tokens for T-001 allows no more: 101 tokens of 100 tokens");
    let junit = env.run(&["report", "--format", "junit"]).exits(0);
    junit.prints("name=\"stopped_by\" value=\"tokens of task T-001: 101 of 100\"");
}

#[test]
fn attempts_that_are_always_too_slow_or_silent_park_their_task_at_that_limit() {
    for (key, reason, resource) in
        [("task.max_duration_seconds", "timeout", "duration"), ("idle_seconds", "idle", "idle")]
    {
        let env = tasks(2);
        let script = "echo x > $MAESTRO_TASK.txt\n[ $MAESTRO_TASK = T-002 ] || sleep 60\n";
        let agent = env.script("agent.sh", script);
        let key = format!("resource_limits.{key}=1");
        let more = ["--set", &key, "--set", "error_recovery.max_retry_attempts=1", "-j1"];
        let run = run_within(&env, PATIENCE, &agent, &more).exits(5);
        env.check_run(&run);
        let report = env.report();
        assert_eq!(statuses(&report), ["parked", "done"]);
        let attempts = report["tasks"][0]["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 2, "another approach may be faster");
        let fault = &attempts[1]["fault"];
        assert_eq!((&fault["class"], &fault["reason"]), (&"budget".into(), &reason.into()));
        assert_eq!((&fault["limit"]["resource"], &fault["limit"]["limit"]), (&resource.into(), &1000.into()));
        let stop = &report["budget"]["stopped_by"];
        let found = [&stop["resource"], &stop["task"], &stop["limit"]];
        assert_eq!(found, [&Value::from(resource), &"T-001".into(), &1000.into()]);
    }
}

#[test]
fn an_agent_that_the_sessions_time_cuts_short_is_not_blamed_although_nothing_more_starts() {
    let env = tasks(3);
    // The second task takes most of the time, so the third is not begun while the first still works.
    let script = "echo x > $MAESTRO_TASK.txt\n[ $MAESTRO_TASK != T-001 ] || sleep 60\n\
        [ $MAESTRO_TASK != T-002 ] || sleep 2.5\n";
    let agent = env.script("agent.sh", script);
    let more = ["-j2", "--max-duration", "4s", "--set", "resource_limits.soft_ratio=0.5"];
    let run = run_within(&env, Duration::from_secs(30), &agent, &more).exits(5);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(report["tasks"][0]["status"], "waiting");
    assert_eq!(report["tasks"][0]["attempts"][0]["fault"]["reason"], "stopped");
    assert!(!run.stderr.contains("timeout"), "{}", run.stderr);
}

#[test]
fn a_task_over_its_own_limit_is_ended_while_it_runs() {
    let env = tasks(1);
    let agent = env.script("agent.sh", &format!("{}sleep 60\n", works(r#""input_tokens":101"#)));
    let more = ["--set", "resource_limits.task.max_tokens=100", "--set", "resource_limits.grace_seconds=1"];
    let run = run_within(&env, Duration::from_secs(20), &agent, &more).exits(5).says("is over its budget");
    env.check_run(&run);
    assert_eq!(env.report()["tasks"][0]["attempts"][0]["fault"]["reason"], "task_budget");
}

#[test]
fn a_hard_limit_ends_every_running_agent() {
    let env = tasks(2);
    let script = format!(
        "echo half > \"$MAESTRO_TASK.txt\"\n: > {here}/at-work-$MAESTRO_TASK\n\
         if [ $MAESTRO_TASK = T-001 ]; then until [ -e {here}/at-work-T-002 ]; do sleep 0.05; done; {said} fi\nsleep 60\n",
        here = env.path("").display(),
        said = usage(r#""input_tokens":1001"#)
    );
    let agent = env.script("agent.sh", &script);
    let run = run_within(&env, Duration::from_secs(20), &agent, &["-j2", "--max-tokens", "1000"]).exits(5);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(statuses(&report), ["waiting", "waiting"]);
    assert_eq!(report["budget"]["stopped_by"]["soft"], false);
    assert_eq!(report["tasks"][1]["attempts"][0]["fault"]["reason"], "stopped");
}

#[test]
fn time_that_runs_out_in_a_gate_is_never_success() {
    let env = tasks(1);
    let (runs, flag) = (env.path("runs"), env.path("flag"));
    let agent = env.script("agent.sh", &format!("echo $MAESTRO_TASK >> {}\necho done > f.txt\n", runs.display()));
    let gate = format!("validation.gates.slow.run=test -e {} || sleep 60", flag.display());
    let more = |limit: &'static str| {
        let fixed = ["--set", "resource_limits.grace_seconds=1", "--set", "validation.gates.slow.requirements=[FR-1]"];
        [&["--max-duration", limit, "--set", gate.as_str()][..], &fixed[..]].concat()
    };
    let run = run_within(&env, Duration::from_secs(30), &agent, &more("6s")).exits(5);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(report["requirements"][0]["status"], "unverified");
    assert_ne!(report["gates"][0]["status"], "passed");
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty(), "nothing has proved the work");
    fs::write(&flag, "").unwrap();
    let run = run_within(&env, PATIENCE, &agent, &more("60s")).exits(0).says("Going on with session");
    env.check_run(&run);
    assert_eq!(env.report()["requirements"][0]["status"], "met");
    assert_eq!(fs::read_to_string(&runs).unwrap(), "T-001\n", "what is integrated does not run again");
}

#[test]
fn retries_share_one_budget() {
    let env = tasks(1);
    let run = run_within(&env, PATIENCE, "exit 1", &["--max-api-calls", "2"]).exits(5);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(report["tasks"][0]["attempts"].as_array().unwrap().len(), 2, "four would be tried without a limit");
    assert_eq!(used(&report), sum_of_attempts(&report));
}

#[test]
fn a_stopped_run_goes_on_with_a_higher_limit_and_adds_up() {
    let env = tasks(4);
    let runs = env.path("runs");
    let script = format!(
        "echo $MAESTRO_TASK >> {}\n{}",
        runs.display(),
        works(r#""input_tokens":80,"api_calls":2,"cost_usd":0.01"#)
    );
    let agent = env.script("agent.sh", &script);
    run_within(&env, PATIENCE, &agent, &["-j1", "--max-tokens", "100"]).exits(5);
    let first = env.report();
    assert_eq!(used(&first), (80, 2, 10_000));
    // The same limit again changes nothing and costs nothing.
    run_within(&env, PATIENCE, &agent, &["-j1", "--max-tokens", "100"]).exits(5);
    let run = run_within(&env, PATIENCE, &agent, &["-j1", "--max-tokens", "1000"]).exits(0);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(report["session"], first["session"]);
    assert_eq!(used(&report), (320, 8, 40_000));
    assert_eq!(used(&report), sum_of_attempts(&report));
    let mut ran: Vec<String> = fs::read_to_string(&runs).unwrap().lines().map(str::to_owned).collect();
    ran.sort();
    assert_eq!(ran, ["T-001", "T-002", "T-003", "T-004"], "nothing runs twice");
}

#[test]
fn a_run_that_was_stopped_after_its_last_task_goes_on_to_its_end() {
    let env = tasks(1);
    let agent = env.script("agent.sh", &works(r#""input_tokens":101"#));
    run_within(&env, PATIENCE, &agent, &["--max-tokens", "100"]).exits(5);
    let run = run_within(&env, PATIENCE, &agent, &["--max-tokens", "1000"]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "T-001.txt").as_deref(), Some("done\n"));
    assert!(env.show("maestro/feature", "prd.md").unwrap().contains("status: implemented"));
}

#[test]
fn nonsense_in_usage_counts_as_nothing_and_never_gives_back() {
    let env = tasks(1);
    let script = [
        works(r#""input_tokens":50,"output_tokens":1,"api_calls":2,"cost_usd":0.5"#),
        usage(r#""input_tokens":10,"cost_usd":0.1"#),
        usage(r#""input_tokens":-5,"output_tokens":"many","api_calls":null,"cost_usd":-1"#),
        usage(r#""input_tokens":1e999"#),
        usage(r#""input_tokens":[7],"output_tokens":{"a":7}"#),
        "echo '{\"usage\":7}'; echo '{\"usage\":null}'; echo 'usage: 99999999'; echo '{\"usage\":{\"input_tokens\":9'\n"
            .to_owned(),
    ];
    let agent = env.script("agent.sh", &script.concat());
    let run = run_within(&env, PATIENCE, &agent, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(used(&env.report()), (51, 2, 500_000));
}

#[test]
fn usage_without_measure_saturates_and_is_over_the_limit() {
    for number in ["1e300", "18446744073709551616", "18446744073709551615"] {
        let env = tasks(1);
        let agent = env.script("agent.sh", &works(&format!(r#""input_tokens":{number},"output_tokens":5"#)));
        let run = run_within(&env, PATIENCE, &agent, &[]).exits(5).says("the budget of tokens allows no more");
        env.check_run(&run);
        assert_eq!(used(&env.report()).0, u64::MAX);
    }
}

#[test]
fn an_agent_that_reports_nothing_counts_one_call_an_attempt() {
    let env = tasks(1);
    let run = run_within(&env, PATIENCE, "exit 1", &["--set", "error_recovery.max_retry_attempts=1"]).exits(1);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(used(&report), (0, 2, 0));
    let budget = &report["budget"];
    assert_eq!((&budget["tokens"]["used"], &budget["cost_microusd"]["used"]), (&Value::Null, &Value::Null));
    assert_eq!(budget["source"], "none");
}
