//! Each key of the configuration that is said to work changes what a run does.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::budgets::{run_within, tasks, usage};
use crate::env::{Env, Run, prd};
use crate::runs::WRITES_A_FILE;

const CONFIG: &str = ".flow/maestro/config.yaml";
const PATIENCE: Duration = Duration::from_mins(1);

/// A world with that many tasks and a committed configuration.
fn configured(count: usize, config: &str) -> Env {
    let env = tasks(count);
    env.write(CONFIG, config);
    env.commit("config");
    env
}

/// Runs with keys set on the command line.
#[track_caller]
fn run_with(env: &Env, agent: &str, sets: &[&str]) -> Run {
    let more: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    run_within(env, PATIENCE, agent, &more)
}

/// Runs with the agent that the configuration names.
#[track_caller]
fn run_configured(env: &Env, more: &[&str]) -> Run {
    env.run(&[&["--prd", "prd.md"][..], more].concat())
}

fn attempts(report: &Value, task: usize) -> &Vec<Value> {
    report["tasks"][task]["attempts"].as_array().unwrap()
}

#[track_caller]
fn check_reason(env: &Env, reason: &str) {
    let report = env.report();
    assert_eq!(attempts(&report, 0)[0]["fault"]["reason"], reason, "{}", report["tasks"][0]);
}

/// Reasons of the checkpoints after the base.
fn checkpoints(report: &Value) -> Vec<String> {
    let checkpoints = report["checkpoints"].as_array().unwrap().iter().skip(1);
    checkpoints.map(|checkpoint| checkpoint["reason"].as_str().unwrap().to_owned()).collect()
}

/// Prompt of an attempt of the latest session's first task.
fn prompt(env: &Env, attempt: u32) -> String {
    fs::read_to_string(env.session_dir().join(format!("tasks/T-001/attempt-{attempt}/prompt.md"))).unwrap()
}

#[test]
fn orchestrator_max_task_duration_ends_an_attempt() {
    let env = tasks(1);
    let sets = ["orchestrator.max_task_duration=1", "error_recovery.max_retry_attempts=0"];
    let run = run_with(&env, "echo x > x; sleep 60", &sets).exits(5);
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
    env.check_run(&run);
    check_reason(&env, "timeout");
}

#[test]
fn resource_limits_task_max_duration_seconds_comes_before_max_task_duration() {
    let env = tasks(1);
    let sets = ["resource_limits.task.max_duration_seconds=1", "error_recovery.max_retry_attempts=0"];
    let run = run_with(&env, "echo x > x; sleep 60", &sets).exits(5);
    env.check_run(&run);
    check_reason(&env, "timeout");
}

/// Checkpoints of three tasks, the last of which depends on the others.
#[track_caller]
fn with_frequency(frequency: &str, gate: &str) -> (Env, Vec<String>) {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first"), ("FR-2", "second"), ("FR-3", "third, after FR-1 and FR-2")]));
    env.commit("prd");
    let frequency = format!("orchestrator.checkpoint_frequency={frequency}");
    let gate = format!("validation.gates.t={{kind: test, run: \"{gate}\"}}");
    let agent = "sleep 0.2; echo done > \"$MAESTRO_TASK.txt\"";
    let run = run_with(&env, agent, &[&frequency, &gate, "orchestrator.jobs=1"]);
    env.check_run(&run);
    let made = checkpoints(&env.report());
    let tags = env.git(&["tag", "--list", "maestro/*"]);
    assert_eq!(tags.lines().count(), made.len(), "every checkpoint has a tag: {made:?}\n{tags}");
    (env, made)
}

#[test]
fn orchestrator_checkpoint_frequency_phase_complete_makes_one_when_implementation_is_complete() {
    let (_, made) = with_frequency("phase_complete", "true");
    assert_eq!(made, ["implementation complete", "result"]);
}

#[test]
fn orchestrator_checkpoint_frequency_task_makes_one_after_each_task() {
    let (_, made) = with_frequency("task", "true");
    assert_eq!(made.len(), 4, "{made:?}");
    assert!(made.iter().filter(|reason| *reason == "task").count() >= 2, "{made:?}");
}

#[test]
fn orchestrator_checkpoint_frequency_group_makes_one_after_each_group() {
    let (_, made) = with_frequency("group", "true");
    assert_eq!(made.len(), 3, "two groups and the result: {made:?}");
    assert_eq!(made[0], "group 1");
}

#[test]
fn orchestrator_checkpoint_frequency_tests_pass_makes_one_where_tests_pass_and_moves_the_branch() {
    let (env, made) = with_frequency("tests_pass", "true");
    assert!(made.iter().any(|reason| reason == "tests pass"), "{made:?}");
    let report = env.report();
    let mut of_tests = report["checkpoints"].as_array().unwrap().iter().filter(|c| c["reason"] == "tests pass");
    assert!(of_tests.all(|checkpoint| checkpoint["moved_branch"] == true), "{report}");
    assert!(!report["earlier_rounds"].as_array().unwrap().is_empty());
}

#[test]
fn orchestrator_checkpoint_frequency_tests_pass_makes_none_where_tests_fail() {
    let (env, made) = with_frequency("tests_pass", "false");
    assert_eq!(made, ["implementation complete"]);
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty(), "a red tree is no result");
}

/// The most agents that were seen at work at once.
fn most_at_once(sets: &[&str]) -> usize {
    let env = tasks(3);
    let (lock, seen) = (env.path("lock"), env.path("seen"));
    fs::create_dir(&lock).unwrap();
    let script = format!(
        "mkdir {lock}/running.$$\nsleep 0.4\nls {lock} | wc -l >> {seen}\nsleep 0.4\nrmdir {lock}/running.$$\n\
         echo done > \"$MAESTRO_TASK.txt\"\n",
        lock = lock.display(),
        seen = seen.display()
    );
    let agent = env.script("agent.sh", &script);
    let run = run_with(&env, &agent, sets).exits(0);
    env.check_run(&run);
    let seen = fs::read_to_string(&seen).unwrap();
    assert_eq!(seen.lines().count(), 3);
    seen.lines().map(|line| line.trim().parse().unwrap()).max().unwrap()
}

#[test]
fn orchestrator_jobs_says_how_many_agents_work_at_once() {
    assert_eq!(most_at_once(&["orchestrator.jobs=1"]), 1);
    assert_eq!(most_at_once(&["orchestrator.jobs=2"]), 2);
}

#[test]
fn orchestrator_parallel_execution_can_be_switched_off() {
    assert!(most_at_once(&["orchestrator.jobs=4"]) > 1);
    assert_eq!(most_at_once(&["orchestrator.jobs=4", "orchestrator.parallel_execution=false"]), 1);
}

#[test]
fn agent_default_chooses_among_the_agents() {
    let config =
        "agents:\n  a: {command: 'echo a > who.txt'}\n  b: {command: 'echo b > who.txt'}\nagent: {default: b}\n";
    let env = configured(1, config);
    let run = run_configured(&env, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "who.txt").as_deref(), Some("b\n"));
    run_configured(&env, &["--agent", "a", "--branch", "other"]).exits(0);
    assert_eq!(env.show("other", "who.txt").as_deref(), Some("a\n"));
    run_configured(&env, &["--agent", "c", "--branch", "third"]).exits(6).says("there is no agent `c`");
}

#[test]
fn agents_take_arguments_that_no_shell_reads() {
    let env = configured(1, "agents:\n  a: {protocol: command, command: cp, args: [README.md, '$HOME; x']}\n");
    let run = run_configured(&env, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "$HOME; x").as_deref(), Some("# project\n"));
    assert!(!run.stderr.contains("later version"), "what works is not called later:\n{}", run.stderr);
}

#[test]
fn agents_env_pass_reaches_the_agent_and_no_gate() {
    let config = "agents:\n  a: {command: 'echo \"<$MY_KEY>\" > key.txt', env_pass: [MY_KEY]}\n\
                  validation: {gates: {g: {run: 'test -z \"$MY_KEY\"'}}}\n";
    let mut env = configured(1, config);
    env.set("MY_KEY", "secret");
    let run = run_configured(&env, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "key.txt").as_deref(), Some("<secret>\n"));
}

#[test]
fn agents_of_the_steps_protocol_run_the_steps_of_the_prd() {
    let env = configured(1, "agents:\n  s: {protocol: steps}\nagent: {default: s}\n");
    let tasks = "\n## Tasks\n\n### T-001: say hello\n\n- **Requirements:** FR-1\n\n```steps\necho hello > s.txt\n```\n";
    env.write("prd.md", &format!("{}{tasks}", prd(&[("FR-1", "first")])));
    env.commit("steps");
    let run = run_configured(&env, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "s.txt").as_deref(), Some("hello\n"));
}

#[test]
fn resource_limits_checkpoint_interval_makes_checkpoints_while_tasks_run() {
    let made = |interval: &str| {
        let env = tasks(3);
        let agent = "sleep 0.7; echo done > \"$MAESTRO_TASK.txt\"";
        let run = run_with(&env, agent, &[interval, "orchestrator.jobs=1"]).exits(0);
        env.check_run(&run);
        checkpoints(&env.report())
    };
    let often = made("resource_limits.checkpoint_interval=1");
    assert!(often.iter().any(|reason| reason == "interval"), "{often:?}");
    assert_eq!(made("resource_limits.checkpoint_interval=0"), ["implementation complete", "result"]);
}

#[test]
fn resource_limits_soft_ratio_says_when_a_run_looks_ahead() {
    let script = format!(
        "echo done > \"$MAESTRO_TASK.txt\"\nif [ $MAESTRO_TASK = T-001 ]; then {}else {}fi\n",
        usage(r#""input_tokens":50"#),
        usage(r#""input_tokens":10"#)
    );
    for (ratio, code) in [("0.4", 5), ("1", 0)] {
        let env = tasks(3);
        let agent = env.script("agent.sh", &script);
        let ratio = format!("resource_limits.soft_ratio={ratio}");
        let sets = [ratio.as_str(), "resource_limits.max_tokens=100", "orchestrator.jobs=1"];
        let run = run_with(&env, &agent, &sets).exits(code);
        env.check_run(&run);
    }
}

#[test]
fn resource_limits_idle_seconds_ends_a_silent_agent() {
    let env = tasks(1);
    let sets = ["resource_limits.idle_seconds=1", "error_recovery.max_retry_attempts=0"];
    let run = run_with(&env, "echo x > x; sleep 60", &sets).exits(5);
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
    env.check_run(&run);
    check_reason(&env, "idle");
}

#[test]
fn resource_limits_grace_seconds_is_the_time_an_agent_has_to_end_by_itself() {
    for (grace, ends_by_itself) in [("1", false), ("30", true)] {
        let env = tasks(1);
        let goodbye = env.path("goodbye");
        let script = format!(
            "trap 'sleep 2; touch {}; exit 0' TERM\necho x > x\nwhile :; do sleep 0.1; done\n",
            goodbye.display()
        );
        let agent = env.script("agent.sh", &script);
        let grace = format!("resource_limits.grace_seconds={grace}");
        let sets = [grace.as_str(), "orchestrator.max_task_duration=1", "error_recovery.max_retry_attempts=0"];
        let run = run_with(&env, &agent, &sets).exits(5);
        env.check_run(&run);
        assert_eq!(goodbye.exists(), ends_by_itself);
    }
}

#[test]
fn error_recovery_max_retry_attempts_counts_attempts_after_the_first() {
    for (retries, expected) in [("0", 1), ("2", 3)] {
        let env = tasks(1);
        let run = run_with(&env, "exit 1", &[&format!("error_recovery.max_retry_attempts={retries}")]).exits(1);
        env.check_run(&run);
        assert_eq!(attempts(&env.report(), 0).len(), expected);
    }
}

/// Milliseconds between each failure and the moment before which it is not tried again.
fn scheduled_waits(multiplier: &str) -> Vec<u64> {
    let env = tasks(1);
    let multiplier = format!("error_recovery.backoff_multiplier={multiplier}");
    let run = run_with(&env, "exit 75", &[&multiplier, "error_recovery.max_retry_attempts=2"]).exits(7);
    env.check_run(&run);
    let log = env.run(&["log", "--json"]).exits(0).stdout;
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let retries = records.filter(|record| record["event"]["type"] == "retry_scheduled");
    let wait = |record: Value| {
        record["event"]["not_before_ms"].as_u64().unwrap() - record["at"]["elapsed_ms"].as_u64().unwrap()
    };
    retries.map(wait).collect()
}

#[test]
fn error_recovery_backoff_multiplier_makes_waits_grow() {
    let waits = scheduled_waits("3");
    assert_eq!(waits.len(), 2, "{waits:?}");
    assert!((500..=1000).contains(&waits[0]) && (1500..=3000).contains(&waits[1]), "{waits:?}");
    let waits = scheduled_waits("1");
    assert!(waits.len() == 2 && waits.iter().all(|wait| (500..=1000).contains(wait)), "{waits:?}");
}

#[test]
fn error_recovery_enable_rollback_decides_what_follows_a_critical_failure() {
    for (enabled, code) in [("true", 9), ("false", 70)] {
        let env = Env::new();
        env.write("prd.md", &prd(&[("FR-1", "first"), ("FR-2", "second, after FR-1")]));
        env.commit("prd");
        let breaks = format!("git -C {} update-ref -d refs/maestro/$MAESTRO_SESSION/tip", env.repo.display());
        let script = format!("echo x > $MAESTRO_TASK.txt\n[ $MAESTRO_TASK = T-001 ] || {breaks}\n");
        let agent = env.script("agent.sh", &script);
        let enabled = format!("error_recovery.enable_rollback={enabled}");
        let run = run_with(&env, &agent, &[&enabled, "orchestrator.checkpoint_frequency=task"]).exits(code);
        env.check_run(&run);
        let report = env.report();
        assert_eq!(report["resumable"], false);
        assert!(report["faults"].to_string().contains("critical"), "{}", report["faults"]);
        if code == 9 {
            let tip = env.git(&["rev-parse", &format!("refs/maestro/{}/tip", report["session"].as_str().unwrap())]);
            assert_eq!(report["checkpoints"][1]["commit"], tip.as_str(), "the tip is back at the checkpoint");
        }
    }
}

/// Runs one task with a gate in the configuration.
#[track_caller]
fn with_gate(gate: &str, sets: &[&str]) -> (Env, Run) {
    let env = configured(1, &format!("validation:\n  gates:\n    g: {gate}\n"));
    let run = run_with(&env, WRITES_A_FILE, sets);
    env.check_run(&run);
    (env, run)
}

#[test]
fn validation_run_tests_switches_test_gates_off() {
    with_gate("{kind: test, run: 'false'}", &[]).1.exits(1);
    with_gate("{kind: test, run: 'false'}", &["validation.run_tests=false"]).1.exits(0);
}

#[test]
fn validation_quality_gates_names_the_kinds_that_run() {
    for kind in ["lint", "typecheck", "security"] {
        let gate = format!("{{kind: {kind}, run: 'false'}}");
        with_gate(&gate, &[&format!("validation.quality_gates=[{kind}]")]).1.exits(1);
        with_gate(&gate, &["validation.quality_gates=[]"]).1.exits(0);
    }
}

#[test]
fn validation_validate_prd_decides_whether_the_checks_of_the_prd_run() {
    let env = Env::new();
    env.write("prd.md", &format!("{}\n## Proof\n\n```check FR-1\nfalse\n```\n", prd(&[("FR-1", "first")])));
    env.commit("prd");
    let run = run_with(&env, WRITES_A_FILE, &[]).exits(1);
    env.check_run(&run);
    assert_eq!(env.report()["requirements"][0]["status"], "unmet");
    let run =
        run_within(&env, PATIENCE, WRITES_A_FILE, &["--fresh", "--set", "validation.validate_prd=false"]).exits(0);
    env.check_run(&run);
}

#[test]
fn validation_fail_on_gate_violation_can_let_a_red_gate_pass() {
    let (env, run) = with_gate("{run: 'false'}", &["validation.fail_on_gate_violation=false"]);
    run.exits(0);
    let report = env.report();
    assert_eq!(report["gates"][0]["status"], "failed", "it is shown as what it is");
    assert_eq!(report["result"]["moved"], true);
    with_gate("{run: 'false'}", &[]).1.exits(1);
}

#[test]
fn validation_requirement_evidence_says_what_counts() {
    let gate = "{run: 'true', requirements: [FR-1]}";
    let (env, run) = with_gate(gate, &["validation.requirement_evidence=[gate]"]);
    run.exits(0);
    assert_eq!(env.report()["requirements"][0]["status"], "met");
    let (env, run) = with_gate(gate, &["validation.requirement_evidence=[check]"]);
    run.exits(0).says("1 unverified");
    assert_eq!(env.report()["requirements"][0]["status"], "unverified");
}

#[test]
fn validation_unverified_fail_makes_a_requirement_without_evidence_a_failure() {
    let env = tasks(1);
    let run = run_with(&env, WRITES_A_FILE, &["validation.unverified=fail"]).exits(1).says("unverified: FR-1");
    assert_eq!(env.report()["exit_code"], run.code);
    let proof = ["validation.unverified=fail", "validation.gates.g={run: 'true', requirements: [FR-1]}"];
    let env = tasks(1);
    let run = run_with(&env, WRITES_A_FILE, &proof).exits(0);
    env.check_run(&run);
}

#[test]
fn a_run_that_fails_for_want_of_evidence_has_a_red_junit() {
    for set in
        ["validation.unverified=fail", "validation.require_gates=true", "validation.gates.g.run=no-such-tool-here"]
    {
        let env = tasks(1);
        let run = run_with(&env, WRITES_A_FILE, &[set]).exits(1);
        env.check_run(&run);
    }
}

#[test]
fn validation_require_gates_fails_a_run_in_which_no_gate_passed() {
    let env = tasks(1);
    run_with(&env, WRITES_A_FILE, &["validation.require_gates=true"]).exits(1).says("no gate passed");
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty());
    with_gate("{run: 'true'}", &["validation.require_gates=true"]).1.exits(0);
}

#[test]
fn validation_gates_requirements_ties_a_gate_to_what_it_proves() {
    let (env, run) = with_gate("{run: 'true', requirements: [FR-1]}", &[]);
    run.exits(0);
    let report = env.report();
    assert_eq!(report["requirements"][0]["status"], "met");
    assert_eq!(report["requirements"][0]["evidence"][0], "gate g passed");
    let (env, run) = with_gate("{run: 'false', requirements: [FR-1], required: false}", &[]);
    run.exits(1);
    assert_eq!(env.report()["requirements"][0]["status"], "unmet");
}

#[test]
fn validation_gates_report_is_read_and_counts() {
    let with_report = |xml: &str| {
        let env = configured(1, "validation: {gates: {g: {run: 'cp given.xml r.xml', report: r.xml}}}\n");
        env.write("given.xml", xml);
        env.commit("report");
        let run = run_with(&env, WRITES_A_FILE, &[]);
        env.check_run(&run);
        (env.report(), run)
    };
    let (report, run) = with_report("<testsuite name='s'><testcase name='a'/><testcase name='b'/></testsuite>");
    run.exits(0);
    assert_eq!(report["gates"][0]["counts"]["passed"], 2);
    assert_eq!(report["gates"][0]["cases"][1]["name"], "b");
    let (report, run) = with_report("<testsuite name='s'><testcase name='a'><failure/></testcase></testsuite>");
    run.exits(1);
    assert_eq!(report["gates"][0]["status"], "failed", "exit status 0 does not outweigh a failed test");
    let (report, run) = with_report("<testsuite name='s'></testsuite>");
    run.exits(1);
    assert_eq!(report["gates"][0]["status"], "inconclusive", "no test proves nothing");
}

#[test]
fn validation_gates_dir_is_where_a_gate_runs() {
    let env = configured(1, "validation: {gates: {g: {run: 'test -f mark', dir: sub}}}\n");
    env.write("sub/mark", "");
    env.commit("mark");
    let run = run_with(&env, WRITES_A_FILE, &[]).exits(0);
    env.check_run(&run);
    with_gate("{run: 'true', dir: nowhere}", &[]).1.exits(1).says("inconclusive");
}

#[test]
fn validation_gates_timeout_ends_a_gate_that_then_proves_nothing() {
    let (env, run) = with_gate("{run: 'sleep 60', timeout: 1}", &["resource_limits.grace_seconds=1"]);
    let run = run.exits(1);
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
    assert_eq!(env.report()["gates"][0]["status"], "inconclusive");
}

#[test]
fn validation_gates_required_false_is_shown_and_decides_nothing() {
    let (env, run) = with_gate("{run: 'false', required: false}", &[]);
    assert_eq!(env.report()["gates"][0]["status"], "failed");
    run.exits(0);
}

#[test]
fn workspace_setup_prepares_what_agents_and_gates_see_and_nobody_captures() {
    let env = tasks(1);
    let sets = [
        "workspace.setup=mkdir -p deps; echo made > deps/lib; echo one > made.txt",
        "validation.gates.g.run=test -f deps/lib && test -f made.txt",
    ];
    let run = run_with(&env, "cat deps/lib made.txt > seen.txt", &sets).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "seen.txt").as_deref(), Some("made\none\n"));
    assert_eq!(env.show("maestro/feature", "deps/lib"), None);
    assert_eq!(env.show("maestro/feature", "made.txt"), None);
}

#[test]
fn a_workspace_setup_that_fails_is_the_machines_fault() {
    let env = tasks(1);
    let run = run_with(&env, WRITES_A_FILE, &["workspace.setup=echo no network; exit 3"]).exits(6);
    let run = run.says("workspace.setup failed").says("no network");
    env.check_run(&run);
    assert!(attempts(&env.report(), 0).is_empty(), "no agent starts");
}

#[test]
fn workspace_dir_is_where_agents_work() {
    let mut env = tasks(1);
    env.unset("MAESTRO_CI_WORK_DIR");
    let elsewhere = env.path("elsewhere");
    let run = run_with(&env, "pwd > where.txt", &[&format!("workspace.dir={}", elsewhere.display())]).exits(0);
    env.check_run(&run);
    let place = env.show("maestro/feature", "where.txt").unwrap();
    assert!(place.starts_with(&elsewhere.canonicalize().unwrap().display().to_string()), "{place}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "nothing is left there");
}

#[track_caller]
fn check_violation(set: &str, agent: &str, named: &str) {
    let env = tasks(1);
    let run = run_with(&env, agent, &[set]).exits(1);
    env.check_run(&run);
    let report = env.report();
    let attempts = attempts(&report, 0);
    assert_eq!(attempts.len(), 2, "exactly one attempt after the violation is explained");
    for attempt in attempts {
        assert_eq!(attempt["fault"]["class"], "policy");
        assert_eq!(attempt["fault"]["reason"], "policy");
    }
    let second = prompt(&env, 2);
    assert!(second.contains("WHAT FAILED BEFORE") && second.contains(named), "{second}");
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty());
}

#[test]
fn policy_allow_is_all_that_a_task_may_change() {
    check_violation("policy.allow=[src/**]", "echo x > other.txt", "other.txt");
    let env = tasks(1);
    let run = run_with(&env, "mkdir src; echo x > src/a", &["policy.allow=[src/**]"]).exits(0);
    env.check_run(&run);
}

#[test]
fn policy_protect_is_what_no_task_may_change() {
    check_violation("policy.protect=[secret/**]", "mkdir secret; echo x > secret/a", "secret/a");
    // The PRD is protected whatever the configuration says.
    check_violation("policy.protect=[]", "echo more >> prd.md", "prd.md");
}

#[test]
fn sandbox_require_refuses_a_run_below_it_unless_that_is_allowed() {
    let mut env = tasks(1);
    env.unset("MAESTRO_CI_ALLOW_UNSANDBOXED");
    run_with(&env, WRITES_A_FILE, &["sandbox.require=L2"]).exits(6).says("sandbox.require is L2");
    assert!(!env.repo.join(".flow/maestro/sessions").exists(), "nothing has begun");
    let more = ["--allow-unsandboxed", "--set", "sandbox.require=L2"];
    let run = run_within(&env, PATIENCE, WRITES_A_FILE, &more).exits(0);
    env.check_run(&run);
    assert_eq!(env.report()["isolation"]["level"], "L0", "what was built is reported, not what was wanted");
    let run = run_with(&env, WRITES_A_FILE, &["sandbox.require=L1", "policy.allow=['**']"]).exits(0);
    env.check_run(&run);
    assert_eq!(env.report()["isolation"]["level"], "L1");
}

#[test]
fn sandbox_env_pass_lets_variables_through_to_agents() {
    let mut env = tasks(1);
    env.set("MY_FLAG", "on");
    env.set("MY_OTHER", "off");
    let agent = "echo \"$MY_FLAG/$MY_OTHER\" > seen.txt";
    let run = run_with(&env, agent, &["sandbox.env_pass=[MY_FLAG]"]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "seen.txt").as_deref(), Some("on/\n"));
}

#[test]
fn logging_include_rationale_adds_reasons_to_decisions() {
    let reason = "longest chain first";
    let env = tasks(1);
    run_with(&env, WRITES_A_FILE, &[]).exits(0).says(reason);
    let env = tasks(1);
    let run = run_with(&env, WRITES_A_FILE, &["logging.include_rationale=false"]).exits(0).says("Decision: ");
    assert!(!run.stderr.contains(reason), "{}", run.stderr);
}

#[test]
fn logging_log_to_file_decides_whether_the_log_is_kept() {
    for (value, kept) in [("true", true), ("false", false)] {
        let env = tasks(1);
        run_with(&env, WRITES_A_FILE, &[&format!("logging.log_to_file={value}")]).exits(0);
        let dir = env.session_dir();
        assert_eq!(dir.join("execution-log.md").exists(), kept);
        assert!(dir.join("final-report.md").exists(), "reports are no log");
    }
}

#[test]
fn a_key_of_a_later_version_is_accepted_and_named() {
    let config =
        "state: {remote: origin}\nforge: {checks: true}\nsandbox: {network: none}\norchestrator: {max_iterations: 9}\n";
    let env = configured(1, config);
    let check = env.run(&["check", "--prd", "prd.md", "--agent-cmd", "true"]).exits(0);
    let check = check.prints("`state.remote` is accepted; state on a remote comes with a later version");
    let check = check.prints("`sandbox.network` is accepted").prints("`orchestrator.max_iterations` is accepted");
    for works in ["orchestrator.jobs", "forge.checks"] {
        assert!(!check.stdout.contains(works), "{}", check.stdout);
    }
    let run = run_with(&env, WRITES_A_FILE, &[]).exits(0).says("`state.remote` is accepted");
    env.check_run(&run);
}
