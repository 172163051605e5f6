//! The one comment on a pull request: where it goes, whose it is, what it tells while a run goes on, and that there is
//! never a second one. All through the built binary against a forge on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::env::{SLACK, prd, wait_until};
use crate::forge_app::app_keys;
use crate::forge_github::{ACTIONS, ACTIONS_BOT, Author, BASE, GRAPHQL, PERSON, REPO, STRANGER};
use crate::forge_server::{Reply, Server};
use crate::forge_world::{Job, MARKER, WORKS, ended, heading, signal, warnings};

/// The least time between two updates while a run goes on.
const BETWEEN: Duration = Duration::from_secs(30);

/// The values that a step left for others, heredocs included.
fn outputs(text: &str) -> BTreeMap<String, String> {
    let mut lines = text.lines();
    let mut found = BTreeMap::new();
    while let Some(line) = lines.next() {
        if let Some((name, end)) = line.split_once("<<") {
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
            found.insert(name.to_owned(), value.join("\n"));
        } else {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("no output: {line:?}"));
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

#[test]
fn a_run_of_a_pull_request_leaves_one_comment_outputs_and_a_summary() {
    let job = Job::new();
    let run = job.run(WORKS, &["--comment", "auto"]).exits(0);
    job.env.check_run(&run);
    let comment = job.one_comment();
    let report = job.env.report();
    let session = report["session"].as_str().unwrap();
    assert!(heading(&comment.body).contains("passed"), "{}", comment.body);
    assert!(comment.body.contains("https://forge.example/octo/project/actions/runs/123"), "{}", comment.body);
    assert_eq!(
        fs::read_to_string(job.env.session_dir().join("comment.md")).unwrap().trim_end(),
        comment.body.trim_end()
    );
    let outputs = outputs(&job.text("output"));
    assert_eq!(outputs["verdict"], "passed");
    assert_eq!(outputs["exit_code"], "0");
    assert_eq!(outputs["session"], session);
    assert_eq!(outputs["branch"], "maestro/feature");
    for format in ["json", "junit", "markdown", "html", "sarif"] {
        assert!(Path::new(&outputs[format]).is_file(), "{format}: {:?}", outputs[format]);
    }
    let summary = job.text("summary");
    assert!(summary.contains("passed") && summary.contains("FR-1"), "{summary}");
    assert!(!summary.contains("<!-- maestro-ci:report"), "{summary}");
    for request in job.forge.server.seen() {
        let is_api = request.path.starts_with(BASE) || request.path == GRAPHQL;
        assert!(is_api, "{}", request.path);
        assert_eq!(request.header("authorization").map(|value| value.split_once(' ').unwrap().1), Some(ACTIONS));
    }
    assert_eq!(warnings(&run), Vec::<String>::new());
}

#[test]
fn a_failed_run_says_so_in_the_comment_and_keeps_its_exit_code() {
    let job = Job::new();
    job.run("true", &["--set", "error_recovery.max_retry_attempts=0"]).exits(1);
    let comment = job.one_comment();
    assert!(heading(&comment.body).contains("failed") && comment.body.contains("FR-1"), "{}", comment.body);
    assert_eq!(outputs(&job.text("output"))["verdict"], "failed");
}

#[test]
fn a_short_run_tells_its_start_and_its_end_and_nothing_between() {
    let requirements: Vec<(String, String)> = (1..=8).map(|n| (format!("FR-{n}"), format!("part {n}"))).collect();
    let requirements: Vec<(&str, &str)> = requirements.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    let job = Job::of(&requirements);
    job.run("sleep 0.5; echo done > \"$MAESTRO_TASK.txt\"", &["-j1"]).exits(0);
    let bodies = job.bodies();
    assert_eq!(bodies.len(), 2, "one comment, one end of it: {}", job.talk());
    let begun = heading(&bodies[0].0);
    assert!(begun.contains("planned") || begun.contains("running"), "the first one cannot know the end: {begun}");
    assert!(heading(&bodies[1].0).contains("passed") && bodies[1].0.contains("8 of 8 tasks"), "{}", bodies[1].0);
    assert_eq!(job.one_comment().body, bodies[1].0);
}

#[test]
fn a_long_run_is_told_at_most_every_thirty_seconds() {
    let job = Job::of(&[("FR-1", "the first"), ("FR-2", "the second, after FR-1")]);
    let begun = job.env.path("begun");
    let agent = format!("echo done > \"$MAESTRO_TASK.txt\"; [ -e {0} ] || {{ touch {0}; sleep 33; }}", begun.display());
    let run = job.run(&agent, &["-j1"]).exits(0);
    assert!(run.took > BETWEEN);
    let writes: Vec<_> =
        job.forge.server.seen_of("*", "/comments").into_iter().filter(super::forge_server::Request::is_write).collect();
    assert_eq!(writes.len(), 3, "start, one update, end: {}", job.talk());
    let gap = writes[1].at - writes[0].at;
    assert!(gap >= BETWEEN, "{gap:?}");
    let bodies = job.bodies();
    assert!(heading(&bodies[1].0).contains("running") && !heading(&bodies[1].0).contains("passed"), "{}", bodies[1].0);
    assert!(heading(&job.one_comment().body).contains("passed"));
}

#[test]
fn where_there_is_no_pull_request_it_is_searched_for_at_the_start_and_at_the_end() {
    let mut job = Job::of(&[("FR-1", "the first"), ("FR-2", "the second, after FR-1")]);
    job.push_event();
    job.forge.state().pulls.clear();
    let begun = job.env.path("begun");
    let agent = format!("echo done > \"$MAESTRO_TASK.txt\"; [ -e {0} ] || {{ touch {0}; sleep 33; }}", begun.display());
    let run = job.run(&agent, &["-j1"]).exits(0);
    assert!(run.took > BETWEEN);
    assert_eq!(job.forge.server.seen_of("GET", "/pulls").len(), 4, "by commit and by branch, twice: {}", job.talk());
}

#[test]
fn the_next_run_and_the_next_process_find_the_comment_again() {
    let job = Job::new();
    job.run(WORKS, &[]).exits(0);
    let first = job.one_comment();
    job.run("true", &["--fresh", "--set", "error_recovery.max_retry_attempts=0"]).exits(1);
    let second = job.one_comment();
    assert_eq!(first.id, second.id);
    assert!(heading(&second.body).contains("failed"), "{}", second.body);
    assert_eq!(job.forge.server.seen_of("POST", "/comments").len(), 1, "{}", job.talk());
}

#[test]
fn a_cancelled_run_says_so_in_the_comment_and_its_resume_mends_it() {
    let job = Job::new();
    let begun = job.env.path("begun");
    let agent = format!("echo done > done; [ -e {0} ] || {{ touch {0}; sleep 60; }}", begun.display());
    let child = job.start(&agent, &[]);
    wait_until("the agent", Duration::from_secs(30), || begun.exists());
    wait_until("the first comment", Duration::from_secs(10), || !job.bodies().is_empty());
    let cancelled = Instant::now();
    signal(&child, "-INT");
    let run = ended(child, cancelled).exits(130);
    assert!(run.took < Duration::from_secs(3) + SLACK, "{:?}", run.took);
    let cancelled = job.one_comment();
    assert!(heading(&cancelled.body).contains("interrupted"), "{}", cancelled.body);
    assert_eq!(outputs(&job.text("output"))["exit_code"], "130");
    job.command(&["resume", "--allow-unsandboxed"]).exits(0);
    let resumed = job.one_comment();
    assert_eq!(resumed.id, cancelled.id);
    assert!(heading(&resumed.body).contains("passed"), "{}", resumed.body);
}

#[test]
fn a_killed_run_leaves_one_comment_and_its_resume_finds_it() {
    let job = Job::new();
    let begun = job.env.path("begun");
    let agent = format!("echo done > done; [ -e {0} ] || {{ touch {0}; sleep 60; }}", begun.display());
    let mut child = job.start(&agent, &[]);
    wait_until("the agent", Duration::from_secs(30), || begun.exists());
    wait_until("the first comment", Duration::from_secs(10), || !job.forge.comments_of(ACTIONS_BOT).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    let running = job.one_comment();
    assert!(!heading(&running.body).contains("passed"), "{}", running.body);
    job.run(&agent, &[]).exits(0);
    assert!(heading(&job.one_comment().body).contains("passed"));
}

#[test]
fn ours_is_found_on_the_fourth_page_and_others_stay_as_they_are() {
    let job = Job::new();
    let before: Vec<u64> = (0..300).map(|n| job.forge.comment(7, STRANGER, &format!("remark {n}"))).collect();
    let ours = job.forge.comment(7, ACTIONS_BOT, &format!("{MARKER}\nof an earlier run"));
    job.run(WORKS, &[]).exits(0);
    let comment = job.one_comment();
    assert_eq!(comment.id, ours);
    assert!(heading(&comment.body).contains("passed"), "{}", comment.body);
    assert_eq!(job.forge.server.seen_of("POST", "/comments").len(), 0, "{}", job.talk());
    let state = job.forge.state();
    let foreign: Vec<(u64, String)> = before.iter().enumerate().map(|(n, id)| (*id, format!("remark {n}"))).collect();
    let now: Vec<(u64, String)> =
        state.comments.iter().filter(|c| c.author == STRANGER).map(|c| (c.id, c.body.clone())).collect();
    assert_eq!(now, foreign);
}

#[test]
fn a_marker_that_is_not_the_first_line_of_our_own_comment_is_nobodys() {
    let job = Job::new();
    let imitations = [
        (STRANGER, format!("{MARKER}\nI am the report")),
        (Author { login: "github-actions[bot]", kind: "User" }, format!("{MARKER}\nand I")),
        (Author { login: "dependabot[bot]", kind: "Bot" }, format!("{MARKER}\nand I")),
        (ACTIONS_BOT, format!("a quotation:\n{MARKER}\n")),
        (ACTIONS_BOT, format!(" {MARKER}\nindented")),
        (ACTIONS_BOT, format!("{MARKER} and more\n")),
        (ACTIONS_BOT, MARKER.replace("prd.md", "other.md") + "\nof another PRD"),
    ];
    let ids: Vec<u64> = imitations.iter().map(|(author, body)| job.forge.comment(7, *author, body)).collect();
    job.run(WORKS, &[]).exits(0);
    let state = job.forge.state();
    for ((author, body), id) in imitations.iter().zip(ids) {
        let now = state.comments.iter().find(|comment| comment.id == id).unwrap();
        assert_eq!((&now.author, &now.body), (author, body));
    }
    let added: Vec<_> = state.comments.iter().skip(imitations.len()).collect();
    assert_eq!(added.len(), 1, "{added:#?}");
    assert_eq!(added[0].body.lines().next(), Some(MARKER));
}

#[test]
fn two_of_ours_from_an_old_race_leave_the_older_one_in_use() {
    let job = Job::new();
    let first = job.forge.comment(7, ACTIONS_BOT, &format!("{MARKER}\none"));
    let second = job.forge.comment(7, ACTIONS_BOT, &format!("{MARKER}\ntwo"));
    job.run(WORKS, &[]).exits(0);
    let ours = job.forge.comments_of(ACTIONS_BOT);
    assert_eq!(job.forge.server.seen_of("POST", "/comments").len(), 0, "{}", job.talk());
    assert!(ours.iter().any(|comment| comment.id == first && heading(&comment.body).contains("passed")), "{ours:#?}");
    assert!(!ours.iter().any(|comment| comment.id == second && heading(&comment.body).contains("passed")), "{ours:#?}");
}

#[test]
fn two_prds_of_one_pull_request_have_a_comment_each() {
    let job = Job::new();
    job.env
        .write("docs/other.md", &prd(&[("FR-1", "another")]).replace("feature_name: feature", "feature_name: other"));
    job.env.commit("other");
    job.run(WORKS, &[]).exits(0);
    job.command(&["--prd", "docs/other.md", "--agent-cmd", WORKS]).exits(0);
    let ours = job.forge.comments_of(ACTIONS_BOT);
    let firsts: Vec<&str> = ours.iter().filter_map(|comment| comment.body.lines().next()).collect();
    assert_eq!(firsts, [MARKER, "<!-- maestro-ci:report v1 prd=docs/other.md -->"]);
}

#[test]
fn a_push_finds_its_pull_request_by_the_commit() {
    let mut job = Job::new();
    job.push_event();
    job.run(WORKS, &[]).exits(0);
    assert!(heading(&job.one_comment().body).contains("passed"));
    let head = job.env.git(&["rev-parse", "HEAD"]);
    let asked = job.forge.server.seen_of("GET", &format!("/repos/{REPO}/commits/{head}/pulls"));
    assert!(!asked.is_empty(), "{}", job.talk());
}

#[test]
fn a_push_without_a_pull_request_comments_nowhere_and_is_no_problem() {
    let mut job = Job::new();
    job.push_event();
    job.forge.state().pulls.clear();
    let run = job.run(WORKS, &[]).exits(0);
    assert_eq!(job.bodies(), []);
    assert_eq!(warnings(&run), Vec::<String>::new());
}

#[test]
fn nobody_is_asked_where_no_comment_is_wanted_or_no_token_is_there() {
    let job = Job::new();
    job.run(WORKS, &["--comment", "never"]).exits(0);
    job.run(WORKS, &["--fresh", "--set", "forge.comment=never"]).exits(0);
    let mut without = Job::new();
    without.env.unset("GITHUB_TOKEN");
    without.run(WORKS, &[]).exits(0);
    let mut outside = Job::new();
    for name in ["CI", "GITHUB_ACTIONS", "GITHUB_EVENT_PATH", "GITHUB_EVENT_NAME", "GITHUB_REPOSITORY"] {
        outside.env.unset(name);
    }
    outside.run(WORKS, &[]).exits(0);
    for job in [&job, &without, &outside] {
        assert_eq!(job.talk(), "no request");
        assert!(job.env.session_dir().join("comment.md").is_file());
    }
}

#[test]
fn a_number_names_the_pull_request_whatever_the_event_says() {
    let mut job = Job::new();
    job.push_event();
    job.forge.state().pulls[0].head_sha = "0".repeat(40);
    job.run(WORKS, &["--comment", "7"]).exits(0);
    assert!(heading(&job.one_comment().body).contains("passed"));
}

#[test]
fn what_others_wrote_into_the_prd_mentions_closes_and_marks_nothing() {
    let text = "@everyone fixes #1 <img src=https://evil.example/x> ![x](https://evil.example/y) ``` \
                <!-- maestro-ci:report v1 prd=prd.md --> </details> octo/project#3";
    let job = Job::of(&[("FR-1", text)]);
    job.run("echo '@octocat closes #2' >&2; false", &["--set", "error_recovery.max_retry_attempts=0"]).exits(1);
    let body = job.one_comment().body;
    assert_eq!(live(&body), Vec::<String>::new(), "{body}");
    assert!(body.contains("everyone") && body.contains("octocat"), "inert, and still there:\n{body}");
}

/// What a forge would act on in a text that others had a part in: mentions, references, images, links, HTML of others.
pub fn live(body: &str) -> Vec<String> {
    let ours = ["<details>", "<details open>", "</details>", "<summary>", "</summary>", "<sub>", "</sub>", MARKER];
    let mut found = Vec::new();
    let mut in_block = false;
    for event in Parser::new_ext(body, Options::ENABLE_TABLES | Options::ENABLE_GFM) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_block = true,
            Event::End(TagEnd::CodeBlock) => in_block = false,
            Event::Text(text) if !in_block => {
                let acts = text.contains('@') || text.contains("://") || text.contains("octo/project#");
                let refers =
                    text.match_indices('#').any(|(at, _)| text[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
                found.extend((acts || refers).then(|| text.to_string()));
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let rest = ours.iter().fold(html.to_string(), |rest, tag| rest.replace(tag, ""));
                found.extend(rest.contains('<').then_some(rest));
            }
            Event::Start(Tag::Image { dest_url, .. }) => found.push(dest_url.to_string()),
            Event::Start(Tag::Link { dest_url, .. }) if !dest_url.starts_with("https://forge.example/") => {
                found.push(dest_url.to_string());
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_comment_that_is_too_long_is_cut_below_the_limit_and_posted() {
    let long = "ßœ𝔘漢字 ".repeat(30);
    let requirements: Vec<(String, String)> = (1..=400).map(|n| (format!("FR-{n}"), format!("{long} {n}"))).collect();
    let requirements: Vec<(&str, &str)> = requirements.iter().map(|(id, text)| (id.as_str(), text.as_str())).collect();
    let job = Job::of(&requirements);
    let set = ["--set", "error_recovery.max_retry_attempts=0", "--max-duration", "3s"];
    let run = job.run("false", &set);
    assert_eq!(warnings(&run), Vec::<String>::new());
    let body = job.one_comment().body;
    // Some count units of UTF-16, and some bytes would be a third of it.
    assert!(body.encode_utf16().count() <= 65_536 && body.chars().count() > 5_000, "{}", body.chars().count());
    assert_eq!(body.matches("<details").count(), body.matches("</details>").count());
    assert_eq!(body.lines().filter(|line| line.starts_with("```")).count() % 2, 0);
}

#[test]
fn a_persons_token_finds_the_comments_of_that_person() {
    let alice = Author { login: "alice", kind: "User" };
    let mut job = Job::new();
    job.env.set("GITHUB_TOKEN", PERSON);
    job.forge.comment(7, ACTIONS_BOT, &format!("{MARKER}\nof Actions"));
    job.run(WORKS, &[]).exits(0);
    job.run(WORKS, &["--fresh"]).exits(0);
    assert!(heading(&job.one_comment_of(alice).body).contains("passed"));
    assert_eq!(job.one_comment().body, format!("{MARKER}\nof Actions"));
}

#[test]
fn our_own_variable_for_the_token_goes_before_the_runners() {
    let mut job = Job::new();
    job.env.set("MAESTRO_CI_FORGE_TOKEN", PERSON);
    job.run(WORKS, &[]).exits(0);
    job.one_comment_of(Author { login: "alice", kind: "User" });
    assert_eq!(job.forge.comments_of(ACTIONS_BOT), []);
}

#[test]
fn an_app_signs_gets_its_own_token_and_comments_as_itself() {
    let bot = Author { login: "maestro[bot]", kind: "Bot" };
    let mut job = Job::new();
    let (private, public) = app_keys(&job.env.path("home"));
    job.forge.state().app_key = Some(public);
    job.env.unset("GITHUB_TOKEN");
    job.env.set("MAESTRO_CI_APP_ID", "4711");
    job.env.set("MAESTRO_CI_APP_KEY", &private.display().to_string());
    job.run(WORKS, &[]).exits(0);
    let first = job.one_comment_of(bot);
    // The key itself, as a secret of a workflow has it.
    job.env.set("MAESTRO_CI_APP_KEY", &fs::read_to_string(&private).unwrap());
    job.run("true", &["--fresh", "--set", "error_recovery.max_retry_attempts=0"]).exits(1);
    let second = job.one_comment_of(bot);
    assert_eq!(first.id, second.id);
    assert!(heading(&second.body).contains("failed"), "{}", second.body);
    for request in job.forge.server.seen_of("*", "/comments") {
        let token = request.header("authorization").unwrap();
        assert!(!token.contains("eyJ"), "the app's own token goes to the app's own addresses only: {}", request.path);
    }
}

#[test]
fn neither_the_agent_nor_a_file_of_the_session_sees_the_token() {
    let mut job = Job::new();
    let (private, public) = app_keys(&job.env.path("home"));
    job.forge.state().app_key = Some(public);
    job.env.set("MAESTRO_CI_APP_ID", "4711");
    job.env.set("MAESTRO_CI_APP_KEY", &fs::read_to_string(&private).unwrap());
    job.env.set("MAESTRO_CI_FORGE_TOKEN", PERSON);
    let gate = "validation.gates.g.run=env; env >&2; false";
    job.run("env; env >&2; env > \"$MAESTRO_TASK.txt\"", &["--set", gate]).exits(1);
    // Of several ways to be somebody, the app is the first.
    job.one_comment_of(Author { login: "maestro[bot]", kind: "Bot" });
    let key = fs::read_to_string(&private).unwrap();
    let secrets = [ACTIONS, PERSON, key.lines().nth(1).unwrap()];
    let mut left = vec![job.env.repo.clone(), job.env.path("runner")];
    let mut files = 0;
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        files += 1;
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{} holds a secret", path.display());
    }
    assert!(files > 20, "{files} files were looked at");
    let changed = job.env.git(&["log", "--all", "-p", "--format=%B"]);
    assert!(!secrets.iter().any(|secret| changed.contains(secret)), "a commit holds a secret");
}

#[test]
fn a_proxy_is_used_and_an_exception_from_it_kept() {
    let mut job = Job::new();
    let behind = job.forge.clone();
    // It passes on what it gets, and its own books show what went through it.
    let proxy = Server::start(move |request| forward(&behind.server.url, request));
    job.env.set("GITHUB_API_URL", &format!("http://forge.invalid{BASE}"));
    job.env.set("http_proxy", &proxy.url);
    job.env.set("HTTP_PROXY", &proxy.url);
    job.run(WORKS, &[]).exits(0);
    job.one_comment();
    let through = proxy.seen();
    assert!(!through.is_empty() && through.iter().all(|r| r.origin.as_deref() == Some("http://forge.invalid")));
    let direct = job.forge.api();
    job.env.set("GITHUB_API_URL", &direct);
    job.env.set("no_proxy", "127.0.0.1");
    job.env.set("NO_PROXY", "127.0.0.1");
    job.run(WORKS, &["--fresh"]).exits(0);
    assert_eq!(proxy.seen().len(), through.len(), "127.0.0.1 needs no proxy");
    job.one_comment();
}

/// The same request to a server behind.
fn forward(url: &str, request: &crate::forge_server::Request) -> Reply {
    use std::io::{Read, Write};
    let host = url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let query: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let target = if query.is_empty() { request.path.clone() } else { format!("{}?{}", request.path, query.join("&")) };
    let body = if request.body.is_null() { String::new() } else { request.body.to_string() };
    let kept = ["authorization", "user-agent", "accept"];
    let headers = request.headers.iter().filter(|(name, _)| kept.contains(&name.as_str()));
    let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "{} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n{headers}\r\n{body}",
        request.method
    );
    stream.write_all(text.as_bytes()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(char::from(byte[0]));
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply::new(status, serde_json::from_slice(&body).unwrap_or_default())
}
