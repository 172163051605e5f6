//! Agents: one file per protocol. Each turns a task into an order for the warden and reads what comes back.
//!
//! In: a task, its prompt, a workspace. Out: an order, usage as it is reported, a report in the end. An agent's
//! own word on its success is never asked for: it can make an attempt fail, never make it pass.

mod acp;
mod acp_choice;
mod acp_client;
mod acp_message;
mod acp_permit;
mod acp_talk;
mod claude;
mod codex;
mod command;
mod event;
mod failure;
mod gemini;
mod opencode;
mod probe;
mod program;
mod qwen;
mod steps;
mod stream;
#[cfg(test)]
mod stream_table;
mod usage;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::config::Protocol;
use crate::core::{AgentReport, SessionId, Task};
use crate::journal::{make_dir, write_atomic};
use crate::sandbox::{Limits, Order, Report, Walls, read_tail};

pub use acp_client::{ACP, acp_main};
pub use event::AgentEvent;
pub use probe::{Probe, probe};
pub use program::{Agent, key_variables};
pub use stream::{Stream, of_stream};

/// Bytes of standard error that a report carries.
const STDERR_TAIL_BYTES: u64 = 2048;

/// The variables that say where an agent finds the API, where it talks to it itself.
pub const ADDRESS_VARIABLES: [&str; 3] = ["ANTHROPIC_BASE_URL", "OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL"];

/// How an agent behind the gateway reaches its API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Address of the gateway for this attempt, without a slash at its end.
    pub base_url: String,
    /// What takes the place of a key.
    pub key: String,
    /// The providers that it serves: `anthropic`, `openai`, `gemini`.
    pub providers: Vec<String>,
}

impl Access {
    /// True where calls to this provider go through.
    fn serves(&self, provider: &str) -> bool {
        self.providers.iter().any(|own| own == provider)
    }

    /// Plays the part of `https://api.anthropic.com`.
    fn anthropic(&self) -> String {
        format!("{}/anthropic", self.base_url)
    }

    /// Plays the part of `https://api.openai.com/v1`.
    fn openai(&self) -> String {
        format!("{}/openai", self.base_url)
    }

    /// Plays the part of `https://generativelanguage.googleapis.com`.
    fn gemini(&self) -> String {
        format!("{}/gemini", self.base_url)
    }
}

/// One attempt, as an agent needs to know it.
pub struct Attempt<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// The task.
    pub task: &'a Task,
    /// Which attempt.
    pub number: u32,
    /// The prompt.
    pub prompt: &'a str,
    /// What the task's role adds to the agent's own instructions; may be empty.
    pub role: Option<&'a str>,
    /// The workspace.
    pub workspace: &'a Path,
    /// Where prompt, streams and patch are kept; the agent can read it.
    pub dir: &'a Path,
    /// A home of its own, which exists and is not below its directory for temporary files.
    pub home: &'a Path,
    /// The gateway; none where it talks to the API itself.
    pub access: Option<&'a Access>,
    /// Secrets that its output is to lose.
    pub secrets: &'a [String],
}

impl Attempt<'_> {
    /// Where its standard output is kept.
    pub fn stream(dir: &Path) -> PathBuf {
        dir.join("stream.jsonl")
    }

    /// Where its prompt is kept.
    fn prompt_file(&self) -> PathBuf {
        self.dir.join("prompt.md")
    }

    /// Its role, where there is something to say about it.
    fn role(&self) -> Option<&str> {
        self.role.filter(|role| !role.trim().is_empty())
    }
}

/// What a protocol makes of an attempt.
struct Invocation {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    /// File on the child's standard input.
    stdin: Option<PathBuf>,
}

impl Invocation {
    /// A command line that takes the prompt on its standard input.
    fn new(attempt: &Attempt<'_>, argv: Vec<String>, env: &[(&str, &str)]) -> Self {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { argv, env, stdin: Some(attempt.prompt_file()) }
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.env.push((name.to_owned(), value.into()));
    }
}

/// What `MAESTRO_TASK_FILE` holds.
#[derive(Serialize)]
struct TaskFile<'a> {
    session: &'a SessionId,
    attempt: u32,
    #[serde(flatten)]
    task: &'a Task,
}

/// The file that `MAESTRO_TASK_FILE` names; its path is the mark of one attempt and of no other.
pub fn task_file(attempt_dir: &Path) -> PathBuf {
    attempt_dir.join("task.json")
}

/// Writes the attempt's files and makes the order for the warden. `env` makes the child's environment of ours.
///
/// # Errors
/// The attempt's directory or its home cannot be written.
pub fn order(
    agent: &Agent,
    attempt: &Attempt<'_>,
    env: impl FnOnce(&[(&str, String)]) -> Vec<(String, String)>,
    limits: Limits,
    walls: Option<Walls>,
) -> io::Result<Order> {
    make_dir(attempt.dir)?;
    write_atomic(&attempt.prompt_file(), prompt(agent, attempt).as_bytes())?;
    let task_file = task_file(attempt.dir);
    let task = TaskFile { session: attempt.session, attempt: attempt.number, task: attempt.task };
    write_atomic(&task_file, &serde_json::to_vec_pretty(&task)?)?;
    let invocation = invocation(agent, attempt)?;
    let mut walls = walls;
    if let (Some(walls), Protocol::Acp) = (&mut walls, agent.protocol) {
        // The client's side of this protocol is this binary, behind the walls like the agent.
        walls.read.push(std::env::current_exe()?);
    }
    let mut own = vec![
        ("MAESTRO_SESSION", attempt.session.to_string()),
        ("MAESTRO_TASK", attempt.task.id.to_string()),
        ("MAESTRO_ATTEMPT", attempt.number.to_string()),
        ("MAESTRO_TASK_FILE", task_file.display().to_string()),
    ];
    own.extend(invocation.env.iter().map(|(name, value)| (name.as_str(), value.clone())));
    let mut env = env(&own);
    if matches!(agent.protocol, Protocol::Gemini | Protocol::Acp) {
        gemini::furnish(agent, attempt, &env)?;
    }
    if attempt.access.is_some() {
        reach_loopback(&mut env);
    }
    Ok(Order {
        argv: invocation.argv,
        env,
        dir: attempt.workspace.to_owned(),
        stdin: invocation.stdin,
        stdout: Attempt::stream(attempt.dir),
        stderr: attempt.dir.join("stderr.log"),
        limits,
        walls,
        forward_json: true,
        secrets: attempt.secrets.to_vec(),
    })
}

/// Files of a repository that a protocol's program rewrites by itself, whatever it is told to do.
pub fn rewritten(protocol: Protocol) -> &'static [&'static str] {
    match protocol {
        Protocol::Qwen | Protocol::Acp => &qwen::REWRITTEN,
        _ => &[],
    }
}

fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> io::Result<Invocation> {
    match agent.protocol {
        Protocol::Claude => claude::invocation(agent, attempt),
        Protocol::Codex => codex::invocation(agent, attempt),
        Protocol::Gemini => Ok(gemini::invocation(agent, attempt)),
        Protocol::Opencode => Ok(opencode::invocation(agent, attempt)),
        Protocol::Qwen => qwen::invocation(agent, attempt),
        Protocol::Acp => acp::invocation(agent, attempt),
        Protocol::Command => Ok(command::invocation(agent, attempt)),
        Protocol::Steps => steps::invocation(agent, attempt),
    }
}

/// The prompt, with the role before it where the protocol has no other place for it.
fn prompt(agent: &Agent, attempt: &Attempt<'_>) -> String {
    let wants_it = matches!(agent.protocol, Protocol::Gemini | Protocol::Opencode | Protocol::Command);
    match attempt.role() {
        Some(role) if wants_it => format!("{}\n\n{}", role.trim(), attempt.prompt),
        _ => attempt.prompt.to_owned(),
    }
}

/// The gateway is on loopback: no proxy that the environment names may come between.
fn reach_loopback(env: &mut Vec<(String, String)>) {
    for name in ["NO_PROXY", "no_proxy"] {
        match env.iter_mut().find(|(own, _)| own == name) {
            Some((_, hosts)) if !hosts.is_empty() => hosts.push_str(",127.0.0.1"),
            Some((_, hosts)) => hosts.push_str("127.0.0.1"),
            None => env.push((name.to_owned(), "127.0.0.1".to_owned())),
        }
    }
}

/// Puts the warden's report and what the stream said together. `metered`: its calls went through the gateway.
pub fn report(agent: &Agent, attempt_dir: &Path, report: Report, stream: &Stream, metered: bool) -> AgentReport {
    let mut usage = stream.usage();
    if !metered && agent.protocol != Protocol::Steps && !usage.is_reported() {
        // An agent that says nothing about its calls made at least one; budgets of calls still bind it.
        usage.api_calls = usage.api_calls.max(1);
    }
    let stderr = read_tail(&attempt_dir.join("stderr.log"), STDERR_TAIL_BYTES).unwrap_or_default();
    let stderr_tail = String::from_utf8_lossy(&stderr).into_owned();
    AgentReport {
        duration_ms: report.duration_ms,
        usage,
        metered,
        terminal: stream.terminal(&report.ended, &stderr_tail),
        events: stream.counts(),
        denied_tools: stream.denied_tools().to_vec(),
        leaked_processes: report.leaked_processes,
        stdout_bytes: report.stdout_bytes,
        peak_memory_bytes: report.peak_memory_bytes,
        peak_processes: report.peak_processes,
        stderr_tail,
        ..AgentReport::bare(report.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "Make the sums right; never in an argument.";
    const ROLE: &str = "You are \"careful\".\n";

    fn task() -> Task {
        Task {
            title: "Sums".to_owned(),
            role: "backend".to_owned(),
            steps: Some("true".to_owned()),
            ..Task::bare("T-1")
        }
    }

    /// The order for one attempt, what its standard input holds, and codex's and gemini's files in its home.
    fn ordered(agent: &Agent, access: Option<&Access>) -> (Order, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let attempt = Attempt {
            session: &"s".into(),
            task: &task(),
            number: 1,
            prompt: PROMPT,
            role: Some(ROLE),
            workspace: dir.path(),
            dir: &dir.path().join("attempt"),
            home: dir.path(),
            access,
            secrets: &[],
        };
        let env = |own: &[(&str, String)]| own.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
        let order = order(agent, &attempt, env, Limits::default(), None).unwrap();
        let stdin = std::fs::read_to_string(order.stdin.as_ref().unwrap()).unwrap();
        let file = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let config = file(".codex/config.toml") + &file(".gemini/settings.json");
        (order, stdin, config)
    }

    fn agents() -> impl Iterator<Item = Agent> {
        let built_in = ["claude", "codex", "gemini", "opencode", "qwen"].into_iter().filter_map(Agent::built_in);
        built_in.chain([Agent::shell("command", "cat")])
    }

    #[test]
    fn a_prompt_is_standard_input_and_never_an_argument() {
        for agent in agents() {
            let (order, stdin, _) = ordered(&agent, None);
            assert!(stdin.ends_with(PROMPT), "{}", agent.name);
            assert!(!order.argv.iter().any(|arg| arg.contains("the sums")), "{:?}", order.argv);
        }
    }

    #[test]
    fn a_role_is_told_once() {
        for agent in agents() {
            let (order, stdin, _) = ordered(&agent, None);
            let told = order.argv.iter().filter(|arg| arg.contains("careful")).count();
            assert_eq!(told + usize::from(stdin.contains("careful")), 1, "{}", agent.name);
        }
    }

    /// Arguments, variables and settings that are there only where the repository is shut out, or only where it is let in.
    #[track_caller]
    fn check_repository(agent: &Agent, shut_out: &[&str], let_in: &[&str]) {
        let words = |repo_settings| {
            let (order, _, config) = ordered(&Agent { repo_settings, ..agent.clone() }, None);
            let env = order.env.iter().map(|(name, value)| format!("{name}={value}"));
            let words = order.argv.iter().cloned().chain(env).chain([config]);
            words.map(|word| word.replace(&order.dir.display().to_string(), "DIR")).collect::<Vec<_>>()
        };
        let (without, with) = (words(false), words(true));
        let is_said = |some: &[String], others: &[String], expected: &[&str]| {
            let found: Vec<&String> = some.iter().filter(|word| !others.contains(word)).collect();
            assert_eq!(found.len(), expected.len(), "{}: {found:?}", agent.name);
            assert!(found.iter().zip(expected).all(|(word, part)| word.contains(part)), "{}: {found:?}", agent.name);
        };
        is_said(&without, &with, shut_out);
        is_said(&with, &without, let_in);
    }

    #[test]
    fn the_repositorys_settings_are_shut_out_unless_they_are_let_in_and_nothing_else_changes() {
        let check = |name: &str, shut_out: &[&str], let_in: &[&str]| {
            check_repository(&Agent::built_in(name).unwrap(), shut_out, let_in);
        };
        check("claude", &["--setting-sources", "user", "--strict-mcp-config"], &[]);
        check("codex", &["--ignore-rules"], &["--trust", "--dangerously-bypass-hook-trust"]);
        let (ignored, read) = (r#""ignoreLocalEnv":true"#, r#""ignoreLocalEnv":false"#);
        check("gemini", &[ignored], &["GEMINI_CLI_TRUST_WORKSPACE=true", read]);
        let opencode = ["OPENCODE_DISABLE_PROJECT_CONFIG=1", "OPENCODE_PURE=1"];
        check("opencode", &["--pure", opencode[0], opencode[1]], &[]);
        check("qwen", &["--safe-mode", "QWEN_CODE_SAFE_MODE=1"], &[]);
        let acp = Agent { protocol: Protocol::Acp, ..Agent::shell("acp", "a") };
        let shut_out = [r#""strictMcpConfig":true"#, opencode[0], opencode[1], "QWEN_CODE_SAFE_MODE=1", ignored];
        check_repository(&acp, &shut_out, &[r#""claude":{}"#, "GEMINI_CLI_TRUST_WORKSPACE=true", read]);
    }

    #[test]
    fn behind_the_gateway_every_agent_knows_the_way_and_no_proxy_is_in_it() {
        let access = Access {
            base_url: "http://127.0.0.1:9/bearer".to_owned(),
            key: "placeholder".to_owned(),
            providers: ["anthropic", "openai", "gemini"].map(str::to_owned).to_vec(),
        };
        for agent in agents() {
            let (order, _, config) = ordered(&agent, Some(&access));
            let texts: Vec<&String> = order.env.iter().map(|(_, value)| value).chain([&config]).collect();
            let told = |word: &str| texts.iter().any(|text| text.contains(word));
            // Arguments are for everybody on the machine to read.
            assert!(!order.argv.iter().any(|arg| arg.contains("bearer")), "{}", agent.name);
            assert!(told("http://127.0.0.1:9/bearer/") && told("placeholder"), "{}", agent.name);
            assert!(order.env.contains(&("NO_PROXY".to_owned(), "127.0.0.1".to_owned())), "{}", agent.name);
        }
    }

    #[test]
    fn without_the_gateway_no_address_and_no_key_is_made_up() {
        for agent in agents() {
            let (order, ..) = ordered(&agent, None);
            let made_up = |name: &str| name.ends_with("_BASE_URL") || name.ends_with("_KEY") || name == "NO_PROXY";
            assert!(!order.env.iter().any(|(name, _)| made_up(name)), "{}", agent.name);
        }
    }
}
