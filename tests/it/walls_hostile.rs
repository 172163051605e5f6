//! Attacks on whoever watches: through limits, through what the kernel hides, through a warden's death, through what our
//! own helpers carry; and the odd repositories and paths in which honest work must go on.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::budgets::tasks;
use crate::env::{Env, end_of, wait_until};
use crate::walls::{command, everybody, of_result, passes, run_sets, said, walled};

const NO_RETRY: &str = "error_recovery.max_retry_attempts=0";
const PATIENCE: Duration = Duration::from_mins(1);

/// A directory outside that agents may write to, and the key that says so.
fn outside(env: &Env) -> (PathBuf, String) {
    let dir = env.path("outside");
    fs::create_dir(&dir).unwrap();
    let key = format!("sandbox.write=[{}]", dir.display());
    (dir, key)
}

/// Leaves its parents, its session, its environment and its directory, and writes its number into a file.
const HIDER: &str = r#"
import os, sys, time
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
os.chdir("/")
os.closerange(0, 64)
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(out, str(os.getpid()).encode())
os.close(out)
time.sleep(60)
"#;

/// Lines of a script that start one of these and wait until it has hidden.
fn hider(pid_file: &Path) -> String {
    let file = pid_file.display();
    format!(
        "py=$(python3 -c 'import sys; print(sys.executable)')\nenv -i $py -c '{HIDER}' {file} &\n\
         until [ -s {file} ]; do sleep 0.02; done\n"
    )
}

#[track_caller]
fn check_gone(pid_file: &Path) {
    let pid = fs::read_to_string(pid_file).unwrap();
    let is_gone = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    wait_until("the end of what hides", Duration::from_secs(1), is_gone);
}

#[test]
fn nobody_sets_the_limits_of_anybody_else() {
    for who in everybody() {
        let mut env = walled(2);
        let meet = env.path("meet");
        fs::create_dir(&meet).unwrap();
        // Its own limits, and those of others as far as they are only read, are its business.
        let script = format!(
            "m={meet}; echo $$ > $m/$MAESTRO_TASK\n\
             until [ -s $m/T-001 ] && [ -s $m/T-002 ]; do sleep 0.02; done\n\
             [ $MAESTRO_TASK = T-001 ] && other=T-002 || other=T-001\n\
             run=$(cut -d' ' -f4 /proc/$PPID/stat)\n\
             for pid in $run $PPID $(cat $m/$other); do for limit in --cpu=0:0 --fsize=0:0 --nofile=0:0 --as=0; do\n\
             prlimit --pid $pid $limit && echo \"set $limit\"; done; done > $MAESTRO_TASK.txt 2> refused\n\
             grep -c 'not permitted' refused >> $MAESTRO_TASK.txt\n\
             (ulimit -n 64; ulimit -n; prlimit --nofile=32 sh -c 'ulimit -n') >> $MAESTRO_TASK.txt\n\
             rm refused; : > $m/$MAESTRO_TASK.done\n\
             until [ -e $m/T-001.done ] && [ -e $m/T-002.done ]; do sleep 0.02; done\n",
            meet = meet.display()
        );
        let write = format!("sandbox.write=[{}]", meet.display());
        passes(&mut env, who, &script, &[&write, "orchestrator.jobs=2"]);
        for task in ["T-001", "T-002"] {
            assert_eq!(of_result(&env, &format!("{task}.txt")), "12\n64\n32\n", "{who:?}");
        }
    }
}

#[test]
fn what_hides_when_its_warden_is_killed_is_found_and_counted() {
    let env = tasks(1);
    let (dir, key) = outside(&env);
    let kill = format!("{}kill -9 $PPID; sleep 60", hider(&dir.join("gate")));
    let gate_script = dir.join("gate.sh");
    fs::write(&gate_script, &kill).unwrap();
    let gate = format!("validation.gates.g.run=sh {}", gate_script.display());
    let script =
        format!("echo x > x\n[ $MAESTRO_ATTEMPT = 2 ] && exit\n{}kill -9 $PPID\nsleep 60\n", hider(&dir.join("agent")));
    let run = run_sets(&env, &script, &[&key, &gate, "validation.gates.g.required=false"]).exits(0);
    assert!(run.took < Duration::from_secs(20), "{:?}", run.took);
    env.check_run(&run);
    let report = env.report();
    for (file, place) in [("agent", &report["tasks"][0]["attempts"][0]), ("gate", &report["gates"][0])] {
        check_gone(&dir.join(file));
        assert!(place["leaked_processes"].as_u64().unwrap() >= 1, "{file}: {place}");
    }
    assert_eq!(report["gates"][0]["status"], "inconclusive");
}

#[test]
fn what_hides_from_setups_killed_warden_is_found() {
    let env = tasks(1);
    let (dir, key) = outside(&env);
    fs::write(dir.join("setup.sh"), format!("{}kill -9 $PPID; sleep 60", hider(&dir.join("setup")))).unwrap();
    let setup = format!("workspace.setup=sh {}", dir.join("setup.sh").display());
    let run = run_sets(&env, "echo x > x", &[&key, &setup]).exits(6);
    env.check_run(&run);
    check_gone(&dir.join("setup"));
}

#[test]
fn children_that_we_did_not_start_are_left_alone() {
    let env = tasks(1);
    let (dir, key) = outside(&env);
    let script = "echo x > x\n[ $MAESTRO_ATTEMPT = 2 ] && exit\nkill -9 $PPID\nsleep 60\n";
    let ours = command(&env, script, &[&key]);
    // A shell that becomes the run hands its children on.
    let mut command = Command::new("sh");
    let start = format!("cd /; sleep 61 & echo $! > {}/own; cd {}; exec \"$@\"", dir.display(), env.repo.display());
    command.args(["-c", &start, "sh"]).arg(ours.get_program()).args(ours.get_args()).env_clear();
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let run = end_of(command.spawn().unwrap(), Instant::now(), PATIENCE).exits(0);
    env.check_run(&run);
    let own = fs::read_to_string(dir.join("own")).unwrap();
    assert!(Command::new("kill").args(["-9", own.trim()]).status().unwrap().success(), "it is gone");
}

#[test]
fn anything_in_the_place_of_a_gates_log_holds_nobody_up() {
    for plant in ["mkfifo log", "ln -s /dev/zero log", "mkdir log"] {
        let env = tasks(1);
        // At level 0 a gate can reach its own log, which its standard output names.
        let gate = format!("cd {}/.flow/maestro/sessions/*/gates/g/round-* && rm log && {plant}", env.repo.display());
        let child = command(&env, "echo x > x", &[&format!("validation.gates.g.run={gate}")]).spawn().unwrap();
        let run = end_of(child, Instant::now(), Duration::from_secs(20)).exits(0);
        env.check_run(&run);
    }
}

#[test]
fn no_helper_carries_our_environment() {
    for walls in [false, true] {
        let mut env = if walls { walled(1) } else { tasks(1) };
        env.set("GITHUB_TOKEN", "c4nary");
        // Every helper that there is while setup, an agent and a gate work, as root sees it.
        let look = "grep -lz c4nary /proc/[0-9]*/environ 2> /dev/null | grep -v \"^/proc/$run/\"; echo looked";
        let script = format!("run=$(cut -d' ' -f4 /proc/$PPID/stat)\n{look}\necho x > x\n");
        let run = run_sets(&env, &script, &[]).exits(0);
        env.check_run(&run);
        let seen = said(&env, "T-001", 1, "stream.jsonl");
        let ours = format!("/proc/{}/environ", std::process::id());
        let seen: Vec<&str> = seen.lines().filter(|line| *line != ours && *line != "looked").collect();
        assert!(seen.is_empty(), "{seen:?}");
    }
}

#[test]
fn deaf_trees_and_our_own_helpers_are_gone_a_second_after_a_killed_run() {
    let env = walled(1);
    let (dir, key) = outside(&env);
    let deaf = "trap \"\" TERM INT HUP; while :; do sleep 0.1; done";
    let script = format!("setsid sh -c '{deaf}' &\n: > {}\n{deaf}\n", dir.join("go").display());
    let adds = || env.processes().iter().any(|line| line.contains(" add "));
    let at_work = || dir.join("go").exists();
    let cases: [(&str, &dyn Fn() -> bool); 2] = [(&script, &at_work), ("truncate -s 8G huge\n", &adds)];
    for (script, sign) in cases {
        let mut child = command(&env, script, &[&key, "resource_limits.grace_seconds=5"]).spawn().unwrap();
        wait_until("the moment to kill", PATIENCE, sign);
        child.kill().unwrap();
        child.wait().unwrap();
        wait_until("the end of its processes", Duration::from_secs(1), || env.processes().is_empty());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        assert!(!said.contains("warden"), "{said}");
    }
}

#[test]
fn git_works_in_a_clone_that_borrows_its_objects() {
    for option in ["--reference", "--shared"] {
        let mut env = walled(1);
        let (lender, clone) = (env.path("lender"), env.path("clone"));
        fs::rename(&env.repo, &lender).unwrap();
        let (lender, clone) = (lender.display().to_string(), clone.display().to_string());
        let from = format!("file://{lender}");
        let args = if option == "--shared" { vec![option, &lender] } else { vec![option, &lender, &from] };
        let status = Command::new("git").args(["clone", "-q"]).args(args).arg(&clone).status().unwrap();
        assert!(status.success());
        env.repo = PathBuf::from(clone);
        let run = run_sets(&env, "git log --format=%s > log && git show HEAD:README.md >> log", &[]).exits(0);
        env.check_run(&run);
        assert!(of_result(&env, "log").contains("first"), "{option}");
    }
}

#[test]
fn sockets_fit_below_tmpdir_where_the_work_directory_is_long() {
    let mut env = walled(1);
    // As long as a home on a hosted runner makes it: /home/runner/.cache/maestro-ci/work.
    let top = env.path("").display().to_string();
    let work = format!("{}/{}", top.trim_end_matches('/'), "w".repeat(40usize.saturating_sub(top.len())));
    env.set("MAESTRO_CI_WORK_DIR", &work);
    let bind = "import os, socket\npath = os.environ['TMPDIR'] + '/' + 's' * 29\n\
                socket.socket(socket.AF_UNIX).bind(path)\nprint(len(path))\n";
    fs::write(env.repo.join("bind.py"), bind).unwrap();
    env.commit("bind");
    let gate = "validation.gates.a-gate-with-a-long-name.run=python3 bind.py";
    let run = run_sets(&env, "python3 bind.py > x", &[gate]).exits(0);
    env.check_run(&run);
    assert_eq!(env.report()["gates"][0]["status"], "passed");
}

#[test]
fn a_name_that_is_no_text_behind_a_link_on_the_path_keeps_nobody_from_work() {
    let mut env = walled(1);
    let odd = env.path("").join(OsStr::from_bytes(b"odd-\xff"));
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("tool"), "").unwrap();
    std::os::unix::fs::symlink(odd.join("tool"), env.path("bin").join("tool")).unwrap();
    let path = format!("{}:{}", env.path("bin").display(), std::env::var("PATH").unwrap());
    env.set("PATH", &path);
    let run = run_sets(&env, "echo x > x", &[NO_RETRY]).exits(0);
    env.check_run(&run);
}

#[test]
fn an_agent_is_asked_for_its_version_behind_walls() {
    let env = walled(1);
    let (home, bin) = (env.path("home"), env.path("bin"));
    let program = format!(
        "#!/bin/sh\necho bad > {home}/.bashrc\necho bad > {repo}/bad\n\
         grep CapEff /proc/self/status | grep -q 0000000000000000 && echo 7.7.7\n",
        home = home.display(),
        repo = env.repo.display()
    );
    fs::write(bin.join("codex"), program).unwrap();
    assert!(Command::new("chmod").arg("755").arg(bin.join("codex")).status().unwrap().success());
    let mut command = env.command(&["check", "--prd", "prd.md", "--agent", "codex"]);
    command.env("OPENAI_API_KEY", "x");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("7.7.7"), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!home.join(".bashrc").exists() && !env.repo.join("bad").exists());
}
