//! The `qwen` protocol: Qwen Code without a terminal, its prompt on standard input. Its events look like Claude's.
//!
//! `--safe-mode`: measured with 0.24.4, without it the MCP servers of the repository's settings are started. Each
//! message carries the whole usage of its call, input with its cached part. A run that a limit of its own ended has no
//! result: the exit status says so, and standard error says which.

use std::io;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::claude::{Block, Outcome, Said};
use super::event::{AgentEvent, leading_type};
use super::failure::brief;
use super::usage::{Amount, Calls, unpriced};
use super::{Agent, Attempt, Invocation};
use crate::core::{Ended, Terminal, Usage, UsageSource};
use crate::journal::{make_dir, write_atomic};

/// Variables that hold it to its task: nothing is told to others.
const CAPS: [(&str, &str); 2] = [("QWEN_CODE_SUPPRESS_YOLO_WARNING", "1"), ("QWEN_USAGE_STATISTICS_ENABLED", "false")];
/// The variable that shuts the repository's settings out.
const SHUT_OUT: (&str, &str) = ("QWEN_CODE_SAFE_MODE", "1");

/// Its settings in a repository: it brings those of an older version up to date, also where it does not load them
/// (measured with 0.24.4).
pub(super) const REWRITTEN: [&str; 1] = [".qwen/settings.json"];

/// Exit status: too many turns.
const TURNS: i32 = 53;
/// Exit status: too much time or too many tool calls, and some other ends.
const BUDGET: i32 = 55;

/// What is started for an attempt, and the files that it finds.
///
/// # Errors
/// Its settings cannot be written.
pub(super) fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> io::Result<Invocation> {
    let mut flags = vec!["-o", "stream-json", "--approval-mode", "yolo"];
    if !agent.repo_settings {
        flags.push("--safe-mode");
    }
    // Without the gateway another login can be chosen by arguments of its own.
    if attempt.access.is_some() || !agent.args.iter().any(|arg| arg.starts_with("--auth-type")) {
        flags.extend(["--auth-type", "openai"]);
    }
    if let Some(model) = agent.model.as_deref() {
        flags.extend(["-m", model]);
    }
    if let Some(role) = attempt.role() {
        flags.extend(["--append-system-prompt", role]);
    }
    let mut invocation = Invocation::new(attempt, agent.argv(flags), &[("TERM", "dumb")]);
    for (name, value) in variables(agent) {
        invocation.set(name, value);
    }
    if let Some(access) = attempt.access {
        invocation.set("OPENAI_BASE_URL", access.openai());
        invocation.set("OPENAI_API_KEY", access.key.as_str());
    }
    furnish(attempt, &mut invocation)?;
    Ok(invocation)
}

/// Its variables besides those of the gateway.
pub(super) fn variables(agent: &Agent) -> impl Iterator<Item = (&'static str, &'static str)> {
    CAPS.into_iter().chain((!agent.repo_settings).then_some(SHUT_OUT))
}

/// Settings in its private home; behind the gateway they are the only ones.
///
/// # Errors
/// They cannot be written.
pub(super) fn furnish(attempt: &Attempt<'_>, invocation: &mut Invocation) -> io::Result<()> {
    let settings = serde_json::json!({
        "privacy": { "usageStatisticsEnabled": false },
        "general": { "enableAutoUpdate": false },
        "model": { "generationConfig": { "maxRetries": 4 } },
    });
    let dir = attempt.home.join(".qwen");
    if attempt.access.is_some() {
        invocation.set("QWEN_HOME", dir.display().to_string());
    }
    make_dir(&dir)?;
    write_atomic(&dir.join("settings.json"), settings.to_string().as_bytes())
}

/// The incremental reader of a stream.
#[derive(Default)]
pub(super) struct Stream {
    calls: Calls,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    #[serde(rename = "input_tokens")]
    input: Amount,
    #[serde(rename = "cache_read_input_tokens")]
    cached: Amount,
    #[serde(rename = "output_tokens")]
    output: Amount,
}

fn usage_of(raw: &RawValue) -> Usage {
    let tokens: Tokens = serde_json::from_str(raw.get()).unwrap_or_default();
    Usage {
        input_tokens: tokens.input.0,
        cached_tokens: tokens.cached.0,
        output_tokens: tokens.output.0,
        source: UsageSource::Reported,
        ..Usage::default()
    }
}

impl Stream {
    /// Reads one line; lines that say nothing to us are passed over.
    pub(super) fn line(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        match leading_type(line) {
            Some("assistant") => self.said(line, out),
            Some("result") => self.outcome(line, out),
            _ => {}
        }
    }

    fn said(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(said) = serde_json::from_str::<Said<'_>>(line) else { return };
        out.extend(said.message.content.iter().filter_map(Block::event));
        let usage = said.message.usage.map(usage_of).unwrap_or_default();
        if usage.tokens() > 0 {
            out.push(AgentEvent::Usage(unpriced(self.calls.note(&said.message.id, usage))));
        }
    }

    fn outcome(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(outcome) = serde_json::from_str::<Outcome<'_>>(line) else { return };
        out.extend(outcome.untold_denials(0));
        let total = outcome.usage.map(usage_of).unwrap_or_default();
        if total.tokens() > 0 {
            let api_calls = self.calls.note("", Usage::default()).api_calls.max(1);
            out.push(AgentEvent::Usage(unpriced(Usage { api_calls, ..total })));
        }
        out.push(AgentEvent::End(outcome.terminal(None)));
    }
}

/// What its exit status and its last words on standard error say where its stream has no result.
pub(super) fn of_exit(ended: &Ended, stderr_tail: &str) -> Option<Terminal> {
    let Ended::Exited { code } = ended else { return None };
    let is_limit = *code == TURNS || (*code == BUDGET && stderr_tail.contains("budget"));
    let last = stderr_tail.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    is_limit.then(|| Terminal::Limited { which: brief(last) })
}
