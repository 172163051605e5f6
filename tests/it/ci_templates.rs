//! The pipelines of `ci/templates` as `init` writes them, run from their first line to their last: GitHub's by the
//! small runner, GitLab's and Jenkins' scripts by the shell that they name. Played are checkouts, artifacts, `gh`,
//! `npm` and the forge.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::env::{Env, prd};
use crate::forge_github::{ACTIONS, ACTIONS_BOT, GitHub, REPO};
use crate::runner::{Ended, Runner, program, yaml};

/// A repository with what `init` writes for a CI, and an agent named claude that is a shell command.
fn world(ci: &str, agent: &str) -> Env {
    let env = Env::new();
    env.write("docs/prd.md", &prd(&[("FR-1", "the first"), ("FR-2", "the second")]));
    let config =
        format!("orchestrator: {{jobs: 1}}\nagents:\n  claude: {{protocol: command, command: {}}}\n", json!(agent));
    env.write(".flow/maestro/config.yaml", &config);
    let action = "acme/maestro-ci@1111111111111111111111111111111111111111";
    env.run(&["init", "--ci", ci, "--agent", "claude", "--action", action]).exits(0);
    env.commit("maestro");
    env
}

const WORKS: &str = "echo done > \"$MAESTRO_TASK.txt\"";

/// `gh`, as far as the templates use it: runs are directories of artifacts.
const GH: &str = r#"#!/bin/sh
state=STATE
case "$1 $2" in
    "run list") ls -r "$state/runs" 2> /dev/null ;;
    "run download") [ -d "$state/runs/$3/$5" ] && mkdir -p "$7" && cp -R "$state/runs/$3/$5/." "$7" ;;
    *) echo "gh $* is not played" >&2; exit 1 ;;
esac
"#;

fn machine(env: &Env, name: &str) -> Runner {
    let runner = Runner::fresh(env, name);
    let state = env.path("gh");
    fs::create_dir_all(state.join("runs")).unwrap();
    runner.program("gh", &GH.replace("STATE", &state.display().to_string()));
    runner
}

/// Puts a forge behind a machine, with the world's repository as what is pushed to.
fn forge(env: &Env, runner: &mut Runner) -> GitHub {
    let forge = GitHub::new(&env.git(&["rev-parse", "HEAD~1"]));
    forge.state().pulls.clear();
    forge.state().remote = Some(env.repo.clone());
    runner.vars.insert("GITHUB_API_URL".to_owned(), forge.api());
    runner.vars.insert("GITHUB_REPOSITORY".to_owned(), REPO.to_owned());
    runner.github.insert("token".to_owned(), Value::from(ACTIONS));
    forge
}

/// The one pull request, of the result branch; its text is the report, which needs no comment beside it.
#[track_caller]
fn check_pull_request(forge: &GitHub, log: &str) {
    let pulls = forge.state().pulls.clone();
    let found: Vec<(&str, &str)> = pulls.iter().map(|p| (p.head.as_str(), p.base.as_str())).collect();
    assert_eq!(found, [("maestro/feature", "main")], "{log}");
    assert!(pulls[0].body.contains("passed") && pulls[0].body.contains("2 of 2 tasks"), "{}", pulls[0].body);
    assert_eq!(forge.comments_of(ACTIONS_BOT), [], "{log}");
}

fn workflow(env: &Env, path: &str) -> String {
    fs::read_to_string(env.repo.join(".github/workflows").join(path)).unwrap()
}

#[track_caller]
fn check(ended: &Ended, code: i32) {
    assert_eq!(ended.code, code, "{}", ended.log);
}

/// The report of the only session in a directory of sessions.
fn report(sessions: &std::path::Path) -> Value {
    let dirs = fs::read_dir(sessions).unwrap().flatten().filter(|d| d.path().join("report.json").is_file());
    let dirs: Vec<_> = dirs.collect();
    assert_eq!(dirs.len(), 1, "{}", sessions.display());
    serde_json::from_slice(&fs::read(dirs[0].path().join("report.json")).unwrap()).unwrap()
}

#[test]
fn in_one_job_the_work_is_done_pushed_and_its_reports_are_kept() {
    let env = world("github", WORKS);
    let mut runner = machine(&env, "machine");
    let forge = forge(&env, &mut runner);
    let ended = runner.workflow(&workflow(&env, "maestro-ci.yml"), &json!({"prd": "docs/prd.md"}));
    let job = &ended["maestro"];
    check(job, 0);
    check_pull_request(&forge, &job.log);
    assert_eq!(env.show("maestro/feature", "T-002.txt").as_deref(), Some("done\n"), "{}", job.log);
    let kept = runner.artifacts.join("maestro-reports");
    assert!(kept.join("report.json").is_file() && kept.join("journal.jsonl").is_file());
}

#[test]
fn in_two_jobs_only_the_second_writes_and_it_runs_no_agent() {
    let env = world("github-two-jobs", WORKS);
    let text = workflow(&env, "maestro-ci.yml");
    let jobs = &yaml(&text)["jobs"];
    assert_eq!(jobs["agent"]["permissions"], json!({"contents": "read"}));
    assert!(!jobs["publish"].to_string().contains("ANTHROPIC"), "the job that writes has no key");
    let mut runner = machine(&env, "machine");
    runner.secrets.insert("ANTHROPIC_API_KEY".to_owned(), Value::from("k"));
    let forge = forge(&env, &mut runner);
    let ended = runner.workflow(&text, &json!({"prd": "docs/prd.md"}));
    check(&ended["agent"], 0);
    check(&ended["publish"], 0);
    check_pull_request(&forge, &ended["publish"].log);
    assert_eq!(env.show("maestro/feature", "T-001.txt").as_deref(), Some("done\n"), "{}", ended["publish"].log);
}

#[test]
fn each_night_goes_on_where_the_last_one_stopped_until_nothing_is_left_to_do() {
    let env = world("github-nightly", WORKS);
    // The API that the agent wants is not there in the first night.
    let text = workflow(&env, "maestro-ci-nightly.yml")
        .replace("push: true", "push: false")
        .replace("open-pr: true", "open-pr: false");
    let night = |n: u32, calls: &str| {
        let mut runner = machine(&env, &format!("night-{n}"));
        runner.vars.insert("MAESTRO_CI_SET".to_owned(), format!("resource_limits.max_api_calls={calls}"));
        let ended = runner.workflow(&text, &json!({}));
        let _ = fs::remove_dir_all(env.path("gh/runs").join(n.to_string()));
        fs::create_dir_all(env.path("gh/runs").join(n.to_string())).unwrap();
        fs::rename(
            runner.artifacts.join("maestro-state"),
            env.path("gh/runs").join(n.to_string()).join("maestro-state"),
        )
        .unwrap();
        fs::remove_dir_all(env.path(&format!("night-{n}"))).unwrap();
        ended["maestro"].clone()
    };
    let sessions = |n: u32| env.path(&format!("gh/runs/{n}/maestro-state/sessions"));
    check(&night(1, "1"), 5);
    let first = report(&sessions(1));
    assert_eq!(first["verdict"], "budget");
    check(&night(2, "9"), 0);
    let second = report(&sessions(2));
    assert_eq!((&second["session"], &second["verdict"]), (&first["session"], &json!("passed")));
    // Done: a third night spends nothing, also after the base branch went on, and still hands the state over.
    env.write("other.txt", "x");
    env.commit("the base branch goes on");
    let third = night(3, "9");
    check(&third, 0);
    assert!(!third.log.contains("Phase 3"), "{}", third.log);
    assert_eq!(report(&sessions(3)), second);
    // Another PRD is another work.
    env.write("docs/prd.md", &prd(&[("FR-1", "the first"), ("FR-3", "something else")]));
    env.commit("another PRD");
    let fourth = night(4, "9");
    check(&fourth, 0);
    assert!(fourth.log.contains("Phase 3"), "{}", fourth.log);
}

#[test]
fn an_approval_on_the_base_branch_starts_the_run_of_that_prd_and_of_no_other() {
    let env = world("github-on-approval", WORKS);
    let approved = prd(&[("FR-1", "the first")]);
    env.write("docs/draft.md", &approved.replace("status: approved", "status: draft"));
    env.write("docs/done.md", &approved.replace("status: approved", "status: implemented"));
    env.write("docs/notes.md", "# notes\n");
    env.write("docs/it's $(odd).md", &approved.replace("feature_name: feature", "feature_name: odd"));
    let before = env.git(&["rev-parse", "HEAD"]);
    env.commit("documents");
    let text = workflow(&env, "maestro-ci-on-approval.yml")
        .replace("push: true", "push: false")
        .replace("open-pr: true", "open-pr: false");
    let mut runner = machine(&env, "machine");
    runner.github.insert("event".to_owned(), json!({"before": before}));
    let ended = runner.workflow(&text, &json!({}));
    assert_eq!(ended["find"].outputs["prds"], json!("[\"docs/it's $(odd).md\"]"), "{}", ended["find"].log);
    check(&ended["maestro"], 0);
    assert!(ended["maestro"].log.contains("passed"), "{}", ended["maestro"].log);
    // A push that approves nothing starts nothing.
    runner.github.insert("event".to_owned(), json!({"before": env.git(&["rev-parse", "HEAD"])}));
    let ended = runner.workflow(&text, &json!({}));
    assert_eq!((ended["maestro"].code, ended["maestro"].log.as_str()), (0, ""));
}

/// A release's archive as file: address and SHA-256.
fn release(env: &Env) -> (String, String) {
    let dir = env.path("release/maestro-ci-v1");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("maestro-ci"), program()).unwrap();
    let archive = env.path("release.tgz");
    let chmod = Command::new("chmod").arg("755").arg(dir.join("maestro-ci")).status().unwrap();
    let tar =
        Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(env.path("release")).arg("maestro-ci-v1").status();
    assert!(chmod.success() && tar.unwrap().success());
    let sum = Sha256::digest(fs::read(&archive).unwrap()).iter().map(|b| format!("{b:02x}")).collect();
    (format!("file://{}", archive.display()), sum)
}

/// Runs a pipeline's script in the checkout; returns its exit code and what it printed.
fn script(env: &Env, shell: &[&str], text: &str, vars: &[(&str, &str)]) -> (i32, String) {
    let (url, sum) = release(env);
    let runner = Runner::fresh(env, "machine");
    let path = format!("{}:{}", env.path("machine/bin").display(), std::env::var("PATH").unwrap());
    let file = env.path("script");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(&file).current_dir(&env.repo).env_clear().env("PATH", path).env("CI", "true");
    command.env("HOME", env.path("home")).env("MAESTRO_CI_WORK_DIR", env.work());
    command.env("MAESTRO_RELEASE_URL", url).env("MAESTRO_RELEASE_SHA256", sum).envs(vars.iter().copied());
    let output = command.output().unwrap();
    drop(runner);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

#[test]
fn gitlabs_job_does_the_work_and_writes_what_its_artifacts_name() {
    let env = world("gitlab", WORKS);
    let file = yaml(&fs::read_to_string(env.repo.join(".gitlab/maestro-ci.yml")).unwrap());
    let job = &file["maestro-ci"];
    let lines: Vec<&str> = job["script"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let vars: Vec<(&str, &str)> = job["variables"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let run = |more: &[(&str, &str)]| {
        let vars = [&vars[..], &[("GITLAB_CI", "true")], more].concat();
        script(&env, &["bash", "-eo", "pipefail"], &lines.join("\n"), &vars)
    };
    let (code, text) = run(&[("MAESTRO_RELEASE_SHA256", &"0".repeat(64))]);
    assert_eq!(code, 1, "{text}");
    assert!(!env.repo.join(".flow/maestro/sessions").exists(), "what has another checksum is not run: {text}");
    let (code, text) = run(&[]);
    assert_eq!(code, 0, "{text}");
    let reports = &job["artifacts"]["reports"];
    for path in [&reports["junit"], &reports["dotenv"], &job["artifacts"]["paths"][0]] {
        assert!(env.repo.join(path.as_str().unwrap()).is_file(), "{path}: {text}");
    }
    let dotenv = fs::read_to_string(env.repo.join("maestro.env")).unwrap();
    assert!(dotenv.contains("MAESTRO_RESULT_VERDICT=passed"), "{dotenv}");
}

#[test]
fn jenkins_script_does_the_work_and_writes_what_its_post_section_names() {
    let env = world("jenkins", WORKS);
    let file = fs::read_to_string(env.repo.join("Jenkinsfile.maestro-ci")).unwrap();
    // In a string of three single quotes Groovy knows backslashes; at a line's end one means that the line goes on.
    let body = file.split("'''").nth(1).unwrap();
    let body: Vec<&str> = body.lines().map(str::trim_start).collect();
    let vars = [
        ("MAESTRO_CI_PRD", "docs/prd.md"),
        ("MAESTRO_CI_AGENT", "claude"),
        ("MAESTRO_CI_JUNIT", "maestro-junit.xml"),
        ("MAESTRO_CI_HTML", "maestro-report.html"),
        ("JENKINS_URL", "http://127.0.0.1:9/"),
    ];
    for (name, value) in &vars[1..4] {
        assert!(file.contains(&format!("{name} = '{value}'")), "{name}");
    }
    let (code, text) = script(&env, &["bash"], &body.join("\n"), &vars);
    assert_eq!(code, 0, "{text}");
    for name in ["maestro-junit.xml", "maestro-report.html"] {
        assert!(env.repo.join(name).is_file() && file.contains(name), "{name}: {text}");
    }
}
