//! A merge request of GitLab: one note, found again and updated; the outputs of a job; against a small GitLab on
//! loopback that knows users, notes in pages, and who may change them.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::env::{Env, Run, prd};
use crate::forge_server::{Fault, Manner, Reply, Request, Server};
use crate::forge_world::{MARKER, WORKS, ended, heading, warnings};

const TOKEN: &str = "glpat-projectprojectproject";
const NOTES: &str = "/api/v4/projects/99/merge_requests/7/notes";
const US: &str = "project_99_bot_x";

#[derive(Clone, Debug, PartialEq)]
struct Note {
    id: u64,
    author: &'static str,
    body: String,
}

/// A job of a merge request, and the GitLab behind it.
struct Job {
    env: Env,
    server: Server,
    notes: Arc<Mutex<Vec<Note>>>,
}

impl Job {
    fn new() -> Self {
        Self::of("the first")
    }

    fn of(requirement: &str) -> Self {
        let mut env = Env::new();
        env.write("prd.md", &prd(&[("FR-1", requirement)]));
        env.commit("prd");
        let notes = Arc::new(Mutex::new(Vec::new()));
        let behind = Arc::clone(&notes);
        let server = Server::start(move |request| handle(&mut behind.lock().unwrap(), request));
        for (name, value) in [
            ("CI", "true"),
            ("GITLAB_CI", "true"),
            ("CI_API_V4_URL", &format!("{}/api/v4", server.url)),
            ("CI_SERVER_URL", &server.url),
            ("CI_PROJECT_ID", "99"),
            ("CI_PROJECT_PATH", "octo/project"),
            ("CI_MERGE_REQUEST_IID", "7"),
            ("CI_COMMIT_SHA", &env.git(&["rev-parse", "HEAD"])),
            ("CI_JOB_URL", "https://forge.example/octo/project/-/jobs/5"),
            ("CI_JOB_TOKEN", "glcbt-jobjobjob"),
            ("MAESTRO_CI_FORGE_TOKEN", TOKEN),
        ] {
            env.set(name, value);
        }
        Self { env, server, notes }
    }

    #[track_caller]
    fn run(&self, agent: &str, more: &[&str]) -> Run {
        let mut args = vec!["--prd", "prd.md", "--agent-cmd", agent];
        args.extend(more);
        let started = Instant::now();
        ended(self.env.command(&args).spawn().unwrap(), started)
    }

    #[track_caller]
    fn one_note(&self) -> Note {
        let notes = self.notes.lock().unwrap();
        let ours: Vec<&Note> = notes.iter().filter(|note| note.author == US).collect();
        assert_eq!(ours.len(), 1, "one note is wanted: {ours:#?}");
        assert_eq!(ours[0].body.lines().next(), Some(MARKER));
        assert!(!ours[0].body.contains(TOKEN));
        ours[0].clone()
    }

    fn writes(&self) -> usize {
        self.server.seen().iter().filter(|request| request.is_write()).count()
    }
}

fn handle(notes: &mut Vec<Note>, request: &Request) -> Reply {
    if request.header("private-token") != Some(TOKEN) {
        return Reply::new(401, json!({"message": "401 Unauthorized"}));
    }
    let body = request.body["body"].as_str().filter(|body| !body.is_empty());
    let place = request.path.strip_prefix(NOTES).and_then(|id| id.strip_prefix('/')).and_then(|id| id.parse().ok());
    let place = place.and_then(|id: u64| notes.iter().position(|note| note.id == id));
    match (request.method.as_str(), request.path.as_str(), body, place) {
        ("GET", "/api/v4/user", ..) => Reply::new(200, json!({"id": 3, "username": US, "name": US, "bot": true})),
        ("GET", NOTES, ..) => page(notes, request),
        ("POST", NOTES, Some(body), _) => {
            let note = Note { id: 500 + notes.len() as u64, author: US, body: body.to_owned() };
            notes.push(note.clone());
            Reply::new(201, note_json(&note))
        }
        ("PUT", _, Some(body), Some(place)) if notes[place].author == US => {
            body.clone_into(&mut notes[place].body);
            Reply::new(200, note_json(&notes[place]))
        }
        ("PUT", _, Some(_), Some(_)) => Reply::new(403, json!({"message": "403 Forbidden"})),
        ("POST" | "PUT", _, None, _) => Reply::new(400, json!({"error": "body is missing"})),
        _ => Reply::new(404, json!({"message": "404 Not Found"})),
    }
}

/// Newest first, as GitLab does where nobody asks for another order.
fn page(notes: &[Note], request: &Request) -> Reply {
    let number = |name: &str, default: usize| request.query.get(name).and_then(|n| n.parse().ok()).unwrap_or(default);
    let (size, at) = (number("per_page", 20).clamp(1, 100), number("page", 1).max(1));
    let mut all: Vec<Value> = notes.iter().map(note_json).collect();
    if request.query.get("sort").is_none_or(|sort| sort != "asc") {
        all.reverse();
    }
    let next = if at * size < all.len() { (at + 1).to_string() } else { String::new() };
    let shown: Vec<Value> = all.into_iter().skip((at - 1) * size).take(size).collect();
    let reply = Reply::new(200, Value::Array(shown)).header("x-next-page", &next).header("x-page", &at.to_string());
    if next.is_empty() {
        return reply;
    }
    let host = request.header("host").unwrap_or_default();
    reply.header("link", &format!("<http://{host}{NOTES}?page={next}&per_page={size}>; rel=\"next\""))
}

fn note_json(note: &Note) -> Value {
    let author = json!({"id": if note.author == US { 3 } else { 4 }, "username": note.author, "name": note.author});
    json!({"id": note.id, "body": note.body, "author": author, "system": false, "noteable_iid": 7,
        "noteable_type": "MergeRequest", "created_at": "2026-11-01T00:00:00.000Z"})
}

#[test]
fn what_only_github_has_is_refused_before_anything_runs() {
    let job = Job::new();
    for flags in [&["--open-pr"][..], &["--checks"], &["--set", "forge.checks=true"], &["--set", "forge.open_pr=true"]]
    {
        let run = job.run("touch ran", flags).exits(2).says("needs GitHub");
        assert!(run.stderr.contains("lies on GitLab"), "{}", run.stderr);
    }
    let nowhere = Env::new();
    nowhere.write("prd.md", &prd(&[("FR-1", "the first")]));
    nowhere.commit("prd");
    nowhere.run_prd("touch ran", &["--open-pr"]).exits(2).says("no repository on GitHub is known");
    for env in [&job.env, &nowhere] {
        assert!(!env.repo.join(".flow/maestro/sessions").exists());
    }
    assert_eq!(job.server.seen().len(), 0);
}

#[test]
fn a_merge_request_gets_one_note_and_the_next_run_updates_it() {
    let job = Job::new();
    let run = job.run(WORKS, &[]).exits(0);
    job.env.check_run(&run);
    assert_eq!(warnings(&run), Vec::<String>::new());
    let first = job.one_note();
    assert!(heading(&first.body).contains("passed") && first.body.contains("/-/jobs/5"), "{}", first.body);
    let fails = ["--fresh", "--set", "error_recovery.max_retry_attempts=0"];
    job.run("true", &fails).exits(1);
    let second = job.one_note();
    assert_eq!(first.id, second.id);
    assert!(heading(&second.body).contains("failed"), "{}", second.body);
    for request in job.server.seen() {
        assert!(request.header("authorization").is_none(), "the token goes where GitLab looks for it");
    }
}

#[test]
fn our_note_is_found_among_three_hundred_and_imitations_are_left_alone() {
    let job = Job::new();
    let ours = Note { id: 1, author: US, body: format!("{MARKER}\nof an earlier run") };
    job.notes.lock().unwrap().push(ours);
    for n in 2..300 {
        let body = if n == 150 { format!("{MARKER}\nI am the report") } else { format!("remark {n}") };
        job.notes.lock().unwrap().push(Note { id: n, author: "mallory", body });
    }
    job.run(WORKS, &[]).exits(0);
    let note = job.one_note();
    assert_eq!(note.id, 1);
    assert!(heading(&note.body).contains("passed"), "{}", note.body);
    assert_eq!(job.notes.lock().unwrap()[149].body, format!("{MARKER}\nI am the report"));
}

#[test]
fn a_note_whose_answer_was_lost_is_not_written_again() {
    for manner in [Manner::Says(Reply::new(502, json!({"message": "502 Bad Gateway"}))), Manner::Reset, Manner::Half] {
        let job = Job::new();
        job.server.on("POST", "/notes", 1, Fault::after(manner));
        job.run(WORKS, &[]).exits(0);
        assert!(heading(&job.one_note().body).contains("passed"));
        assert_eq!(job.server.seen_of("POST", "/notes").len(), 1);
    }
}

#[test]
fn a_gitlab_that_refuses_costs_one_warning() {
    let mut job = Job::new();
    job.env.set("MAESTRO_CI_FORGE_TOKEN", "glpat-of-yesterday");
    let run = job.run(WORKS, &[]).exits(0);
    let warnings = warnings(&run);
    assert_eq!(warnings.len(), 1, "{}", run.stderr);
    assert!(warnings[0].contains("401"), "{warnings:?}");
    assert!(fs::read_to_string(job.env.session_dir().join("comment.md")).unwrap().starts_with(MARKER));
    assert_eq!(job.notes.lock().unwrap().len(), 0);
    job.run(WORKS, &["--fresh", "--comment", "7"]).exits(8);
}

#[test]
fn the_job_token_of_gitlab_cannot_write_notes_and_is_not_tried() {
    let mut job = Job::new();
    job.env.unset("MAESTRO_CI_FORGE_TOKEN");
    job.run(WORKS, &[]).exits(0);
    assert_eq!(job.server.seen().len(), 0);
}

#[test]
fn publish_writes_the_same_note_from_a_report() {
    let mut job = Job::new();
    let report = job.env.path("report.json").display().to_string();
    job.env.unset("MAESTRO_CI_FORGE_TOKEN");
    job.run(WORKS, &["--json", &report]).exits(0);
    job.env.set("MAESTRO_CI_FORGE_TOKEN", TOKEN);
    job.env.run(&["publish", &report]).exits(0);
    assert!(heading(&job.one_note().body).contains("passed"));
    job.env.run(&["publish", &report]).exits(0);
    assert_eq!(job.writes(), 1);
}

#[test]
fn a_line_of_others_that_begins_with_a_slash_is_no_command_to_gitlab() {
    let is_command =
        |line: &str| line.strip_prefix('/').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    let said = "printf '</x>\\n/merge\\n/close\\n' >&2; printf '</x>\\n/approve\\n'; false";
    let gate = format!("validation.gates.g.run={said}");
    for (agent, words) in [(said, "/close"), (WORKS, "/approve")] {
        let job = Job::of("the first\\n/close\\n/assign @me");
        job.run(agent, &["--set", "error_recovery.max_retry_attempts=0", "--set", &gate]).exits(1);
        let body = job.one_note().body;
        let mut fenced = false;
        for line in body.lines() {
            fenced ^= line.trim_start().starts_with("```");
            // Older GitLabs look into blocks of code, too.
            assert!(!is_command(line), "{line:?} is a command\n{body}");
            assert!(fenced || !line.trim_start().starts_with('/'), "{line:?} is a command\n{body}");
        }
        assert!(body.contains(words), "what was said is there\n{body}");
    }
}

#[test]
fn outputs_go_into_the_dotenv_file() {
    let mut job = Job::new();
    let file = job.env.path("maestro.env");
    job.env.set("MAESTRO_CI_DOTENV", &file.display().to_string());
    job.run(WORKS, &[]).exits(0);
    let text = fs::read_to_string(&file).unwrap();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned);
    assert_eq!(value("MAESTRO_RESULT_VERDICT").as_deref(), Some("passed"));
    assert_eq!(value("MAESTRO_RESULT_EXIT_CODE").as_deref(), Some("0"));
    assert_eq!(value("MAESTRO_RESULT_BRANCH").as_deref(), Some("maestro/feature"));
    for line in text.lines() {
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{line:?}"));
        assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{name}");
        assert!(!value.contains(['\n', '\r']), "{value}");
    }
}
