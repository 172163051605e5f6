//! A GitHub runner in small: it takes the project's `action.yml` and its templates as they are, gives their scripts the
//! files and variables that a runner gives, keeps to `if`, `needs` and exit codes, and carries artifacts. Real bash,
//! real git, the real binary; `actions/…` of others are played. A cancelled step gets SIGINT at its first process, as
//! from a runner.

pub mod expr;
pub mod release;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::env::{BINARY, Env};
use expr::{as_text, eval, interpolate, is_true};

/// No step of a test takes longer.
const LIMIT: Duration = Duration::from_mins(2);

/// The top of the project, where the action lies.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn yaml(text: &str) -> Value {
    // `on` is a word there, not a truth value.
    serde_saphyr::from_str(&text.replace("\non:", "\n\"on\":")).expect("YAML")
}

/// How a step, a job or the whole ended.
#[derive(Clone, Debug, Default)]
pub struct Ended {
    /// The exit code of the step that failed; 0 where none did.
    pub code: i32,
    pub outputs: Map<String, Value>,
    /// Everything that was printed.
    pub log: String,
    /// How long the step that was interrupted took to end.
    pub took_to_end: Option<Duration>,
}

/// A machine that jobs run on; each `fresh` one has nothing but the repository and the artifacts.
pub struct Runner {
    home: PathBuf,
    pub workspace: PathBuf,
    pub temp: PathBuf,
    bin: PathBuf,
    pub artifacts: PathBuf,
    origin: PathBuf,
    work: PathBuf,
    pub github: Map<String, Value>,
    pub secrets: Map<String, Value>,
    pub vars: BTreeMap<String, String>,
    path: Vec<String>,
    /// SIGINT goes to the running step as soon as this file is there.
    pub cancel_at: Option<PathBuf>,
    steps: u32,
}

impl Runner {
    /// A machine named so, beside the world's repository, from which it checks out.
    pub fn fresh(env: &Env, name: &str) -> Self {
        let home = env.path(name);
        for dir in ["workspace", "temp", "bin", "home"] {
            fs::create_dir_all(home.join(dir)).unwrap();
        }
        let mut runner = Self {
            workspace: home.join("workspace"),
            temp: home.join("temp"),
            bin: home.join("bin"),
            artifacts: env.path("artifacts"),
            origin: env.repo.clone(),
            work: env.work(),
            home,
            github: Map::new(),
            secrets: Map::new(),
            vars: BTreeMap::new(),
            path: Vec::new(),
            cancel_at: None,
            steps: 0,
        };
        let sha = env.git(&["rev-parse", "HEAD"]);
        let facts = [("sha", sha.as_str()), ("ref_name", "main"), ("token", ""), ("action_repository", "")];
        runner.github.extend(facts.map(|(name, value)| (name.to_owned(), Value::from(value))));
        // The build is the one part that takes too long for a test: this cargo puts the binary under test in place.
        runner.program("cargo", &cargo());
        runner.program("npm", "#!/bin/sh\necho \"npm $*\"\n");
        runner
    }

    /// Puts a program on the machine's PATH.
    pub fn program(&self, name: &str, text: &str) {
        let path = self.bin.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Checks out the repository, as `actions/checkout` with `fetch-depth: 0` does.
    pub fn checkout(&self) {
        fs::remove_dir_all(&self.workspace).unwrap();
        let git = |args: &[&str]| {
            let output = Command::new("git").args(args).env("HOME", self.home.join("home")).output().unwrap();
            assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let (origin, workspace) = (self.origin.display().to_string(), self.workspace.display().to_string());
        git(&["clone", "-q", "--no-local", &format!("file://{origin}"), &workspace]);
        let (sha, branch) = (as_text(&self.github["sha"]), as_text(&self.github["ref_name"]));
        git(&["-C", &workspace, "checkout", "-q", "-B", &branch, &sha]);
    }

    /// Runs the project's action with these inputs.
    pub fn action(&mut self, with: &Value) -> Ended {
        self.use_action(with, &json!({}))
    }

    fn use_action(&mut self, with: &Value, env: &Value) -> Ended {
        let action = yaml(&fs::read_to_string(root().join("action.yml")).unwrap());
        let mut inputs = Map::new();
        let mut context = self.context();
        for (name, input) in action["inputs"].as_object().unwrap() {
            let default = interpolate(input["default"].as_str().unwrap_or_default(), &context);
            inputs.insert(name.clone(), Value::from(as_text(with.get(name).unwrap_or(&default))));
        }
        let unknown = with.as_object().unwrap().keys().find(|name| !inputs.contains_key(*name));
        assert_eq!(unknown, None, "the action has no such input");
        context["inputs"] = Value::from(inputs);
        let mut ended = self.steps(&action["runs"]["steps"], &mut context, env);
        let outputs = action["outputs"].as_object().unwrap().iter();
        ended.outputs =
            outputs.map(|(name, o)| (name.clone(), interpolate(o["value"].as_str().unwrap(), &context))).collect();
        ended
    }

    fn context(&self) -> Value {
        json!({"github": self.github, "runner": {"temp": self.temp}, "secrets": self.secrets, "steps": {}})
    }

    /// Runs all jobs of a workflow on this machine, each in a workspace and a temporary directory of its own.
    pub fn workflow(&mut self, text: &str, inputs: &Value) -> BTreeMap<String, Ended> {
        let workflow = yaml(text);
        let mut ended: BTreeMap<String, Ended> = BTreeMap::new();
        let jobs = workflow["jobs"].as_object().unwrap();
        while ended.len() < jobs.len() {
            let needs = |job: &Value| job["needs"].as_str().map(str::to_owned);
            let is_next = |(name, job): &(&String, &Value)| {
                !ended.contains_key(*name) && needs(job).is_none_or(|n| ended.contains_key(&n))
            };
            let (name, job) = jobs.iter().find(is_next).expect("jobs wait for each other");
            let mut context = self.context();
            context["inputs"] = inputs.clone();
            context["github"]["workflow"] = workflow["name"].clone();
            self.github.insert("workflow".to_owned(), workflow["name"].clone());
            let before = needs(job).map(|n| (n.clone(), ended[&n].clone()));
            if let Some((name, before)) = &before {
                context["needs"] = json!({name: {"outputs": before.outputs}});
            }
            let condition = job["if"].as_str().unwrap_or("'true'");
            let runs = (condition.contains("always()") || before.is_none_or(|(_, b)| b.code == 0))
                && is_true(&eval(condition, &context));
            let result = if runs { self.job(job, &mut context) } else { Ended::default() };
            ended.insert(name.clone(), result);
        }
        ended
    }

    fn job(&mut self, job: &Value, context: &mut Value) -> Ended {
        let matrix = job["strategy"]["matrix"].as_object().cloned().unwrap_or_default();
        let legs = match matrix.iter().next() {
            Some((name, values)) => {
                let values = interpolate(values.as_str().unwrap(), context);
                values.as_array().unwrap().iter().map(|value| json!({name: value})).collect()
            }
            None => vec![json!({})],
        };
        let mut all = Ended::default();
        for leg in legs {
            for dir in [&self.workspace, &self.temp] {
                let _ = fs::remove_dir_all(dir);
                fs::create_dir_all(dir).unwrap();
            }
            self.path.clear();
            context["matrix"] = leg;
            context["steps"] = json!({});
            context["env"] = each(&job["env"], context);
            let env = context["env"].clone();
            let mut ended = self.steps(&job["steps"], context, &env);
            ended.outputs = each(&job["outputs"], context).as_object().unwrap().clone();
            ended.log = all.log + &ended.log;
            all = ended;
        }
        all
    }

    fn steps(&mut self, steps: &Value, context: &mut Value, env: &Value) -> Ended {
        let mut all = Ended::default();
        for step in steps.as_array().unwrap() {
            let condition = step["if"].as_str().unwrap_or("'true'");
            if (all.code != 0 && !condition.contains("always()")) || !is_true(&eval(condition, context)) {
                continue;
            }
            let mut with_env = env.clone();
            let own = each(&step["env"], context);
            with_env.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            let ended = match step["uses"].as_str() {
                Some(uses) => self.uses(uses, &each(&step["with"], context), &with_env),
                None => self.script(step, &with_env),
            };
            if let Some(id) = step["id"].as_str() {
                let outcome = if ended.code == 0 { "success" } else { "failure" };
                context["steps"][id] = json!({"outputs": ended.outputs, "outcome": outcome});
            }
            all.log.push_str(&ended.log);
            all.took_to_end = all.took_to_end.or(ended.took_to_end);
            all.code = if all.code == 0 { ended.code } else { all.code };
        }
        all
    }

    fn uses(&mut self, uses: &str, with: &Value, env: &Value) -> Ended {
        let name = uses.split('@').next().unwrap();
        let field = |name: &str| as_text(&with[name]);
        match name {
            "actions/checkout" => self.checkout(),
            "actions/setup-node" => {}
            "actions/upload-artifact" => {
                self.upload(Path::new(&field("path")), &field("name"), field("include-hidden-files") == "true");
            }
            "actions/download-artifact" => copy(&self.artifacts.join(field("name")), Path::new(&field("path")), true),
            _ if name.ends_with("/maestro-ci") => return self.use_action(with, env),
            other => panic!("the harness does not play {other}"),
        }
        Ended::default()
    }

    fn upload(&self, from: &Path, name: &str, hidden: bool) {
        assert!(from.is_absolute(), "an artifact's path is absolute here: {}", from.display());
        let inside = from.strip_prefix(&self.home).expect("artifacts come from this machine");
        let hidden_parent = inside.components().any(|c| c.as_os_str().to_string_lossy().starts_with('.'));
        if from.exists() && (hidden || !hidden_parent) {
            let _ = fs::remove_dir_all(self.artifacts.join(name));
            copy(from, &self.artifacts.join(name), hidden);
        }
    }

    /// A `run` step.
    fn script(&mut self, step: &Value, env: &Value) -> Ended {
        self.steps += 1;
        let file = |kind: &str| self.home.join(format!("{kind}-{}", self.steps));
        let (script, log) = (file("script"), file("log"));
        let text = step["run"].as_str().expect("a step uses or runs something");
        assert!(!text.contains("${{"), "an expression in a script is code of whoever sets it: {text}");
        fs::write(&script, text).unwrap();
        let mut command = Command::new("bash");
        match step["shell"].as_str() {
            Some("bash") => command.args(["--noprofile", "--norc", "-eo", "pipefail"]),
            None => command.arg("-e"),
            Some(other) => panic!("the harness has no shell {other}"),
        };
        let files = ["GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"].map(|name| (name, file(name)));
        for (_, path) in &files {
            fs::write(path, "").unwrap();
        }
        command.arg(&script).current_dir(&self.workspace).env_clear().envs(self.machine());
        command.envs(files.iter().map(|(name, path)| (*name, path.clone())));
        command.envs(env.as_object().unwrap().iter().map(|(name, value)| (name, as_text(value))));
        let output = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let (code, took_to_end) = self.wait(command);
        let added = fs::read_to_string(&files[1].1).unwrap();
        self.path.extend(added.lines().map(str::to_owned));
        let mut log = fs::read_to_string(&log).unwrap_or_default();
        log.push_str(&fs::read_to_string(&files[2].1).unwrap());
        Ended { code, outputs: outputs(&fs::read_to_string(&files[0].1).unwrap()), log, took_to_end }
    }

    fn machine(&self) -> BTreeMap<String, String> {
        let show = |path: &Path| path.display().to_string();
        let mut path = self.path.clone();
        path.extend([show(&self.bin), std::env::var("PATH").unwrap()]);
        let mut vars: BTreeMap<String, String> = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "acme/project"),
            ("GITHUB_EVENT_NAME", "workflow_dispatch"),
            // A port that nobody listens on.
            ("GITHUB_API_URL", "http://127.0.0.1:9"),
            ("GITHUB_SERVER_URL", "http://127.0.0.1:9"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        vars.insert("PATH".to_owned(), path.join(":"));
        vars.insert("HOME".to_owned(), show(&self.home.join("home")));
        vars.insert("RUNNER_TEMP".to_owned(), show(&self.temp));
        vars.insert("GITHUB_WORKSPACE".to_owned(), show(&self.workspace));
        vars.insert("GITHUB_ACTION_PATH".to_owned(), show(root()));
        vars.insert("MAESTRO_CI_WORK_DIR".to_owned(), show(&self.work));
        for name in ["sha", "ref_name", "workflow"] {
            let value = self.github.get(name).map(as_text).unwrap_or_default();
            vars.insert(format!("GITHUB_{}", name.to_uppercase()), value);
        }
        vars.extend(self.vars.clone());
        vars
    }

    fn wait(&self, mut command: Command) -> (i32, Option<Duration>) {
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut cancelled: Option<Instant> = None;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return (status.code().unwrap_or(-1), cancelled.map(|at| at.elapsed()));
            }
            if cancelled.is_none() && self.cancel_at.as_ref().is_some_and(|file| file.exists()) {
                let pid = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
                cancelled = Some(Instant::now());
            }
            if started.elapsed() > LIMIT {
                child.kill().unwrap();
                panic!("a step hangs");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A map whose values are interpolated.
fn each(map: &Value, context: &Value) -> Value {
    let entries = map.as_object().into_iter().flatten();
    let value = |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| interpolate(text, context));
    entries.map(|(name, v)| (name.clone(), value(v))).collect::<Map<_, _>>().into()
}

/// Reads a `GITHUB_OUTPUT` file as the runner does.
fn outputs(text: &str) -> Map<String, Value> {
    let mut found = Map::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let heredoc = line.split_once("<<").filter(|(name, _)| !name.contains('='));
        let (name, value) = match heredoc {
            Some((name, delimiter)) => {
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
                (name, value.join("\n"))
            }
            None => line.split_once('=').map(|(n, v)| (n, v.to_owned())).expect("NAME=VALUE in GITHUB_OUTPUT"),
        };
        found.insert(name.to_owned(), Value::from(value));
    }
    found
}

fn copy(from: &Path, to: &Path, hidden: bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())).flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with('.') && !hidden {
            continue;
        }
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(name), hidden);
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// A script that becomes the binary under test.
pub fn program() -> String {
    format!("#!/bin/sh\nexec '{BINARY}' \"$@\"\n")
}

/// Stands in for `cargo build`: notes its arguments and its environment, and puts the binary under test in place.
fn cargo() -> String {
    let notes = "here=$(dirname \"$0\"); printf '%s\\n' \"$@\" > \"$here/cargo-args\"; env > \"$here/cargo-env\"; pwd > \"$here/cargo-pwd\"";
    let place =
        "while [ $# -gt 0 ]; do [ \"$1\" != --target-dir ] || target=$2; shift; done\nmkdir -p \"$target/release\"";
    let file = format!(
        "cat > \"$target/release/maestro-ci\" <<'END'\n{}END\nchmod +x \"$target/release/maestro-ci\"",
        program()
    );
    format!(
        "#!/bin/sh\n[ \"$1\" != --version ] || {{ echo 'cargo 99.0.0 (test)'; pwd > \"$(dirname \"$0\")/version-pwd\"; exit 0; }}\n{notes}\n{place}\n{file}\n"
    )
}
