//! Agents and gates that hang, flood, lie, cheat, break things and leave things behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::budgets::{run_within, tasks};
use crate::env::{Env, Run, prd};

const PATIENCE: Duration = Duration::from_mins(1);
const NO_RETRY: &str = "error_recovery.max_retry_attempts=0";

/// Runs a script as the agent, with keys set on the command line.
#[track_caller]
fn run_script(env: &Env, script: &str, sets: &[&str]) -> Run {
    let agent = env.script("agent.sh", script);
    let more: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    run_within(env, PATIENCE, &agent, &more)
}

fn attempts(report: &Value, task: usize) -> &[Value] {
    report["tasks"][task]["attempts"].as_array().unwrap()
}

fn reasons(report: &Value, task: usize) -> Vec<&str> {
    attempts(report, task).iter().map(|attempt| attempt["fault"]["reason"].as_str().unwrap_or("none")).collect()
}

fn statuses(report: &Value) -> Vec<&str> {
    report["tasks"].as_array().unwrap().iter().map(|task| task["status"].as_str().unwrap()).collect()
}

fn attempt_dir(env: &Env, task: &str, attempt: u32) -> PathBuf {
    env.session_dir().join(format!("tasks/{task}/attempt-{attempt}"))
}

/// Fails where a text holds characters that could command a terminal or hide something.
#[track_caller]
fn check_clean(what: &str, text: &str) {
    let hides = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}');
    let bad: Vec<char> = text.chars().filter(|c| hides(*c) && *c != '\n').collect();
    assert!(bad.is_empty(), "{what} holds {bad:?}:\n{}", text.escape_debug());
}

// --- time ---

#[test]
fn an_agent_that_ignores_signals_is_killed_after_its_grace() {
    let env = tasks(1);
    let sets = ["orchestrator.max_task_duration=1", "resource_limits.grace_seconds=1", NO_RETRY];
    let run = run_script(&env, "trap '' TERM INT HUP\necho x > x\nwhile :; do sleep 0.1; done\n", &sets).exits(5);
    assert!(run.took < Duration::from_secs(10), "{:?}", run.took);
    env.check_run(&run);
    assert_eq!(reasons(&env.report(), 0), ["timeout"]);
    env.run(&["report", "--format", "junit"]).exits(0).prints("type=\"budget: timeout\"");
    env.run(&["log", "--kind", "fault"]).exits(0).prints("budget: timeout");
}

#[test]
fn an_agent_that_only_crashes_ends_in_exit_seven_and_its_session_goes_on_later() {
    let env = tasks(1);
    let sets = ["error_recovery.max_retry_attempts=1"];
    let script = format!("echo x > x\n[ -e {} ] || kill -9 $$\n", env.path("mended").display());
    let run = run_script(&env, &script, &sets).exits(7).says("could not work on T-001");
    env.check_run(&run);
    let report = env.report();
    assert_eq!((reasons(&report, 0), statuses(&report)), (vec!["signal", "signal"], vec!["parked"]));
    assert_eq!(attempts(&report, 0)[0]["fault"]["class"], "agent");
    fs::write(env.path("mended"), "").unwrap();
    env.check_run(&run_script(&env, &script, &sets).exits(0));
}

#[test]
fn an_agent_that_keeps_talking_is_not_idle() {
    let env = tasks(1);
    let script = "for i in $(seq 9); do echo tick; sleep 0.4; done\necho x > x\n";
    let run = run_script(&env, script, &["resource_limits.idle_seconds=3", NO_RETRY]).exits(0);
    env.check_run(&run);
    let script = "for i in $(seq 9); do echo tick >&2; sleep 0.4; done\necho y > y\n";
    let env = tasks(1);
    run_script(&env, script, &["resource_limits.idle_seconds=3", NO_RETRY]).exits(0);
}

// --- output ---

#[track_caller]
fn check_flood(producer: &str) {
    let env = tasks(1);
    let script = format!("echo x > x\n{producer} | head -c 200000000\n");
    let run = run_script(&env, &script, &[]).exits(0);
    env.check_run(&run);
    let stream = fs::read(attempt_dir(&env, "T-001", 1).join("stream.jsonl")).unwrap();
    assert!(stream.len() < 12 << 20, "{} bytes are kept", stream.len());
    let marker = b"bytes cut here";
    assert!(stream.windows(marker.len()).any(|window| window == marker), "nothing says that something is missing");
}

#[test]
fn a_flood_of_lines_is_kept_in_part_and_blocks_nobody() {
    check_flood("yes 'a line of an agent that talks too much'");
}

#[test]
fn a_flood_without_a_line_end_is_kept_in_part_and_blocks_nobody() {
    check_flood("tr '\\0' y < /dev/zero");
}

/// Colours, a clipboard write, a title, NUL, invalid UTF-8, the end of CDATA, a noncharacter, C1, bidi, a return.
const HOSTILE: &str =
    r"\033[31mred\033]52;c;Zm9v\007\033]0;title\007\000\377\303]]>\357\277\276\302\233\342\200\256rab\rover";

#[test]
fn hostile_bytes_reach_no_report_and_no_terminal() {
    let env = tasks(1);
    let script = format!("printf '{HOSTILE}\\n'\nprintf '{HOSTILE}\\n' >&2\necho x > x\nexit 3\n");
    let run = run_script(&env, &script, &[NO_RETRY]).exits(1);
    env.check_run(&run);
    check_clean("standard error", &run.stderr);
    check_everything_printed(&env);
}

#[test]
fn hostile_file_names_reach_no_report_and_no_terminal() {
    let env = tasks(1);
    let script = format!("name=$(printf '{}')\necho x > \"$name\"\n", HOSTILE.replace(r"\000", r"\n"));
    let run = run_script(&env, &script, &[]).exits(0);
    env.check_run(&run);
    check_clean("standard error", &run.stderr);
    check_everything_printed(&env);
    let env = tasks(1);
    let run = run_script(&env, &script, &["policy.allow=[src/**]"]).exits(1);
    env.check_run(&run);
    check_clean("standard error", &run.stderr);
    check_everything_printed(&env);
}

/// Everything that a session's readers see.
#[track_caller]
fn check_everything_printed(env: &Env) {
    for args in [
        &["report", "--format", "junit"][..],
        &["report", "--format", "json"][..],
        &["report", "--format", "markdown"][..],
        &["log"][..],
        &["log", "--json"][..],
        &["status"][..],
    ] {
        let run = env.run(args).exits(0);
        let json = args.contains(&"json") || args.contains(&"--json");
        // Text in JSON is escaped by its format: only what would act on a terminal as it stands counts.
        let stdout = if json { run.stdout.replace(|c: char| !c.is_control(), "") } else { run.stdout };
        check_clean(&args.join(" "), &stdout);
    }
    let dir = env.session_dir();
    for file in ["execution-log.md", "final-report.md", "junit.xml"] {
        check_clean(file, &fs::read_to_string(dir.join(file)).unwrap());
    }
}

#[test]
fn a_green_agent_whose_log_speaks_of_errors_is_green() {
    let env = tasks(1);
    let script = "echo 'error: FATAL: rate limit, 503'\necho 'Traceback (most recent call last):' >&2\necho x > x\n";
    let run = run_script(&env, script, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(reasons(&env.report(), 0), ["none"]);
}

// --- processes and pipes ---

#[test]
fn a_daemon_that_an_agent_leaves_behind_is_dead_and_reported() {
    let env = tasks(1);
    let pid = env.path("pid");
    let daemon = format!("(cd /; exec env -i sleep 300) > /dev/null 2>&1 < /dev/null & echo $! > {}", pid.display());
    let run = run_script(&env, &format!("echo x > x\nsetsid sh -c '{daemon}' &\nwait\n"), &[]).exits(0);
    env.check_run(&run);
    let pid = fs::read_to_string(&pid).unwrap();
    let line = fs::read_to_string(Path::new("/proc").join(pid.trim()).join("cmdline")).unwrap_or_default();
    assert!(!line.contains("sleep"), "the daemon is alive: {line}");
    let report = env.report();
    assert!(attempts(&report, 0)[0]["leaked_processes"].as_u64().unwrap() >= 1, "{}", report["tasks"][0]);
}

#[test]
fn an_agent_that_never_reads_a_large_prompt_is_no_problem() {
    let env = Env::new();
    let line = format!("{}\n", "a requirement that goes on and on ".repeat(3));
    let head = "---\nprd:\n  feature_name: feature\n  status: approved\n---\n\n# PRD: feature\n\n## Requirements\n\n";
    env.write("prd.md", &format!("{head}### FR-1: the first\n\n{}", line.repeat(9000)));
    env.commit("prd");
    let run = run_script(&env, "exec 0<&-\necho x > x\n", &[]).exits(0);
    env.check_run(&run);
    let prompt = fs::metadata(attempt_dir(&env, "T-001", 1).join("prompt.md")).unwrap();
    assert!(prompt.len() > 800_000, "the prompt is not large: {} bytes", prompt.len());
}

#[test]
fn an_agent_that_closes_its_output_early_works_on() {
    let env = tasks(1);
    let run = run_script(&env, "exec >&- 2>&-\nsleep 0.3\necho x > x\n", &[]).exits(0);
    env.check_run(&run);
    assert_eq!(env.show("maestro/feature", "x").as_deref(), Some("x\n"));
}

#[test]
fn a_grandchild_that_holds_the_pipe_does_not_hold_the_run() {
    let env = tasks(1);
    let run = run_script(&env, "echo x > x\nsleep 300 &\nexit 0\n", &[]).exits(0);
    assert!(run.took < Duration::from_secs(15), "{:?}", run.took);
    env.check_run(&run);
}

#[test]
fn what_is_captured_is_what_was_there_after_the_last_process_died() {
    let env = tasks(1);
    let run = run_script(&env, "(while :; do echo x >> late; done) &\nsleep 0.3\nexit 0\n", &[]).exits(0);
    env.check_run(&run);
    let report = env.report();
    let added = attempts(&report, 0)[0]["files"][0]["added"].as_u64().unwrap();
    let lines = env.show("maestro/feature", "late").unwrap().lines().count();
    assert_eq!(usize::try_from(added).unwrap(), lines);
}

// --- the repository ---

#[test]
fn what_an_agent_does_to_its_git_changes_nothing_of_ours() {
    let env = tasks(1);
    env.git(&["branch", "keep"]);
    env.git(&["tag", "release"]);
    let before = env.checkout();
    let script = "echo x > x\ngit add -A\ngit commit -q -m own\ngit checkout -q --orphan other\n\
        git update-ref refs/heads/main HEAD\ngit branch -D keep work\ngit tag -d release\ngit tag mine\n\
        git reflog expire --expire=now --all\ngit gc -q --prune=now\nrm -rf .git/refs .git/objects\necho y > y\n";
    let run = run_script(&env, script, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(env.checkout(), before);
    assert_eq!(env.show("maestro/feature", "x").as_deref(), Some("x\n"));
    assert_eq!(env.show("maestro/feature", "y").as_deref(), Some("y\n"));
    let parents = env.git(&["rev-list", "--count", "main..maestro/feature"]);
    assert_eq!(parents, "2", "the task and the PRD's status; no commit of the agent's");
}

#[test]
fn git_of_ours_runs_nothing_that_an_agent_configured() {
    let env = tasks(1);
    let trap = env.path("trap");
    let script = format!(
        "echo x > x\necho '* filter=evil diff=evil merge=evil' > .gitattributes\n\
         git config filter.evil.clean 'touch {trap}; cat'\ngit config filter.evil.required true\n\
         git config diff.evil.command 'touch {trap}'\ngit config core.fsmonitor 'touch {trap}'\n\
         git config core.hooksPath hooks\nmkdir -p hooks .git/hooks\n\
         for hook in hooks/pre-commit .git/hooks/pre-commit .git/hooks/post-index-change; do\n\
         printf '#!/bin/sh\\ntouch {trap}\\n' > $hook; chmod +x $hook; done\n",
        trap = trap.display()
    );
    let run = run_script(&env, &script, &["validation.gates.g.run=true"]).exits(0);
    env.check_run(&run);
    assert!(!trap.exists(), "something of the agent's ran outside of its attempt");
}

#[test]
fn an_agent_that_deletes_everything_deleted_the_prd_too_and_fails_by_policy() {
    let env = tasks(1);
    let before = env.checkout();
    let run = run_script(&env, "find . -mindepth 1 -delete\n", &[]).exits(1);
    env.check_run(&run);
    assert_eq!(env.checkout(), before);
    let report = env.report();
    assert_eq!(reasons(&report, 0), ["policy", "policy"]);
    assert!(attempts(&report, 0)[0]["fault"]["message"].as_str().unwrap().contains("prd.md"));
}

#[test]
fn an_agent_that_deletes_its_own_directory_fails_and_the_machine_is_not_blamed() {
    for script in ["rm -rf \"$PWD\"\n", "d=\"$PWD\"; cd /; rm -rf \"$d\"; echo x > \"$d\"\n"] {
        let env = tasks(1);
        let run = run_script(&env, script, &[NO_RETRY]).exits(1);
        env.check_run(&run);
        assert_eq!(statuses(&env.report()), ["failed"]);
    }
}

#[test]
fn links_and_pipes_are_never_followed_and_nothing_hangs() {
    let env = tasks(1);
    let script = "echo x > real\nln -s /etc/passwd secret\nln -s /dev/zero zero\nln -s loop loop\nln -s .. up\n\
        mkfifo pipe\nrm README.md\nln -s /etc/hostname README.md\n: > .git/index.lock\n";
    let run = run_script(&env, script, &["validation.gates.g={run: 'true', report: pipe}"]);
    // The gate's report would be the pipe, had it been captured.
    let run = run.exits(1).says("inconclusive");
    env.check_run(&run);
    let tip = env.report()["result"]["tip"].as_str().unwrap().to_owned();
    let tree = env.git(&["ls-tree", "-r", &tip]);
    for link in ["secret", "zero", "loop", "up", "README.md"] {
        assert!(tree.lines().any(|l| l.starts_with("120000") && l.ends_with(&format!("\t{link}"))), "{link}:\n{tree}");
    }
    assert!(tree.contains("\treal") && !tree.contains("pipe"), "{tree}");
}

#[test]
fn a_gate_report_that_is_a_link_is_not_followed() {
    let env = tasks(1);
    let secret = env.script("secret.xml", "<testsuite name='s'><testcase name='a'/></testsuite>");
    let target = secret.trim_start_matches("sh ");
    let gate = format!("validation.gates.g={{run: 'mkfifo p; ln -sf {target} r.xml', report: r.xml, timeout: 5}}");
    let run = run_script(&env, "echo x > x\n", &[&gate]);
    assert_ne!(env.report()["gates"][0]["status"], "passed", "a link to a file that the gate did not write");
    env.check_run(&run.exits(1));
    let gate = "validation.gates.g={run: 'mkfifo r.xml', report: r.xml, timeout: 5}";
    let run = run_script(&env, "echo x > x\n", &[gate]);
    env.check_run(&run.exits(1));
}

#[track_caller]
fn check_rejected(script: &str, named: &str) {
    let env = tasks(1);
    let run = run_script(&env, script, &[]).exits(1);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(reasons(&report, 0), ["rejected_tree", "rejected_tree"]);
    let message = attempts(&report, 0)[0]["fault"]["message"].as_str().unwrap();
    assert!(message.contains(named), "the next attempt must learn what was wrong with {named:?}: {message}");
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty());
}

#[test]
fn a_repository_in_the_repository_is_rejected() {
    let commit = "git init -q sub\ncd sub\necho x > x\ngit add x\n\
        git -c user.name=a -c user.email=a@b commit -q -m x\n";
    check_rejected(commit, "sub");
    // One without a commit.
    check_rejected("echo x > x\ngit init -q sub\necho y > sub/y\n", "sub");
}

#[test]
fn a_git_file_that_points_elsewhere_is_rejected() {
    let env = tasks(1);
    let script = format!("mkdir sub\necho 'gitdir: {}/.git' > sub/.git\necho x > sub/x\n", env.repo.display());
    let run = run_script(&env, &script, &[]).exits(1);
    env.check_run(&run);
    assert_eq!(reasons(&env.report(), 0)[0], "rejected_tree");
}

#[test]
fn names_that_mean_git_are_rejected_by_name() {
    check_rejected("echo x > x\nmkdir .GIT\necho y > .GIT/config\n", ".GIT");
    check_rejected("echo x > x\nmkdir 'git~1'\necho y > 'git~1/config'\n", "git~1");
}

#[test]
fn a_path_that_is_too_long_is_not_lost_in_silence() {
    let env = tasks(1);
    let script =
        "echo x > x\nd=$(printf 'd%.0s' $(seq 200))\nfor i in $(seq 30); do mkdir $d; cd $d; done\necho y > y\n";
    let run = run_script(&env, script, &[]).exits(1);
    env.check_run(&run);
}

#[test]
fn mode_bits_are_plain_or_executable_and_nothing_else() {
    let env = tasks(1);
    let run = run_script(&env, "echo x > x\nchmod 6755 x\necho y > y\nchmod 0666 y\n", &[]).exits(0);
    env.check_run(&run);
    let tree = env.git(&["ls-tree", "maestro/feature", "x", "y"]);
    assert!(tree.contains("100755 blob") && tree.contains("100644 blob"), "{tree}");
}

// --- attempts ---

#[test]
fn a_red_exit_with_a_right_change_is_a_failed_attempt_whose_patch_is_kept() {
    let env = tasks(1);
    let script = "echo \"attempt $MAESTRO_ATTEMPT\" > x\n[ $MAESTRO_ATTEMPT != 1 ]\n";
    let run = run_script(&env, script, &[]).exits(0);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(reasons(&report, 0), ["exit", "none"]);
    assert_eq!(attempts(&report, 0)[1]["strategy"], "alternative");
    let patch = fs::read_to_string(attempt_dir(&env, "T-001", 1).join("changes.patch")).unwrap();
    assert!(patch.contains("+attempt 1"), "{patch}");
    assert_eq!(env.show("maestro/feature", "x").as_deref(), Some("attempt 2\n"));
}

#[test]
fn the_next_attempt_learns_what_failed_and_starts_afresh() {
    let env = tasks(1);
    let script = "if grep -q 'WHAT FAILED BEFORE' ; then [ ! -e half ] && echo ok > ok.txt; exit; fi\n\
        echo half > half\necho 'the reason is xyzzy' >&2\nexit 9\n";
    let run = run_script(&env, script, &[]).exits(0);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(attempts(&report, 0).len(), 2);
    assert_eq!(attempts(&report, 0)[0]["fault"]["class"], "implementation");
    let prompt = fs::read_to_string(attempt_dir(&env, "T-001", 2).join("prompt.md")).unwrap();
    assert!(prompt.contains("exit status 9") && prompt.contains("the reason is xyzzy"), "{prompt}");
    assert_eq!(env.show("maestro/feature", "half"), None);
}

#[test]
fn a_transient_failure_is_tried_again_after_a_wait() {
    let env = tasks(1);
    let run = run_script(&env, "echo x > x\n[ $MAESTRO_ATTEMPT != 1 ] || exit 75\n", &[]).exits(0);
    env.check_run(&run);
    let report = env.report();
    assert_eq!(reasons(&report, 0), ["tempfail", "none"]);
    let (first, second) = (&attempts(&report, 0)[0], &attempts(&report, 0)[1]);
    assert_eq!(first["fault"]["class"], "transient");
    assert_eq!(second["strategy"], "retry");
    let ended = first["started_ms"].as_u64().unwrap() + first["duration_ms"].as_u64().unwrap();
    // Two clocks of one millisecond each.
    assert!(second["started_ms"].as_u64().unwrap() + 5 >= ended + 500, "{first}\n{second}");
    assert!(!report["faults"][0]["followed_by"].as_str().unwrap().is_empty(), "every fault names what was done");
}

#[test]
fn an_agent_that_cannot_work_leaves_a_session_that_goes_on_later() {
    let env = tasks(2);
    let (flag, runs) = (env.path("service-is-back"), env.path("runs"));
    let script = format!(
        "echo $MAESTRO_TASK >> {}\necho x > $MAESTRO_TASK.txt\n[ $MAESTRO_TASK = T-002 ] || [ -e {} ] || exit 75\n",
        runs.display(),
        flag.display()
    );
    let run = run_script(&env, &script, &[NO_RETRY]).exits(7).says("could not work on T-001");
    env.check_run(&run);
    let report = env.report();
    assert_eq!(statuses(&report), ["parked", "done"], "independent work goes on");
    assert_eq!(report["resumable"], true);
    fs::write(&flag, "").unwrap();
    let run = run_script(&env, &script, &[NO_RETRY]).exits(0).says("Going on with session");
    env.check_run(&run);
    let runs = fs::read_to_string(&runs).unwrap();
    assert_eq!(runs.matches("T-002").count(), 1, "{runs}");
    assert_eq!(runs.matches("T-001").count(), 2, "{runs}");
}

#[test]
fn a_failed_task_blocks_what_depends_on_it_and_nothing_else() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first"), ("FR-2", "second, after FR-1"), ("FR-3", "third")]));
    env.commit("prd");
    let script = "[ $MAESTRO_TASK = T-001 ] || echo x > $MAESTRO_TASK.txt\n";
    let run = run_script(&env, script, &[NO_RETRY]).exits(1).says("T-002 waits for T-001");
    env.check_run(&run);
    let report = env.report();
    assert_eq!(statuses(&report), ["failed", "blocked", "done"]);
    assert!(attempts(&report, 1).is_empty());
    env.run(&["log", "--kind", "fault"]).exits(0).prints("T-002 waits for T-001");
    // No gate says that what is there is not sound.
    assert_eq!(env.show("maestro/feature", "T-003.txt").as_deref(), Some("x\n"));
    assert!(env.show("maestro/feature", "prd.md").unwrap().contains("status: implementing"));
}

#[test]
fn two_tasks_that_change_one_line_both_end_up_in_the_result() {
    let env = tasks(2);
    let meet = env.path("meet");
    fs::create_dir(&meet).unwrap();
    let script = format!(
        "if [ $MAESTRO_ATTEMPT != 1 ]; then echo \"- $MAESTRO_TASK\" >> README.md; exit; fi\n\
         : > {meet}/$MAESTRO_TASK\nuntil [ -e {meet}/T-001 ] && [ -e {meet}/T-002 ]; do sleep 0.02; done\n\
         [ $MAESTRO_TASK = T-001 ] || sleep 1\necho \"- $MAESTRO_TASK\" > README.md\n",
        meet = meet.display()
    );
    let run = run_script(&env, &script, &["orchestrator.jobs=2"]).exits(0);
    env.check_run(&run);
    let report = env.report();
    assert_eq!((attempts(&report, 0).len(), attempts(&report, 1).len()), (1, 2));
    assert_eq!(attempts(&report, 1)[0]["fault"]["class"], "conflict");
    assert_eq!(attempts(&report, 1)[1]["strategy"], "rebase");
    let prompt = fs::read_to_string(attempt_dir(&env, "T-002", 2).join("prompt.md")).unwrap();
    assert!(prompt.contains("conflict") && prompt.contains("README.md"), "{prompt}");
    assert_eq!(env.show("maestro/feature", "README.md").as_deref(), Some("- T-001\n- T-002\n"));
}

// --- gates and what decides ---

#[test]
fn a_red_gate_fails_the_run_and_keeps_the_work_beside_the_branch() {
    let env = tasks(1);
    let run = run_script(&env, "echo x > x\n", &["validation.gates.g.run=echo broken; exit 1"]).exits(1);
    env.check_run(&run);
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty(), "the branch does not move");
    let report = env.report();
    assert_eq!(report["gates"][0]["status"], "failed");
    assert!(report["gates"][0]["log_tail"].as_str().unwrap().contains("broken"));
    let tip = format!("refs/maestro/{}/tip", report["session"].as_str().unwrap());
    assert_eq!(env.show(&tip, "x").as_deref(), Some("x\n"));
}

#[test]
fn a_report_that_the_agent_wrote_proves_nothing() {
    let env = tasks(1);
    let forged = "echo '<testsuite name=\"s\"><testcase name=\"a\"/></testsuite>' > r.xml\necho x > x\n";
    let run = run_script(&env, forged, &["validation.gates.g={run: 'true', report: r.xml}"]).exits(1);
    env.check_run(&run);
    assert_eq!(env.report()["gates"][0]["status"], "inconclusive");
}

#[test]
fn a_gate_whose_tool_is_missing_is_skipped_and_never_passed() {
    for gate in ["no-such-tool-here --all", "sh -c no-such-tool-here"] {
        let env = tasks(1);
        run_script(&env, "echo x > x\n", &[&format!("validation.gates.g.run={gate}")]).exits(1);
        assert_eq!(env.report()["gates"][0]["status"], "skipped", "{gate}");
        assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty());
    }
}

#[test]
fn a_gate_that_was_only_detected_may_be_skipped_and_is_shown_as_that() {
    let mut env = tasks(1);
    // No machine has bun there.
    env.set("PATH", "/usr/local/bin:/usr/bin:/bin");
    env.write("package.json", r#"{"scripts":{"test":"jest"}}"#);
    env.write("bun.lock", "");
    env.commit("node");
    let run = run_script(&env, "echo x > x\n", &[]).exits(0).says("test skipped");
    env.check_run(&run);
    let report = env.report();
    assert_eq!(report["gates"][0]["status"], "skipped");
    assert_eq!(report["requirements"][0]["status"], "unverified");
}

#[test]
fn tokens_of_the_forge_and_the_cloud_reach_no_child() {
    let mut env = tasks(1);
    let secrets = [
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_URL",
        "INPUT_TOKEN",
        "CI_JOB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "SSH_AUTH_SOCK",
        "ANTHROPIC_API_KEY",
    ];
    for name in secrets {
        env.set(name, "5ecret");
    }
    let (gate, setup) = (env.path("gate.env"), env.path("setup.env"));
    let sets = [
        format!("validation.gates.g.run=env > {}", gate.display()),
        format!("workspace.setup=env > {}", setup.display()),
    ];
    let run = run_script(&env, "env > agent.env\n", &[&sets[0], &sets[1]]).exits(0);
    env.check_run(&run);
    let agent = env.show("maestro/feature", "agent.env").unwrap();
    assert!(agent.contains("MAESTRO_TASK=T-001") && agent.contains("PATH="), "{agent}");
    let placeholder = "ANTHROPIC_API_KEY=maestro-ci\n";
    assert!(agent.contains(placeholder), "behind the gateway an agent gets a placeholder:\n{agent}");
    let agent = agent.replace(placeholder, "");
    for seen in [agent, fs::read_to_string(&gate).unwrap(), fs::read_to_string(&setup).unwrap()] {
        assert!(!seen.contains("5ecret") && secrets.iter().all(|name| !seen.contains(name)), "{seen}");
        assert!(!seen.contains("MAESTRO_CI_"), "our own settings are no child's business:\n{seen}");
    }
}

#[test]
fn a_gate_script_that_an_agent_rewrites_does_not_make_the_gate_green() {
    let env = tasks(1);
    env.write("ci/gate.sh", "exit 1\n");
    env.commit("gate");
    let script = "echo x > x\necho 'exit 0' > ci/gate.sh\n";
    let run = run_script(&env, script, &["validation.gates.g.run=sh ci/gate.sh"]).exits(1);
    env.check_run(&run);
    assert!(env.git(&["for-each-ref", "refs/heads/maestro"]).is_empty());
}

#[test]
fn the_configuration_and_the_prd_are_those_of_the_base_and_no_task_changes_them() {
    let config = ".flow/maestro/config.yaml";
    for file in [config, "prd.md", ".github/workflows/ci.yml"] {
        let env = tasks(1);
        env.write(config, "validation: {gates: {g: {run: 'false'}}}\n");
        env.write(".github/workflows/ci.yml", "on: push\n");
        env.commit("config");
        let sha = env.git(&["rev-parse", "HEAD"]);
        let script = format!("echo x > x\necho '# tampered' >> {file}\n");
        let run = run_script(&env, &script, &[]).exits(1);
        env.check_run(&run);
        let report = env.report();
        assert_eq!(reasons(&report, 0), ["policy", "policy"], "{file}");
        assert_eq!(report["base"]["commit"], sha.as_str());
    }
}

#[test]
fn instructions_that_one_task_plants_do_not_reach_the_next_ones_agent() {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "first"), ("FR-2", "second, after FR-1")]));
    env.commit("prd");
    let script = "if [ $MAESTRO_TASK = T-001 ]; then mkdir .claude\necho '{}' > .claude/settings.json\n\
        echo '{}' > .mcp.json\nfi\n\
        if [ $MAESTRO_TASK = T-002 ]; then ls -A > seen.txt; fi\necho x > $MAESTRO_TASK.txt\n";
    run_script(&env, script, &[NO_RETRY]);
    let report = env.report();
    let tip = report["result"]["tip"].as_str().unwrap();
    let seen = env.show(tip, "seen.txt").unwrap_or_default();
    assert!(!seen.contains(".claude") && !seen.contains(".mcp.json"), "the second agent saw\n{seen}");
}

#[test]
fn a_run_with_a_misbehaving_agent_leaves_the_checkout_alone() {
    let env = tasks(2);
    let before = env.checkout();
    let script = "git config --global user.name evil\ngit stash\ngit worktree add ../w 2>&1\nrm -f ../../../README.md\n\
        echo x > $MAESTRO_TASK.txt\n";
    let run = run_script(&env, script, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(env.checkout(), before);
}
