//! The `gemini` protocol: Gemini CLI without a terminal, its prompt on standard input.
//!
//! It wants a settings file that says how it logs in, and one process instead of a launcher that ignores signals.
//! The workspace is trusted for the session alone, which does not load the workspace's settings (measured with 0.61); a
//! variable trusts it before they are looked for.
//! Usage comes with the result alone; output lacks what was thought, which only the total has. Its exit status is 0
//! for some failures and no result at all comes after a signal.

use std::borrow::Cow;
use std::io;

use serde::Deserialize;

use super::event::{AgentEvent, leading_type};
use super::failure::{brief, failed};
use super::usage::{Amount, unpriced};
use super::{Agent, Attempt, Invocation};
use crate::core::{Ended, Terminal, Unavailability, Usage, UsageSource};
use crate::journal::{make_dir, write_atomic};

/// Variables that hold it to its task: nothing is told to others, and one process instead of a launcher.
const CAPS: [(&str, &str); 2] = [("GEMINI_TELEMETRY_ENABLED", "false"), ("GEMINI_CLI_NO_RELAUNCH", "true")];

/// The variable that lets the workspace's settings in.
const TRUST: (&str, &str) = ("GEMINI_CLI_TRUST_WORKSPACE", "true");

/// Exit status of a login that does not work.
const FATAL_AUTHENTICATION: i32 = 41;

/// What is started for an attempt.
pub(super) fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> Invocation {
    let mut flags = vec!["-o", "stream-json", "--approval-mode", "yolo", "--skip-trust"];
    if let Some(model) = agent.model.as_deref() {
        flags.extend(["-m", model]);
    }
    let mut invocation = Invocation::new(attempt, agent.argv(flags), &[("TERM", "dumb")]);
    for (name, value) in variables(agent) {
        invocation.set(name, value);
    }
    if let Some(access) = attempt.access {
        invocation.set("GOOGLE_GEMINI_BASE_URL", access.gemini());
        invocation.set("GEMINI_API_KEY", access.key.as_str());
    }
    house(attempt, &mut invocation);
    invocation
}

/// Its variables besides those of the gateway.
pub(super) fn variables(agent: &Agent) -> impl Iterator<Item = (&'static str, &'static str)> {
    CAPS.into_iter().chain(agent.repo_settings.then_some(TRUST))
}

/// Behind the gateway it has no settings but those in its private home; else its own login may lie with the user's.
pub(super) fn house(attempt: &Attempt<'_>, invocation: &mut Invocation) {
    if attempt.access.is_some() {
        invocation.set("GEMINI_CLI_HOME", attempt.home.display().to_string());
    }
}

/// Settings in its private home. With an address in its environment it logs in with a key only where they say so; any
/// other login is the environment's to name. `env` is what it will see.
///
/// # Errors
/// They cannot be written.
pub(super) fn furnish(agent: &Agent, attempt: &Attempt<'_>, env: &[(String, String)]) -> io::Result<()> {
    let mut settings = serde_json::json!({
        "privacy": { "usageStatisticsEnabled": false },
        "general": { "enableAutoUpdate": false, "enableAutoUpdateNotification": false, "maxAttempts": 4 },
        // The workspace's file of variables could say how it logs in.
        "advanced": { "ignoreLocalEnv": !agent.repo_settings },
    });
    if attempt.access.is_some() || has_key(env) {
        settings["security"]["auth"]["selectedType"] = "gemini-api-key".into();
    }
    let dir = attempt.home.join(".gemini");
    make_dir(&dir)?;
    write_atomic(&dir.join("settings.json"), settings.to_string().as_bytes())
}

/// True where the environment holds a key and names no other login.
fn has_key(env: &[(String, String)]) -> bool {
    let value = |name: &str| env.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.as_str());
    let elsewhere = ["GOOGLE_GENAI_USE_GCA", "GOOGLE_GENAI_USE_VERTEXAI"].iter().any(|name| value(name) == "true");
    !value("GEMINI_API_KEY").is_empty() && !elsewhere
}

/// The incremental reader of a stream.
#[derive(Default)]
pub(super) struct Stream {
    /// A message is being said: its further pieces count as the same.
    is_speaking: bool,
    /// The last error; a result that failed may not repeat it.
    error: String,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    role: Cow<'a, str>,
    #[serde(default)]
    delta: bool,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow, default)]
    tool_name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Outcome<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    error: Option<Problem<'a>>,
    stats: Option<Stats>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stats {
    #[serde(rename = "total_tokens")]
    total: Amount,
    #[serde(rename = "input_tokens")]
    input: Amount,
    #[serde(rename = "output_tokens")]
    output: Amount,
    cached: Amount,
}

impl Stats {
    /// In our terms: what the total has beyond input and output was thought. At least one call was made.
    fn usage(&self) -> Usage {
        let output = self.output.0.max(self.total.0.saturating_sub(self.input.0));
        unpriced(Usage {
            input_tokens: self.input.0,
            cached_tokens: self.cached.0,
            output_tokens: output,
            reasoning_tokens: output - self.output.0,
            api_calls: 1,
            source: UsageSource::Reported,
            ..Usage::default()
        })
    }
}

impl Stream {
    /// Reads one line; lines that say nothing to us are passed over.
    pub(super) fn line(&mut self, line: &str, out: &mut Vec<AgentEvent>) {
        let kind = leading_type(line);
        let was_speaking = std::mem::take(&mut self.is_speaking);
        match kind {
            Some("message") => self.message(line, was_speaking, out),
            Some("tool_use") => out.extend(serde_json::from_str::<Tool<'_>>(line).ok().map(|tool| tool.event())),
            Some("error") => {
                let problem = serde_json::from_str::<Problem<'_>>(line);
                self.error = problem.map_or_else(|_| String::new(), |p| brief(&p.message));
                out.push(AgentEvent::Error(self.error.clone()));
            }
            Some("result") => self.outcome(line, out),
            _ => {}
        }
    }

    fn message(&mut self, line: &str, was_speaking: bool, out: &mut Vec<AgentEvent>) {
        let Ok(message) = serde_json::from_str::<Message<'_>>(line) else { return };
        // The prompt is repeated as the user's.
        if message.role != "assistant" {
            return;
        }
        self.is_speaking = message.delta;
        if !was_speaking || !message.delta {
            out.push(AgentEvent::Message);
        }
    }

    fn outcome(&self, line: &str, out: &mut Vec<AgentEvent>) {
        let Ok(outcome) = serde_json::from_str::<Outcome<'_>>(line) else { return };
        let usage = outcome.stats.as_ref().map(Stats::usage);
        out.extend(usage.filter(|usage| usage.tokens() > 0).map(AgentEvent::Usage));
        out.push(AgentEvent::End(self.terminal(&outcome)));
    }

    fn terminal(&self, outcome: &Outcome<'_>) -> Terminal {
        let (kind, message) = outcome.error.as_ref().map_or(("", &*self.error), |e| (&*e.kind, &*e.message));
        match kind {
            _ if outcome.status == "success" => Terminal::Completed,
            "FatalTurnLimitedError" => Terminal::Limited { which: brief(message) },
            "FatalAuthenticationError" => auth(),
            _ => failed(None, message, None),
        }
    }
}

impl Tool<'_> {
    fn event(&self) -> AgentEvent {
        match &*self.tool_name {
            "run_shell_command" => AgentEvent::Command,
            "write_file" | "replace" => AgentEvent::FileChange,
            _ => AgentEvent::ToolUse,
        }
    }
}

fn auth() -> Terminal {
    Terminal::Unavailable { why: Unavailability::Auth, resume_after_ms: None }
}

/// What its exit status says where its stream says nothing.
pub(super) fn of_exit(ended: &Ended) -> Option<Terminal> {
    matches!(ended, Ended::Exited { code: FATAL_AUTHENTICATION }).then(auth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(env: &[(&str, &str)], expected: bool) {
        let env: Vec<_> = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(has_key(&env), expected, "{env:?}");
    }

    #[test]
    fn a_key_is_its_login_unless_the_environment_names_another() {
        check(&[("GEMINI_API_KEY", "k")], true);
        check(&[("GEMINI_API_KEY", "k"), ("GOOGLE_GENAI_USE_VERTEXAI", "true")], false);
        check(&[("GEMINI_API_KEY", ""), ("GOOGLE_API_KEY", "k")], false);
    }
}
