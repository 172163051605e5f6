//! What a resume takes over from the run before it, and what the reports advise.

use std::fs;
use std::time::{Duration, Instant};

use crate::env::{Env, prd, wait_until};

fn stopped_by_cost() -> Env {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first"), ("FR-2", "second, after FR-1"), ("FR-3", "third, after FR-2")]));
    env.commit("prd");
    let agent = "echo '{\"usage\":{\"cost_usd\":1}}'; echo x > $MAESTRO_TASK.txt";
    let set = "error_recovery.max_retry_attempts=1";
    env.run_prd(agent, &["--max-cost", "1.5usd", "--set", set, "-j1"]).exits(5);
    env
}

#[test]
fn a_resume_keeps_the_limits_and_settings_it_is_not_told_to_change() {
    let env = stopped_by_cost();
    env.run(&["resume", "--allow-unsandboxed"]).exits(5).says("$1.50");
    assert_eq!(env.report()["budget"]["cost_microusd"]["limit"], 1_500_000);
    let run = env.run(&["resume", "--allow-unsandboxed", "--max-cost", "5"]).exits(0);
    env.check_run(&run);
    // The attempt that crossed the limit may have been ended before it was done, and is then paid for twice.
    let report = env.report();
    let attempts = report["tasks"].as_array().unwrap().iter().flat_map(|t| t["attempts"].as_array().unwrap());
    assert_eq!(report["budget"]["cost_microusd"]["used"], 1_000_000 * attempts.count() as u64);
}

/// The limit on cost that a bare resume stops at.
#[track_caller]
fn limit_of_a_bare_resume(env: &Env) -> u64 {
    env.run(&["resume", "--allow-unsandboxed"]).exits(5);
    env.report()["budget"]["cost_microusd"]["limit"].as_u64().unwrap()
}

#[test]
fn what_the_latest_run_was_told_holds_for_the_next_resume() {
    let env = Env::new();
    let chain: Vec<(String, String)> =
        (1..=7).map(|n| (format!("FR-{n}"), format!("part {n}, after FR-{}", n - 1))).collect();
    let mut chain: Vec<(&str, &str)> = chain.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    chain[0].1 = "part 1";
    env.write("prd.md", &prd(&chain));
    env.commit("prd");
    // Each attempt costs a dollar; the one that crosses the limit may have done its work all the same.
    let agent = "echo '{\"usage\":{\"cost_usd\":1}}'; echo x > $MAESTRO_TASK.txt";
    let run = |cost: &str| {
        let set = "error_recovery.max_retry_attempts=1";
        env.run_prd(agent, &["--max-cost", cost, "--set", set, "-j1"]).exits(5);
    };
    let resume = |more: [&str; 2]| env.run(&["resume", "--allow-unsandboxed", more[0], more[1]]);
    run("1.5usd");
    resume(["--max-cost", "2.5"]).exits(5);
    assert_eq!(limit_of_a_bare_resume(&env), 2_500_000);
    resume(["--set", "resource_limits.max_cost_usd=3.5"]).exits(5);
    assert_eq!(limit_of_a_bare_resume(&env), 3_500_000);
    resume(["--max-cost", "4.5"]).exits(5);
    assert_eq!(limit_of_a_bare_resume(&env), 4_500_000);
    run("5.5");
    assert_eq!(limit_of_a_bare_resume(&env), 5_500_000);
    let run = resume(["--max-cost", "50"]).exits(0);
    env.check_run(&run);
}

/// Runs the command that the final report names, and nothing else.
#[track_caller]
fn follow_the_advice(mut env: Env) -> String {
    env.unset("MAESTRO_CI_ALLOW_UNSANDBOXED");
    let report = fs::read_to_string(env.session_dir().join("final-report.md")).unwrap();
    let advice = report.lines().find(|line| line.starts_with("maestro-ci resume")).expect("a command");
    let args: Vec<&str> = advice.split_whitespace().skip(1).collect();
    env.run(&args).exits(0);
    advice.to_owned()
}

#[test]
fn the_resume_command_in_the_final_report_works_as_it_stands() {
    follow_the_advice(stopped_by_cost());
}

#[test]
fn the_resume_command_raises_the_limit_of_the_task_that_stopped_the_run() {
    let first = "echo x > x; [ $MAESTRO_ATTEMPT = 2 ] ||";
    for (agent, key, value) in [
        ("echo '{\"usage\":{\"input_tokens\":101}}'; echo x > x".to_owned(), "task.max_tokens", "100"),
        ("echo '{\"usage\":{\"cost_usd\":0.3}}'; echo x > x".to_owned(), "task.max_cost_usd", "0.2"),
        (format!("{first} sleep 9"), "task.max_duration_seconds", "1"),
        (format!("{first} sleep 9"), "idle_seconds", "1"),
        (format!("{first} echo y > y"), "task.max_changed_files", "1"),
    ] {
        let env = Env::new();
        env.write("prd.md", &prd(&[("FR-1", "first")]));
        env.commit("prd");
        let limit = format!("resource_limits.{key}={value}");
        let sets = ["--set", &limit, "--set", "error_recovery.max_retry_attempts=0"];
        env.run_prd(&agent, &sets).exits(5);
        let advice = follow_the_advice(env);
        assert!(advice.contains(&format!("--set resource_limits.{key}=")), "{advice}");
    }
}

#[test]
fn the_time_of_a_killed_process_counts() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.commit("prd");
    let began = env.path("began");
    let agent = format!("echo x > x; [ -e {0} ] || {{ touch {0}; sleep 60; }}", began.display());
    let mut child = env.command(&["--prd", "prd.md", "--agent-cmd", &agent]).spawn().unwrap();
    wait_until("the agent", Duration::from_secs(20), || began.exists());
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(6));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(started.elapsed() > Duration::from_secs(5));
    let used = |env: &Env| env.report()["budget"]["duration"]["used_ms"].as_u64().unwrap();
    assert!(used(&env) >= 5000, "{} ms", used(&env));
    let run = env.run(&["resume", "--allow-unsandboxed"]).exits(0);
    env.check_run(&run);
    assert!(used(&env) >= 5000, "{} ms", used(&env));
}

#[test]
fn quiet_leaves_failures_and_the_log_level_of_the_configuration_counts() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.commit("prd");
    let quiet = env.run_prd("echo x > x", &["-q"]).exits(0);
    assert_eq!(quiet.stderr, "");
    // Below a file there is no place for one.
    let dotenv = ["--fresh", "--dotenv", &env.repo.join("README.md/env").display().to_string()].map(str::to_owned);
    let dotenv = dotenv.each_ref().map(String::as_str);
    env.run_prd("echo x > x", &dotenv).exits(0).says("WARN the dotenv report cannot be written");
    let silent = env.run_prd("echo x > x", &[&dotenv[..], &["--set", "logging.level=error"]].concat()).exits(0);
    assert!(!silent.stderr.contains("WARN"), "{}", silent.stderr);
    let json = env.run_prd("false", &["--fresh", "--log-format", "json"]).exits(1);
    for line in json.stderr.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(value.is_object());
    }
}
