//! A world of its own for each test: a repository, a home, a work directory, a cleared environment; and the check
//! that every run must stand.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a busy machine may take on top of a promised time.
pub const SLACK: Duration = Duration::from_secs(1);
/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_maestro-ci");

/// A repository with one commit, and everything a run needs around it.
pub struct Env {
    dir: tempfile::TempDir,
    /// Top of the user's checkout.
    pub repo: PathBuf,
    vars: BTreeMap<String, String>,
}

/// What a command printed and how it ended.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    fn of(output: Output, took: Duration) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took,
        }
    }

    /// Fails the test, with everything the command said, where the exit code is another one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test where standard error lacks a text.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "standard error lacks {part:?}:\n{}", self.stderr);
        self
    }

    /// Fails the test where standard output lacks a text.
    #[track_caller]
    pub fn prints(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "standard output lacks {part:?}:\n{}", self.stdout);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("not JSON: {e}\n{}", self.stdout))
    }
}

impl Env {
    /// A repository whose first commit holds `README.md`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        for name in ["repo", "home", "work", "bin"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut vars = BTreeMap::new();
        let path = format!("{}:{}", dir.path().join("bin").display(), std::env::var("PATH").unwrap());
        vars.insert("PATH".to_owned(), path);
        vars.insert("HOME".to_owned(), dir.path().join("home").display().to_string());
        vars.insert("MAESTRO_CI_WORK_DIR".to_owned(), dir.path().join("work").display().to_string());
        vars.insert("MAESTRO_CI_ALLOW_UNSANDBOXED".to_owned(), "true".to_owned());
        let env = Self { dir, repo, vars };
        env.git(&["init", "-q", "-b", "main"]);
        env.git(&["config", "user.name", "user"]);
        env.git(&["config", "user.email", "user@localhost"]);
        env.write("README.md", "# project\n");
        env.commit("first");
        env
    }

    /// A directory beside the repository.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where workspaces are made.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// Sets a variable of the command's environment.
    pub fn set(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), value.to_owned());
    }

    /// Takes a variable out of the command's environment.
    pub fn unset(&mut self, name: &str) {
        self.vars.remove(name);
    }

    /// Writes a file of the checkout.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.repo.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a script beside the repository and returns the command that runs it.
    pub fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("sh {}", path.display())
    }

    /// Commits everything in the checkout.
    pub fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", message]);
    }

    /// Runs git in the checkout; fails the test where git fails.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let output = Command::new("git")
            .args(args)
            .current_dir(&self.repo)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.path("home"))
            .output()
            .unwrap();
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// A commit's file, if it is there.
    pub fn show(&self, revision: &str, path: &str) -> Option<String> {
        let output = Command::new("git").args(["show", &format!("{revision}:{path}")]).current_dir(&self.repo).output();
        let output = output.unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The command under test, with a cleared environment, in the checkout.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).current_dir(&self.repo).env_clear().envs(&self.vars);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command under test to its end.
    pub fn run(&self, args: &[&str]) -> Run {
        let started = Instant::now();
        Run::of(self.command(args).output().unwrap(), started.elapsed())
    }

    /// Runs a PRD with a command as its agent.
    pub fn run_prd(&self, agent: &str, more: &[&str]) -> Run {
        let mut args = vec!["--prd", "prd.md", "--agent-cmd", agent];
        args.extend(more);
        self.run(&args)
    }

    /// The latest session's report, rebuilt from its journal.
    #[track_caller]
    pub fn report(&self) -> Value {
        self.run(&["report", "--format", "json"]).exits(0).json()
    }

    /// The latest session's directory.
    pub fn session_dir(&self) -> PathBuf {
        let report = self.report();
        self.repo.join(".flow/maestro/sessions").join(report["session"].as_str().unwrap())
    }

    /// What must not change, whatever a run does: HEAD, index, files, configuration, hooks, stash, foreign refs.
    pub fn checkout(&self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        for args in [
            vec!["rev-parse", "HEAD"],
            vec!["symbolic-ref", "-q", "HEAD"],
            vec!["ls-files", "--stage", "--debug"],
            vec!["status", "--porcelain", "--ignored", "--", ":!.flow/maestro/sessions", ":!.flow/maestro/decisions"],
            vec!["stash", "list"],
        ] {
            state.insert(args.join(" "), self.git(&args));
        }
        let refs = self.git(&["for-each-ref", "--format=%(refname) %(objectname)"]);
        let foreign = |line: &&str| !line.contains("/maestro/");
        state.insert("refs".to_owned(), refs.lines().filter(foreign).collect::<Vec<_>>().join("\n"));
        for file in [".git/config", ".git/HEAD", ".git/info/exclude", "README.md"] {
            state.insert(file.to_owned(), fs::read_to_string(self.repo.join(file)).unwrap_or_default());
        }
        let hooks = fs::read_dir(self.repo.join(".git/hooks")).into_iter().flatten().flatten();
        let mut hooks: Vec<String> = hooks.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        hooks.sort();
        state.insert("hooks".to_owned(), hooks.join(" "));
        state
    }

    /// The check that every finished run must stand: reports valid and agreeing with the exit code, no workspace
    /// left, no process left.
    #[track_caller]
    pub fn check_run(&self, run: &Run) {
        let report = self.report();
        assert_eq!(report["exit_code"], run.code, "report and exit code disagree\n{}", run.stderr);
        let junit = self.run(&["report", "--format", "junit"]).exits(0).stdout;
        let parsed = quick_junit::Report::deserialize_from_str(&junit).expect("JUnit parses");
        let red = parsed.test_suites.iter().any(|s| s.failures + s.errors > 0);
        assert_eq!(red, run.code != 0, "exit code {} and this JUnit:\n{junit}", run.code);
        self.check_nothing_left();
        self.git(&["fsck", "--no-dangling", "--no-progress"]);
    }

    /// No workspace and no process of this world is left.
    #[track_caller]
    pub fn check_nothing_left(&self) {
        let left: Vec<_> = fs::read_dir(self.work()).unwrap().flatten().map(|e| e.path()).collect();
        assert!(left.is_empty(), "workspaces are left: {left:?}");
        assert_eq!(self.processes(), Vec::<String>::new(), "processes are left");
    }

    /// Command lines of processes that work in this world.
    pub fn processes(&self) -> Vec<String> {
        let dir = self.dir.path();
        let pids = fs::read_dir("/proc").unwrap().flatten().map(|e| e.path());
        pids.filter(|p| p.join("cmdline").exists())
            .filter(|p| {
                let cwd = fs::read_link(p.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
                let line = fs::read_to_string(p.join("cmdline")).unwrap_or_default();
                let zombie = line.is_empty();
                !zombie && (cwd || line.contains(&dir.display().to_string()))
            })
            .map(|p| fs::read_to_string(p.join("cmdline")).unwrap_or_default().replace('\0', " "))
            .collect()
    }
}

/// An approved PRD in the nested form with these requirements: (id, text).
pub fn prd(requirements: &[(&str, &str)]) -> String {
    let mut text = String::from(
        "---\nprd:\n  feature_name: feature\n  status: approved\npriorities:\n  default: P2\n  requirements:\n",
    );
    for (id, requirement) in requirements {
        text.push_str(&format!("    - id: {id}\n      text: \"{requirement}\"\n      priority: P1\n"));
    }
    text.push_str("---\n\n# PRD: feature\n\n## Requirements\n\n| ID | Requirement | Priority |\n|---|---|---|\n");
    for (id, requirement) in requirements {
        text.push_str(&format!("| {id} | {requirement} | P1 |\n"));
    }
    text
}

/// Waits for a command under test. One that hangs fails the test instead of the whole suite.
#[track_caller]
pub fn end_of(mut child: Child, started: Instant, limit: Duration) -> Run {
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > limit {
            // What it said is not read: whoever hangs below it may hold the pipe for ever.
            child.kill().unwrap();
            panic!("the run hangs: it should have ended after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = started.elapsed();
    Run::of(child.wait_with_output().unwrap(), took)
}

/// Waits until something holds; fails the test after `limit`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
