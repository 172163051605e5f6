//! The `opencode` protocol: `opencode run`, its prompt on standard input.
//!
//! Its whole configuration comes in one variable; the repository's is not loaded, and no plugin is, unless they are let
//! in. Only the providers that we name exist, or else it would offer models of its own. Usage comes with every step and adds up;
//! input excludes what a cache held or took, output excludes reasoning. No event ends the stream: its process does.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::event::{AgentEvent, head_field, leading_type, mentions};
use super::failure::{brief, failed};
use super::usage::{Amount, Micro};
use super::{Access, Agent, Attempt, Invocation};
use crate::core::{Ended, Terminal, Usage, UsageSource};

/// Variables that hold it to its task: nothing is fetched.
const CAPS: [(&str, &str); 3] = [
    ("OPENCODE_DISABLE_AUTOUPDATE", "1"),
    ("OPENCODE_DISABLE_MODELS_FETCH", "1"),
    ("OPENCODE_DISABLE_LSP_DOWNLOAD", "1"),
];
/// Variables that shut out the repository's configuration and plugins.
const SHUT_OUT: [(&str, &str); 2] = [("OPENCODE_DISABLE_PROJECT_CONFIG", "1"), ("OPENCODE_PURE", "1")];

pub(super) fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> Invocation {
    // With a title of its own a session costs one model call less, of which no event would tell.
    let flags = ["run", "--format", "json", "--title", "maestro-ci"].into_iter();
    let flags = flags.chain((!agent.repo_settings).then_some("--pure"));
    let mut invocation = Invocation::new(attempt, agent.argv(flags), &[("TERM", "dumb")]);
    for (name, value) in variables(agent) {
        invocation.set(name, value);
    }
    furnish(agent.model.as_deref(), attempt, &mut invocation);
    invocation
}

/// Its variables besides its configuration.
pub(super) fn variables(agent: &Agent) -> impl Iterator<Item = (&'static str, &'static str)> {
    CAPS.into_iter().chain(SHUT_OUT.into_iter().filter(|_| !agent.repo_settings))
}

/// Its whole configuration, in one variable.
pub(super) fn furnish(model: Option<&str>, attempt: &Attempt<'_>, invocation: &mut Invocation) {
    invocation.set("OPENCODE_CONFIG_CONTENT", config(model, attempt.access).to_string());
}

fn config(model: Option<&str>, access: Option<&Access>) -> Value {
    let mut config = json!({ "autoupdate": false, "share": "disabled", "permission": { "*": "allow" } });
    if let Some(model) = model {
        config["model"] = model.into();
        config["small_model"] = model.into();
    }
    if let Some(access) = access {
        let providers = providers(model, access);
        config["enabled_providers"] = providers.keys().cloned().collect();
        config["provider"] = Value::Object(providers);
    }
    config
}

/// The providers that the gateway serves, by opencode's names, which `provider/model` begins with; all of them where
/// no model says which. A model that its list does not have yet is made known.
fn providers(model: Option<&str>, access: &Access) -> Map<String, Value> {
    let chosen = model.and_then(|model| model.split_once('/'));
    let places = [
        ("anthropic", "anthropic", format!("{}/v1", access.anthropic())),
        ("openai", "openai", access.openai()),
        ("google", "gemini", format!("{}/v1beta", access.gemini())),
    ];
    let wanted =
        places.into_iter().filter(|(name, ours, _)| access.serves(ours) && chosen.is_none_or(|(own, _)| own == *name));
    let described = wanted.map(|(name, _, base_url)| {
        let mut provider = json!({ "options": { "baseURL": base_url, "apiKey": access.key } });
        if let Some((_, model)) = chosen {
            provider["models"] = json!({ model: {} });
        }
        (name.to_owned(), provider)
    });
    described.collect()
}

/// The incremental reader of a stream.
#[derive(Default)]
pub(super) struct Stream {
    total: Usage,
    /// The reason of the last step's end.
    reason: String,
    /// The last error of the session.
    error: Option<Terminal>,
}

#[derive(Deserialize)]
struct ToolUse<'a> {
    #[serde(borrow)]
    part: Tool<'a>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default)]
    tool: Cow<'a, str>,
    #[serde(borrow)]
    state: Option<ToolState<'a>>,
}

#[derive(Deserialize)]
struct ToolState<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
}

#[derive(Deserialize)]
struct StepFinish<'a> {
    #[serde(borrow)]
    part: Step<'a>,
}

#[derive(Deserialize)]
struct Step<'a> {
    #[serde(borrow, default)]
    reason: Cow<'a, str>,
    tokens: Option<Tokens>,
    #[serde(default)]
    cost: Micro,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    input: Amount,
    output: Amount,
    reasoning: Amount,
    cache: Cache,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cache {
    read: Amount,
    write: Amount,
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow)]
    error: ProblemError<'a>,
}

#[derive(Deserialize)]
struct ProblemError<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<ProblemData<'a>>,
}

#[derive(Deserialize)]
struct ProblemData<'a> {
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(rename = "statusCode")]
    status: Option<Amount>,
}

impl Step<'_> {
    /// The step's usage in our terms; none where it was cut off before it used any.
    fn usage(&self) -> Option<Usage> {
        let tokens = self.tokens.as_ref()?;
        let (read, write) = (tokens.cache.read.0, tokens.cache.write.0);
        let usage = Usage {
            input_tokens: tokens.input.0.saturating_add(read).saturating_add(write),
            cached_tokens: read,
            cache_write_tokens: write,
            output_tokens: tokens.output.0.saturating_add(tokens.reasoning.0),
            reasoning_tokens: tokens.reasoning.0,
            api_calls: 1,
            cost_microusd: self.cost.0,
            // Without a price in its configuration it says 0.
            unpriced_calls: u64::from(self.cost.0 == 0),
            source: UsageSource::Reported,
            ..Usage::default()
        };
        (usage.tokens() > 0).then_some(usage)
    }
}

impl Stream {
    /// Reads one line; lines that say nothing to us are passed over.
    pub(super) fn line(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        match leading_type(line) {
            Some("text") => out.push(AgentEvent::Message),
            Some("reasoning") => out.push(AgentEvent::Thinking),
            Some("tool_use") => out.extend(tool_use(line)),
            Some("step_finish") => self.step(line, out),
            Some("error") => self.failed(line, out),
            _ => {}
        }
    }

    fn step(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(finish) = serde_json::from_str::<StepFinish<'_>>(line) else { return };
        self.reason = brief(&finish.part.reason);
        if let Some(usage) = finish.part.usage() {
            self.total = self.total.plus(usage);
            out.push(AgentEvent::Usage(self.total));
        }
    }

    fn failed(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(problem) = serde_json::from_str::<Problem<'_>>(line) else { return };
        let (message, status) = problem.error.data.map_or((Cow::Borrowed(""), None), |d| (d.message, d.status));
        let words = format!("{}: {message}", problem.error.name);
        self.error = Some(failed(status.map(|status| status.0), &words, None));
        out.push(AgentEvent::Error(brief(&words)));
    }

    /// How it ended, which only its process's end says. Nothing where it was ended.
    pub(super) fn of_exit(&self, ended: &Ended) -> Option<Terminal> {
        let Ended::Exited { code } = ended else { return self.error.clone() };
        match (&self.error, *code, self.reason.as_str()) {
            (Some(error), _, _) => Some(error.clone()),
            (None, 0, "stop") => Some(Terminal::Completed),
            (None, 0, "length") => Some(Terminal::Limited { which: "the model's output limit".to_owned() }),
            (None, 0, _) => None,
            (None, code, _) => Some(Terminal::Failed { reason: format!("exit status {code}") }),
        }
    }
}

impl ToolState<'_> {
    /// A tool that was not let run, by nobody who could be asked or by a rule.
    fn is_denial(&self) -> bool {
        self.status == "error" && ["rejected permission", "specified a rule"].iter().any(|s| self.error.contains(s))
    }
}

/// Of a tool call without an error nothing but the tool's name matters.
fn tool_use(line: &str) -> Option<AgentEvent> {
    let name = head_field(line, "\"part\"", "\"tool").filter(|_| !mentions(line, "\"error\""));
    match name {
        Some(name) => Some(Tool { tool: name.into(), state: None }.event()),
        None => Some(serde_json::from_str::<ToolUse<'_>>(line).ok()?.part.event()),
    }
}

impl Tool<'_> {
    fn event(&self) -> AgentEvent {
        if self.state.as_ref().is_some_and(ToolState::is_denial) {
            return AgentEvent::denial(&self.tool);
        }
        match &*self.tool {
            "bash" => AgentEvent::Command,
            "write" | "edit" | "multiedit" | "patch" | "apply_patch" => AgentEvent::FileChange,
            _ => AgentEvent::ToolUse,
        }
    }
}
