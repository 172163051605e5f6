//! Worlds with agents: a scripted model server, the fake agent under the names of real CLIs on `PATH`, keys and
//! addresses as a CI would set them. Runs have the walls of level 1, and each of them has to stand the common check.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::model_server::{Billed, Count, ModelServer};
use crate::env::{self, Env, Run, prd, wait_until};

#[path = "../fakes/model_server/mod.rs"]
pub mod model_server;

const FAKES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakes");
/// What the user's environment holds as a key. No agent may see it.
pub const REAL_KEY: &str = "real-key";
/// Name of the run at the server.
const RUN: &str = "it";
/// Longest run of these tests.
const PATIENCE: Duration = Duration::from_secs(40);

/// A CLI that the fake agent plays, and what is needed to have it work.
#[derive(Clone, Copy)]
pub struct Cli {
    /// Name of its agent.
    pub name: &'static str,
    /// Name of its program.
    pub program: &'static str,
    /// What `--model` says.
    pub model: Option<&'static str>,
    /// What the report says of its version.
    pub version: Option<&'static str>,
    /// The variable with its API's address.
    pub address: &'static str,
    /// What follows the server's own address in it.
    pub path: &'static str,
    /// The variable with its key.
    pub key: &'static str,
    /// Its entry in the configuration, where it needs one.
    pub entry: Option<&'static str>,
}

pub const CLAUDE: Cli = Cli {
    name: "claude",
    program: "claude",
    model: Some("claude-sonnet-4-5"),
    version: Some("2.1.329"),
    address: "ANTHROPIC_BASE_URL",
    path: "",
    key: "ANTHROPIC_API_KEY",
    entry: None,
};
pub const CODEX: Cli = Cli {
    name: "codex",
    program: "codex",
    model: Some("gpt-5.5"),
    version: Some("0.169.0"),
    address: "OPENAI_BASE_URL",
    path: "/v1",
    key: "OPENAI_API_KEY",
    entry: None,
};
pub const GEMINI: Cli = Cli {
    name: "gemini",
    program: "gemini",
    model: Some("gemini-2.5-pro"),
    version: Some("0.61.0"),
    address: "GOOGLE_GEMINI_BASE_URL",
    path: "",
    key: "GEMINI_API_KEY",
    entry: None,
};
pub const OPENCODE: Cli =
    Cli { name: "opencode", program: "opencode", model: Some("openai/gpt-5.5"), version: Some("1.18.33"), ..CODEX };
pub const QWEN: Cli = Cli { name: "qwen", program: "qwen", version: Some("0.24.4"), ..CODEX };
/// It has no way to say its version before it works.
pub const ACP: Cli = Cli {
    name: "acp",
    program: "claude-agent-acp",
    model: None,
    version: None,
    entry: Some("agents.acp={protocol: acp, command: claude-agent-acp}"),
    ..CLAUDE
};
pub const CLIS: [Cli; 6] = [CLAUDE, CODEX, GEMINI, OPENCODE, QWEN, ACP];

/// Checks each CLI on a thread of its own, three at a time.
pub fn each(clis: &[Cli], check: impl Fn(&Cli) + Sync) {
    for some in clis.chunks(3) {
        thread::scope(|scope| {
            for cli in some {
                let (check, builder) = (&check, thread::Builder::new().name(cli.name.to_owned()));
                drop(builder.spawn_scoped(scope, move || check(cli)).unwrap());
            }
        });
    }
}

/// A repository with an approved PRD, and a model server.
pub struct World {
    pub env: Env,
    pub server: ModelServer,
    args: Vec<String>,
}

impl World {
    /// One requirement; `wishes` is empty or misbehaviour that is asked of the fake, with a comma before each.
    pub fn new(wishes: &str) -> Self {
        let text = format!("write the file. fake: delay=0.02{wishes}");
        Self::of(&prd(&[("FR-1", text.as_str())]))
    }

    /// This PRD.
    pub fn of(text: &str) -> Self {
        let mut env = Env::new();
        env.unset("MAESTRO_CI_ALLOW_UNSANDBOXED");
        env.write("prd.md", text);
        env.commit("prd");
        let bin = env.path("bin");
        let read = format!("sandbox.read=[\"{FAKES}\",\"{}\"]", bin.display());
        Self { env, server: ModelServer::on_free_port(), args: Vec::new() }.set(&read)
    }

    /// Sets a key of the configuration in every run.
    pub fn set(mut self, key: &str) -> Self {
        self.args.extend(["--set".to_owned(), key.to_owned()]);
        self
    }

    /// Lets no attempt be tried again.
    pub fn once(self) -> Self {
        self.set("error_recovery.max_retry_attempts=0")
    }

    /// Installs a CLI; it has no key.
    pub fn install(self, cli: &Cli) -> Self {
        let program = self.env.path("bin").join(cli.program);
        if !program.exists() {
            symlink(format!("{FAKES}/agent.py"), program).unwrap();
        }
        match cli.entry {
            Some(entry) => self.set(entry),
            None => self,
        }
    }

    /// Installs a CLI whose API plays this scenario, with a key.
    pub fn with(mut self, cli: &Cli, scenario: &str) -> Self {
        let address = format!("{}{}", self.server.url(scenario, RUN), cli.path);
        self.env.set(cli.address, &address);
        self.env.set(cli.key, REAL_KEY);
        self.install(cli)
    }

    /// The flags of a run.
    pub fn args<'a>(&'a self, cli: &Cli, more: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["--prd", "prd.md", "--agent", cli.name];
        args.extend(cli.model.into_iter().flat_map(|model| ["--model", model]));
        args.extend(self.args.iter().map(String::as_str));
        args.extend(more);
        args
    }

    /// Runs to the end, and checks what every run has to stand.
    #[track_caller]
    pub fn run(&self, cli: &Cli, more: &[&str]) -> Run {
        let child = self.env.command(&self.args(cli, more)).spawn().unwrap();
        let run = end_of(child);
        self.env.check_run(&run);
        run
    }

    /// What the server was asked and billed, once it has nothing more to answer.
    #[track_caller]
    pub fn count(&self, scenario: &str) -> Count {
        wait_until("the server's last answer", PATIENCE, || self.server.count(scenario, RUN).open == 0);
        self.server.count(scenario, RUN)
    }

    /// The journal of the latest session, as text.
    pub fn journal(&self) -> String {
        fs::read_to_string(self.env.session_dir().join("journal.jsonl")).unwrap()
    }
}

/// What was reported is what was billed, field by field and to the token.
#[track_caller]
pub fn check_books(report: &Value, count: &Count) {
    assert_eq!(used(report), count.billed, "{}", report["tasks"]);
    let budget = &report["budget"];
    assert_eq!(budget["tokens"]["used"], tokens(&count.billed));
    assert_eq!(budget["api_calls"]["used"], count.requests);
    assert_eq!((&budget["estimated_tokens"], &budget["source"]), (&0.into(), &"gateway".into()));
}

/// What was billed lies between what was counted and what was counted and estimated together.
#[track_caller]
pub fn check_bounds(report: &Value, count: &Count) {
    let budget = &report["budget"];
    let (used, estimated) = (budget["tokens"]["used"].as_u64().unwrap(), budget["estimated_tokens"].as_u64().unwrap());
    let billed = tokens(&count.billed);
    assert!((used - estimated..=used).contains(&billed), "{used} with {estimated} estimated; {billed} billed");
    assert_eq!(budget["api_calls"]["used"], count.requests);
    assert_eq!(budget["source"], "gateway");
}

/// Waits for a run. One that hangs fails the test instead of the whole suite.
#[track_caller]
pub fn end_of(child: Child) -> Run {
    env::end_of(child, Instant::now(), PATIENCE)
}

/// Input and output together.
pub fn tokens(billed: &Billed) -> u64 {
    billed.input + billed.output
}

/// The attempts at a task, by its number in the plan.
pub fn attempts(report: &Value, task: usize) -> &[Value] {
    report["tasks"][task]["attempts"].as_array().unwrap()
}

/// The only attempt at the only task.
#[track_caller]
pub fn attempt(report: &Value) -> &Value {
    let attempts = attempts(report, 0);
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    &attempts[0]
}

/// One word of each attempt at the first task.
pub fn words<'a>(report: &'a Value, field: &str) -> Vec<&'a str> {
    attempts(report, 0).iter().map(|attempt| attempt[field].as_str().unwrap()).collect()
}

/// What all attempts together used, in the server's terms.
fn used(report: &Value) -> Billed {
    let tasks = report["tasks"].as_array().unwrap().iter();
    let attempts = tasks.flat_map(|task| task["attempts"].as_array().unwrap());
    attempts.fold(Billed::default(), |sum, attempt| {
        let field = |name: &str| attempt["usage"][name].as_u64().unwrap();
        let usage = Billed {
            input: field("input_tokens"),
            cached: field("cached_tokens"),
            cache_write: field("cache_write_tokens"),
            output: field("output_tokens"),
            reasoning: field("reasoning_tokens"),
        };
        sum.zip(usage, u64::saturating_add)
    })
}
