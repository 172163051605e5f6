//! `publish` in a job that has the token, with a report from one that has not: a forged report moves no branch and opens
//! no pull request, what cannot be told is said, and this job's outputs and summary come, too.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::env::Run;
use crate::forge_github::{ACTIONS_BOT, Pull, branch_at};
use crate::forge_push::{BRANCH, git_in, ran_without_token};
use crate::forge_server::Fault;
use crate::forge_world::{Job, WORKS};

/// All branches of the remote, with where they stand.
fn refs(remote: &Path) -> String {
    git_in(remote, &["for-each-ref", "--format=%(refname) %(objectname)"])
}

/// A passed run whose report says something else about its result, published with these flags.
#[track_caller]
fn published((job, report): &(Job, String), forged: &Value, flags: &[&str]) -> Run {
    let mut document: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    for (key, value) in forged.as_object().unwrap() {
        document["result"][key] = value.clone();
    }
    let path = job.file("forged.json").display().to_string();
    fs::write(&path, document.to_string()).unwrap();
    job.command(&[&["publish", &path], flags].concat())
}

fn remote_of(job: &Job) -> PathBuf {
    job.env.path("remote.git")
}

#[test]
fn a_forged_report_pushes_nothing_and_opens_nothing() {
    let ran = ran_without_token(WORKS, &[], 0);
    let (job, remote) = (&ran.0, remote_of(&ran.0));
    let result = job.env.git(&["rev-parse", BRANCH]);
    job.env.git(&["branch", "side", "main"]);
    job.env.git(&["push", "-q", "origin", "side", &format!("side:{BRANCH}")]);
    let before = refs(&remote);
    let forgeries = [
        (json!({"branch": "main"}), "not below maestro/"),
        (json!({"branch": "side"}), "not below maestro/"),
        (json!({"branch": "maestro/../main"}), "no name"),
        (json!({"branch": "maestro/x:refs/heads/main"}), "no name"),
        (json!({"branch": ""}), "not below maestro/"),
        (json!({"branch": "maestro/nowhere"}), "does not stand"),
        (json!({"branch_commit": ""}), "does not stand"),
        (json!({"branch_commit": null}), "does not stand"),
        (json!({"branch_commit": BRANCH}), "does not stand"),
        (json!({"branch_commit": job.head}), "does not stand"),
        (json!({"branch_commit": &result[..12]}), "does not stand"),
    ];
    for (forged, why) in &forgeries {
        for flags in [&["--push"][..], &["--open-pr"], &["--push", "--open-pr"]] {
            let run = published(&ran, forged, flags);
            assert_eq!(run.code, 2, "{forged} {flags:?}: {}", run.stderr);
            assert!(run.stderr.contains(why), "{forged} {flags:?}: {}", run.stderr);
            assert_eq!(refs(&remote), before, "{forged} {flags:?}");
        }
    }
    assert_eq!(job.talk(), "no request");
    published(&ran, &json!({}), &["--push"]).exits(0);
    assert_eq!(branch_at(&remote, BRANCH), Some(result));
}

#[test]
fn a_branch_that_people_work_on_is_no_result_even_where_the_job_names_it() {
    let ran = ran_without_token(WORKS, &[], 0);
    let (job, remote) = (&ran.0, remote_of(&ran.0));
    let before = refs(&remote);
    for branch in ["main", "topic"] {
        let commit = job.env.git(&["rev-parse", branch]);
        let forged = json!({"branch": branch, "branch_commit": commit});
        published(&ran, &forged, &["--push", "--branch", branch]).exits(2).says("people work on");
        assert_eq!(refs(&remote), before);
    }
    job.env.git(&["branch", "result", BRANCH]);
    published(&ran, &json!({"branch": "result"}), &["--push"]).exits(2).says("--branch");
    published(&ran, &json!({"branch": "result"}), &["--push", "--branch", "result"]).exits(0);
    assert_eq!(branch_at(&remote, "result"), branch_at(&job.env.repo, BRANCH));
}

#[test]
fn the_base_of_a_pull_request_is_the_jobs_and_not_the_reports() {
    let (job, report) = ran_without_token(WORKS, &[], 0);
    let mut document: Value = serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
    document["base"]["branch"] = json!("release");
    fs::write(&report, document.to_string()).unwrap();
    job.command(&["publish", &report, "--push", "--open-pr"]).exits(0);
    let state = job.forge.state();
    let pull = state.pulls.iter().find(|pull| pull.head == BRANCH).expect("a pull request");
    assert_eq!(pull.base, "topic");
}

#[test]
fn publish_says_why_it_tells_nobody() {
    let (mut job, report) = ran_without_token(WORKS, &[], 0);
    job.command(&["publish", &report, "--comment", "never"]).exits(0).says("Nothing is told");
    job.push_event();
    job.forge.state().pulls.clear();
    job.command(&["publish", &report]).exits(0).says("--comment NUMBER");
    job.env.unset("GITHUB_TOKEN");
    job.command(&["publish", &report]).exits(8).says("there is no token");
}

#[test]
fn what_publish_cannot_tell_is_exit_code_8() {
    let (job, report) = ran_without_token(WORKS, &[], 0);
    job.forge.server.on("POST", "/comments", usize::MAX, Fault::error(403, "Resource not accessible by integration"));
    job.command(&["publish", &report]).exits(8).says("403");
}

#[test]
fn publish_hands_outputs_and_summary_over_to_its_own_job() {
    let (job, report) = ran_without_token("true", &["--set", "error_recovery.max_retry_attempts=0"], 1);
    for file in ["output", "summary"] {
        fs::write(job.file(file), "").unwrap();
    }
    let run = job.command(&["publish", &report]).exits(0);
    let output = job.text("output");
    assert!(output.contains(&format!("branch={BRANCH}\n")) && output.contains(&format!("json={report}\n")), "{output}");
    assert!(output.trim_end().ends_with("verdict=passed\nexit_code=0"), "{output}");
    assert!(job.text("summary").contains("failed"), "{}", job.text("summary"));
    assert!(run.stderr.contains("::error") || run.stdout.contains("::error"), "{}", run.stderr);
}

/// Pull request 8 of a fork beside 7, whose branch has the same name and which has the same commit.
fn of_a_fork(job: &Job, number: u64, owner: &str, sha: &str) {
    let mut state = job.forge.state();
    let pull = Pull { number, owner: owner.to_owned(), head_sha: sha.to_owned(), ..state.pulls[0].clone() };
    state.pulls.push(pull);
}

#[test]
fn a_forks_pull_request_is_found_by_its_branch_and_commit_and_no_other_one_is() {
    let sha = "3333333333333333333333333333333333333333";
    let (mut job, report) = ran_without_token(WORKS, &[], 0);
    job.fork_event("ann", "topic", sha);
    of_a_fork(&job, 8, "bob", sha);
    of_a_fork(&job, 9, "ann", "4444444444444444444444444444444444444444");
    // That one has moved on since: what ran was another commit.
    job.command(&["publish", &report]).exits(0).says("--comment NUMBER");
    assert_eq!(job.forge.comments_of(ACTIONS_BOT), []);
    of_a_fork(&job, 10, "ann", sha);
    job.command(&["publish", &report]).exits(0);
    let commented: Vec<u64> = job.forge.comments_of(ACTIONS_BOT).iter().map(|comment| comment.issue).collect();
    assert_eq!(commented, [10], "{}", job.talk());
    // Two with the same head: nobody says which is meant.
    of_a_fork(&job, 11, "ann", sha);
    job.forge.state().comments.clear();
    job.command(&["publish", &report]).exits(0).says("--comment NUMBER");
    assert_eq!(job.forge.comments_of(ACTIONS_BOT), []);
}

#[test]
fn a_run_for_a_fork_comments_on_the_forks_pull_request() {
    let mut job = Job::new();
    let sha = "3333333333333333333333333333333333333333";
    job.fork_event("ann", "topic", sha);
    of_a_fork(&job, 8, "ann", sha);
    job.run(WORKS, &[]).exits(0);
    let comments = job.forge.comments_of(ACTIONS_BOT);
    assert_eq!(comments.iter().map(|comment| comment.issue).collect::<Vec<_>>(), [8], "{}", job.talk());
    assert!(comments[0].body.contains("**passed**"), "{}", comments[0].body);
}
