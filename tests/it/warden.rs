//! Whatever an agent starts, plants or leaves: it is ended in time, it is found, and nothing of it holds a run up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::budgets::tasks;
use crate::env::{Env, Run, SLACK, end_of, wait_until};
use crate::walls::{command, of_result, run_sets, walled};

const NO_RETRY: &str = "error_recovery.max_retry_attempts=0";
const PATIENCE: Duration = Duration::from_mins(1);

fn attempts(env: &Env) -> Vec<Value> {
    env.report()["tasks"][0]["attempts"].as_array().unwrap().clone()
}

fn reasons(env: &Env) -> Vec<String> {
    let reason = |attempt: &Value| attempt["fault"]["reason"].as_str().unwrap_or("none").to_owned();
    attempts(env).iter().map(reason).collect()
}

fn ms(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn lasted(attempt: &Value) -> Duration {
    Duration::from_millis(ms(&attempt["duration_ms"]))
}

/// With walls and without.
fn both(count: usize) -> [Env; 2] {
    [walled(count), tasks(count)]
}

/// A directory outside that agents may write to, and the key that says so.
fn outside(env: &Env) -> (PathBuf, String) {
    let dir = env.path("outside");
    fs::create_dir(&dir).unwrap();
    let key = format!("sandbox.write=[{}]", dir.display());
    (dir, key)
}

// --- time ---

#[test]
fn a_whole_tree_that_ignores_signals_is_dead_when_its_grace_is_over() {
    let env = walled(1);
    let deaf = "trap \"\" TERM INT HUP; while :; do sleep 0.1; done";
    let script = format!("echo x > x\n(setsid sh -c '{deaf}') &\n(sh -c '{deaf}') &\n{deaf}\n");
    let sets = ["orchestrator.max_task_duration=1", "resource_limits.grace_seconds=1", NO_RETRY];
    let run = run_sets(&env, &script, &sets).exits(5);
    env.check_run(&run);
    let attempt = &attempts(&env)[0];
    assert_eq!(attempt["fault"]["reason"], "timeout");
    let (limit, grace, end) = (Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(1));
    assert!((limit + grace..limit + grace + end + SLACK).contains(&lasted(attempt)), "{attempt}");
    env.run(&["report", "--format", "junit"]).exits(0).prints("type=\"budget: timeout\"");
}

#[test]
fn silence_and_lateness_have_names_of_their_own() {
    for (script, limits, reason) in [
        ("sleep 30", ["resource_limits.idle_seconds=1", "orchestrator.max_task_duration=9"], "idle"),
        (
            "while :; do echo tick; sleep 0.1; done",
            ["resource_limits.idle_seconds=1", "orchestrator.max_task_duration=2"],
            "timeout",
        ),
    ] {
        let env = walled(1);
        let run = run_sets(&env, &format!("echo x > x\n{script}\n"), &[limits[0], limits[1], NO_RETRY]).exits(5);
        env.check_run(&run);
        assert_eq!(reasons(&env), [reason]);
        env.run(&["report", "--format", "junit"]).exits(0).prints(&format!("type=\"budget: {reason}\""));
    }
}

// --- what is left behind ---

/// Leaves its parents, its session and its environment, shuts every file, ignores what can be ignored, and writes the
/// time into a file again and again: for a while, as one process or, where it moves, as a new one each time.
const LEAVER: &str = r#"
import os, signal, sys, time
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
for number in (1, 2, 3, 15):
    signal.signal(number, signal.SIG_IGN)
os.chdir("/")
os.closerange(0, 64)
beat, end = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), time.time() + 20
while time.time() < end:
    if sys.argv[2] == "moves" and os.fork():
        os._exit(0)
    os.pwrite(beat, b"%015d" % int(time.time() * 1000), 0)
    time.sleep(0.001)
"#;

/// Lines of a script that start one of these and wait until it is at work.
fn leaver(beat: &Path, how: &str) -> String {
    let beat = beat.display();
    format!(
        "py=$(python3 -c 'import sys; print(sys.executable)')\nenv -i $py -c '{LEAVER}' {beat} {how} &\n\
         until [ -s {beat} ]; do sleep 0.02; done\n"
    )
}

fn time_in(file: &Path) -> u64 {
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

/// When it wrote last, milliseconds; fails the test where it still does.
#[track_caller]
fn last_beat(beat: &Path) -> u64 {
    let last = time_in(beat);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(time_in(beat), last, "it is alive");
    last
}

#[test]
fn daemons_and_moving_targets_are_dead_a_second_after_the_agents_end() {
    for how in ["stays", "moves"] {
        for env in both(1) {
            let (dir, key) = outside(&env);
            let start = leaver(&dir.join("beat"), how);
            let script = format!("echo x > x\n{start}date +%s%3N > {}\n", dir.join("ended").display());
            let run = run_sets(&env, &script, &[&key, NO_RETRY]).exits(0);
            env.check_run(&run);
            let lived = last_beat(&dir.join("beat")).saturating_sub(time_in(&dir.join("ended")));
            assert!(Duration::from_millis(lived) < Duration::from_secs(1) + SLACK, "{how}: {lived} ms");
            assert!(ms(&attempts(&env)[0]["leaked_processes"]) >= 1, "{how}: {}", env.report()["tasks"][0]);
        }
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[test]
fn nothing_outlives_a_killed_run_and_the_session_goes_on() {
    for env in both(1) {
        let (dir, key) = outside(&env);
        let (again, beat) = (dir.join("again"), dir.join("beat"));
        let deaf = "(trap \"\" TERM INT HUP; while :; do sleep 0.1; done) &";
        let start = leaver(&beat, "moves");
        let script = format!(
            "echo x > x\n[ ! -e {again} ] || exit 0\n{deaf}\n{start}: > {again}\nsleep 30\n",
            again = again.display()
        );
        let mut child = command(&env, &script, &[&key]).spawn().unwrap();
        wait_until("the moving target", PATIENCE, || again.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let killed = Instant::now();
        wait_until("the end of its processes", Duration::from_secs(2) + SLACK, || env.processes().is_empty());
        assert!(killed.elapsed() < Duration::from_secs(2) + SLACK);
        last_beat(&beat);
        let run = run_sets(&env, &script, &[&key]).exits(0).says("Going on with session");
        env.check_run(&run);
    }
}

/// Starts a run, waits until a file is there, sends a signal; fails the test where the end takes too long.
#[track_caller]
fn interrupted(
    env: &Env,
    script: &str,
    key: &str,
    sign: impl FnMut() -> bool,
    signal_name: &str,
    limit: Duration,
) -> Run {
    let child = command(env, script, &[key]).spawn().unwrap();
    wait_until("the moment to interrupt", PATIENCE, sign);
    let sent = Instant::now();
    signal(&child, signal_name);
    let run = end_of(child, sent, PATIENCE);
    assert!(run.took < limit, "{signal_name}: {:?}\n{}", run.took, run.stderr);
    run
}

#[test]
fn a_signal_ends_a_run_in_three_seconds_whatever_its_tree_ignores() {
    for (name, code) in [("-TERM", 143), ("-INT", 130)] {
        for env in both(1) {
            let (dir, key) = outside(&env);
            let go = dir.join("go");
            let deaf = "trap \"\" TERM INT HUP; while :; do sleep 0.1; done";
            let script = format!("echo x > x\nsetsid sh -c '{deaf}' &\n: > {}\n{deaf}\n", go.display());
            let limit = Duration::from_secs(3) + SLACK;
            let run = interrupted(&env, &script, &key, || go.exists(), name, limit).exits(code);
            env.check_run(&run);
            assert_eq!(reasons(&env), ["stopped"]);
            assert_eq!(env.report()["resumable"], true);
        }
    }
}

#[test]
fn a_signal_ends_a_run_that_is_taking_in_a_huge_file() {
    let env = walled(1);
    let is_adding = || env.processes().iter().any(|line| line.contains(" add "));
    let script = "truncate -s 4G huge\necho x > x\n";
    let run = interrupted(&env, script, NO_RETRY, is_adding, "-INT", Duration::from_millis(7500)).exits(130);
    env.check_run(&run);
    assert_eq!(env.report()["resumable"], true);
}

// --- an agent against its warden; walls keep it from that ---

#[test]
fn a_killed_warden_is_noticed_its_tree_ended_and_the_attempt_tried_again() {
    for (name, reason) in [("-9", "lost"), ("-TERM", "signal")] {
        let env = tasks(1);
        let script = format!(
            "echo x > x\n[ $MAESTRO_ATTEMPT = 2 ] && exit\nsetsid sleep 100 &\n(trap '' TERM; sleep 100) &\n\
             kill {name} $PPID\nsleep 100\n"
        );
        let run = run_sets(&env, &script, &["resource_limits.grace_seconds=1"]).exits(0);
        assert!(run.took < Duration::from_secs(10), "{name}: {:?}", run.took);
        env.check_run(&run);
        assert_eq!(reasons(&env), [reason, "none"]);
    }
}

#[test]
fn a_stopped_warden_holds_nobody_up_for_ever() {
    let env = tasks(1);
    let script = "echo x > x\n[ $MAESTRO_ATTEMPT = 2 ] && exit\nsetsid sleep 100 &\nkill -STOP $PPID\nsleep 100\n";
    let sets = ["orchestrator.max_task_duration=1", "resource_limits.grace_seconds=1"];
    let run = run_sets(&env, script, &sets).exits(0);
    assert!(run.took < Duration::from_secs(25), "{:?}", run.took);
    env.check_run(&run);
    assert_eq!(reasons(&env), ["lost", "none"]);
}

// --- what is planted ---

#[test]
fn pipes_in_the_place_of_logs_hold_nobody_up() {
    let all = "stderr.log stream.jsonl prompt.md task.json changes.patch";
    // What takes the place of a coming attempt's files costs that attempt.
    for (next, code) in [("$d", 0), ("$(dirname $d)/attempt-2", 6)] {
        let env = tasks(1);
        let script = format!(
            "echo x > x\n[ $MAESTRO_ATTEMPT = 2 ] && exit\nd=$(dirname $MAESTRO_TASK_FILE)\nmkdir -p {next}\n\
             cd {next}\nrm -f {all}\nmkfifo {all}\nexit 1\n"
        );
        let child = command(&env, &script, &[]).spawn().unwrap();
        let run = end_of(child, Instant::now(), Duration::from_secs(20)).exits(code);
        env.check_run(&run);
    }
}

#[test]
fn a_tree_deeper_than_any_path_and_full_of_files_is_removed() {
    let env = walled(1);
    let script = "python3 - <<'END'\nimport os\nfor place in ('.', os.environ['TMPDIR']):\n\
        \x20   os.makedirs(place + '/many')\n    for i in range(10000): open(f'{place}/many/{i}', 'w').close()\n\
        os.mkfifo('pipe')\nfor i in range(1500):\n    os.mkdir('deeper' * 3)\n    os.chdir('deeper' * 3)\n\
        open('ground', 'w').close()\nEND\nexit 3\n";
    let run = run_sets(&env, script, &[NO_RETRY]).exits(1);
    assert!(run.took < Duration::from_secs(30), "{:?}", run.took);
    env.check_run(&run);
    assert_eq!(reasons(&env), ["exit"]);
}

#[test]
fn closed_streams_and_borrowed_pipes_hold_nobody_up() {
    for (script, leaked) in [
        ("exec 0<&- >&- 2>&-\necho x > x\nsleep 0.3\n", false),
        ("echo x > x\nsleep 300 &\nexit 0\n", true),
        ("echo x > x\n(exec 0<&-; setsid sleep 300) &\nsleep 0.1\nexec >&-\n", true),
    ] {
        let env = walled(1);
        let run = run_sets(&env, script, &[NO_RETRY]).exits(0);
        assert!(run.took < Duration::from_secs(5), "{:?}", run.took);
        env.check_run(&run);
        assert_eq!(of_result(&env, "x"), "x\n");
        assert_eq!(ms(&attempts(&env)[0]["leaked_processes"]) > 0, leaked, "{script}");
    }
}
