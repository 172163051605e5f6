//! What leaves the machine besides the comment: the result branch, a pull request for it, the check run with its
//! annotations; and the same from a finished report in a second process.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::{SLACK, wait_until};
use crate::forge_comment::live;
use crate::forge_github::{ACTIONS, ACTIONS_BOT, Author, GRAPHQL, PERSON, STRANGER, branch_at};
use crate::forge_server::{Fault, Manner, Reply};
use crate::forge_world::{Job, MARKER, WORKS, at_once, ended, heading, signal, warnings};

pub const BRANCH: &str = "maestro/feature";
pub const FAILS: [&str; 2] = ["--set", "error_recovery.max_retry_attempts=0"];

pub fn git_in(dir: &std::path::Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A job whose checkout came from a bare repository, which the forge knows.
pub fn job() -> (Job, PathBuf) {
    let job = Job::new();
    let remote = job.env.path("remote.git");
    fs::create_dir(&remote).unwrap();
    git_in(&remote, &["init", "-q", "--bare", "-b", "main"]);
    job.env.git(&["remote", "add", "origin", &remote.display().to_string()]);
    job.env.git(&["push", "-q", "origin", "main", "topic"]);
    job.forge.state().remote = Some(remote.clone());
    (job, remote)
}

#[test]
fn push_brings_the_result_branch_and_nothing_else_to_the_remote() {
    let (job, remote) = job();
    let before = job.env.checkout();
    let run = job.run(WORKS, &["--push"]).exits(0);
    job.env.check_run(&run);
    assert_eq!(branch_at(&remote, BRANCH), Some(job.env.git(&["rev-parse", BRANCH])));
    let refs = git_in(&remote, &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs.lines().collect::<Vec<_>>(), ["refs/heads/maestro/feature", "refs/heads/main", "refs/heads/topic"]);
    let mut after = job.env.checkout();
    // A push may note where the remote's branch stands now; the rest is the user's.
    after.insert("refs".to_owned(), before["refs"].clone());
    assert_eq!(after, before);
    assert_eq!(job.forge.state().pulls.len(), 1, "nobody asked for a pull request");
}

#[test]
fn hooks_of_the_checkout_do_not_run_when_we_push() {
    let (job, remote) = job();
    let ran = job.env.path("ran");
    let hook = job.env.repo.join(".git/hooks/pre-push");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\ntouch {}\nexit 1\n", ran.display())).unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    job.run(WORKS, &["--push"]).exits(0);
    assert!(branch_at(&remote, BRANCH).is_some());
    assert!(!ran.exists());
}

#[test]
fn a_branch_that_cannot_be_pushed_is_exit_code_8_and_a_failure_stays_one() {
    let (job, remote) = job();
    let hook = remote.join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\necho 'protected by the house' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    job.run(WORKS, &["--push"]).exits(8).says("protected by the house");
    assert_eq!(branch_at(&remote, BRANCH), None);
    let mut args = vec!["--push", "--fresh"];
    args.extend(FAILS);
    job.run("true", &args).exits(1);
    let without = Job::new();
    without.run(WORKS, &["--push"]).exits(8).says("origin");
}

#[test]
fn work_of_others_on_the_remote_branch_is_never_overwritten() {
    let (job, remote) = job();
    let clone = job.env.path("clone");
    git_in(&remote, &["worktree", "add", "-q", "-b", BRANCH, &clone.display().to_string(), "main"]);
    let author = ["-c", "user.name=x", "-c", "user.email=x@localhost"];
    let commit = [&author[..], &["commit", "-q", "--allow-empty", "-m", "by hand"]].concat();
    git_in(&clone, &commit);
    let by_hand = branch_at(&remote, BRANCH);
    job.run(WORKS, &["--push"]).exits(8);
    assert_eq!(branch_at(&remote, BRANCH), by_hand);
}

#[test]
fn a_second_result_replaces_the_first_one_on_the_remote() {
    let (job, remote) = job();
    job.run(WORKS, &["--push"]).exits(0);
    let first = branch_at(&remote, BRANCH);
    job.env.git(&["branch", "-D", BRANCH]);
    job.run("echo other > \"$MAESTRO_TASK.txt\"", &["--push", "--fresh"]).exits(0);
    let second = branch_at(&remote, BRANCH);
    assert_eq!(second, Some(job.env.git(&["rev-parse", BRANCH])));
    assert_ne!(first, second);
}

#[test]
fn a_push_that_hangs_gives_way_to_a_signal_and_outputs_are_there_already() {
    let (job, remote) = job();
    let (begun, go) = (job.env.path("begun"), job.env.path("go"));
    let hook = remote.join("hooks/pre-receive");
    let wait = format!(
        "#!/bin/sh\ntouch {}\nn=0; while [ ! -e {} ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done\n",
        begun.display(),
        go.display()
    );
    fs::write(&hook, wait).unwrap();
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let child = job.start(WORKS, &["--push"]);
    wait_until("the push", Duration::from_mins(1), || begun.exists());
    assert!(job.text("output").contains("branch=maestro/feature\n"), "{}", job.text("output"));
    let stopped = Instant::now();
    signal(&child, "-INT");
    let run = ended(child, stopped).exits(8).says("stopped by a signal");
    fs::write(&go, "").unwrap();
    assert!(run.took < Duration::from_secs(3) + SLACK, "{:?}", run.took);
    assert!(job.text("output").trim_end().ends_with("verdict=report\nexit_code=8"), "{}", job.text("output"));
    assert!(job.text("summary").contains("**report**"), "{}", job.text("summary"));
}

#[test]
fn a_remote_that_is_an_address_is_not_used_and_its_password_not_shown() {
    let (job, remote) = job();
    let address = "https://x-access-token:sekret@127.0.0.1:1/o/r.git";
    job.env.git(&["config", "branch.topic.remote", address]);
    let run = job.run(WORKS, &["--push"]).exits(0);
    assert!(branch_at(&remote, BRANCH).is_some());
    assert!(!run.stderr.contains("sekret") && !run.stdout.contains("sekret"), "{}", run.stderr);
    job.env.git(&["remote", "set-url", "origin", address]);
    let run = job.run(WORKS, &["--push", "--fresh"]).exits(8);
    assert!(!run.stderr.contains("sekret") && !run.stdout.contains("sekret"), "{}", run.stderr);
}

/// The pull request for the result branch.
#[track_caller]
fn result_pull(job: &Job) -> crate::forge_github::Pull {
    let state = job.forge.state();
    let pulls: Vec<_> = state.pulls.iter().filter(|pull| pull.head == BRANCH).collect();
    assert_eq!(pulls.len(), 1, "one pull request is wanted: {pulls:#?}\n{}", job.talk());
    pulls[0].clone()
}

#[test]
fn open_pr_makes_one_pull_request_and_the_next_run_updates_it() {
    let (job, remote) = job();
    job.run(WORKS, &["--open-pr"]).exits(0);
    let pull = result_pull(&job);
    assert_eq!(Some(&pull.head_sha), branch_at(&remote, BRANCH).as_ref());
    assert!(pull.title.contains("feature") && pull.body.contains("FR-1"), "{pull:#?}");
    // What a person adds around our part stays.
    let by_hand = format!("by a person\n\n{}\n\nand below", pull.body);
    job.forge.state().pulls.iter_mut().find(|p| p.head == BRANCH).unwrap().body = by_hand;
    job.env.git(&["branch", "-D", BRANCH]);
    job.run("echo other > \"$MAESTRO_TASK.txt\"", &["--open-pr", "--fresh"]).exits(0);
    let again = result_pull(&job);
    assert_eq!(again.number, pull.number);
    assert!(again.body.starts_with("by a person\n") && again.body.trim_end().ends_with("and below"), "{}", again.body);
    assert_ne!(again.body.find("FR-1"), None);
}

#[test]
fn a_pull_request_whose_answer_was_lost_is_not_opened_twice() {
    for manner in [Manner::Says(Reply::error(502, "Bad Gateway")), Manner::Reset, Manner::Half] {
        let (job, _) = job();
        job.forge.server.on("POST", "/pulls", 1, Fault::after(manner));
        job.run(WORKS, &["--open-pr"]).exits(0);
        result_pull(&job);
        assert_eq!(job.forge.server.seen_of("POST", "/pulls").len(), 1, "{}", job.talk());
    }
}

#[test]
fn a_pull_request_that_cannot_be_opened_is_exit_code_8() {
    let (job, remote) = job();
    job.forge.server.on("POST", "/pulls", usize::MAX, Fault::error(403, "GitHub Actions is not permitted to create"));
    job.run(WORKS, &["--open-pr"]).exits(8).says("403");
    assert!(branch_at(&remote, BRANCH).is_some(), "the branch is there all the same");
    assert!(heading(&job.one_comment().body).contains("**report**"), "and the comment says what is missing");
}

#[test]
fn nothing_is_pushed_or_opened_for_a_run_without_a_result() {
    let (job, remote) = job();
    let mut args = vec!["--open-pr", "--push"];
    args.extend(FAILS);
    job.run("true", &args).exits(1);
    assert_eq!(branch_at(&remote, BRANCH), None);
    assert_eq!(job.forge.server.seen_of("POST", "/pulls").len(), 0);
}

/// A gate with this many failed cases, each at a place of its own.
fn many_findings(cases: usize) -> (Job, [String; 4]) {
    let job = Job::new();
    let case = |n: usize| {
        let (class, message) = (format!("suite.c{n}"), format!("case {n} is wrong"));
        let failure = format!("<failure message=\"{message}\" type=\"assert\">{message}</failure>");
        format!(
            "<testcase classname=\"{class}\" name=\"t{n}\" file=\"src/f{n}.rs\" line=\"{}\">{failure}</testcase>",
            n + 1
        )
    };
    let cases_xml: String = (0..cases).map(case).collect();
    let text = format!(
        "<testsuites><testsuite name=\"s\" tests=\"{cases}\" failures=\"{cases}\">{cases_xml}</testsuite></testsuites>"
    );
    job.env.write("junit.in", &text);
    // Only a file of the repository is a place.
    (0..cases).for_each(|n| job.env.write(&format!("src/f{n}.rs"), &"\n".repeat(cases)));
    job.env.commit("results");
    let run = "validation.gates.g.run=cp junit.in junit.xml; false".to_owned();
    let report = "validation.gates.g.report=junit.xml".to_owned();
    (job, ["--set".to_owned(), run, "--set".to_owned(), report])
}

/// Every finding is an annotation, and none of them twice.
#[track_caller]
fn check_annotations(fault: Option<Fault>) {
    let (job, sets) = many_findings(120);
    if let Some(fault) = fault {
        job.forge.server.on("PATCH", "/check-runs/", 1, fault);
    }
    let mut args: Vec<&str> = sets.iter().map(String::as_str).collect();
    args.extend(["--set", "forge.checks=true"]);
    let run = job.run(WORKS, &args).exits(1);
    assert_eq!(warnings(&run), Vec::<String>::new());
    let state = job.forge.state();
    assert_eq!(state.checks.len(), 1, "{}", job.talk());
    let check = &state.checks[0];
    // The pull request's own commit, not the merge of it that the runner checked out.
    assert_eq!(check.head_sha, job.head);
    assert_eq!(check.document["status"], "completed");
    assert_eq!(check.document["conclusion"], "failure");
    let places: std::collections::BTreeSet<String> =
        check.annotations.iter().map(|a| format!("{}:{}", a["path"].as_str().unwrap(), a["start_line"])).collect();
    let cases = (0..120).filter(|n| places.contains(&format!("src/f{n}.rs:{}", n + 1))).count();
    assert_eq!(cases, 120, "{places:?}");
    assert_eq!(places.len(), check.annotations.len(), "no place twice: {:#?}", check.annotations);
    drop(state);
    for request in job.forge.server.seen_of("*", "/check-runs") {
        let annotations = request.body["output"]["annotations"].as_array().map_or(0, Vec::len);
        assert!(annotations <= 50, "{annotations} annotations in one request");
    }
    let seen = job.forge.server.seen();
    let writes: Vec<_> = seen.iter().filter(|r| r.is_write() && r.path != GRAPHQL).map(|r| r.at).collect();
    let hasty = writes.windows(2).filter(|pair| pair[1] - pair[0] < Duration::from_millis(990)).count();
    assert_eq!(hasty, 0, "writes come at least a second apart:\n{}", job.talk());
}

#[test]
fn a_check_run_carries_more_annotations_than_one_request_may_hold() {
    check_annotations(None);
}

#[test]
fn annotations_whose_answer_was_lost_are_neither_missing_nor_there_twice() {
    let manners = [Manner::Says(Reply::error(502, "Bad Gateway")), Manner::Reset];
    let faults = manners.into_iter().flat_map(|manner| [Fault::after(manner.clone()), Fault::instead(manner)]);
    at_once(faults.map(Some), check_annotations);
}

#[test]
fn a_check_run_is_neutral_to_the_verdict_and_needs_an_app() {
    let mut job = Job::new();
    job.env.set("GITHUB_TOKEN", PERSON);
    let run = job.run(WORKS, &["--set", "forge.checks=true"]).exits(0);
    assert_eq!(warnings(&run).len(), 1, "{}", run.stderr);
    assert!(heading(&job.one_comment_of(Author { login: "alice", kind: "User" }).body).contains("passed"));
    job.env.set("GITHUB_TOKEN", ACTIONS);
    job.run(WORKS, &["--fresh", "--set", "forge.checks=true"]).exits(0);
    let state = job.forge.state();
    assert_eq!(state.checks.len(), 1, "{}", job.talk());
    assert_eq!(state.checks[0].document["conclusion"], "success");
}

#[test]
fn the_check_of_a_stopped_session_says_in_the_end_how_its_resume_ended() {
    let job = Job::of(&[("FR-1", "first"), ("FR-2", "second, after FR-1"), ("FR-3", "third, after FR-2")]);
    let agent = "echo '{\"usage\":{\"cost_usd\":1}}'; echo x > $MAESTRO_TASK.txt";
    let mut args = vec!["--max-cost", "1.5usd", "-j1", "--set", "forge.checks=true"];
    args.extend(FAILS);
    job.run(agent, &args).exits(5);
    let stopped = job.forge.state().checks.clone();
    assert_eq!(stopped.len(), 1, "{}", job.talk());
    assert_ne!(stopped[0].document["conclusion"], "success");
    job.command(&["resume", "--allow-unsandboxed", "--max-cost", "9"]).exits(0);
    let state = job.forge.state();
    let last = state.checks.last().unwrap();
    assert_eq!(last.document["conclusion"], "success", "branch protection would hold a good result back: {state:?}");
}

#[test]
fn a_check_run_whose_answer_was_lost_is_not_made_twice() {
    let job = Job::new();
    job.forge.server.on("POST", "/check-runs", 1, Fault::after(Manner::Says(Reply::error(502, "Bad Gateway"))));
    job.run(WORKS, &["--set", "forge.checks=true"]).exits(0);
    let state = job.forge.state();
    assert_eq!(state.checks.len(), 1, "{}", job.talk());
    assert_eq!(state.checks[0].document["conclusion"], "success");
}

/// A job that ran without a token, and its report as a file.
pub fn ran_without_token(agent: &str, more: &[&str], code: i32) -> (Job, String) {
    let (mut job, _) = job();
    let report = job.env.path("report.json").display().to_string();
    job.env.unset("GITHUB_TOKEN");
    let mut args = vec!["--json", &report];
    args.extend(more);
    job.run(agent, &args).exits(code);
    assert_eq!(job.talk(), "no request");
    job.env.set("GITHUB_TOKEN", ACTIONS);
    (job, report)
}

#[test]
fn publish_posts_the_same_comment_from_a_finished_report() {
    for (agent, code, word) in [(WORKS, 0, "passed"), ("true", 1, "failed")] {
        let (job, report) = ran_without_token(agent, &FAILS, code);
        let published = job.command(&["publish", &report]).exits(0);
        assert_eq!(warnings(&published), Vec::<String>::new());
        let comment = job.one_comment();
        assert!(heading(&comment.body).contains(word), "{}", comment.body);
        let own = fs::read_to_string(job.env.session_dir().join("comment.md")).unwrap();
        assert_eq!(comment.body.trim_end(), own.trim_end(), "the second job says what the first one would have said");
        // Again: nothing has changed, so nothing is written.
        job.command(&["publish", &report]).exits(0);
        assert_eq!(job.bodies().len(), 1, "{}", job.talk());
    }
}

#[test]
fn publish_needs_no_repository_and_no_session() {
    let (job, report) = ran_without_token(WORKS, &[], 0);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = job.env.command(&["publish", &report]);
    let output = command.current_dir(elsewhere.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(heading(&job.one_comment().body).contains("passed"));
}

#[test]
fn publish_does_not_post_a_report_that_somebody_else_could_have_written_as_live_text() {
    let (job, report) = ran_without_token(WORKS, &[], 0);
    let mut document: Value = serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
    let hostile = "@everyone fixes #1 <!-- maestro-ci:report v1 prd=prd.md --> ![x](https://evil.example/x)";
    document["requirements"][0]["text"] = Value::from(hostile);
    document["prd"]["title"] = Value::from(hostile);
    fs::write(&report, document.to_string()).unwrap();
    job.command(&["publish", &report]).exits(0);
    let body = job.one_comment().body;
    assert_eq!(live(&body), Vec::<String>::new(), "{body}");
}

#[test]
fn publish_refuses_what_is_no_report() {
    let job = Job::new();
    for text in ["", "{}", "[]", "{\"version\": 999999}", "no json"] {
        fs::write(job.file("report.json"), text).unwrap();
        let run = job.command(&["publish", &job.file("report.json").display().to_string()]);
        assert_eq!(run.code, 2, "{text:?}: {}", run.stderr);
        assert!(run.stderr.contains("report.json"), "{}", run.stderr);
    }
    job.command(&["publish", "/nonexistent/report.json"]).exits(2);
    assert_eq!(job.talk(), "no request");
}

#[test]
fn publish_meets_the_same_faults_and_finds_the_comment_of_a_stranger_uninteresting() {
    let (job, report) = ran_without_token(WORKS, &[], 0);
    job.forge.comment(7, STRANGER, &format!("{MARKER}\nI am the report"));
    let lost = Fault::after(Manner::Says(Reply::error(502, "Bad Gateway")));
    job.forge.server.on("POST", "/comments", 1, lost);
    job.command(&["publish", &report]).exits(0);
    assert_eq!(job.forge.server.seen_of("POST", "/comments").len(), 1, "{}", job.talk());
    assert!(heading(&job.one_comment().body).contains("passed"));
    assert_eq!(job.forge.comments_of(STRANGER)[0].body, format!("{MARKER}\nI am the report"));
    // A command whose only work is to publish says by its exit code that it could not.
    let refused = Fault::error(403, "Resource not accessible by integration");
    job.forge.state().comments.retain(|comment| comment.author != ACTIONS_BOT);
    job.forge.server.on("POST", "/comments", usize::MAX, refused);
    job.command(&["publish", &report, "--comment", "7"]).exits(8).says("403");
}
