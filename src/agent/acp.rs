//! The `acp` protocol: any agent that speaks the Agent Client Protocol, version 1. The client's side is a process of
//! its own inside the walls (`acp_client`); here is the order for it, and the reader of what it prints.
//!
//! In: an agent and an attempt; then lines, each a message of the agent as it came or a line of the client's own.
//! Out: an invocation; events. Nothing here answers the agent.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use serde_json::Value;

use super::acp_client::{ACP, Options};
use super::acp_message::{Answer, Message, SET_MODE, SET_MODEL, Update, failed, microusd, stopped, tokens};
use super::event::{AgentEvent, mentions};
use super::{Agent, Attempt, Invocation, claude, command, gemini, opencode, qwen};
use crate::core::{Ended, Terminal, Unavailability, Usage, UsageSource};

/// Tool calls are told apart up to here; an agent that makes more of them is not counted further.
const MAX_SEEN: usize = 1 << 17;
/// An agent whose `PromptResponse.usage` is its last call's alone, whatever the protocol says.
const LAST_CALL_ONLY: &str = "OpenCode";
/// The end where the agent does not offer the model, or does not take it; another attempt finds the same.
const NO_MODEL: Terminal = Terminal::Unavailable { why: Unavailability::Model, resume_after_ms: None };
/// How pieces of speech name themselves; within a text the quotes would be escaped.
const MESSAGE: &str = "\"agent_message_chunk\"";
const THOUGHT: &str = "\"agent_thought_chunk\"";

/// The client, and behind it the agent as a command would be started: which API it calls is not known, either.
///
/// # Errors
/// The agent has no command, or private settings cannot be written.
pub(super) fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> io::Result<Invocation> {
    if agent.program.is_empty() {
        let message = format!("the agent `{}` needs a `command`: the program that speaks ACP", agent.name);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let cwd = std::path::absolute(attempt.workspace)?;
    let role = attempt.role().map(str::to_owned);
    let (model, claude) = (agent.model.clone(), claude::options(agent, attempt)?);
    let options = Options { cwd, model, role, claude, only_greets: false };
    let mut invocation = command::invocation(agent, attempt);
    invocation.argv = client(&options, invocation.argv)?;
    // Whichever of them speaks here is held to its task, and kept from the repository's settings, by the same variables
    // and private settings as by its own protocol. Each knows only its own.
    let others = gemini::variables(agent).chain(opencode::variables(agent)).chain(qwen::variables(agent));
    for (name, value) in claude::CAPS.into_iter().chain(others) {
        invocation.set(name, value);
    }
    gemini::house(attempt, &mut invocation);
    qwen::furnish(attempt, &mut invocation)?;
    claude::furnish(attempt, &mut invocation);
    if attempt.access.is_some() {
        // opencode has no variable for an address; where it speaks, it is told of its providers.
        let model = agent.model.as_deref().filter(|model| model.contains('/'));
        opencode::furnish(model, attempt, &mut invocation);
    }
    Ok(invocation)
}

/// A command line that asks the agent who it is.
///
/// # Errors
/// This program's own path is not known.
pub(super) fn greeting(agent: &Agent) -> io::Result<Vec<String>> {
    client(&Options { only_greets: true, ..Options::default() }, agent.argv([]))
}

/// The client's own command line around the agent's.
fn client(options: &Options, agent: Vec<String>) -> io::Result<Vec<String>> {
    let own = std::env::current_exe()?.display().to_string();
    let mut argv = vec![own, ACP.to_owned(), serde_json::to_string(options)?, "--".to_owned()];
    argv.extend(agent);
    Ok(argv)
}

/// The incremental reader of one attempt.
#[derive(Default)]
pub(super) struct Stream {
    usage: Usage,
    /// Usage of single calls, added up.
    calls: Usage,
    /// What was counted once, as hashes: ids are the agent's and can be of any length.
    seen: HashSet<u64>,
    /// What is being said, as its pieces name it: until something else happens they are one.
    speech: Option<&'static str>,
    denials: u32,
    last_call_only: bool,
    crashed: bool,
    end: Option<Terminal>,
}

impl Stream {
    /// Reads one line; lines that say nothing to us are passed over.
    pub(super) fn line(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        // A model speaks in thousands of pieces. Those that carry usage are read.
        if self.speech.is_some_and(|piece| mentions(line, piece)) && !mentions(line, "\"usage\"") {
            return;
        }
        let Ok(message) = serde_json::from_str::<Message<'_>>(line) else { return };
        if message.maestro.is_some() {
            self.note(&message, out);
        } else if message.method.is_some() {
            let params = message.params.unwrap_or_default();
            if let Some(tool) = &params.tool_call {
                self.tool(tool, out);
            }
            if let Some(update) = &params.update {
                self.update(update, out);
            }
        } else if let Some(error) = &message.error {
            match message.id.as_ref().and_then(Value::as_u64) {
                // A mode is only a wish.
                Some(SET_MODE) => {}
                Some(SET_MODEL) => self.finish(NO_MODEL, out),
                _ => self.finish(failed(error), out),
            }
        } else if let Some(answer) = &message.result {
            self.answer(answer, out);
        }
    }

    /// How it ended, in the agent's words where it had a last one.
    pub(super) fn terminal(&self, ended: &Ended, _stderr_tail: &str) -> Terminal {
        let by_signal = matches!(ended, Ended::Signaled { .. });
        match &self.end {
            None | Some(Terminal::Completed | Terminal::Refused { .. }) if by_signal => Terminal::Crashed,
            Some(end) => end.clone(),
            None if self.crashed => Terminal::Crashed,
            None => Terminal::NoTerminalEvent,
        }
    }

    /// A line of the client's own.
    fn note(&mut self, note: &Message<'_>, out: &mut Vec<AgentEvent>) {
        let error = || note.error.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        match note.did.as_deref() {
            Some("permission") if note.outcome.as_deref() == Some("denied") => {
                let name = note.name.as_deref().unwrap_or_default();
                self.denied(note.tool.as_deref().unwrap_or_default(), name, out);
            }
            Some("skipped") => out.push(AgentEvent::Error(error())),
            Some("failed") => {
                out.push(AgentEvent::Error(error()));
                let is_model = note.why.as_deref() == Some("model");
                self.finish(if is_model { NO_MODEL } else { Terminal::Failed { reason: error() } }, out);
            }
            Some("exit") => self.crashed = note.signal.is_some(),
            _ => {}
        }
    }

    fn update(&mut self, update: &Update<'_>, out: &mut Vec<AgentEvent>) {
        // From qwen, an empty piece carries the usage of one call.
        let of_call = update.meta.as_ref().and_then(|meta| meta.usage.as_ref());
        match (update.session_update, of_call) {
            (Some("agent_message_chunk" | "agent_thought_chunk"), Some(usage)) => {
                self.calls = self.calls.plus(Usage { api_calls: 1, ..tokens(usage) });
                self.spent(self.calls, out);
            }
            (Some("agent_message_chunk"), None) => self.speak(MESSAGE, AgentEvent::Message, out),
            (Some("agent_thought_chunk"), None) => self.speak(THOUGHT, AgentEvent::Thinking, out),
            (Some("tool_call" | "tool_call_update"), _) => self.tool(update, out),
            (Some("plan"), _) => self.speech = None,
            // Its `used` is how full the context is, not what was spent; its cost is the session's so far.
            (Some("usage_update"), _) => {
                let cost_microusd = update.cost.as_ref().map_or(0, microusd);
                if cost_microusd > 0 {
                    self.spent(Usage { cost_microusd, ..self.calls }, out);
                }
            }
            _ => {}
        }
    }

    fn speak(&mut self, piece: &'static str, event: AgentEvent, out: &mut Vec<AgentEvent>) {
        if self.speech != Some(piece) {
            self.speech = Some(piece);
            out.push(event);
        }
    }

    /// A tool call, at whichever of its messages comes first: gemini asks for permission before it reports the call.
    fn tool(&mut self, tool: &Update<'_>, out: &mut Vec<AgentEvent>) {
        let Some(id) = tool.tool_call_id.as_deref() else { return };
        self.speech = None;
        if self.is_new("called", id) {
            out.push(match tool.kind {
                Some("edit" | "delete" | "move") => AgentEvent::FileChange,
                Some("execute") => AgentEvent::Command,
                _ => AgentEvent::ToolUse,
            });
        }
        if tool.status != Some("failed") {
            return;
        }
        let claude = tool.meta.as_ref().and_then(|meta| meta.claude_code.as_ref());
        if claude.and_then(|claude| claude.non_execution_kind) == Some("permission-rule") {
            let name = claude.and_then(|claude| claude.tool_name.as_deref()).or(tool.kind);
            self.denied(id, name.unwrap_or_default(), out);
        } else if self.is_new("failed", id) {
            out.push(AgentEvent::Error("a tool call failed".to_owned()));
        }
    }

    fn denied(&mut self, id: &str, tool: &str, out: &mut Vec<AgentEvent>) {
        if self.is_new("denied", id) {
            self.denials = self.denials.saturating_add(1);
            out.push(AgentEvent::denial(tool));
        }
    }

    fn is_new(&mut self, what: &str, id: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        (what, id).hash(&mut hasher);
        self.seen.len() < MAX_SEEN && self.seen.insert(hasher.finish())
    }

    fn answer(&mut self, answer: &Answer, out: &mut Vec<AgentEvent>) {
        if let Some(agent) = &answer.agent_info {
            self.last_call_only = agent.name == LAST_CALL_ONLY;
        }
        let Some(reason) = &answer.stop_reason else { return };
        if let Some(usage) = answer.spent(self.last_call_only) {
            self.spent(usage, out);
        }
        self.finish(stopped(reason), out);
    }

    /// An agent that says nothing about its calls made at least one; one that says no cost leaves it unknown.
    fn spent(&mut self, so_far: Usage, out: &mut Vec<AgentEvent>) {
        let api_calls = so_far.api_calls.max(1);
        let usage = self.usage.max(Usage { api_calls, source: UsageSource::Reported, ..so_far });
        let unpriced_calls = if usage.cost_microusd > 0 { 0 } else { usage.api_calls };
        let usage = Usage { unpriced_calls, ..usage };
        if usage != self.usage {
            self.usage = usage;
            out.push(AgentEvent::Usage(usage));
        }
    }

    /// The first end is the end.
    fn finish(&mut self, end: Terminal, out: &mut Vec<AgentEvent>) {
        if self.end.is_some() {
            return;
        }
        let end = match end {
            Terminal::Completed if self.denials > 0 => Terminal::Refused { denials: self.denials },
            other => other,
        };
        self.end = Some(end.clone());
        out.push(AgentEvent::End(end));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::agent::event::count;
    use crate::core::{EventCounts, Unavailability};

    /// Reads a stream: the reader, and what it made of it.
    fn read<'a>(lines: impl Iterator<Item = &'a str>) -> (Stream, EventCounts) {
        let (mut stream, mut counts, mut events) = (Stream::default(), EventCounts::default(), Vec::new());
        lines.for_each(|line| stream.line(line, &mut events));
        for event in &events {
            count(&mut counts, event);
        }
        let ends = events.iter().filter(|event| matches!(event, AgentEvent::End(_))).count();
        assert_eq!(ends, usize::from(stream.end.is_some()));
        (stream, counts)
    }

    /// Input, cached, written to the cache, output, reasoning, calls, millionths of a dollar.
    fn figures(usage: &Usage) -> [u64; 7] {
        let input = (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens);
        let output = (usage.output_tokens, usage.reasoning_tokens);
        [input.0, input.1, input.2, output.0, output.1, usage.api_calls, usage.cost_microusd]
    }

    const NOTHING: [u64; 7] = [0; 7];

    fn fixture(name: &str) -> (Stream, EventCounts) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/agents/acp-{name}.jsonl"));
        read(std::fs::read_to_string(path).unwrap().lines())
    }

    /// `counts`: messages, thoughts, tool uses, commands, file changes, errors, denials.
    #[track_caller]
    fn check(name: &str, code: i32, terminal: Terminal, usage: [u64; 7], counts: [u64; 7]) {
        let (stream, c) = fixture(name);
        assert_eq!(stream.terminal(&Ended::Exited { code }, ""), terminal, "{name}");
        assert_eq!(figures(&stream.usage), usage, "{name}");
        let got = [c.messages, c.thinking, c.tool_uses, c.commands, c.file_changes, c.errors, c.denials];
        assert_eq!(got, counts, "{name}");
    }

    fn failure(reason: &str) -> Terminal {
        Terminal::Failed { reason: reason.to_owned() }
    }

    fn unserved(why: Unavailability) -> Terminal {
        Terminal::Unavailable { why, resume_after_ms: None }
    }

    #[test]
    fn a_turn_that_ends_is_completed_and_its_usage_is_what_the_agent_means_by_it() {
        let done = Terminal::Completed;
        check("claude-done", 0, done.clone(), [3600, 900, 400, 130, 0, 1, 42_100], [2, 1, 3, 1, 1, 1, 0]);
        check("gemini-done", 0, done.clone(), [2500, 0, 0, 90, 0, 1, 0], [2, 0, 2, 1, 1, 0, 0]);
        check("qwen-done", 0, done.clone(), [1700, 900, 0, 60, 10, 2, 0], [1, 1, 1, 0, 1, 0, 0]);
        check("opencode-done", 0, done.clone(), [0, 0, 0, 0, 0, 1, 12_300], [1, 0, 1, 0, 1, 0, 0]);
        check("codex-done", 0, done.clone(), NOTHING, [0, 0, 1, 1, 0, 0, 0]);
        check("other-done", 0, done.clone(), [100, 30, 0, 25, 5, 1, 0], [0, 0, 1, 0, 0, 0, 0]);
        check("mode-refused", 0, done, NOTHING, [1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn calls_whose_cost_is_not_told_are_unpriced() {
        assert_eq!(fixture("qwen-done").0.usage.unpriced_calls, 2);
        assert_eq!(fixture("claude-done").0.usage.unpriced_calls, 0);
    }

    #[test]
    fn a_turn_that_ends_otherwise_is_not() {
        check("claude-denied", 0, Terminal::Refused { denials: 2 }, NOTHING, [0, 0, 2, 1, 1, 0, 2]);
        let limit = Terminal::Limited { which: "max_turn_requests".to_owned() };
        check("limited", 1, limit, NOTHING, [1, 0, 0, 0, 0, 0, 0]);
        check("refusal", 1, failure("refusal"), NOTHING, NOTHING);
        check("cancelled", 1, failure("cancelled"), [1000, 0, 0, 10, 0, 1, 0], [0, 0, 1, 1, 0, 0, 0]);
        check("auth", 1, unserved(Unavailability::Auth), NOTHING, NOTHING);
        check("login-first", 1, unserved(Unavailability::Auth), NOTHING, NOTHING);
        check("rate", 1, unserved(Unavailability::Rate), NOTHING, NOTHING);
    }

    #[test]
    fn an_agent_that_goes_without_an_answer_is_known_by_how_it_went() {
        check("cut", 1, Terminal::NoTerminalEvent, NOTHING, [1, 0, 0, 0, 0, 0, 0]);
        check("crash", 1, Terminal::Crashed, NOTHING, [1, 0, 0, 0, 0, 0, 0]);
        let reason = "cannot start `nobody`: No such file or directory (os error 2)";
        check("not-started", 127, failure(reason), NOTHING, [0, 0, 0, 0, 0, 1, 0]);
        let (stream, _) = read([r#"{"id":3,"result":{"stopReason":"end_turn"}}"#].into_iter());
        assert_eq!(stream.terminal(&Ended::Signaled { signal: 9 }, ""), Terminal::Crashed);
        assert_eq!(stream.terminal(&Ended::Lingered, ""), Terminal::Completed);
    }

    #[test]
    fn nonsense_is_passed_over_or_clamped() {
        check("nonsense", 0, Terminal::Completed, [0, 0, 0, u64::MAX, 0, 1, 0], [0, 0, 0, 0, 0, 1, 0]);
    }

    /// Recordings of real agents, which stand beside the repository where they are at all. Each line holds a message
    /// and its direction; the client passes on only what it receives.
    fn recording(name: &str) -> Option<Vec<String>> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/agent-recordings");
        let text = std::fs::read_to_string(dir.join(format!("acp-{name}.jsonl"))).ok()?;
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        Some(lines.filter(|line| line["dir"] == "<-").map(|line| line["msg"].to_string()).collect())
    }

    #[test]
    fn recordings_of_real_agents_read_as_they_went() {
        let e400 = r#"{"error":{"code":400,"message":"scripted 400","status":"INVALID_ARGUMENT"}}"#;
        let claude = [6000, 1200, 800, 200, 0, 1, 18_360];
        let table = [
            ("claude-cancel", failure("cancelled"), [3000, 600, 400, 100, 0, 1, 9180]),
            ("claude-deny", Terminal::Refused { denials: 1 }, claude),
            ("claude-ok", Terminal::Completed, claude),
            ("codex-ok", Terminal::Completed, NOTHING),
            ("gemini-cancel", failure("cancelled"), NOTHING),
            ("gemini-e400", failure(e400), NOTHING),
            ("gemini-ok", Terminal::Completed, [3000, 0, 0, 150, 0, 1, 0]),
            ("opencode-ok", Terminal::Completed, [0, 0, 0, 0, 0, 1, 8820]),
            ("qwen-default", Terminal::Completed, [3000, 900, 0, 150, 21, 3, 0]),
        ];
        for (name, terminal, usage) in table {
            let Some(lines) = recording(name) else { continue };
            let (stream, _) = read(lines.iter().map(String::as_str));
            assert_eq!(stream.terminal(&Ended::Exited { code: 0 }, ""), terminal, "{name}");
            assert_eq!(figures(&stream.usage), usage, "{name}");
        }
    }
}
