//! The `command` protocol: `--agent-cmd`, or a configured command. The prompt is its standard input and never passes
//! through the shell. Behind the gateway it is told of every provider, so that whatever it starts is metered.

use super::{Access, Agent, Attempt, Invocation};

/// A command alone goes to `sh -c`; with arguments it is a program.
pub(super) fn program(command: &str, is_alone: bool) -> Vec<String> {
    if is_alone {
        return vec!["sh".to_owned(), "-c".to_owned(), command.to_owned()];
    }
    vec![command.to_owned()]
}

pub(super) fn invocation(agent: &Agent, attempt: &Attempt<'_>) -> Invocation {
    let mut invocation = Invocation::new(attempt, agent.argv([]), &[]);
    invocation.env.extend(attempt.access.into_iter().flat_map(every_provider));
    invocation
}

/// The variables by which tools find their API, for all providers.
fn every_provider(access: &Access) -> Vec<(String, String)> {
    let places = [
        ("ANTHROPIC_BASE_URL", access.anthropic()),
        ("OPENAI_BASE_URL", access.openai()),
        ("GOOGLE_GEMINI_BASE_URL", access.gemini()),
    ];
    let keys = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"].map(|name| (name, access.key.clone()));
    places.into_iter().chain(keys).map(|(name, value)| (name.to_owned(), value)).collect()
}
