//! The `codex` protocol: `codex exec`, its prompt on standard input.
//!
//! Its own sandbox is off: ours takes its place, and bubblewrap cannot work inside it. The repository's configuration
//! is not trusted, so codex does not load it; where it is let in, the trust is kept in the private home. Usage comes
//! with the end of the turn alone and is the thread's so far; input includes what a cache held, output includes
//! reasoning. Why a turn failed is free text.

use std::borrow::Cow;
use std::io;

use serde::Deserialize;

use super::event::{AgentEvent, head_field, leading_type, mentions};
use super::failure::{brief, failed};
use super::usage::{Amount, unpriced};
use super::{Access, Agent, Attempt, Invocation};
use crate::core::{Terminal, Usage, UsageSource};
use crate::journal::make_dir;

/// Variable that carries the key to the provider that we describe.
const KEY: &str = "MAESTRO_MODEL_KEY";
/// Name of the gateway among the providers.
const PROVIDER: &str = "maestro";

/// What is started for an attempt, and the files that it finds.
///
/// # Errors
/// Its home cannot be made.
pub(super) fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> io::Result<Invocation> {
    let mut flags = vec!["exec", "--json", "--skip-git-repo-check", "--ephemeral"];
    flags.push("--dangerously-bypass-approvals-and-sandbox");
    if agent.repo_settings {
        // Nobody is there to be asked whether the checkout and its hooks may be trusted.
        flags.extend(["--trust", "--dangerously-bypass-hook-trust"]);
    } else {
        flags.push("--ignore-rules");
    }
    let mut settings = vec!["analytics.enabled=false".to_owned(), "check_for_update_on_startup=false".to_owned()];
    if attempt.access.is_some() {
        // Before whatever a checkout that codex trusts says.
        settings.push(format!("model_provider={}", toml_string(PROVIDER)));
    }
    if let Some(role) = attempt.role() {
        settings.push(format!("developer_instructions={}", toml_string(role)));
    }
    flags.extend(settings.iter().flat_map(|setting| ["-c", setting.as_str()]));
    if let Some(model) = agent.model.as_deref() {
        flags.extend(["-m", model]);
    }
    let mut argv = agent.argv(flags);
    argv.push("-".to_owned());
    let mut invocation = Invocation::new(attempt, argv, &[("TERM", "dumb")]);
    if let Some(access) = attempt.access {
        // It must exist, and not lie below the directory for temporary files: there codex refuses to put its helpers.
        let home = attempt.home.join(".codex");
        make_dir(&home)?;
        std::fs::write(home.join("config.toml"), provider(access))?;
        invocation.set("CODEX_HOME", home.display().to_string());
        invocation.set(KEY, access.key.as_str());
    }
    Ok(invocation)
}

/// The gateway as a provider of its own: the built-in one tries web sockets first, which nobody can meter. It stands in
/// the private home's configuration, where no other configuration of the user's can be: its address bears the attempt's
/// secret, and arguments are for everybody on the machine to read.
fn provider(access: &Access) -> String {
    format!(
        "[model_providers.{PROVIDER}]\nname = \"{PROVIDER}\"\nbase_url = {}\n\
         env_key = \"{KEY}\"\nwire_api = \"responses\"\nrequest_max_retries = 4\nstream_max_retries = 4\n",
        toml_string(&access.openai())
    )
}

/// A TOML basic string. JSON's are that, but for one character that TOML wants escaped.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

#[derive(Deserialize)]
struct Completed<'a> {
    #[serde(borrow)]
    item: Item<'a>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct TurnFailed<'a> {
    #[serde(borrow)]
    error: Problem<'a>,
}

#[derive(Deserialize)]
struct TurnCompleted {
    usage: Tokens,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Tokens {
    #[serde(rename = "input_tokens")]
    input: Amount,
    #[serde(rename = "cached_input_tokens")]
    cached: Amount,
    #[serde(rename = "cache_write_input_tokens")]
    written: Amount,
    #[serde(rename = "output_tokens")]
    output: Amount,
    #[serde(rename = "reasoning_output_tokens")]
    reasoning: Amount,
}

impl Tokens {
    /// In our terms; a thread that used anything made at least one call.
    fn usage(&self) -> Usage {
        unpriced(Usage {
            input_tokens: self.input.0,
            cached_tokens: self.cached.0,
            cache_write_tokens: self.written.0,
            output_tokens: self.output.0,
            reasoning_tokens: self.reasoning.0,
            api_calls: 1,
            source: UsageSource::Reported,
            ..Usage::default()
        })
    }
}

/// Reads one line of the stream, which needs no memory; lines that say nothing to us are passed over.
pub(super) fn line(line: &str, out: &mut Vec<AgentEvent>) {
    match leading_type(line) {
        Some("item.completed") => {
            out.extend(plain_item(line).or_else(|| serde_json::from_str::<Completed<'_>>(line).ok()?.item.event()));
        }
        Some("error") => {
            let problem = serde_json::from_str::<Problem<'_>>(line);
            out.extend(problem.ok().map(|p| AgentEvent::Error(brief(&p.message))));
        }
        Some("turn.completed") => {
            let turn = serde_json::from_str::<TurnCompleted>(line).ok();
            out.extend(turn.map(|t| AgentEvent::Usage(t.usage.usage())));
            out.push(AgentEvent::End(Terminal::Completed));
        }
        Some("turn.failed") => {
            let turn = serde_json::from_str::<TurnFailed<'_>>(line);
            let message = turn.map_or(Cow::Borrowed("the turn failed"), |t| t.error.message);
            out.push(AgentEvent::End(failed(None, &message, None)));
        }
        _ => {}
    }
}

/// The event of a finished item of which nothing but its kind matters: commands with all they printed, mostly.
fn plain_item(line: &str) -> Option<AgentEvent> {
    let kind = head_field(line, "\"item\"", "\"type")?;
    if kind == "error" || mentions(line, "\"declined\"") {
        return None;
    }
    Item { kind: kind.into(), status: "".into(), message: "".into() }.event()
}

impl Item<'_> {
    fn event(&self) -> Option<AgentEvent> {
        if self.status == "declined" {
            return Some(AgentEvent::denial(&self.kind));
        }
        match &*self.kind {
            "agent_message" => Some(AgentEvent::Message),
            "reasoning" => Some(AgentEvent::Thinking),
            "command_execution" => Some(AgentEvent::Command),
            "file_change" => Some(AgentEvent::FileChange),
            "error" => Some(AgentEvent::Error(brief(&self.message))),
            // The agent's list of what it means to do is no tool.
            "todo_list" | "" => None,
            _ => Some(AgentEvent::ToolUse),
        }
    }
}
