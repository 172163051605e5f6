//! What agents, gates and setup cannot reach behind the walls of level 1, and what they can: as this user and, where
//! that is root, as an ordinary one, too.

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::budgets::tasks;
use crate::env::{BINARY, Env, Run, end_of};

const PATIENCE: Duration = Duration::from_mins(1);
/// The user that owns nothing, and his group.
const NOBODY: u32 = 65534;

/// A world whose runs have walls. What an agent may not read it cannot run either: its script goes into its command.
pub fn walled(count: usize) -> Env {
    let mut env = tasks(count);
    env.unset("MAESTRO_CI_ALLOW_UNSANDBOXED");
    env
}

/// Runs a PRD with a command as its agent and with keys set on the command line.
#[track_caller]
pub fn run_sets(env: &Env, agent: &str, sets: &[&str]) -> Run {
    end_of(command(env, agent, sets).spawn().unwrap(), Instant::now(), PATIENCE)
}

pub fn command(env: &Env, agent: &str, sets: &[&str]) -> Command {
    let mut args = vec!["--prd", "prd.md", "--agent-cmd", agent];
    args.extend(sets.iter().flat_map(|set| ["--set", set]));
    env.command(&args)
}

/// What an attempt said on a stream.
pub fn said(env: &Env, task: &str, attempt: u32, stream: &str) -> String {
    let dir = env.session_dir().join(format!("tasks/{task}/attempt-{attempt}"));
    String::from_utf8_lossy(&fs::read(dir.join(stream)).unwrap_or_default()).into_owned()
}

/// What the result branch holds of an agent's.
#[track_caller]
pub fn of_result(env: &Env, path: &str) -> String {
    env.show("maestro/feature", path).unwrap_or_else(|| panic!("the result has no {path}"))
}

/// True where this kernel keeps signals in; older ones (before Linux 6.12) do not.
pub fn holds_signals() -> bool {
    !maestro_ci::sandbox::describe().contains("without its wall against signals")
}

/// Whose run it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    Us,
    Nobody,
}

pub fn everybody() -> Vec<Who> {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root { vec![Who::Us, Who::Nobody] } else { vec![Who::Us] }
}

fn give(env: &Env, owner: u32) {
    let top = env.repo.parent().unwrap();
    let status = Command::new("chown").args(["-hR", &format!("{owner}:{owner}")]).arg(top).status();
    assert!(status.unwrap().success());
}

/// A run that has to pass, by this user or by an ordinary one, with every check that a run must stand.
#[track_caller]
pub fn passes(env: &mut Env, who: Who, agent: &str, sets: &[&str]) -> Run {
    if who == Who::Us {
        let run = run_sets(env, agent, sets).exits(0).says("isolation L1");
        env.check_run(&run);
        return run;
    }
    env.set("PATH", "/usr/local/bin:/usr/bin:/bin");
    // Where the checkout of this project lies, others may not look.
    let binary = env.path("bin").join("maestro-ci");
    fs::copy(BINARY, &binary).unwrap();
    give(env, NOBODY);
    let ours = command(env, agent, sets);
    let mut command = Command::new(binary);
    command.args(ours.get_args()).current_dir(&env.repo).env_clear();
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.uid(NOBODY).gid(NOBODY).spawn().unwrap();
    let run = end_of(child, Instant::now(), PATIENCE).exits(0).says("isolation L1");
    give(env, 0);
    env.check_run(&run);
    run
}

/// Every path below a directory with its mode and content.
fn snapshot(dir: &Path) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    let mut next = vec![dir.to_owned()];
    while let Some(path) = next.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        state.insert(path.display().to_string(), format!("{:o} {} {content}", meta.mode(), meta.nlink()));
        if meta.is_dir() {
            next.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    state
}

/// Ways to change or to read what lies in `$t`; `$x` is a file of the agent's own.
const ATTACKS: [&str; 26] = [
    "echo bad > $t/file",
    "echo bad >> $t/file",
    "echo bad > $t/new",
    "mkdir $t/new",
    "mkfifo $t/new",
    "truncate -s 0 $t/file",
    "rm $t/file",
    "rm -r $t/dir",
    "mv $t/file ./took-$n",
    "mv $t/dir $t/other",
    "mv $x $t/new",
    "cp $x $t/new",
    "ln $x $t/new",
    "ln $t/file hard-$n",
    "ln $t/file hard-$n && echo bad > hard-$n",
    "ln -s /etc $t/new",
    "ln -s $t soft-$n && echo bad > soft-$n/file",
    "ln -s $t/new soft-$n && echo bad > soft-$n",
    "cd $t && echo bad > file",
    "echo bad > /proc/self/root$t/file",
    "echo bad > /proc/$PPID/root$t/file",
    "echo bad > /proc/$PPID/cwd/file",
    "git init -q $t/new",
    "cat $t/file",
    "ls $t",
    "ln -s $t soft-$n && cat soft-$n/file",
];

/// A script that tries every attack on every target and keeps in `got` what it could do.
fn attacks(targets: &[String]) -> String {
    let mut script = "echo mine > got\nn=0\n".to_owned();
    for target in targets {
        for attack in ATTACKS {
            let head = format!("n=$((n + 1)); t={target}; x=own-$n; echo own > $x");
            script.push_str(&format!("{head}\n( {attack} ) > /dev/null 2>&1 && echo \"$t: {attack}\" >> got\n"));
        }
    }
    script + "rm -f own-* soft-* hard-* took-*\n"
}

#[test]
fn nothing_outside_is_changed_or_read() {
    for who in everybody() {
        let mut env = walled(1);
        let canary = env.path("canary");
        fs::create_dir_all(canary.join("dir")).unwrap();
        for (dir, name) in [("canary", "file"), ("canary/dir", "file"), ("home", "file"), ("home", ".bashrc")] {
            fs::write(env.path(dir).join(name), "precious\n").unwrap();
            fs::set_permissions(env.path(dir), fs::Permissions::from_mode(0o777)).unwrap();
        }
        env.write("file", "precious\n");
        env.commit("file");
        let targets = ["canary", "home", "repo", "work"].map(|name| env.path(name).display().to_string());
        let state = |env: &Env| (snapshot(&env.path("canary")), snapshot(&env.path("home")), env.checkout());
        let before = state(&env);
        let shared = "for d in .. /tmp /var/tmp /dev/shm /etc /usr; do\n\
            mktemp -p $d > /dev/null 2>&1 && echo $d >> got\ndone\nexit 0\n";
        passes(&mut env, who, &(attacks(&targets) + shared), &[]);
        assert_eq!(of_result(&env, "got"), "mine\n", "{who:?}");
        assert_eq!(state(&env), before, "{who:?}");
    }
}

#[test]
fn setup_and_gates_have_the_same_walls() {
    for who in everybody() {
        let mut env = walled(1);
        let (home, repo) = (env.path("home"), env.repo.clone());
        let attack = format!(
            "if echo bad > {home}/new || echo bad > {repo}/new || cat {repo}/.git/config || cat /proc/$PPID/environ; \
             then exit 9; fi",
            home = home.display(),
            repo = repo.display()
        );
        let setup = format!("workspace.setup={attack}; echo x > prepared");
        let bare = "grep CapEff:.0000000000000000 /proc/self/status";
        let gate = format!("validation.gates.g.run={attack}; {bare} && test -e prepared");
        let before = env.checkout();
        passes(&mut env, who, "echo x > x", &[&setup, &gate]);
        assert_eq!(env.checkout(), before);
        assert!(!home.join("new").exists());
        assert_eq!(env.report()["gates"][0]["status"], "passed");
    }
}

#[test]
fn a_child_has_no_capabilities_no_way_to_new_ones_and_no_files_of_ours() {
    for who in everybody() {
        let mut env = walled(1);
        passes(&mut env, who, "cat /proc/self/status > status\nls /proc/self/fd > fds\nid -u > uid\n", &[]);
        let status = of_result(&env, "status");
        for line in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(status.contains(&format!("{line}:\t0000000000000000\n")), "{who:?}: {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        if of_result(&env, "uid") == "0\n" {
            assert!(status.contains("CapBnd:\t0000000000000000\n"), "{status}");
        }
        // The last one is the directory that `ls` reads.
        assert_eq!(of_result(&env, "fds"), "0\n1\n2\n3\n", "{who:?}");
    }
}

/// Looks through every process for words that begin with the canary, and says whose memory it can open.
const SCAN: &str = r"
import glob, os, re
word, warden = b'c4nary' + b'-of-', os.getppid()
found, open_to_us, others = set(), 0, []
domain = {os.getpid(), warden}
for pid in [int(p) for p in os.listdir('/proc') if p.isdigit()]:
    for place in [f'/proc/{pid}'] + glob.glob(f'/proc/{pid}/task/*'):
        for name in ('environ', 'cmdline', 'comm'):
            try:
                found.update(re.findall(word + rb'\w+', open(f'{place}/{name}', 'rb').read()))
                open_to_us += 1
            except OSError:
                pass
        for name in ('mem', 'environ'):
            try:
                open(f'{place}/{name}', 'rb').read(0)
                others += [] if pid in domain else [f'{pid} {name}']
            except OSError:
                pass
print('found', sorted(found), 'others', others, 'looked', open_to_us > 0)
";

#[test]
fn no_secret_of_ours_is_found_in_any_process() {
    for who in everybody() {
        let mut env = walled(1);
        for name in ["GITHUB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "AWS_SECRET_ACCESS_KEY", "ANTHROPIC_API_KEY"] {
            env.set(name, &format!("c4nary-of-{name}"));
        }
        env.set("LISTED", "c4nary-of-LISTED");
        let look = format!("env > env\npython3 - > scan 2>&1 <<'END'\n{SCAN}END\n");
        let warden = "for f in environ mem maps fd/0 exe root cwd; do\n\
            (cat /proc/$PPID/$f || ls /proc/$PPID/$f/) > /dev/null 2>&1 && echo $f; done > warden\nexit 0\n";
        passes(&mut env, who, &format!("{look}{warden}"), &["sandbox.env_pass=[LISTED]"]);
        let seen = of_result(&env, "env");
        assert!(seen.contains("LISTED=c4nary-of-LISTED\n"), "what is listed goes through:\n{seen}");
        assert_eq!(seen.matches("c4nary").count(), 1, "{who:?}: {seen}");
        let expected = "found [b'c4nary-of-LISTED'] others [] looked True\n";
        assert_eq!(of_result(&env, "scan"), expected, "{who:?}");
        assert_eq!(of_result(&env, "warden"), "", "{who:?}: files of the warden's");
    }
}

#[test]
fn credentials_of_the_checkout_and_files_of_the_runner_are_out_of_reach() {
    for who in everybody() {
        let mut env = walled(1);
        let runner = env.path("runner");
        fs::create_dir_all(runner.join("_runner_file_commands")).unwrap();
        env.set("RUNNER_TEMP", &runner.display().to_string());
        env.git(&["config", "http.https://forge.localhost/.extraheader", "AUTHORIZATION: basic c4nary"]);
        fs::write(runner.join("credentials.config"), "c4nary\n").unwrap();
        let commands = ["ENV", "PATH", "OUTPUT", "STATE", "STEP_SUMMARY"];
        for name in commands {
            let file = runner.join("_runner_file_commands").join(name);
            fs::write(&file, "of the runner\n").unwrap();
            env.set(&format!("GITHUB_{name}"), &file.display().to_string());
        }
        let before = (snapshot(&runner), env.checkout());
        let script = format!(
            "echo x > x\nenv\ngit config --list\ngit remote -v\ncat {repo}/.git/config {runner}/credentials.config\n\
             git -C {repo} config --list\nfor f in {runner}/_runner_file_commands/* $GITHUB_ENV $GITHUB_OUTPUT; do\n\
             echo bad >> $f && echo wrote $f\ncat $f; done\nls {runner}\nexit 0\n",
            repo = env.repo.display(),
            runner = runner.display()
        );
        passes(&mut env, who, &script, &[]);
        let stdout = said(&env, "T-001", 1, "stream.jsonl");
        assert!(stdout.contains("MAESTRO_TASK=") && !stdout.contains("GITHUB_"), "{stdout}");
        let seen: Vec<&str> = ["c4nary", "wrote", "of the runner"].into_iter().filter(|w| stdout.contains(w)).collect();
        assert!(seen.is_empty(), "{who:?}: {seen:?} in\n{stdout}");
        assert_eq!((snapshot(&runner), env.checkout()), before, "{who:?}");
    }
}

#[test]
fn an_agent_cannot_signal_its_warden_and_the_run_passes() {
    if !holds_signals() {
        return;
    }
    for who in everybody() {
        let mut env = walled(1);
        let script = "run=$(cut -d' ' -f4 /proc/$PPID/stat)\nfor pid in $PPID $run; do for s in 0 9 STOP TERM; do\n\
            kill -$s $pid 2> /dev/null && echo \"$s reached $pid\" >> x; done; done\necho $run | grep -c . >> x\n";
        passes(&mut env, who, script, &[]);
        assert_eq!(of_result(&env, "x"), "1\n", "{who:?}");
    }
}

#[test]
fn sockets_without_a_path_are_out_of_reach() {
    if !holds_signals() {
        return;
    }
    let env = walled(1);
    let name = format!("maestro-ci-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect(\"\\0{name}\")");
    let script = format!("echo x > x\npython3 -c '{connect}' 2> why && echo reached >> x\nexit 0\n");
    let run = run_sets(&env, &script, &[]).exits(0);
    env.check_run(&run);
    assert_eq!(of_result(&env, "x"), "x\n");
    assert!(of_result(&env, "why").contains("Operation not permitted"), "{}", of_result(&env, "why"));
}

#[test]
fn files_that_were_open_before_us_are_not_handed_on() {
    let env = walled(1);
    for name in ["secret", "precious"] {
        fs::write(env.path(name), "c4nary\n").unwrap();
    }
    let take = "(cat <&9) 2> /dev/null; (echo bad >&8) 2> /dev/null; true";
    let gate = format!("validation.gates.g.run={take}");
    let ours = command(&env, &format!("echo x > x\n{take}\n"), &[&gate]);
    let mut command = Command::new("sh");
    command.args(["-c", "exec 9< secret 8>> precious && cd repo && exec \"$@\"", "sh"]);
    command.arg(ours.get_program()).args(ours.get_args()).current_dir(env.path("")).env_clear();
    command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = end_of(command.spawn().unwrap(), Instant::now(), PATIENCE).exits(0);
    env.check_run(&run);
    assert_eq!(said(&env, "T-001", 1, "stream.jsonl"), "");
    assert_eq!(env.report()["gates"][0]["log_tail"], "");
    assert_eq!(fs::read_to_string(env.path("precious")).unwrap(), "c4nary\n");
}
