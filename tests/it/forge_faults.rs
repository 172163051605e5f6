//! What a forge can do to us, and that it changes nothing but the comment: exit code and reports are those of a run
//! without a forge, there is never a second comment, nothing takes longer than its deadline, and a token goes nowhere
//! but to its own host. The catalogue is F1 to F7.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::env::{Run, SLACK, wait_until};
use crate::forge_github::{ACTIONS, ACTIONS_BOT, BASE, GRAPHQL, STRANGER};
use crate::forge_server::{Fault, Manner, Reply, Server};
use crate::forge_world::{Job, MARKER, WORKS, at_once, ended, heading, signal, warnings};

/// Ever.
const ALWAYS: usize = usize::MAX;
/// What the forge may take of a run's end; everything before that happens beside the run.
const DEADLINE: Duration = Duration::from_secs(20);
/// What a small run takes without a forge, on a machine that is busy with other tests.
const RUN: Duration = Duration::from_secs(8);
/// By then a run has asked for its first comment.
const FIRST: Duration = Duration::from_mins(1);
/// Where comments are written.
const COMMENTS: &str = "/issues/7/comments";
const FORK: &str = "Resource not accessible by integration";

/// A run that passes while the forge misbehaves: exit code, reports and time as they are without one.
#[track_caller]
fn check(job: &Job, more: &[&str]) -> Run {
    let run = job.run(WORKS, more);
    let code = run.code;
    assert_eq!(code, 0, "a forge changed the exit code\n{}\n{}", run.stderr, job.talk());
    job.env.check_run(&run);
    assert!(run.took < RUN + DEADLINE, "{:?}\n{}", run.took, job.talk());
    run
}

#[track_caller]
fn warns_once(run: &Run, of: &str) {
    let warnings = warnings(run);
    assert_eq!(warnings.len(), 1, "one warning is wanted: {warnings:#?}\n{}", run.stderr);
    assert!(warnings[0].contains(of), "{of:?} is not in {warnings:?}");
}

/// An agent that works until a file is there, and that file.
fn waits(job: &Job) -> (String, PathBuf) {
    let go = job.env.path("go");
    (format!("while [ ! -e {} ]; do sleep 0.1; done; echo done > done", go.display()), go)
}

/// What cannot be mended by trying again is not tried again, but by the end, which sees whether things have changed.
#[track_caller]
fn is_refused_once((fault, says): (Fault, &str)) {
    let job = Job::new();
    job.forge.server.on("POST", COMMENTS, ALWAYS, fault);
    let run = check(&job, &[]);
    warns_once(&run, says);
    let most = if says.contains("403") || says.contains("Issues are disabled") { 1 } else { 2 };
    assert!((1..=most).contains(&job.bodies().len()), "{}", job.talk());
    assert_eq!(job.forge.comments_of(ACTIONS_BOT), []);
    let comment = fs::read_to_string(job.env.session_dir().join("comment.md")).unwrap();
    assert!(comment.starts_with(MARKER) && comment.contains("passed"), "{comment}");
    assert!(job.text("summary").contains("passed"));
    assert!(job.text("output").contains("passed"));
}

#[test]
fn the_token_of_a_fork_costs_one_warning_and_leaves_comment_file_and_summary() {
    is_refused_once((Fault::error(403, FORK), "403"));
}

#[test]
fn refusals_for_good_are_not_repeated() {
    let refusals = [
        (401, "Bad credentials"),
        (403, "Unable to create comment because issue is locked."),
        (404, "Not Found"),
        (410, "Issues are disabled for this repo"),
        (422, "Validation Failed"),
    ];
    at_once(refusals.map(|(status, says)| (Fault::error(status, says), says)), is_refused_once);
}

#[test]
fn a_refusal_while_the_run_goes_on_does_not_silence_its_end() {
    at_once([(401, "Bad credentials"), (404, "Not Found"), (422, "Validation Failed")], |(status, says)| {
        let job = Job::new();
        job.forge.server.on("POST", COMMENTS, 1, Fault::error(status, says));
        let (agent, go) = waits(&job);
        let started = Instant::now();
        let child = job.start(&agent, &[]);
        wait_until("the refusal", FIRST, || !job.bodies().is_empty());
        fs::write(go, "").unwrap();
        ended(child, started).exits(0);
        assert!(heading(&job.one_comment().body).contains("passed"), "{status}\n{}", job.talk());
    });
}

/// A cancel while the first comment is on its way, which the forge makes after this time.
#[track_caller]
fn cancelled_under_way(slow: Duration) -> (Job, Run) {
    let job = Job::new();
    job.forge.server.on("POST", COMMENTS, 1, Fault::instead(Manner::Slow(slow)));
    let (agent, _) = waits(&job);
    let child = job.start(&agent, &[]);
    wait_until("the first comment's request", FIRST, || !job.bodies().is_empty());
    let cancelled = Instant::now();
    signal(&child, "-INT");
    let run = ended(child, cancelled).exits(130);
    assert!(run.took < Duration::from_secs(3) + SLACK, "{:?}", run.took);
    // The forge does in the end what it was asked to.
    wait_until("the comment", slow + FIRST, || !job.forge.comments_of(ACTIONS_BOT).is_empty());
    std::thread::sleep(slow.saturating_sub(cancelled.elapsed()));
    job.one_comment();
    assert_eq!(job.forge.server.seen_of("POST", COMMENTS).len(), 1, "{}", job.talk());
    (job, run)
}

#[test]
fn a_cancel_while_the_first_comment_is_under_way_leaves_one_comment() {
    let (_, run) = cancelled_under_way(Duration::from_secs(5));
    assert_eq!(warnings(&run).len(), 1, "{}", run.stderr);
    run.says("nothing more was sent");
    cancelled_under_way(Duration::from_millis(400));
}

#[test]
fn a_failing_run_keeps_its_exit_code_as_well() {
    let job = Job::new();
    job.forge.server.on("*", "", ALWAYS, Fault::error(403, FORK));
    let run = job.run("true", &["--set", "error_recovery.max_retry_attempts=0"]).exits(1);
    job.env.check_run(&run);
    warns_once(&run, "403");
}

/// The forge refuses once, says when to come back, and is asked again then: one comment, and all is told.
#[track_caller]
fn is_asked_again(reply: Reply, after: Duration) {
    let job = Job::new();
    job.forge.server.on("POST", COMMENTS, 1, Fault::instead(Manner::Says(reply)));
    let run = check(&job, &[]);
    assert_eq!(warnings(&run), Vec::<String>::new());
    assert!(heading(&job.one_comment().body).contains("passed"));
    let posts = job.forge.server.seen_of("POST", COMMENTS);
    assert_eq!(posts.len(), 2, "{}", job.talk());
    let gap = posts[1].at - posts[0].at;
    assert!(gap >= after, "asked again after {gap:?}, not after {after:?}\n{}", job.talk());
}

fn too_many() -> Reply {
    Reply::error(429, "API rate limit exceeded")
}

fn secondary() -> Reply {
    Reply::error(403, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
}

#[test]
fn a_limit_that_names_its_end_is_waited_for() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let reset = too_many().header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", &(now + 4).to_string());
    let two = Duration::from_secs(2);
    let limits = [
        (too_many().header("retry-after", "2"), two),
        (secondary().header("retry-after", "2"), two),
        (reset, Duration::from_secs(1)),
    ];
    at_once(limits, |(reply, after)| is_asked_again(reply, after));
}

/// The forge refuses and does not want to be asked again in any time that we have: it is left alone.
#[track_caller]
fn is_given_up(reply: Reply) {
    let job = Job::new();
    job.forge.server.on("POST", COMMENTS, ALWAYS, Fault::instead(Manner::Says(reply)));
    let run = check(&job, &[]);
    assert_eq!(warnings(&run).len(), 1, "{}", run.stderr);
    assert_eq!(job.bodies().len(), 1, "{}", job.talk());
}

#[test]
fn a_limit_that_lasts_too_long_or_names_no_end_is_given_up() {
    let limits = [
        too_many().header("retry-after", "3600"),
        too_many().header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", "4102444800"),
        // Without headers a minute has to pass, which is more than there is.
        too_many(),
        secondary(),
    ];
    at_once(limits, is_given_up);
}

/// The first comment meets a fault; there is one comment in the end, and it tells the end.
#[track_caller]
fn one_comment_in_spite_of(fault: Fault, times: usize) -> Job {
    let job = Job::new();
    job.forge.server.on("POST", COMMENTS, times, fault);
    check(&job, &[]);
    let comment = job.one_comment();
    assert!(heading(&comment.body).contains("passed"), "{}\n{}", comment.body, job.talk());
    job
}

#[test]
fn a_comment_that_was_not_written_is_written_later() {
    let faults = [
        (Fault::error(500, "Server Error"), 1),
        (Fault::error(502, "Bad Gateway"), 2),
        (Fault::instead(Manner::Reset), 1),
    ];
    at_once(faults, |(fault, times)| drop(one_comment_in_spite_of(fault, times)));
}

#[test]
fn a_comment_that_was_written_although_the_answer_was_lost_is_not_written_again() {
    let faults = [
        Fault::after(Manner::Says(Reply::error(502, "Bad Gateway"))),
        Fault::after(Manner::Says(Reply::error(504, "Gateway Timeout"))),
        Fault::after(Manner::Reset),
        Fault::after(Manner::Half),
        Fault::after(Manner::Says(Reply::new(201, serde_json::json!("no document")))),
    ];
    at_once(faults, |fault| {
        let job = one_comment_in_spite_of(fault.clone(), 1);
        let posts = job.forge.server.seen_of("POST", COMMENTS).len();
        assert_eq!(posts, 1, "{fault:?}: the comment was there\n{}", job.talk());
    });
}

#[test]
fn a_comment_whose_answer_never_comes_is_looked_for_before_it_is_written_again() {
    at_once([Fault::after(Manner::Mute), Fault::instead(Manner::Mute)], |fault| {
        let job = Job::new();
        job.forge.server.on("POST", COMMENTS, 1, fault);
        check(&job, &[]);
        assert!(job.forge.comments_of(ACTIONS_BOT).len() <= 1, "{}", job.talk());
        // The next run has a healthy forge, and mends what was left.
        check(&job, &["--fresh"]);
        assert!(heading(&job.one_comment().body).contains("passed"));
    });
}

#[test]
fn a_late_answer_is_waited_for() {
    let job = one_comment_in_spite_of(Fault::instead(Manner::Late(Duration::from_secs(3))), 1);
    assert_eq!(job.forge.server.seen_of("POST", COMMENTS).len(), 1, "{}", job.talk());
}

#[test]
fn an_update_that_was_lost_is_made_again() {
    let manners = [Manner::Says(Reply::error(502, "Bad Gateway")), Manner::Reset, Manner::Half];
    let faults = manners.into_iter().flat_map(|manner| [Fault::after(manner.clone()), Fault::instead(manner)]);
    at_once(faults, |fault| {
        let job = Job::new();
        job.forge.comment(7, ACTIONS_BOT, &format!("{MARKER}\nof an earlier run"));
        job.forge.server.on("PATCH", "/issues/comments/", 1, fault);
        check(&job, &[]);
        assert!(heading(&job.one_comment().body).contains("passed"), "{}", job.talk());
        assert_eq!(job.forge.server.seen_of("POST", COMMENTS).len(), 0, "{}", job.talk());
    });
}

#[test]
fn a_comment_that_was_deleted_meanwhile_is_written_anew() {
    let job = Job::new();
    let (agent, go) = waits(&job);
    let started = Instant::now();
    let child = job.start(&agent, &[]);
    wait_until("the first comment", FIRST, || !job.forge.comments_of(ACTIONS_BOT).is_empty());
    job.forge.state().comments.clear();
    fs::write(go, "").unwrap();
    ended(child, started).exits(0);
    assert!(heading(&job.one_comment().body).contains("passed"), "{}", job.talk());
}

#[test]
fn a_token_that_may_not_ask_who_it_is_still_finds_the_comment_of_actions() {
    for fault in [Fault::error(403, FORK), Fault::error(404, "Not Found"), Fault::error(502, "Bad Gateway")] {
        let job = Job::new();
        let ours = job.forge.comment(7, ACTIONS_BOT, &format!("{MARKER}\nof an earlier run"));
        job.forge.comment(7, STRANGER, &format!("{MARKER}\nI am the report"));
        job.forge.server.on("POST", GRAPHQL, 1, fault.clone());
        check(&job, &[]);
        let comment = job.one_comment();
        assert_eq!(comment.id, ours, "{fault:?}\n{}", job.talk());
        assert!(heading(&comment.body).contains("passed"), "{fault:?}\n{}", job.talk());
    }
}

#[test]
fn nothing_is_written_where_it_cannot_be_known_what_is_there() {
    let job = Job::new();
    for n in 0..150 {
        job.forge.comment(7, STRANGER, &format!("remark {n}"));
    }
    let ours = job.forge.comment(7, ACTIONS_BOT, &format!("{MARKER}\nof an earlier run"));
    job.forge.server.on("GET", COMMENTS, ALWAYS, Fault::error(500, "Server Error"));
    let run = check(&job, &[]);
    assert_eq!(warnings(&run).len(), 1, "{}", run.stderr);
    assert_eq!(job.bodies(), [], "{}", job.talk());
    // One page of two that cannot be had is no reason to believe that ours is not on it.
    job.forge.server.heal();
    let reply = Reply::new(200, serde_json::json!({"message": "not a list"}));
    job.forge.server.on("GET", COMMENTS, 1, Fault::instead(Manner::Half));
    job.forge.server.on("GET", COMMENTS, 1, Fault::instead(Manner::Says(reply)));
    check(&job, &["--fresh"]);
    let comment = job.one_comment();
    assert_eq!(comment.id, ours, "{}", job.talk());
}

#[test]
fn a_forge_that_never_answers_costs_its_deadline_and_no_more() {
    let job = Job::new();
    job.forge.server.on("*", "", ALWAYS, Fault::instead(Manner::Mute));
    let run = check(&job, &[]);
    println!("a forge that never answers: the run took {:?}", run.took);
    assert_eq!(warnings(&run).len(), 1, "{}", run.stderr);
    let mut closed = Job::new();
    // Nothing listens there.
    closed.env.set("GITHUB_API_URL", "http://127.0.0.1:1/api/v3");
    let run = check(&closed, &[]);
    assert_eq!(warnings(&run).len(), 1, "{}", run.stderr);
}

#[test]
fn a_forge_that_never_answers_does_not_hold_a_cancel_up() {
    let job = Job::new();
    job.forge.server.on("*", "", ALWAYS, Fault::instead(Manner::Mute));
    let begun = job.env.path("begun");
    let child = job.start(&format!("touch {}; sleep 60", begun.display()), &[]);
    wait_until("the agent", Duration::from_secs(30), || begun.exists());
    let cancelled = Instant::now();
    signal(&child, "-INT");
    let run = ended(child, cancelled).exits(130);
    println!("cancelled while a forge never answers: {:?}", run.took);
    assert!(run.took < Duration::from_secs(3) + SLACK, "{:?}", run.took);
    job.env.check_run(&run);
}

#[test]
fn a_redirect_to_another_host_gets_no_token_and_changes_nothing() {
    at_once([301, 302, 307, 308], |status| {
        let elsewhere = Server::start_on("127.0.0.2", |_| Reply::new(200, serde_json::json!([])));
        let job = Job::new();
        let to = Reply::error(status, "Moved").header("location", &format!("{}{BASE}/x", elsewhere.url));
        job.forge.server.on("GET", COMMENTS, ALWAYS, Fault::instead(Manner::Says(to.clone())));
        job.forge.server.on("POST", COMMENTS, ALWAYS, Fault::instead(Manner::Says(to)));
        check(&job, &[]);
        for request in elsewhere.seen() {
            let told = request.headers.iter().any(|(_, value)| value.contains(ACTIONS));
            assert!(!told, "{status}: the token went to another host: {request:?}");
            assert!(!request.is_write(), "{status}: another host was written to: {request:?}");
        }
        assert_eq!(job.forge.comments_of(ACTIONS_BOT), []);
    });
}

#[test]
fn the_link_to_the_next_page_cannot_name_another_host() {
    let elsewhere = Server::start_on("127.0.0.2", |_| Reply::new(200, serde_json::json!([])));
    let job = Job::new();
    let link = format!("<{}{BASE}/repos/octo/project{COMMENTS}?page=2>; rel=\"next\"", elsewhere.url);
    let list = Reply::new(200, serde_json::json!([])).header("link", &link);
    job.forge.server.on("GET", COMMENTS, ALWAYS, Fault::instead(Manner::Says(list)));
    check(&job, &[]);
    let told = elsewhere.seen().into_iter().any(|request| request.header("authorization").is_some());
    assert!(!told, "the token went to another host");
}

#[test]
fn a_comment_asked_for_by_number_that_cannot_be_made_is_exit_code_8() {
    let faults = [Fault::error(403, FORK), Fault::error(404, "Not Found"), Fault::error(422, "Validation Failed")];
    at_once(faults, |fault| {
        let job = Job::new();
        job.forge.server.on("POST", COMMENTS, ALWAYS, fault);
        job.run(WORKS, &["--comment", "7"]).exits(8);
        // A failure stays a failure.
        job.run("true", &["--fresh", "--comment", "7", "--set", "error_recovery.max_retry_attempts=0"]).exits(1);
    });
    let mut job = Job::new();
    job.env.unset("GITHUB_TOKEN");
    job.run(WORKS, &["--comment", "7"]).exits(8).says("token");
    let elsewhere = Job::new();
    elsewhere.run(WORKS, &["--comment", "8"]).exits(8).says("404");
}

#[test]
fn a_number_that_is_none_is_refused_before_anything_runs() {
    let job = Job::new();
    for value in ["0", "-7", "seven", "7.5", ""] {
        let run = job.run("touch ran", &[&format!("--comment={value}")]);
        assert_eq!(run.code, 2, "--comment {value:?}: {}", run.stderr);
    }
    assert_eq!(job.talk(), "no request");
}
