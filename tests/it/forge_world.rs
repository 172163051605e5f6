//! A job of GitHub Actions around the binary under test: a checkout of a pull request, the runner's variables and
//! files, and the forge behind them; and what has to hold of the comment after any run.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::env::{Env, Run, prd};
use crate::forge_github::{ACTIONS, ACTIONS_BOT, Author, Comment, GitHub, INSTALLED, PERSON, REPO};

/// The first line of the comment on `prd.md`.
pub const MARKER: &str = "<!-- maestro-ci:report v1 prd=prd.md -->";
/// A run that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(2);
/// An agent that does its task at once.
pub const WORKS: &str = "echo done > \"$MAESTRO_TASK.txt\"";

/// The job.
pub struct Job {
    pub env: Env,
    pub forge: GitHub,
    /// The commit that the pull request consists of.
    pub head: String,
}

impl Job {
    /// A job for pull request 7 with a PRD of one requirement, and the token of Actions.
    pub fn new() -> Self {
        Self::of(&[("FR-1", "the first")])
    }

    /// The same with these requirements.
    pub fn of(requirements: &[(&str, &str)]) -> Self {
        Self::with(&prd(requirements))
    }

    /// The same with this PRD.
    pub fn with(prd: &str) -> Self {
        let mut env = Env::new();
        env.git(&["checkout", "-q", "-b", "topic"]);
        env.write("prd.md", prd);
        env.commit("prd");
        let head = env.git(&["rev-parse", "HEAD"]);
        let forge = GitHub::new(&head);
        fs::create_dir(env.path("runner")).unwrap();
        for file in ["output", "summary"] {
            fs::write(env.path("runner").join(file), "").unwrap();
        }
        let at = |name: &str| env.path("runner").join(name).display().to_string();
        for (name, value) in [
            ("CI", "true".to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_EVENT_PATH", at("event.json")),
            ("GITHUB_OUTPUT", at("output")),
            ("GITHUB_STEP_SUMMARY", at("summary")),
            ("GITHUB_REPOSITORY", REPO.to_owned()),
            ("GITHUB_SERVER_URL", "https://forge.example".to_owned()),
            ("GITHUB_API_URL", forge.api()),
            ("GITHUB_RUN_ID", "123".to_owned()),
            ("GITHUB_RUN_ATTEMPT", "1".to_owned()),
            ("GITHUB_JOB", "implement".to_owned()),
            ("GITHUB_WORKFLOW", "ci".to_owned()),
            ("GITHUB_TOKEN", ACTIONS.to_owned()),
            ("RUNNER_TEMP", env.path("runner").display().to_string()),
        ] {
            env.set(name, &value);
        }
        let mut job = Self { env, forge, head };
        job.pull_request();
        job
    }

    /// The event is a pull request whose head is this commit; what the runner checked out is a merge of it.
    fn pull_request(&mut self) {
        let repository = json!({"full_name": REPO, "name": "project", "owner": {"login": "octo"}});
        let end = |branch: &str, sha: &str| json!({"ref": branch, "sha": sha, "repo": repository});
        let base = "1111111111111111111111111111111111111111";
        self.event(
            "pull_request",
            &json!({"action": "opened", "number": 7, "repository": repository,
            "pull_request": {"number": 7, "head": end("topic", &self.head), "base": end("main", base)}}),
        );
        self.env.set("GITHUB_SHA", "2222222222222222222222222222222222222222");
        self.env.set("GITHUB_REF", "refs/pull/7/merge");
        self.env.set("GITHUB_HEAD_REF", "topic");
        self.env.set("GITHUB_BASE_REF", "main");
    }

    /// The event is a push of the checkout's commit; it names no pull request.
    pub fn push_event(&mut self) {
        let head = self.env.git(&["rev-parse", "HEAD"]);
        let commit = json!({"id": head, "message": "prd"});
        let event = json!({"ref": "refs/heads/topic", "after": head, "head_commit": commit,
            "repository": {"full_name": REPO}});
        self.event("push", &event);
        self.env.set("GITHUB_SHA", &head);
        self.env.set("GITHUB_REF", "refs/heads/topic");
        self.env.unset("GITHUB_HEAD_REF");
        self.env.unset("GITHUB_BASE_REF");
    }

    /// The event is the end of a workflow that ran for a branch of somebody's fork; it names no pull request.
    pub fn fork_event(&mut self, owner: &str, branch: &str, sha: &str) {
        let fork = json!({"full_name": format!("{owner}/project"), "owner": {"login": owner}});
        let run = json!({"id": 99, "event": "pull_request", "head_branch": branch, "head_sha": sha,
            "head_repository": fork, "pull_requests": []});
        let event = json!({"action": "completed", "workflow_run": run,
            "repository": {"full_name": REPO, "default_branch": "main"}});
        self.event("workflow_run", &event);
        self.env.set("GITHUB_SHA", "2222222222222222222222222222222222222222");
        self.env.set("GITHUB_REF", "refs/heads/main");
        self.env.set("GITHUB_REF_NAME", "main");
        self.env.unset("GITHUB_HEAD_REF");
        self.env.unset("GITHUB_BASE_REF");
    }

    fn event(&mut self, name: &str, document: &serde_json::Value) {
        self.env.set("GITHUB_EVENT_NAME", name);
        fs::write(self.file("event.json"), document.to_string()).unwrap();
    }

    /// A file of the runner.
    pub fn file(&self, name: &str) -> PathBuf {
        self.env.path("runner").join(name)
    }

    /// What stands in a file of the runner.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap()
    }

    /// Starts a run.
    pub fn start(&self, agent: &str, more: &[&str]) -> Child {
        let mut args = vec!["--prd", "prd.md", "--agent-cmd", agent];
        args.extend(more);
        self.env.command(&args).spawn().unwrap()
    }

    /// A run to its end.
    #[track_caller]
    pub fn run(&self, agent: &str, more: &[&str]) -> Run {
        let started = Instant::now();
        ended(self.start(agent, more), started)
    }

    /// Any command to its end.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Run {
        let started = Instant::now();
        ended(self.env.command(args).spawn().unwrap(), started)
    }

    /// The one comment there is of the author that [`ACTIONS`] stands for.
    #[track_caller]
    pub fn one_comment(&self) -> Comment {
        self.one_comment_of(ACTIONS_BOT)
    }

    /// The one comment there is of an author, as a reader needs it: the marker first and once, no token, not
    /// too long.
    #[track_caller]
    pub fn one_comment_of(&self, author: Author) -> Comment {
        let ours = self.forge.comments_of(author);
        assert_eq!(ours.len(), 1, "one comment is wanted:\n{ours:#?}\n{}", self.talk());
        let comment = ours[0].clone();
        assert_eq!(comment.issue, 7);
        assert_eq!(comment.body.lines().next(), Some(MARKER));
        assert_eq!(comment.body.matches("<!-- maestro-ci:report").count(), 1, "{}", comment.body);
        assert!(comment.body.chars().count() <= 65_536);
        for token in [ACTIONS, PERSON, INSTALLED] {
            assert!(!comment.body.contains(token), "the comment holds a token:\n{}", comment.body);
        }
        comment
    }

    /// Every body that the forge was sent for a comment, with what it answered.
    pub fn bodies(&self) -> Vec<(String, Option<u16>)> {
        let writes =
            self.forge.server.seen_of("*", "/comments").into_iter().filter(super::forge_server::Request::is_write);
        writes.map(|request| (request.body["body"].as_str().unwrap_or_default().to_owned(), request.status)).collect()
    }

    /// All requests, one a line, for messages of tests.
    pub fn talk(&self) -> String {
        let seen = self.forge.server.seen();
        let Some(first) = seen.first().map(|request| request.at) else { return "no request".to_owned() };
        let line = |request: &crate::forge_server::Request| {
            let at = request.at.duration_since(first).as_secs_f64();
            format!("{at:7.2} s {} {} {:?} → {:?}\n", request.method, request.path, request.query, request.status)
        };
        seen.iter().map(line).collect()
    }
}

/// Waits for a command under test, however much it says. One that hangs fails the test.
#[track_caller]
pub fn ended(mut child: Child, started: Instant) -> Run {
    fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (stdout, stderr) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > LIMIT {
            child.kill().unwrap();
            panic!("the run hangs: it should have ended after {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let took = started.elapsed();
    Run { code: status.code().unwrap_or(-1), stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), took }
}

/// A test for several cases, three at a time: most of their time is waiting.
pub fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let left = Mutex::new(cases.into_iter().collect::<Vec<T>>());
    let next = || left.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| std::iter::from_fn(next).for_each(&test));
        }
    });
}

/// The line of a comment that says how it stands.
#[track_caller]
pub fn heading(body: &str) -> &str {
    body.lines().nth(1).unwrap_or_else(|| panic!("no second line:\n{body}"))
}

/// Sends a signal to a command under test.
pub fn signal(child: &Child, name: &str) {
    Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
}

/// The lines of a run's log that warn of the forge, whatever mark they carry.
pub fn warnings(run: &Run) -> Vec<String> {
    let warns =
        |line: &&str| line.trim_start().starts_with("WARN ") || line.contains(" WARN ") || line.contains("::warning");
    let about = ["comment", "forge", "GitHub", "GitLab", "pull request", "check run"];
    let lines = run.stderr.lines().chain(run.stdout.lines()).filter(warns);
    lines.filter(|line| about.iter().any(|word| line.contains(word))).map(str::to_owned).collect()
}
