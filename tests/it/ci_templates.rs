//! The pipelines of `ci/templates` as `init` writes them, run from their first line to their last: GitHub's by the
//! small runner, GitLab's and Jenkins' scripts by the shell that they name. Played are checkouts, artifacts, `gh`,
//! `npm` and the forge.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::env::{Env, prd};
use crate::forge_github::{ACTIONS, ACTIONS_BOT, GitHub, REPO};
use crate::runner::release::release;
use crate::runner::{Ended, Runner, root, yaml};

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
    "api "*)
        [ ! -e "$state/broken" ] || { echo 'HTTP 502' >&2; exit 1; }
        run=${2#repos/acme/project/actions/runs/}
        if [ -d "$state/runs/${run%%/*}/${run#*name=}" ]; then echo 1; else echo 0; fi ;;
    "run download")
        mkdir -p "$7" && cp -R "$state/runs/$3/$5/." "$7"
        [ ! -e "$state/half" ] || { echo 'unexpected EOF' >&2; exit 1; } ;;
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
    // What the first job says, an agent may have had a hand in: it decides whether there is something, and no argument.
    assert!(!jobs["publish"]["steps"].to_string().contains("needs."), "{}", jobs["publish"]);
    assert!(jobs["publish"]["timeout-minutes"].as_u64().unwrap() >= 45, "it builds from source");
    let mut runner = machine(&env, "machine");
    runner.secrets.insert("ANTHROPIC_API_KEY".to_owned(), Value::from("k"));
    let forge = forge(&env, &mut runner);
    let ended = runner.workflow(&text, &json!({"prd": "docs/prd.md"}));
    check(&ended["agent"], 0);
    check(&ended["publish"], 0);
    check_pull_request(&forge, &ended["publish"].log);
    assert_eq!(env.show("maestro/feature", "T-001.txt").as_deref(), Some("done\n"), "{}", ended["publish"].log);
}

/// The nightly pipeline, which pushes but asks for no pull request.
fn nightly(env: &Env) -> String {
    workflow(env, "maestro-ci-nightly.yml").replace("open-pr: true", "open-pr: false")
}

/// One night on a machine of its own, of which nothing is left but what it uploaded.
fn night(env: &Env, n: u32, calls: &str) -> Ended {
    let mut runner = machine(env, &format!("night-{n}"));
    runner.vars.insert("MAESTRO_CI_SET".to_owned(), format!("resource_limits.max_api_calls={calls}"));
    let ended = runner.workflow(&nightly(env), &json!({}));
    let run = env.path(&format!("gh/runs/{n}"));
    fs::create_dir_all(&run).unwrap();
    if runner.artifacts.join("maestro-state").exists() {
        fs::rename(runner.artifacts.join("maestro-state"), run.join("maestro-state")).unwrap();
    }
    fs::remove_dir_all(env.path(&format!("night-{n}"))).unwrap();
    ended["maestro"].clone()
}

/// The only session's report that a night left.
fn left(env: &Env, n: u32) -> Value {
    report(&env.path(&format!("gh/runs/{n}/maestro-state/sessions")))
}

#[test]
fn each_night_goes_on_where_the_last_one_stopped_until_nothing_is_left_to_do() {
    let env = world("github-nightly", WORKS);
    check(&night(&env, 1, "1"), 5);
    let first = left(&env, 1);
    assert_eq!(first["verdict"], "budget");
    // At the same limit it stops again at once; who raises it lets it go on.
    check(&night(&env, 2, "1"), 5);
    let second = left(&env, 2);
    assert_eq!((&second["session"], &second["tasks"]), (&first["session"], &first["tasks"]));
    check(&night(&env, 3, "9"), 0);
    let third = left(&env, 3);
    assert_eq!((&third["session"], &third["verdict"]), (&first["session"], &json!("passed")));
    // Done: a fourth night spends nothing, also after the base branch went on, and still hands the state over.
    env.write("other.txt", "x");
    env.commit("the base branch goes on");
    let fourth = night(&env, 4, "9");
    check(&fourth, 0);
    assert!(!fourth.log.contains("[Maestro]"), "{}", fourth.log);
    assert_eq!(left(&env, 4), third);
    // Another PRD is another work.
    env.write("docs/prd.md", &prd(&[("FR-1", "the first"), ("FR-3", "something else")]));
    env.commit("another PRD");
    let fifth = night(&env, 5, "9");
    check(&fifth, 0);
    assert!(fifth.log.contains("Phase 3"), "{}", fifth.log);
}

#[test]
fn a_result_that_could_not_be_pushed_is_delivered_by_the_next_night_and_not_made_again() {
    let env = world("github-nightly", WORKS);
    let hook = env.repo.join(".git/hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    check(&night(&env, 1, "9"), 8);
    assert_eq!(left(&env, 1)["verdict"], "report");
    fs::remove_file(hook).unwrap();
    env.write("other.txt", "x");
    env.commit("the base branch goes on");
    let second = night(&env, 2, "9");
    check(&second, 0);
    assert_eq!(env.show("maestro/feature", "T-002.txt").as_deref(), Some("done\n"), "{}", second.log);
    assert!(!second.log.contains("Phase 3"), "it was done already: {}", second.log);
    assert_eq!(left(&env, 2)["session"], left(&env, 1)["session"]);
    let third = night(&env, 3, "9");
    check(&third, 0);
    assert!(!third.log.contains("[Maestro]"), "{}", third.log);
}

#[test]
fn a_night_that_cannot_fetch_the_state_fails_and_neither_starts_anew_nor_leaves_half_of_it() {
    let env = world("github-nightly", WORKS);
    check(&night(&env, 1, "1"), 5);
    for (n, fault) in [(2, "broken"), (3, "half")] {
        fs::write(env.path("gh").join(fault), "").unwrap();
        let ended = night(&env, n, "9");
        check(&ended, 1);
        assert!(!ended.log.contains("[Maestro]"), "{fault}: {}", ended.log);
        assert!(!env.path(&format!("gh/runs/{n}/maestro-state")).exists(), "{fault}");
        fs::remove_file(env.path("gh").join(fault)).unwrap();
    }
    // Runs without a state are passed over.
    check(&night(&env, 4, "9"), 0);
    assert_eq!(left(&env, 4)["session"], left(&env, 1)["session"]);
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
    assert_eq!((ended["find"].code, ended["find"].log.as_str()), (0, ""), "nothing is built for it");
    let before = env.git(&["rev-parse", "HEAD"]);
    env.write("docs/notes.md", "# more notes\n");
    env.commit("notes");
    runner.github.insert("event".to_owned(), json!({"before": before}));
    runner.github.insert("sha".to_owned(), Value::from(env.git(&["rev-parse", "HEAD"])));
    let ended = runner.workflow(&text, &json!({}));
    assert_eq!((ended["find"].code, ended["find"].log.as_str()), (0, ""), "nothing is built for it");
    assert_eq!((ended["maestro"].code, ended["maestro"].log.as_str()), (0, ""));
}

/// Runs a pipeline's script in the checkout; returns its exit code and what it printed.
fn script(env: &Env, shell: &[&str], text: &str, vars: &[(&str, &str)]) -> (i32, String) {
    let (archive, sum) = release(env, "v0.1.0");
    let url = format!("file://{}", archive.display());
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

/// Takes the result out of the bundle that a job left, as docs/ci.md says, in a clone that has only the base branch.
fn check_bundle(env: &Env, text: &str) {
    let clone = env.path("clone").display().to_string();
    let url = format!("file://{}", env.repo.display());
    env.git(&["clone", "-q", "--single-branch", "--branch", "main", &url, &clone]);
    let docs = fs::read_to_string(root().join("docs/ci.md")).unwrap();
    let line = docs.lines().find(|line| line.starts_with("git fetch maestro.bundle ")).expect("docs/ci.md takes it");
    fs::copy(env.repo.join("maestro.bundle"), env.path("clone/maestro.bundle")).expect(text);
    let fetched = Command::new("bash").args(["-euc", line]).current_dir(&clone).output().unwrap();
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
    assert_eq!(env.git(&["-C", &clone, "show", "maestro/feature:T-002.txt"]), "done", "{text}");
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
    let (after, text) = script(&env, &["bash", "-eo", "pipefail"], job["after_script"][0].as_str().unwrap(), &vars);
    assert_eq!(after, 0, "{text}");
    let (reports, paths) = (&job["artifacts"]["reports"], job["artifacts"]["paths"].as_array().unwrap());
    for path in paths.iter().chain([&reports["junit"], &reports["dotenv"]]) {
        assert!(env.repo.join(path.as_str().unwrap()).exists(), "{path}: {text}");
    }
    check_bundle(&env, &text);
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
    let (code, text) = script(&env, &["sh", "-xe"], file.split("'''").nth(3).unwrap(), &vars);
    assert_eq!(code, 0, "{text}");
    assert!(env.repo.join("maestro-junit.xml").is_file() && file.contains("maestro-junit.xml"), "{text}");
    let kept = file.split("artifacts: '").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    for path in kept.split(',') {
        assert!(env.repo.join(path.trim_end_matches("/**")).exists(), "{path}: {text}");
    }
    check_bundle(&env, &text);
}
