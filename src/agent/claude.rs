//! The `claude` protocol: Claude Code without a terminal (`claude -p`), its prompt on standard input.
//!
//! Out: an invocation in which nothing asks and nothing of the repository's own settings, hooks or servers is loaded,
//! unless they are let in; then events. Input tokens exclude what a cache held or took here; ours include it. A message
//! of several blocks comes as several events with the same id and usage. Messages carry the usage of their beginning;
//! the whole stands in the result, whose `modelUsage` also has the sub-agents and the last call, which its `usage` lacks.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::event::{AgentEvent, leading_type, mentions};
use super::failure::{brief, failed};
use super::usage::{Amount, Calls, Micro, unpriced};
use super::{Access, Agent, Attempt, Invocation};
use crate::core::{Terminal, Usage, UsageSource};
use crate::journal::write_atomic;

/// Times at which a limit that was hit ends come in seconds.
const MS_PER_SECOND: i64 = 1000;

/// Variables that hold it to its task: no traffic but for that, few retries, no suggestions that cost a call.
pub(super) const CAPS: [(&str, &str); 7] = [
    ("DISABLE_AUTOUPDATER", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION", "false"),
    ("CLAUDE_CODE_MAX_RETRIES", "4"),
    // As root it refuses to work without asking, except where it is told that walls hold it in.
    ("IS_SANDBOX", "1"),
];

/// What is started for an attempt, and the files that it finds.
///
/// # Errors
/// They cannot be written.
pub(super) fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> io::Result<Invocation> {
    let settings = settings(agent, attempt)?;
    let mut flags = vec!["-p", "--output-format", "stream-json", "--verbose"];
    flags.extend(["--permission-mode", "bypassPermissions", "--no-session-persistence"]);
    if !agent.repo_settings {
        // The user's settings are those of a private home, so there are none.
        flags.extend(["--setting-sources", "user", "--strict-mcp-config"]);
    }
    if let Some(path) = &settings {
        flags.extend(["--settings", path]);
    }
    if attempt.access.is_none() {
        // Without the gateway this is how usage is known before the end.
        flags.push("--include-partial-messages");
    }
    if let Some(model) = agent.model.as_deref() {
        flags.extend(["--model", model]);
    }
    if let Some(role) = attempt.role() {
        flags.extend(["--append-system-prompt", role]);
    }
    let mut invocation = Invocation::new(attempt, agent.argv(flags), &[("TERM", "dumb")]);
    for (name, value) in CAPS {
        invocation.set(name, value);
    }
    for (name, value) in attempt.access.map(way).into_iter().flatten() {
        invocation.set(name, value);
    }
    furnish(attempt, &mut invocation);
    Ok(invocation)
}

/// Settings that win over all others, where those of the repository are let in behind the gateway: their variables win
/// over the environment's, and could lead its calls elsewhere (measured with 2.1.329). A path.
fn settings(agent: &Agent, attempt: &Attempt<'_>) -> io::Result<Option<String>> {
    let Some(access) = attempt.access.filter(|_| agent.repo_settings) else { return Ok(None) };
    let path = attempt.home.join("gateway.json");
    write_atomic(&path, json!({ "env": way(access) }).to_string().as_bytes())?;
    Ok(Some(path.display().to_string()))
}

/// What its agent that speaks ACP is told of settings with `session/new`: without a word it would load all.
///
/// # Errors
/// Its own settings cannot be written.
pub(super) fn options(agent: &Agent, attempt: &Attempt<'_>) -> io::Result<Value> {
    if !agent.repo_settings {
        return Ok(json!({ "settingSources": ["user"], "strictMcpConfig": true }));
    }
    Ok(settings(agent, attempt)?.map_or_else(|| json!({}), |path| json!({ "settings": path })))
}

/// The variables that lead to the gateway.
fn way(access: &Access) -> BTreeMap<&'static str, String> {
    BTreeMap::from([("ANTHROPIC_BASE_URL", access.anthropic()), ("ANTHROPIC_API_KEY", access.key.clone())])
}

/// Behind the gateway it has a private place for its settings; else its own login may lie with them.
pub(super) fn furnish(attempt: &Attempt<'_>, invocation: &mut Invocation) {
    if attempt.access.is_some() {
        invocation.set("CLAUDE_CONFIG_DIR", attempt.home.join(".claude").display().to_string());
    }
}

/// The incremental reader of a stream.
#[derive(Default)]
pub(super) struct Stream {
    calls: Calls,
    denials: usize,
    resume_after_ms: Option<i64>,
}

/// An event of the model: blocks of one message.
#[derive(Deserialize)]
pub(super) struct Said<'a> {
    #[serde(borrow)]
    pub(super) message: Message<'a>,
    /// Set where the message is the CLI's own, about an error.
    #[serde(default)]
    pub(super) error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow, default)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) content: Vec<Block<'a>>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

impl Block<'_> {
    /// The block in our words; Qwen's tools have names of their own.
    pub(super) fn event(&self) -> Option<AgentEvent> {
        match (&*self.kind, &*self.name) {
            ("text", _) => Some(AgentEvent::Message),
            ("thinking" | "redacted_thinking", _) => Some(AgentEvent::Thinking),
            ("tool_use", "Bash" | "run_shell_command") => Some(AgentEvent::Command),
            ("tool_use", "Write" | "Edit" | "NotebookEdit" | "write_file" | "edit" | "notebook_edit") => {
                Some(AgentEvent::FileChange)
            }
            ("tool_use" | "server_tool_use", _) => Some(AgentEvent::ToolUse),
            _ => None,
        }
    }
}

/// A part of a message while it is being said.
#[derive(Deserialize)]
struct Partial<'a> {
    #[serde(borrow)]
    event: PartialEvent<'a>,
    #[serde(borrow, default)]
    api_message_id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct PartialEvent<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Notice<'a> {
    #[serde(borrow, default)]
    subtype: Cow<'a, str>,
    #[serde(borrow, default)]
    tool_name: Cow<'a, str>,
    #[serde(default)]
    error_status: Amount,
    #[serde(borrow)]
    rate_limit_info: Option<RateLimit<'a>>,
}

#[derive(Deserialize)]
struct RateLimit<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(default, rename = "resetsAt")]
    resets_at: Amount,
}

/// The stream's last event, Claude's or Qwen's.
#[derive(Deserialize)]
pub(super) struct Outcome<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    subtype: Cow<'a, str>,
    #[serde(default)]
    is_error: bool,
    api_error_status: Option<Amount>,
    /// Its last words; an object where a schema was asked for.
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, rename = "modelUsage")]
    model_usage: Option<&'a RawValue>,
    #[serde(default)]
    total_cost_usd: Micro,
    #[serde(default)]
    permission_denials: Value,
}

impl Outcome<'_> {
    /// One denial for each that no event told of.
    pub(super) fn untold_denials(&self, told: usize) -> impl Iterator<Item = AgentEvent> {
        let denials = self.permission_denials.as_array().into_iter().flatten().skip(told);
        denials.map(|denied| AgentEvent::denial(denied["tool_name"].as_str().unwrap_or_default()))
    }

    /// What it says of itself. Its exit status and `subtype` can say success where `is_error` does not.
    pub(super) fn terminal(&self, resume_after_ms: Option<i64>) -> Terminal {
        if self.subtype.starts_with("error_max_") {
            return Terminal::Limited { which: brief(&self.words()) };
        }
        if self.subtype == "success" && !self.is_error {
            return Terminal::Completed;
        }
        failed(self.api_error_status.map(|status| status.0), &self.words(), resume_after_ms)
    }

    /// Why it failed, wherever this version puts it: text, or a document that holds some. Of a call that failed the
    /// subtype is "success", too.
    fn words(&self) -> String {
        let subtype = Some(self.subtype.to_string()).filter(|subtype| subtype != "success");
        let said = [self.errors, self.error, self.result].into_iter().flatten().map(text);
        subtype.into_iter().chain(said).collect::<Vec<_>>().join(": ")
    }
}

/// The text of a JSON string; of anything else the JSON.
fn text(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned())
}

/// Usage of one call, or of one model over the whole run.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    #[serde(rename = "input_tokens", alias = "inputTokens")]
    input: Amount,
    #[serde(rename = "cache_creation_input_tokens", alias = "cacheCreationInputTokens")]
    written: Amount,
    #[serde(rename = "cache_read_input_tokens", alias = "cacheReadInputTokens")]
    cached: Amount,
    #[serde(rename = "output_tokens", alias = "outputTokens")]
    output: Amount,
    #[serde(rename = "thinkingTokens")]
    thinking: Amount,
}

impl Tokens {
    /// In our terms: input with what a cache held or took.
    fn usage(&self) -> Usage {
        Usage {
            input_tokens: self.input.0.saturating_add(self.written.0).saturating_add(self.cached.0),
            cached_tokens: self.cached.0,
            cache_write_tokens: self.written.0,
            output_tokens: self.output.0,
            reasoning_tokens: self.thinking.0,
            source: UsageSource::Reported,
            ..Usage::default()
        }
    }
}

fn call_usage(raw: &RawValue) -> Usage {
    serde_json::from_str::<Tokens>(raw.get()).unwrap_or_default().usage()
}

impl Stream {
    /// Reads one line; lines that say nothing to us are passed over.
    pub(super) fn line(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        match leading_type(line) {
            Some("assistant") => self.said(line, out),
            Some("stream_event") if mentions(line, "\"usage\"") => self.partial(line, out),
            Some("system" | "rate_limit_event") => self.notice(line, out),
            // The result's type is not its first key.
            Some("result") | None => self.outcome(line, out),
            Some(_) => {}
        }
    }

    fn said(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(said) = serde_json::from_str::<Said<'_>>(line) else { return };
        if said.error.is_some() {
            return out.push(AgentEvent::Error("the model API failed".to_owned()));
        }
        out.extend(said.message.content.iter().filter_map(Block::event));
        self.spent(&said.message.id, said.message.usage, out);
    }

    fn partial(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(partial) = serde_json::from_str::<Partial<'_>>(line) else { return };
        match &partial.event.message {
            Some(begun) => self.spent(&begun.id, begun.usage, out),
            None => self.spent(&partial.api_message_id, partial.event.usage, out),
        }
    }

    fn spent(&mut self, id: &str, usage: Option<&RawValue>, out: &mut Vec<AgentEvent>) {
        let usage = usage.map(call_usage).unwrap_or_default();
        if !id.is_empty() && usage.tokens() > 0 {
            out.push(AgentEvent::Usage(unpriced(self.calls.note(id, usage))));
        }
    }

    fn notice(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(notice) = serde_json::from_str::<Notice<'_>>(line) else { return };
        match &*notice.subtype {
            "permission_denied" => {
                self.denials += 1;
                out.push(AgentEvent::denial(&notice.tool_name));
            }
            "api_retry" => out.push(AgentEvent::Error(format!("API error {}", notice.error_status.0))),
            _ => {}
        }
        if let Some(limit) = notice.rate_limit_info.filter(|limit| limit.status == "rejected") {
            self.resume_after_ms = i64::try_from(limit.resets_at.0).ok().and_then(|s| s.checked_mul(MS_PER_SECOND));
        }
    }

    fn outcome(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(outcome) = serde_json::from_str::<Outcome<'_>>(line) else { return };
        if outcome.kind != "result" {
            return;
        }
        out.extend(outcome.untold_denials(self.denials));
        let models = outcome.model_usage.and_then(|raw| serde_json::from_str(raw.get()).ok());
        let models: BTreeMap<String, Tokens> = models.unwrap_or_default();
        let total = models.values().map(Tokens::usage).reduce(Usage::plus);
        let total = total.or_else(|| outcome.usage.map(call_usage)).unwrap_or_default();
        if total.tokens() > 0 {
            let api_calls = self.calls.note("", Usage::default()).api_calls;
            let total = Usage { api_calls, cost_microusd: outcome.total_cost_usd.0, ..total };
            out.push(AgentEvent::Usage(unpriced(total)));
        }
        out.push(AgentEvent::End(outcome.terminal(self.resume_after_ms)));
    }
}
