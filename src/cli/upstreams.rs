//! Where an agent's model calls go and with which key; without the gateway, whether it has a login of its own.
//! In: an agent, the configuration, our environment. Out: a route for each provider, or what is missing and what to do.

use super::agents::Env;
use super::error::CliError;
use crate::agent::{self, Agent};
use crate::config::{Config, Protocol, Reach, is_in_the_open, reach, shown_address};
use crate::core::AgentApi;
use crate::gateway::Upstream;

/// A provider: its API, where agents find it by default, and the variables that say otherwise.
#[derive(Debug)]
struct Provider {
    name: &'static str,
    /// How opencode's models begin that are its own.
    prefix: &'static str,
    base_url: &'static str,
    address: &'static str,
    keys: &'static [&'static str],
}

const PROVIDERS: [Provider; 3] = [
    Provider {
        name: "anthropic",
        prefix: "anthropic",
        base_url: "https://api.anthropic.com",
        address: "ANTHROPIC_BASE_URL",
        keys: &["ANTHROPIC_API_KEY"],
    },
    Provider {
        name: "openai",
        prefix: "openai",
        base_url: "https://api.openai.com/v1",
        address: "OPENAI_BASE_URL",
        keys: &["OPENAI_API_KEY"],
    },
    Provider {
        name: "gemini",
        prefix: "google",
        base_url: "https://generativelanguage.googleapis.com",
        address: "GOOGLE_GEMINI_BASE_URL",
        keys: &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"],
    },
];

/// The way of an agent's calls to one provider.
#[derive(Clone, Debug)]
pub struct Route {
    /// The provider.
    pub provider: &'static str,
    /// Its address, without a slash at its end.
    base_url: String,
    /// The variable that holds the key, and the key.
    key: Option<(&'static str, String)>,
}

impl Route {
    /// As the gateway takes it.
    pub fn upstream(&self) -> Upstream {
        Upstream::Api { base_url: self.base_url.clone(), key: self.key.as_ref().map(|(_, key)| key.clone()) }
    }

    /// As it may be shown.
    pub fn api(&self) -> AgentApi {
        AgentApi {
            provider: self.provider.to_owned(),
            address: shown_address(&self.base_url),
            key: self.key.as_ref().map(|(variable, _)| (*variable).to_owned()),
        }
    }
}

/// Which providers an agent calls.
#[derive(Debug)]
enum Calls {
    /// This one.
    One(&'static Provider),
    /// Any; it cannot work without one of them.
    Some,
    /// Any, or none that we know of.
    Unknown,
    /// None.
    None,
    /// One that the gateway does not serve: the first word of its model's name.
    Foreign(String),
}

fn calls(agent: &Agent) -> Calls {
    let known = |is: &dyn Fn(&Provider) -> bool| PROVIDERS.iter().find(|provider| is(provider));
    if let Some(own) = agent.protocol.provider().and_then(|own| known(&|provider| provider.name == own)) {
        return Calls::One(own);
    }
    match (agent.protocol, agent.model.as_deref().and_then(|model| model.split_once('/'))) {
        (Protocol::Steps, _) => Calls::None,
        (Protocol::Opencode, Some((prefix, _))) => {
            known(&|provider| provider.prefix == prefix).map_or_else(|| Calls::Foreign(prefix.to_owned()), Calls::One)
        }
        (Protocol::Opencode, None) => Calls::Some,
        _ => Calls::Unknown,
    }
}

/// The names of the providers that an agent may be offered where nothing has to be paid for.
pub fn offered(agent: &Agent) -> Vec<String> {
    match calls(agent) {
        Calls::One(own) => vec![own.name.to_owned()],
        _ => PROVIDERS.iter().map(|provider| provider.name.to_owned()).collect(),
    }
}

/// The routes of an agent's calls through the gateway; none where there is no gateway, or for an agent that may do
/// without.
///
/// # Errors
/// A key is missing, an address is no good, or nobody here serves its model.
pub fn routes(agent: &Agent, config: &Config, env: &Env) -> Result<Vec<Route>, CliError> {
    let calls = calls(agent);
    if !config.gateway.enabled {
        return own_login(agent, &calls, config, env).map(|()| Vec::new());
    }
    match calls {
        Calls::None => Ok(Vec::new()),
        Calls::One(own) => match route(agent, own, config, env)? {
            Some(route) => Ok(vec![route]),
            None => Err(no_key(agent, own.keys)),
        },
        Calls::Foreign(prefix) => Err(not_served(agent, &prefix)),
        Calls::Some | Calls::Unknown => {
            let found = PROVIDERS.iter().map(|provider| route(agent, provider, config, env));
            let found: Vec<Route> = found.filter_map(Result::transpose).collect::<Result<_, _>>()?;
            match calls {
                Calls::Some if found.is_empty() => {
                    Err(no_key(agent, &PROVIDERS.iter().flat_map(|p| p.keys).copied().collect::<Vec<_>>()))
                }
                _ => Ok(found),
            }
        }
    }
}

/// The way to one provider; none without a key, unless its API is on this machine.
fn route(agent: &Agent, provider: &Provider, config: &Config, env: &Env) -> Result<Option<Route>, CliError> {
    let upstream = &config.gateway.upstream;
    let of_agent = upstream.get(&agent.name).filter(|_| agent.protocol.provider().is_some());
    let key = provider.keys.iter().find_map(|variable| Some((*variable, env.get(variable)?.to_owned())));
    let found = of_agent.or_else(|| upstream.get(provider.name)).map(String::as_str);
    let (address, origin) = match (found, env.get(provider.address)) {
        (Some(address), _) => (address, "gateway.upstream"),
        (None, Some(address)) => (address, provider.address),
        (None, None) => (provider.base_url, ""),
    };
    match reach(address) {
        Ok(Reach::Network | Reach::World) if key.is_none() => Ok(None),
        // An address for which nobody has a key is nobody's business.
        Err(_) if key.is_none() && agent.protocol.provider().is_none() => Ok(None),
        Err(words) => Err(CliError::usage(format!("{origin}: {words}"))),
        Ok(_) => {
            let base_url = address.trim_end_matches('/').to_owned();
            Ok(Some(Route { provider: provider.name, base_url, key }))
        }
    }
}

fn no_key(agent: &Agent, keys: &[&str]) -> CliError {
    let name = &agent.name;
    let is = if keys.len() == 1 { "is not set" } else { "none of them is set" };
    let hint = match agent.protocol {
        Protocol::Claude => {
            "set it; the gateway serves API keys only. With gateway.enabled: false a subscription's token works \
             (CLAUDE_CODE_OAUTH_TOKEN), and Bedrock or Vertex with their variables in `env_pass`; budgets then rest on \
             what the agent reports"
        }
        Protocol::Codex => {
            "set it; the gateway serves API keys only, and a ChatGPT login is not seen here. Another service that \
             speaks this API: its address in OPENAI_BASE_URL"
        }
        Protocol::Gemini => {
            "set one; the gateway serves API keys only. Vertex works with gateway.enabled: false and its variables in \
             `env_pass`; budgets then rest on what the agent reports"
        }
        Protocol::Opencode => "set it, or name a model of a provider whose key you have, such as --model anthropic/…",
        _ => "set it; another service that speaks this API: its address in OPENAI_BASE_URL",
    };
    CliError::setup(format!("agent `{name}` needs an API key: {} {is}", in_words(keys, "or"))).hint(hint)
}

fn not_served(agent: &Agent, prefix: &str) -> CliError {
    let (name, model) = (&agent.name, agent.model.as_deref().unwrap_or_default());
    let message = format!("agent `{name}`: the gateway does not serve `{prefix}`, the provider of the model `{model}`");
    CliError::usage(message).hint(
        "it serves anthropic/…, openai/… and google/…; a service that speaks OpenAI's API is openai/… with its address \
         as gateway.upstream.openai; for any other set gateway.enabled to false",
    )
}

/// Without the gateway an agent needs a key or a login of its own, in variables that it gets to see. An agent that may
/// do without (any that speaks ACP, one with a provider that we do not know) is believed.
fn own_login(agent: &Agent, calls: &Calls, config: &Config, env: &Env) -> Result<(), CliError> {
    let variables: Vec<&str> = match calls {
        Calls::None | Calls::Unknown | Calls::Foreign(_) => return Ok(()),
        // Of an agent for many providers only the keys of the chosen one help.
        Calls::One(own) if agent.protocol.provider().is_none() => {
            agent::key_variables(agent.protocol).iter().copied().filter(|key| own.keys.contains(key)).collect()
        }
        Calls::One(_) | Calls::Some => agent::key_variables(agent.protocol).to_vec(),
    };
    let passed = agent.env_pass.iter().chain(&config.sandbox.env_pass).map(String::as_str);
    if variables.iter().copied().chain(passed).any(|variable| env.get(variable).is_some()) {
        return Ok(());
    }
    let is = if variables.len() == 1 { "is not set" } else { "none of them is set" };
    let message =
        format!("agent `{}` has no login: the gateway is off, and of {} {is}", agent.name, in_words(&variables, "and"));
    let hint = match agent.protocol {
        Protocol::Claude => {
            "set one of them (`claude setup-token` makes a CLAUDE_CODE_OAUTH_TOKEN), or pass the variables of Bedrock \
             or Vertex by `env_pass`"
        }
        Protocol::Codex => "set it; codex by itself does not look at OPENAI_API_KEY",
        Protocol::Gemini => "set one of them, or pass the variables of Vertex by `env_pass`",
        _ => "set one of them, or pass the variables of its login by `env_pass`",
    };
    Err(CliError::setup(message).hint(hint))
}

/// What the user should know about where an agent's calls go.
pub fn notes(agent: &Agent, config: &Config, env: &Env) -> Vec<String> {
    let Ok(routes) = routes(agent, config, env) else { return Vec::new() };
    let name = &agent.name;
    let is_unmetered = config.gateway.enabled && routes.is_empty() && matches!(calls(agent), Calls::Unknown);
    let unmetered = is_unmetered.then(|| {
        format!(
            "agent `{name}`: no key of an API that the gateway serves is set; its calls are not metered, and what it \
             reports is all that is known of its usage"
        )
    });
    let open = routes.iter().filter(|route| is_in_the_open(&route.base_url)).map(|route| {
        let address = shown_address(&route.base_url);
        format!("agent `{name}`: {address} is plain http; key and code cross the private network in the open")
    });
    unmetered.into_iter().chain(open).collect()
}

/// `A`, `A or B`, `A, B or C`.
fn in_words(names: &[&str], last: &str) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Verdict;

    fn agent(protocol: &str, model: Option<&str>) -> Agent {
        let mut agent = Agent::built_in(protocol).unwrap_or_else(|| Agent::shell(protocol, "true"));
        agent.model = model.map(str::to_owned);
        agent
    }

    fn env(variables: &[(&str, &str)]) -> Env {
        Env(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// The providers of the routes, or the exit code and a part of the words.
    #[track_caller]
    fn check(agent: &Agent, variables: &[(&str, &str)], config: &Config, expected: Result<&[&str], (Verdict, &str)>) {
        match (routes(agent, config, &env(variables)), expected) {
            (Ok(routes), Ok(providers)) => {
                assert_eq!(routes.iter().map(|route| route.provider).collect::<Vec<_>>(), providers);
            }
            (Err(error), Err((verdict, part))) => {
                assert_eq!(error.verdict, verdict, "{error:?}");
                assert!(error.message.contains(part), "{error:?}");
            }
            (got, _) => panic!("{got:?}"),
        }
    }

    fn without_gateway() -> Config {
        let mut config = Config::default();
        config.gateway.enabled = false;
        config
    }

    const ANTHROPIC: (&str, &str) = ("ANTHROPIC_API_KEY", "a");
    const OPENAI: (&str, &str) = ("OPENAI_API_KEY", "o");

    #[test]
    fn an_agent_of_one_provider_needs_its_key_or_an_api_on_this_machine() {
        let config = Config::default();
        check(&agent("claude", None), &[ANTHROPIC, OPENAI], &config, Ok(&["anthropic"]));
        check(&agent("claude", None), &[OPENAI], &config, Err((Verdict::Setup, "ANTHROPIC_API_KEY is not set")));
        check(&agent("codex", None), &[("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")], &config, Ok(&["openai"]));
        let far = [("OPENAI_BASE_URL", "https://127.0.0.1.evil.example")];
        check(&agent("codex", None), &far, &config, Err((Verdict::Setup, "OPENAI_API_KEY")));
        let open = [OPENAI, ("OPENAI_BASE_URL", "http://api.example.com")];
        check(&agent("codex", None), &open, &config, Err((Verdict::Usage, "OPENAI_BASE_URL: `http://api.example")));
        check(&agent("gemini", None), &[("GOOGLE_GENERATIVE_AI_API_KEY", "g")], &config, Ok(&["gemini"]));
    }

    #[test]
    fn opencode_never_runs_past_the_gateway() {
        let config = Config::default();
        check(&agent("opencode", None), &[], &config, Err((Verdict::Setup, "ANTHROPIC_API_KEY, OPENAI_API_KEY")));
        check(&agent("opencode", None), &[OPENAI], &config, Ok(&["openai"]));
        check(&agent("opencode", Some("openai/gpt-5.5")), &[OPENAI, ANTHROPIC], &config, Ok(&["openai"]));
        let missing = Err((Verdict::Setup, "OPENAI_API_KEY is not set"));
        check(&agent("opencode", Some("openai/gpt-5.5")), &[ANTHROPIC], &config, missing);
        check(&agent("opencode", Some("google/g")), &[("GEMINI_API_KEY", "g")], &config, Ok(&["gemini"]));
        let foreign = Err((Verdict::Usage, "does not serve `opencode`"));
        check(&agent("opencode", Some("opencode/big-pickle")), &[OPENAI], &config, foreign);
    }

    #[test]
    fn commands_get_what_is_there_and_a_note_where_that_is_nothing() {
        let config = Config::default();
        let command = agent("mine", None);
        check(&command, &[], &config, Ok(&[]));
        check(&command, &[ANTHROPIC, OPENAI], &config, Ok(&["anthropic", "openai"]));
        assert!(notes(&command, &config, &env(&[]))[0].contains("not metered"));
        assert!(notes(&command, &config, &env(&[OPENAI])).is_empty());
        assert!(notes(&agent("steps", None), &config, &env(&[])).is_empty());
        let near = [OPENAI, ("OPENAI_BASE_URL", "http://me:secret@litellm:4000/v1")];
        let notes = notes(&command, &config, &env(&near));
        assert!(notes[0].contains("http://litellm:4000/v1 is plain http"), "{notes:?}");
    }

    #[test]
    fn without_the_gateway_a_login_of_its_own_is_wanted() {
        let config = without_gateway();
        check(&agent("claude", None), &[OPENAI], &config, Err((Verdict::Setup, "CLAUDE_CODE_OAUTH_TOKEN")));
        check(&agent("claude", None), &[("CLAUDE_CODE_OAUTH_TOKEN", "t")], &config, Ok(&[]));
        check(&agent("codex", None), &[OPENAI], &config, Err((Verdict::Setup, "CODEX_API_KEY is not set")));
        check(&agent("opencode", None), &[], &config, Err((Verdict::Setup, "no login")));
        check(&agent("opencode", Some("openai/x")), &[ANTHROPIC], &config, Err((Verdict::Setup, "OPENAI_API_KEY")));
        check(&agent("opencode", Some("ollama/x")), &[], &config, Ok(&[]));
        check(&agent("mine", None), &[], &config, Ok(&[]));
        let mut passing = agent("claude", None);
        passing.env_pass = vec!["AWS_PROFILE".to_owned()];
        check(&passing, &[], &config, Err((Verdict::Setup, "no login")));
        check(&passing, &[("AWS_PROFILE", "p")], &config, Ok(&[]));
    }
}
