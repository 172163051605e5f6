//! What was asked for besides the work and could not be delivered: reports, outputs, comment and exit code agree on it,
//! the same command or `resume` delivers it, and a run that breaks off does not leave a comment that says it goes on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::env::{Run, wait_until};
use crate::forge_github::{ACTIONS_BOT, branch_at};
use crate::forge_push::{BRANCH, FAILS, job};
use crate::forge_server::Fault;
use crate::forge_world::{Job, WORKS, ended, heading};

/// What the step's outputs say in the end.
fn output(job: &Job, name: &str) -> String {
    let text = job.text("output");
    let last = text.lines().rev().find_map(|line| line.strip_prefix(&format!("{name}=")));
    last.unwrap_or_default().to_owned()
}

/// Everything that tells how the run ended tells the same, and says why.
#[track_caller]
fn check_all_agree(job: &Job, run: &Run, verdict: &str, why: &str) {
    job.env.check_run(run);
    let dir = job.env.session_dir();
    let read = |path: PathBuf| fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for path in [dir.join("report.json"), job.file("out.json")] {
        let report: Value = serde_json::from_str(&read(path)).unwrap();
        assert_eq!((&report["verdict"], &report["exit_code"]), (&Value::from(verdict), &Value::from(run.code)));
        assert!(report["reason"].as_str().unwrap().contains(why), "{}", report["reason"]);
    }
    for file in ["final-report.md", "comment.md", "execution-log.md", "report.html"] {
        assert!(read(dir.join(file)).contains(verdict), "{file}: {}", read(dir.join(file)));
    }
    assert_eq!(output(job, "verdict"), verdict);
    assert_eq!(output(job, "exit_code"), run.code.to_string());
    let dotenv = read(job.file("env"));
    let expected = format!("MAESTRO_RESULT_VERDICT={verdict}\nMAESTRO_RESULT_EXIT_CODE={}\n", run.code);
    assert!(dotenv.starts_with(&expected), "{dotenv}");
}

/// A job whose remote refuses pushes until the hook is gone, and the flags of its run.
fn refusing() -> (Job, PathBuf, PathBuf, Vec<String>) {
    let (job, remote) = job();
    let hook = remote.join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\necho 'protected by the house' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| job.file(name).display().to_string();
    let flags = ["--push", "--json", &at("out.json"), "--dotenv", &at("env")].map(str::to_owned).to_vec();
    (job, remote, hook, flags)
}

fn strs(flags: &[String]) -> Vec<&str> {
    flags.iter().map(String::as_str).collect()
}

#[test]
fn what_is_not_delivered_stands_in_every_report_and_the_same_command_delivers_it() {
    let (job, remote, hook, flags) = refusing();
    let run = job.run(WORKS, &strs(&flags)).exits(8).says("Not delivered: maestro/feature cannot be pushed");
    check_all_agree(&job, &run, "report", "protected by the house");
    assert!(heading(&job.one_comment().body).contains("**report**"), "{}", job.one_comment().body);
    let summary = job.text("summary");
    assert!(summary.lines().next().unwrap().contains("**report**") && !summary.contains("**passed**"), "{summary}");
    assert_eq!(summary.lines().filter(|line| line.starts_with("# ")).count(), 1, "{summary}");
    let annotated = |run: &Run, verdict| run.stderr.matches(&format!("title=maestro-ci%3A {verdict}::")).count();
    assert_eq!((annotated(&run, "report"), annotated(&run, "passed")), (1, 0), "{}", run.stderr);
    let status = job.env.run(&["status"]).exits(0).stdout;
    assert!(status.contains("protected by the house"), "{status}");
    // It still fails: that is said once, not twice.
    let run = job.run(WORKS, &strs(&flags)).exits(8).says("Trying again");
    check_all_agree(&job, &run, "report", "not delivered: maestro/feature");
    assert_eq!(job.env.report()["reason"].as_str().unwrap().matches("cannot be pushed").count(), 1);
    fs::remove_file(hook).unwrap();
    let run = job.run(WORKS, &strs(&flags)).exits(0);
    check_all_agree(&job, &run, "passed", "passed");
    assert!(heading(&job.one_comment().body).contains("**passed**"), "{}", job.one_comment().body);
    assert_eq!(branch_at(&remote, BRANCH), Some(job.env.git(&["rev-parse", BRANCH])));
    // Once all is delivered nothing more is written into the journal.
    let journal = || fs::read_to_string(job.env.session_dir().join("journal.jsonl")).unwrap();
    let before = journal();
    job.run(WORKS, &strs(&flags)).exits(0).says("nothing to do");
    assert_eq!(journal(), before);
}

#[test]
fn resume_delivers_what_is_missing_with_the_flags_of_the_run() {
    let (job, remote, hook, flags) = refusing();
    job.run(WORKS, &strs(&flags)).exits(8);
    job.command(&["resume"]).exits(8).says("protected by the house");
    fs::remove_file(hook).unwrap();
    job.command(&["resume"]).exits(0);
    assert_eq!(branch_at(&remote, BRANCH), Some(job.env.git(&["rev-parse", BRANCH])));
    assert_eq!(job.env.report()["exit_code"], 0);
    job.command(&["resume"]).exits(6).says("cannot go on: passed");
}

#[test]
fn a_resume_pushes_and_comments_as_the_run_was_told_to() {
    let (job, remote) = job();
    let begun = job.env.path("begun");
    let agent = format!("{WORKS}; [ -e {0} ] || {{ touch {0}; sleep 60; }}", begun.display());
    let mut child = job.start(&agent, &["--open-pr", "--push", "--comment", "7", "--branch", "maestro/other"]);
    wait_until("the agent", Duration::from_secs(30), || begun.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    job.command(&["resume", "--allow-unsandboxed"]).exits(0);
    assert!(branch_at(&remote, "maestro/other").is_some(), "{}", job.talk());
    assert!(job.forge.state().pulls.iter().any(|pull| pull.head == "maestro/other"), "{}", job.talk());
    assert!(heading(&job.one_comment().body).contains("passed"));
}

#[test]
fn a_report_that_cannot_be_written_stands_in_those_that_can() {
    let job = Job::new();
    let (place, dotenv) = (job.env.path("reports"), job.file("env"));
    fs::create_dir(&place).unwrap();
    let asked = place.join("junit.xml").display().to_string();
    // The directory goes while the run is under way.
    let agent = format!("{WORKS}; rm -rf {0}; touch {0}", place.display());
    let json = job.file("out.json");
    let flags = ["--junit", &asked, "--json", json.to_str().unwrap(), "--dotenv", dotenv.to_str().unwrap()];
    let run = job.run(&agent, &flags).exits(8).says("junit.xml cannot be written");
    check_all_agree(&job, &run, "report", "junit.xml cannot be written");
    assert!(heading(&job.one_comment().body).contains("**report**"), "{}", job.one_comment().body);
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    let run = job.run(&agent, &flags).exits(0);
    check_all_agree(&job, &run, "passed", "passed");
    assert!(fs::metadata(&asked).unwrap().len() > 0);
}

#[test]
fn a_failed_run_stays_failed_and_says_what_is_not_delivered() {
    let job = Job::new();
    job.forge.server.on("POST", "/comments", usize::MAX, Fault::error(403, "Resource not accessible by integration"));
    let mut flags = vec!["--comment", "7"];
    flags.extend(FAILS);
    let run = job.run("true", &flags).exits(1);
    job.env.check_run(&run);
    let reason = job.env.report()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("1 of 1 tasks failed") && reason.contains("not delivered: the comment"), "{reason}");
    // The same command would start anew; what is missing can be delivered without that.
    run.says("To deliver what is missing: maestro-ci resume");
    job.forge.server.heal();
    job.command(&["resume"]).exits(1);
    assert!(!job.env.report()["reason"].as_str().unwrap().contains("not delivered"), "{}", job.talk());
    assert!(heading(&job.one_comment().body).contains("**failed**"));
}

#[test]
fn a_report_stays_missing_until_it_is_where_its_flag_wants_it() {
    let job = Job::new();
    let place = job.env.path("reports");
    fs::create_dir(&place).unwrap();
    let asked = place.join("junit.xml").display().to_string();
    let agent = format!("{WORKS}; rm -rf {0}; touch {0}", place.display());
    job.run(&agent, &["--junit", &asked]).exits(8);
    // Neither a resume, which has no flag of its own, nor a run without the flag takes it for delivered.
    job.command(&["resume"]).exits(8).says("junit.xml cannot be written");
    job.run(&agent, &[]).exits(8).says("what is not delivered is not asked for");
    fs::remove_file(&place).unwrap();
    job.command(&["resume"]).exits(0);
    assert!(fs::metadata(&asked).unwrap().len() > 0);
    assert_eq!(job.env.report()["verdict"], "passed");
}

#[test]
fn a_push_that_failed_stays_missing_in_a_run_that_does_not_push() {
    let (job, remote, hook, flags) = refusing();
    job.run(WORKS, &strs(&flags)).exits(8);
    fs::remove_file(hook).unwrap();
    job.run(WORKS, &[]).exits(8);
    assert_eq!((branch_at(&remote, BRANCH), &job.env.report()["verdict"]), (None, &Value::from("report")));
    job.command(&["resume"]).exits(0);
    assert_eq!(branch_at(&remote, BRANCH), Some(job.env.git(&["rev-parse", BRANCH])));
}

/// The conclusion of the newest check.
fn newest_check(job: &Job) -> Value {
    let state = job.forge.state();
    state.checks.iter().max_by_key(|check| check.id).unwrap().document["conclusion"].clone()
}

#[test]
fn a_pull_request_that_is_refused_makes_comment_and_check_red() {
    let (job, remote) = job();
    job.forge.server.on("POST", "/pulls", usize::MAX, Fault::error(403, "GitHub Actions is not permitted to create"));
    let run = job.run(WORKS, &["--open-pr", "--checks"]).exits(8).says("create and approve pull requests");
    job.env.check_run(&run);
    assert!(branch_at(&remote, BRANCH).is_some());
    let body = job.one_comment().body;
    assert!(heading(&body).contains("**report**") && body.contains("the pull request cannot be written"), "{body}");
    assert_eq!(newest_check(&job), "failure");
    assert_eq!(fs::read_to_string(job.env.session_dir().join("comment.md")).unwrap(), body);
    job.forge.server.heal();
    job.command(&["resume"]).exits(0);
    assert!(heading(&job.one_comment().body).contains("**passed**"));
    assert_eq!(newest_check(&job), "success");
}

#[test]
fn a_check_that_was_red_in_between_does_not_stay_the_newest_one() {
    let (job, _, hook, mut flags) = refusing();
    flags.push("--checks".to_owned());
    job.run(WORKS, &["--checks"]).exits(0);
    assert_eq!(newest_check(&job), "success");
    job.run(WORKS, &strs(&flags)).exits(8);
    assert_eq!(newest_check(&job), "failure");
    fs::remove_file(hook).unwrap();
    job.run(WORKS, &strs(&flags)).exits(0);
    assert_eq!(newest_check(&job), "success");
    // The same end again is the same check.
    let count = job.forge.state().checks.len();
    job.run(WORKS, &strs(&flags)).exits(0);
    assert_eq!((job.forge.state().checks.len(), count), (3, 3));
}

#[test]
fn a_kill_while_the_result_is_pushed_leaves_no_pass_and_whoever_goes_on_delivers() {
    for same_command in [false, true] {
        let (job, remote, hook, flags) = refusing();
        let (begun, go) = (job.env.path("begun"), job.env.path("go"));
        let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", begun.display(), go.display());
        fs::write(&hook, format!("#!/bin/sh\n{wait}\nexit 1\n")).unwrap();
        let mut child = job.start(WORKS, &strs(&flags));
        wait_until("the push", Duration::from_mins(1), || begun.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        fs::write(&go, "").unwrap();
        let report = job.env.report();
        assert_eq!((&report["verdict"], &report["exit_code"]), (&Value::from("report"), &Value::from(8)));
        assert!(report["reason"].as_str().unwrap().ends_with("not delivered: the result branch (interrupted)"));
        assert!(fs::read_to_string(job.file("env")).unwrap().contains("VERDICT=report\n"));
        // A try that dies leaves it open, too.
        fs::remove_file(&go).unwrap();
        fs::remove_file(&begun).unwrap();
        let mut child = job.start(WORKS, &strs(&flags));
        wait_until("the push", Duration::from_mins(1), || begun.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        fs::write(&go, "").unwrap();
        assert_eq!(job.env.report()["verdict"], "report");
        fs::remove_file(&hook).unwrap();
        let run = if same_command { job.run(WORKS, &strs(&flags)) } else { job.command(&["resume"]) }.exits(0);
        check_all_agree(&job, &run, "passed", "passed");
        assert_eq!(branch_at(&remote, BRANCH), Some(job.env.git(&["rev-parse", BRANCH])));
    }
}

#[test]
fn a_run_that_is_killed_has_told_the_job_where_its_session_is() {
    let job = Job::new();
    let begun = job.env.path("begun");
    let mut child = job.start(&format!("touch {}; sleep 60", begun.display()), &[]);
    wait_until("the agent", Duration::from_secs(30), || begun.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let dir = job.env.session_dir();
    assert_eq!(PathBuf::from(output(&job, "session_dir")), dir);
    assert_eq!(Some(output(&job, "session").as_str()), dir.file_name().unwrap().to_str());
}

#[test]
fn a_run_that_breaks_off_does_not_leave_a_comment_that_says_it_goes_on() {
    let job = Job::new();
    let (begun, go) = (job.env.path("begun"), job.env.path("go"));
    let wait = format!("touch {}; while [ ! -e {} ]; do sleep 0.05; done", begun.display(), go.display());
    let inner = job.env.command(&["--prd", "prd.md", "--agent-cmd", &format!("{wait}; {WORKS}")]);
    // The signal is ignored, so that a journal that may not grow is an error as on a full disk.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.current_dir(&job.env.repo).env_clear().envs(inner.get_envs().filter_map(|(k, v)| Some((k, v?))));
    command.stdin(std::process::Stdio::null()).process_group(0);
    let started = Instant::now();
    let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_until("the agent", Duration::from_secs(30), || begun.exists());
    wait_until("the first comment", Duration::from_secs(10), || !job.forge.comments_of(ACTIONS_BOT).is_empty());
    let limit = ["--fsize=1:1", "--pid", &child.id().to_string()].map(str::to_owned);
    assert!(Command::new("prlimit").args(limit).status().unwrap().success());
    fs::write(go, "").unwrap();
    let run = ended(child, started).exits(70);
    let body = job.one_comment().body;
    assert!(heading(&body).contains("**internal**"), "{}\n{body}", run.stderr);
    assert!(body.contains("stopped: internal error"), "{body}");
}
