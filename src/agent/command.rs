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

/// The variables by which tools find their API and its key, for every provider that is served.
fn every_provider(access: &Access) -> Vec<(String, String)> {
    let places = [
        ("anthropic", "ANTHROPIC_BASE_URL", access.anthropic(), "ANTHROPIC_API_KEY"),
        ("openai", "OPENAI_BASE_URL", access.openai(), "OPENAI_API_KEY"),
        ("gemini", "GOOGLE_GEMINI_BASE_URL", access.gemini(), "GEMINI_API_KEY"),
    ];
    let served = places.into_iter().filter(|(provider, ..)| access.serves(provider));
    let variables = served.flat_map(|(_, place, url, key)| [(place, url), (key, access.key.clone())]);
    variables.map(|(name, value)| (name.to_owned(), value)).collect()
}
