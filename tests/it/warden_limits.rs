//! Memory, processes, disk, output and changes of one attempt: what is just allowed passes, what is over it is ended,
//! named in every report, and parked for a later run; and what a flood costs us.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::{Env, SLACK, end_of};
use crate::walls::{command, of_result, run_sets, said, walled};

const MIB: u64 = 1 << 20;
const NO_RETRY: &str = "error_recovery.max_retry_attempts=0";
const PATIENCE: Duration = Duration::from_mins(1);

fn attempt(env: &Env) -> Value {
    env.report()["tasks"][0]["attempts"][0].clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// A limit's key below `resource_limits.task`, its value, and how its resource is called.
struct Limit {
    key: &'static str,
    value: u64,
    name: &'static str,
}

impl Limit {
    fn set(&self) -> String {
        format!("resource_limits.task.{}={}", self.key, self.value)
    }
}

/// A run that stays within the limit, and its only attempt.
#[track_caller]
fn check_within(limit: &Limit, script: &str) -> Value {
    let env = walled(1);
    let run = run_sets(&env, &format!("echo x > x\n{script}\n"), &[&limit.set(), NO_RETRY]).exits(0);
    env.check_run(&run);
    assert_eq!(of_result(&env, "x"), "x\n");
    attempt(&env)
}

/// A run that goes over the limit, and its only attempt.
#[track_caller]
fn check_over(limit: &Limit, script: &str) -> Value {
    goes_over(limit, script).1
}

#[track_caller]
fn goes_over(limit: &Limit, script: &str) -> (Env, Value) {
    let env = walled(1);
    let run = run_sets(&env, &format!("echo x > x\n{script}\n"), &[&limit.set(), NO_RETRY]).exits(5);
    env.check_run(&run);
    let report = env.report();
    let attempt = report["tasks"][0]["attempts"][0].clone();
    assert_eq!(attempt["fault"]["class"], "budget", "{attempt}");
    assert_eq!(attempt["fault"]["reason"], limit.name, "{attempt}");
    assert_eq!(report["tasks"][0]["status"], "parked");
    assert_eq!(report["verdict"], "budget");
    assert_eq!(report["resumable"], true);
    let stopped = &report["budget"]["stopped_by"];
    assert_eq!(stopped["resource"], limit.name, "{stopped}");
    assert_eq!(stopped["limit"], limit.value, "{stopped}");
    assert!(number(&stopped["used"]) > limit.value, "{stopped}");
    let words = limit.name.replace('_', " ");
    assert!(report["reason"].as_str().unwrap().contains(&words), "{}", report["reason"]);
    env.run(&["report", "--format", "junit"]).exits(0).prints(&format!("budget: {}", limit.name));
    (env, attempt)
}

// --- memory ---

/// Holds so many MiB until somebody ends it, or for 20 seconds.
fn holds(mib: u64) -> String {
    format!("python3 -c 'import time; held = bytearray({mib} << 20); time.sleep(20)'")
}

/// Lines of a script with two that hold so many MiB each, at the same time and long enough to be seen.
fn two_hold(mib: u64) -> String {
    let waits = "import os, sys, time\nheld = bytearray(MIB << 20)\nopen(sys.argv[1], \"w\").close()\n\
        while not os.path.exists(\"go\"): time.sleep(0.05)\n";
    let waits = waits.replace("MIB", &mib.to_string());
    format!(
        "python3 -c '{waits}' one & python3 -c '{waits}' two &\n\
         until [ -e one ] && [ -e two ]; do sleep 0.05; done\nsleep 1; : > go; wait; rm one two go"
    )
}

#[test]
fn the_memory_of_a_whole_tree_counts_and_its_peak_is_reported() {
    let limit = Limit { key: "max_memory_bytes", value: 200 * MIB, name: "memory" };
    let four = format!("for i in 1 2 3 4; do {} & done\nwait", holds(100));
    let attempt = check_over(&limit, &four);
    assert!(number(&attempt["peak_memory_bytes"]) > 200 * MIB, "{attempt}");
    assert!(number(&attempt["duration_ms"]) < 15_000, "nobody ended it: {attempt}");
    let attempt = check_within(&limit, &two_hold(70));
    let peak = number(&attempt["peak_memory_bytes"]) / MIB;
    assert!((140..=200).contains(&peak), "{peak} MiB");
}

#[test]
fn a_flag_limits_memory_and_a_resume_may_raise_it() {
    let env = walled(1);
    let script = format!("echo x > x\n[ $MAESTRO_ATTEMPT = 2 ] && exit\n{}\n", holds(200));
    let args = ["--prd", "prd.md", "--agent-cmd", &script, "--max-memory", "150MiB", "--set", NO_RETRY];
    let run = end_of(env.command(&args).spawn().unwrap(), Instant::now(), PATIENCE).exits(5);
    env.check_run(&run);
    assert_eq!(attempt(&env)["fault"]["limit"]["limit"], 150 * MIB);
    let run = env.run(&["resume", "--max-memory", "400MiB"]).exits(0);
    env.check_run(&run);
}

// --- processes ---

#[test]
fn a_fork_bomb_is_ended_in_two_seconds() {
    let limit = Limit { key: "max_processes", value: 64, name: "processes" };
    // It says when it begins, and ends by itself if nobody ends it.
    let bomb = "exec python3 - <<'END'\nimport os, time\nstart = time.time()\nprint(int(start * 1000), flush=True)\n\
        for _ in range(1500):\n    if os.fork() == 0:\n        time.sleep(20)\n        os._exit(0)\n\
        time.sleep(start + 20 - time.time())\nEND\n";
    let (env, attempt) = goes_over(&limit, bomb);
    let began: u64 = said(&env, "T-001", 1, "stream.jsonl").trim().parse().unwrap();
    let ended = number(&attempt["started_ms"]) + number(&attempt["duration_ms"]);
    let lived = Duration::from_millis(ended.saturating_sub(began));
    assert!(lived < Duration::from_secs(2) + SLACK, "{lived:?}: {attempt}");
    assert!(number(&attempt["peak_processes"]) > 64, "{attempt}");
}

#[test]
fn as_many_processes_as_allowed_may_run() {
    let limit = Limit { key: "max_processes", value: 5, name: "processes" };
    // The shell is one of them.
    let sleepers = |count: u64, seconds: u64| format!("for i in $(seq {count}); do sleep {seconds} & done\nwait");
    let attempt = check_within(&limit, &sleepers(4, 2));
    // What lives is counted from time to time; in two seconds most of it is seen.
    assert!((4..=5).contains(&number(&attempt["peak_processes"])), "{attempt}");
    check_over(&limit, &sleepers(5, 20));
}

// --- disk ---

#[test]
fn disk_counts_wherever_an_agent_may_write() {
    let limit = Limit { key: "max_disk_bytes", value: 60 * MIB, name: "disk" };
    for place in ["big", "$TMPDIR/big", "$HOME/big"] {
        let fills = |mib: u64| format!("fallocate -l {mib}M {place} || head -c {mib}M /dev/zero > {place}");
        let attempt = check_over(&limit, &format!("{}\nsleep 20", fills(100)));
        assert!(number(&attempt["duration_ms"]) < 10_000, "{attempt}");
        // Gone as quickly as it came.
        check_over(&limit, &fills(100));
    }
    check_within(&limit, "head -c 50M /dev/zero > $TMPDIR/big; sleep 0.3");
    check_within(&limit, "truncate -s 9G $TMPDIR/sparse; ln -s /usr all; sleep 0.3");
}

// --- output ---

#[test]
fn output_counts_on_both_streams_to_the_byte() {
    let limit = Limit { key: "max_output_bytes", value: 1_000_000, name: "output" };
    check_within(&limit, "yes | head -c 600000; yes | head -c 400000 >&2");
    check_over(&limit, "yes | head -c 600000; yes | head -c 400001 >&2");
    let attempt = check_over(&limit, "yes | head -c 9000000; sleep 20");
    assert!(number(&attempt["duration_ms"]) < 10_000, "{attempt}");
}

// --- changes ---

#[test]
fn changed_files_and_lines_may_reach_their_limit() {
    let files = Limit { key: "max_changed_files", value: 2, name: "changed_files" };
    check_within(&files, "echo y > y");
    check_over(&files, "echo y > y; echo z > z");
    let lines = Limit { key: "max_changed_lines", value: 4, name: "changed_lines" };
    check_within(&lines, "seq 3 > y");
    check_over(&lines, "seq 4 > y");
    // One that is changed is one that goes and one that comes.
    check_over(&lines, "echo other > README.md; seq 2 > y");
}

// --- gates ---

#[test]
fn gates_have_the_same_limits_and_prove_nothing_beyond_them() {
    for (set, gate) in [
        ("max_memory_bytes=100000000", holds(200)),
        ("max_processes=3", "for i in 1 2 3 4; do sleep 20 & done; wait".to_owned()),
        ("max_disk_bytes=30000000", "head -c 60M /dev/zero > big; sleep 9".to_owned()),
    ] {
        let env = walled(1);
        let (set, gate) = (format!("resource_limits.task.{set}"), format!("validation.gates.g={{run: \"{gate}\"}}"));
        let run = run_sets(&env, "echo x > x", &[&set, &gate]).exits(1);
        env.check_run(&run);
        let gate = &env.report()["gates"][0];
        assert_eq!(gate["status"], "inconclusive", "{gate}");
        let resource = set.split(['_', '=']).nth(2).unwrap();
        assert!(gate["summary"].as_str().unwrap().contains(resource), "{gate}");
    }
}

// --- what a flood costs ---

/// The most memory that a run held, and the most that one of its wardens held, MiB.
struct Peaks {
    own: u64,
    warden: u64,
}

fn peak_mib(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0) / 1024
}

/// Wardens whose parent is this process.
fn wardens(parent: &str) -> Vec<String> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().into_string().ok());
    let is_ours = |pid: &String| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let stat = read("stat");
        let is_child = stat.rsplit(')').next().is_some_and(|rest| rest.split(' ').nth(2) == Some(parent));
        is_child && read("cmdline").contains("__warden")
    };
    pids.filter(is_ours).collect()
}

/// Runs an agent that has to pass, with an eye on our memory.
#[track_caller]
fn peaks(env: &Env, script: &str) -> Peaks {
    let child = command(env, &format!("echo x > x\n{script}\nsleep 0.2\n"), &[]).spawn().unwrap();
    let (pid, started) = (child.id().to_string(), Instant::now());
    let watch = std::thread::spawn(move || end_of(child, started, PATIENCE));
    let mut peaks = Peaks { own: 0, warden: 0 };
    while !watch.is_finished() {
        peaks.own = peaks.own.max(peak_mib(&pid));
        peaks.warden = wardens(&pid).iter().map(|pid| peak_mib(pid)).fold(peaks.warden, u64::max);
        std::thread::sleep(Duration::from_millis(10));
    }
    let run = watch.join().unwrap().exits(0);
    env.check_run(&run);
    peaks
}

#[test]
fn a_flood_costs_little_memory_and_little_disk() {
    let quiet = peaks(&walled(1), "sleep 0.3");
    assert!(quiet.own > 0 && quiet.warden > 0, "nothing was measured");
    for (flood, stream) in [
        ("yes 'a line of an agent that talks too much and says nothing' | head -c 300000000", "stream.jsonl"),
        ("head -c 300000000 /dev/zero | tr '\\0' y", "stream.jsonl"),
        ("printf '{'; head -c 500000000 /dev/zero | tr '\\0' y", "stream.jsonl"),
        ("head -c 300000000 /dev/zero | tr '\\0' '\\377' >&2", "stderr.log"),
    ] {
        let env = walled(1);
        let flooded = peaks(&env, flood);
        assert!(flooded.own <= quiet.own + 16, "{flood}: {} MiB of {} MiB", flooded.own, quiet.own);
        assert!(flooded.warden <= quiet.warden + 16, "{flood}: {} MiB of {} MiB", flooded.warden, quiet.warden);
        let kept = fs::metadata(env.session_dir().join("tasks/T-001/attempt-1").join(stream)).unwrap().len();
        assert!((MIB..100 * MIB).contains(&kept), "{kept} bytes are kept");
        assert!(said(&env, "T-001", 1, stream).contains("bytes cut here"), "nothing says that something is missing");
    }
}
