//! Killed, cancelled, resumed: for real. `MAESTRO_KILL_MOMENTS` sets how many moments are tried (`ci/endurance.sh`: 40).

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::{Env, end_of, prd, wait_until};

/// Reports what it uses, works for a time that depends on its task, notes outside of the workspace that it ran.
const AGENT: &str = r#"
echo '{"usage":{"input_tokens":50,"api_calls":1}}'
echo "$MAESTRO_TASK" >> "$RUNS"
case $MAESTRO_TASK in T-001|T-005) sleep 0.2 ;; T-002|T-006) sleep 0.6 ;; T-003) sleep 1.2 ;; *) sleep 0.3 ;; esac
echo done > "$MAESTRO_TASK.txt"
echo '{"usage":{"input_tokens":100,"api_calls":2}}'
"#;

fn eight_tasks() -> Env {
    let mut env = Env::new();
    let requirements = [
        ("FR-1", "first"),
        ("FR-2", "second, after FR-1"),
        ("FR-3", "third, after FR-1"),
        ("FR-4", "fourth"),
        ("FR-5", "fifth, after FR-4"),
        ("FR-6", "sixth, after FR-2, FR-3 and FR-5"),
        ("FR-7", "seventh"),
        ("FR-8", "eighth"),
    ];
    env.write("prd.md", &prd(&requirements));
    env.write(
        ".flow/maestro/config.yaml",
        "validation: {gates: {test: {kind: test, run: 'sleep 0.3; ls T-*.txt'}}}\nsandbox: {env_pass: [RUNS]}\n",
    );
    env.write("setup.txt", "");
    env.commit("prd");
    env.set("RUNS", &env.path("runs").display().to_string());
    env
}

fn start(env: &Env) -> Child {
    let agent = env.script("agent.sh", AGENT);
    let set = "workspace.setup=sleep 0.2";
    env.command(&["--prd", "prd.md", "--agent-cmd", &agent, "-j2", "--max-tokens", "100k", "--set", set])
        .spawn()
        .unwrap()
}

fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

/// Where a journal stood: its last phase and what was under way.
fn standing(env: &Env) -> String {
    let report = env.run(&["report", "--format", "json"]);
    if report.code != 0 {
        return "before the journal".to_owned();
    }
    let report = report.json();
    let running = report["tasks"].as_array().unwrap().iter().filter(|t| t["status"] == "running").count();
    format!("{} ({running} running)", report["phase"].as_str().unwrap_or("none"))
}

#[test]
fn killed_at_any_moment_and_run_again_it_ends_in_the_same_tree() {
    let moments = std::env::var("MAESTRO_KILL_MOMENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    let whole = eight_tasks();
    let started = Instant::now();
    let output = start(&whole).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let length = started.elapsed();
    let tree = final_tree(&whole);
    let mut histogram: BTreeMap<String, u32> = BTreeMap::new();
    for i in 0..moments {
        let after = length * (2 * i + 1) / (2 * moments);
        *histogram.entry(kill_and_run_again(|_| std::thread::sleep(after), &tree)).or_default() += 1;
    }
    // Some phases take milliseconds; a clock alone would never meet them.
    for moment in
        ["task_generation", "setup_started", "round_started", "handoff", "status_write_started", "session_finished"]
    {
        let standing = kill_and_run_again(|env| wait_for_record(env, moment), &tree);
        *histogram.entry(format!("{standing}, aimed at {moment}")).or_default() += 1;
    }
    println!("a run takes {length:?}; {moments} kills fell into:");
    for (standing, n) in histogram {
        println!("{n:>4}  {standing}");
    }
}

fn final_tree(env: &Env) -> String {
    // The commit of the status write holds a date, so the tree before it is compared.
    env.git(&["rev-parse", "maestro/feature~1^{tree}"])
}

/// Waits until the journal names a phase or an event.
fn wait_for_record(env: &Env, name: &str) {
    let sessions = env.repo.join(".flow/maestro/sessions");
    let limit = Instant::now() + Duration::from_secs(30);
    while Instant::now() < limit {
        let journals = fs::read_dir(&sessions).into_iter().flatten().flatten();
        let is_there = |text: String| text.contains(&format!("\"{name}\""));
        if journals.filter_map(|s| fs::read_to_string(s.path().join("journal.jsonl")).ok()).any(is_there) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the journal never names {name}");
}

fn kill_and_run_again(moment: impl FnOnce(&Env), tree: &str) -> String {
    let env = eight_tasks();
    let before = env.checkout();
    let mut child = start(&env);
    moment(&env);
    signal(&child, "-9");
    child.wait().unwrap();
    wait_until("every process to end", Duration::from_secs(2), || env.processes().is_empty());
    let standing = standing(&env);
    let settled = integrated_tasks(&env);
    let runs_before = runs(&env);
    let output = start(&env).wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "killed in {standing}\n{log}");
    assert_eq!(final_tree(&env), tree, "killed in {standing}");
    env.check_nothing_left();
    assert_eq!(env.checkout(), before);
    let runs_after = runs(&env);
    for task in settled {
        assert_eq!(runs_after.get(&task), runs_before.get(&task), "{task} was integrated and ran again\n{log}");
    }
    assert!(runs_after.values().all(|n| *n <= 2), "one kill makes a task run at most twice: {runs_after:?}");
    check_spending(&env);
    standing
}

fn integrated_tasks(env: &Env) -> Vec<String> {
    let report = env.run(&["report", "--format", "json"]);
    if report.code != 0 {
        return Vec::new();
    }
    let report = report.json();
    let done = report["tasks"].as_array().unwrap().iter().filter(|t| t["status"] == "done");
    done.map(|t| t["id"].as_str().unwrap().to_owned()).collect()
}

fn runs(env: &Env) -> BTreeMap<String, u32> {
    let mut runs = BTreeMap::new();
    for task in fs::read_to_string(env.path("runs")).unwrap_or_default().lines() {
        *runs.entry(task.to_owned()).or_default() += 1;
    }
    runs
}

/// What the report says was used is what all streams on disk say, lost attempts included.
fn check_spending(env: &Env) {
    let report = env.report();
    let dir = env.session_dir().join("tasks");
    let mut tokens = 0;
    for task in fs::read_dir(dir).unwrap().flatten() {
        for attempt in fs::read_dir(task.path()).unwrap().flatten() {
            let stream = fs::read_to_string(attempt.path().join("stream.jsonl")).unwrap_or_default();
            let totals = stream.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
            tokens += totals.filter_map(|v| v["usage"]["input_tokens"].as_u64()).max().unwrap_or(0);
        }
    }
    assert_eq!(report["budget"]["tokens"]["used"], tokens);
}

#[test]
fn sigint_ends_in_order_although_the_agent_ignores_signals() {
    for (signal_name, code) in [("-INT", 130), ("-TERM", 143)] {
        let env = eight_tasks();
        let before = env.checkout();
        let agent = env.script("agent.sh", "trap '' INT TERM HUP\nwhile :; do sleep 0.1; done\n");
        let child = env.command(&["--prd", "prd.md", "--agent-cmd", &agent, "-j2"]).spawn().unwrap();
        wait_until("two agents", Duration::from_secs(20), || {
            env.processes().iter().filter(|line| line.contains("agent.sh") && !line.contains("--prd")).count() >= 2
        });
        let started = Instant::now();
        signal(&child, signal_name);
        signal(&child, signal_name);
        let output = child.wait_with_output().unwrap();
        let took = started.elapsed();
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{log}");
        assert!(took < Duration::from_secs(3), "{took:?}\n{log}");
        env.check_nothing_left();
        assert_eq!(env.checkout(), before);
        let report = env.report();
        assert_eq!(
            (report["verdict"].as_str(), report["exit_code"].as_i64()),
            (Some("interrupted"), Some(i64::from(code)))
        );
        let dir = env.session_dir();
        for name in ["report.json", "junit.xml", "final-report.md", "metadata.json", "execution-log.md"] {
            assert!(dir.join(name).is_file(), "{name} is missing");
        }
        // What it left behind is in nobody's way.
        let run = env.run_prd("echo done > \"$MAESTRO_TASK.txt\"", &["--fresh"]).exits(0);
        env.check_run(&run);
    }
}

/// A git that hangs where it packs what is integrated, as long as the file `hang` is there; its pid goes to `hangs`.
const HANGING_GIT: &str = r#"#!/bin/sh
case "$*" in *pack-objects*) [ -e "DIR/hang" ] && { echo $$ > "DIR/hangs"; exec sleep 60; } ;; esac
PATH=USUAL_PATH
exec git "$@"
"#;

#[test]
fn what_does_not_answer_to_a_signal_is_left_to_itself_and_a_resume_does_it_again() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.commit("prd");
    let git = HANGING_GIT.replace("DIR", &env.path("").display().to_string());
    let git = git.replace("USUAL_PATH", &format!("'{}'", std::env::var("PATH").unwrap()));
    env.script("bin/git", &git);
    fs::write(env.path("hang"), "").unwrap();
    let agent = r#"echo '{"usage":{"input_tokens":70}}'; echo x > x"#;
    let child = env.command(&["--prd", "prd.md", "--agent-cmd", agent]).spawn().unwrap();
    let pid = || fs::read_to_string(env.path("hangs")).ok().and_then(|pid| pid.trim().parse::<u32>().ok());
    wait_until("git to hang", Duration::from_secs(20), || pid().is_some());
    let signalled = Instant::now();
    signal(&child, "-TERM");
    let run = end_of(child, signalled, Duration::from_secs(12));
    Command::new("kill").args(["-KILL", &pid().unwrap().to_string()]).status().unwrap();
    let run = run.exits(143).says("has not ended 6 s after the signal and is left to itself");
    assert!(run.took > Duration::from_secs(6), "it had its time: {:?}", run.took);
    let report = env.report();
    let attempt = &report["tasks"][0]["attempts"][0];
    assert_eq!((&attempt["fault"]["class"], &attempt["fault"]["reason"]), (&"lost".into(), &"stopped".into()));
    assert_eq!((&report["resumable"], &attempt["usage"]["input_tokens"]), (&true.into(), &70.into()));
    fs::remove_file(env.path("hang")).unwrap();
    let run = env.run(&["resume", "--allow-unsandboxed"]).exits(0);
    env.check_run(&run);
}

#[test]
fn an_interrupted_session_goes_on_with_the_same_command() {
    let env = eight_tasks();
    let child = start(&env);
    wait_until("an integrated task", Duration::from_secs(20), || !integrated_tasks(&env).is_empty());
    signal(&child, "-INT");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    let settled = integrated_tasks(&env);
    let runs_before = runs(&env);
    let output = start(&env).wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("Going on with session"), "{log}");
    let runs_after = runs(&env);
    assert!(settled.iter().all(|t| runs_after.get(t) == runs_before.get(t)), "{settled:?} {runs_after:?}");
    check_spending(&env);
}

#[test]
fn a_damaged_journal_is_refused_and_a_torn_one_goes_on() {
    let env = eight_tasks();
    let child = start(&env);
    wait_until("an integrated task", Duration::from_secs(20), || !integrated_tasks(&env).is_empty());
    signal(&child, "-9");
    child.wait_with_output().unwrap();
    let journal = env.session_dir().join("journal.jsonl");
    let good = fs::read(&journal).unwrap();
    let mut damaged = good.clone();
    damaged[good.len() / 2] ^= 1;
    fs::write(&journal, &damaged).unwrap();
    env.run(&["resume", "--allow-unsandboxed"]).exits(70).says("damaged in the middle");
    fs::write(&journal, [&good[..], b"{\"seq\":99,\"torn"].concat()).unwrap();
    let output = start(&env).wait_with_output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("never completely written"), "{log}");
}

#[test]
fn an_agent_that_kills_its_warden_leaves_nothing_alive() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.commit("prd");
    let agent = env.script("agent.sh", "kill -9 $(awk '{print $4}' /proc/$PPID/stat)\nsleep 60\n");
    let run = env.run_prd(&agent, &[]).exits(1);
    assert!(run.took < Duration::from_secs(30), "{:?}", run.took);
    env.check_run(&run);
}

#[test]
fn a_workspace_that_was_swapped_for_a_link_costs_nobody_their_repository() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.commit("prd");
    let before = env.checkout();
    let script = format!("d=$PWD; cd ..; mv \"$d\" \"$d.x\"; ln -s {} \"$d\"\n", env.repo.display());
    let agent = env.script("agent.sh", &script);
    env.run_prd(&agent, &["--set", "error_recovery.max_retry_attempts=0"]).exits(1);
    assert_eq!(env.checkout(), before);
}

#[test]
fn a_gate_whose_directory_leads_out_of_the_tree_proves_nothing() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.write("backend/x", "");
    env.commit("prd");
    let script = format!("rm -r backend; ln -s {} backend\n", env.repo.display());
    let agent = env.script("agent.sh", &script);
    let gate = "validation.gates.g={run: 'true', dir: backend}";
    let run = env.run_prd(&agent, &["--set", gate]).exits(1).says("proved nothing");
    env.check_run(&run);
}

#[test]
fn a_gate_that_ends_its_warden_is_not_started_again_and_again() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.commit("prd");
    let gate = "validation.gates.g.run=kill $PPID; sleep 5";
    let run = env.run_prd("echo x > x", &["--set", gate]).exits(1);
    env.check_run(&run);
    assert_eq!(env.run(&["log", "--kind", "gate", "--json"]).stdout.matches("gate_started").count(), 1);
}

#[test]
fn usage_without_end_does_not_fill_the_journal() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first")]));
    env.commit("prd");
    let script = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo \"{\\\"usage\\\":{\\\"input_tokens\\\":$i}}\"; done; echo x > x\n";
    let agent = env.script("agent.sh", script);
    env.run_prd(&agent, &[]).exits(0);
    assert_eq!(env.report()["budget"]["tokens"]["used"], 20_000);
    assert!(fs::metadata(env.session_dir().join("journal.jsonl")).unwrap().len() < 200_000);
}
