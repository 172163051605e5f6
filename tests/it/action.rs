//! `action.yml` and the scripts of `ci/action`, run as a runner would: what they install, what becomes of inputs, exit
//! codes and signals, and what they carry from one machine to the next.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use maestro_ci::core::Verdict;
use serde_json::{Value, json};

use crate::env::{Env, SLACK, prd, wait_until};
use crate::runner::{Ended, Runner, release, root, yaml};

/// An agent that writes a file named after its task.
const WORKS: &str = "echo done > \"$MAESTRO_TASK.txt\"";

fn world() -> Env {
    let env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first"), ("FR-2", "the second")]));
    env.commit("prd");
    env
}

fn machine(env: &Env) -> Runner {
    let runner = Runner::fresh(env, "machine");
    runner.checkout();
    runner
}

fn output(ended: &Ended, name: &str) -> String {
    ended.outputs[name].as_str().unwrap_or_else(|| panic!("no output {name}: {}", ended.log)).to_owned()
}

/// Two maps of inputs as one.
fn merged(one: &Value, mut other: Value) -> Value {
    other.as_object_mut().unwrap().extend(one.as_object().unwrap().clone());
    other
}

#[track_caller]
fn check(ended: &Ended, code: i32) {
    assert_eq!(ended.code, code, "{}", ended.log);
}

#[test]
fn a_run_that_passes_has_outputs_and_its_reports_where_they_were_asked_for() {
    let env = world();
    let mut runner = machine(&env);
    let report = runner.temp.join("reports/junit.xml");
    let with = json!({"prd": "prd.md", "agent-cmd": WORKS, "junit": report, "max-duration": "5m", "jobs": "2"});
    let ended = runner.action(&with);
    check(&ended, 0);
    for (name, expected) in
        [("verdict", "passed"), ("exit-code", "0"), ("branch", "maestro/feature"), ("isolation", "L1")]
    {
        assert_eq!(output(&ended, name), expected, "{name}: {}", ended.log);
    }
    let dir = PathBuf::from(output(&ended, "session-dir"));
    assert!(dir.ends_with(output(&ended, "session")), "{}", dir.display());
    for path in [report, dir.join("report.json"), dir.join("final-report.md"), PathBuf::from(output(&ended, "json"))] {
        assert!(path.is_file(), "{} is missing: {}", path.display(), ended.log);
    }
    assert!(ended.log.contains(&dir.display().to_string()), "it prints where things are: {}", ended.log);
}

#[test]
fn a_run_that_fails_keeps_its_exit_code_and_has_the_same_outputs() {
    let env = world();
    let mut runner = machine(&env);
    let with = json!({"prd": "prd.md", "agent-cmd": "exit 3", "args": "--set\nerror_recovery.max_retry_attempts=0\n"});
    let ended = runner.action(&with);
    check(&ended, 1);
    assert_eq!((output(&ended, "verdict"), output(&ended, "exit-code")), ("failed".to_owned(), "1".to_owned()));
    assert!(PathBuf::from(output(&ended, "session-dir")).join("junit.xml").is_file());
}

#[test]
fn what_ends_before_a_session_still_says_its_exit_code() {
    let env = world();
    let mut runner = machine(&env);
    for (with, code, verdict) in [
        (json!({"prd": "none.md", "agent-cmd": WORKS}), 2, "usage"),
        (json!({"prd": "prd.md", "agent-cmd": WORKS, "max-duration": "soon"}), 2, "usage"),
    ] {
        let ended = runner.action(&with);
        check(&ended, code);
        assert_eq!(output(&ended, "verdict"), verdict, "{}", ended.log);
        assert_eq!(output(&ended, "exit-code"), code.to_string(), "{}", ended.log);
    }
    env.write("prd.md", &prd(&[("FR-1", "the first")]).replace("status: approved", "status: draft"));
    env.commit("not yet");
    let mut runner = Runner::fresh(&env, "other");
    runner.checkout();
    let ended = runner.action(&json!({"prd": "prd.md", "agent-cmd": WORKS}));
    check(&ended, 4);
    assert_eq!(output(&ended, "verdict"), "not approved", "{}", ended.log);
}

#[test]
fn a_cancelled_job_reaches_maestro_ci_which_ends_in_time_and_leaves_its_reports() {
    let env = world();
    let mut runner = machine(&env);
    // Agents cannot write beside their copy; the marker is a file of the session itself.
    let sessions = runner.workspace.join(".flow/maestro/sessions");
    let marker = env.path("working");
    runner.cancel_at = Some(marker.clone());
    let watch = std::thread::spawn(move || {
        let runs = |dir: &Path| fs::read_dir(dir.join("tasks")).is_ok_and(|mut tasks| tasks.next().is_some());
        wait_until("an agent that works", Duration::from_mins(1), || {
            fs::read_dir(&sessions).is_ok_and(|mut all| all.any(|s| runs(&s.unwrap().path())))
        });
        fs::write(marker, "").unwrap();
    });
    let with = json!({"prd": "prd.md", "agent-cmd": "trap '' INT TERM; sleep 60"});
    let ended = runner.action(&with);
    watch.join().unwrap();
    check(&ended, 130);
    assert_eq!(output(&ended, "verdict"), "interrupted", "{}", ended.log);
    let took = ended.took_to_end.unwrap();
    assert!(took < Duration::from_secs(3) + SLACK, "the runner kills after some seconds; this took {took:?}");
    let dir = PathBuf::from(output(&ended, "session-dir"));
    let report: Value = serde_json::from_slice(&fs::read(dir.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["exit_code"], 130);
    assert!(dir.join("junit.xml").is_file() && dir.join("final-report.md").is_file());
    env.check_nothing_left();
}

#[test]
fn no_input_is_ever_code() {
    let env = world();
    let mut runner = machine(&env);
    let touched = env.path("touched");
    let hostile = [
        "$(touch T) `touch T` ; touch T & touch T | touch T",
        "x'; touch T; '\"; touch T; \"\ntouch T\n::add-mask::x\n##[error]y ##[error]y\n--help\n",
    ];
    let names = yaml(&fs::read_to_string(root().join("action.yml")).unwrap())["inputs"].clone();
    for value in hostile {
        let value = value.replace('T', &touched.display().to_string());
        for name in names.as_object().unwrap().keys() {
            // `agent-cmd` is a command: that is what it is for. The tokens of a forge are the next test's.
            if ["agent-cmd", "github-token"].contains(&name.as_str()) {
                continue;
            }
            let mut with = json!({"prd": "prd.md", "agent-cmd": "true", "command": "plan"});
            with[name] = Value::from(value.clone());
            let ended = runner.action(&with);
            assert!(!touched.exists(), "{name}={value:?} was run: {}", ended.log);
            let commands = ended.log.lines().filter(|l| l.trim_start().starts_with("::add-mask::x"));
            assert_eq!(commands.count(), 0, "{name}={value:?} speaks to the runner: {}", ended.log);
            assert!(!ended.log.contains("##[error]y"), "{name}={value:?} speaks to the runner: {}", ended.log);
        }
    }
}

/// A release of version 1.2.3 for this machine, where the action expects it; returns its directory and its SHA-256.
fn released(env: &Env) -> (PathBuf, String) {
    let (archive, sum) = release::release(env, "v1.2.3");
    let dir = env.path("releases");
    fs::create_dir_all(dir.join("v1.2.3")).unwrap();
    fs::rename(&archive, dir.join("v1.2.3").join(archive.file_name().unwrap())).unwrap();
    (dir, sum)
}

#[test]
fn a_release_is_installed_where_its_checksum_is_right_and_refused_where_not() {
    let env = world();
    let mut runner = machine(&env);
    let (dir, sum) = released(&env);
    let url = release::serve(dir);
    let with = |sum: &str, version: &str| {
        let about = json!({"version": version, "sha256": sum, "download-url": url});
        merged(&json!({"command": "plan", "prd": "prd.md"}), about)
    };
    check(&runner.action(&with(&sum, "1.2.3")), 0);
    check(&runner.action(&with(&sum.to_uppercase(), "v1.2.3")), 0);
    let bin = runner.temp.join("maestro-ci/bin/maestro-ci");
    fs::remove_file(&bin).unwrap();
    let wrong = sum.replace(|c: char| c.is_ascii_digit(), "0");
    for (sum, version, code, says) in [
        (wrong.as_str(), "1.2.3", 6, "SHA-256 is not the expected one"),
        ("", "1.2.3", 2, "nothing is known of release 1.2.3"),
        (sum.as_str(), "9.9.9", 6, "could not be downloaded"),
        ("abc", "1.2.3", 2, "`sha256` is not 64"),
        (sum.as_str(), "latest", 2, "neither auto nor a version"),
    ] {
        let ended = runner.action(&with(sum, version));
        check(&ended, code);
        assert!(ended.log.contains(says), "{says}: {}", ended.log);
        assert!(!bin.exists(), "something was installed: {}", ended.log);
    }
}

#[test]
fn a_build_from_source_is_locked_and_sees_no_secret() {
    let env = world();
    let mut runner = machine(&env);
    for name in ["ANTHROPIC_API_KEY", "GITHUB_TOKEN", "CARGO_REGISTRY_TOKEN", "MY_SECRET"] {
        runner.vars.insert(name.to_owned(), "s3cret".to_owned());
    }
    runner.vars.insert("CARGO_HTTP_TIMEOUT".to_owned(), "30".to_owned());
    check(&runner.action(&json!({"command": "plan", "prd": "prd.md", "build-from-source": "true"})), 0);
    let bin = env.path("machine/bin");
    let arguments = fs::read_to_string(bin.join("cargo-args")).unwrap();
    assert!(arguments.starts_with("build\n--release\n--locked\n"), "{arguments}");
    // A toolchain and a configuration of the user's checkout are not the action's.
    for asked in ["version-pwd", "cargo-pwd"] {
        let dir = fs::read_to_string(bin.join(asked)).unwrap();
        assert_eq!(Path::new(dir.trim_end()), root().canonicalize().unwrap(), "{asked}");
    }
    let seen = fs::read_to_string(bin.join("cargo-env")).unwrap();
    assert!(seen.contains("CARGO_HTTP_TIMEOUT=30") && !seen.contains("s3cret"), "{seen}");
}

#[test]
fn user_namespaces_are_allowed_on_demand_and_the_level_of_isolation_is_said() {
    let env = world();
    let mut runner = machine(&env);
    let state = env.path("sysctl");
    fs::write(&state, "1").unwrap();
    let state = state.display();
    runner.program("sysctl", &format!("#!/bin/sh\ncase $1 in -n) cat '{state}' ;; *) printf 0 > '{state}' ;; esac\n"));
    runner.program("sudo", "#!/bin/sh\nshift\nexec \"$@\"\n");
    let with = json!({"prd": "prd.md", "agent-cmd": WORKS, "command": "plan"});
    let ended = runner.action(&with);
    assert!(!ended.log.contains("userns"), "only where it is asked for: {}", ended.log);
    let mut with = with;
    with["enable-userns"] = Value::from("true");
    let ended = runner.action(&with);
    check(&ended, 0);
    assert!(ended.log.contains("was 1 and is 0 now") && ended.log.contains("isolation: L1"), "{}", ended.log);
    fs::write(state.to_string(), "1").unwrap();
    runner.program("sudo", "#!/bin/sh\nexit 1\n");
    let ended = runner.action(&with);
    check(&ended, 0);
    assert!(ended.log.contains("could not be changed"), "{}", ended.log);
}

#[test]
fn a_session_goes_on_in_a_fresh_clone_on_another_machine() {
    let env = world();
    let mut first = machine(&env);
    let state = env.path("state");
    let with = |calls: &str| {
        let about = json!({"jobs": "1", "max-api-calls": calls, "state-dir": state});
        merged(&json!({"prd": "prd.md", "agent-cmd": WORKS}), about)
    };
    let ended = first.action(&with("1"));
    check(&ended, 5);
    assert_eq!(output(&ended, "resumable"), "true");
    // Nothing of the first machine is left but what its job kept; and the base branch went on.
    fs::remove_dir_all(env.path("machine")).unwrap();
    env.write("other.txt", "somebody else's work\n");
    env.commit("the base branch goes on");
    let mut second = Runner::fresh(&env, "second");
    second.checkout();
    let went_on = second.action(&with("9"));
    check(&went_on, 0);
    assert_eq!(output(&went_on, "session"), output(&ended, "session"), "{}", went_on.log);
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&second.workspace).args(args).output().unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(git(&["show", "maestro/feature:T-001.txt", "maestro/feature:T-002.txt"]), "done\ndone\n");
    git(&["fsck", "--no-dangling", "--no-progress"]);
    // What was integrated on the first machine was not done again on the second.
    let report: Value =
        serde_json::from_slice(&fs::read(PathBuf::from(output(&went_on, "session-dir")).join("report.json")).unwrap())
            .unwrap();
    let attempts: Vec<usize> =
        report["tasks"].as_array().unwrap().iter().map(|t| t["attempts"].as_array().unwrap().len()).collect();
    assert_eq!(attempts, [1, 1], "{report:#}");
}

#[test]
fn a_state_that_does_not_fit_is_refused_and_nothing_is_lost_of_it() {
    let env = world();
    let mut runner = machine(&env);
    let state = env.path("state");
    fs::create_dir(&state).unwrap();
    fs::write(state.join("precious"), "x").unwrap();
    let with = json!({"prd": "prd.md", "agent-cmd": WORKS, "command": "plan", "state-dir": state});
    let ended = runner.action(&with);
    check(&ended, 2);
    assert_eq!(fs::read_to_string(state.join("precious")).unwrap(), "x", "{}", ended.log);
    fs::remove_file(state.join("precious")).unwrap();
    let head = env.git(&["rev-parse", "HEAD"]);
    fs::write(state.join("refs.txt"), format!("{head} refs/heads/main\n")).unwrap();
    let ended = runner.action(&with);
    check(&ended, 6);
    assert!(ended.log.contains("a ref that is not ours"), "{}", ended.log);
    assert!(state.join("refs.txt").is_file(), "the job after a refused state wrote over it");
}

#[test]
fn a_base_branch_that_was_rewritten_is_told_from_a_shallow_clone() {
    let env = world();
    let state = env.path("state");
    let with = json!({"prd": "prd.md", "agent-cmd": WORKS, "state-dir": state});
    check(&machine(&env).action(&with), 0);
    let again = |name: &str, shallow: bool| {
        let mut runner = Runner::fresh(&env, name);
        runner.checkout();
        if shallow {
            fs::remove_dir_all(&runner.workspace).unwrap();
            let (url, to) = (format!("file://{}", env.repo.display()), runner.workspace.display().to_string());
            env.git(&["clone", "-q", "--depth", "1", &url, &to]);
        }
        let ended = runner.action(&with);
        check(&ended, 6);
        ended.log
    };
    env.write("other.txt", "x");
    env.commit("the base branch goes on");
    let log = again("shallow", true);
    assert!(log.contains("fetch-depth: 0") && !log.contains("rewritten"), "{log}");
    env.git(&["reset", "-q", "--hard", "HEAD~2"]);
    env.write("prd.md", &prd(&[("FR-1", "the first")]));
    env.commit("another history");
    let log = again("rewritten", false);
    assert!(log.contains("was rewritten. Delete the saved state") && !log.contains("fetch-depth"), "{log}");
}

#[test]
fn inputs_and_flags_of_a_run_are_the_same() {
    let action = yaml(&fs::read_to_string(root().join("action.yml")).unwrap());
    let steps = action["runs"]["steps"].as_array().unwrap();
    let run = steps.iter().find(|step| step["id"] == "run").unwrap();
    let given: BTreeSet<&str> = run["env"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .filter(|name| name.starts_with("MAESTRO_CI_"))
        .collect();
    let help = Env::new().run(&["run", "--help"]).exits(0).stdout;
    let flags: BTreeSet<&str> =
        help.split("[env: ").skip(1).map(|rest| rest.split(['=', ']']).next().unwrap()).collect();
    // These are for the machine or for a person at a terminal; `args` takes them.
    let others = [
        "MAESTRO_CI_REPO",
        "MAESTRO_CI_QUIET",
        "MAESTRO_CI_LOG_FORMAT",
        "MAESTRO_CI_SET",
        "MAESTRO_CI_WORK_DIR",
        "MAESTRO_CI_DRY_RUN",
        "MAESTRO_CI_FORCE",
        "MAESTRO_CI_PROGRESS",
        "MAESTRO_CI_COLOR",
        "MAESTRO_CI_DOTENV",
    ];
    let flags: BTreeSet<&str> = flags.into_iter().filter(|flag| !others.contains(flag)).collect();
    assert_eq!(given, flags, "action.yml (left) and `run --help` (right) disagree");
    for (name, value) in run["env"].as_object().unwrap() {
        let Some(flag) = name.strip_prefix("MAESTRO_CI_") else { continue };
        let input = flag.to_ascii_lowercase().replace('_', "-");
        assert_eq!(*value, format!("${{{{ inputs.{input} }}}}"), "{name}");
    }
}

#[test]
fn every_input_is_used_and_explained_in_the_docs() {
    let text = fs::read_to_string(root().join("action.yml")).unwrap();
    let docs = fs::read_to_string(root().join("docs/ci.md")).unwrap();
    let action = yaml(&text);
    let row = |name: &str, entry: &Value| format!("| `{name}` | {} |", entry["description"].as_str().unwrap().trim());
    for (name, input) in action["inputs"].as_object().unwrap() {
        assert!(text.contains(&format!("inputs.{name} ")), "{name} is read nowhere");
        assert!(docs.contains(&row(name, input)), "docs/ci.md lacks {}", row(name, input));
    }
    for (name, output) in action["outputs"].as_object().unwrap() {
        assert!(docs.contains(&row(name, output)), "docs/ci.md lacks {}", row(name, output));
        assert_eq!(output["value"], format!("${{{{ steps.run.outputs.{} }}}}", name.replace('-', "_")));
    }
}

#[test]
fn the_action_lists_every_exit_code_and_no_other() {
    let action = yaml(&fs::read_to_string(root().join("action.yml")).unwrap());
    let listed = action["outputs"]["exit-code"]["description"].as_str().unwrap();
    let expected: Vec<String> = Verdict::ALL.iter().map(|v| format!("{} {}", v.code(), v.name())).collect();
    assert_eq!(listed.trim(), expected.join(", "));
}
