//! GitHub as state behind a server: one repository with pull requests, comments, checks and installations, under the
//! base path of an Enterprise server. Its rules are those of the real one where our client could break them: who may do
//! what, pages of at most 100 with their links, limits of sizes, who the author of a comment is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::forge_app::of_the_app;
use crate::forge_server::{Reply, Request, Server};

/// The path that an Enterprise server has in front of its API.
pub const BASE: &str = "/api/v3";
/// Where an Enterprise server has its other API.
pub const GRAPHQL: &str = "/api/graphql";
/// The repository.
pub const REPO: &str = "octo/project";
/// The token of a workflow run: `GET /user` is closed to it.
pub const ACTIONS: &str = "ghs_actionsactionsactionsactionsactions00";
/// A person's token: it may ask, and may not make checks.
pub const PERSON: &str = "ghp_personpersonpersonpersonpersonperson0";
/// The token that an installation of the app gets.
pub const INSTALLED: &str = "ghs_installedinstalledinstalledinstalled0";
/// Who somebody else is.
pub const STRANGER: Author = Author { login: "mallory", kind: "User" };
/// Who writes with [`ACTIONS`].
pub const ACTIONS_BOT: Author = Author { login: "github-actions[bot]", kind: "Bot" };

/// Who wrote something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author {
    pub login: &'static str,
    pub kind: &'static str,
}

impl Author {
    fn of_token(token: &str) -> Option<Self> {
        match token {
            ACTIONS => Some(ACTIONS_BOT),
            PERSON => Some(Self { login: "alice", kind: "User" }),
            INSTALLED => Some(Self { login: "maestro[bot]", kind: "Bot" }),
            _ => None,
        }
    }

    /// The document that stands wherever somebody is named.
    pub fn json(self) -> Value {
        let url = |more: &str| format!("https://forge.example/users/{}{more}", self.login);
        let id = self.login.bytes().fold(7_u64, |id, byte| id * 31 % 1_000_003 + u64::from(byte));
        json!({"login": self.login, "type": self.kind, "id": id, "node_id": "U", "site_admin": false,
            "avatar_url": url(""), "gravatar_id": "", "url": url(""), "html_url": url(""),
            "followers_url": url("/followers"), "following_url": url("/following"), "gists_url": url("/gists"),
            "starred_url": url("/starred"), "subscriptions_url": url("/subscriptions"),
            "organizations_url": url("/orgs"), "repos_url": url("/repos"), "events_url": url("/events"),
            "received_events_url": url("/received_events")})
    }
}

/// A comment as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    pub id: u64,
    pub issue: u64,
    pub author: Author,
    pub body: String,
}

/// A pull request.
#[derive(Clone, Debug)]
pub struct Pull {
    pub number: u64,
    pub title: String,
    pub body: String,
    /// Who has the repository with the branch.
    pub owner: String,
    /// Branch.
    pub head: String,
    pub head_sha: String,
    pub base: String,
    pub open: bool,
}

/// A check run, with all annotations that came in however many requests.
#[derive(Clone, Debug)]
pub struct Check {
    pub id: u64,
    pub head_sha: String,
    pub document: Value,
    pub annotations: Vec<Value>,
}

/// All there is.
#[derive(Debug, Default)]
pub struct State {
    pub comments: Vec<Comment>,
    pub pulls: Vec<Pull>,
    pub checks: Vec<Check>,
    /// The repository behind the pull requests: a branch that it lacks cannot be a head.
    pub remote: Option<PathBuf>,
    /// The public key of the app.
    pub app_key: Option<PathBuf>,
    last_id: u64,
}

impl State {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        1_000 + self.last_id
    }
}

/// The forge.
#[derive(Clone)]
pub struct GitHub {
    pub server: Server,
    state: Arc<Mutex<State>>,
}

impl GitHub {
    /// One with pull request 7, whose head is branch `topic` at this commit.
    pub fn new(head_sha: &str) -> Self {
        let pull = Pull {
            number: 7,
            title: "topic".to_owned(),
            body: String::new(),
            owner: "octo".to_owned(),
            head: "topic".to_owned(),
            head_sha: head_sha.to_owned(),
            base: "main".to_owned(),
            open: true,
        };
        let state = Arc::new(Mutex::new(State { pulls: vec![pull], ..State::default() }));
        let behind = Arc::clone(&state);
        let server = Server::start(move |request| handle(&mut behind.lock().unwrap(), request));
        Self { server, state }
    }

    /// Where its API is.
    pub fn api(&self) -> String {
        format!("{}{BASE}", self.server.url)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts a comment there.
    pub fn comment(&self, issue: u64, author: Author, body: &str) -> u64 {
        let mut state = self.state();
        let id = state.next_id();
        state.comments.push(Comment { id, issue, author, body: body.to_owned() });
        id
    }

    /// The comments of an author.
    pub fn comments_of(&self, author: Author) -> Vec<Comment> {
        self.state().comments.iter().filter(|comment| comment.author == author).cloned().collect()
    }
}

fn handle(state: &mut State, request: &Request) -> Reply {
    if request.path == GRAPHQL {
        return graphql(request);
    }
    let Some(path) = request.path.strip_prefix(BASE) else { return not_found() };
    if request.header("user-agent").is_none() {
        return Reply::error(
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent",
        );
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let Some(token) = token_of(request) else { return Reply::error(401, "Requires authentication") };
    if let Some(reply) = state.app_key.as_deref().and_then(|key| of_the_app(key, request, &parts, token)) {
        return reply;
    }
    let Some(author) = Author::of_token(token) else { return Reply::error(401, "Bad credentials") };
    match (request.method.as_str(), &parts[..]) {
        ("GET", ["user"]) if token == PERSON => Reply::new(200, author.json()),
        ("GET", ["user"]) => Reply::error(403, "Resource not accessible by integration"),
        (_, ["repos", owner, name, rest @ ..]) if format!("{owner}/{name}") == REPO => {
            repository(state, request, rest, author)
        }
        _ => not_found(),
    }
}

fn token_of(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token")).then_some(token)
}

/// The one question that is asked in this language: who am I? An error of it comes with status 200.
fn graphql(request: &Request) -> Reply {
    let Some(author) = token_of(request).and_then(Author::of_token) else {
        return Reply::error(401, "Bad credentials");
    };
    let query = request.body["query"].as_str().unwrap_or_default();
    if !query.contains("viewer") || !query.contains("login") {
        return Reply::new(200, json!({"errors": [{"message": "this question is not understood"}]}));
    }
    Reply::new(200, json!({"data": {"viewer": {"login": author.login}}}))
}

fn not_found() -> Reply {
    Reply::error(404, "Not Found")
}

fn repository(state: &mut State, request: &Request, rest: &[&str], author: Author) -> Reply {
    let body = &request.body;
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            Reply::new(200, json!({"id": 1, "name": "project", "full_name": REPO, "default_branch": "main"}))
        }
        ("GET", ["issues", number, "comments"]) => match pull(state, number) {
            Some(pull) => {
                let comments = state.comments.iter().filter(|comment| comment.issue == pull.number);
                page(request, comments.map(comment_json).collect())
            }
            None => not_found(),
        },
        ("POST", ["issues", number, "comments"]) => match pull(state, number).map(|pull| pull.number) {
            Some(issue) => write_comment(state, Target::New(issue), author, body),
            None => not_found(),
        },
        ("GET", ["issues", "comments", id]) => match state.comments.iter().find(|c| c.id.to_string() == *id) {
            Some(comment) => Reply::new(200, comment_json(comment)),
            None => not_found(),
        },
        ("PATCH", ["issues", "comments", id]) => {
            match state.comments.iter().position(|comment| comment.id.to_string() == *id) {
                Some(place) => write_comment(state, Target::Old(place), author, body),
                None => not_found(),
            }
        }
        ("GET", ["commits", sha, "pulls"]) => {
            // A fork's commits are none of this repository's.
            let pulls = state.pulls.iter().filter(|pull| pull.head_sha == *sha && pull.owner == "octo");
            page(request, pulls.map(pull_json).collect())
        }
        (_, ["pulls", ..]) => pulls(state, request, &rest[1..]),
        (_, ["check-runs", ..]) | ("GET", ["commits", _, "check-runs"]) => checks(state, request, rest, author),
        _ => not_found(),
    }
}

fn pull<'a>(state: &'a State, number: &str) -> Option<&'a Pull> {
    state.pulls.iter().find(|pull| pull.number.to_string() == number)
}

enum Target {
    New(u64),
    Old(usize),
}

fn write_comment(state: &mut State, target: Target, author: Author, body: &Value) -> Reply {
    let Some(text) = body["body"].as_str().filter(|text| !text.trim().is_empty()) else {
        return invalid("Body cannot be blank");
    };
    if text.chars().count() > 65_536 {
        return invalid("body is too long (maximum is 65536 characters)");
    }
    match target {
        Target::New(issue) => {
            let id = state.next_id();
            let comment = Comment { id, issue, author, body: text.to_owned() };
            let reply = Reply::new(201, comment_json(&comment));
            state.comments.push(comment);
            reply
        }
        Target::Old(place) => {
            text.clone_into(&mut state.comments[place].body);
            Reply::new(200, comment_json(&state.comments[place]))
        }
    }
}

fn invalid(message: &str) -> Reply {
    let mut reply = Reply::error(422, "Validation Failed");
    reply.body["errors"] = json!([{"resource": "X", "code": "custom", "message": message}]);
    reply
}

fn comment_json(comment: &Comment) -> Value {
    let url = format!("https://forge.example/{REPO}/pull/{}#issuecomment-{}", comment.issue, comment.id);
    json!({"id": comment.id, "node_id": "IC", "url": url, "html_url": url, "issue_url": url, "body": comment.body,
        "user": comment.author.json(), "author_association": "CONTRIBUTOR",
        "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z"})
}

fn pull_json(pull: &Pull) -> Value {
    let url = format!("https://forge.example/{REPO}/pull/{}", pull.number);
    let end = |owner: &str, branch: &str, sha: &str| {
        let name = format!("{owner}/project");
        json!({"ref": branch, "sha": sha, "label": format!("{owner}:{branch}"), "repo": {"id": 1, "name": "project",
            "full_name": name, "url": format!("https://forge.example/api/v3/repos/{name}")}})
    };
    json!({"id": pull.number, "number": pull.number, "url": url, "html_url": url, "title": pull.title,
        "body": pull.body, "state": if pull.open { "open" } else { "closed" },
        "head": end(&pull.owner, &pull.head, &pull.head_sha), "base": end("octo", &pull.base, "0")})
}

/// One page of a list, with the links that lead on.
fn page(request: &Request, all: Vec<Value>) -> Reply {
    let number = |name: &str, default: usize| request.query.get(name).and_then(|n| n.parse().ok()).unwrap_or(default);
    let (size, at) = (number("per_page", 30).clamp(1, 100), number("page", 1).max(1));
    let last = all.len().div_ceil(size).max(1);
    let host = request.header("host").unwrap_or_default();
    let link =
        |page: usize, rel: &str| format!("<http://{host}{}?per_page={size}&page={page}>; rel=\"{rel}\"", request.path);
    let mut links = Vec::new();
    if at < last {
        links.extend([link(at + 1, "next"), link(last, "last")]);
    }
    if at > 1 {
        links.extend([link(at - 1, "prev"), link(1, "first")]);
    }
    let shown: Vec<Value> = all.into_iter().skip((at - 1) * size).take(size).collect();
    let reply = Reply::new(200, Value::Array(shown));
    if links.is_empty() { reply } else { reply.header("link", &links.join(", ")) }
}

fn pulls(state: &mut State, request: &Request, rest: &[&str]) -> Reply {
    let text = |key: &str| request.body[key].as_str().map(str::to_owned);
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            let fits = |pull: &&Pull| {
                let of = |key: &str, value: &str| request.query.get(key).is_none_or(|wanted| wanted == value);
                let state = request.query.get("state").map_or("open", String::as_str);
                let is_state = state == "all" || (state == "open") == pull.open;
                is_state && of("head", &format!("{}:{}", pull.owner, pull.head)) && of("base", &pull.base)
            };
            page(request, state.pulls.iter().filter(fits).map(pull_json).collect())
        }
        ("POST", []) => {
            let (Some(title), Some(head), Some(base)) = (text("title"), text("head"), text("base")) else {
                return invalid("title, head and base are needed");
            };
            open_pull(state, title, head.trim_start_matches("octo:"), base, text("body").unwrap_or_default())
        }
        ("GET", [number]) => pull(state, number).map_or_else(not_found, |pull| Reply::new(200, pull_json(pull))),
        ("PATCH", [number]) => match state.pulls.iter_mut().find(|pull| pull.number.to_string() == *number) {
            Some(pull) => {
                pull.title = text("title").unwrap_or_else(|| pull.title.clone());
                pull.body = text("body").unwrap_or_else(|| pull.body.clone());
                Reply::new(200, pull_json(pull))
            }
            None => not_found(),
        },
        _ => not_found(),
    }
}

fn open_pull(state: &mut State, title: String, head: &str, base: String, body: String) -> Reply {
    let Some(head_sha) = state.remote.as_deref().and_then(|remote| branch_at(remote, head)) else {
        return invalid("head is invalid");
    };
    if state.pulls.iter().any(|pull| pull.open && pull.head == head && pull.base == base) {
        return invalid(&format!("A pull request already exists for octo:{head}."));
    }
    let number = state.pulls.iter().map(|pull| pull.number).max().unwrap_or(0) + 1;
    let (owner, head) = ("octo".to_owned(), head.to_owned());
    let pull = Pull { number, title, body, owner, head, head_sha, base, open: true };
    let reply = Reply::new(201, pull_json(&pull));
    state.pulls.push(pull);
    reply
}

/// Where a branch of a bare repository stands.
pub fn branch_at(remote: &Path, branch: &str) -> Option<String> {
    let name = format!("refs/heads/{branch}");
    let output = Command::new("git").arg("-C").arg(remote).args(["rev-parse", "--verify", "-q", &name]).output();
    let output = output.unwrap();
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn checks(state: &mut State, request: &Request, rest: &[&str], author: Author) -> Reply {
    if request.method != "GET" && author.kind != "Bot" {
        return Reply::error(403, "You must authenticate via a GitHub App.");
    }
    let output = &request.body["output"];
    let annotations = output["annotations"].as_array().cloned().unwrap_or_default();
    if annotations.len() > 50 {
        return invalid("annotations exceeds a maximum quantity of 50");
    }
    let too_long = |key: &str, most: usize| output[key].as_str().is_some_and(|text| text.chars().count() > most);
    if too_long("title", 255) || too_long("summary", 65_535) || too_long("text", 65_535) {
        return invalid("output is too long");
    }
    if let Some(why) = annotations.iter().find_map(wrong_annotation) {
        return invalid(&why);
    }
    match (request.method.as_str(), rest) {
        ("POST", ["check-runs"]) => {
            let (Some(head_sha), Some(_)) = (request.body["head_sha"].as_str(), request.body["name"].as_str()) else {
                return invalid("name and head_sha are needed");
            };
            let id = state.next_id();
            let (head_sha, document) = (head_sha.to_owned(), request.body.clone());
            state.checks.push(Check { id, head_sha, document, annotations });
            state.checks.last().map_or_else(not_found, |check| Reply::new(201, check_json(check)))
        }
        ("PATCH", ["check-runs", id]) => match state.checks.iter_mut().find(|check| check.id.to_string() == *id) {
            Some(check) => {
                check.annotations.extend(annotations);
                let changed = request.body.as_object().cloned().unwrap_or_default();
                changed.into_iter().for_each(|(key, value)| check.document[key] = value);
                Reply::new(200, check_json(check))
            }
            None => not_found(),
        },
        ("GET", ["check-runs", id]) => {
            let check = state.checks.iter().find(|check| check.id.to_string() == *id);
            check.map_or_else(not_found, |check| Reply::new(200, check_json(check)))
        }
        ("GET", ["commits", sha, "check-runs"]) => {
            let name = request.query.get("check_name");
            let fits = |check: &&Check| check.head_sha == *sha && name.is_none_or(|n| check.document["name"] == **n);
            let runs: Vec<Value> = state.checks.iter().filter(fits).map(check_json).collect();
            let total = runs.len();
            let mut reply = page(request, runs);
            reply.body = json!({"total_count": total, "check_runs": reply.body});
            reply
        }
        _ => not_found(),
    }
}

/// What GitHub has against an annotation.
fn wrong_annotation(annotation: &Value) -> Option<String> {
    let texts = ["path", "annotation_level", "message"];
    let missing = texts.into_iter().find(|key| annotation[key].as_str().is_none_or(str::is_empty));
    let lines = ["start_line", "end_line"].map(|key| annotation[key].as_u64().filter(|line| *line > 0));
    if let Some(key) = missing {
        return Some(format!("annotations: {key} is missing"));
    }
    let level = annotation["annotation_level"].as_str().unwrap_or_default();
    if !["notice", "warning", "failure"].contains(&level) {
        return Some(format!("annotations: {level} is no level"));
    }
    if lines.contains(&None) || lines[0] > lines[1] {
        return Some("annotations: start_line and end_line are wrong".to_owned());
    }
    let is_over_lines = annotation["start_column"].is_number() && lines[0] != lines[1];
    is_over_lines.then(|| "annotations: columns over several lines".to_owned())
}

fn check_json(check: &Check) -> Value {
    let url = format!("https://forge.example/{REPO}/runs/{}", check.id);
    let mut document = json!({"id": check.id, "node_id": "CR", "head_sha": check.head_sha,
        "external_id": check.document["external_id"].as_str().unwrap_or_default(),
        "url": url, "html_url": url, "details_url": url, "status": "queued", "conclusion": null,
        "started_at": null, "completed_at": null, "name": check.document["name"], "check_suite": null,
        "app": null, "pull_requests": [],
        "output": {"title": null, "summary": null, "text": null, "annotations_count": check.annotations.len(),
            "annotations_url": url}});
    for key in ["status", "conclusion"] {
        if let Some(value) = check.document.get(key) {
            document[key] = value.clone();
        }
    }
    if check.document.get("conclusion").is_some() {
        document["status"] = json!("completed");
    }
    document
}
