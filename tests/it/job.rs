//! A job of GitHub Actions, as its runner sees it: what stands in the log, and what is in its files afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::env::{Env, Run, end_of, prd, wait_until};
use crate::runner_line::command;
use crate::runs::WRITES_A_FILE;

const SECRET: &str = "sk-ant-api03-0123456789abcdef";
/// Everything that a runner has ever taken for a command.
const HOSTILE: &str = r"printf '::error::boom\n \302\240::warning::x\n\357\273\277::add-mask::e\na ##[error]y\r::set-output name=a::b\n::stop-commands::z\n##vso[task.complete]\n\033[31m::group::q\n' | tee /dev/stderr; exit 1";

/// A repository with an approved PRD, in a job.
fn job() -> Env {
    let mut env = Env::new();
    env.write("prd.md", &prd(&[("FR-1", "the first ##[error]x"), ("FR-2", "the second, after FR-1")]));
    env.commit("prd");
    for (name, value) in
        [("CI", "true"), ("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", "o/r"), ("GITHUB_RUN_ID", "7")]
    {
        env.set(name, value);
    }
    env.set("SOME_API_KEY", SECRET);
    let (output, summary) = (env.path("output"), env.path("summary"));
    env.set("GITHUB_OUTPUT", output.to_str().unwrap());
    env.set("GITHUB_STEP_SUMMARY", summary.to_str().unwrap());
    env
}

/// How often each command stands in what a run printed, by its name.
fn commands(run: &Run) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    // A carriage return ends a line for a runner, too.
    for line in run.stdout.split(['\n', '\r']).chain(run.stderr.split(['\n', '\r'])) {
        if let Some(command) = command(line) {
            *found.entry(command.name).or_insert(0) += 1;
        }
    }
    found
}

/// The outputs of the step: the last value of a name counts.
fn outputs(env: &Env) -> BTreeMap<String, String> {
    let text = fs::read_to_string(env.path("output")).unwrap();
    assert!(text.ends_with('\n') && !text.contains("<<"), "{text}");
    text.lines().map(|line| line.split_once('=').unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[track_caller]
fn check_files(env: &Env, verdict: &str, code: i32) {
    let outputs = outputs(env);
    assert_eq!((outputs["verdict"].as_str(), outputs["exit_code"].as_str()), (verdict, code.to_string().as_str()));
    let report = env.report();
    assert_eq!(outputs["session"], report["session"].as_str().unwrap());
    assert_eq!(outputs["branch"], "maestro/feature");
    assert_eq!(outputs["isolation"], "L0");
    for file in ["junit", "json", "markdown", "html"] {
        assert!(fs::metadata(&outputs[file]).unwrap().len() > 0, "{file}: {}", outputs[file]);
    }
    let summary = fs::read_to_string(env.path("summary")).unwrap();
    let first = summary.lines().next().unwrap_or_default();
    assert!(first.starts_with("# ") && first.contains(&format!(": **{verdict}**")), "{first}");
    assert!(
        summary.contains("https`://`") || summary.contains("](https://github.com/o/r/actions/runs/7)"),
        "{summary}"
    );
    assert!(!summary.contains(SECRET));
}

#[test]
fn a_green_run_has_groups_outputs_and_a_summary() {
    let env = job();
    let run = env.run_prd(WRITES_A_FILE, &[]).exits(0);
    check_files(&env, "passed", 0);
    let found = commands(&run);
    let phases = 5;
    assert_eq!((found["group"], found["endgroup"], found["add-mask"]), (phases, phases, 1), "{}", run.stderr);
    // A pass that nothing verified is not a plain one.
    assert_eq!(found.get("warning"), Some(&1), "{}", run.stderr);
    assert_eq!(outputs(&env)["commit"], env.git(&["rev-parse", "maestro/feature"]));
    assert_eq!(outputs(&env)["branch_moved"], "true");
}

#[test]
fn a_secret_is_masked_before_anything_is_printed_unless_the_log_is_a_file() {
    let env = job();
    let run = env.run_prd(WRITES_A_FILE, &[]).exits(0);
    assert!(run.stderr.starts_with(&format!("::add-mask::{SECRET}\n")), "{}", run.stderr);
    // Where standard error is a file, the commands would put there what they are to hide.
    let file = fs::File::create(env.path("log")).unwrap();
    let status = env.command(&["sessions"]).stderr(Stdio::from(file)).status().unwrap();
    assert!(status.success());
    assert!(!fs::read_to_string(env.path("log")).unwrap().contains(SECRET));
}

#[test]
fn nothing_that_an_agent_or_a_gate_prints_reaches_the_runner() {
    let env = job();
    let gate = ["--set", "validation.gates.g.run=printf '::error::gate\\n##[warning]w\\n'; exit 1"];
    let run = env.run_prd(HOSTILE, &gate).exits(1);
    let found = commands(&run);
    let ours = ["add-mask", "endgroup", "error", "group", "notice", "warning"];
    assert!(found.keys().all(|name| ours.contains(&name.as_str())), "{found:?} in {}", run.stderr);
    assert!((1..=10).contains(&found["error"]), "{found:?}");
    check_files(&env, "failed", 1);
    let green = env.run_prd(WRITES_A_FILE, &[&gate[..], &["--fresh"]].concat()).exits(1);
    assert!(commands(&green).keys().all(|name| ours.contains(&name.as_str())), "{}", green.stderr);
    for format in ["markdown", "junit", "json", "html", "sarif", "comment"] {
        for log in ["text", "json"] {
            let printed = env.run(&["report", "--format", format, "--log-format", log]).exits(0);
            let found = commands(&printed);
            assert_eq!(found.keys().collect::<Vec<_>>(), ["add-mask"], "{format} {log}: {}", printed.stdout);
        }
    }
    for args in [&["status"][..], &["log"], &["log", "--json"], &["sessions"]] {
        assert_eq!(commands(&env.run(args).exits(0)).keys().collect::<Vec<_>>(), ["add-mask"], "{args:?}");
    }
}

#[test]
fn a_run_that_never_began_says_how_it_ended_and_why() {
    let env = job();
    let run = env.run(&["--prd", "missing.md"]).exits(2);
    assert!(run.stderr.contains("\n::error title=maestro-ci%3A usage::"), "{}", run.stderr);
    let outputs = outputs(&env);
    assert_eq!((outputs["verdict"].as_str(), outputs["exit_code"].as_str(), outputs.len()), ("usage", "2", 2));
}

#[test]
fn a_log_in_json_has_objects_and_commands_and_no_groups() {
    let env = job();
    let is_object = |line: &&str| line.starts_with('{');
    let object = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let run = env.run_prd(HOSTILE, &["--log-format", "json"]).exits(1);
    for line in run.stderr.lines() {
        assert!(is_object(&line) || line.starts_with("::"), "{line:?}");
    }
    run.stderr.lines().filter(is_object).for_each(|line| drop(object(line)));
    let found = commands(&run);
    assert!(found.contains_key("error") && !found.contains_key("group"), "{found:?}");

    let run = env.run(&["--prd", "missing.md", "--log-format", "json"]).exits(2);
    let objects: Vec<_> = run.stderr.lines().filter(is_object).map(object).collect();
    assert_eq!(objects.len(), 1, "{}", run.stderr);
    assert_eq!((objects[0]["level"].as_str(), objects[0]["verdict"].as_str()), (Some("ERROR"), Some("usage")));
    assert!(objects[0]["message"].as_str().unwrap().contains("missing.md"), "{}", run.stderr);
    assert!(run.stderr.contains("\n::error title=maestro-ci%3A usage::"), "{}", run.stderr);
}

#[test]
fn a_budget_stop_and_a_cancel_leave_the_same_files() {
    let env = job();
    let usage = r#"echo '{"usage":{"input_tokens":90000,"output_tokens":0,"api_calls":1}}'"#;
    let run = env.run_prd(&format!("{WRITES_A_FILE}; {usage}"), &["--max-tokens", "1000"]).exits(5);
    check_files(&env, "budget", 5);
    assert_eq!(outputs(&env)["resumable"], "true");
    assert_eq!(commands(&run)["group"], commands(&run)["endgroup"], "{}", run.stderr);

    let env = job();
    let started = Instant::now();
    let at_work = env.path("at-work");
    let agent = format!("trap '' INT TERM; touch {}; sleep 60", at_work.display());
    let child = env.command(&["--prd", "prd.md", "--agent-cmd", &agent]).spawn().unwrap();
    wait_until("an agent at work", Duration::from_secs(20), || at_work.exists());
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let run = end_of(child, started, Duration::from_secs(40)).exits(130);
    check_files(&env, "interrupted", 130);
    assert_eq!(commands(&run)["group"], commands(&run)["endgroup"], "{}", run.stderr);
}

#[test]
fn files_that_cannot_be_written_are_warnings() {
    let mut env = job();
    // Below a file there is no place, not even for root.
    fs::write(env.path("file"), "").unwrap();
    let below = |name: &str| env.path(&format!("file/{name}")).display().to_string();
    let (output, summary, dotenv) = (below("output"), below("summary"), below("env"));
    env.set("GITHUB_OUTPUT", &output);
    env.set("GITHUB_STEP_SUMMARY", &summary);
    let run = env.run_prd(WRITES_A_FILE, &["--dotenv", &dotenv]).exits(0);
    for what in ["the step's outputs", "the job summary", "the dotenv report"] {
        assert!(run.stderr.contains(&format!("WARN {what} cannot be written")), "{what}: {}", run.stderr);
    }
}

#[test]
fn gitlab_gets_its_variables_and_no_commands() {
    let mut env = job();
    for name in ["GITHUB_ACTIONS", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"] {
        env.unset(name);
    }
    env.set("GITLAB_CI", "true");
    let path = env.path("maestro.env");
    let run = env.run_prd(WRITES_A_FILE, &["--dotenv", path.to_str().unwrap()]).exits(0);
    assert!(commands(&run).is_empty(), "{}", run.stderr);
    let text = fs::read_to_string(path).unwrap();
    assert!(text.starts_with("MAESTRO_RESULT_VERDICT=passed\nMAESTRO_RESULT_EXIT_CODE=0\n"), "{text}");
    assert!(text.contains("\nMAESTRO_RESULT_BRANCH=maestro/feature\n"), "{text}");
    assert!(text.lines().count() <= 20, "GitLab takes twenty variables: {text}");
}
